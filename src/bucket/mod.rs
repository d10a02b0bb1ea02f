//! Buckets and folders by URL, for the lake and the archive.
//!
//! Accepts `s3://`, `gs://`, `az://`, `file:///folder` and `memory:///` (each opening of the last
//! is a separate store). Credentials come from the environment, under the names that
//! `object_store`'s builders know (`AWS_*`, `GOOGLE_*`, `AZURE_*`), or from the instance's role.
//! This module enforces four rules: nothing is sent unencrypted except to this machine, a request
//! is tried a limited number of times, a listing is complete, and a folder must exist. What to read
//! and write is left to the callers.

mod listing;
mod unaddressable;

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
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    ObjectStoreScheme, RetryConfig,
};
use url::{Host, Url};

use self::listing::CheckedListings;
use self::unaddressable::Unaddressable;

/// Environment variables by name. Only those for the URL's kind of store are used.
pub type Environment = BTreeMap<String, String>;

/// Retries of one request: 4 attempts in total, within a minute.
const RETRIES: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_mins(1);
/// Time limit of a whole request, and of a period without any data. The library's default of 30
/// seconds for the whole request would cut off a large file on a slow connection.
const REQUEST_WITHIN: &str = "600s";
const STALLED_AFTER: &str = "30s";
/// Time limit for checking whether the store responds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// A folder that exists in no bucket.
const NO_FOLDER: &str = "sodalake-asks-whether-you-answer";

/// A bucket or folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A plain HTTP address that is not on this machine.
    #[error(
        "cannot open {bucket}: endpoint {endpoint} would send secrets unencrypted; use https, or http to this machine"
    )]
    PlainHttp {
        /// The bucket.
        bucket: String,
        /// The address, without secrets.
        endpoint: String,
    },
    /// The address is not a URL, or not an HTTP address.
    #[error("cannot open {bucket}: endpoint {endpoint:?} is not an http or https address")]
    Endpoint {
        /// The bucket.
        bucket: String,
        /// The address.
        endpoint: String,
    },
    /// An endpoint or region is set for something other than S3.
    #[error("cannot open {bucket}: only s3:// has an endpoint and a region")]
    NotS3 {
        /// The bucket.
        bucket: String,
    },
    /// The folder does not exist, is not a folder or is not accessible.
    #[error("cannot open folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Not the URL of a bucket or folder.
    #[error("cannot open {bucket}: expected s3://, gs://, az:// or file:///folder")]
    Url {
        /// The URL, without secrets.
        bucket: String,
    },
    /// Refused by the library, for example because of a missing name or an unreadable credential.
    #[error("cannot open {bucket}")]
    Build {
        /// The bucket.
        bucket: String,
        /// The library's error.
        source: object_store::Error,
    },
}

/// What a library error means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The object or the bucket does not exist.
    Absent,
    /// The credentials, or the permissions of a local file, are insufficient.
    Denied,
    /// A precondition failed: the object is not the requested version.
    Changed,
    /// It exists already.
    Exists,
    /// Anything else: the state is unknown.
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

/// A folder on this machine.
#[derive(Clone)]
struct Folder {
    files: LocalFileSystem,
    /// With symbolic links resolved.
    root: PathBuf,
}

/// The objects directly in a folder.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Those that can be addressed.
    pub(crate) objects: Vec<ObjectMeta>,
    /// Names of those that no client can address.
    pub(crate) unaddressable: Vec<String>,
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
    /// Address of an S3-compatible store; takes precedence over the environment.
    pub(crate) endpoint: Option<&'a Url>,
    /// Region of the bucket; takes precedence over the environment.
    pub(crate) region: Option<&'a str>,
}

/// The environment variables that configure object stores. Variables whose name or value is not
/// Unicode are left out.
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
pub(crate) fn harmless(url: &Url) -> String {
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

impl Target<'_> {
    /// Opens it. No request is sent to a remote store yet.
    pub(crate) fn open(self, environment: &Environment) -> Result<Bucket, OpenError> {
        let name = harmless(self.url);
        let not_a_bucket = |_| OpenError::Url {
            bucket: name.clone(),
        };
        let (scheme, prefix) = ObjectStoreScheme::parse(self.url).map_err(not_a_bucket)?;
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

    /// Whether an address uses plain HTTP, which is allowed only for this machine.
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

/// Passes its own variables to a builder, and then our limits.
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

/// The variables under the names that the builders know. Variables of another kind of store keep
/// that store's prefix, so that a builder does not recognize them.
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
    /// What the error means.
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

/// Whether an error that the library calls generic is caused by a refusal: a local file without
/// permission, or a listing refused by S3. The type with the listing's status is not public, but
/// its text is available (`RequestError` in `object_store` 0.14, src/client/retry.rs).
fn is_denial(error: &(dyn StdError + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let text = error.to_string();
    let status = text.strip_prefix("Server returned non-2xx status code: ");
    io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied)
        || status.is_some_and(|status| status.starts_with("401") || status.starts_with("403"))
        || error.source().is_some_and(is_denial)
}

impl Bucket {
    /// Whether it is a folder on this machine.
    pub(crate) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Fails if the folder itself no longer exists: then nothing in it is proven absent.
    pub(crate) async fn still_there(&self) -> io::Result<()> {
        match &self.folder {
            Some(folder) => tokio::fs::read_dir(&folder.root).await.map(drop),
            None => Ok(()),
        }
    }

    /// The objects directly in a folder, with the names that no client can address.
    pub(crate) async fn list(&self, prefix: &Path) -> object_store::Result<Listed> {
        let listing = self.store.list_with_delimiter(Some(prefix)).await;
        match (listing, &self.folder) {
            (Ok(listing), _) => {
                let names = listing.extensions.get::<Unaddressable>();
                Ok(Listed {
                    unaddressable: names.map(|names| names.0.clone()).unwrap_or_default(),
                    objects: listing.objects,
                })
            }
            // The library gives up on a folder at the first name that it cannot represent as a
            // path.
            (Err(object_store::Error::InvalidPath { .. }), Some(folder)) => {
                self.list_by_name(folder, prefix).await
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn list_by_name(&self, folder: &Folder, prefix: &Path) -> object_store::Result<Listed> {
        let failed = |source| object_store::Error::Generic {
            store: "local folder",
            source: Box::new(source),
        };
        let root = folder.root.join(prefix.as_ref());
        let mut entries = tokio::fs::read_dir(root).await.map_err(failed)?;
        let mut listed = Listed {
            objects: Vec::new(),
            unaddressable: Vec::new(),
        };
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let name = entry.file_name();
            let path = name.to_str().map(|name| format!("{prefix}/{name}"));
            let Some(path) = path.and_then(|path| Path::parse(path).ok()) else {
                let name = name.to_string_lossy();
                listed.unaddressable.push(format!("{prefix}/{name}"));
                continue;
            };
            if folder.files.path_to_filesystem(&path).is_err() {
                continue; // the library is still writing this file
            }
            match self.store.head(&path).await {
                Ok(meta) => listed.objects.push(meta),
                Err(object_store::Error::NotFound { .. }) => {} // a folder, or removed since
                Err(error) => return Err(error),
            }
        }
        listed.unaddressable.sort_unstable();
        Ok(listed)
    }

    /// Whether the bucket responds at all, even with a refusal, to a listing of a folder that does
    /// not exist. Also `false` if it does not respond in time.
    pub(crate) async fn answers(&self) -> bool {
        if self.still_there().await.is_err() {
            return false;
        }
        let nothing = Path::from(NO_FOLDER);
        let asked = self.store.list_with_delimiter(Some(&nothing));
        match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => Trouble::of(&error) == Trouble::Denied,
            Err(_) => false,
        }
    }

    /// Its address, without secrets.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether an object is inside the bucket: in a folder, a symbolic link may lead outside. Also
    /// true for a file that does not exist.
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
    fn nothing_is_sent_unencrypted_except_to_this_machine() {
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
    fn every_supported_kind_of_store_opens_and_no_other() {
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
    fn a_local_file_without_permission_is_a_denial() {
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
