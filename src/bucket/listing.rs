//! Listings that are what they seem.
//!
//! `object_store` reads any XML as a listing, a web page too, and finds it empty; and it takes a
//! page that says "to be continued", and not where, for the last one. Either would be a short
//! success, so this looks at every listing on its way from the network, and fails where one is not
//! a listing or not whole. The formats: `ListObjectsV2` of S3 and GCS, `List Blobs` of Azure.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

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
}

impl HttpConnector for CheckedListings {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Checked(client)))
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
        if !is_listing || !response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = body.bytes().await?;
        check(&body).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
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
