//! How a dataset-day stands, and what a pass made of it.

use std::time::Duration;

use serde::Serialize;

use crate::compare::{Counts, Depth, Findings, cause};
use crate::ledger::LeaseAnswer;
use crate::model::{DatasetDay, KeyRecipe};
use crate::plan::Refusal;

use super::survey::fingerprint;
use super::{LookError, chain};

/// How a dataset-day stands. Names as in reports, metrics and the ledger.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing to mend.
    InStep,
    /// Findings remain.
    Differs,
    /// Findings were mended, and a second look found none.
    Repaired,
    /// A guard keeps the findings from being mended.
    Held,
    /// Lake or portal could not be read with certainty.
    Unproven,
    /// Mended, and not yet seen on the portal.
    Unconfirmed,
    /// Too young to judge.
    Unsettled,
    /// A person knows that the day's data are lost.
    KnownLost,
    /// Unchanged since it was found in step.
    Skipped,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::InStep,
        Self::Differs,
        Self::Repaired,
        Self::Held,
        Self::Unproven,
        Self::Unconfirmed,
        Self::Unsettled,
        Self::KnownLost,
        Self::Skipped,
    ];
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::InStep => "in-step",
            Self::Differs => "differs",
            Self::Repaired => "repaired",
            Self::Held => "held",
            Self::Unproven => "unproven",
            Self::Unconfirmed => "unconfirmed",
            Self::Unsettled => "unsettled",
            Self::KnownLost => "known-lost",
            Self::Skipped => "skipped",
        })
    }
}

/// What a pass changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Rows published.
    pub published_rows: u64,
    /// Rows purged.
    pub purged_rows: u64,
    /// Catalog entries changed.
    pub catalog_changes: u64,
}

/// The outcome of one pass.
#[derive(Debug)]
pub struct Report {
    /// The dataset-day.
    pub target: DatasetDay,
    /// How closely it was looked at.
    pub depth: Depth,
    /// How it stands.
    pub state: State,
    /// Why it stands so, where that needs saying.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// How many of each finding were found, before anything was mended.
    pub counts: Counts,
    /// Rows expected.
    pub expected: u64,
    /// Rows published, before anything was mended.
    pub published: u64,
    /// The key recipe of most of its rows.
    pub keys: Option<KeyRecipe>,
    /// What was changed.
    pub done: Done,
    /// The veto, if there was one.
    pub refusal: Option<Refusal>,
    /// The pass in ledger and archive, if anything was changed.
    pub pass: Option<uuid::Uuid>,
    /// How long it took.
    pub took: Duration,
    /// Whether another program of ours holds the dataset's lease.
    pub leased_away: bool,
    /// Whether a service failed, as against answers that could not be trusted.
    pub service_failed: bool,
    /// What the first look found, for those who want to see the rows.
    pub findings: Option<Findings>,
    /// What the day looks like from outside, if it was seen in step.
    pub(super) fingerprint: Option<String>,
}

impl Report {
    pub(super) fn new(target: &DatasetDay, depth: Depth, state: State) -> Self {
        Self {
            target: target.clone(),
            depth,
            state,
            why: None,
            cause: None,
            counts: Counts::default(),
            expected: 0,
            published: 0,
            keys: None,
            done: Done::default(),
            refusal: None,
            pass: None,
            took: Duration::ZERO,
            leased_away: false,
            service_failed: false,
            findings: None,
            fingerprint: None,
        }
    }

    pub(super) fn leased_away(target: &DatasetDay, depth: Depth, held: &LeaseAnswer) -> Self {
        let mut report = Self::new(target, depth, State::Unproven);
        report.leased_away = true;
        report.why = match held {
            LeaseAnswer::HeldBy { holder, until } => {
                let until = until.with_timezone(&target.dataset.zone).format("%H:%M %Z");
                Some(format!(
                    "{holder} holds the lease of the dataset until {until}"
                ))
            }
            LeaseAnswer::Granted { .. } => None,
        };
        report
    }

    /// Takes over what the look after a repair says.
    pub(super) fn verified_by(&mut self, after: Self) {
        let in_step = after.state == State::InStep;
        self.state = if in_step {
            State::Repaired
        } else {
            after.state
        };
        self.why = after.why.or(after.cause.filter(|_| !in_step));
        self.fingerprint = after.fingerprint;
    }

    pub(super) fn of(findings: Findings) -> Self {
        let state = match (findings.doubts.first(), findings.in_step()) {
            (Some(_), _) => State::Unproven,
            (None, true) => State::InStep,
            (None, false) => State::Differs,
        };
        let mut report = Self::new(&findings.target, findings.depth, state);
        report.why = doubts(&findings);
        report.cause = cause::of(&findings);
        report.counts = findings.counts();
        report.expected = findings.expected;
        report.published = findings.published;
        report.keys = findings.keys();
        report.fingerprint = (state == State::InStep).then(|| fingerprint(&findings));
        report.findings = Some(findings);
        report
    }

    /// The report of a day that could not be looked at.
    #[must_use]
    pub fn failed(target: &DatasetDay, depth: Depth, error: &LookError) -> Self {
        let mut report = Self::new(target, depth, State::Unproven);
        report.why = Some(chain(error));
        report.service_failed = error.is_service();
        report
    }
}

fn doubts(findings: &Findings) -> Option<String> {
    let mut doubts = findings.doubts.iter().map(ToString::to_string);
    let first = doubts.next()?;
    let more = doubts.count();
    Some(if more == 0 {
        first
    } else {
        format!("{first}, and {more} more doubts")
    })
}
