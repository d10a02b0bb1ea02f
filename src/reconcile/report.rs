//! The state of a dataset-day, and the outcome of a pass.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::compare::{Counts, Depth, Findings, cause};
use crate::ledger::{Compared, DayRecord, Held, OpenAltered};
use crate::model::{DatasetDay, KeyScheme};
use crate::plan::Refusal;
use crate::repair::{Effects, RepairError};

use super::lakeside::LakeReads;
use super::survey::fingerprint;
use super::{CheckError, Checked, Service, chain};

/// The state of a dataset-day. Reports, metrics and the ledger use these names.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing to repair.
    InSync,
    /// Findings remain.
    Differs,
    /// Findings were repaired, and a second check found none.
    Repaired,
    /// A guard refuses to repair the findings.
    Held,
    /// Lake or portal could not be read with certainty.
    Unproven,
    /// Repaired, but not yet confirmed on the portal.
    Unconfirmed,
    /// Too young to judge.
    Unsettled,
    /// A person marked the day's data as lost.
    KnownLost,
    /// Unchanged since it was found in sync.
    Skipped,
    /// Never checked, or not for longer than the schedules promise.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::InSync,
        Self::Differs,
        Self::Repaired,
        Self::Held,
        Self::Unproven,
        Self::Unconfirmed,
        Self::Unsettled,
        Self::KnownLost,
        Self::Skipped,
        Self::Unknown,
    ];
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::InSync => "in-sync",
            Self::Differs => "differs",
            Self::Repaired => "repaired",
            Self::Held => "held",
            Self::Unproven => "unproven",
            Self::Unconfirmed => "unconfirmed",
            Self::Unsettled => "unsettled",
            Self::KnownLost => "known-lost",
            Self::Skipped => "skipped",
            Self::Unknown => crate::ledger::UNKNOWN,
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
    /// The ledger could not be read or written.
    Ledger,
    /// The published table does not match the settings or the recipe.
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

impl From<&CheckError> for CheckFailure {
    fn from(error: &CheckError) -> Self {
        match error {
            CheckError::Lake(_) => Self::Lake,
            CheckError::Catalog(_) => Self::Catalog,
            CheckError::Portal(_) => Self::Portal,
            CheckError::Ledger(_) => Self::Ledger,
            CheckError::Table(_) | CheckError::Columns(_) | CheckError::Recipe(_) => Self::Table,
            CheckError::Derive(_) | CheckError::Doubtful(_) => Self::Doubt,
        }
    }
}

/// Why a repair was not completed, or did not have the intended result. The names are those of the
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
    /// What was written is not visible yet.
    Unconfirmed,
    /// Another Sodalake process took the lease.
    LeaseLost,
    /// The existing publisher failed.
    Publisher,
    /// The check after the repair failed.
    Verify,
    /// The check after the repair still found something.
    StillDiffers,
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
        Self::StillDiffers,
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
            Self::StillDiffers => "still-differs",
        })
    }
}

impl RepairFailure {
    /// Why a repair failed; `None` if it was only interrupted.
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
    /// How closely it was checked.
    pub depth: Depth,
    /// Its state.
    pub state: State,
    /// The reason for the state, if it needs one.
    pub why: Option<String>,
    /// The likely cause of what was found.
    pub cause: Option<String>,
    /// How many of each finding were found, before anything was repaired.
    pub counts: Counts,
    /// Rows expected.
    pub expected: u64,
    /// Rows published, before anything was repaired.
    pub published: u64,
    /// Rows published after the repair, if that was checked.
    pub published_after: Option<u64>,
    /// The key scheme of most of its rows.
    pub keys: Option<KeyScheme>,
    /// What was changed.
    pub done: Done,
    /// The same by reason, with everything else the pass did; `None` if no plan was carried out.
    pub effects: Option<Effects>,
    /// What the checks read from the lake.
    pub lake: LakeReads,
    /// Why the day could not be judged, if it could not.
    pub check_failure: Option<CheckFailure>,
    /// Why the repair failed, if it did.
    pub repair_failure: Option<RepairFailure>,
    /// The veto, if there was one.
    pub refusal: Option<Refusal>,
    /// The pass in ledger and archive, if anything was changed.
    pub pass: Option<uuid::Uuid>,
    /// How long the pass took.
    pub took: Duration,
    /// Whether another Sodalake process holds the dataset's lease.
    pub leased_away: bool,
    /// Whether a service failed, as opposed to giving answers that cannot be trusted.
    pub service_failed: bool,
    /// The service that failed, if known.
    pub failed: Option<Service>,
    /// The same, if the service seems to be down entirely and did not only refuse one request.
    pub outage: Option<Service>,
    /// Whether the program was shutting down before the repair was complete.
    pub interrupted: bool,
    /// When to check again (UTC), if the repair only needs to wait.
    pub again_at: Option<DateTime<Utc>>,
    /// What the first check found, with its rows.
    pub findings: Option<Findings>,
    /// The sides of the day as one text, if they were compared.
    pub(crate) outside: Option<String>,
    /// Altered rows that remain open after the pass.
    pub(crate) altered: Option<OpenAltered>,
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
            outage: None,
            interrupted: false,
            again_at: None,
            findings: None,
            outside: None,
            altered: None,
        }
    }

    pub(super) fn leased_away(target: &DatasetDay, depth: Depth, held: &Held) -> Self {
        let mut report = Self::new(target, depth, State::Unproven);
        report.leased_away = true;
        let zone = &target.dataset.zone;
        let time = |at: DateTime<Utc>| at.with_timezone(zone).format("%H:%M %Z").to_string();
        let since = held.since.map(|since| format!(" since {}", time(since)));
        report.why = Some(format!(
            "{} holds the lease of the dataset{}, until {} unless it renews it",
            held.holder,
            since.unwrap_or_default(),
            time(held.until)
        ));
        report
    }

    /// Takes over the result of the check after a repair.
    pub(super) fn verified_by(&mut self, after: Self) {
        let in_sync = after.state == State::InSync;
        self.lake += after.lake;
        self.published_after = Some(after.published);
        self.repair_failure = match after.state {
            State::InSync => None,
            State::Unproven => Some(RepairFailure::Verify),
            _ => Some(RepairFailure::StillDiffers),
        };
        self.state = if in_sync {
            State::Repaired
        } else {
            after.state
        };
        self.why = after.why.or(after.cause.filter(|_| !in_sync));
        (self.outside, self.altered) = (after.outside, after.altered);
    }

    /// Takes over the open altered rows of an earlier, deeper check, as kept in the ledger. Until a
    /// check of that depth finds none, the day is neither in sync nor repaired.
    pub(super) fn carry(&mut self, kept: &DayRecord) {
        let Some(open) = kept.compared.altered.clone() else {
            return;
        };
        if self.altered.is_some() || matches!(self.state, State::Unsettled | State::KnownLost) {
            return;
        }
        if matches!(self.state, State::InSync | State::Repaired) {
            self.state = State::Differs;
        }
        self.counts.altered = open.rows;
        self.cause.clone_from(&kept.cause);
        if self.state == State::Differs {
            let why = open.to_string();
            self.why = Some(match self.why.take() {
                Some(before) => format!("{before}; {why}"),
                None => why,
            });
        }
        self.altered = Some(open);
    }

    /// Whether its altered rows were found by an earlier check, because this one did not compare
    /// values.
    pub(crate) fn carries_altered(&self) -> bool {
        let found = self.findings.as_ref();
        self.altered.is_some() && found.is_none_or(|found| found.altered.is_empty())
    }

    pub(super) fn of(seen: Checked) -> Self {
        let Checked {
            findings,
            reads,
            table: _,
            columns: _,
        } = seen;
        let state = match (findings.doubts.first(), findings.in_sync()) {
            (Some(_), _) => State::Unproven,
            (None, true) => State::InSync,
            (None, false) => State::Differs,
        };
        let mut report = Self::new(&findings.target, findings.depth, state);
        report.why = doubts(&findings);
        report.cause = cause::of(&findings);
        report.counts = findings.counts();
        report.expected = findings.expected;
        report.published = findings.published;
        report.keys = findings.keys();
        report.outside = Some(fingerprint(&findings));
        report.altered = (report.counts.altered > 0).then(|| OpenAltered {
            rows: report.counts.altered,
            cause: cause::altered(&findings),
            found_at: findings.checked_at,
        });
        report.lake = reads;
        report.check_failure = (state == State::Unproven).then_some(CheckFailure::Doubt);
        report.findings = Some(findings);
        report
    }

    /// The day as it is recorded in the ledger, checked at `now` (UTC), with the digest of what is
    /// held.
    #[must_use]
    pub fn record(&self, now: DateTime<Utc>, digest: Option<String>) -> DayRecord {
        let state = match self.state {
            State::Repaired => State::InSync,
            other => other,
        };
        let open_since = match state {
            State::Differs | State::Held | State::Unconfirmed => Some(now),
            State::InSync
            | State::Repaired
            | State::Unproven
            | State::Unsettled
            | State::KnownLost
            | State::Skipped
            | State::Unknown => None,
        };
        let breaches = self.refusal.iter().flat_map(|refusal| &refusal.breaches);
        DayRecord {
            dataset: self.target.dataset.name.clone(),
            day: self.target.day,
            state: state.to_string(),
            since: now,
            checked_at: now,
            why: self.why.clone(),
            cause: self.cause.clone(),
            counts: serde_json::to_value(self.counts).unwrap_or_default(),
            fingerprint: self.outside.clone().filter(|_| state == State::InSync),
            digest,
            expected: self.findings.as_ref().map(|found| found.expected),
            published: self.findings.as_ref().map(|found| found.published),
            guards: breaches.map(|breach| breach.guard.to_string()).collect(),
            drafted: self.refusal.as_ref().map(Refusal::drafted),
            open_since,
            pass: self.pass,
            compared: Compared {
                depth: self.findings.as_ref().map(|found| found.depth),
                altered: self.altered.clone(),
                outside: self.outside.clone(),
            },
        }
    }

    /// The report of a day that could not be checked.
    #[must_use]
    pub fn failed(target: &DatasetDay, depth: Depth, error: &CheckError) -> Self {
        let mut report = Self::new(target, depth, State::Unproven);
        report.why = Some(chain(error));
        report.check_failure = Some(error.into());
        report.record_service_failure(error);
        report
    }
}

impl Report {
    /// Records the service that failed, if one did.
    pub(super) fn record_service_failure(&mut self, error: &CheckError) {
        self.failed = error.service();
        self.outage = error.outage();
        self.service_failed = self.failed.is_some();
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
