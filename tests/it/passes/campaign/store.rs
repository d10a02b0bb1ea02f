//! An S3 server for a city's lake folder that damages one file, or the listing of its folder.
//!
//! It shares no code with the client under test. Without a damage it serves the folder unchanged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, Response};
use futures::{StreamExt as _, stream};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use sodalake::lake::Lake;
use sodalake::settings::LakeSettings;
use tokio::net::TcpListener;

use super::damage::{Damage, StoreFault};
use crate::support::s3::S3Bucket;

const BUCKET: &str = "lake";
/// More bytes than a lake file may take in memory.
const HUGE: u64 = 2 << 30;
const PIECE: &[u8] = &[b'x'; 1 << 16];

pub struct Store {
    folder: PathBuf,
    damage: Mutex<Option<Damage>>,
    /// How often the damaged file was sent. A file that changes has a new version each time.
    sent: Mutex<usize>,
    address: Mutex<Option<S3Bucket>>,
}

/// An object in a listing.
struct Object {
    path: String,
    size: u64,
    etag: String,
}

impl Store {
    pub async fn serve(folder: PathBuf) -> Arc<Self> {
        let store = Arc::new(Self {
            folder,
            damage: Mutex::default(),
            sent: Mutex::default(),
            address: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(store.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        *store.address.lock().unwrap() = Some(S3Bucket::at(address, BUCKET));
        tokio::spawn(async move { axum::serve(listener, router).await });
        store
    }

    /// A client of the lake that it serves.
    pub fn lake(&self, settings: &LakeSettings) -> Lake {
        let address = self.address.lock().unwrap();
        let bucket = address.as_ref().unwrap();
        let settings = LakeSettings {
            url: bucket.url.clone(),
            endpoint: Some(bucket.endpoint.clone()),
            ..settings.clone()
        };
        Lake::open_with(&settings, &bucket.environment).unwrap()
    }

    pub fn set(&self, damage: Option<Damage>) {
        *self.damage.lock().unwrap() = damage;
        *self.sent.lock().unwrap() = 0;
    }

    fn fault(&self, path: &str) -> Option<StoreFault> {
        let damage = self.damage.lock().unwrap();
        damage.as_ref()?.fault_for(path)
    }

    /// The bytes that the server returns for the file.
    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let stored = std::fs::read(self.folder.join(path)).ok();
        match self.fault(path) {
            Some(StoreFault::Gone) => None,
            Some(StoreFault::Bytes(bytes)) => Some(bytes.to_vec()),
            Some(StoreFault::Changes) => {
                let more = vec![b'\n'; *self.sent.lock().unwrap()];
                stored.map(|bytes| [bytes, more].concat())
            }
            _ => stored,
        }
    }

    fn object(&self, path: &str) -> Option<Object> {
        let bytes = self.bytes(path)?;
        let size = match self.fault(path) {
            Some(StoreFault::HugeAsListed) => HUGE,
            _ => bytes.len() as u64,
        };
        let etag = format!(
            "\"{:x}\"",
            Sha256::digest(&bytes).iter().fold(0u128, |sum, byte| {
                sum.rotate_left(8) ^ u128::from(*byte)
            })
        );
        Some(Object {
            path: path.to_owned(),
            size,
            etag,
        })
    }

    fn listing(&self, query: &str) -> Response<Body> {
        let prefix = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "prefix")
            .map_or(String::new(), |(_, value)| {
                value.trim_end_matches('/').to_owned()
            });
        let mut names = files_in(&self.folder.join(&prefix));
        let mut repeated = None;
        let damage = self.damage.lock().unwrap().clone();
        if let Some(damage) = damage.filter(|damage| damage.folder() == prefix) {
            match damage.fault_for(&damage.path) {
                Some(StoreFault::ListingFails(code)) => return status(code),
                Some(StoreFault::ListingCut) => return cut_listing(),
                Some(StoreFault::ListingPage) => {
                    return Response::new("<html><body>Please log in</body></html>".into());
                }
                Some(StoreFault::ListingRepeats) => repeated = Some(damage.path.clone()),
                Some(StoreFault::ListingLacks) => {
                    names.retain(|name| format!("{prefix}/{name}") != damage.path);
                }
                Some(StoreFault::Bytes(_)) => names.push(damage.name().to_owned()),
                _ => {}
            }
        }
        names.sort();
        names.dedup();
        let paths = names.iter().map(|name| format!("{prefix}/{name}"));
        let objects = paths.chain(repeated).filter_map(|path| self.object(&path));
        let entries: String = objects.map(|object| object.listed()).collect();
        listing_of(&entries)
    }

    fn file(&self, path: &str, method: &Method, if_match: Option<&str>) -> Response<Body> {
        let fault = self.fault(path);
        if let Some(StoreFault::Fails(code)) = fault {
            return status(code);
        }
        let (Some(object), Some(bytes)) = (self.object(path), self.bytes(path)) else {
            return status(404);
        };
        if if_match.is_some_and(|etag| etag != object.etag) {
            return status(412);
        }
        let reply = Response::builder()
            .header("etag", &object.etag)
            .header("last-modified", "Thu, 14 May 2020 06:00:00 GMT");
        if *method == Method::HEAD {
            let reply = reply.header("content-length", object.size);
            return reply.body(Body::empty()).unwrap();
        }
        if matches!(fault, Some(StoreFault::Changes)) {
            *self.sent.lock().unwrap() += 1;
        }
        let (length, body) = match fault {
            Some(StoreFault::BreaksOff(at)) => (bytes.len() as u64, broken(&bytes, at)),
            Some(StoreFault::Shortens(by)) => {
                let left = bytes.len().saturating_sub(by.max(1));
                (left as u64, Body::from(bytes[..left].to_vec()))
            }
            Some(StoreFault::Lengthens(by)) => {
                let more = [bytes, vec![b' '; by.max(1)]].concat();
                (more.len() as u64, Body::from(more))
            }
            Some(StoreFault::HugeAsListed | StoreFault::HugeUnawares) => (HUGE, endless()),
            _ => (bytes.len() as u64, Body::from(bytes)),
        };
        reply.header("content-length", length).body(body).unwrap()
    }
}

impl Object {
    fn listed(&self) -> String {
        let Self { path, size, etag } = self;
        let escaped = path.replace('&', "&amp;").replace('<', "&lt;");
        let etag = etag.replace('"', "&quot;");
        format!(
            "<Contents><Key>{escaped}</Key><LastModified>2020-05-14T06:00:00.000Z</LastModified>\
             <ETag>{etag}</ETag><Size>{size}</Size></Contents>"
        )
    }
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn listing_of(entries: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>{BUCKET}</Name>\
         <IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    );
    Response::new(text.into())
}

fn cut_listing() -> Response<Body> {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>lake</Na";
    Response::new(text.into())
}

fn status(code: u16) -> Response<Body> {
    let text = "<Error><Code>Odd</Code></Error>";
    Response::builder().status(code).body(text.into()).unwrap()
}

/// This many bytes, then the connection breaks.
fn broken(bytes: &[u8], at: usize) -> Body {
    let first = stream::iter([Ok(Bytes::from(bytes[..at.min(bytes.len() - 1)].to_vec()))]);
    let rest = stream::once(async {
        // Yield once, so that the first bytes are sent before the connection breaks.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken off"))
    });
    Body::from_stream(first.chain(rest))
}

/// Two gigabytes without a line break.
fn endless() -> Body {
    let pieces = HUGE / PIECE.len() as u64;
    let pieces =
        stream::iter(0..pieces).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(PIECE)));
    Body::from_stream(pieces)
}

async fn answer(State(store): State<Arc<Store>>, request: Request<Body>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("list-type=2") {
        return store.listing(query);
    }
    let path = percent_decode_str(request.uri().path())
        .decode_utf8()
        .unwrap();
    let path = path
        .trim_start_matches('/')
        .trim_start_matches(BUCKET)
        .trim_start_matches('/');
    let if_match = request.headers().get("if-match");
    let if_match = if_match.and_then(|value| value.to_str().ok());
    store.file(path, request.method(), if_match)
}
