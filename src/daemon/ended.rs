//! What came of something in work, and what the ledger is told of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError};

use crate::ledger::{Finished, LedgerError, Queued, Reason};
use crate::reconcile::{Report, Service, State};

use super::runs::Begun;
use super::tidy::{self, Tidied, TidyError};
use super::trouble::doubled;
use super::{Daemon, chain};

/// What was in work and has ended.
pub(super) enum Ended {
    /// A pass over a dataset-day.
    Pass(Queued, Box<Report>),
    /// A pass that was told to stop.
    Stopped(Queued),
    /// The beginning of a run.
    Run(Begun),
    /// What is too old has left archive and ledger.
    Tidied(Result<Tidied, TidyError>),
}

/// How long a day waits that could not be looked at because a service failed; doubled each time.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// The longest it waits.
const AFTER_FAILURES: Duration = Duration::from_mins(30);

/// How long a day waits whose repair the portal does not show yet.
const AFTER_UNCONFIRMED: Duration = Duration::from_mins(10);

/// How long a day waits while another program of ours mends its dataset.
const AFTER_LEASED: Duration = Duration::from_secs(20);

/// What becomes of a claimed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is off the queue.
    Done,
    /// It was looked at, and comes back for its repair.
    Again(DateTime<Utc>),
    /// It could not be looked at, and comes back.
    Failed(DateTime<Utc>),
}

impl Verdict {
    fn of(entry: &Queued, report: &Report, now: DateTime<Utc>) -> Self {
        if report.leased_away {
            return Self::Again(now + AFTER_LEASED);
        }
        if report.failed.is_some() {
            let wait = doubled(AFTER_FAILURE, entry.tries.saturating_sub(1));
            return Self::Failed(now + wait.min(AFTER_FAILURES));
        }
        match (report.again_at, report.state) {
            (Some(at), _) => Self::Again(at),
            (None, State::Unconfirmed) => Self::Again(now + AFTER_UNCONFIRMED),
            (
                None,
                State::InStep
                | State::Differs
                | State::Repaired
                | State::Held
                | State::Unproven
                | State::Unsettled
                | State::KnownLost
                | State::Skipped,
            ) => Self::Done,
        }
    }
}

impl Daemon {
    pub(super) async fn take_in(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => return self.take_in_panic(&error),
        };
        self.claimed.remove(&id);
        self.runs.remove(&id);
        let now = self.now();
        match ended {
            Ended::Pass(entry, report) => self.passed(entry, &report, now).await,
            Ended::Stopped(entry) => self.untold.push(entry),
            Ended::Run(begun) => self.begun(begun, now).await,
            Ended::Tidied(tidied) => tidy::log(tidied),
        }
    }

    /// A bug of ours in one pass is no reason to leave all others.
    fn take_in_panic(&mut self, error: &JoinError) {
        tracing::error!("failed to finish what was in work: {error}");
        self.runs.remove(&error.id());
        if let Some(mut entry) = self.claimed.remove(&error.id()) {
            entry.due_at = self.now() + AFTER_FAILURES;
            self.untold.push(entry);
        }
    }

    async fn passed(&mut self, mut entry: Queued, report: &Report, now: DateTime<Utc>) {
        self.observer.told(report);
        log(report);
        match report.failed {
            Some(service) => {
                let why = report.why.as_deref().unwrap_or("it failed");
                self.trouble.note(service, why, now);
            }
            None if report.leased_away => {}
            None => self.trouble.over(),
        }
        if let Some(round) = &mut self.round {
            round.done += 1;
        }
        let verdict = Verdict::of(&entry, report, now);
        let noted = self.note_verdict(&entry, verdict, report);
        let why = match tokio::time::timeout(super::ANSWER, noted).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_) => "it does not answer".to_owned(),
        };
        // What the ledger did not hear of counts as not done.
        self.trouble.note(Service::Ledger, &why, now);
        entry.due_at = now;
        self.untold.push(entry);
    }

    async fn note_verdict(
        &self,
        entry: &Queued,
        verdict: Verdict,
        report: &Report,
    ) -> Result<(), LedgerError> {
        let ledger = &self.world().ledger;
        match verdict {
            Verdict::Done => {
                if ledger.finish(entry, &self.holder).await? == Finished::Lost {
                    tracing::warn!(day = %report.target, "the claim on {} ran out", report.target);
                }
                Ok(())
            }
            Verdict::Again(at) => ledger.give_back_looked_at(entry, &self.holder, at).await,
            Verdict::Failed(at) => {
                let why = report.why.as_deref().unwrap_or("it failed");
                for schedule in crate::schedule::Schedule::ALL {
                    if entry.has(Reason::from(schedule)) {
                        ledger.fail_run(&entry.dataset, schedule, why).await?;
                    }
                }
                ledger.give_back(entry, &self.holder, at).await
            }
        }
    }

    /// Gives back what could not be finished, or not be told to the ledger.
    pub(super) async fn tell_untold(&mut self, _now: DateTime<Utc>) -> Result<(), LedgerError> {
        while let Some(entry) = self.untold.last() {
            let ledger = &self.tools.world.ledger;
            ledger.give_back(entry, &self.holder, entry.due_at).await?;
            self.untold.pop();
        }
        Ok(())
    }
}

fn log(report: &Report) {
    let (target, state, depth) = (&report.target, report.state, report.depth);
    let why = report.why.as_deref().unwrap_or_default();
    let done = report.done;
    match state {
        State::InStep | State::Unsettled | State::KnownLost | State::Skipped => {
            tracing::debug!(day = %target, %depth, "{target} is {state}");
        }
        State::Repaired => tracing::info!(
            day = %target,
            purged_rows = done.purged_rows,
            published_rows = done.published_rows,
            "repaired {target}: {} rows purged, {} published, {} catalog entries corrected",
            done.purged_rows, done.published_rows, done.catalog_changes
        ),
        State::Differs | State::Held | State::Unproven | State::Unconfirmed => {
            let cause = report.cause.as_deref().unwrap_or_default();
            tracing::warn!(day = %target, %depth, cause, "{target} is {state}: {why}");
        }
    }
}
