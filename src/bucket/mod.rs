//! Buckets and folders by URL: what lake and archive have in common.
//!
//! Takes `s3://`, `gs://`, `az://`, `file:///folder` and `memory:///` (each opening of the last is
//! a store of its own). Credentials come from the environment, by the names that `object_store`'s
//! builders know: `AWS_*`, `GOOGLE_*`, `AZURE_*`, or from the instance's role. Answers for four
//! rules: nothing is sent in the clear except to this machine, a request is tried a bounded number
//! of times, a listing is whole, and a folder must exist. What may be read or written is left to the callers.

mod listing;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{Host, Url};

use self::listing::CheckedListings;

/// Environment variables by name; only those of the URL's kind of store are looked at.
pub type Environment = BTreeMap<String, String>;

/// Tries of one request in all: 4, within a minute.
const RETRIES: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_mins(1);
/// Longest a whole request may take, and longest it may stand still. The library's own 30 seconds
/// for the whole would cut off a large file on a slow line.
const REQUEST_WITHIN: &str = "600s";
const STALLED_AFTER: &str = "30s";

/// Why a bucket or folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An address without TLS that is not this machine.
    #[error(
        "open {bucket}: endpoint {endpoint} sends secrets in the clear; want https, or http to loopback"
    )]
    PlainHttp {
        /// The bucket.
        bucket: String,
        /// The address, without what may be secret in it.
        endpoint: String,
    },
    /// An address that is no URL, or no web address.
    #[error("open {bucket}: endpoint {endpoint:?} is not an http or https address")]
    Endpoint {
        /// The bucket.
        bucket: String,
        /// What was found.
        endpoint: String,
    },
    /// An endpoint was set for something that is not S3.
    #[error("open {bucket}: an endpoint or region is for s3:// only")]
    NotS3 {
        /// The bucket.
        bucket: String,
    },
    /// A folder that is not there, is no folder or may not be entered.
    #[error("open folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not the URL of a bucket or folder.
    #[error("open {bucket}: want s3://, gs://, az:// or file:///folder")]
    Url {
        /// The URL, without what may be secret in it.
        bucket: String,
    },
    /// Refused by the library: a missing name or a credential it cannot read, for instance.
    #[error("open {bucket}")]
    Build {
        /// The bucket.
        bucket: String,
        /// What the library says.
        source: object_store::Error,
    },
}

/// What an error of the library means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no such object, or no such bucket.
    Absent,
    /// The credentials, or the rights of a local file, do not suffice.
    Denied,
    /// A precondition does not hold: it is not the version that was asked for.
    Changed,
    /// It exists already.
    Exists,
    /// Anything else: it was not to be found out.
    Unknown,
}

/// An open bucket or folder.
#[derive(Clone)]
pub(crate) struct Bucket {
    /// The objects.
    pub(crate) store: Arc<dyn ObjectStore>,
    folder: Option<Folder>,
    name: String,
}

/// A folder of this machine.
#[derive(Clone)]
struct Folder {
    files: LocalFileSystem,
    /// Without symbolic links.
    root: PathBuf,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.name)
    }
}

/// What to open, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The bucket or folder.
    pub(crate) url: &'a Url,
    /// Address of an S3-compatible store, over that of the environment.
    pub(crate) endpoint: Option<&'a Url>,
    /// Region of the bucket, over that of the environment.
    pub(crate) region: Option<&'a str>,
}

/// The variables that object stores are configured by. Names and values that are not Unicode are
/// none of theirs.
pub(crate) fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| {
            ["AWS_", "GOOGLE_", "AZURE_"]
                .iter()
                .any(|p| name.starts_with(p))
        })
        .collect()
}

/// A URL without user, password and query.
fn harmless(url: &Url) -> String {
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

impl Target<'_> {
    /// Opens it. Nothing is asked of a remote store yet.
    pub(crate) fn open(self, environment: &Environment) -> Result<Bucket, OpenError> {
        let name = harmless(self.url);
        let unknown = |_| OpenError::Url {
            bucket: name.clone(),
        };
        let (scheme, prefix) = ObjectStoreScheme::parse(self.url).map_err(unknown)?;
        let is_s3 = scheme == ObjectStoreScheme::AmazonS3;
        if !is_s3 && (self.endpoint.is_some() || self.region.is_some()) {
            return Err(OpenError::NotS3 { bucket: name });
        }
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => return self.open_folder(name),
            ObjectStoreScheme::Memory => Arc::new(InMemory::new()),
            ObjectStoreScheme::AmazonS3 => self.s3(environment)?,
            ObjectStoreScheme::GoogleCloudStorage => self.google(environment)?,
            ObjectStoreScheme::MicrosoftAzure => self.azure(environment)?,
            _ => return Err(OpenError::Url { bucket: name }),
        };
        Ok(Bucket {
            store: below(store, prefix),
            folder: None,
            name,
        })
    }

    fn open_folder(self, name: String) -> Result<Bucket, OpenError> {
        let Ok(path) = self.url.to_file_path() else {
            return Err(OpenError::Url { bucket: name });
        };
        let folder = |source| OpenError::Folder {
            path: path.clone(),
            source,
        };
        let root = std::fs::canonicalize(&path).map_err(folder)?;
        std::fs::read_dir(&root).map_err(folder)?;
        let files = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| self.build_error(source))?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(Bucket {
            store: Arc::new(files.clone()),
            folder: Some(Folder { files, root }),
            name,
        })
    }

    fn build_error(self, source: object_store::Error) -> OpenError {
        OpenError::Build {
            bucket: harmless(self.url),
            source,
        }
    }

    /// Whether an address is one in the clear: only to this machine that is allowed.
    fn is_plain(self, endpoint: Option<String>) -> Result<bool, OpenError> {
        let Some(endpoint) = endpoint else {
            return Ok(false);
        };
        let bucket = harmless(self.url);
        let Ok(url) = Url::parse(&endpoint) else {
            return Err(OpenError::Endpoint { bucket, endpoint });
        };
        match (url.scheme(), is_loopback(&url)) {
            ("https", _) => Ok(false),
            ("http", true) => Ok(true),
            ("http", false) => Err(OpenError::PlainHttp {
                bucket,
                endpoint: harmless(&url),
            }),
            _ => Err(OpenError::Endpoint {
                bucket,
                endpoint: harmless(&url),
            }),
        }
    }
}

/// Hands a builder the variables that are its own, then our limits.
macro_rules! configured {
    ($target:expr, $builder:expr, $environment:expr, $key:ident, [$($endpoint:expr),+]) => {{
        let builder = options($environment)
            .filter_map(|(name, value)| Some((name.parse::<$key>().ok()?, value)))
            .fold($builder, |builder, (key, value)| builder.with_config(key, value));
        let endpoint = None$(.or_else(|| builder.get_config_value(&$endpoint)))+;
        let plain = $target.is_plain(endpoint)?;
        builder
            .with_config($key::Client(ClientConfigKey::AllowHttp), plain.to_string())
            .with_config($key::Client(ClientConfigKey::Timeout), REQUEST_WITHIN)
            .with_config($key::Client(ClientConfigKey::ReadTimeout), STALLED_AFTER)
            .with_retry(retry())
            .with_http_connector(CheckedListings)
    }};
}

impl Target<'_> {
    fn s3(self, environment: &Environment) -> Result<Arc<dyn ObjectStore>, OpenError> {
        use AmazonS3ConfigKey::{Endpoint, S3Endpoint};
        let mut own = environment.clone();
        let own_endpoint = self
            .endpoint
            .map(|url| ("AWS_ENDPOINT_URL_S3".into(), url.to_string()));
        let own_region = self
            .region
            .map(|region| ("AWS_REGION".into(), region.to_string()));
        own.extend(own_endpoint.into_iter().chain(own_region));
        let start = AmazonS3Builder::new().with_url(self.url.as_str());
        configured!(self, start, &own, AmazonS3ConfigKey, [S3Endpoint, Endpoint])
            .build()
            .map(|store| Arc::new(store) as _)
            .map_err(|source| self.build_error(source))
    }

    fn google(self, environment: &Environment) -> Result<Arc<dyn ObjectStore>, OpenError> {
        let start = GoogleCloudStorageBuilder::new().with_url(self.url.as_str());
        configured!(
            self,
            start,
            environment,
            GoogleConfigKey,
            [GoogleConfigKey::BaseUrl]
        )
        .build()
        .map(|store| Arc::new(store) as _)
        .map_err(|source| self.build_error(source))
    }

    fn azure(self, environment: &Environment) -> Result<Arc<dyn ObjectStore>, OpenError> {
        let start = MicrosoftAzureBuilder::new().with_url(self.url.as_str());
        configured!(
            self,
            start,
            environment,
            AzureConfigKey,
            [AzureConfigKey::Endpoint]
        )
        .build()
        .map(|store| Arc::new(store) as _)
        .map_err(|source| self.build_error(source))
    }
}

/// The variables as the builders spell them. Those of another kind of store keep its prefix, which
/// makes them names that a builder does not know.
fn options(environment: &Environment) -> impl Iterator<Item = (String, &String)> {
    environment
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: RETRY_WITHIN,
    }
}

fn below(store: Arc<dyn ObjectStore>, prefix: Path) -> Arc<dyn ObjectStore> {
    if prefix.is_root() {
        store
    } else {
        Arc::new(PrefixStore::new(store, prefix))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Trouble {
    /// What this error means.
    pub(crate) fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::NotFound { .. } => Self::Absent,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied,
            E::Precondition { .. } | E::NotModified { .. } => Self::Changed,
            E::AlreadyExists { .. } => Self::Exists,
            other if is_denial(other) => Self::Denied,
            _ => Self::Unknown,
        }
    }
}

/// Whether a refusal lies under an error that the library calls generic: a local file without
/// rights, or a listing refused by S3. The type that holds the listing's status is not public, its
/// text is (`RequestError` in `object_store` 0.14, src/client/retry.rs).
fn is_denial(error: &(dyn StdError + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let text = error.to_string();
    let status = text.strip_prefix("Server returned non-2xx status code: ");
    io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied)
        || status.is_some_and(|status| status.starts_with("401") || status.starts_with("403"))
        || error.source().is_some_and(is_denial)
}

impl Bucket {
    /// Whether it is a folder of this machine.
    pub(crate) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Fails if the folder itself has gone: then nothing in it is proven absent.
    pub(crate) async fn still_there(&self) -> io::Result<()> {
        match &self.folder {
            Some(folder) => tokio::fs::read_dir(&folder.root).await.map(drop),
            None => Ok(()),
        }
    }

    /// Whether an object lies in the bucket: a symbolic link may lead out of a folder. What is not
    /// there at all leads nowhere.
    pub(crate) async fn holds(&self, path: &Path) -> object_store::Result<bool> {
        let Some(folder) = &self.folder else {
            return Ok(true);
        };
        let file = folder.files.path_to_filesystem(path)?;
        let target = tokio::fs::canonicalize(file).await;
        Ok(target.map_or(true, |target| target.starts_with(&folder.root)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, environment: &[(&str, &str)]) -> Result<Bucket, OpenError> {
        let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        let target = Target {
            url: &url.parse().unwrap(),
            endpoint: None,
            region: None,
        };
        target.open(&environment.iter().map(pair).collect())
    }

    #[test]
    fn nothing_goes_in_the_clear_but_to_this_machine() {
        for endpoint in [
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "http://localhost",
            "https://s3.example",
        ] {
            open("s3://lake", &[("AWS_ENDPOINT_URL", endpoint)]).unwrap();
        }
        for name in ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
            let plain = [
                (name, "http://u:hunter2@s3.example"),
                ("AWS_ALLOW_HTTP", "true"),
            ];
            let error = open("s3://lake", &plain).unwrap_err();
            assert!(matches!(error, OpenError::PlainHttp { .. }), "{error:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let near = [("AWS_ENDPOINT_URL", "http://127.0.0.1.example")];
        assert!(matches!(
            open("s3://lake", &near),
            Err(OpenError::PlainHttp { .. })
        ));
        let azure = [
            ("AZURE_STORAGE_ENDPOINT", "http://blob.example"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
        ];
        assert!(matches!(
            open("az://lake", &azure),
            Err(OpenError::PlainHttp { .. })
        ));
        let google = [("GOOGLE_BASE_URL", "http://gcs.example")];
        assert!(matches!(
            open("gs://lake", &google),
            Err(OpenError::PlainHttp { .. })
        ));
    }

    #[test]
    fn every_kind_of_store_opens_and_no_other() {
        let azure = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5"),
        ];
        open("az://lake/folder", &azure).unwrap();
        open("gs://lake/folder", &[("GOOGLE_SKIP_SIGNATURE", "true")]).unwrap();
        open("s3://lake/folder", &[]).unwrap();
        open("memory:///", &[]).unwrap();
        for url in [
            "https://example.com/lake",
            "ftp://example.com",
            "file://host/lake",
        ] {
            assert!(
                matches!(open(url, &[]), Err(OpenError::Url { .. })),
                "{url}"
            );
        }
    }

    #[test]
    fn an_endpoint_that_would_be_ignored_is_refused() {
        let endpoint = "http://127.0.0.1:9000".parse().unwrap();
        let target = Target {
            url: &"memory:///".parse().unwrap(),
            endpoint: Some(&endpoint),
            region: None,
        };
        let error = target.open(&Environment::new()).unwrap_err();
        assert!(matches!(error, OpenError::NotS3 { .. }), "{error:?}");
    }

    #[test]
    fn a_secret_of_the_environment_is_not_shown() {
        let secrets = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ];
        let bucket = open("s3://lake", &secrets).unwrap();
        assert_eq!(format!("{bucket:?}"), "Bucket(s3://lake)");
    }

    #[test]
    fn a_local_file_without_rights_is_a_denial() {
        let denied = |kind| object_store::Error::Generic {
            store: "test",
            source: Box::new(io::Error::from(kind)),
        };
        assert_eq!(
            Trouble::of(&denied(io::ErrorKind::PermissionDenied)),
            Trouble::Denied
        );
        assert_eq!(
            Trouble::of(&denied(io::ErrorKind::StorageFull)),
            Trouble::Unknown
        );
    }
}
