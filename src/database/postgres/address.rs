//! The address of a PostgreSQL server: which parts of the URL are used, and when TLS is used.
//!
//! The meaning of `sslmode` in the URL is stricter here than elsewhere, because these tables decide
//! what is deleted from a public portal:
//!
//! | `sslmode` | to a unix socket or loopback | to any other host |
//! | --- | --- | --- |
//! | none, `prefer` | plain | TLS, certificate and name verified |
//! | `disable` | plain | refused |
//! | `require`, `verify-full` | TLS, certificate and name verified | the same |

use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::ExposeSecret;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use url::Url;

use super::super::{Address, BoxError, Place};
use super::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::limits::{SECRET_BYTES, read_text};
use crate::outgoing::tls_provider;

/// Host and database of the URL, without user and password.
pub(in crate::database) fn place(address: &Address<'_>) -> Place {
    let url = address.url;
    let query_host = url.query_pairs().find(|(name, _)| name == "host");
    let host = match (url.host_str(), &query_host) {
        (Some(host), _) if !host.is_empty() => host.replace("%2F", "/").replace("%2f", "/"),
        (_, Some((_, host))) => host.to_string(),
        _ => "localhost".into(),
    };
    let port = url.port().map(|port| format!(":{port}"));
    let path = url.path();
    Place {
        role: address.role,
        name: format!("{host}{}{path}", port.unwrap_or_default()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Plain,
    Tls,
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn wire(sslmode: Option<&str>, config: &Config) -> Result<Wire, String> {
    let local = config.get_hosts().iter().all(is_this_machine)
        && config
            .get_hostaddrs()
            .iter()
            .all(std::net::IpAddr::is_loopback);
    match (sslmode, local) {
        (None | Some("disable" | "prefer"), true) => Ok(Wire::Plain),
        (None | Some("prefer"), false) | (Some("require" | "verify-full"), _) => Ok(Wire::Tls),
        (Some("disable"), false) => Err(
            "sslmode=disable is allowed only for this machine; expected require or verify-full"
                .into(),
        ),
        (Some(other), _) => Err(format!(
            "sslmode={other:?} is unknown; expected disable, prefer, require or verify-full"
        )),
    }
}

/// The URL without `sslmode`, of which the driver knows fewer values, and the value of `sslmode`.
fn without_sslmode(url: &Url) -> (Url, Option<String>) {
    let (modes, rest): (Vec<_>, Vec<_>) = url
        .query_pairs()
        .into_owned()
        .partition(|(name, _)| name == "sslmode");
    let mut bare = url.clone();
    bare.set_query(None);
    if !rest.is_empty() {
        bare.query_pairs_mut().extend_pairs(rest);
    }
    (bare, modes.into_iter().next_back().map(|(_, mode)| mode))
}

pub(super) fn settings(address: &Address<'_>) -> Result<(Config, Wire), String> {
    let (url, sslmode) = without_sslmode(address.url);
    // The driver's message is left out because it may repeat parts of the URL.
    let mut config: Config = url
        .as_str()
        .parse()
        .map_err(|_| "the URL is not valid; expected postgres://user@host/database")?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host("localhost");
    }
    if config.get_user().is_none() {
        return Err("the URL names no user; expected postgres://user@host/database".into());
    }
    let wire = wire(sslmode.as_deref(), &config)?;
    config.ssl_mode(match wire {
        Wire::Plain => SslMode::Disable,
        Wire::Tls => SslMode::Require,
    });
    if let Some(password) = address.password {
        config.password(password.expose_secret());
    }
    config
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(ANSWER_TIMEOUT);
    Ok((config, wire))
}

pub(super) fn tls(address: &Address<'_>) -> Result<ClientConfig, BoxError> {
    let builder = ClientConfig::builder_with_provider(tls_provider())
        .with_safe_default_protocol_versions()?;
    let Some(path) = address.ca_file else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    let unread =
        |error: &dyn std::fmt::Display| format!("cannot read ca_file {}: {error}", path.display());
    let text = read_text(path, SECRET_BYTES).map_err(|error| unread(&error))?;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        roots.add(certificate.map_err(|error| unread(&error))?)?;
    }
    if roots.is_empty() {
        return Err(format!("ca_file {} contains no certificate", path.display()).into());
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &Url) -> Address<'_> {
        Address {
            role: "catalog",
            url,
            password: None,
            ca_file: None,
        }
    }

    fn wire_of(url: &str) -> Result<Wire, String> {
        settings(&address(&url.parse().unwrap())).map(|(_, wire)| wire)
    }

    #[test]
    fn nothing_leaves_this_machine_without_verified_tls() {
        for url in [
            "postgres://u@db.example/d",
            "postgres://u@db.example/d?sslmode=prefer",
            "postgres://u@db.example/d?sslmode=require",
            "postgres://u@10.0.0.1/d?sslmode=verify-full",
            "postgres://u@127.0.0.1/d?sslmode=require",
            "postgres://u@localhost,db.example/d",
            "postgres://u@localhost/d?hostaddr=10.0.0.1",
            "postgres://u@localhost/d?host=db.example",
        ] {
            assert_eq!(wire_of(url), Ok(Wire::Tls), "{url}");
        }
        for url in [
            "postgres://u@127.0.0.1/d",
            "postgres://u@[::1]/d",
            "postgres://u@localhost:5433/d?sslmode=disable",
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/d?sslmode=prefer",
            "postgres:///d?user=u&host=/tmp",
        ] {
            assert_eq!(wire_of(url), Ok(Wire::Plain), "{url}");
        }
    }

    #[test]
    fn a_weaker_sslmode_is_refused() {
        for mode in ["disable", "allow", "verify-ca", ""] {
            assert!(wire_of(&format!("postgres://u@db.example/d?sslmode={mode}")).is_err());
        }
    }

    #[test]
    fn a_place_and_a_refusal_hold_no_secret() {
        let url: Url = "postgres://u:geheim@db.example:5433/soda?sslmode=disable&password=geheim"
            .parse()
            .unwrap();
        let address = address(&url);
        assert_eq!(place(&address).to_string(), "catalog db.example:5433/soda");
        assert!(!settings(&address).unwrap_err().contains("geheim"));
        let broken: Url = "postgres://u:geheim@db.example/d?geheim=geheim"
            .parse()
            .unwrap();
        let refused = settings(&super::tests::address(&broken)).unwrap_err();
        assert!(!refused.contains("geheim"), "{refused}");
    }

    #[test]
    fn a_socket_is_named_by_its_folder() {
        let url: Url = "postgres://u@%2Frun%2Fpg/soda".parse().unwrap();
        assert_eq!(place(&address(&url)).name, "/run/pg/soda");
        let url: Url = "postgres:///soda?user=u&host=/tmp".parse().unwrap();
        assert_eq!(place(&address(&url)).name, "/tmp/soda");
    }
}
