//! Passes that change something, each with a journal of its steps, so that a killed pass can be
//! distinguished from a finished one and every purge is counted.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::people::RELEASE;
use super::{Ledger, LedgerError};

use crate::database::{DatabaseError, FieldError, Line, Param, Statement};
use crate::model::{DatasetName, Day};

/// The kind of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PassKind {
    /// Repairs the differences.
    Repair,
    /// Wipes the day and publishes it again, at a person's request.
    Rewrite,
    /// Restores archived rows.
    Restore,
}

impl fmt::Display for PassKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Repair => "repair",
            Self::Rewrite => "rewrite",
            Self::Restore => "restore",
        })
    }
}

/// A text that names no kind of pass or mark.
#[derive(Debug, thiserror::Error)]
#[error("unknown kind {0:?}")]
pub struct UnknownKind(pub(super) String);

impl FromStr for PassKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        [Self::Repair, Self::Rewrite, Self::Restore]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| UnknownKind(text.into()))
    }
}

/// The step that records the result of the check after a repair: `published`, the number of
/// published rows.
pub const VERIFIED: &str = "verified";

/// The outcome of a pass that repaired the day.
const REPAIRED: &str = "repaired";

/// A pass over one dataset-day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassRecord {
    /// Its id, a version 7 UUID.
    pub id: Uuid,
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// Its kind.
    pub kind: PassKind,
    /// When it began (UTC).
    pub started_at: DateTime<Utc>,
    /// Digest of its plan.
    pub digest: String,
    /// A summary of its plan.
    pub summary: Json,
    /// How it ended; `None` while it runs, or if its process died.
    pub end: Option<PassEnd>,
}

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassEnd {
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// The day's state after it, or why it failed.
    pub outcome: String,
    /// Rows purged.
    pub purged: u64,
    /// Rows published.
    pub published: u64,
    /// Catalog entries put or removed.
    pub catalog_changes: u64,
}

/// One step of a pass, recorded before or after its effect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalStep {
    /// Its position in the journal, from 1.
    pub number: u64,
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// The step.
    pub step: String,
    /// Details. An integer `purged` counts as rows purged.
    pub detail: Json,
}

const COLUMNS: &str = "id, dataset, day, kind, started_at, digest, summary, \
     ended_at, outcome, purged, published, catalog_changes";

fn read_pass(line: &Line) -> Result<PassRecord, FieldError> {
    let end = match line.maybe(7)? {
        None => None,
        Some(at) => Some(PassEnd {
            at,
            outcome: line.get(8)?,
            purged: line.count(9)?,
            published: line.count(10)?,
            catalog_changes: line.count(11)?,
        }),
    };
    Ok(PassRecord {
        id: line.parsed(0)?,
        dataset: line.parsed(1)?,
        day: line.get(2)?,
        kind: line.parsed(3)?,
        started_at: line.get(4)?,
        digest: line.get(5)?,
        summary: line.get(6)?,
        end,
    })
}

fn read_step(line: &Line) -> Result<JournalStep, FieldError> {
    Ok(JournalStep {
        number: line.count(0)?,
        at: line.get(1)?,
        step: line.get(2)?,
        detail: line.get(3)?,
    })
}

fn pass_params(pass: &PassRecord) -> Vec<Param> {
    let PassRecord {
        id,
        dataset,
        day,
        kind,
        started_at,
        digest,
        summary,
        end,
    } = pass;
    let end = end.as_ref();
    vec![
        (&id.to_string()).into(),
        dataset.as_str().into(),
        (*day).into(),
        (&kind.to_string()).into(),
        (*started_at).into(),
        digest.into(),
        summary.into(),
        end.map(|end| end.at).into(),
        end.map(|end| end.outcome.as_str()).into(),
        end.map_or(0, |end| end.purged).into(),
        end.map_or(0, |end| end.published).into(),
        end.map_or(0, |end| end.catalog_changes).into(),
    ]
}

impl Ledger {
    /// Records that a pass begins, before its first effect.
    pub async fn begin_pass(&self, pass: &PassRecord) -> Result<(), LedgerError> {
        let sql = format!(
            "insert into ledger_passes ({COLUMNS}, steps)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0)"
        );
        self.database
            .execute(&format!("begin pass {}", pass.id), &sql, pass_params(pass))
            .await?;
        Ok(())
    }

    /// Adds a step to the journal of a pass that has not ended. An integer `purged` in `detail`
    /// counts as rows purged, until the pass ends with a larger number.
    pub async fn journal(
        &self,
        pass: Uuid,
        at: DateTime<Utc>,
        step: &str,
        detail: &Json,
    ) -> Result<(), LedgerError> {
        let id = pass.to_string();
        let purged = detail.get("purged").and_then(Json::as_u64).unwrap_or(0);
        let count = Statement::new(
            "update ledger_passes set steps = steps + 1 where id = $1 and ended_at is null",
            vec![(&id).into()],
        );
        let add = Statement::new(
            "insert into ledger_journal (pass, number, at, step, detail, purged)
             select id, steps, $2, $3, $4, $5 from ledger_passes where id = $1",
            vec![
                (&id).into(),
                at.into(),
                step.into(),
                detail.into(),
                purged.into(),
            ],
        );
        self.note(pass, "add a step", vec![count.expect(1), add.expect(1)])
            .await
    }

    /// Records how a pass ended.
    pub async fn end_pass(
        &self,
        pass: Uuid,
        at: DateTime<Utc>,
        outcome: &str,
        purged: u64,
        published: u64,
        catalog_changes: u64,
    ) -> Result<(), LedgerError> {
        let end = Statement::new(
            "update ledger_passes set ended_at = $2, outcome = $3, purged = $4, published = $5,
               catalog_changes = $6
             where id = $1 and ended_at is null",
            vec![
                (&pass.to_string()).into(),
                at.into(),
                outcome.into(),
                purged.into(),
                published.into(),
                catalog_changes.into(),
            ],
        );
        self.note(pass, "end the pass", vec![end.expect(1)]).await
    }

    async fn note(
        &self,
        pass: Uuid,
        act: &str,
        statements: Vec<Statement>,
    ) -> Result<(), LedgerError> {
        match self.database.transaction(act, statements).await {
            Ok(_) => Ok(()),
            Err(DatabaseError::Unmet { place, .. }) => Err(LedgerError::NoSuchPass {
                pass,
                place: place.to_string(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_passes(
        &self,
        condition: &str,
        params: Vec<Param>,
    ) -> Result<Vec<PassRecord>, LedgerError> {
        let sql = format!(
            "select {COLUMNS} from ledger_passes where {condition} order by started_at, id"
        );
        Ok(self
            .database
            .query("read passes", &sql, params, read_pass)
            .await?)
    }

    /// The pass with its journal, in order; `None` if there is no such pass.
    pub async fn pass(
        &self,
        id: Uuid,
    ) -> Result<Option<(PassRecord, Vec<JournalStep>)>, LedgerError> {
        let params = vec![Param::from(&id.to_string())];
        let found = self.read_passes("id = $1", params.clone()).await?;
        let Some(pass) = found.into_iter().next() else {
            return Ok(None);
        };
        let sql = "select number, at, step, detail from ledger_journal
             where pass = $1 order by number";
        let steps = self
            .database
            .query("read a journal", sql, params, read_step)
            .await?;
        Ok(Some((pass, steps)))
    }

    /// The passes over a day that began at or after `since`, oldest first.
    pub async fn passes(
        &self,
        dataset: &DatasetName,
        day: Day,
        since: DateTime<Utc>,
    ) -> Result<Vec<PassRecord>, LedgerError> {
        let params = vec![dataset.as_str().into(), day.into(), since.into()];
        self.read_passes("dataset = $1 and day = $2 and started_at >= $3", params)
            .await
    }

    /// Whether a rewrite of this day began and no pass has repaired the day since. Then the
    /// published rows may be what is left of that rewrite.
    pub async fn is_half_rewritten(
        &self,
        dataset: &DatasetName,
        day: Day,
    ) -> Result<bool, LedgerError> {
        let passes = self.passes(dataset, day, DateTime::UNIX_EPOCH).await?;
        let has_repaired =
            |pass: &PassRecord| pass.end.as_ref().is_some_and(|end| end.outcome == REPAIRED);
        let mut since = passes.iter().rev().take_while(|pass| !has_repaired(pass));
        Ok(since.any(|pass| pass.kind == PassKind::Rewrite))
    }

    /// The unfinished passes of a dataset, oldest first.
    pub async fn unfinished(&self, dataset: &DatasetName) -> Result<Vec<PassRecord>, LedgerError> {
        let params = vec![dataset.as_str().into()];
        self.read_passes("dataset = $1 and ended_at is null", params)
            .await
    }

    /// The unfinished passes of all datasets, oldest first.
    pub async fn all_unfinished(&self) -> Result<Vec<PassRecord>, LedgerError> {
        self.read_passes("ended_at is null", Vec::new()).await
    }

    /// Rows purged from a dataset by passes that began or ended at or after `since`. For each pass,
    /// the larger of the number recorded at its end and the sum of its journal counts, so that a
    /// pass whose process died counts too.
    pub async fn purged_since(
        &self,
        dataset: &DatasetName,
        since: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        let sql = "select cast(coalesce(sum(case when ended > noted then ended else noted end), 0)
               as bigint)
             from (select p.purged as ended,
                 (select coalesce(sum(j.purged), 0) from ledger_journal j where j.pass = p.id)
                   as noted
               from ledger_passes p
               where p.dataset = $1 and (p.started_at >= $2 or p.ended_at >= $2)) passes";
        let params = vec![dataset.as_str().into(), since.into()];
        let sums = self
            .database
            .query("count the purged rows", sql, params, |line| line.count(0))
            .await?;
        Ok(sums.into_iter().sum())
    }

    /// Repairs of a day that began at or after `since` and after a person last released the day,
    /// however they ended.
    pub async fn repairs_since(
        &self,
        dataset: &DatasetName,
        day: Day,
        since: DateTime<Utc>,
    ) -> Result<u32, LedgerError> {
        let passes = self.passes(dataset, day, since).await?;
        let acts = self.acts(dataset, day).await?;
        let releases = acts.iter().filter(|act| act.act == RELEASE);
        let released = releases.map(|act| act.at).max();
        let counts = |pass: &&PassRecord| {
            pass.kind == PassKind::Repair && released.is_none_or(|at| pass.started_at > at)
        };
        Ok(u32::try_from(passes.iter().filter(counts).count()).unwrap_or(u32::MAX))
    }
}
