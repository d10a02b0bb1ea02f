//! Checks that listings are complete.
//!
//! `object_store` accepts any XML as a listing, even a web page, and finds no objects in it; and it
//! treats a page that is truncated without a continuation token as the last one. Either would pass
//! for a complete listing. So this module checks every listing as it arrives from the network, and
//! fails if it is not a listing, is incomplete or is too large. Supported formats: `ListObjectsV2`
//! of S3 and GCS, `List Blobs` of Azure.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

use super::unaddressable;
use crate::outgoing::{self, Wire};

/// Maximum size of a page of a listing or of an error response, in bytes. A page names at most
/// 5,000 objects.
const MAX_BYTES: usize = 16 << 20;

/// Creates clients that check listings.
#[derive(Debug)]
pub(super) struct CheckedListings;

#[derive(Debug)]
struct Checked {
    tls: HttpClient,
    /// Present if the options allow plain HTTP: for a store on this machine, and for the metadata
    /// service that provides the credentials of the machine's role.
    plain: Option<HttpClient>,
}

/// What is wrong with a listing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ListingError {
    #[error("the answer is not a listing")]
    Foreign,
    #[error("the listing is incomplete and does not say where it continues")]
    Cut,
    #[error("the answer is longer than {MAX_BYTES} bytes")]
    Endless,
}

impl HttpConnector for CheckedListings {
    /// Uses our own HTTP clients. The library's client follows redirects to other hosts (dropping
    /// the signature but not the session token), sends plain requests through a proxy, and can be
    /// made by an environment variable not to verify certificates. Only the permission for plain
    /// HTTP and the timeouts are taken from the options.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let plain = (plain.as_deref() == Some("true")).then(|| client(Wire::Plain, options));
        Ok(HttpClient::new(Checked {
            tls: client(Wire::Tls, options)?,
            plain: plain.transpose()?,
        }))
    }
}

fn client(wire: Wire, options: &ClientOptions) -> object_store::Result<HttpClient> {
    let time = |key| humantime::parse_duration(&options.get_config_value(&key)?).ok();
    let mut builder = outgoing::client(wire).http1_only().no_gzip();
    if let Some(time) = time(ClientConfigKey::Timeout) {
        builder = builder.timeout(time);
    }
    if let Some(time) = time(ClientConfigKey::ConnectTimeout) {
        builder = builder.connect_timeout(time);
    }
    if let Some(time) = time(ClientConfigKey::ReadTimeout) {
        builder = builder.read_timeout(time);
    }
    let client = builder.build();
    let client = client.map_err(|source| object_store::Error::Generic {
        store: "HTTP client",
        source: Box::new(source),
    })?;
    Ok(HttpClient::new(client))
}

impl Checked {
    /// The client for an address. If there is no plain client, the TLS client refuses plain
    /// addresses.
    fn client(&self, wire: Wire) -> &HttpClient {
        match (wire, &self.plain) {
            (Wire::Plain, Some(plain)) => plain,
            (Wire::Plain, None) | (Wire::Tls, _) => &self.tls,
        }
    }
}

#[async_trait]
impl HttpService for Checked {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let wire = Wire::of(request.uri().scheme_str().unwrap_or_default());
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query
            .split('&')
            .any(|pair| pair == "list-type=2" || pair == "comp=list");
        let response = self.client(wire).execute(request).await?;
        let is_success = response.status().is_success();
        if !is_listing && is_success {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = read_whole(body).await?;
        if !is_success {
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        check(&body).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let (body, unaddressable) = unaddressable::split(body);
        let mut response = HttpResponse::from_parts(parts, body.into());
        if let Some(names) = unaddressable {
            response.extensions_mut().insert(names);
        }
        Ok(response)
    }
}

/// The complete body of a listing's page or of an error response, unless it is too large.
async fn read_whole(body: HttpResponseBody) -> Result<Bytes, HttpError> {
    let mut parts = body.bytes_stream();
    let mut whole = BytesMut::new();
    while let Some(part) = parts.try_next().await? {
        if whole.len() + part.len() > MAX_BYTES {
            return Err(HttpError::new(HttpErrorKind::Decode, ListingError::Endless));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// Object names are escaped in a listing, so they cannot be mistaken for one of these tags.
fn check(body: &[u8]) -> Result<(), ListingError> {
    let text = std::str::from_utf8(body).map_err(|_| ListingError::Foreign)?;
    if text.contains("<EnumerationResults") {
        return Ok(());
    }
    if !text.contains("<ListBucketResult") {
        return Err(ListingError::Foreign);
    }
    let is_truncated = text.contains("<IsTruncated>true<");
    let has_token = text
        .split_once("<NextContinuationToken>")
        .is_some_and(|(_, rest)| !rest.starts_with('<'));
    if is_truncated && !has_token {
        return Err(ListingError::Cut);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_listing_passes() {
        let s3 = |inner: &str| {
            let open = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3\">";
            check(format!("{open}{inner}</ListBucketResult>").as_bytes())
        };
        assert_eq!(s3(""), Ok(()));
        assert_eq!(s3("<IsTruncated>false</IsTruncated>"), Ok(()));
        let more = "<IsTruncated>true</IsTruncated>";
        let there = "<NextContinuationToken>x</NextContinuationToken>";
        assert_eq!(s3(&format!("{more}{there}")), Ok(()));
        assert_eq!(s3(more), Err(ListingError::Cut));
        let nowhere = "<NextContinuationToken></NextContinuationToken>";
        assert_eq!(s3(&format!("{more}{nowhere}")), Err(ListingError::Cut));
        assert_eq!(check(b"<EnumerationResults/>"), Ok(()));
        for foreign in [&b""[..], b"<html/>", b"{}", b"\xff"] {
            assert_eq!(check(foreign), Err(ListingError::Foreign));
        }
    }
}
