//! The state of every dataset-day as its last look left it, with its evidence, and since when a
//! difference persists.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::changes::{Tell, note_change};
use super::{Ledger, LedgerError, bounds};
use crate::database::{FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day, DayRange};

/// A dataset-day as its last look left it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayRecord {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// Its state: `in-step`, `differs`, `held`, and so on.
    pub state: String,
    /// Since when it is in this state (UTC).
    pub since: DateTime<Utc>,
    /// When it was looked at last (UTC).
    pub looked_at: DateTime<Utc>,
    /// Why it is held or unproven.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// Rows by finding, and what else was counted.
    pub counts: Json,
    /// What the day looked like from outside when it was last found in step.
    pub fingerprint: Option<String>,
    /// Digest of what was found, or of the plan that is held.
    pub digest: Option<String>,
    /// Rows expected, if the look got so far.
    pub expected: Option<u64>,
    /// Rows published, before anything was mended.
    pub published: Option<u64>,
    /// Names of the guards that hold it.
    pub guards: Vec<String>,
    /// Since when it is known to differ, through all states that leave it so (UTC).
    pub open_since: Option<DateTime<Utc>>,
    /// The pass that changed something at the last look, if one did.
    pub pass: Option<Uuid>,
}

const COLUMNS: &str = "dataset, day, state, since, looked_at, why, cause, counts, fingerprint, \
     digest, expected, published, guards, open_since, pass";

const SET: &str = "on conflict (dataset, day) do update set
    state = excluded.state,
    since = case when old.state = excluded.state then old.since else excluded.since end,
    looked_at = excluded.looked_at, why = excluded.why, cause = excluded.cause,
    counts = excluded.counts, fingerprint = excluded.fingerprint,
    digest = excluded.digest, expected = excluded.expected, published = excluded.published,
    guards = excluded.guards, pass = excluded.pass,
    open_since = case
      when excluded.state = 'unproven' then old.open_since
      when excluded.open_since is null then null
      else coalesce(old.open_since, excluded.open_since) end,
    told = coalesce(excluded.told, old.told)";

/// Names in one text.
pub(super) fn joined(names: &[String]) -> String {
    names.join(",")
}

/// Names out of one text.
pub(super) fn names(joined: &str) -> Vec<String> {
    let names = joined.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn whole(line: &Line, index: usize) -> Result<Option<u64>, FieldError> {
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
        looked_at: line.get(4)?,
        why: line.maybe(5)?,
        cause: line.maybe(6)?,
        counts: line.get(7)?,
        fingerprint: line.maybe(8)?,
        digest: line.maybe(9)?,
        expected: whole(line, 10)?,
        published: whole(line, 11)?,
        guards: names(&line.maybe::<String>(12)?.unwrap_or_default()),
        open_since: line.maybe(13)?,
        pass: match line.maybe::<String>(14)? {
            Some(_) => Some(line.parsed(14)?),
            None => None,
        },
    })
}

fn day_params(record: &DayRecord) -> Vec<Param> {
    let DayRecord {
        dataset,
        day,
        state,
        since,
        looked_at,
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
    } = record;
    vec![
        dataset.as_str().into(),
        (*day).into(),
        state.into(),
        (*since).into(),
        (*looked_at).into(),
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
    ]
}

impl Ledger {
    /// Notes what a look found, and the change of state, if people shall hear of it. `since` stays
    /// what it was as long as the state does, `open_since` as long as the day is known to differ.
    pub async fn set_day(&self, record: &DayRecord, tell: Tell) -> Result<(), LedgerError> {
        let sql = format!(
            "insert into ledger_days as old ({COLUMNS}, told)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) {SET}"
        );
        let mut params = day_params(record);
        params.push(match tell {
            Tell::Change => (&record.state).into(),
            Tell::Nothing => Param::Null,
        });
        let set = Statement::new(sql, params);
        let act = format!("note day {} of {}", record.day, record.dataset);
        let mut statements: Vec<Statement> = note_change(record, tell).into_iter().collect();
        statements.push(set);
        self.database.transaction(&act, statements).await?;
        Ok(())
    }

    /// Keeps what speaks for a day's findings, in place of what was kept before.
    pub async fn set_evidence(
        &self,
        dataset: &DatasetName,
        day: Day,
        evidence: &Json,
    ) -> Result<(), LedgerError> {
        let sql = "insert into ledger_evidence (dataset, day, evidence) values ($1, $2, $3)
             on conflict (dataset, day) do update set evidence = excluded.evidence";
        let params = vec![dataset.as_str().into(), day.into(), evidence.into()];
        let act = format!("keep the evidence of {day} of {dataset}");
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// What speaks for a day's findings; `None` if nothing was kept.
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

    /// A day as its last look left it; `None` if it was never looked at.
    pub async fn day(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<Option<DayRecord>, LedgerError> {
        let found = self.days(Some(dataset), Some(DayRange::one(day))).await?;
        Ok(found.into_iter().next())
    }

    /// The days that were ever looked at, by dataset and day.
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

    /// Notes that a difference with this digest was seen on a day, and tells when this very one was
    /// seen first. Another digest starts anew; `None` forgets, for a day that does not differ.
    pub async fn sight(
        &self,
        dataset: &DatasetName,
        day: Day,
        digest: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, LedgerError> {
        let act = format!("note a difference on {day} of {dataset}");
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
                 then old.first_seen else excluded.first_seen end,
               digest = excluded.digest
             returning first_seen";
        params.extend([digest.into(), now.into()]);
        let seen = self.database.query(&act, sql, params, |line| line.get(0));
        Ok(seen.await?.into_iter().next())
    }
}
