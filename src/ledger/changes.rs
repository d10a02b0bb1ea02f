//! An outbox of state changes: which ones people are to be notified of, and which ones they know.
//!
//! A change is recorded in the transaction that records the state, so that none is lost and none is
//! recorded twice, whichever replica made the check. It stays pending until people are notified of
//! it, or until a later change of the same day supersedes it: people get the current state of a
//! day, not its history. Changes among the quiet states (in sync, too young, known to be lost) are
//! not recorded.
//!
//! The state that people know of is stored with the day. It is written before a message is sent,
//! because the message may arrive without us learning of it, and reverted if the message certainly
//! did not arrive.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::days::{drafted_params, joined, names, read_drafted};
use super::{DayRecord, Ledger, LedgerError};
use crate::database::{FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day};
use crate::plan::Drafted;

/// Whether people are notified of a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// They are notified.
    Change,
    /// They are not: a service failed, which says nothing about the day.
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
    /// The state before it. Once a message is sent: the last state people knew of, if that is
    /// different.
    pub was: String,
    /// The state now.
    pub state: String,
    /// The reason for the state.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// Digest of the findings, or of the held plan.
    pub digest: Option<String>,
    /// How the held plan was drafted, if one is held.
    pub drafted: Option<Drafted>,
    /// Names of the guards that hold it.
    pub guards: Vec<String>,
    /// The pass that caused the change, if one did.
    pub pass: Option<Uuid>,
    /// Number of attempts to send it.
    pub tries: u64,
    /// When people were notified, or the attempt was given up (UTC).
    pub told_at: Option<DateTime<Utc>>,
}

/// A pending change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The latest change of its day.
    pub change: Change,
    /// The state that people know of, or may know of if it is uncertain whether a message arrived;
    /// `in-sync` if they were never notified.
    pub notified: String,
}

const COLUMNS: &str = "number, dataset, day, at, was, state, why, cause, digest, guards, pass, \
     tries, told_at, plan_depth, plan_strategy";

const NOTE: &str = "insert into ledger_changes
      (dataset, day, at, was, state, why, cause, digest, guards, pass, tries, due_at,
       plan_depth, plan_strategy)
    select $1, $2, $3, was, $4, $5, $6, $7, $8, $9, 0, $3, $10, $11
    from (select coalesce(
        (select told from ledger_days where dataset = $1 and day = $2), 'in-sync') as was) told
    where (was <> $4 and not (was in ('in-sync', 'unsettled', 'known-lost')
                              and $4 in ('in-sync', 'unsettled', 'known-lost')))
       or ($4 = 'in-sync' and cast($9 as text) is not null)";

/// The statement that records a change of state. It must run before the state itself is written.
pub(super) fn note_change(record: &DayRecord, tell: Tell) -> Option<Statement> {
    let [depth, strategy] = drafted_params(record.drafted);
    let params: Vec<Param> = vec![
        record.dataset.as_str().into(),
        record.day.into(),
        record.checked_at.into(),
        (&record.state).into(),
        record.why.as_ref().into(),
        record.cause.as_ref().into(),
        record.digest.as_ref().into(),
        (&joined(&record.guards)).into(),
        record.pass.map(|pass| pass.to_string()).as_ref().into(),
        depth,
        strategy,
    ];
    (tell == Tell::Change).then(|| Statement::new(NOTE, params))
}

const NOTIFIED: &str = "update ledger_days set notified = $3 where dataset = $1 and day = $2";

fn of_day(change: &Change, state: &str) -> Vec<Param> {
    vec![
        change.dataset.as_str().into(),
        change.day.into(),
        state.into(),
    ]
}

/// The statement that closes a change and the earlier ones of its day. `sent` is the number of
/// messages sent for the change itself.
fn done_with(change: &Change, at: DateTime<Utc>, sent: u64) -> Statement {
    let sql = "update ledger_changes
         set told_at = $4, tries = tries + case when number = $3 then cast($5 as bigint) else 0 end
         where dataset = $1 and day = $2 and number <= $3 and told_at is null";
    let params = vec![
        change.dataset.as_str().into(),
        change.day.into(),
        change.number.into(),
        at.into(),
        sent.into(),
    ];
    Statement::new(sql, params)
}

fn read_untold(line: &Line) -> Result<Untold, FieldError> {
    let mut change = read_change(line)?;
    let notified: String = line.get(15)?;
    if notified != change.state {
        change.was.clone_from(&notified);
    }
    Ok(Untold { change, notified })
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
        drafted: read_drafted(line, 13)?,
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
    /// Up to `most` days that people may have to be notified of at `now`, each with its latest
    /// change, which supersedes earlier ones. Those with the fewest attempts come first.
    pub async fn untold(&self, now: DateTime<Utc>, most: u32) -> Result<Vec<Untold>, LedgerError> {
        let columns = COLUMNS.split(", ").map(|column| format!("change.{column}"));
        let columns: Vec<String> = columns.collect();
        let sql = format!(
            "select {}, coalesce(of_day.notified, 'in-sync')
             from ledger_changes as change
             left join ledger_days as of_day
               on of_day.dataset = change.dataset and of_day.day = change.day
             where change.told_at is null and change.due_at <= $1 and not exists (
               select 1 from ledger_changes as later
               where later.dataset = change.dataset and later.day = change.day
                 and later.number > change.number)
             order by change.tries, change.number limit {most}",
            columns.join(", ")
        );
        let untold =
            self.database
                .query("read unsent changes", &sql, vec![now.into()], read_untold);
        Ok(untold.await?)
    }

    /// Records that a message about this change is about to be sent. From now on people may know of
    /// a state that is not quiet, even if this process dies.
    pub async fn begin_telling(&self, change: &Change) -> Result<(), LedgerError> {
        let sql = "update ledger_changes set was = $2 where number = $1";
        let was = Statement::new(sql, vec![change.number.into(), (&change.was).into()]);
        let sql = format!("{NOTIFIED} and $3 not in ('in-sync', 'unsettled', 'known-lost')");
        let notified = Statement::new(sql, of_day(change, &change.state));
        let begun = (self.database).transaction("start sending a change", vec![was, notified]);
        begun.await?;
        Ok(())
    }

    /// Records that people were notified of a change. Returns how many earlier changes of the day
    /// it superseded.
    pub async fn told(&self, change: &Change, at: DateTime<Utc>) -> Result<u64, LedgerError> {
        let notified = Statement::new(NOTIFIED, of_day(change, &change.state));
        let statements = vec![done_with(change, at, 1), notified];
        let done = (self.database).transaction("record a sent change", statements);
        let done = done.await?.first().copied().unwrap_or_default();
        Ok(done.saturating_sub(1))
    }

    /// Records that people are not notified of a change and the earlier ones of its day. Returns
    /// how many were dropped.
    pub async fn drop_change(
        &self,
        change: &Change,
        at: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        let statements = vec![done_with(change, at, 0)];
        let done = self.database.transaction("drop a change", statements);
        Ok(done.await?.into_iter().sum())
    }

    /// Records that sending a change failed, and when to try again. If it is certain that nobody
    /// got the message, `still` is the state that people know of.
    pub async fn tell_later(
        &self,
        change: &Change,
        due_at: DateTime<Utc>,
        still: Option<&str>,
    ) -> Result<(), LedgerError> {
        let sql = "update ledger_changes set tries = tries + 1, due_at = $2
             where number = $1 and told_at is null";
        let later = Statement::new(sql, vec![change.number.into(), due_at.into()]);
        let still = still.map(|state| Statement::new(NOTIFIED, of_day(change, state)));
        let statements = std::iter::once(later).chain(still).collect();
        let put_off = self.database.transaction("postpone a change", statements);
        put_off.await?;
        Ok(())
    }

    /// The changes of a day's state, oldest first.
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

    /// Records that the digest of a local day was sent.
    pub async fn tell_digest(&self, day: Day, at: DateTime<Utc>) -> Result<(), LedgerError> {
        let sql = "insert into ledger_digests (day, told_at) values ($1, $2)
             on conflict (day) do nothing";
        let params = vec![day.into(), at.into()];
        self.database
            .execute("record a digest", sql, params)
            .await?;
        Ok(())
    }
}
