//! The service manager's socket, in each form that `NOTIFY_SOCKET` may have, and unusable ones.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};

use tokio::net::UnixDatagram;
use uuid::Uuid;

use crate::support::city::{TestCity, wednesday};
use crate::support::running::{Running, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_abstract_socket_receives_the_same_as_a_path() {
    let city = TestCity::around(wednesday(), "").await;
    let name = format!("sodalake-test-{}", Uuid::now_v7());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = StdDatagram::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = UnixDatagram::from_std(socket).unwrap();
    let mut daemon = Running::with_socket(socket, &format!("@{name}"), &city, &[]);
    daemon.tells("READY=1").await;
    daemon.tells("WATCHDOG=1").await;
    daemon.tells("STATUS=").await;
    daemon.signal("HUP").await;
    daemon.tells("RELOADING=1").await;
    daemon.tells("READY=1").await;
    daemon.signal("TERM").await;
    daemon.tells("STOPPING=1").await;
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert!(!daemon.log().contains(WARNING), "{}", daemon.log());
}

const WARNING: &str = "cannot notify the service manager";

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_socket_causes_one_warning_and_stops_nothing() {
    let city = TestCity::around(wednesday(), "").await;
    for address in [
        "/nowhere/notify",
        "@sodalake-nobody-listens",
        "notify",
        "vsock:2:1",
        "@",
    ] {
        let (silent, _) = UnixDatagram::pair().unwrap();
        let mut daemon = Running::with_socket(silent, address, &city, &[]);
        // The status page is served before the first notification; reload and exit send further
        // ones.
        until("readiness", async || {
            let log = daemon.log();
            let (_, rest) = log.split_once("API at ")?;
            let url = format!("{}readyz", rest.split_whitespace().next()?);
            let answer = crate::support::http::client();
            let answer = answer.get(url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        daemon.logs(WARNING, 1).await;
        daemon.signal("TERM").await;
        assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
        let log = daemon.log();
        assert_eq!(log.matches(WARNING).count(), 1, "{address}: {log}");
        assert!(log.contains(address), "{address}: {log}");
    }
}
