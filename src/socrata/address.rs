//! Checks a portal's address: no secret is sent unencrypted, or as part of an address.

use std::net::IpAddr;

use url::{Host, Url};

use super::failure::PortalError;

/// Checks that the URL is the root of a portal, with `https`, or with `http` on this machine.
pub(super) fn check_url(url: &Url) -> Result<(), PortalError> {
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
    if plain && safe {
        return Ok(());
    }
    let mut shown = url.clone();
    let _ = shown.set_password(None); // fails only for URLs that cannot have one
    Err(PortalError::Url(shown.to_string()))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
