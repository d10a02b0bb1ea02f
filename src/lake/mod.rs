//! The lake: lists the files of a source and day, and looks up and reads files through
//! `object_store`.
//!
//! This module is responsible for certainty. A file counts as absent only if the store says so
//! twice, in two different ways, and as read only if every byte of exactly the listed version was
//! received. Anything else is an error that names the file, never a partial success. Paths come
//! from the catalog and are not trusted: a path must name an object below the root, character for
//! character.
//!
//! It never writes. What the bytes mean, and what a missing file means, is decided elsewhere.

mod error;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::SubsecRound;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStoreExt};

pub use self::error::LakeError;
use self::error::{Source, failed, list_failed, unreachable, unusable};
use crate::bucket::{Bucket, Target, Trouble, environment};
pub use crate::bucket::{Environment, OpenError};
use crate::model::{Day, FileStamp, LakePath};
use crate::settings::LakeSettings;

/// Maximum length of an object's key in S3, GCS and Azure, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// Time limit of a listing, including all its pages. A day has a few hundred files.
const LIST_WITHIN: Duration = Duration::from_mins(5);
/// Maximum buffer allocated for a file before its first byte arrives.
const FIRST_ROOM: u64 = 16 << 20;

/// The ready layer, read only.
#[derive(Clone, Debug)]
pub struct Lake {
    bucket: Bucket,
    max_file_bytes: u64,
}

/// The contents of a folder, without subfolders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The files.
    pub files: BTreeMap<LakePath, FileStamp>,
    /// Names of objects that no client can address, such as `2020/10/01/wt//x.json`.
    pub unaddressable: Vec<String>,
}

impl Lake {
    /// Opens the lake named in the settings, with credentials from the environment. No request is
    /// sent to a remote store yet.
    ///
    /// # Errors
    /// [`LakeError::Open`].
    pub fn open(settings: &LakeSettings) -> Result<Self, LakeError> {
        Self::open_with(settings, &environment())
    }

    /// The same, with the given environment variables instead of the process's.
    ///
    /// # Errors
    /// [`LakeError::Open`].
    pub fn open_with(
        settings: &LakeSettings,
        environment: &Environment,
    ) -> Result<Self, LakeError> {
        let target = Target {
            url: &settings.url,
            endpoint: settings.endpoint.as_ref(),
            region: settings.region.as_deref(),
        };
        let bucket = target.open(environment);
        Ok(Self {
            bucket: bucket.map_err(|source| LakeError::Open { source })?,
            max_file_bytes: settings.max_file_bytes,
        })
    }

    /// The files directly in the folder `YYYY/MM/DD/SOURCE` of a source and day. A folder that does
    /// not exist is empty, since object stores have no folders. In a local folder, files that
    /// `object_store` is still writing (`name#1`) are skipped.
    ///
    /// # Errors
    /// If the listing could not be read completely, or contradicts itself.
    pub async fn list(&self, source: &str, day: Day) -> Result<Listed, LakeError> {
        let folder = folder(source, day);
        let prefix = object_path(&folder)?;
        match self.list_folder(&folder, &prefix).await {
            Ok(listed) => Ok(listed),
            Err(error) => Err(self.narrow(error).await),
        }
    }

    /// Whether the lake responds at all, even with a refusal.
    pub async fn answers(&self) -> bool {
        self.bucket.answers().await
    }

    /// Its address, without secrets.
    #[must_use]
    pub fn address(&self) -> &str {
        self.bucket.name()
    }

    /// If the lake responds to another request, attributes the error to the requested file or
    /// folder instead of the lake.
    async fn narrow(&self, error: LakeError) -> LakeError {
        match error {
            LakeError::Unreachable { path, source } if self.answers().await => {
                LakeError::Failing { path, source }
            }
            other => other,
        }
    }

    /// The current version of a file; `None` if it is proven absent, both by its own lookup and by
    /// the listing of its folder.
    ///
    /// # Errors
    /// If it remains uncertain whether the file exists.
    pub async fn stat(&self, path: &LakePath) -> Result<Option<FileStamp>, LakeError> {
        match self.stat_once(path).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.narrow(error).await),
        }
    }

    async fn stat_once(&self, path: &LakePath) -> Result<Option<FileStamp>, LakeError> {
        let location = self.location(path).await?;
        match self.bucket.store.head(&location).await {
            Ok(meta) => Ok(Some(stamp(&meta))),
            Err(error) if Trouble::of(&error) == Trouble::Absent => {
                self.prove_absent(path, &location).await.map(|()| None)
            }
            Err(error) => Err(failed(path, error)),
        }
    }

    /// All bytes of a file, of exactly the version in `stamp`.
    ///
    /// # Errors
    /// If the file is another version or larger than the settings allow, or if not every byte was
    /// received.
    pub async fn read(&self, path: &LakePath, stamp: &FileStamp) -> Result<Bytes, LakeError> {
        match self.read_once(path, stamp).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.narrow(error).await),
        }
    }

    async fn read_once(&self, path: &LakePath, stamp: &FileStamp) -> Result<Bytes, LakeError> {
        let location = self.location(path).await?;
        self.refuse_large(path, stamp.size)?;
        let options = GetOptions {
            if_match: stamp.etag.clone(),
            ..GetOptions::default()
        };
        let result = self.bucket.store.get_opts(&location, options).await;
        let result = result.map_err(|error| failed(path, error))?;
        same_version(path, stamp, &result.meta)?;
        let bytes = collect(path, result, stamp.size).await?;
        if self.bucket.is_folder() || stamp.etag.is_none() {
            let after = self.bucket.store.head(&location).await;
            same_version(path, stamp, &after.map_err(|error| failed(path, error))?)?;
        }
        Ok(bytes)
    }

    fn refuse_large(&self, path: &LakePath, size: u64) -> Result<(), LakeError> {
        let limit = self.max_file_bytes;
        if size <= limit {
            return Ok(());
        }
        let path = path.clone();
        Err(LakeError::TooLarge { path, size, limit })
    }

    /// The object's path, after checking that it is below the root.
    async fn location(&self, path: &LakePath) -> Result<Path, LakeError> {
        let location = object_path(path)?;
        match self.bucket.holds(&location).await {
            Ok(true) => Ok(location),
            Ok(false) => Err(unusable(
                path,
                "a symbolic link leads out of the lake's folder",
            )),
            Err(_) => Err(unusable(path, "a local folder cannot hold such a name")),
        }
    }

    /// A missing bucket or an unmounted folder also answers "not found". So the listing must be
    /// readable, and must not name the file.
    async fn prove_absent(&self, path: &LakePath, location: &Path) -> Result<(), LakeError> {
        let prefix = location.parent().unwrap_or(Path::ROOT);
        let folder = LakePath(prefix.to_string());
        if (self.list_folder(&folder, &prefix).await?.files).contains_key(path) {
            let what = "it is listed but does not exist".into();
            let path = path.clone();
            return Err(LakeError::Changed { path, what });
        }
        Ok(())
    }

    async fn list_folder(&self, folder: &LakePath, prefix: &Path) -> Result<Listed, LakeError> {
        let listing = tokio::time::timeout(LIST_WITHIN, self.bucket.list(prefix)).await;
        let listing = listing.map_err(|late| unreachable(folder, late))?;
        let listing = listing.map_err(|error| list_failed(folder, error))?;
        let folder_lost = |source| unreachable(folder, source);
        self.bucket.still_there().await.map_err(folder_lost)?;
        let mut files = BTreeMap::new();
        for meta in (listing.objects.iter()).filter(|meta| meta.location != *prefix) {
            let path = LakePath(meta.location.to_string());
            let folder = folder.clone();
            if meta.location.parent().as_ref() != Some(prefix) {
                return Err(LakeError::Stray { folder, path });
            }
            if files.insert(path.clone(), stamp(meta)).is_some() {
                return Err(LakeError::Repeated { folder, path });
            }
        }
        Ok(Listed {
            files,
            unaddressable: listing.unaddressable,
        })
    }
}

/// The folder of a source's files for a day.
#[must_use]
pub fn folder(source: &str, day: Day) -> LakePath {
    LakePath(format!("{}/{source}", day.date().format("%Y/%m/%d")))
}

/// Write times are truncated to seconds, because HTTP headers have no more; a listing may be more
/// precise.
fn stamp(meta: &ObjectMeta) -> FileStamp {
    FileStamp {
        size: meta.size,
        etag: meta.e_tag.clone(),
        modified: meta.last_modified.trunc_subsecs(0),
    }
}

/// The path as an object's name: unchanged, never encoded, never outside the root.
fn object_path(path: &LakePath) -> Result<Path, LakeError> {
    let text = path.0.as_str();
    let dots = |segment| segment == "." || segment == "..";
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_PATH_BYTES {
        "it is longer than 1,024 bytes"
    } else if text.starts_with('/') {
        "it is absolute"
    } else if text.chars().any(char::is_control) {
        "it contains a control character"
    } else if text.split('/').any(str::is_empty) {
        "it has an empty segment"
    } else if text.split('/').any(dots) {
        "it has a segment '.' or '..'"
    } else {
        let parsed = Path::parse(text)
            .ok()
            .filter(|parsed| parsed.as_ref() == text);
        return parsed.ok_or_else(|| unusable(path, "no object can have it"));
    };
    Err(unusable(path, why))
}

/// Checks that what was received, or what exists, is the expected version.
fn same_version(path: &LakePath, expected: &FileStamp, meta: &ObjectMeta) -> Result<(), LakeError> {
    let found = stamp(meta);
    let what = if found.etag != expected.etag {
        let shown = |etag: &Option<String>| etag.clone().unwrap_or_else(|| "none".into());
        let (found, expected) = (shown(&found.etag), shown(&expected.etag));
        format!(
            "entity tag {} instead of {}",
            found.escape_debug(),
            expected.escape_debug()
        )
    } else if found.size < expected.size && expected.etag.is_some() {
        return Err(LakeError::Truncated {
            path: path.clone(),
            got: found.size,
            want: expected.size,
            source: None,
        });
    } else if found.size != expected.size {
        format!("{} bytes instead of {}", found.size, expected.size)
    } else if expected.etag.is_none() && found.modified != expected.modified {
        format!(
            "written {} instead of {}",
            found.modified, expected.modified
        )
    } else {
        return Ok(());
    };
    let path = path.clone();
    Err(LakeError::Changed { path, what })
}

/// Reads the body and checks its length.
async fn collect(path: &LakePath, result: GetResult, want: u64) -> Result<Bytes, LakeError> {
    let truncated = |got, source: Option<object_store::Error>| LakeError::Truncated {
        path: path.clone(),
        got,
        want,
        source: source.map(Source::from),
    };
    let mut body = match result.payload {
        GetResultPayload::File(..) => {
            let bytes = result
                .bytes()
                .await
                .map_err(|error| truncated(0, Some(error)))?;
            return check_length(bytes, want, truncated);
        }
        GetResultPayload::Stream(body) => body,
    };
    let room = usize::try_from(want.min(FIRST_ROOM)).unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(room);
    loop {
        match body.try_next().await {
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Ok(None) => return check_length(bytes.freeze(), want, truncated),
            Err(error) => return Err(truncated(bytes.len() as u64, Some(error))),
        }
        if bytes.len() as u64 > want {
            let what = format!("more than its {want} bytes");
            let path = path.clone();
            return Err(LakeError::Changed { path, what });
        }
    }
}

fn check_length(
    bytes: Bytes,
    want: u64,
    truncated: impl Fn(u64, Option<object_store::Error>) -> LakeError,
) -> Result<Bytes, LakeError> {
    let got = bytes.len() as u64;
    if got == want {
        Ok(bytes)
    } else {
        Err(truncated(got, None))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_path_is_refused() {
        for (text, why) in [
            ("", "it is empty"),
            ("/etc/passwd", "it is absolute"),
            ("../x", "it has a segment '.' or '..'"),
            ("2020/../../x", "it has a segment '.' or '..'"),
            ("2020/./x", "it has a segment '.' or '..'"),
            ("2020//x", "it has an empty segment"),
            ("2020/x/", "it has an empty segment"),
            ("2020/x\ny", "it contains a control character"),
            ("2020/\u{85}y", "it contains a control character"),
            ("2020/\0", "it contains a control character"),
        ] {
            let error = object_path(&LakePath(text.into())).unwrap_err();
            assert!(
                matches!(&error, LakeError::Unusable { path, why: said } if path.0 == text && *said == why),
                "{text:?}: {error}"
            );
            assert!(!error.to_string().contains('\n'));
        }
        let long = LakePath("x".repeat(MAX_PATH_BYTES + 1));
        assert!(object_path(&long).is_err());
    }

    #[test]
    fn a_name_is_kept_as_it_is() {
        for text in [
            "2020/05/13/gs/Cesar Ch\u{e1}vez_Comal_gs_2020-05-13_agg15.json",
            "2020/05/13/gs/Parmer&FM 734_McNeil_gs_2020-05-13_agg15.json",
            "a/100%/b%2Fc+d?e#f[g]~",
            "a/..b/c..",
        ] {
            assert_eq!(object_path(&LakePath(text.into())).unwrap().as_ref(), text);
        }
    }

    proptest! {
        #[test]
        fn no_path_is_changed_or_leaves_the_root(text in "[ -~/.%\u{e9}\n]{0,24}") {
            if let Ok(path) = object_path(&LakePath(text.clone())) {
                prop_assert_eq!(path.as_ref(), text.as_str());
                prop_assert!(path.parts().all(|part| !matches!(part.as_ref(), "" | "." | "..")));
            }
        }
    }
}
