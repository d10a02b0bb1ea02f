//! Stores and removes archives.

use std::io;

use bytes::Bytes;
use chrono::{DateTime, Days, Utc};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, PutOptions};

use super::folder::{self, Folder};
use super::format::{Content, Packer, Reader};
use super::{
    Archive, ArchiveError, ArchiveHeader, ArchiveReceipt, ArchivedRow, FOLDER, LINES_AT_A_TIME,
    OldArchive, fits, object_name, pass_of, receipt,
};
use crate::bucket::{Environment, Trouble, environment};
use crate::model::Entry;
use crate::settings::ArchiveSettings;

/// Number of bytes to read for the header. It is the first line, and a truncated gzip still yields
/// what it holds.
const HEAD_BYTES: u64 = 64 << 10;

/// All archives, with the right to store and remove them.
#[derive(Clone, Debug)]
pub struct ArchiveWriter {
    archive: Archive,
    keep_days: u32,
}

impl ArchiveWriter {
    /// Opens the archive that the settings name, with credentials from the environment. A folder is
    /// created if it is missing and its parent is there. Nothing is asked of a remote store yet.
    ///
    /// # Errors
    /// [`ArchiveError::Open`], [`ArchiveError::NoFolder`].
    pub fn open(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        Self::open_with(settings, &environment())
    }

    /// Like [`ArchiveWriter::open`], with other variables than those of the process.
    ///
    /// # Errors
    /// [`ArchiveError::Open`].
    pub fn open_with(
        settings: &ArchiveSettings,
        environment: &Environment,
    ) -> Result<Self, ArchiveError> {
        if let Folder::ToCreate(folder) = Folder::of(settings)? {
            folder::create(&folder)?;
        }
        Ok(Self {
            archive: Archive::open_with(settings, environment)?,
            keep_days: settings.keep_days,
        })
    }

    /// The same archives, read-only.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Stores rows and entries, then reads the object back and compares it line by line. Rows may
    /// be purged only after this has returned. In a local folder the file is written under a
    /// temporary name, flushed and renamed, and then the folder is flushed. An existing archive is
    /// never overwritten. If it is identical, it counts as stored, because the answer to an earlier
    /// request may have been lost.
    ///
    /// # Errors
    /// If it is not certain that the archive is stored. If the object that was read back differs
    /// from the one that was written, it is removed, if possible.
    pub async fn store(
        &self,
        header: &ArchiveHeader,
        rows: &[ArchivedRow],
        entries: &[Entry],
    ) -> Result<ArchiveReceipt, ArchiveError> {
        let path = object_name(header);
        let packed = pack(header, rows, entries).await;
        let packed = Bytes::from(packed.map_err(|source| ArchiveError::Pack {
            path: path.clone(),
            source,
        })?);
        fits(&path, packed.len() as u64)?;
        let location = Path::from(path.as_str());
        let is_new = self.create(&location, &packed).await?;
        let found = self.archive.fetch(&location).await?;
        let same = match found == packed {
            true => compare(&found, header, rows, entries).await,
            false if is_new => Err(format!("{} bytes instead of {}", found.len(), packed.len())),
            false => return Err(ArchiveError::Exists { path }),
        };
        match same {
            Ok(()) => Ok(receipt(&path, &packed, rows.len(), entries.len())),
            Err(what) => {
                if is_new {
                    // The main error is reported below. A leftover object is refused when it is
                    // read.
                    let _ = self.archive.bucket.store.delete(&location).await;
                }
                Err(ArchiveError::Unfaithful { path, what })
            }
        }
    }

    /// Returns whether the object was created; `false`: one exists.
    async fn create(&self, location: &Path, packed: &Bytes) -> Result<bool, ArchiveError> {
        let options = PutOptions::from(PutMode::Create);
        let store = &self.archive.bucket.store;
        match store
            .put_opts(location, packed.clone().into(), options)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if Trouble::of(&error) == Trouble::Exists => Ok(false),
            Err(source) => Err(ArchiveError::Write {
                path: location.to_string(),
                source,
            }),
        }
    }

    /// The archives created more than `archive.keep_days` days before `now`, according to both
    /// their own header and the store. Objects whose names are not those of archives are ignored.
    ///
    /// # Errors
    /// If they could not be listed, or one could not be read.
    pub async fn old(&self, now: DateTime<Utc>) -> Result<Vec<OldArchive>, ArchiveError> {
        let Some(limit) = now.checked_sub_days(Days::new(self.keep_days.into())) else {
            return Ok(Vec::new());
        };
        let mut old = Vec::new();
        for meta in self.archive.objects(FOLDER).await? {
            let Some(pass) = pass_of(&meta.location) else {
                continue;
            };
            if meta.last_modified < limit && self.was_made_before(&meta, limit).await? {
                let (path, bytes) = (meta.location.to_string(), meta.size);
                old.push(OldArchive { pass, path, bytes });
            }
        }
        old.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(old)
    }

    /// Reads only the beginning: the header is the first line.
    async fn was_made_before(
        &self,
        meta: &ObjectMeta,
        limit: DateTime<Utc>,
    ) -> Result<bool, ArchiveError> {
        let range = 0..meta.size.min(HEAD_BYTES);
        if range.is_empty() {
            return Ok(false);
        }
        let store = &self.archive.bucket.store;
        let head = match store.get_range(&meta.location, range).await {
            Ok(head) => head,
            Err(error) if Trouble::of(&error) == Trouble::Absent => return Ok(false),
            Err(source) => {
                let path = meta.location.to_string();
                return Err(ArchiveError::Read { path, source });
            }
        };
        let ours = |header: &ArchiveHeader| object_name(header) == meta.location.as_ref();
        Ok(Reader::open(&head).is_ok_and(|(_, header)| ours(&header) && header.made_at < limit))
    }

    /// Removes an archive permanently. Succeeds if it no longer exists.
    ///
    /// # Errors
    /// If it could not be removed.
    pub async fn remove(&self, old: &OldArchive) -> Result<(), ArchiveError> {
        let location = Path::from(old.path.as_str());
        match self.archive.bucket.store.delete(&location).await {
            Err(error) if Trouble::of(&error) != Trouble::Absent => Err(ArchiveError::Remove {
                path: old.path.clone(),
                source: error,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

async fn pack(
    header: &ArchiveHeader,
    rows: &[ArchivedRow],
    entries: &[Entry],
) -> io::Result<Vec<u8>> {
    let mut packer = Packer::new(header)?;
    for some in rows.chunks(LINES_AT_A_TIME) {
        some.iter().try_for_each(|row| packer.row(row))?;
        tokio::task::yield_now().await;
    }
    entries.iter().try_for_each(|entry| packer.entry(entry))?;
    packer.finish()
}

/// Checks that the packed lines contain exactly what was to be archived. A checksum would not
/// detect a value that JSON cannot represent.
async fn compare(
    packed: &[u8],
    header: &ArchiveHeader,
    rows: &[ArchivedRow],
    entries: &[Entry],
) -> Result<(), String> {
    let (mut reader, found) = Reader::open(packed).map_err(|damage| damage.what)?;
    if found != *header {
        return Err("the headers differ".into());
    }
    let (mut rows_left, mut entries_left) = (rows.iter(), entries.iter());
    while let Some(content) = reader.next().map_err(|damage| damage.what)? {
        let same = match content {
            Content::Row(row) => rows_left.next() == Some(&row),
            Content::Entry(entry) => entries_left.next() == Some(&entry),
        };
        let done = rows.len() - rows_left.len() + entries.len() - entries_left.len();
        if !same {
            return Err(format!("line {} differs", done + 1));
        }
        if done.is_multiple_of(LINES_AT_A_TIME) {
            tokio::task::yield_now().await;
        }
    }
    match rows_left.len() + entries_left.len() {
        0 => Ok(()),
        left => Err(format!("{left} lines are missing")),
    }
}
