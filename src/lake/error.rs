//! Errors of the lake and its files.

use std::error::Error as StdError;

use crate::bucket::{OpenError, Trouble};
use crate::model::LakePath;

/// Maximum length of an unusable path in a message, in characters.
const SHOWN_OF_A_PATH: usize = 200;

/// An error from a library.
pub(super) type Source = Box<dyn StdError + Send + Sync>;

/// The lake or one of its files could not be read reliably.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The lake cannot be opened, because of the settings or a missing folder.
    #[error("cannot open the lake")]
    Open {
        /// The cause.
        #[source]
        source: OpenError,
    },
    /// A path that cannot be a file of the lake, such as `../x`, `/x` or an empty one.
    #[error("{path:?} is not a path in the lake: {why}", path = path.0)]
    Unusable {
        /// The path in the catalog.
        path: LakePath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file was not found when it was read. This does not prove that it is absent: see
    /// [`Lake::stat`](super::Lake::stat).
    #[error("lake file {path} does not exist")]
    Absent {
        /// The file.
        path: LakePath,
    },
    /// The credentials, or the permissions of a local file, are insufficient.
    #[error("permission to read {path} in the lake is denied")]
    Denied {
        /// The file or folder.
        path: LakePath,
        /// The store's error.
        #[source]
        source: Source,
    },
    /// The file is not the listed version, or changed while it was read.
    #[error("cannot read the listed version of lake file {path}: {what}")]
    Changed {
        /// The file.
        path: LakePath,
        /// What differs.
        what: String,
    },
    /// The file ended early.
    #[error("lake file {path} ended after {got} of {want} bytes")]
    Truncated {
        /// The file.
        path: LakePath,
        /// Bytes received, or announced by the store.
        got: u64,
        /// Bytes of the listed version.
        want: u64,
        /// The store's error, if there was one.
        #[source]
        source: Option<Source>,
    },
    /// The file is larger than `lake.max_file_bytes` allows.
    #[error("lake file {path} is too large: {size} bytes, maximum {limit} (lake.max_file_bytes)")]
    TooLarge {
        /// The file.
        path: LakePath,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A listing names a file twice.
    #[error("the listing of lake folder {folder} names {path} twice")]
    Repeated {
        /// The folder.
        folder: LakePath,
        /// The file.
        path: LakePath,
    },
    /// A listing names a file in another folder.
    #[error("the listing of lake folder {folder} names {path}, which is not in it")]
    Stray {
        /// The folder.
        folder: LakePath,
        /// The file.
        path: LakePath,
    },
    /// A request for this file or folder failed, but the lake responds to other requests.
    #[error("cannot read {path} in the lake, although the lake answers other requests")]
    Failing {
        /// The file or folder.
        path: LakePath,
        /// The store's error.
        #[source]
        source: Source,
    },
    /// The lake does not respond: no connection, no answer in time, or no valid answer.
    #[error("cannot read {path} in the lake")]
    Unreachable {
        /// The file or folder.
        path: LakePath,
        /// The store's error.
        #[source]
        source: Source,
    },
}

pub(super) fn unusable(path: &LakePath, why: &'static str) -> LakeError {
    let mut path = path.clone();
    if let Some((end, _)) = path.0.char_indices().nth(SHOWN_OF_A_PATH) {
        path.0.replace_range(end.., "\u{2026}");
    }
    LakeError::Unusable { path, why }
}

pub(super) fn unreachable(path: &LakePath, source: impl Into<Source>) -> LakeError {
    LakeError::Unreachable {
        path: path.clone(),
        source: source.into(),
    }
}

/// A listing is never simply absent: that would mean that the bucket is.
pub(super) fn list_failed(folder: &LakePath, error: object_store::Error) -> LakeError {
    match Trouble::of(&error) {
        Trouble::Denied => failed(folder, error),
        Trouble::Absent | Trouble::Changed | Trouble::Exists | Trouble::Unknown => {
            unreachable(folder, error)
        }
    }
}

pub(super) fn failed(path: &LakePath, error: object_store::Error) -> LakeError {
    let path = path.clone();
    match Trouble::of(&error) {
        Trouble::Absent => LakeError::Absent { path },
        Trouble::Denied => LakeError::Denied {
            path,
            source: error.into(),
        },
        Trouble::Changed => LakeError::Changed {
            path,
            what: "there is another version now".into(),
        },
        Trouble::Exists | Trouble::Unknown => LakeError::Unreachable {
            path,
            source: error.into(),
        },
    }
}
