//! How a dataset-day stands, and what a pass made of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::compare::{Counts, Depth, Findings, cause};
use crate::ledger::{DayRecord, LeaseAnswer};
use crate::model::{DatasetDay, KeyRecipe};
use crate::plan::Refusal;
use crate::repair::{Effects, RepairError};

use super::lakeside::LakeReads;
use super::survey::fingerprint;
use super::{Look, LookError, Service, chain};

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

/// Why a day could not be judged. The names are those of the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckFailure {
    /// The lake could not be read.
    Lake,
    /// The catalog could not be read.
    Catalog,
    /// The portal could not be read.
    Portal,
    /// The ledger could not be used.
    Ledger,
    /// The published table is not what the settings and the recipe say.
    Table,
    /// What was read cannot be trusted.
    Doubt,
}

impl CheckFailure {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Lake,
        Self::Catalog,
        Self::Portal,
        Self::Ledger,
        Self::Table,
        Self::Doubt,
    ];
}

impl std::fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Lake => "lake",
            Self::Catalog => "catalog",
            Self::Portal => "portal",
            Self::Ledger => "ledger",
            Self::Table => "table",
            Self::Doubt => "doubt",
        })
    }
}

impl From<&LookError> for CheckFailure {
    fn from(error: &LookError) -> Self {
        match error {
            LookError::Lake(_) => Self::Lake,
            LookError::Catalog(_) => Self::Catalog,
            LookError::Portal(_) => Self::Portal,
            LookError::Ledger(_) => Self::Ledger,
            LookError::Table(_) | LookError::Columns(_) | LookError::Recipe(_) => Self::Table,
            LookError::Derive(_) | LookError::Doubtful(_) => Self::Doubt,
        }
    }
}

/// Why a repair did not come to its end, or came to the wrong one. The names are those of the
/// metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairFailure {
    /// The archive could not be written.
    Archive,
    /// The portal failed, or refused rows.
    Portal,
    /// The catalog could not be changed.
    Catalog,
    /// The ledger could not be written.
    Ledger,
    /// What was written is not to be seen yet.
    Unconfirmed,
    /// Another program of ours took the lease.
    LeaseLost,
    /// The existing publisher failed.
    Publisher,
    /// The look after it failed.
    Verify,
    /// The look after it still found something.
    Unmended,
}

impl RepairFailure {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Archive,
        Self::Portal,
        Self::Catalog,
        Self::Ledger,
        Self::Unconfirmed,
        Self::LeaseLost,
        Self::Publisher,
        Self::Verify,
        Self::Unmended,
    ];
}

impl std::fmt::Display for RepairFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Archive => "archive",
            Self::Portal => "portal",
            Self::Catalog => "catalog",
            Self::Ledger => "ledger",
            Self::Unconfirmed => "unconfirmed",
            Self::LeaseLost => "lease-lost",
            Self::Publisher => "publisher",
            Self::Verify => "verify",
            Self::Unmended => "unmended",
        })
    }
}

impl RepairFailure {
    /// Why a repair failed; `None` where it only was asked to end.
    pub(super) fn of(error: &RepairError) -> Option<Self> {
        Some(match error {
            RepairError::Archive(_) => Self::Archive,
            RepairError::Write(_) | RepairError::Read(_) | RepairError::Refused { .. } => {
                Self::Portal
            }
            RepairError::Catalog(_) => Self::Catalog,
            RepairError::Ledger(_) => Self::Ledger,
            RepairError::Unconfirmed { .. } | RepairError::PurgeInDoubt => Self::Unconfirmed,
            RepairError::LeaseLost { .. } | RepairError::Overtaken { .. } => Self::LeaseLost,
            RepairError::Publisher { .. } => Self::Publisher,
            RepairError::Stopped => return None,
        })
    }
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
    /// Rows published after it was, if that was seen.
    pub published_after: Option<u64>,
    /// The key recipe of most of its rows.
    pub keys: Option<KeyRecipe>,
    /// What was changed.
    pub done: Done,
    /// The same, and what else the pass did, by reason; `None`: no plan was carried out.
    pub effects: Option<Effects>,
    /// What its looks read from the lake.
    pub lake: LakeReads,
    /// Why it could not be judged, if it could not.
    pub check_failure: Option<CheckFailure>,
    /// Why its repair failed, if it did.
    pub repair_failure: Option<RepairFailure>,
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
    /// Which one, where that is known.
    pub failed: Option<Service>,
    /// Whether the program was asked to end before the repair had come to its end.
    pub interrupted: bool,
    /// Where only time stands between the day and its repair: when to look again (UTC).
    pub again_at: Option<DateTime<Utc>>,
    /// What the first look found, for those who want to see the rows.
    pub findings: Option<Findings>,
    /// What the day looks like from outside, if it was seen in step.
    pub(crate) fingerprint: Option<String>,
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
            published_after: None,
            keys: None,
            done: Done::default(),
            effects: None,
            lake: LakeReads::default(),
            check_failure: None,
            repair_failure: None,
            refusal: None,
            pass: None,
            took: Duration::ZERO,
            leased_away: false,
            service_failed: false,
            failed: None,
            interrupted: false,
            again_at: None,
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
        self.lake += after.lake;
        self.published_after = Some(after.published);
        self.repair_failure = match after.state {
            State::InStep => None,
            State::Unproven => Some(RepairFailure::Verify),
            _ => Some(RepairFailure::Unmended),
        };
        self.state = if in_step {
            State::Repaired
        } else {
            after.state
        };
        self.why = after.why.or(after.cause.filter(|_| !in_step));
        self.fingerprint = after.fingerprint;
    }

    pub(super) fn of(look: Look) -> Self {
        let Look {
            findings,
            reads,
            table: _,
            columns: _,
        } = look;
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
        report.lake = reads;
        report.check_failure = (state == State::Unproven).then_some(CheckFailure::Doubt);
        report.findings = Some(findings);
        report
    }

    /// The day as the ledger keeps it, looked at `now` (UTC), with the digest of what is held.
    #[must_use]
    pub fn record(&self, now: DateTime<Utc>, digest: Option<String>) -> DayRecord {
        let state = match self.state {
            State::Repaired => State::InStep,
            other => other,
        };
        let open_since = match state {
            State::Differs | State::Held | State::Unconfirmed => Some(now),
            State::InStep
            | State::Repaired
            | State::Unproven
            | State::Unsettled
            | State::KnownLost
            | State::Skipped => None,
        };
        let breaches = self.refusal.iter().flat_map(|refusal| &refusal.breaches);
        DayRecord {
            dataset: self.target.dataset.name.clone(),
            day: self.target.day,
            state: state.to_string(),
            since: now,
            looked_at: now,
            why: self.why.clone(),
            cause: self.cause.clone(),
            counts: serde_json::to_value(self.counts).unwrap_or_default(),
            fingerprint: self.fingerprint.clone(),
            digest,
            expected: self.findings.as_ref().map(|found| found.expected),
            published: self.findings.as_ref().map(|found| found.published),
            guards: breaches.map(|breach| breach.guard.to_string()).collect(),
            open_since,
            pass: self.pass,
        }
    }

    /// The report of a day that could not be looked at.
    #[must_use]
    pub fn failed(target: &DatasetDay, depth: Depth, error: &LookError) -> Self {
        let mut report = Self::new(target, depth, State::Unproven);
        report.why = Some(chain(error));
        report.check_failure = Some(error.into());
        report.fails(error.service());
        report
    }
}

impl Report {
    /// Notes the service that failed, if one did.
    pub(super) fn fails(&mut self, service: Option<Service>) {
        self.failed = service;
        self.service_failed = service.is_some();
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
