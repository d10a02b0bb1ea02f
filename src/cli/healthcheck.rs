//! `sodalake healthcheck`: asks the running daemon whether its main loop is alive, for container
//! health checks. It needs nothing but the settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::style::print;
use super::{Common, Exit, config};
use crate::outgoing::{self, Wire};

/// A daemon that takes longer to answer is not healthy.
const WITHIN: Duration = Duration::from_secs(3);

/// Runs the health check.
pub(super) async fn run(common: &Common) -> anyhow::Result<Exit> {
    let listen = config::load(common)?.http.listen;
    let url = format!("http://{}/healthz", near(listen));
    let client = outgoing::client(Wire::Plain).timeout(WITHIN).build();
    let answer = client
        .context("cannot create an HTTP client")?
        .get(&url)
        .send()
        .await;
    let status = answer
        .with_context(|| format!("cannot get {url}"))?
        .status();
    if !status.is_success() {
        bail!("the daemon is not healthy: {url} answers {status}");
    }
    print("The daemon's main loop is alive.\n").context("cannot write to stdout")?;
    Ok(Exit::Ok)
}

/// The address to ask a daemon that listens on every address of this machine.
fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_listens_on_all_addresses_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            let near = near(listen.parse().unwrap());
            assert_eq!(near.to_string(), asked);
        }
    }
}
