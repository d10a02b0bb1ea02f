//! Handles finished work: what it means for the queue, and what is recorded in the ledger.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError};

use crate::ledger::{Finished, LedgerError, Queued, Reason};
use crate::reconcile::{Report, Service, State};

use super::runs::Beginning;
use super::tidy::{self, Tidied, TidyError};
use super::trouble::doubled;
use super::{Daemon, chain};

/// Work that has ended.
pub(super) enum Ended {
    /// A pass over a dataset-day.
    Pass(Queued, Box<Report>),
    /// A pass that was stopped before it was complete.
    Stopped(Queued),
    /// The start of a run.
    Run(Beginning),
    /// The removal of old archives and ledger records.
    Tidied(Result<Tidied, TidyError>),
}

/// How long a day waits after it could not be checked because a service failed; doubled each time.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Longest such wait.
const AFTER_FAILURES: Duration = Duration::from_mins(30);

/// How long a day waits if the portal does not show its repair yet.
const AFTER_UNCONFIRMED: Duration = Duration::from_mins(10);

/// How long a day waits while another Sodalake process repairs its dataset.
const AFTER_LEASED: Duration = Duration::from_secs(20);

/// What happens to a claimed queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is removed from the queue.
    Done,
    /// It was checked, and is queued again for its repair.
    Again(DateTime<Utc>),
    /// It could not be checked, and is queued again.
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
                State::InSync
                | State::Differs
                | State::Repaired
                | State::Held
                | State::Unproven
                | State::Unsettled
                | State::KnownLost
                | State::Skipped
                | State::Unknown,
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
            Ended::Pass(entry, report) => self.finish_pass(entry, &report, now).await,
            Ended::Stopped(entry) => self.unfinished.push(entry),
            Ended::Run(beginning) => self.finish_begin(beginning, now).await,
            Ended::Tidied(tidied) => tidy::log(tidied),
        }
    }

    /// A panic in one pass must not stop the others.
    fn take_in_panic(&mut self, error: &JoinError) {
        tracing::error!("a task ended unexpectedly: {error}");
        self.runs.remove(&error.id());
        if let Some(mut entry) = self.claimed.remove(&error.id()) {
            entry.due_at = self.now() + AFTER_FAILURES;
            self.unfinished.push(entry);
        }
    }

    async fn finish_pass(&mut self, mut entry: Queued, report: &Report, now: DateTime<Utc>) {
        self.observer.told(report);
        log(report);
        match report.outage {
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
        let recorded = self.record_verdict(&entry, verdict, report);
        let why = match tokio::time::timeout(super::ANSWER, recorded).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_) => "it does not respond".to_owned(),
        };
        // A verdict that could not be recorded in the ledger counts as not done.
        self.trouble.note(Service::Ledger, &why, now);
        entry.due_at = now;
        self.unfinished.push(entry);
    }

    async fn record_verdict(
        &self,
        entry: &Queued,
        verdict: Verdict,
        report: &Report,
    ) -> Result<(), LedgerError> {
        let ledger = &self.world().ledger;
        match verdict {
            Verdict::Done => {
                if ledger.finish(entry, &self.holder).await? == Finished::Lost {
                    tracing::warn!(day = %report.target, "the claim on {} expired", report.target);
                }
                Ok(())
            }
            Verdict::Again(at) => ledger.give_back_checked(entry, &self.holder, at).await,
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

    /// Gives back entries that were not finished, or whose verdict could not be recorded.
    pub(super) async fn give_back_unfinished(
        &mut self,
        _now: DateTime<Utc>,
    ) -> Result<(), LedgerError> {
        while let Some(entry) = self.unfinished.last() {
            let ledger = &self.tools.world.ledger;
            ledger.give_back(entry, &self.holder, entry.due_at).await?;
            self.unfinished.pop();
        }
        Ok(())
    }
}

fn log(report: &Report) {
    let (target, state, depth) = (&report.target, report.state, report.depth);
    let why = report.why.as_deref().unwrap_or_default();
    let done = report.done;
    if report.leased_away && report.effects.is_none() {
        // The wait for the lease is logged once, not for each waiting day.
        return tracing::debug!(day = %target, "{target} waits: {why}");
    }
    match state {
        State::InSync | State::Unsettled | State::KnownLost | State::Skipped | State::Unknown => {
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
