//! The state of every schedule: which run was due, whether its days are on the queue, when the last
//! run succeeded, and how far the audit has got.
//!
//! A run has *succeeded* once its days were queued and all of them were checked without a failing
//! service. This is derived from the queue and never claimed by a process.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::queue::{Reason, ToCheck, put};
use super::{Ledger, LedgerError};
use crate::database::{DatabaseError, FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day};
use crate::schedule::Schedule;

/// The progress of an audit, which goes from young days to old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Walk {
    /// The next day to queue.
    pub next: Day,
    /// The oldest existing day.
    pub oldest: Day,
}

impl Walk {
    /// Whether all days have been queued.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.next < self.oldest
    }
}

/// One schedule of one dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScheduleRecord {
    /// The dataset.
    pub dataset: DatasetName,
    /// The schedule.
    pub schedule: Schedule,
    /// When its latest run was due (UTC).
    pub due_at: DateTime<Utc>,
    /// The run whose days were last completely queued: its due time (UTC).
    pub queued_for: DateTime<Utc>,
    /// The run that last succeeded: its due time (UTC).
    pub done_for: DateTime<Utc>,
    /// When it succeeded (UTC).
    pub done_at: Option<DateTime<Utc>>,
    /// Why the latest run failed, if it has not succeeded since.
    pub failure: Option<String>,
    /// The progress, if this is an audit.
    pub walk: Option<Walk>,
}

impl ScheduleRecord {
    /// Whether the days of the latest run are still to be queued.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.queued_for < self.due_at
    }

    /// Whether the latest run has succeeded.
    #[must_use]
    pub fn is_fulfilled(&self) -> bool {
        self.done_for >= self.due_at
    }
}

const COLUMNS: &str =
    "dataset, schedule, due_at, queued_for, done_for, done_at, failure, walk_next, walk_oldest";

fn read_schedule(line: &Line) -> Result<ScheduleRecord, FieldError> {
    let walk = line.maybe(7)?.zip(line.maybe(8)?);
    Ok(ScheduleRecord {
        dataset: line.parsed(0)?,
        schedule: line.parsed(1)?,
        due_at: line.get(2)?,
        queued_for: line.get(3)?,
        done_for: line.get(4)?,
        done_at: line.maybe(5)?,
        failure: line.maybe(6)?,
        walk: walk.map(|(next, oldest)| Walk { next, oldest }),
    })
}

fn key(dataset: &DatasetName, schedule: Schedule) -> Vec<Param> {
    vec![dataset.as_str().into(), (&schedule.to_string()).into()]
}

impl Ledger {
    /// All recorded schedules, by dataset and schedule.
    pub async fn schedules(&self) -> Result<Vec<ScheduleRecord>, LedgerError> {
        let sql = format!("select {COLUMNS} from ledger_schedules order by dataset, schedule");
        let found = self
            .database
            .query("read schedules", &sql, Vec::new(), read_schedule)
            .await?;
        Ok(found)
    }

    /// Records a new schedule: no run before `since` was due, and one at `since` only if `is_due`.
    /// A schedule that is already recorded is not changed.
    pub async fn begin_schedule(
        &self,
        dataset: &DatasetName,
        schedule: Schedule,
        since: DateTime<Utc>,
        is_due: bool,
    ) -> Result<(), LedgerError> {
        let done_for = if is_due { DateTime::UNIX_EPOCH } else { since };
        let mut params = key(dataset, schedule);
        params.extend([since.into(), done_for.into()]);
        let sql = "insert into ledger_schedules (dataset, schedule, due_at, queued_for, done_for)
             values ($1, $2, $3, $4, $4)
             on conflict (dataset, schedule) do nothing";
        let act = format!("begin schedule {schedule} of {dataset}");
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// Records that a run is due, unless another process did so since `seen` was read. It replaces
    /// an earlier run that is not done yet.
    pub async fn note_due(
        &self,
        seen: &ScheduleRecord,
        due_at: DateTime<Utc>,
    ) -> Result<bool, LedgerError> {
        let mut params = key(&seen.dataset, seen.schedule);
        params.extend([seen.due_at.into(), due_at.into()]);
        let sql = "update ledger_schedules set due_at = $4
             where dataset = $1 and schedule = $2 and due_at = $3";
        let act = format!("record that {} of {} is due", seen.schedule, seen.dataset);
        Ok(self.database.execute(&act, sql, params).await? == 1)
    }

    /// Puts the days of the run that was due on the queue, and records this in the same
    /// transaction; `walk` is the progress of an audit after it. Returns false if another process
    /// did so since `seen` was read.
    pub async fn queue_run(
        &self,
        seen: &ScheduleRecord,
        wants: &[ToCheck],
        walk: Option<Walk>,
        now: DateTime<Utc>,
    ) -> Result<bool, LedgerError> {
        let whole = walk.is_none_or(|walk| walk.is_over());
        let queued_for = if whole { seen.due_at } else { seen.queued_for };
        let mut params = key(&seen.dataset, seen.schedule);
        params.extend([
            queued_for.into(),
            walk.map(|walk| walk.next).into(),
            walk.map(|walk| walk.oldest).into(),
            seen.queued_for.into(),
            seen.walk.map(|walk| walk.next).into(),
        ]);
        let note = Statement::new(
            "update ledger_schedules
             set queued_for = $3, failure = null, walk_next = $4, walk_oldest = $5
             where dataset = $1 and schedule = $2 and queued_for = $6
               and walk_next is not distinct from $7",
            params,
        );
        let statements = std::iter::once(note.expect(1))
            .chain(wants.iter().map(|want| put(want, now)))
            .collect();
        let act = format!("queue the {} of {}", seen.schedule, seen.dataset);
        match self.database.transaction(&act, statements).await {
            Ok(_) => Ok(true),
            Err(DatabaseError::Unmet { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Records that a run failed.
    pub async fn fail_run(
        &self,
        dataset: &DatasetName,
        schedule: Schedule,
        why: &str,
    ) -> Result<(), LedgerError> {
        let mut params = key(dataset, schedule);
        params.push(why.into());
        let sql = "update ledger_schedules set failure = $3 where dataset = $1 and schedule = $2";
        let act = format!("record that {schedule} of {dataset} failed");
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// Records every run as done whose days have all left the queue.
    pub async fn settle_runs(&self, now: DateTime<Utc>) -> Result<u64, LedgerError> {
        let settle = |schedule: Schedule| {
            Statement::new(
                "update ledger_schedules set done_for = queued_for, done_at = $1, failure = null
                 where schedule = $2 and done_for < queued_for
                   and not exists (select 1 from ledger_queue q
                     where q.dataset = ledger_schedules.dataset and q.reasons & $3 <> 0)",
                vec![
                    now.into(),
                    (&schedule.to_string()).into(),
                    Reason::from(schedule).bit().into(),
                ],
            )
        };
        let statements = Schedule::ALL.into_iter().map(settle).collect();
        let settled = self.database.transaction("settle runs", statements).await?;
        Ok(settled.into_iter().sum())
    }

    /// Makes runs and queued days that are due later due at `now`, after a clock that was ahead has
    /// been set back. A day that must wait longer is postponed again when it is processed.
    pub async fn bring_forward(&self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let earlier =
            |field: &str| format!("{field} = case when {field} > $1 then $1 else {field} end");
        let runs = format!(
            "update ledger_schedules set {}, {}, {} where due_at > $1",
            earlier("due_at"),
            earlier("queued_for"),
            earlier("done_for")
        );
        let days = "update ledger_queue set due_at = $1 where due_at > $1";
        let statements = [runs, days.to_owned()]
            .map(|sql| Statement::new(sql, vec![now.into()]))
            .into();
        let act = "bring later due times forward";
        self.database.transaction(act, statements).await?;
        Ok(())
    }

    /// Number of a dataset's days on the queue for a schedule.
    pub async fn queued_for(
        &self,
        dataset: &DatasetName,
        schedule: Schedule,
    ) -> Result<u64, LedgerError> {
        let sql = "select count(*) from ledger_queue where dataset = $1 and reasons & $2 <> 0";
        let params = vec![dataset.as_str().into(), Reason::from(schedule).bit().into()];
        let count = self
            .database
            .query("count a schedule's days", sql, params, |line| line.count(0))
            .await?;
        Ok(count.into_iter().sum())
    }
}
