//! A redirect is never followed: no credential goes to the host it names. The portal client's
//! redirects are tested in `clients::portal`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use sodalake::bucket::Environment;
use sodalake::lake::Lake;
use sodalake::settings::LakeSettings;

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A host that answers every request with a listing, and records the headers it was sent.
async fn elsewhere() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let take = move |request: Request| async move {
        kept.lock().unwrap().push(request.headers().clone());
        "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    };
    (serve(Router::new().fallback(take)).await, seen)
}

#[tokio::test]
async fn a_redirect_of_the_bucket_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (target, seen) = elsewhere().await;
        let status = StatusCode::from_u16(status).unwrap();
        let away = move |request: Request| async move {
            assert!(request.headers().contains_key("authorization"));
            let location = format!("http://{target}{}", request.uri());
            (status, [(header::LOCATION, location)], "gone elsewhere")
        };
        let bucket = serve(Router::new().fallback(away)).await;
        let settings = LakeSettings {
            url: "s3://lake".parse().unwrap(),
            endpoint: Some(format!("http://{bucket}").parse().unwrap()),
            region: Some("us-east-1".into()),
            repository: "ready".into(),
            max_file_bytes: 1 << 20,
        };
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "session-token"),
        ];
        let environment: Environment = keys.map(|(name, value)| (name.into(), value.into())).into();
        let lake = Lake::open_with(&settings, &environment).unwrap();
        let day = "2020-10-14".parse().unwrap();
        let listed = lake.list("gs", day).await;
        assert!(listed.is_err(), "{status}: {listed:?}");
        assert_eq!(seen.lock().unwrap().len(), 0, "{status}");
    }
}
