//! The queue of dataset-days to check, shared by every replica on the same ledger.
//!
//! A dataset-day is on it once, however many reasons there are to check it. A replica claims
//! entries for a limited time and renews its claims while it works; the claims of a replica that
//! died expire, and others take the entries over. Only the replica that has claimed an entry can
//! finish it and so remove it from the queue. Each entry is therefore done once for each time it
//! was queued.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Ledger, LedgerError};
use crate::compare::Depth;
use crate::database::{BoxError, FieldError, Kind, Line, Param, Statement};
use crate::model::{DatasetName, Day};
use crate::schedule::Schedule;

/// Why a day is on the queue, most urgent reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A person requested it.
    Requested,
    /// It was checked, and its repair only needs to wait.
    Again,
    /// It has changed since it was last found in sync.
    Survey,
    /// It is in the window of a scheduled check.
    Check,
    /// It is part of an audit.
    Audit,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Again,
        Self::Survey,
        Self::Check,
        Self::Audit,
    ];

    fn rank(self) -> i64 {
        self as i64
    }

    pub(super) fn bit(self) -> i64 {
        1 << self.rank()
    }
}

impl From<Schedule> for Reason {
    fn from(schedule: Schedule) -> Self {
        match schedule {
            Schedule::Survey => Self::Survey,
            Schedule::Check => Self::Check,
            Schedule::Audit => Self::Audit,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Requested => "requested",
            Self::Again => "again",
            Self::Survey => "survey",
            Self::Check => "check",
            Self::Audit => "audit",
        })
    }
}

/// A dataset-day to put on the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToCheck {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// The reason.
    pub reason: Reason,
    /// How closely to check it.
    pub depth: Depth,
}

/// A dataset-day on the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queued {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// Every reason, most urgent first.
    pub reasons: Vec<Reason>,
    /// How closely to check it.
    pub depth: Depth,
    /// When it was queued (UTC).
    pub queued_at: DateTime<Utc>,
    /// When work on it may start (UTC).
    pub due_at: DateTime<Utc>,
    /// How often work on it was started.
    pub tries: u32,
    /// Who has claimed it, and until when (UTC).
    pub claim: Option<(String, DateTime<Utc>)>,
    /// Increases each time a person requests the day.
    #[serde(skip)]
    ticket: u64,
}

impl Queued {
    /// Whether it was queued for this reason.
    #[must_use]
    pub fn has(&self, reason: Reason) -> bool {
        self.reasons.contains(&reason)
    }
}

/// The size of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueSize {
    /// Entries on which work may start now.
    pub ready: u64,
    /// Entries that are not due yet.
    pub waiting: u64,
    /// Claimed entries, here or on another replica.
    pub in_work: u64,
    /// When the first waiting entry is due (UTC).
    pub next_due: Option<DateTime<Utc>>,
}

/// What happened to a finished entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It was removed from the queue.
    Done,
    /// It was requested again in the meantime, by a person or for a deeper scheduled check, and
    /// stays queued.
    RequestedAgain,
    /// The claim had expired and another replica has the entry.
    Lost,
}

const COLUMNS: &str = "dataset, day, reasons, depth, queued_at, due_at, tries, claimed_by, \
     claimed_until, ticket";

/// A person's request: it is due now, and the entry outlasts a check that started earlier.
const REQUESTED: &str = "insert into ledger_queue as old
       (dataset, day, reasons, rank, depth, queued_at, due_at, tries, ticket)
     values ($1, $2, $3, $4, $5, $6, $6, 0, 1)
     on conflict (dataset, day) do update set
       reasons = old.reasons | excluded.reasons,
       rank = case when excluded.rank < old.rank then excluded.rank else old.rank end,
       depth = case when excluded.depth > old.depth then excluded.depth else old.depth end,
       due_at = case when excluded.due_at < old.due_at then excluded.due_at else old.due_at end,
       ticket = old.ticket + 1";

/// A schedule's request: an existing entry keeps its due time. For an entry that was checked and
/// only waits for its repair, the schedule is already satisfied, but the repair must use at least
/// the requested depth.
const SCHEDULED: &str = "insert into ledger_queue as old
       (dataset, day, reasons, rank, depth, queued_at, due_at, tries, ticket)
     values ($1, $2, $3, $4, $5, $6, $6, 0, 0)
     on conflict (dataset, day) do update set
       reasons = case when old.reasons & $7 = 0 then old.reasons | excluded.reasons
         else old.reasons end,
       rank = case when old.reasons & $7 = 0 and excluded.rank < old.rank
         then excluded.rank else old.rank end,
       depth = case when excluded.depth > old.depth then excluded.depth else old.depth end";

pub(super) fn depth_number(depth: Depth) -> i64 {
    depth as i64
}

pub(super) fn read_depth(number: i64) -> Result<Depth, BoxError> {
    [Depth::Survey, Depth::Keys, Depth::Content]
        .into_iter()
        .find(|depth| depth_number(*depth) == number)
        .ok_or_else(|| format!("{number} is not a depth").into())
}

/// The statement that puts a day on the queue.
pub(super) fn put(to_check: &ToCheck, now: DateTime<Utc>) -> Statement {
    let ToCheck {
        dataset,
        day,
        reason,
        depth,
    } = to_check;
    let mut params: Vec<Param> = vec![
        dataset.as_str().into(),
        (*day).into(),
        reason.bit().into(),
        reason.rank().into(),
        depth_number(*depth).into(),
        now.into(),
    ];
    if *reason == Reason::Requested {
        return Statement::new(REQUESTED, params);
    }
    params.push(Reason::Again.bit().into());
    Statement::new(SCHEDULED, params)
}

fn read_queued(line: &Line) -> Result<Queued, FieldError> {
    let reasons: i64 = line.get(2)?;
    let claimed_by: Option<String> = line.maybe(7)?;
    Ok(Queued {
        dataset: line.parsed(0)?,
        day: line.get(1)?,
        reasons: (Reason::ALL.into_iter())
            .filter(|reason| reasons & reason.bit() != 0)
            .collect(),
        depth: line.read(3, read_depth)?,
        queued_at: line.get(4)?,
        due_at: line.get(5)?,
        tries: u32::try_from(line.count(6)?).unwrap_or(u32::MAX),
        claim: match claimed_by {
            Some(holder) => Some((holder, line.get(8)?)),
            None => None,
        },
        ticket: line.count(9)?,
    })
}

impl Ledger {
    /// Puts days on the queue, all or none. Days that are already queued are not added twice.
    pub async fn enqueue(
        &self,
        to_check: &[ToCheck],
        now: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        let statements = to_check.iter().map(|to_check| put(to_check, now)).collect();
        let act = format!("queue {} dataset-days", to_check.len());
        self.database.transaction(&act, statements).await?;
        Ok(())
    }

    /// Claims up to `most` due entries, most urgent first, until `now + ttl`. No two callers get
    /// the same entry as long as its claim is renewed in time.
    pub async fn claim(
        &self,
        holder: &str,
        now: DateTime<Utc>,
        ttl: Duration,
        most: u64,
    ) -> Result<Vec<Queued>, LedgerError> {
        // SQLite has one writer at a time, and no row locks.
        let skip = match self.database.kind() {
            Kind::Postgres => "for update skip locked",
            Kind::Sqlite => "",
        };
        let sql = format!(
            "with picked as materialized (
               select dataset as of_dataset, day as of_day from ledger_queue
               where due_at <= $1 and (claimed_until is null or claimed_until <= $1)
               order by rank, due_at, day desc, dataset limit $2 {skip})
             update ledger_queue set claimed_by = $3, claimed_until = $4, tries = tries + 1
             from picked where dataset = of_dataset and day = of_day
             returning {COLUMNS}"
        );
        let params = vec![now.into(), most.into(), holder.into(), (now + ttl).into()];
        let claimed = self
            .database
            .query("claim work", &sql, params, read_queued)
            .await?;
        Ok(claimed)
    }

    /// Renews the claims of `holder` on these entries until `now + ttl`, and returns how many it
    /// still has.
    pub async fn renew_claims(
        &self,
        entries: &[Queued],
        holder: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<u64, LedgerError> {
        let renew = |entry: &Queued| {
            Statement::new(
                "update ledger_queue set claimed_until = $1
                 where dataset = $2 and day = $3 and claimed_by = $4",
                vec![
                    (now + ttl).into(),
                    entry.dataset.as_str().into(),
                    entry.day.into(),
                    holder.into(),
                ],
            )
        };
        let statements = entries.iter().map(renew).collect();
        let renewed = self
            .database
            .transaction("renew claims", statements)
            .await?;
        Ok(renewed.into_iter().sum())
    }

    /// Removes a claimed entry from the queue because it is done.
    pub async fn finish(&self, entry: &Queued, holder: &str) -> Result<Finished, LedgerError> {
        let key = || {
            vec![
                entry.dataset.as_str().into(),
                entry.day.into(),
                holder.into(),
            ]
        };
        let mut with_ticket: Vec<Param> = key();
        with_ticket.extend([entry.ticket.into(), depth_number(entry.depth).into()]);
        let remove = Statement::new(
            "delete from ledger_queue
             where dataset = $1 and day = $2 and claimed_by = $3 and ticket = $4 and depth <= $5",
            with_ticket,
        );
        let keep = Statement::new(
            "update ledger_queue set claimed_by = null, claimed_until = null, tries = 0
             where dataset = $1 and day = $2 and claimed_by = $3",
            key(),
        );
        let act = format!("finish {} {}", entry.dataset, entry.day);
        let changed = self.database.transaction(&act, vec![remove, keep]).await?;
        Ok(match changed[..] {
            [1, _] => Finished::Done,
            [_, 1] => Finished::RequestedAgain,
            _ => Finished::Lost,
        })
    }

    /// Gives a claimed entry back, to be started again at `due_at`. Its reasons are kept.
    pub async fn give_back(
        &self,
        entry: &Queued,
        holder: &str,
        due_at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        let params: Vec<Param> = vec![
            entry.dataset.as_str().into(),
            entry.day.into(),
            holder.into(),
            due_at.into(),
            entry.ticket.into(),
        ];
        let sql = "update ledger_queue set claimed_by = null, claimed_until = null,
               due_at = case when ticket = $5 then $4 else due_at end
             where dataset = $1 and day = $2 and claimed_by = $3";
        let act = format!("give back {} {}", entry.dataset, entry.day);
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// Gives back a claimed entry that was checked and waits until `due_at` for its repair. Its
    /// schedules count as satisfied.
    pub async fn give_back_checked(
        &self,
        entry: &Queued,
        holder: &str,
        due_at: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        let params: Vec<Param> = vec![
            entry.dataset.as_str().into(),
            entry.day.into(),
            holder.into(),
            due_at.into(),
            entry.ticket.into(),
            Reason::Again.bit().into(),
            Reason::Again.rank().into(),
        ];
        let sql = "update ledger_queue set claimed_by = null, claimed_until = null, tries = 0,
               due_at = case when ticket = $5 then $4 else due_at end,
               reasons = case when ticket = $5 then $6 else reasons | $6 end,
               rank = case when ticket = $5 then $7 else rank end
             where dataset = $1 and day = $2 and claimed_by = $3";
        let act = format!("give back {} {}", entry.dataset, entry.day);
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// Gives back everything that `holder` has claimed, for a process that is shutting down.
    pub async fn give_all_back(&self, holder: &str) -> Result<u64, LedgerError> {
        let sql = "update ledger_queue set claimed_by = null, claimed_until = null
             where claimed_by = $1";
        let given = self
            .database
            .execute("release claims", sql, vec![holder.into()]);
        Ok(given.await?)
    }

    /// Gives back what `holder` has claimed, unless it has renewed its claims beyond `until`.
    pub async fn give_back_until(
        &self,
        holder: &str,
        until: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        let sql = "update ledger_queue set claimed_by = null, claimed_until = null
             where claimed_by = $1 and claimed_until <= $2";
        let params = vec![holder.into(), until.into()];
        let given = self.database.execute("release claims", sql, params);
        Ok(given.await?)
    }

    /// Every holder of claims, with the latest time until which it has claimed an entry.
    pub async fn claimants(&self) -> Result<Vec<(String, DateTime<Utc>)>, LedgerError> {
        let sql = "select claimed_by, max(claimed_until) from ledger_queue
             where claimed_by is not null group by claimed_by order by claimed_by";
        let found = self
            .database
            .query("read the claimants", sql, Vec::new(), |line| {
                Ok((line.get(0)?, line.get(1)?))
            });
        Ok(found.await?)
    }

    /// Up to `most` entries, in the order in which they will be done.
    pub async fn pending(&self, most: u64) -> Result<Vec<Queued>, LedgerError> {
        let sql = format!(
            "select {COLUMNS} from ledger_queue order by rank, due_at, day desc, dataset limit $1"
        );
        let pending = self
            .database
            .query("read the queue", &sql, vec![most.into()], read_queued);
        Ok(pending.await?)
    }

    /// The size of the queue at `now`.
    pub async fn queue_size(&self, now: DateTime<Utc>) -> Result<QueueSize, LedgerError> {
        let sql = "select
               coalesce(sum(case when due_at <= $1 and (claimed_until is null or claimed_until <= $1)
                 then 1 else 0 end), 0),
               coalesce(sum(case when due_at > $1 and (claimed_until is null or claimed_until <= $1)
                 then 1 else 0 end), 0),
               coalesce(sum(case when claimed_until > $1 then 1 else 0 end), 0),
               min(case when due_at > $1 and (claimed_until is null or claimed_until <= $1)
                 then due_at end)
             from ledger_queue";
        let size = self
            .database
            .query("measure the queue", sql, vec![now.into()], |line| {
                Ok(QueueSize {
                    ready: line.count(0)?,
                    waiting: line.count(1)?,
                    in_work: line.count(2)?,
                    next_due: line.maybe(3)?,
                })
            })
            .await?;
        Ok(size.into_iter().next().unwrap_or_default())
    }

    /// Removes the days of datasets that are not in `known`.
    pub async fn forget_datasets_but(&self, known: &[DatasetName]) -> Result<u64, LedgerError> {
        let places: Vec<String> = (1..=known.len()).map(|at| format!("${at}")).collect();
        let sql = format!(
            "delete from ledger_queue where dataset not in ({})",
            places.join(", ")
        );
        let params = known.iter().map(|name| name.as_str().into()).collect();
        let removed = self
            .database
            .execute("remove unknown datasets from the queue", &sql, params)
            .await?;
        Ok(removed)
    }
}
