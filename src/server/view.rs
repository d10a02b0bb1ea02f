//! What is told of a day, the same for the API and the pages.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Problem;
use crate::compare::Counts;
use crate::ledger::{Act, Approval, Change, DayRecord, Mark, PassRecord};
use crate::model::{Dataset, DatasetName, Day};
use crate::reconcile::{Evidence, State, World};
use crate::telemetry::notify::approval_commands;

/// Most acts, passes and changes told of a day: the newest.
const NEWEST: usize = 100;

/// A day as its last look left it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayLine {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its four-by-four.
    pub id: String,
    /// The local day.
    pub day: Day,
    /// Its state.
    pub state: String,
    /// Since when it is in this state (UTC).
    pub since: DateTime<Utc>,
    /// When it was looked at last (UTC).
    pub looked_at: DateTime<Utc>,
    /// Since when it is known to differ (UTC).
    pub open_since: Option<DateTime<Utc>>,
    /// Why it is held or unproven.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// Rows expected.
    pub expected: Option<u64>,
    /// Rows published, before anything was mended.
    pub published: Option<u64>,
    /// How many of each finding.
    #[serde(flatten)]
    pub counts: Counts,
    /// The guards that hold it.
    pub guards: Vec<String>,
    /// Digest of what was found, or of the plan that is held.
    pub digest: Option<String>,
    /// The pass that changed something at the last look, if one did.
    pub pass: Option<uuid::Uuid>,
}

impl DayLine {
    /// Of a record of the ledger.
    #[must_use]
    pub fn of(dataset: &Dataset, record: DayRecord) -> Self {
        let DayRecord {
            dataset: name,
            day,
            state,
            since,
            looked_at,
            why,
            cause,
            counts,
            fingerprint: _,
            digest,
            expected,
            published,
            guards,
            open_since,
            pass,
        } = record;
        Self {
            dataset: name,
            id: dataset.id.to_string(),
            day,
            state,
            since,
            looked_at,
            open_since,
            why,
            cause,
            expected,
            published,
            counts: serde_json::from_value(counts).unwrap_or_default(),
            guards,
            digest,
            pass,
        }
    }
}

/// How a held plan is approved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToApprove {
    /// Digest of the plan.
    pub digest: String,
    /// What to type, line by line.
    pub commands: Vec<String>,
    /// A person's yes, if it was given.
    pub approval: Option<Approval>,
}

/// Everything that is known of a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayFacts {
    /// How it stands; `None`: it was never looked at.
    #[serde(flatten)]
    pub line: DayLine,
    /// What speaks for its findings.
    pub evidence: Option<Evidence>,
    /// How its plan is approved, where that would let it pass.
    pub approve: Option<ToApprove>,
    /// A person's mark, if it has one.
    pub mark: Option<Mark>,
    /// What people did about it, the oldest first.
    pub acts: Vec<Act>,
    /// The passes that changed something, the oldest first.
    pub passes: Vec<PassRecord>,
    /// Changes of its state, the oldest first.
    pub changes: Vec<Change>,
}

fn newest<T>(mut all: Vec<T>) -> Vec<T> {
    all.split_off(all.len().saturating_sub(NEWEST))
}

/// Reads everything that is known of a day; `None`: it was never looked at.
///
/// # Errors
/// If the ledger does not answer.
pub async fn read_day(
    world: &World,
    dataset: &Dataset,
    day: Day,
) -> Result<Option<DayFacts>, Problem> {
    let ledger = &world.ledger;
    let name = &dataset.name;
    let Some(record) = ledger.day(name, day).await? else {
        return Ok(None);
    };
    let evidence = ledger.evidence(name, day).await?;
    let evidence: Option<Evidence> = evidence.and_then(|json| serde_json::from_value(json).ok());
    let line = DayLine::of(dataset, record);
    let marks = ledger.marks(Some(name)).await?;
    Ok(Some(DayFacts {
        approve: to_approve(world, &line, evidence.as_ref()).await?,
        mark: marks.into_iter().find(|mark| mark.day == day),
        acts: newest(ledger.acts(name, day).await?),
        passes: newest(ledger.passes(name, day, DateTime::UNIX_EPOCH).await?),
        changes: newest(ledger.changes(name, day).await?),
        evidence,
        line,
    }))
}

async fn to_approve(
    world: &World,
    line: &DayLine,
    evidence: Option<&Evidence>,
) -> Result<Option<ToApprove>, Problem> {
    let held = line.state == State::Held.to_string();
    let approvable = held && evidence.is_some_and(|evidence| evidence.approvable);
    let Some(digest) = line.digest.clone().filter(|_| approvable) else {
        return Ok(None);
    };
    Ok(Some(ToApprove {
        commands: approval_commands(&line.dataset, line.day, &digest),
        approval: world.ledger.approval(&digest).await?,
        digest,
    }))
}
