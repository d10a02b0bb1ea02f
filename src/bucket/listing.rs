//! Listings that are what they seem.
//!
//! `object_store` reads any XML as a listing, a web page too, and finds it empty; and it takes a
//! page that says "to be continued", and not where, for the last one. Either would be a short
//! success, so this looks at every listing on its way from the network, and fails where one is not
//! a listing, not whole or without end. The formats: `ListObjectsV2` of S3 and GCS, `List Blobs` of Azure.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

/// Largest page of a listing, and largest refusal, in bytes: a page names 5,000 objects at most.
const MAX_BYTES: usize = 16 << 20;

/// Makes clients whose listings are checked.
#[derive(Debug)]
pub(super) struct CheckedListings;

#[derive(Debug)]
struct Checked(HttpClient);

/// What is wrong with a listing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ListingError {
    #[error("the answer is not a listing")]
    Foreign,
    #[error("the listing goes on, and does not say where")]
    Cut,
    #[error("the answer is longer than {MAX_BYTES} bytes")]
    Endless,
}

impl HttpConnector for CheckedListings {
    /// A client of our own: the library's follows redirects to other hosts, where it leaves out the
    /// signature and not the session token, and an environment variable can stop it from looking
    /// at certificates. From the options come what may be sent in the clear, and the times.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let time = |key| humantime::parse_duration(&options.get_config_value(&key)?).ok();
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sodalake/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .https_only(plain.as_deref() != Some("true"))
            .http1_only()
            .no_gzip();
        if let Some(time) = time(ClientConfigKey::Timeout) {
            builder = builder.timeout(time);
        }
        if let Some(time) = time(ClientConfigKey::ConnectTimeout) {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = time(ClientConfigKey::ReadTimeout) {
            builder = builder.read_timeout(time);
        }
        let client = builder
            .build()
            .map_err(|source| object_store::Error::Generic {
                store: "HTTP client",
                source: Box::new(source),
            })?;
        Ok(HttpClient::new(Checked(HttpClient::new(client))))
    }
}

#[async_trait]
impl HttpService for Checked {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query
            .split('&')
            .any(|pair| pair == "list-type=2" || pair == "comp=list");
        let response = self.0.execute(request).await?;
        let is_success = response.status().is_success();
        if !is_listing && is_success {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = whole(body).await?;
        if is_success {
            check(&body).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// A listing's page, or what a refusal says, whole and not too large.
async fn whole(body: HttpResponseBody) -> Result<Bytes, HttpError> {
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

/// Names of objects are escaped in a listing, so they cannot pass for one of these marks.
fn check(body: &[u8]) -> Result<(), ListingError> {
    let text = std::str::from_utf8(body).map_err(|_| ListingError::Foreign)?;
    if text.contains("<EnumerationResults") {
        return Ok(());
    }
    if !text.contains("<ListBucketResult") {
        return Err(ListingError::Foreign);
    }
    let goes_on = text.contains("<IsTruncated>true<");
    let tells_where = text
        .split_once("<NextContinuationToken>")
        .is_some_and(|(_, rest)| !rest.starts_with('<'));
    if goes_on && !tells_where {
        return Err(ListingError::Cut);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_listing_passes() {
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
