//! Changes of state that people shall hear of, and which of them they were told: an outbox.
//!
//! A change is noted in the transaction that notes the state, so that none is lost and none is
//! noted twice, whichever replica looked. It waits until somebody has been told of it. Changes
//! among the quiet states (in step, too young, known to be lost) are none that anyone waits for.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::days::{joined, names};
use super::{DayRecord, Ledger, LedgerError};
use crate::database::{FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day};

/// Whether people hear of a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// They do.
    Change,
    /// They do not: a service failed, which says nothing of the day.
    Nothing,
}

/// A change of a day's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its number; later changes have higher ones.
    pub number: u64,
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// The state that people were told of last; `in-step` if of none.
    pub was: String,
    /// The state now.
    pub state: String,
    /// Why it is so.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// Digest of what was found, or of the plan that is held.
    pub digest: Option<String>,
    /// Names of the guards that hold it.
    pub guards: Vec<String>,
    /// The pass that made the change, if one of ours did.
    pub pass: Option<Uuid>,
    /// How often telling it was tried.
    pub tries: u64,
    /// When it was told, or given up (UTC).
    pub told_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "number, dataset, day, at, was, state, why, cause, digest, guards, pass, \
     tries, told_at";

const NOTE: &str = "insert into ledger_changes
      (dataset, day, at, was, state, why, cause, digest, guards, pass, tries, due_at)
    select $1, $2, $3, was, $4, $5, $6, $7, $8, $9, 0, $3
    from (select coalesce(
        (select told from ledger_days where dataset = $1 and day = $2), 'in-step') as was) told
    where (was <> $4 and not (was in ('in-step', 'unsettled', 'known-lost')
                              and $4 in ('in-step', 'unsettled', 'known-lost')))
       or ($4 = 'in-step' and cast($9 as text) is not null)";

/// The statement that notes a change of state, to be run before the state itself is noted.
pub(super) fn note_change(record: &DayRecord, tell: Tell) -> Option<Statement> {
    let params: Vec<Param> = vec![
        record.dataset.as_str().into(),
        record.day.into(),
        record.looked_at.into(),
        (&record.state).into(),
        record.why.as_ref().into(),
        record.cause.as_ref().into(),
        record.digest.as_ref().into(),
        (&joined(&record.guards)).into(),
        record.pass.map(|pass| pass.to_string()).as_ref().into(),
    ];
    (tell == Tell::Change).then(|| Statement::new(NOTE, params))
}

fn read_change(line: &Line) -> Result<Change, FieldError> {
    Ok(Change {
        number: line.count(0)?,
        dataset: line.parsed(1)?,
        day: line.get(2)?,
        at: line.get(3)?,
        was: line.get(4)?,
        state: line.get(5)?,
        why: line.maybe(6)?,
        cause: line.maybe(7)?,
        digest: line.maybe(8)?,
        guards: names(&line.get::<String>(9)?),
        pass: match line.maybe::<String>(10)? {
            Some(_) => Some(line.parsed(10)?),
            None => None,
        },
        tries: line.count(11)?,
        told_at: line.maybe(12)?,
    })
}

impl Ledger {
    /// The first changes that nobody was told of and that are due at `now`, the oldest first.
    pub async fn untold(&self, now: DateTime<Utc>, most: u32) -> Result<Vec<Change>, LedgerError> {
        let sql = format!(
            "select {COLUMNS} from ledger_changes
             where told_at is null and due_at <= $1 order by number limit {most}"
        );
        let changes =
            self.database
                .query("read untold changes", &sql, vec![now.into()], read_change);
        Ok(changes.await?)
    }

    /// Notes that a change was told, or given up.
    pub async fn told(&self, number: u64, at: DateTime<Utc>) -> Result<(), LedgerError> {
        let sql = "update ledger_changes set told_at = $2, tries = tries + 1
             where number = $1 and told_at is null";
        let params = vec![number.into(), at.into()];
        self.database
            .execute("note a told change", sql, params)
            .await?;
        Ok(())
    }

    /// Notes that telling a change failed, and when it is tried again.
    pub async fn tell_later(&self, number: u64, due_at: DateTime<Utc>) -> Result<(), LedgerError> {
        let sql = "update ledger_changes set tries = tries + 1, due_at = $2
             where number = $1 and told_at is null";
        let params = vec![number.into(), due_at.into()];
        self.database
            .execute("put off a change", sql, params)
            .await?;
        Ok(())
    }

    /// The changes of a day's state, the oldest first.
    pub async fn changes(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<Vec<Change>, LedgerError> {
        let sql = format!(
            "select {COLUMNS} from ledger_changes where dataset = $1 and day = $2 order by number"
        );
        let params = vec![dataset.as_str().into(), day.into()];
        let changes = self
            .database
            .query("read changes", &sql, params, read_change);
        Ok(changes.await?)
    }

    /// Whether the digest of a local day was sent.
    pub async fn digest_told(&self, day: Day) -> Result<bool, LedgerError> {
        let sql = "select day from ledger_digests where day = $1";
        let found = self
            .database
            .query("read a digest", sql, vec![day.into()], |line| {
                line.get::<Day>(0)
            });
        Ok(!found.await?.is_empty())
    }

    /// Notes that the digest of a local day was sent.
    pub async fn tell_digest(&self, day: Day, at: DateTime<Utc>) -> Result<(), LedgerError> {
        let sql = "insert into ledger_digests (day, told_at) values ($1, $2)
             on conflict (day) do nothing";
        let params = vec![day.into(), at.into()];
        self.database.execute("note a digest", sql, params).await?;
        Ok(())
    }
}
