//! An archive in a folder of this machine: whether the folder is there, and its creation.
//!
//! Only the last folder of the path is ever created. If the one above it is missing, a store may not
//! be mounted, and rows archived into its mount point would be hidden by the next mount.

use std::path::{Path, PathBuf};

use super::ArchiveError;
use crate::settings::ArchiveSettings;

/// How the archive's folder was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// It is there, or the archive is no folder.
    Ready,
    /// It is missing, and the one above it is there.
    ToCreate(PathBuf),
}

impl Folder {
    /// Checks the folder that the settings name, and changes nothing.
    ///
    /// # Errors
    /// [`ArchiveError::NoFolder`] if the folder above it is missing too.
    pub fn of(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        let path = (settings.url.scheme() == "file").then(|| settings.url.to_file_path());
        let Some(Ok(folder)) = path else {
            return Ok(Self::Ready);
        };
        // A dangling link is no missing folder: opening it says what is wrong.
        if folder.symlink_metadata().is_ok() {
            return Ok(Self::Ready);
        }
        let parent = folder.parent().unwrap_or(Path::new("/")).to_owned();
        if parent.is_dir() {
            Ok(Self::ToCreate(folder))
        } else {
            Err(ArchiveError::NoFolder { folder, parent })
        }
    }
}

/// Creates the last folder; another program may be faster.
pub(super) fn create(folder: &Path) -> Result<(), ArchiveError> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map_err(|source| ArchiveError::Create {
            folder: folder.to_owned(),
            source,
        }),
    }
}
