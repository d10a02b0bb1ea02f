//! What applies to every request and response: time limits, security headers, the token.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Problem;

/// How long a request may take, including the arrival of its body.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The default content security policy: browsers may do nothing with a response.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Cancels requests that take too long, and adds security headers to every response. There are no
/// CORS headers: pages of other sites can read nothing, and can send nothing with a token.
pub(super) async fn guard(request: Request, next: Next) -> Response<Body> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
    let mut response =
        answer.unwrap_or_else(|_| Problem::timeout("the request took too long").into_response());
    let headers = response.headers_mut();
    let own_policy = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (own_policy, "same-origin"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The token of `Authorization: Bearer TOKEN`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let given = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = given.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Refuses a form that a browser sends from another site's page.
///
/// # Errors
/// If the form may come from another site.
pub(super) fn from_our_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let origin = text(ORIGIN).and_then(|origin| origin.split_once("://"));
    let foreign = match (text(ORIGIN), origin, text(HOST)) {
        (None, _, _) => false, // no browser sends a form without it
        (Some(_), Some((_, origin)), Some(host)) => origin != host,
        (Some(_), _, _) => true,
    };
    if foreign {
        let text = "this form was sent from the page of another site";
        return Err(Problem::forbidden(text));
    }
    Ok(())
}

/// Allows an act only with the configured token.
///
/// # Errors
/// If no token is configured, or the given one is missing or wrong.
pub(super) fn may(given: Option<&[u8]>, configured: Option<&SecretString>) -> Result<(), Problem> {
    let Some(token) = configured else {
        return Err(Problem::forbidden(
            "this API is read-only because no http.token is configured",
        ));
    };
    let Some(given) = given else {
        return Err(Problem::unauthorized(
            "this request needs the header `Authorization: Bearer TOKEN` with the token set in http.token",
        ));
    };
    // Both are hashed first, so that the timing reveals neither the content nor the length.
    let wanted = Sha256::digest(token.expose_secret().trim().as_bytes());
    let given = Sha256::digest(given.trim_ascii());
    if bool::from(wanted.as_slice().ct_eq(given.as_slice())) {
        Ok(())
    } else {
        tracing::warn!("refused a request over HTTP: the token is wrong");
        Err(Problem::unauthorized("the token is wrong"))
    }
}
