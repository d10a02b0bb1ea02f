//! The lake: the files of a source and day, listed, looked up and read whole through
//! `object_store`.
//!
//! Answers for certainty. A file counts as absent only if the store says so twice, in two ways; as
//! read only if every byte of exactly the listed version came. Everything else is an error that
//! names the file, never a short success. A path comes from the catalog and is not trusted: it
//! must name an object below the root, character for character as it stands there.
//!
//! Never writes. What the bytes mean, and what a missing file means, is left to others.

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

/// Longest key of an object in S3, GCS and Azure, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// Longest a listing may take, all its pages together: a day has some hundred files.
const LIST_WITHIN: Duration = Duration::from_mins(5);
/// Room made for a file before its first byte came.
const FIRST_ROOM: u64 = 16 << 20;

/// The ready layer, read only.
#[derive(Clone, Debug)]
pub struct Lake {
    bucket: Bucket,
    max_file_bytes: u64,
}

impl Lake {
    /// Opens the lake that the settings name, with credentials from the environment. Nothing is
    /// asked of a remote store yet.
    ///
    /// # Errors
    /// [`LakeError::Open`].
    pub fn open(settings: &LakeSettings) -> Result<Self, LakeError> {
        Self::open_with(settings, &environment())
    }

    /// The same, with variables other than those of the process.
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

    /// Every file directly in the folder `YYYY/MM/DD/SOURCE` of a source and day. A folder that is
    /// not there is empty, as object stores have no folders. In a local folder, files that
    /// `object_store` is still writing (`name#1`) are passed by.
    ///
    /// # Errors
    /// If the listing could not be read whole, or contradicts itself.
    pub async fn list(
        &self,
        source: &str,
        day: Day,
    ) -> Result<BTreeMap<LakePath, FileStamp>, LakeError> {
        let folder = folder(source, day);
        let prefix = object_path(&folder)?;
        self.files_in(&folder, &prefix).await
    }

    /// The present version of a file. `None`: proven absent, by its own answer and by the listing
    /// of its folder.
    ///
    /// # Errors
    /// Whenever it stays in doubt whether the file is there.
    pub async fn stat(&self, path: &LakePath) -> Result<Option<FileStamp>, LakeError> {
        let location = self.location(path).await?;
        match self.bucket.store.head(&location).await {
            Ok(meta) => Ok(Some(stamp(&meta))),
            Err(error) if Trouble::of(&error) == Trouble::Absent => {
                self.prove_absent(path, &location).await.map(|()| None)
            }
            Err(error) => Err(failed(path, error)),
        }
    }

    /// All bytes of a file, of exactly the stamped version.
    ///
    /// # Errors
    /// If the version is another, the file is larger than the settings allow, or not every byte
    /// came.
    pub async fn read(&self, path: &LakePath, stamp: &FileStamp) -> Result<Bytes, LakeError> {
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

    /// Where the path points to, which is below the root.
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

    /// A bucket that is not there, or a folder that was unmounted, also says "not found": so the
    /// listing must be readable, and must not name the file.
    async fn prove_absent(&self, path: &LakePath, location: &Path) -> Result<(), LakeError> {
        let prefix = location.parent().unwrap_or(Path::ROOT);
        let folder = LakePath(prefix.to_string());
        if self.files_in(&folder, &prefix).await?.contains_key(path) {
            let what = "listed, and not found".into();
            let path = path.clone();
            return Err(LakeError::Changed { path, what });
        }
        Ok(())
    }

    async fn files_in(
        &self,
        folder: &LakePath,
        prefix: &Path,
    ) -> Result<BTreeMap<LakePath, FileStamp>, LakeError> {
        let asked = self.bucket.store.list_with_delimiter(Some(prefix));
        let listing = tokio::time::timeout(LIST_WITHIN, asked).await;
        let listing = listing.map_err(|late| unreachable(folder, late))?;
        let listing = listing.map_err(|error| list_failed(folder, error))?;
        let gone = |source| unreachable(folder, source);
        self.bucket.still_there().await.map_err(gone)?;
        let mut files = BTreeMap::new();
        for meta in listing
            .objects
            .iter()
            .filter(|meta| meta.location != *prefix)
        {
            let path = LakePath(meta.location.to_string());
            let folder = folder.clone();
            if meta.location.parent().as_ref() != Some(prefix) {
                return Err(LakeError::Stray { folder, path });
            }
            if files.insert(path.clone(), stamp(meta)).is_some() {
                return Err(LakeError::Repeated { folder, path });
            }
        }
        Ok(files)
    }
}

/// The folder of a source's files of a day.
#[must_use]
pub fn folder(source: &str, day: Day) -> LakePath {
    LakePath(format!("{}/{source}", day.date().format("%Y/%m/%d")))
}

/// Seconds are all that HTTP headers tell of the time of writing; a listing may tell more.
fn stamp(meta: &ObjectMeta) -> FileStamp {
    FileStamp {
        size: meta.size,
        etag: meta.e_tag.clone(),
        modified: meta.last_modified.trunc_subsecs(0),
    }
}

/// The path as an object's name: as it stands, never encoded, never reaching above the root.
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
        "it holds a control character"
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

/// Whether what was sent, or stands there, is the stamped version.
fn same_version(path: &LakePath, want: &FileStamp, meta: &ObjectMeta) -> Result<(), LakeError> {
    let is = stamp(meta);
    let what = if is.etag != want.etag {
        let shown = |etag: &Option<String>| etag.clone().unwrap_or_else(|| "none".into());
        let (is, want) = (shown(&is.etag), shown(&want.etag));
        format!(
            "entity tag {} in place of {}",
            is.escape_debug(),
            want.escape_debug()
        )
    } else if is.size < want.size && want.etag.is_some() {
        return Err(LakeError::Truncated {
            path: path.clone(),
            got: is.size,
            want: want.size,
            source: None,
        });
    } else if is.size != want.size {
        format!("{} bytes in place of {}", is.size, want.size)
    } else if want.etag.is_none() && is.modified != want.modified {
        format!("written {} in place of {}", is.modified, want.modified)
    } else {
        return Ok(());
    };
    let path = path.clone();
    Err(LakeError::Changed { path, what })
}

/// The body, counted.
async fn collect(path: &LakePath, result: GetResult, want: u64) -> Result<Bytes, LakeError> {
    let broken = |got, source: Option<object_store::Error>| LakeError::Truncated {
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
                .map_err(|error| broken(0, Some(error)))?;
            return counted(bytes, want, broken);
        }
        GetResultPayload::Stream(body) => body,
    };
    let room = usize::try_from(want.min(FIRST_ROOM)).unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(room);
    loop {
        match body.try_next().await {
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Ok(None) => return counted(bytes.freeze(), want, broken),
            Err(error) => return Err(broken(bytes.len() as u64, Some(error))),
        }
        if bytes.len() as u64 > want {
            let what = format!("more than its {want} bytes");
            let path = path.clone();
            return Err(LakeError::Changed { path, what });
        }
    }
}

fn counted(
    bytes: Bytes,
    want: u64,
    broken: impl Fn(u64, Option<object_store::Error>) -> LakeError,
) -> Result<Bytes, LakeError> {
    let got = bytes.len() as u64;
    if got == want {
        Ok(bytes)
    } else {
        Err(broken(got, None))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_path_is_refused_by_name() {
        for (text, why) in [
            ("", "it is empty"),
            ("/etc/passwd", "it is absolute"),
            ("../x", "it has a segment '.' or '..'"),
            ("2020/../../x", "it has a segment '.' or '..'"),
            ("2020/./x", "it has a segment '.' or '..'"),
            ("2020//x", "it has an empty segment"),
            ("2020/x/", "it has an empty segment"),
            ("2020/x\ny", "it holds a control character"),
            ("2020/\u{85}y", "it holds a control character"),
            ("2020/\0", "it holds a control character"),
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
    fn a_name_stands_as_it_is() {
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
