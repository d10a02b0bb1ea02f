//! One pass over one dataset-day, and its outcome.
//!
//! `check` only checks. `repair` checks, drafts, runs the guards, waits until the difference has
//! persisted, carries the plan out under the dataset's lease, and checks again. The second check
//! decides the outcome, whatever the steps before it reported.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::compare::Depth;
use crate::ledger::{LedgerError, Mark, MarkKind, REPAIRS_COUNTED, VERIFIED};
use crate::model::{DatasetDay, Day};
use crate::plan::{Approval, Circumstances, Guard, Plan, Refusal};
use crate::repair::{self, Effects, RepairError, Writers};
use crate::schedule::opening;
use crate::settings::Rails;

use super::drafting::{circumstances, make_draft};
use super::note::{Judged, carry, note};
use super::report::{Done, RepairFailure, Report, State};
use super::{CheckError, Checked, World, chain, check_sides};

/// What a caller requests of a repair.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Wipe the day and publish it again.
    pub rewrite: bool,
    /// A person's approval of one draft, given with this call and valid only for it.
    pub approval: Option<Approval>,
    /// Refuse unless the draft has this digest.
    pub only_digest: Option<String>,
    /// Wait until the difference has persisted, instead of reporting that it has not persisted yet.
    pub wait: bool,
}

/// The state of a day that is not to be checked, and why.
pub(super) async fn reason_to_skip(
    world: &World,
    target: &DatasetDay,
) -> Result<Option<(State, String)>, CheckError> {
    let zone = target.dataset.zone;
    let today = Day::at(world.clock.now(), zone);
    let settle = world.of(&target.dataset).schedule.settle_days;
    let age = target.day.days_until(today);
    if age < i64::from(settle) {
        let why = format!("{age} days old; days are judged after {settle} (schedule.settle_days)");
        return Ok(Some((State::Unsettled, why)));
    }
    let mark = mark(world, target, today).await?;
    let lost = mark.filter(|mark| mark.kind == MarkKind::KnownLost);
    Ok(lost.map(|mark| (State::KnownLost, mark.reason)))
}

pub(super) async fn mark(
    world: &World,
    target: &DatasetDay,
    today: Day,
) -> Result<Option<Mark>, CheckError> {
    let marks = world.ledger.marks(Some(&target.dataset.name)).await;
    let mut marks = marks.map_err(CheckError::ledger)?.into_iter();
    let in_force =
        |mark: &Mark| mark.day == target.day && mark.until.is_none_or(|until| today < until);
    Ok(marks.find(in_force))
}

/// Checks a dataset-day without changing anything, and records its state in the ledger.
pub async fn check(world: &World, target: &DatasetDay, depth: Depth) -> Report {
    let mut report = timed_check(world, target, depth).await;
    note(world, &mut report, None, Judged::Not).await;
    report
}

/// Checks a dataset-day that may be repaired next. If it differs, nothing is recorded: the repair
/// decides its state, and no notification is sent for a difference that is about to be repaired.
pub async fn check_before_repair(world: &World, target: &DatasetDay, depth: Depth) -> Report {
    let mut report = timed_check(world, target, depth).await;
    if report.state != State::Differs {
        note(world, &mut report, None, Judged::Not).await;
    }
    report
}

async fn timed_check(world: &World, target: &DatasetDay, depth: Depth) -> Report {
    let started = std::time::Instant::now();
    let mut report = match check_unless_skipped(world, target, depth).await {
        Ok(report) => report,
        Err(error) => Report::failed(target, depth, &error),
    };
    report.took = started.elapsed();
    report
}

async fn check_unless_skipped(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
) -> Result<Report, CheckError> {
    if let Some((state, why)) = reason_to_skip(world, target).await? {
        let mut report = Report::new(target, depth, state);
        report.why = Some(why);
        return Ok(report);
    }
    let mut report = Report::of(check_sides(world, target, depth).await?);
    carry(world, &mut report).await?;
    Ok(report)
}

/// One whole pass: check, draft, guards, repair, check again.
pub async fn repair(
    world: &World,
    writers: &Writers,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Report {
    let started = std::time::Instant::now();
    let mut report = match repair_under_lease(world, writers, target, depth, asked).await {
        Ok(report) => report,
        Err(error) => Report::failed(target, depth, &error),
    };
    report.took = started.elapsed();
    let digest = report
        .refusal
        .as_ref()
        .map(|refusal| refusal.digest.clone());
    note(world, &mut report, digest, Judged::ByGuards).await;
    report
}

enum Vetted {
    Nothing,
    Stale(String),
    /// The veto, and when to check again if waiting is all that the draft needs.
    Refused(Refusal, Option<DateTime<Utc>>),
    Plan(Box<Plan>),
}

async fn vet(world: &World, seen: &Checked, asked: &Asked) -> Result<Vetted, CheckError> {
    let draft = make_draft(world, seen, asked.rewrite).await?;
    let circumstances = circumstances(world, seen, &draft, asked.approval.clone()).await?;
    if draft.is_empty() {
        return Ok(Vetted::Nothing);
    }
    let digest = draft.digest();
    if asked
        .only_digest
        .as_ref()
        .is_some_and(|only| *only != digest)
    {
        return Ok(Vetted::Stale(digest));
    }
    let dataset = &seen.findings.target.dataset;
    let rails = world.rails(dataset);
    Ok(match draft.vet(rails, &circumstances) {
        Ok(plan) => Vetted::Plan(Box::new(plan)),
        Err(refusal) => {
            let again = again_at(&refusal, rails, &circumstances, dataset.zone);
            Vetted::Refused(refusal, again)
        }
    })
}

/// When a draft would pass that only needs to wait: after the difference has persisted, within the
/// repair hours.
fn again_at(
    refusal: &Refusal,
    rails: &Rails,
    circumstances: &Circumstances,
    zone: Tz,
) -> Option<DateTime<Utc>> {
    let only_time = refusal.breaches.iter().all(|breach| breach.guard.is_time());
    let (_, now) = circumstances.seen;
    let (hours, _) = circumstances.hours;
    only_time.then(|| opening(hours, zone, now + remaining(rails, circumstances.seen)))
}

/// Checks and vets; with `wait`, waits for the difference to persist and does both once more.
async fn check_and_vet(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Result<(Checked, Vetted), CheckError> {
    let seen = check_sides(world, target, depth).await?;
    let vetted = vet(world, &seen, asked).await?;
    let Vetted::Refused(refusal, Some(again)) = &vetted else {
        return Ok((seen, vetted));
    };
    let only_recheck = (refusal.breaches.iter()).all(|breach| breach.guard == Guard::Recheck);
    if !(asked.wait && only_recheck) {
        return Ok((seen, vetted));
    }
    let wait = (*again - world.clock.now()).to_std().unwrap_or_default();
    tokio::time::sleep(wait).await;
    let seen = check_sides(world, target, depth).await?;
    let vetted = vet(world, &seen, asked).await?;
    Ok((seen, vetted))
}

/// How much longer the difference must persist.
fn remaining(rails: &Rails, seen: (Option<DateTime<Utc>>, DateTime<Utc>)) -> Duration {
    let (first, now) = seen;
    let age = first
        .and_then(|first| (now - first).to_std().ok())
        .unwrap_or_default();
    rails.recheck_after.saturating_sub(age)
}

async fn repair_under_lease(
    world: &World,
    writers: &Writers,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Result<Report, CheckError> {
    if let Some((state, why)) = reason_to_skip(world, target).await? {
        let mut report = Report::new(target, depth, state);
        report.why = Some(why);
        return Ok(report);
    }
    let lease = repair::Lease::take(world, writers, target).await;
    match lease.map_err(CheckError::ledger)? {
        Ok(lease) => {
            let report = vet_and_carry_out(world, writers, &lease, target, depth, asked).await;
            lease.release().await;
            report
        }
        Err(held) => Ok(Report::leased_away(target, depth, &held)),
    }
}

async fn vet_and_carry_out(
    world: &World,
    writers: &Writers,
    lease: &repair::Lease<'_>,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Result<Report, CheckError> {
    let (seen, vetted) = tokio::select! {
        seen = check_and_vet(world, target, depth, asked) => seen?,
        () = writers.stop.requested() => {
            let mut report = Report::new(target, depth, State::Unproven);
            report.interrupted = true;
            return Ok(report);
        }
    };
    let mut report = Report::of(seen.clone());
    match vetted {
        Vetted::Nothing => {}
        Vetted::Stale(digest) => {
            report.state = State::Held;
            report.why = Some(format!(
                "the plan is stale: the current plan for the day is {digest}"
            ));
        }
        Vetted::Refused(refusal, again) => {
            report.again_at = again;
            if report.state != State::Unproven {
                report.state = State::Held;
            }
            report.why = Some(join(report.why.take(), &refusal.to_string()));
            if (refusal.breaches.iter()).any(|breach| breach.guard == Guard::Breaker)
                && let Some(times) = when_purged_rows_were_written(world, target).await?
            {
                report.why = Some(join(report.why.take(), &times));
            }
            report.refusal = Some(refusal);
        }
        Vetted::Plan(plan) => {
            let given = asked.approval.as_ref();
            if spend_approval(world, &plan, given).await? {
                carry_out_and_verify(world, writers, lease, &seen, *plan, &mut report).await?;
            } else {
                report.state = State::Held;
                report.why = Some("another pass has used the approval of this plan".into());
                report.refusal = Some(plan.unapproved());
            }
        }
    }
    Ok(report)
}

/// When the rows purged by the repairs of the last week were written.
async fn when_purged_rows_were_written(
    world: &World,
    target: &DatasetDay,
) -> Result<Option<String>, CheckError> {
    let counted = world.clock.now() - REPAIRS_COUNTED;
    let name = &target.dataset.name;
    let passes = world.ledger.passes(name, target.day, counted).await;
    let passes = passes.map_err(CheckError::ledger)?.into_iter();
    let times: BTreeSet<String> = passes
        .filter_map(|pass| Some(pass.summary.get(repair::WRITTEN)?.as_str()?.to_owned()))
        .collect();
    let times: Vec<String> = times.into_iter().collect();
    Ok((!times.is_empty()).then(|| {
        let times = times.join(", ");
        format!("the rows purged by earlier repairs were written {times}")
    }))
}

/// Whether the plan may be carried out. An approval in the ledger serves the one pass that marks it
/// used, so that of two passes that both read it as unused only one proceeds. An approval `given`
/// with this call serves this call. A plan that exceeds no budget needs none, and an approval in
/// the ledger is used up with it.
async fn spend_approval(
    world: &World,
    plan: &Plan,
    given: Option<&Approval>,
) -> Result<bool, CheckError> {
    let (digest, now) = (plan.digest(), world.clock.now());
    let used = world.ledger.use_approval(digest, now).await;
    let used = used.map_err(CheckError::ledger)?;
    let given_for_plan = given.is_some_and(|approval| approval.digest == digest);
    Ok(plan.lifted().is_empty() || given_for_plan || used)
}

fn join(why: Option<String>, more: &str) -> String {
    why.map_or_else(|| more.to_owned(), |why| format!("{why}; {more}"))
}

async fn carry_out_and_verify(
    world: &World,
    writers: &Writers,
    lease: &repair::Lease<'_>,
    seen: &Checked,
    plan: Plan,
    report: &mut Report,
) -> Result<(), CheckError> {
    let mut effects = Effects::default();
    let ended = repair::carry_out(plan, world, writers, seen, lease, &mut effects).await;
    let pass = effects.pass;
    let (published, purged) = (effects.published, effects.purged_rows());
    let catalog = effects.catalog_changes();
    report.done = Done {
        published_rows: published,
        purged_rows: purged,
        catalog_changes: catalog,
    };
    report.pass = Some(pass);
    report.effects = Some(effects);
    settle(world, report, ended).await;
    carry(world, report).await?;
    let (state, now) = (report.state.to_string(), world.clock.now());
    if let Some(after) = report.published_after {
        let seen = serde_json::json!({ "published": after });
        let recorded = world.ledger.journal(pass, now, VERIFIED, &seen).await;
        recorded.map_err(CheckError::ledger)?;
    }
    let recorded = world
        .ledger
        .end_pass(pass, now, &state, purged, published, catalog)
        .await;
    match recorded {
        Err(LedgerError::NoSuchPass { .. }) => {
            tracing::warn!(day = %report.target, %pass, "another sodalake process ended pass {pass} in the meantime");
            Ok(())
        }
        recorded => recorded.map_err(CheckError::ledger),
    }
}

/// Checks again and lets that check decide how the pass ended.
async fn settle(world: &World, report: &mut Report, ended: Result<(), RepairError>) {
    let failed = |report: &mut Report, state, error: &dyn std::error::Error| {
        report.state = state;
        report.why = Some(chain(error));
    };
    report.repair_failure = ended.as_ref().err().and_then(RepairFailure::of);
    match ended {
        Ok(()) => match check_sides(world, &report.target, report.depth).await {
            Ok(again) => report.verified_by(Report::of(again)),
            Err(error) => {
                report.record_service_failure(&error);
                report.repair_failure = Some(RepairFailure::Verify);
                failed(report, State::Unproven, &error);
            }
        },
        Err(error @ RepairError::Unconfirmed { .. }) => failed(report, State::Unconfirmed, &error),
        // Our effect came late: the other process has already checked the day. Record that it must
        // be checked again.
        Err(error @ RepairError::Overtaken { .. }) => failed(report, State::Differs, &error),
        // The publisher may have published some rows before it failed. A check finds out which; the
        // pass counts as failed.
        Err(error @ RepairError::Publisher { .. }) => {
            match check_sides(world, &report.target, report.depth).await {
                Ok(again) => report.verified_by(Report::of(again)),
                Err(check_error) => {
                    report.failed = check_error.service();
                    failed(report, State::Unproven, &check_error);
                }
            }
            report.service_failed = true;
            report.repair_failure = Some(RepairFailure::Publisher);
            let failure = chain(&error);
            let found = report.why.take();
            report.why = Some(
                found
                    .into_iter()
                    .fold(failure, |why, found| join(Some(why), &found)),
            );
        }
        Err(error) => {
            report.leased_away = matches!(error, RepairError::LeaseLost { .. });
            report.interrupted = matches!(error, RepairError::Stopped);
            report.failed = error.service();
            report.outage = report.failed;
            report.service_failed = !report.leased_away && !report.interrupted;
            failed(report, State::Differs, &error);
        }
    }
}
