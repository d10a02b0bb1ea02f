//! The lake and the archive against a faulty S3 server: every fault has its own error, and no fault
//! looks like a short success.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Method, Request, Response};
use futures::StreamExt;
use sodalake::archive::{ArchiveError, ArchiveWriter};
use sodalake::lake::LakeError;
use sodalake::model::FileStamp;
use sodalake::settings::ArchiveSettings;
use tokio::net::TcpListener;

use super::{CHAVEZ, Place, archive, day, path};
use crate::support::s3::S3Bucket;

const BODY: &str = "0123456789";
const ETAG: &str = "\"one\"";

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Announces the whole body and breaks off halfway.
    Breaks,
    /// Announces half of the body and sends that.
    Shortens,
    /// Announces a longer body and sends that.
    Lengthens,
    /// Does not announce the body's length.
    Unmeasured,
    /// Sends another version than the requested one.
    IgnoresIfMatch,
    /// Refuses everything with this status.
    Refuses(u16),
    /// Refuses files, but lists them.
    RefusesFiles(u16),
    /// Lists the file twice.
    Repeats,
    /// Lists a file of another folder.
    Strays,
    /// Breaks off its listing.
    BreaksListing,
    /// Answers a listing with a web page.
    AnswersWithPage,
    /// Reports that the listing continues, without a continuation token.
    HidesTheRest,
    /// Returns other bytes than were stored.
    Alters,
}

struct Server {
    fault: Fault,
    stored: Mutex<Option<Bytes>>,
    /// The version that each request asked for.
    requests: Mutex<Vec<Option<HeaderValue>>>,
}

type Shared = Arc<Server>;

async fn serve(fault: Fault) -> (Place, Shared) {
    let server = Arc::new(Server {
        fault,
        stored: Mutex::default(),
        requests: Mutex::default(),
    });
    let router = Router::new().fallback(answer).with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Place::S3(S3Bucket::at(address, "lake")), server)
}

async fn answer(State(server): State<Shared>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let version = parts.headers.get("if-match").cloned();
    server.requests.lock().unwrap().push(version);
    if let Fault::Refuses(code) = server.fault {
        return status(code);
    }
    if query.contains("list-type=2") {
        return listing(server.fault);
    }
    if let Fault::RefusesFiles(code) = server.fault {
        return status(code);
    }
    match parts.method {
        Method::PUT => {
            let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            *server.stored.lock().unwrap() = Some(bytes);
            Response::builder()
                .header("etag", ETAG)
                .body(Body::empty())
                .unwrap()
        }
        Method::POST => {
            *server.stored.lock().unwrap() = None;
            Response::new("<DeleteResult></DeleteResult>".into())
        }
        _ => file(&server),
    }
}

fn status(code: u16) -> Response<Body> {
    let text = "<Error><Code>Odd</Code></Error>";
    Response::builder().status(code).body(text.into()).unwrap()
}

fn listing(fault: Fault) -> Response<Body> {
    let entry = |key: &str| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2020-05-14T06:00:00.000Z</LastModified>\
             <ETag>&quot;one&quot;</ETag><Size>10</Size></Contents>"
        )
    };
    let entries = match fault {
        Fault::Repeats => entry(CHAVEZ).repeat(2),
        Fault::Strays => entry("2020/05/14/gs/stray.json"),
        Fault::RefusesFiles(404) => entry("2020/05/13/gs/another.json"),
        _ => entry(CHAVEZ),
    };
    let truncated = fault == Fault::HidesTheRest;
    let whole = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>lake</Name>\
         <IsTruncated>{truncated}</IsTruncated>{entries}</ListBucketResult>"
    );
    Response::new(match fault {
        Fault::BreaksListing => whole[..whole.len() - 40].to_string().into(),
        Fault::AnswersWithPage => "<html><body>Please log in</body></html>".into(),
        _ => whole.into(),
    })
}

fn file(server: &Server) -> Response<Body> {
    let stored = server.stored.lock().unwrap().clone();
    let mut bytes = stored.map_or_else(|| BODY.into(), |stored| stored.to_vec());
    let promised = match server.fault {
        Fault::Shortens => {
            bytes.truncate(5);
            5
        }
        Fault::Lengthens => {
            bytes.extend_from_slice(b"more");
            bytes.len()
        }
        Fault::Alters => {
            *bytes.last_mut().unwrap() ^= 1;
            bytes.len()
        }
        Fault::Breaks => {
            bytes.truncate(5);
            BODY.len()
        }
        _ => bytes.len(),
    };
    let etag = if server.fault == Fault::IgnoresIfMatch {
        "\"two\""
    } else {
        ETAG
    };
    let mut response = Response::builder()
        .header("etag", etag)
        .header("last-modified", "Thu, 14 May 2020 06:00:00 GMT");
    if server.fault != Fault::Unmeasured {
        response = response.header("content-length", promised);
    }
    let broken = server.fault == Fault::Breaks;
    let rest = async move {
        // Nothing to send for a moment: the bytes so far are sent before the connection breaks.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken off"))
    };
    let rest = futures::stream::once(rest).take(broken.into());
    let first = futures::stream::iter([Ok(Bytes::from(bytes))]);
    response.body(Body::from_stream(first.chain(rest))).unwrap()
}

/// The stamp as the listing has it.
fn stamp() -> FileStamp {
    FileStamp {
        size: 10,
        etag: Some(ETAG.into()),
        modified: "2020-05-14T06:00:00Z".parse().unwrap(),
    }
}

async fn read(fault: Fault) -> Result<Bytes, LakeError> {
    let (place, _) = serve(fault).await;
    place.lake().read(&path(CHAVEZ), &stamp()).await
}

async fn list(fault: Fault) -> Result<usize, LakeError> {
    let (place, _) = serve(fault).await;
    let files = place.lake().list("gs", day()).await?.files;
    Ok(files.len())
}

async fn stat(fault: Fault) -> Result<Option<FileStamp>, LakeError> {
    let (place, _) = serve(fault).await;
    place.lake().stat(&path(CHAVEZ)).await
}

#[tokio::test]
async fn a_healthy_server_is_read() {
    assert_eq!(read(Fault::None).await.unwrap(), BODY);
    assert_eq!(list(Fault::None).await.unwrap(), 1);
    assert_eq!(stat(Fault::None).await.unwrap(), Some(stamp()));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_reported_as_truncated() {
    let error = read(Fault::Breaks).await.unwrap_err();
    assert!(
        matches!(
            error,
            LakeError::Truncated {
                got: 5,
                want: 10,
                source: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_wrong_length_is_detected_by_the_listing() {
    let error = read(Fault::Shortens).await.unwrap_err();
    assert!(
        matches!(
            error,
            LakeError::Truncated {
                got: 5,
                want: 10,
                source: None,
                ..
            }
        ),
        "{error:?}"
    );
    let error = read(Fault::Lengthens).await.unwrap_err();
    assert!(
        matches!(&error, LakeError::Changed { what, .. } if what == "14 bytes instead of 10"),
        "{error:?}"
    );
    let error = read(Fault::Unmeasured).await.unwrap_err();
    assert!(matches!(error, LakeError::Failing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_changed_since_the_listing_is_reported_as_changed() {
    for fault in [Fault::IgnoresIfMatch, Fault::Refuses(412)] {
        let error = read(fault).await.unwrap_err();
        assert!(
            matches!(error, LakeError::Changed { .. }),
            "{fault:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_not_taken_for_an_absent_file_or_an_empty_folder() {
    for code in [401, 403] {
        let fault = Fault::Refuses(code);
        for error in [
            read(fault).await.unwrap_err(),
            list(fault).await.unwrap_err(),
            stat(fault).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, LakeError::Denied { .. }),
                "{code}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn not_found_proves_absence_only_if_the_listing_agrees() {
    let error = read(Fault::Refuses(404)).await.unwrap_err();
    assert!(matches!(error, LakeError::Absent { .. }), "{error:?}");
    for error in [
        list(Fault::Refuses(404)).await.unwrap_err(),
        stat(Fault::Refuses(404)).await.unwrap_err(),
    ] {
        assert!(matches!(error, LakeError::Unreachable { .. }), "{error:?}");
    }
    assert_eq!(stat(Fault::RefusesFiles(404)).await.unwrap(), None);
    let (place, _) = serve(Fault::RefusesFiles(404)).await;
    let listed = path("2020/05/13/gs/another.json");
    let error = place.lake().stat(&listed).await.unwrap_err();
    assert!(matches!(error, LakeError::Changed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_failing_server_gets_four_requests_for_the_listed_version() {
    let (place, server) = serve(Fault::Refuses(500)).await;
    let error = place
        .lake()
        .read(&path(CHAVEZ), &stamp())
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::Unreachable { .. }), "{error:?}");
    let asked = server.requests.lock().unwrap().clone();
    // Then the program checks whether the server answers anything else.
    let (for_the_file, others) = asked.split_at(4);
    assert_eq!(for_the_file, vec![Some(HeaderValue::from_static(ETAG)); 4]);
    assert_eq!(others, vec![None; 4]);
}

#[tokio::test]
async fn a_failing_file_is_no_lake_error_while_the_lake_answers() {
    let (place, _) = serve(Fault::RefusesFiles(500)).await;
    let error = place.lake().read(&path(CHAVEZ), &stamp()).await;
    assert!(matches!(error, Err(LakeError::Failing { .. })), "{error:?}");
    assert!(place.lake().answers().await);
    let (place, _) = serve(Fault::Refuses(500)).await;
    assert!(!place.lake().answers().await);
}

#[tokio::test]
async fn a_listing_that_contradicts_itself_is_refused() {
    let error = list(Fault::Repeats).await.unwrap_err();
    assert!(
        matches!(&error, LakeError::Repeated { path, .. } if path.0 == CHAVEZ),
        "{error:?}"
    );
    let error = list(Fault::Strays).await.unwrap_err();
    assert!(matches!(error, LakeError::Stray { .. }), "{error:?}");
}

#[tokio::test]
async fn an_incomplete_listing_is_refused() {
    for fault in [
        Fault::BreaksListing,
        Fault::AnswersWithPage,
        Fault::HidesTheRest,
    ] {
        let listed = list(fault).await;
        assert!(
            matches!(listed, Err(LakeError::Unreachable { .. })),
            "{fault:?}: {listed:?}"
        );
    }
}

#[tokio::test]
async fn an_archive_counts_as_stored_only_if_it_can_be_read_back() {
    for (fault, is_right) in [
        (
            Fault::None,
            (|stored| stored.is_ok()) as fn(&Result<_, ArchiveError>) -> bool,
        ),
        (Fault::Refuses(507), |stored| {
            matches!(stored, Err(ArchiveError::Write { .. }))
        }),
        (Fault::Refuses(403), |stored| {
            matches!(stored, Err(ArchiveError::Write { .. }))
        }),
        (Fault::Alters, |stored| {
            matches!(stored, Err(ArchiveError::Unfaithful { .. }))
        }),
        (Fault::Shortens, |stored| {
            matches!(stored, Err(ArchiveError::Unfaithful { .. }))
        }),
    ] {
        let (place, server) = serve(fault).await;
        let settings = ArchiveSettings {
            url: place.url(),
            keep_days: 400,
        };
        let writer = ArchiveWriter::open_with(&settings, &place.environment()).unwrap();
        let header = archive::header(archive::PASS, "2020-10-01");
        let stored = writer.store(&header, &archive::rows(3), &[]).await;
        assert!(is_right(&stored), "{fault:?}: {stored:?}");
        assert_eq!(
            server.stored.lock().unwrap().is_some(),
            stored.is_ok(),
            "{fault:?}"
        );
    }
}
