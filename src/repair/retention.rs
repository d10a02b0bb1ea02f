//! When an archive may go for good: `archive.keep_days` after it was made, and not while anything
//! could still ask for it.
//!
//! An archive is the last copy of what was purged, so doubt keeps it: one of a pass that this
//! ledger does not know is not ours to remove, one of a pass that has not ended is what the next
//! pass may need, and one that is being restored is in use.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::archive::{ArchiveError, ArchiveWriter, OldArchive};
use crate::ledger::{Ledger, LedgerError, PassRecord};

use super::restore::RESTORED_PASS;

/// What became of the archives older than `archive.keep_days`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Objects removed, from the archive's root.
    pub removed: Vec<String>,
    /// Bytes they took.
    pub bytes: u64,
    /// Objects kept although they are old enough, because a pass that has not ended needs them.
    pub needed: Vec<String>,
    /// Objects kept although they are old enough, because this ledger does not know their pass.
    pub unknown: Vec<String>,
}

/// Archives that could not be retired. Those before the fault are.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The archive could not be listed, read or changed.
    #[error("retire old archives")]
    Archive(#[from] ArchiveError),
    /// The ledger could not be asked.
    #[error("ask the ledger which archives are needed")]
    Ledger(#[from] LedgerError),
}

/// Removes every archive that is older than `archive.keep_days` and that nothing needs. `dry`: tells
/// what it would remove.
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
        // Asked anew for each: listing and removing years of archives takes its time.
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

/// The pass that a restore puts back.
fn restored_by(pass: &PassRecord) -> Option<Uuid> {
    let of = pass.summary.get(RESTORED_PASS)?;
    of.as_str()?.parse().ok()
}
