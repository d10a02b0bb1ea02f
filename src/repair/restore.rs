//! Restore: puts the archived rows and entries of a pass back and confirms that they are published.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::archive::ArchivedDay;
use crate::catalog::{CatalogChange, CatalogError};
use crate::ledger::{PassKind, PassRecord};
use crate::model::{Coverage, DatasetDay, EntryKey, PublishedRow, RowKey};
use crate::reconcile::{CheckError, World, published_rows};
use crate::socrata::Table;

use super::confirm::Confirming;
use super::steps::NEW_ENTRIES;
use super::{Lease, RepairError, Writers};

/// Key under which a restore's summary names the pass it restores.
pub(super) const RESTORED_PASS: &str = "of";

/// What a restore put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// This restore, as a pass in the ledger.
    pub pass: Uuid,
    /// Archived rows to restore.
    pub rows: u64,
    /// Rows confirmed on the portal with their archived values.
    pub seen: u64,
    /// Catalog entries put back.
    pub entries: u64,
}

impl Restored {
    /// Whether every row was confirmed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.seen == self.rows
    }
}

/// The row as it is uploaded. Columns that were null are sent as null, so that no value written
/// since remains.
fn upload(row: &PublishedRow, table: &Table) -> Map<String, Json> {
    let value = |column: &String| row.fields.get(column).cloned().unwrap_or(Json::Null);
    table
        .shape
        .columns
        .keys()
        .map(|column| (column.clone(), value(column)))
        .collect()
}

/// Restores what a pass archived of one dataset-day and removes the catalog entries that the pass
/// added; with `only`, restores just the row with that key. From a damaged archive only the rows
/// are restored.
///
/// # Errors
/// If another Sodalake process holds the lease, or if the portal, the catalog or the ledger fails.
pub async fn restore(
    world: &World,
    writers: &Writers,
    target: &DatasetDay,
    mut archived: ArchivedDay,
    only: Option<&RowKey>,
) -> Result<Restored, RestoreError> {
    if let Some(key) = only {
        archived
            .rows
            .retain(|row| row.row.key.as_ref() == Some(key));
        archived.entries.clear();
    }
    let table = world.table(&target.dataset).await?;
    let lease = match Lease::take(world, writers, target)
        .await
        .map_err(RepairError::from)?
    {
        Ok(lease) => lease,
        Err(held) => {
            let (name, holder) = (target.dataset.name.to_string(), held.holder);
            return Err(RepairError::LeaseLost { name, holder }.into());
        }
    };
    let pass = Uuid::now_v7();
    let mut restored = Restored {
        pass,
        rows: archived.rows.len() as u64,
        seen: 0,
        entries: 0,
    };
    if let Err(error) = begin(world, target, &archived, pass).await {
        lease.release().await;
        return Err(error.into());
    }
    // A damaged archive may lack rows, and a catalog entry claims that all rows of a file are
    // published.
    let whole = only.is_none() && archived.damage.is_none();
    let done = put_back(
        world,
        writers,
        &lease,
        &table,
        (&archived, whole),
        &mut restored,
    )
    .await;
    let outcome = if done.is_ok() { "restored" } else { "failed" };
    let now = world.clock.now();
    let ended = world
        .ledger
        .end_pass(pass, now, outcome, 0, restored.seen, restored.entries)
        .await;
    lease.release().await;
    done?;
    ended.map_err(RepairError::from)?;
    Ok(restored)
}

/// A restore that was not completed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The table's metadata could not be read.
    #[error("cannot read the metadata of the table to restore to")]
    Checked(#[from] CheckError),
    /// A step failed.
    #[error("cannot restore the archived rows")]
    Step(#[from] RepairError),
}

async fn begin(
    world: &World,
    target: &DatasetDay,
    archived: &ArchivedDay,
    pass: Uuid,
) -> Result<(), RepairError> {
    let record = PassRecord {
        id: pass,
        dataset: target.dataset.name.clone(),
        day: target.day,
        kind: PassKind::Restore,
        started_at: world.clock.now(),
        digest: String::new(),
        summary: json!({ RESTORED_PASS: archived.header.pass, "rows": archived.rows.len() }),
        end: None,
    };
    Ok(world.ledger.begin_pass(&record).await?)
}

async fn put_back(
    world: &World,
    writers: &Writers,
    lease: &Lease<'_>,
    table: &Table,
    (archived, whole): (&ArchivedDay, bool),
    restored: &mut Restored,
) -> Result<(), RepairError> {
    let rows: Vec<Map<String, Json>> = archived
        .rows
        .iter()
        .map(|row| upload(&row.row, table))
        .collect();
    let chunk = world.settings.socrata.chunk_rows.max(1) as usize;
    let portal = writers.portal.only_while(lease.permit());
    for rows in rows.chunks(chunk) {
        lease.hold().await?;
        portal.upsert(table, rows).await?;
    }
    lease.hold().await?;
    let mut entries: Vec<CatalogChange> = archived
        .entries
        .iter()
        .cloned()
        .map(CatalogChange::Put)
        .collect();
    if whole {
        entries.extend(entries_to_remove(world, archived).await?);
    }
    if !entries.is_empty() {
        restored.entries = writers.catalog.apply(&entries).await?;
    }
    confirm_rows(world, table, archived, restored).await
}

/// Removals of the entries that the pass added, as they are now.
async fn entries_to_remove(
    world: &World,
    archived: &ArchivedDay,
) -> Result<Vec<CatalogChange>, RepairError> {
    let Some((_, journal)) = world.ledger.pass(archived.header.pass).await? else {
        return Ok(Vec::new());
    };
    let new = journal
        .iter()
        .filter_map(|step| step.detail.get(NEW_ENTRIES));
    let new: Vec<EntryKey> = new
        .filter_map(|keys| serde_json::from_value::<Vec<EntryKey>>(keys.clone()).ok())
        .flatten()
        .collect();
    let mut changes = Vec::new();
    for key in new {
        let window = Coverage {
            start: key.collection_date,
            end: key.collection_date + chrono::TimeDelta::seconds(1),
        };
        let found = world
            .catalog
            .read(&key.repository, &key.data_source, window)
            .await?;
        if let Some(line) = found.unread.into_iter().find(|line| line.has_key(&key)) {
            return Err(CatalogError::Unread(Box::new(line)).into());
        }
        let same = found.entries.into_iter().filter(|entry| entry.key == key);
        changes.extend(same.map(CatalogChange::Remove));
    }
    Ok(changes)
}

async fn confirm_rows(
    world: &World,
    table: &Table,
    archived: &ArchivedDay,
    restored: &mut Restored,
) -> Result<(), RepairError> {
    let archived_rows: BTreeMap<RowKey, &PublishedRow> = (archived.rows.iter())
        .filter_map(|row| row.row.key.clone().map(|key| (key, &row.row)))
        .collect();
    let keys: Vec<RowKey> = archived_rows.keys().cloned().collect();
    let mut confirming = Confirming::new(world.settings.socrata.confirm_within);
    loop {
        let read = async {
            let rows = published_rows(world, table, archived.header.day, &keys).await?;
            rows.proven(table)
        };
        if let Some(rows) = confirming.read(read).await? {
            let same = |row: &&PublishedRow| {
                let before = row.key.as_ref().and_then(|key| archived_rows.get(key));
                before.is_some_and(|before| before.fields == row.fields)
            };
            restored.seen = rows.iter().filter(same).count() as u64;
        }
        if restored.is_whole() {
            return Ok(());
        }
        confirming
            .wait("what was restored", restored.rows - restored.seen)
            .await?;
    }
}
