//! When an archive may be deleted: `archive.keep_days` after it was made, and only if nothing may
//! still need it.
//!
//! An archive is the last copy of what was purged, so any doubt keeps it. An archive of a pass that
//! this ledger does not know is not ours to delete, the archive of an unfinished pass may be needed
//! by the next pass, and an archive that is being restored is in use.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::archive::{ArchiveError, ArchiveWriter, OldArchive};
use crate::ledger::{Ledger, LedgerError, PassRecord};

use super::restore::RESTORED_PASS;

/// What happened to the archives older than `archive.keep_days`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Removed objects, as paths from the archive's root.
    pub removed: Vec<String>,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Old objects kept because an unfinished pass needs them.
    pub needed: Vec<String>,
    /// Old objects kept because this ledger does not know their pass.
    pub unknown: Vec<String>,
}

/// Not all old archives could be removed. Those removed before the error stay removed.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The archive could not be listed, read or changed.
    #[error("cannot expire old archives")]
    Archive(#[from] ArchiveError),
    /// The ledger could not be read.
    #[error("cannot determine from the ledger which archives are still needed")]
    Ledger(#[from] LedgerError),
}

/// Removes every archive that is older than `archive.keep_days` and that nothing needs. With `dry`,
/// only reports what it would remove.
///
/// # Errors
/// If the archive or the ledger fails. What was removed before stays removed.
pub async fn retire(
    ledger: &Ledger,
    archive: &ArchiveWriter,
    now: DateTime<Utc>,
    dry: bool,
) -> Result<Retired, RetireError> {
    let mut retired = Retired::default();
    for old in archive.old(now).await? {
        // Checked again for each one: listing and removing years of archives takes time.
        match need(ledger, old.pass).await? {
            Need::Open => retired.needed.push(old.path),
            Need::Unknown => retired.unknown.push(old.path),
            Need::None => {
                if !dry {
                    archive.remove(&old).await?;
                }
                let OldArchive { path, bytes, .. } = old;
                retired.bytes += bytes;
                retired.removed.push(path);
            }
        }
    }
    Ok(retired)
}

enum Need {
    /// The pass, or a restore of it, has not ended.
    Open,
    /// The ledger does not know the pass.
    Unknown,
    None,
}

async fn need(ledger: &Ledger, pass: Uuid) -> Result<Need, LedgerError> {
    let open: BTreeSet<Uuid> = (ledger.all_unfinished().await?.iter())
        .flat_map(|one| std::iter::once(one.id).chain(restored_by(one)))
        .collect();
    if open.contains(&pass) {
        return Ok(Need::Open);
    }
    let known = ledger.pass(pass).await?.is_some();
    Ok(if known { Need::None } else { Need::Unknown })
}

/// The pass that this pass restores, if it is a restore.
fn restored_by(pass: &PassRecord) -> Option<Uuid> {
    let of = pass.summary.get(RESTORED_PASS)?;
    of.as_str()?.parse().ok()
}
