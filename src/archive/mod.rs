//! The archive: every row before it is purged, and the way back.
//!
//! One object per pass and dataset-day, `passes/{pass}/{dataset}_{day}.jsonl.gz`: so the archives
//! of a pass are found by one listing, and any of them can be read with `zcat` in an emergency. It
//! holds a header line, a line for each row and catalog entry, and a trailer with their counts and
//! a checksum (format.rs has the details).
//!
//! [`Archive`] reads and needs no right to write; [`ArchiveWriter`] stores and removes. Storing
//! returns only after the object was flushed, read back whole and found equal, row by row: no row
//! may be purged before. Reading refuses a damaged archive and says how many of its rows are
//! proven; those it hands out only to whoever asks for them by name ([`Archive::salvage`]). When an
//! archive may go is `repair`'s to say, for it must ask the ledger.

mod format;
mod writer;

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::format::{Content, Damage, Reader};
pub use self::writer::ArchiveWriter;
use crate::bucket::{Bucket, Target, environment};
pub use crate::bucket::{Environment, OpenError};
use crate::model::{DatasetId, DatasetName, Day, Entry, PublishedRow};
use crate::settings::ArchiveSettings;

/// Folder of all archives.
const FOLDER: &str = "passes";
/// How the name of an archive ends.
const ENDING: &str = ".jsonl.gz";
/// Largest archive written or read, packed: a day of 250,000 rows takes some 20 MB.
const MAX_OBJECT_BYTES: u64 = 256 << 20;
/// Lines handled before other tasks have their turn.
const LINES_AT_A_TIME: usize = 1_000;

/// What is archived, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// The pass that is about to purge.
    pub pass: Uuid,
    /// Host of the portal.
    pub portal: String,
    /// Our name of the dataset.
    pub dataset: DatasetName,
    /// The portal's.
    pub id: DatasetId,
    /// The local day.
    pub day: Day,
    /// The column that holds the rows' keys.
    pub key_column: String,
    /// The recipe in force.
    pub recipe: String,
    /// When the archive was made (UTC).
    pub made_at: DateTime<Utc>,
}

/// A row about to be purged or changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchivedRow {
    /// Why: `twin`, `orphan`, `altered`, `repeated`, `rewrite`.
    pub why: String,
    /// The row as the portal held it.
    pub row: PublishedRow,
}

/// Proof that an archive stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReceipt {
    /// The object, from the archive's root.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Catalog entries in it.
    pub entries: u64,
    /// Its size in bytes, packed.
    pub bytes: u64,
    /// SHA-256 of the object as stored, in lower-case hex: what `sha256sum` prints.
    pub sha256: String,
}

/// One archive, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedDay {
    /// What it is.
    pub header: ArchiveHeader,
    /// The rows, in the order they were given.
    pub rows: Vec<ArchivedRow>,
    /// The catalog entries, in the order they were given.
    pub entries: Vec<Entry>,
    /// The object it was read from.
    pub receipt: ArchiveReceipt,
    /// What is wrong with the object, as a phrase. Then the rows are those that are proven
    /// nonetheless, and there are no entries.
    pub damage: Option<String>,
}

/// An archive older than `archive.keep_days`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldArchive {
    /// The pass that made it.
    pub pass: Uuid,
    /// The object, from the archive's root.
    pub path: String,
    /// Its size in bytes, packed.
    pub bytes: u64,
}

/// Why an archive could not be stored, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive cannot be opened: settings, or a folder that is not there.
    #[error("open the archive")]
    Open {
        /// What is wrong.
        #[source]
        source: OpenError,
    },
    /// Another archive of that pass and dataset-day stands there, and stays.
    #[error("store archive {path}: another one stands there")]
    Exists {
        /// The object.
        path: String,
    },
    /// A row or entry that cannot be written as a line.
    #[error("pack archive {path}")]
    Pack {
        /// The object.
        path: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// More than one object may hold.
    #[error("archive {path}: {size} bytes are more than {limit}")]
    TooLarge {
        /// The object.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It could not be written: no space, no right, no connection.
    #[error("write archive {path}")]
    Write {
        /// The object.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// What was read back is not what was written. The rows must not be purged.
    #[error("read archive {path} back as it was written: {what}")]
    Unfaithful {
        /// The object.
        path: String,
        /// The difference.
        what: String,
    },
    /// The archives could not be listed.
    #[error("list archives in {folder}")]
    List {
        /// The folder.
        folder: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// The archive's folder has gone.
    #[error("list archives in {folder}")]
    Gone {
        /// The folder.
        folder: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// An archive could not be read.
    #[error("read archive {path}")]
    Read {
        /// The object.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// An archive that is not what was stored. Nothing of its pass is handed out.
    #[error("trust archive {path}: {what}; {rows} rows before that are proven")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong.
        what: String,
        /// Rows before the damage that a mark proves.
        rows: u64,
    },
    /// An expired archive could not be removed.
    #[error("remove archive {path}")]
    Remove {
        /// The object.
        path: String,
        /// What the store says.
        source: object_store::Error,
    },
}

/// All archives, read only.
#[derive(Clone, Debug)]
pub struct Archive {
    bucket: Bucket,
}

impl Archive {
    /// Opens the archive that the settings name, with credentials from the environment, the
    /// address of an S3-compatible store (`AWS_ENDPOINT_URL`) too. Nothing is asked of a remote
    /// store yet.
    ///
    /// # Errors
    /// [`ArchiveError::Open`].
    pub fn open(settings: &ArchiveSettings) -> Result<Self, ArchiveError> {
        Self::open_with(settings, &environment())
    }

    /// The same, with variables other than those of the process.
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

    /// All archives of a pass, by dataset and day; none if it archived nothing.
    ///
    /// # Errors
    /// If they could not be listed or read, or one of them is damaged.
    pub async fn load(&self, pass: Uuid) -> Result<Vec<ArchivedDay>, ArchiveError> {
        let days = self.salvage(pass).await?;
        let damaged = |day: &ArchivedDay| {
            let (path, what) = (day.receipt.path.clone(), day.damage.clone()?);
            let rows = day.receipt.rows;
            Some(ArchiveError::Damaged { path, what, rows })
        };
        days.iter().find_map(damaged).map_or(Ok(days), Err)
    }

    /// As [`Archive::load`], but of a damaged archive those rows that are proven nonetheless.
    ///
    /// # Errors
    /// If they could not be listed or read, or one does not even begin with its own header.
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

    /// Every pass that has archives here, the oldest first.
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
        let what = "its header is that of another pass, dataset or day".into();
        Err(damaged(&path, Damage { what, rows: 0 }))
    }

    /// Bytes that all archives take, packed.
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

/// Where an archive lies. Names of datasets and days hold nothing that a path could stumble over.
fn object_name(header: &ArchiveHeader) -> String {
    let ArchiveHeader {
        pass, dataset, day, ..
    } = header;
    format!("{FOLDER}/{pass}/{dataset}_{day}{ENDING}")
}

/// The pass an object is an archive of, if it is one.
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

/// Hands every row of an object to `each`, damaged or not: see [`crate::fuzzing`].
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

/// The content of an object: all of it, or what is proven of it. Fails without its header.
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
