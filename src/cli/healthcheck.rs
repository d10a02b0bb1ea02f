//! `sodalake healthcheck`: asks the running daemon whether its loop turns, for container health
//! checks. It needs nothing but the settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::style::print;
use super::{Common, Exit, config};

/// A daemon that takes longer to answer is not well.
const WITHIN: Duration = Duration::from_secs(3);

/// Carries the command out.
pub(super) async fn run(common: &Common) -> anyhow::Result<Exit> {
    let listen = config::load(common)?.http.listen;
    let url = format!("http://{}/healthz", near(listen));
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(WITHIN)
        .build();
    let answer = client
        .context("make an HTTP client")?
        .get(&url)
        .send()
        .await;
    let status = answer.with_context(|| format!("ask {url}"))?.status();
    if !status.is_success() {
        bail!("find the daemon well: {url} answers {status}");
    }
    print("The daemon's loop turns.\n").context("write to stdout")?;
    Ok(Exit::Ok)
}

/// Where a daemon that listens on every address of this machine is to be asked.
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
    fn a_daemon_that_listens_everywhere_is_asked_here() {
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
