//! The state of every dataset-day after its last check, with its evidence, and since when a
//! difference has persisted.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::carry::{Compared, OpenAltered, carry_over};
use super::changes::{Tell, note_change};
use super::queue::{depth_number, read_depth};
use super::{Ledger, LedgerError, bounds};
use crate::compare::Depth;
use crate::database::{DatabaseError, FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day, DayRange};
use crate::plan::{Drafted, Strategy};

/// A dataset-day after its last check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayRecord {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// Its state: `in-sync`, `differs`, `held`, and so on.
    pub state: String,
    /// When it entered this state (UTC).
    pub since: DateTime<Utc>,
    /// When it was last checked (UTC).
    pub checked_at: DateTime<Utc>,
    /// The reason why it is held or unproven.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// Rows by finding, and what else was counted.
    pub counts: Json,
    /// The day's sides as text when it was last found in sync.
    pub fingerprint: Option<String>,
    /// Digest of the findings, or of the held plan.
    pub digest: Option<String>,
    /// Rows expected, if the check determined them.
    pub expected: Option<u64>,
    /// Rows published before anything was repaired.
    pub published: Option<u64>,
    /// Names of the guards that hold it.
    pub guards: Vec<String>,
    /// Since when it is known to differ, across changes of state (UTC).
    pub open_since: Option<DateTime<Utc>>,
    /// The pass that changed something at the last check, if one did.
    pub pass: Option<Uuid>,
    /// How the held plan was drafted; `None` if none is held, or if an older version recorded it.
    pub drafted: Option<Drafted>,
    /// What the last check compared, and what remains for a deeper check.
    pub compared: Compared,
}

const COLUMNS: &str = "dataset, day, state, since, checked_at, why, cause, counts, fingerprint, \
     digest, expected, published, guards, open_since, pass, depth, altered_rows, altered_cause, \
     altered_at, outside, plan_depth, plan_strategy";

/// How often to decide a record again because another process wrote the day in the meantime.
const MAX_CONFLICTS: usize = 20;

const SET: &str = "on conflict (dataset, day) do update set
    state = excluded.state,
    since = case when old.state = excluded.state then old.since else excluded.since end,
    checked_at = excluded.checked_at, why = excluded.why, cause = excluded.cause,
    counts = excluded.counts, fingerprint = excluded.fingerprint,
    digest = excluded.digest, expected = excluded.expected, published = excluded.published,
    guards = excluded.guards, pass = excluded.pass, depth = excluded.depth,
    altered_rows = excluded.altered_rows, altered_cause = excluded.altered_cause,
    altered_at = excluded.altered_at, outside = excluded.outside,
    plan_depth = excluded.plan_depth, plan_strategy = excluded.plan_strategy,
    revision = old.revision + 1,
    open_since = case
      when excluded.state = 'unproven' then old.open_since
      when excluded.open_since is null then null
      else coalesce(old.open_since, excluded.open_since) end,
    told = coalesce(excluded.told, old.told)
    where old.revision = $24";

/// Joins names into one text.
pub(super) fn joined(names: &[String]) -> String {
    names.join(",")
}

/// Splits a text into names.
pub(super) fn names(joined: &str) -> Vec<String> {
    let names = joined.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn optional_count(line: &Line, index: usize) -> Result<Option<u64>, FieldError> {
    match line.maybe::<i64>(index)? {
        Some(_) => line.count(index).map(Some),
        None => Ok(None),
    }
}

fn read_day(line: &Line) -> Result<DayRecord, FieldError> {
    Ok(DayRecord {
        dataset: line.parsed(0)?,
        day: line.get(1)?,
        state: line.get(2)?,
        since: line.get(3)?,
        checked_at: line.get(4)?,
        why: line.maybe(5)?,
        cause: line.maybe(6)?,
        counts: line.get(7)?,
        fingerprint: line.maybe(8)?,
        digest: line.maybe(9)?,
        expected: optional_count(line, 10)?,
        published: optional_count(line, 11)?,
        guards: names(&line.maybe::<String>(12)?.unwrap_or_default()),
        open_since: line.maybe(13)?,
        pass: match line.maybe::<String>(14)? {
            Some(_) => Some(line.parsed(14)?),
            None => None,
        },
        compared: Compared {
            depth: match line.maybe::<i64>(15)? {
                Some(_) => Some(line.read(15, read_depth)?),
                None => None,
            },
            altered: match optional_count(line, 16)? {
                Some(rows) => Some(OpenAltered {
                    rows,
                    cause: line.maybe(17)?,
                    found_at: line.get(18)?,
                }),
                None => None,
            },
            outside: line.maybe(19)?,
        },
        drafted: read_drafted(line, 20)?,
    })
}

/// How a plan was drafted, read from the two columns starting at `index`.
pub(super) fn read_drafted(line: &Line, index: usize) -> Result<Option<Drafted>, FieldError> {
    let (depth, strategy) = (
        line.maybe::<String>(index)?,
        line.maybe::<String>(index + 1)?,
    );
    let depth = Depth::ALL
        .into_iter()
        .find(|one| depth.as_deref() == Some(one.to_string().as_str()));
    let strategy = Strategy::ALL
        .into_iter()
        .find(|one| strategy.as_deref() == Some(one.to_string().as_str()));
    Ok(depth
        .zip(strategy)
        .map(|(depth, strategy)| Drafted { depth, strategy }))
}

/// The values of the same two columns, for writing.
pub(super) fn drafted_params(drafted: Option<Drafted>) -> [Param; 2] {
    let depth = drafted.map(|drafted| drafted.depth.to_string());
    let strategy = drafted.map(|drafted| drafted.strategy.to_string());
    [depth.as_ref().into(), strategy.as_ref().into()]
}

fn day_params(record: &DayRecord) -> Vec<Param> {
    let DayRecord {
        dataset,
        day,
        state,
        since,
        checked_at,
        why,
        cause,
        counts,
        fingerprint,
        digest,
        expected,
        published,
        guards,
        open_since,
        pass,
        drafted,
        compared: Compared {
            depth,
            altered,
            outside,
        },
    } = record;
    let altered_cause = altered.as_ref().and_then(|altered| altered.cause.as_ref());
    let [plan_depth, plan_strategy] = drafted_params(*drafted);
    vec![
        dataset.as_str().into(),
        (*day).into(),
        state.into(),
        (*since).into(),
        (*checked_at).into(),
        why.as_ref().into(),
        cause.as_ref().into(),
        counts.into(),
        fingerprint.as_ref().into(),
        digest.as_ref().into(),
        (*expected).into(),
        (*published).into(),
        (&joined(guards)).into(),
        (*open_since).into(),
        pass.map(|pass| pass.to_string()).as_ref().into(),
        depth.map(depth_number).into(),
        altered.as_ref().map(|altered| altered.rows).into(),
        altered_cause.into(),
        altered.as_ref().map(|altered| altered.found_at).into(),
        outside.as_ref().into(),
        plan_depth,
        plan_strategy,
    ]
}

impl Ledger {
    /// Records what a check found and, if people are to be notified, the change of state. `since`
    /// is kept while the state stays the same, `open_since` while the day is known to differ. What
    /// the check did not compare is carried over ([`carry_over`]). Returns the record as written.
    pub async fn set_day(&self, record: &DayRecord, tell: Tell) -> Result<DayRecord, LedgerError> {
        let mut conflicts = 0;
        loop {
            let (before, revision) = match self.day_at(&record.dataset, record.day).await? {
                Some((before, revision)) => (Some(before), revision),
                None => (None, -1),
            };
            let kept = carry_over(before.as_ref(), record.clone());
            match self.put_day(&kept, tell, revision).await {
                Ok(()) => return Ok(kept),
                // Another process has written the day since it was read.
                Err(DatabaseError::Unmet { .. }) if conflicts < MAX_CONFLICTS => conflicts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A day and its revision, the number of times it was written.
    async fn day_at(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<Option<(DayRecord, i64)>, DatabaseError> {
        let sql =
            format!("select {COLUMNS}, revision from ledger_days where dataset = $1 and day = $2");
        let params = vec![dataset.as_str().into(), day.into()];
        let read = |line: &Line| Ok((read_day(line)?, line.get(22)?));
        let found = self.database.query("read a day", &sql, params, read);
        Ok(found.await?.into_iter().next())
    }

    /// Writes a day if its revision has not changed; -1 means that it did not exist.
    async fn put_day(
        &self,
        record: &DayRecord,
        tell: Tell,
        revision: i64,
    ) -> Result<(), DatabaseError> {
        let places: Vec<String> = (1..=23).map(|at| format!("${at}")).collect();
        let sql = format!(
            "insert into ledger_days as old ({COLUMNS}, told, revision)
             values ({}, 1) {SET}",
            places.join(", ")
        );
        let mut params = day_params(record);
        params.push(match tell {
            Tell::Change => (&record.state).into(),
            Tell::Nothing => Param::Null,
        });
        params.push(revision.into());
        let set = Statement::new(sql, params).expect(1);
        let act = format!("record day {} of {}", record.day, record.dataset);
        let mut statements: Vec<Statement> = note_change(record, tell).into_iter().collect();
        statements.push(set);
        self.database.transaction(&act, statements).await?;
        Ok(())
    }

    /// Records the sides of days whose last check recorded none. Sides that are already recorded
    /// are kept.
    pub async fn set_outside(
        &self,
        dataset: &DatasetName,
        days: &[(Day, String)],
    ) -> Result<(), LedgerError> {
        let set = |(day, outside): &(Day, String)| {
            Statement::new(
                "update ledger_days set outside = $3
                 where dataset = $1 and day = $2 and outside is null",
                vec![dataset.as_str().into(), (*day).into(), outside.into()],
            )
        };
        let statements = days.iter().map(set).collect();
        let act = format!("record the sides of days of {dataset}");
        self.database.transaction(&act, statements).await?;
        Ok(())
    }

    /// Stores the evidence for a day's findings, replacing earlier evidence.
    pub async fn set_evidence(
        &self,
        dataset: &DatasetName,
        day: Day,
        evidence: &Json,
    ) -> Result<(), LedgerError> {
        let sql = "insert into ledger_evidence (dataset, day, evidence) values ($1, $2, $3)
             on conflict (dataset, day) do update set evidence = excluded.evidence";
        let params = vec![dataset.as_str().into(), day.into(), evidence.into()];
        let act = format!("store the evidence of {day} of {dataset}");
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// The evidence for a day's findings; `None` if none is stored.
    pub async fn evidence(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<Option<Json>, LedgerError> {
        let sql = "select evidence from ledger_evidence where dataset = $1 and day = $2";
        let params = vec![dataset.as_str().into(), day.into()];
        let act = format!("read the evidence of {day} of {dataset}");
        let found = self.database.query(&act, sql, params, |line| line.get(0));
        Ok(found.await?.into_iter().next())
    }

    /// A day after its last check; `None` if it was never checked.
    pub async fn day(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<Option<DayRecord>, LedgerError> {
        let found = self.days(Some(dataset), Some(DayRange::one(day))).await?;
        Ok(found.into_iter().next())
    }

    /// The days that were ever checked, by dataset and day.
    pub async fn days(
        &self,
        dataset: Option<&DatasetName>,
        range: Option<DayRange>,
    ) -> Result<Vec<DayRecord>, LedgerError> {
        let sql = format!(
            "select {COLUMNS} from ledger_days
             where (dataset = $1 or cast($1 as text) is null) and day >= $2 and day < $3
             order by dataset, day"
        );
        let [from, to] = bounds(range);
        let params = vec![dataset.map(DatasetName::as_str).into(), from, to];
        Ok(self
            .database
            .query("read days", &sql, params, read_day)
            .await?)
    }

    /// Records that a difference with this digest was seen on a day, and returns when this digest
    /// was first seen. A different digest starts again at `now`, and so does one whose first time
    /// is in the future because a clock was ahead. `None` removes the record, for a day that does
    /// not differ.
    pub async fn record_sighting(
        &self,
        dataset: &DatasetName,
        day: Day,
        digest: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, LedgerError> {
        let act = format!("record a difference on {day} of {dataset}");
        let mut params = vec![dataset.as_str().into(), day.into()];
        let Some(digest) = digest else {
            let sql = "delete from ledger_sightings where dataset = $1 and day = $2";
            self.database.execute(&act, sql, params).await?;
            return Ok(None);
        };
        let sql = "insert into ledger_sightings as old (dataset, day, digest, first_seen)
             values ($1, $2, $3, $4)
             on conflict (dataset, day) do update set
               first_seen = case when old.digest = excluded.digest
                   and old.first_seen <= excluded.first_seen
                 then old.first_seen else excluded.first_seen end,
               digest = excluded.digest
             returning first_seen";
        params.extend([digest.into(), now.into()]);
        let seen = self.database.query(&act, sql, params, |line| line.get(0));
        Ok(seen.await?.into_iter().next())
    }
}
