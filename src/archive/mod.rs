//! The archive: stores every row before it is purged, so that it can be restored.
//!
//! There is one object per pass and dataset-day, `passes/{pass}/{dataset}_{day}.jsonl.gz`. The
//! archives of a pass are therefore found by one listing, and in an emergency any of them can be
//! read with `zcat`. An object holds a header line, a line for each row and catalog entry, and a
//! trailer with their counts and a checksum (see format.rs).
//!
//! [`Archive`] reads and needs no right to write; [`ArchiveWriter`] stores and removes. Storing
//! returns only after the object was flushed, read back and compared row by row. No row may be
//! purged before that. Reading refuses a damaged archive and reports how many of its rows are
//! proven; [`Archive::salvage`] returns those rows. `repair` decides when an archive may be
//! removed, because that depends on the ledger.

mod folder;
mod format;
mod writer;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::folder::Folder;
use self::format::{Content, Damage, Reader};
pub use self::writer::ArchiveWriter;
use crate::bucket::{Bucket, Target, environment};
pub use crate::bucket::{Environment, OpenError};
use crate::model::text::shell_word;
use crate::model::{DatasetId, DatasetName, Day, Entry, PublishedRow};
use crate::settings::ArchiveSettings;

/// Folder of all archives.
const FOLDER: &str = "passes";
/// The end of every archive's name.
const ENDING: &str = ".jsonl.gz";
/// Maximum size of an archive, compressed. A day of 250,000 rows takes about 20 MB.
const MAX_OBJECT_BYTES: u64 = 256 << 20;
/// Number of lines processed before yielding to other tasks.
const LINES_AT_A_TIME: usize = 1_000;

/// Describes an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// The pass that is about to purge.
    pub pass: Uuid,
    /// Host of the portal.
    pub portal: String,
    /// The dataset's name in the settings.
    pub dataset: DatasetName,
    /// The dataset's id on the portal.
    pub id: DatasetId,
    /// The local day.
    pub day: Day,
    /// The column that holds the rows' keys.
    pub key_column: String,
    /// The name of the recipe.
    pub recipe: String,
    /// When the archive was created (UTC).
    pub made_at: DateTime<Utc>,
}

/// A row that is about to be purged or changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchivedRow {
    /// Why: `duplicate`, `orphan`, `altered`, `rewrite`.
    pub why: String,
    /// The row as the portal held it.
    pub row: PublishedRow,
}

/// Proof that an archive was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReceipt {
    /// Path of the object below the archive's root.
    pub path: String,
    /// Number of rows.
    pub rows: u64,
    /// Number of catalog entries.
    pub entries: u64,
    /// Compressed size in bytes.
    pub bytes: u64,
    /// SHA-256 of the object as stored, in lower-case hex, as `sha256sum` prints it.
    pub sha256: String,
}

/// An archive that was read back.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedDay {
    /// Its header.
    pub header: ArchiveHeader,
    /// The rows, in the order they were archived.
    pub rows: Vec<ArchivedRow>,
    /// The catalog entries, in the order they were archived.
    pub entries: Vec<Entry>,
    /// The object they were read from.
    pub receipt: ArchiveReceipt,
    /// What is wrong with the object, as a phrase. If it is set, `rows` holds only the proven rows,
    /// and there are no entries.
    pub damage: Option<String>,
}

/// An archive older than `archive.keep_days`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldArchive {
    /// The pass that created it.
    pub pass: Uuid,
    /// Path of the object below the archive's root.
    pub path: String,
    /// Compressed size in bytes.
    pub bytes: u64,
}

/// Why an archive could not be stored, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive cannot be opened: the settings are wrong, or the folder does not exist.
    #[error("cannot open the archive")]
    Open {
        /// The cause.
        #[source]
        source: OpenError,
    },
    /// The folder above the archive's is missing: a store that is not mounted, perhaps. It must not be
    /// filled by mistake, so it is not created.
    #[error(
        "cannot open the archive in {}: {} does not exist; mount it if it is a store, or create it: \
         mkdir -p {}",
        .folder.display(), .parent.display(), shell_word(&.folder.display().to_string())
    )]
    NoFolder {
        /// The archive's folder.
        folder: PathBuf,
        /// The folder above it.
        parent: PathBuf,
    },
    /// The archive's folder could not be created.
    #[error("cannot create the archive's folder {}", .folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another archive of that pass and dataset-day is there, and stays.
    #[error("cannot store archive {path}: another archive already exists there")]
    Exists {
        /// The object.
        path: String,
    },
    /// A row or entry could not be written as a line.
    #[error("cannot compress archive {path}")]
    Pack {
        /// The object.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The archive is larger than an object may be.
    #[error("archive {path} is too large: {size} bytes, maximum {limit}")]
    TooLarge {
        /// The object.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The archive could not be written, for example because of a full disk or a missing right.
    #[error("cannot write archive {path}")]
    Write {
        /// The object.
        path: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// The object that was read back is not the one that was written. The rows must not be purged.
    #[error("archive {path} was not stored as written: {what}")]
    Unfaithful {
        /// The object.
        path: String,
        /// The difference.
        what: String,
    },
    /// The archives could not be listed.
    #[error("cannot list the archives in {folder}")]
    List {
        /// The folder.
        folder: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// The archive's folder no longer exists.
    #[error("cannot list the archives in {folder}")]
    Gone {
        /// The folder.
        folder: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// An archive could not be read.
    #[error("cannot read archive {path}")]
    Read {
        /// The object.
        path: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// The archive differs from what was stored. Nothing of its pass is returned.
    #[error("archive {path} is damaged: {what}; the first {rows} rows are intact")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong.
        what: String,
        /// Number of rows before the damage that are proven by a mark.
        rows: u64,
    },
    /// An expired archive could not be removed.
    #[error("cannot remove archive {path}")]
    Remove {
        /// The object.
        path: String,
        /// The error of the store.
        source: object_store::Error,
    },
}

/// All archives, read-only.
#[derive(Clone, Debug)]
pub struct Archive {
    bucket: Bucket,
}

impl Archive {
    /// Opens the archive named in the settings. Credentials and the address of an S3-compatible
    /// store (`AWS_ENDPOINT_URL`) come from the environment. Sends no request to a remote store.
    ///
    /// # Errors
    /// [`ArchiveError::Open`].
    pub fn open(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        Self::open_with(settings, &environment())
    }

    /// Like [`Archive::open`], with other variables than those of the process.
    ///
    /// # Errors
    /// [`ArchiveError::Open`].
    pub fn open_with(
        settings: &ArchiveSettings,
        environment: &Environment,
    ) -> Result<Self, ArchiveError> {
        let target = Target {
            url: &settings.url,
            endpoint: None,
            region: None,
        };
        let bucket = target.open(environment);
        let bucket = bucket.map_err(|source| ArchiveError::Open { source })?;
        Ok(Self { bucket })
    }

    /// All archives of a pass, by dataset and day. Empty if the pass archived nothing.
    ///
    /// # Errors
    /// If they could not be listed or read, or if one of them is damaged.
    pub async fn load(&self, pass: Uuid) -> Result<Vec<ArchivedDay>, ArchiveError> {
        let days = self.salvage(pass).await?;
        let damaged = |day: &ArchivedDay| {
            let (path, what) = (day.receipt.path.clone(), day.damage.clone()?);
            let rows = day.receipt.rows;
            Some(ArchiveError::Damaged { path, what, rows })
        };
        days.iter().find_map(damaged).map_or(Ok(days), Err)
    }

    /// Like [`Archive::load`], but returns the proven rows of damaged archives.
    ///
    /// # Errors
    /// If they could not be listed or read, or if one does not begin with its own header.
    pub async fn salvage(&self, pass: Uuid) -> Result<Vec<ArchivedDay>, ArchiveError> {
        let mut objects = self.objects(&format!("{FOLDER}/{pass}")).await?;
        objects.retain(|meta| pass_of(&meta.location) == Some(pass));
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        let mut days = Vec::new();
        for meta in objects {
            days.push(self.open_one(&meta.location).await?);
        }
        Ok(days)
    }

    /// Every pass that has archives, oldest first.
    ///
    /// # Errors
    /// If they could not be listed.
    pub async fn passes(&self) -> Result<BTreeSet<Uuid>, ArchiveError> {
        let objects = self.objects(FOLDER).await?;
        Ok(objects
            .iter()
            .filter_map(|meta| pass_of(&meta.location))
            .collect())
    }

    async fn open_one(&self, location: &Path) -> Result<ArchivedDay, ArchiveError> {
        let path = location.to_string();
        let packed = self.fetch(location).await?;
        let day = unpack(&path, &packed).await;
        let day = day.map_err(|damage| damaged(&path, damage))?;
        if object_name(&day.header) == path {
            return Ok(day);
        }
        let what = "its header belongs to another pass, dataset or day".into();
        Err(damaged(&path, Damage { what, rows: 0 }))
    }

    /// Total compressed size of all archives, in bytes.
    ///
    /// # Errors
    /// If they could not be listed.
    pub async fn bytes(&self) -> Result<u64, ArchiveError> {
        let objects = self.objects(FOLDER).await?;
        Ok(objects.iter().map(|meta| meta.size).sum())
    }

    /// Everything below a folder.
    async fn objects(&self, folder: &str) -> Result<Vec<ObjectMeta>, ArchiveError> {
        let folder = folder.to_string();
        let listing = self.bucket.store.list(Some(&Path::from(folder.as_str())));
        let objects = listing.try_collect().await;
        match self.bucket.still_there().await {
            Ok(()) => objects.map_err(|source| ArchiveError::List { folder, source }),
            Err(source) => Err(ArchiveError::Gone { folder, source }),
        }
    }

    async fn fetch(&self, location: &Path) -> Result<Bytes, ArchiveError> {
        let path = location.to_string();
        let failed = |source| ArchiveError::Read {
            path: path.clone(),
            source,
        };
        let found = self.bucket.store.get(location).await.map_err(failed)?;
        fits(&path, found.meta.size)?;
        found.bytes().await.map_err(failed)
    }
}

/// The path of an archive. Names of datasets and days contain no characters that are special in
/// paths.
fn object_name(header: &ArchiveHeader) -> String {
    let ArchiveHeader {
        pass, dataset, day, ..
    } = header;
    format!("{FOLDER}/{pass}/{dataset}_{day}{ENDING}")
}

/// The pass of an archive, from the name of the object; `None` for other objects.
fn pass_of(location: &Path) -> Option<Uuid> {
    let rest = location.as_ref().strip_prefix(FOLDER)?.strip_prefix('/')?;
    let (pass, name) = rest.split_once('/')?;
    let is_archive = name.ends_with(ENDING) && !name.contains('/');
    let pass = Uuid::try_parse(pass)
        .ok()
        .filter(|id| id.to_string() == pass);
    pass.filter(|_| is_archive)
}

fn fits(path: &str, size: u64) -> Result<(), ArchiveError> {
    let limit = MAX_OBJECT_BYTES;
    if size <= limit {
        return Ok(());
    }
    let path = path.to_string();
    Err(ArchiveError::TooLarge { path, size, limit })
}

fn damaged(path: &str, damage: Damage) -> ArchiveError {
    let Damage { what, rows } = damage;
    ArchiveError::Damaged {
        path: path.to_string(),
        what,
        rows,
    }
}

fn hex(digest: &[u8]) -> String {
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

fn receipt(path: &str, packed: &[u8], rows: usize, entries: usize) -> ArchiveReceipt {
    ArchiveReceipt {
        path: path.to_string(),
        rows: rows as u64,
        entries: entries as u64,
        bytes: packed.len() as u64,
        sha256: hex(&Sha256::digest(packed)),
    }
}

/// Calls `each` with every row of an object, damaged or not. See [`crate::fuzzing`].
pub(crate) fn read_through(packed: &[u8], each: &mut dyn FnMut(&ArchivedRow)) {
    let Ok((mut reader, _)) = Reader::open(packed) else {
        return;
    };
    while let Ok(Some(content)) = reader.next() {
        if let Content::Row(row) = content {
            each(&row);
        }
    }
}

/// The content of an object: all of it, or the rows that are proven. Fails if the header is
/// missing.
async fn unpack(path: &str, packed: &[u8]) -> Result<ArchivedDay, Damage> {
    let (mut reader, header) = Reader::open(packed)?;
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    let damage = loop {
        match reader.next() {
            Ok(Some(Content::Row(row))) => rows.push(row),
            Ok(Some(Content::Entry(entry))) => entries.push(entry),
            Ok(None) => break None,
            Err(damage) => break Some(damage),
        }
        if (rows.len() + entries.len()).is_multiple_of(LINES_AT_A_TIME) {
            tokio::task::yield_now().await;
        }
    };
    if let Some(Damage { rows: proven, .. }) = &damage {
        rows.truncate(usize::try_from(*proven).unwrap_or(usize::MAX));
        entries.clear();
    }
    let receipt = receipt(path, packed, rows.len(), entries.len());
    Ok(ArchivedDay {
        header,
        rows,
        entries,
        receipt,
        damage: damage.map(|damage| damage.what),
    })
}
