//! Reads the program's ledger directly from its SQLite file.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde_json::Value as Json;
use sodalake::model::DatasetDay;
use uuid::Uuid;

/// A pass that has not ended.
pub struct Pass {
    pub id: String,
    pub digest: String,
    pub step: Option<Step>,
}

/// The last step of a pass's journal.
pub struct Step {
    pub number: i64,
    pub name: String,
    pub detail: Json,
}

/// A text, and the time stored with it.
pub type Timed = (String, DateTime<Utc>);

pub struct Record(Connection);

impl Record {
    pub fn open(file: &Path) -> Self {
        let ledger = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        ledger.busy_timeout(Duration::from_secs(10)).unwrap();
        Self(ledger)
    }

    /// The pass in progress, with the last step in its journal.
    pub fn pass(&self, target: &DatasetDay) -> Option<Pass> {
        let sql = "select id, digest from ledger_passes where dataset = ? and day = ? \
                   and ended_at is null order by started_at desc limit 1";
        let key = params![target.dataset.name.as_str(), target.day.to_string()];
        let pair = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let (id, digest) = self.0.query_row(sql, key, pair).optional().unwrap()?;
        let sql =
            "select number, step, detail from ledger_journal where pass = ? order by number desc";
        let step = self.0.query_row(sql, [&id], |row| {
            let detail: String = row.get(2)?;
            Ok(Step {
                number: row.get(0)?,
                name: row.get(1)?,
                detail: serde_json::from_str(&detail).unwrap(),
            })
        });
        let step = step.optional().unwrap();
        Some(Pass { id, digest, step })
    }

    /// The holder of the dataset's lease, and when it expires.
    pub fn lease(&self, target: &DatasetDay) -> Option<Timed> {
        let name = format!("repair/{}", target.dataset.name);
        let sql = "select holder, until from ledger_leases where name = ?";
        self.0.query_row(sql, [name], timed).optional().unwrap()
    }

    /// The digest of the day's difference, and when it was first seen.
    pub fn sighting(&self, target: &DatasetDay) -> Option<Timed> {
        let sql = "select digest, first_seen from ledger_sightings where dataset = ? and day = ?";
        let key = params![target.dataset.name.as_str(), target.day.to_string()];
        self.0.query_row(sql, key, timed).optional().unwrap()
    }

    /// Whether a person has approved the plan of this digest.
    pub fn is_approved(&self, digest: &str) -> bool {
        let sql = "select 1 from ledger_approvals where digest = ?";
        let found = self.0.query_row(sql, [digest], |_| Ok(()));
        found.optional().unwrap().is_some()
    }

    /// Every pass of the dataset.
    pub fn passes(&self, target: &DatasetDay) -> Vec<Uuid> {
        let sql = "select id from ledger_passes where dataset = ?";
        let mut passes = self.0.prepare(sql).unwrap();
        let ids = passes.query_map([target.dataset.name.as_str()], |row| {
            row.get::<_, String>(0)
        });
        ids.unwrap()
            .map(|id| id.unwrap().parse().unwrap())
            .collect()
    }
}

fn timed(row: &Row<'_>) -> rusqlite::Result<Timed> {
    Ok((row.get(0)?, row.get(1)?))
}
