//! Why the lake, or a file of it, could not be known.

use std::error::Error as StdError;

use crate::bucket::{OpenError, Trouble};
use crate::model::LakePath;

/// How much of an unusable path is told, in characters: it may be of any length.
const SHOWN_OF_A_PATH: usize = 200;

/// What a library said.
pub(super) type Source = Box<dyn StdError + Send + Sync>;

/// Why the lake, or a file of it, could not be known.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The lake cannot be opened: settings, or a folder that is not there.
    #[error("open the lake")]
    Open {
        /// What is wrong.
        #[source]
        source: OpenError,
    },
    /// Not a path that can name a file of the lake, such as `../x`, `/x` or an empty one.
    #[error("use {path:?} as a path in the lake: {why}", path = path.0)]
    Unusable {
        /// The path as the catalog has it.
        path: LakePath,
        /// What is wrong with it, as a phrase.
        why: &'static str,
    },
    /// The file was not there to be read. Not a proof that it is absent: see [`Lake::stat`](super::Lake::stat).
    #[error("find lake file {path}")]
    Absent {
        /// The file.
        path: LakePath,
    },
    /// The credentials, or the rights of a local file, do not suffice.
    #[error("get leave to read {path} in the lake")]
    Denied {
        /// The file or folder.
        path: LakePath,
        /// What the store says.
        #[source]
        source: Source,
    },
    /// It is not the version that was listed, or changed while it was read.
    #[error("read the listed version of lake file {path}: {what}")]
    Changed {
        /// The file.
        path: LakePath,
        /// What differs.
        what: String,
    },
    /// The file broke off.
    #[error("read lake file {path} to its end: got {got} of {want} bytes")]
    Truncated {
        /// The file.
        path: LakePath,
        /// Bytes that came, or that the store promised to send.
        got: u64,
        /// Bytes of the listed version.
        want: u64,
        /// What the store says, if anything.
        #[source]
        source: Option<Source>,
    },
    /// Larger than `lake.max_file_bytes` allows.
    #[error("read lake file {path}: {size} bytes are more than the {limit} of lake.max_file_bytes")]
    TooLarge {
        /// The file.
        path: LakePath,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A listing that names a file twice.
    #[error("list lake folder {folder}: {path} is named twice")]
    Repeated {
        /// The folder.
        folder: LakePath,
        /// The file.
        path: LakePath,
    },
    /// A listing that names a file of another folder.
    #[error("list lake folder {folder}: {path} does not lie in it")]
    Stray {
        /// The folder.
        folder: LakePath,
        /// The file.
        path: LakePath,
    },
    /// Anything else: no connection, no answer in time, an answer that makes no sense.
    #[error("read {path} in the lake")]
    Unreachable {
        /// The file or folder.
        path: LakePath,
        /// What the store says.
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

/// A listing is never simply absent: that would be the bucket.
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
            what: "another version stands there".into(),
        },
        Trouble::Exists | Trouble::Unknown => LakeError::Unreachable {
            path,
            source: error.into(),
        },
    }
}
