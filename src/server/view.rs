//! What the API and the pages both show of a day.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Problem;
use crate::compare::Counts;
use crate::ledger::{Act, Approval, Change, DayRecord, Mark, PassRecord};
use crate::model::{Dataset, DatasetName, Day};
use crate::plan::{Drafted, Guard};
use crate::reconcile::{Evidence, State, World};

/// Maximum acts, passes and changes shown for a day: the newest.
const NEWEST: usize = 100;

/// A day in the state after its last check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayLine {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its four-by-four id on the portal.
    pub id: String,
    /// The local day.
    pub day: Day,
    /// Its state.
    pub state: String,
    /// Time of the last change of state (UTC).
    pub since: DateTime<Utc>,
    /// Time of the last check (UTC).
    pub checked_at: DateTime<Utc>,
    /// Since when the day is known to differ (UTC).
    pub open_since: Option<DateTime<Utc>>,
    /// Why it is held or unproven.
    pub why: Option<String>,
    /// The likely cause of the findings.
    pub cause: Option<String>,
    /// Number of rows expected.
    pub expected: Option<u64>,
    /// Number of rows published, before any repair.
    pub published: Option<u64>,
    /// Number of findings of each kind.
    #[serde(flatten)]
    pub counts: Counts,
    /// The guards that hold it.
    pub guards: Vec<String>,
    /// Digest of the findings, or of the held plan.
    pub digest: Option<String>,
    /// The pass that changed something after the last check, if there was one.
    pub pass: Option<uuid::Uuid>,
    /// How the held plan was drafted, if there is one.
    pub drafted: Option<Drafted>,
}

impl DayLine {
    /// The line for a record of the ledger.
    #[must_use]
    pub fn of(dataset: &Dataset, record: DayRecord) -> Self {
        let DayRecord {
            dataset: name,
            day,
            state,
            since,
            checked_at,
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
            drafted,
            compared: _,
        } = record;
        Self {
            dataset: name,
            id: dataset.id.to_string(),
            day,
            state,
            since,
            checked_at,
            open_since,
            why,
            cause,
            expected,
            published,
            counts: serde_json::from_value(counts).unwrap_or_default(),
            guards,
            digest,
            pass,
            drafted,
        }
    }
}

/// How a held plan is approved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToApprove {
    /// Digest of the plan.
    pub digest: String,
    /// The commands to type, line by line.
    pub commands: Vec<String>,
    /// The approval, if it was given.
    pub approval: Option<Approval>,
}

/// Everything that is known about a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayFacts {
    /// Its state; `None` if it was never checked.
    #[serde(flatten)]
    pub line: DayLine,
    /// The evidence for its findings.
    pub evidence: Option<Evidence>,
    /// How to approve its plan, if approval would let it pass.
    pub approve: Option<ToApprove>,
    /// The operator's mark, if there is one.
    pub mark: Option<Mark>,
    /// What operators did about it, oldest first.
    pub acts: Vec<Act>,
    /// The passes that changed something, oldest first.
    pub passes: Vec<PassRecord>,
    /// Its changes of state, oldest first.
    pub changes: Vec<Change>,
}

fn newest<T>(mut all: Vec<T>) -> Vec<T> {
    all.split_off(all.len().saturating_sub(NEWEST))
}

/// Reads everything that is known about a day; `None` if it was never checked.
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
        approve: to_approve(world, &line).await?,
        mark: marks.into_iter().find(|mark| mark.day == day),
        acts: newest(ledger.acts(name, day).await?),
        passes: newest(ledger.passes(name, day, DateTime::UNIX_EPOCH).await?),
        changes: newest(ledger.changes(name, day).await?),
        evidence,
        line,
    }))
}

async fn to_approve(world: &World, line: &DayLine) -> Result<Option<ToApprove>, Problem> {
    let held = line.state == State::Held.to_string();
    let approvable = held && Guard::names_are_approvable(&line.guards);
    let Some(digest) = line.digest.clone().filter(|_| approvable) else {
        return Ok(None);
    };
    let commands =
        (line.drafted).map(|drafted| drafted.approval_commands(&line.dataset, line.day, &digest));
    Ok(Some(ToApprove {
        commands: commands.into_iter().flatten().collect(),
        approval: world.ledger.approval(&digest).await?,
        digest,
    }))
}
