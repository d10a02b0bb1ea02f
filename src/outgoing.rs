//! Clients for all outgoing HTTP requests: to the portal, buckets, the webhook, our own daemon.
//!
//! Only this module creates clients, so one rule holds for all of them: **a plain HTTP request
//! never goes through a proxy**. The environment may name one (`http_proxy`, `ALL_PROXY`, in either
//! case), and it could read every header and body of a plain request. A plain request goes straight
//! to its host. A request over TLS may go through the proxy, which learns only the name of the
//! host. The callers decide which hosts may be contacted without TLS.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, redirect};
use rustls::crypto::{CryptoProvider, ring};

/// How requests are sent over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Unencrypted, straight to the host.
    Plain,
    /// Encrypted, through the environment's proxy if there is one. Refuses plain addresses.
    Tls,
}

impl Wire {
    /// The wire that addresses of this scheme need. An unknown scheme gets the encrypted client, which
    /// refuses it.
    #[must_use]
    pub fn of(scheme: &str) -> Self {
        if scheme.eq_ignore_ascii_case("http") {
            Self::Plain
        } else {
            Self::Tls
        }
    }
}

/// The provider of every TLS connection, installed as the default of the process. It is `ring`,
/// which builds six times as fast as the default of rustls.
pub(crate) fn tls_provider() -> Arc<CryptoProvider> {
    let installed = || CryptoProvider::get_default().map(Arc::clone);
    installed().unwrap_or_else(|| {
        // Two threads may race here. The first one's provider is used; both are the same.
        let _ = ring::default_provider().install_default();
        installed().expect("a default provider has just been installed")
    })
}

/// A client that follows no redirects and does not retry; the caller adds its limits.
pub fn client(wire: Wire) -> ClientBuilder {
    tls_provider();
    let builder = Client::builder()
        .user_agent(concat!("sodalake/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    match wire {
        Wire::Plain => builder.no_proxy(),
        Wire::Tls => builder.https_only(true),
    }
}

/// The wait that a response requests in `Retry-After`, as seconds or as an HTTP date. A date is
/// compared with the response's own `Date`, so that our clock does not matter, or with `now` if
/// there is none.
pub(crate) fn asked_wait(headers: &HeaderMap, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let asked = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let theirs = text(DATE).and_then(date).map(|date| date.to_utc());
    let wait = date(asked)?.to_utc() - theirs.or(now)?;
    Some(wait.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn wait(pairs: &[(&'static str, &str)], now: Option<DateTime<Utc>>) -> Option<u64> {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        };
        asked_wait(&pairs.iter().map(pair).collect(), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_by_the_clock_of_the_server() {
        let (until, now) = (
            "Wed, 21 Oct 2015 07:28:30 GMT",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        );
        assert_eq!(wait(&[("retry-after", "7")], None), Some(7));
        assert_eq!(
            wait(&[("retry-after", until), ("date", now)], None),
            Some(30)
        );
        assert_eq!(
            wait(&[("retry-after", now), ("date", until)], None),
            Some(0)
        );
        assert_eq!(wait(&[("retry-after", "soon"), ("date", now)], None), None);
        assert_eq!(wait(&[("retry-after", "-1")], None), None);
        assert_eq!(wait(&[], None), None);
        let ours = "2015-10-21T07:28:10Z".parse().unwrap();
        assert_eq!(wait(&[("retry-after", until)], Some(ours)), Some(20));
        assert_eq!(
            wait(&[("retry-after", until), ("date", now)], Some(ours)),
            Some(30)
        );
        assert_eq!(wait(&[("retry-after", until)], None), None);
    }

    #[test]
    fn only_a_web_address_without_tls_is_plain() {
        let of = ["http", "HTTP", "https", "ftp", ""].map(Wire::of);
        assert_eq!(
            of,
            [Wire::Plain, Wire::Plain, Wire::Tls, Wire::Tls, Wire::Tls]
        );
    }
}
