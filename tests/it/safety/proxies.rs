//! No plain HTTP request goes to the environment's proxy. Runs every client of the real program
//! with a recording proxy that all proxy variables name. Requests over TLS do use the proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use parking_lot::Mutex;
use sodalake::sandbox::city::{Breakage, Table};
use tokio::process::Command;

use crate::support::city::{TestCity, wednesday};
use crate::support::program::with;
use crate::support::proxy::{Proxy, VARIABLES, serve};
use crate::support::running::{Running, until};

const LISTING: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

/// A server that gives every request the same answer, and records its path and whether it was
/// signed.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<(String, bool)>>>);

impl Server {
    async fn start(status: StatusCode, answer: &'static str) -> (Self, SocketAddr) {
        let server = Self::default();
        let kept = server.clone();
        let take = move |request: Request| async move {
            let signed = request.headers().contains_key("authorization");
            kept.0
                .lock()
                .push((request.uri().path().to_owned(), signed));
            (status, answer)
        };
        (server, serve(Router::new().fallback(take)).await)
    }

    fn seen(&self) -> Vec<(String, bool)> {
        self.0.lock().clone()
    }
}

fn bucket(endpoint: &str) -> Vec<(&str, &str)> {
    vec![
        ("SODALAKE__LAKE__URL", "s3://lake"),
        ("SODALAKE__LAKE__ENDPOINT", endpoint),
        ("SODALAKE__LAKE__REGION", "us-east-1"),
    ]
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "key"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
];

const CHECK: &str = "check camera-counts --day 2020-10-14";

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reaches_a_local_portal_and_bucket_without_the_proxy() {
    let city = TestCity::around(wednesday(), "").await;
    for variable in VARIABLES {
        let proxy = Proxy::start().await;
        let (server, address) = Server::start(StatusCode::OK, LISTING).await;
        let endpoint = format!("http://{address}");
        let asked = city.stage.portal.requests().len();
        let mut env = bucket(&endpoint);
        env.extend(KEYS);
        env.push(proxy.by(variable));
        let ran = with(&city, CHECK, &env).await;
        assert_eq!(proxy.seen(), [""; 0], "{variable}");
        let seen = server.seen();
        assert!(
            seen.iter().any(|(_, signed)| *signed),
            "{variable}: {}",
            ran.err
        );
        assert!(city.stage.portal.requests().len() > asked, "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_machines_role_are_requested_without_the_proxy() {
    let city = TestCity::around(wednesday(), "").await;
    let proxy = Proxy::start().await;
    let (metadata, address) = Server::start(StatusCode::NOT_FOUND, "").await;
    let metadata_endpoint = format!("http://{address}");
    // The bucket itself is reached over TLS, and so through the proxy.
    let mut env = bucket("https://s3.invalid");
    env.push(("AWS_METADATA_ENDPOINT", &metadata_endpoint));
    env.extend(proxy.environment());
    let ran = with(&city, CHECK, &env).await;
    assert_eq!(proxy.seen(), [""; 0]);
    assert!(!metadata.seen().is_empty(), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_the_health_check_reach_this_machine_without_the_proxy() {
    let proxy = Proxy::start().await;
    let (receiver, address) = Server::start(StatusCode::OK, "").await;
    let hook = format!("http://{address}/hook");
    let city = TestCity::around(wednesday(), "").await;
    city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let mut env = proxy.environment();
    env.push(("SODALAKE__NOTIFY__WEBHOOK", &hook));
    with(&city, "check radar-counts --day 2020-10-14", &env)
        .await
        .ends(1, "");
    // Only a recent change is reported, so this one is from today.
    let mut daemon = Running::ready(&city, &env).await;
    until("a message", async || {
        (!receiver.seen().is_empty()).then_some(())
    })
    .await;
    let page = {
        let log = daemon.log();
        let (_, rest) = log.split_once("API at http://").unwrap();
        rest.split('/').next().unwrap().to_owned()
    };
    env.push(("SODALAKE__HTTP__LISTEN", &page));
    with(&city, "healthcheck", &env).await.ends(0, "");
    daemon.signal("TERM").await;
    daemon.ended().await;
    assert_eq!(proxy.seen(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_reaches_its_portal_without_the_proxy() {
    let proxy = Proxy::start().await;
    let mut demo = Command::new(env!("CARGO_BIN_EXE_sodalake"));
    let demo = demo.args(["demo", "--exit"]).envs(proxy.environment());
    let output = demo.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(proxy.seen(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_uses_the_proxy_unless_no_proxy_names_the_host_and_reveals_no_secret() {
    let city = TestCity::around(wednesday(), "").await;
    for (https, no_proxy) in [("https_proxy", "no_proxy"), ("HTTPS_PROXY", "NO_PROXY")] {
        let proxy = Proxy::start().await;
        let mut env = bucket("https://s3.invalid");
        env.extend(KEYS);
        env.push(("SODALAKE__SOCRATA__URL", "https://portal.invalid"));
        env.push(proxy.by(https));
        with(&city, "doctor", &env).await;
        let lines = proxy.lines();
        for host in ["portal", "s3"] {
            let connect = format!("CONNECT {host}.invalid:443 HTTP/1.1");
            assert!(
                lines.contains(&connect),
                "{https}: no {connect} in {lines:?}"
            );
        }
        assert!(
            lines.iter().all(|line| line.starts_with("CONNECT ")),
            "{lines:?}"
        );
        for head in proxy.seen() {
            assert!(
                !head.to_ascii_lowercase().contains("authorization"),
                "{head}"
            );
        }

        env.push((no_proxy, "portal.invalid"));
        let before = proxy.lines().len();
        with(&city, "doctor", &env).await;
        let lines = proxy.lines().split_off(before);
        assert!(!lines.is_empty(), "{no_proxy}");
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("CONNECT s3.invalid:443")),
            "{no_proxy}: {lines:?}"
        );
    }
}
