//! One pass over one dataset-day, and its outcome.
//!
//! `check` looks. `repair` looks, drafts, asks the guards, lets the difference persist, carries the
//! plan out under the dataset's lease, and looks again: what that second look says is the outcome,
//! whatever the steps in between believed.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::compare::Depth;
use crate::ledger::{GUARDS_COUNT, LedgerError, Mark, MarkKind, VERIFIED};
use crate::model::{DatasetDay, Day};
use crate::plan::{Approval, Breach, Circumstances, Draft, Drafting, Guard, Plan, Refusal};
use crate::repair::{self, Effects, RepairError, Writers};
use crate::schedule::opening;
use crate::settings::{Rails, Republish};

use super::note::{Judged, note};
use super::report::{Done, RepairFailure, Report, State};
use super::{Look, LookError, World, chain, look};

/// What a caller asks of a repair.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Wipe the day and write it new.
    pub rewrite: bool,
    /// A person's yes to one very draft, given with this call and good for it alone.
    pub approval: Option<Approval>,
    /// Refuse unless the draft has this digest.
    pub only_digest: Option<String>,
    /// Wait until the difference has persisted, instead of reporting that it has not yet.
    pub wait: bool,
}

/// A day that is not looked at, and why.
async fn excused(world: &World, target: &DatasetDay) -> Result<Option<(State, String)>, LookError> {
    let zone = target.dataset.zone;
    let today = Day::at(world.clock.now(), zone);
    let settle = world.of(&target.dataset).schedule.settle_days;
    let age = target.day.days_until(today);
    if age < i64::from(settle) {
        let why = format!("{age} days old, judged after {settle} (schedule.settle_days)");
        return Ok(Some((State::Unsettled, why)));
    }
    let mark = mark(world, target, today).await?;
    let lost = mark.filter(|mark| mark.kind == MarkKind::KnownLost);
    Ok(lost.map(|mark| (State::KnownLost, mark.reason)))
}

async fn mark(world: &World, target: &DatasetDay, today: Day) -> Result<Option<Mark>, LookError> {
    let marks = world.ledger.marks(Some(&target.dataset.name)).await;
    let mut marks = marks.map_err(LookError::ledger)?.into_iter();
    let in_force =
        |mark: &Mark| mark.day == target.day && mark.until.is_none_or(|until| today < until);
    Ok(marks.find(in_force))
}

/// Looks at a dataset-day, touches nothing, and notes in the ledger how it stands.
pub async fn check(world: &World, target: &DatasetDay, depth: Depth) -> Report {
    let report = looked(world, target, depth).await;
    note(world, &report, None, Judged::Not).await;
    report
}

/// Looks at a dataset-day that may be repaired next. Where it differs nothing is noted: how it stands
/// is for the repair to say, and nobody is told of a fault that is about to be mended.
pub async fn check_before_repair(world: &World, target: &DatasetDay, depth: Depth) -> Report {
    let report = looked(world, target, depth).await;
    if report.state != State::Differs {
        note(world, &report, None, Judged::Not).await;
    }
    report
}

async fn looked(world: &World, target: &DatasetDay, depth: Depth) -> Report {
    let begun = std::time::Instant::now();
    let mut report = match checked(world, target, depth).await {
        Ok(report) => report,
        Err(error) => Report::failed(target, depth, &error),
    };
    report.took = begun.elapsed();
    report
}

async fn checked(world: &World, target: &DatasetDay, depth: Depth) -> Result<Report, LookError> {
    if let Some((state, why)) = excused(world, target).await? {
        let mut report = Report::new(target, depth, state);
        report.why = Some(why);
        return Ok(report);
    }
    Ok(Report::of(look(world, target, depth).await?))
}

/// Looks, and drafts what a repair would do, with what would hold it.
///
/// # Errors
/// If a side could not be read.
pub async fn draft(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
    rewrite: bool,
) -> Result<(Report, Option<(Draft, Vec<Breach>)>), LookError> {
    let begun = std::time::Instant::now();
    if let Some((state, why)) = excused(world, target).await? {
        let mut report = Report::new(target, depth, state);
        report.why = Some(why);
        return Ok((report, None));
    }
    let seen = look(world, target, depth).await?;
    let draft = drafted(world, &seen, rewrite).await?;
    let circumstances = circumstances(world, &seen, &draft, None).await?;
    let breaches = draft.breaches(world.rails(&target.dataset), &circumstances);
    let mut report = Report::of(seen);
    report.took = begun.elapsed();
    note(world, &report, Some(draft.digest()), Judged::Not).await;
    Ok((report, (!draft.is_empty()).then_some((draft, breaches))))
}

async fn drafted(world: &World, seen: &Look, rewrite: bool) -> Result<Draft, LookError> {
    let settings = &world.settings;
    let with = Drafting {
        portal: settings.socrata.url.as_str(),
        columns: &seen.columns,
        repository: &settings.catalog.repository,
        native: settings.republish == Republish::Native,
        command: matches!(settings.republish, Republish::Command(_)),
    };
    if !rewrite {
        return Ok(Draft::of(&seen.findings, with));
    }
    let (published, expected) = super::whole::whole_day(world, seen).await?;
    Ok(Draft::rewrite(&seen.findings, published, &expected, with))
}

/// A person's yes that stands in the ledger and was not used.
async fn approved(world: &World, digest: &str) -> Result<Option<Approval>, LookError> {
    let approval = world
        .ledger
        .approval(digest)
        .await
        .map_err(LookError::ledger)?;
    let unused = approval.filter(|approval| approval.used_at.is_none());
    Ok(unused.map(|approval| Approval {
        digest: approval.digest,
    }))
}

async fn circumstances(
    world: &World,
    seen: &Look,
    draft: &Draft,
    approval: Option<Approval>,
) -> Result<Circumstances, LookError> {
    let target = &seen.findings.target;
    let (name, day) = (&target.dataset.name, target.day);
    let settings = world.of(&target.dataset);
    let now = world.clock.now();
    let wall = now.with_timezone(&target.dataset.zone).time();
    let ledger = &world.ledger;
    let digest = (!draft.is_empty()).then(|| draft.digest());
    let sight = ledger.sight(name, day, digest.as_deref(), now).await;
    let on_record = match &digest {
        Some(digest) => approved(world, digest).await?,
        None => None,
    };
    let held = mark(world, target, Day::at(now, target.dataset.zone)).await?;
    let day_ago = now - TimeDelta::hours(24);
    let counted = now - GUARDS_COUNT;
    Ok(Circumstances {
        mode: world.settings.mode,
        hours: (settings.schedule.repair_hours, wall),
        mark: held
            .filter(|mark| mark.kind == MarkKind::Hold)
            .map(|mark| mark.reason),
        row_identifier: seen.table.shape.row_identifier.clone(),
        seen: (sight.map_err(LookError::ledger)?, now),
        purged_24h: ledger
            .purged_since(name, day_ago)
            .await
            .map_err(LookError::ledger)?,
        repairs: ledger
            .repairs_since(name, day, counted)
            .await
            .map_err(LookError::ledger)?,
        approval: approval.or(on_record),
    })
}

/// One whole pass: look, draft, guards, repair, look again.
pub async fn repair(
    world: &World,
    writers: &Writers,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Report {
    let begun = std::time::Instant::now();
    let mut report = match repaired(world, writers, target, depth, asked).await {
        Ok(report) => report,
        Err(error) => Report::failed(target, depth, &error),
    };
    report.took = begun.elapsed();
    let digest = report
        .refusal
        .as_ref()
        .map(|refusal| refusal.digest.clone());
    note(world, &report, digest, Judged::ByGuards).await;
    report
}

enum Vetted {
    Nothing,
    Stale(String),
    /// The veto, and when to look again if only time speaks against the draft.
    Refused(Refusal, Option<DateTime<Utc>>),
    Plan(Box<Plan>),
}

async fn vet(world: &World, seen: &Look, asked: &Asked) -> Result<Vetted, LookError> {
    let draft = drafted(world, seen, asked.rewrite).await?;
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

/// When a draft would pass that only time speaks against: once the difference has persisted, and
/// the hour for repairs has come.
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

/// Looks and drafts until the guards have nothing but time against it, or something else.
async fn seen_and_vetted(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Result<(Look, Vetted), LookError> {
    let seen = look(world, target, depth).await?;
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
    let seen = look(world, target, depth).await?;
    let vetted = vet(world, &seen, asked).await?;
    Ok((seen, vetted))
}

/// How long the difference must still persist.
fn remaining(rails: &Rails, seen: (Option<DateTime<Utc>>, DateTime<Utc>)) -> Duration {
    let (first, now) = seen;
    let age = first
        .and_then(|first| (now - first).to_std().ok())
        .unwrap_or_default();
    rails.recheck_after.saturating_sub(age)
}

async fn repaired(
    world: &World,
    writers: &Writers,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Result<Report, LookError> {
    if let Some((state, why)) = excused(world, target).await? {
        let mut report = Report::new(target, depth, state);
        report.why = Some(why);
        return Ok(report);
    }
    let lease = repair::Lease::take(world, writers, target).await;
    match lease.map_err(LookError::ledger)? {
        Ok(lease) => {
            let report = under_lease(world, writers, &lease, target, depth, asked).await;
            lease.release().await;
            report
        }
        Err(held) => Ok(Report::leased_away(target, depth, &held)),
    }
}

async fn under_lease(
    world: &World,
    writers: &Writers,
    lease: &repair::Lease<'_>,
    target: &DatasetDay,
    depth: Depth,
    asked: &Asked,
) -> Result<Report, LookError> {
    let (seen, vetted) = tokio::select! {
        seen = seen_and_vetted(world, target, depth, asked) => seen?,
        () = writers.stop.asked() => {
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
                "the plan is stale: the day would now be mended by plan {digest}"
            ));
        }
        Vetted::Refused(refusal, again) => {
            report.again_at = again;
            if report.state != State::Unproven {
                report.state = State::Held;
            }
            report.why = Some(join(report.why.take(), &refusal.to_string()));
            if (refusal.breaches.iter()).any(|breach| breach.guard == Guard::Breaker)
                && let Some(times) = rival_wrote(world, target).await?
            {
                report.why = Some(join(report.why.take(), &times));
            }
            report.refusal = Some(refusal);
        }
        Vetted::Plan(plan) => {
            let given = asked.approval.as_ref();
            if spend_approval(world, &plan, given).await? {
                carried_out(world, writers, lease, &seen, *plan, &mut report).await?;
            } else {
                report.state = State::Held;
                report.why = Some("another pass has used the approval of this plan".into());
                report.refusal = Some(plan.unapproved());
            }
        }
    }
    Ok(report)
}

/// When the rows were written that the repairs of the last week took away.
async fn rival_wrote(world: &World, target: &DatasetDay) -> Result<Option<String>, LookError> {
    let counted = world.clock.now() - GUARDS_COUNT;
    let name = &target.dataset.name;
    let passes = world.ledger.passes(name, target.day, counted).await;
    let passes = passes.map_err(LookError::ledger)?.into_iter();
    let times: BTreeSet<String> = passes
        .filter_map(|pass| Some(pass.summary.get(repair::WRITTEN)?.as_str()?.to_owned()))
        .collect();
    let times: Vec<String> = times.into_iter().collect();
    Ok((!times.is_empty()).then(|| {
        let times = times.join(", ");
        format!("rows that were purged before had been written {times}")
    }))
}

/// The door that an approval opens once. One on record serves the one pass that marks it used: two
/// passes that both read it unused are told apart here. One `given` with this call serves this call.
/// A plan that needs none passes, and what was on record for it is spent with it.
async fn spend_approval(
    world: &World,
    plan: &Plan,
    given: Option<&Approval>,
) -> Result<bool, LookError> {
    let (digest, now) = (plan.digest(), world.clock.now());
    let used = world.ledger.use_approval(digest, now).await;
    let used = used.map_err(LookError::ledger)?;
    let for_this = given.is_some_and(|yes| yes.digest == digest);
    Ok(plan.lifted().is_empty() || for_this || used)
}

fn join(why: Option<String>, more: &str) -> String {
    why.map_or_else(|| more.to_owned(), |why| format!("{why}; {more}"))
}

async fn carried_out(
    world: &World,
    writers: &Writers,
    lease: &repair::Lease<'_>,
    seen: &Look,
    plan: Plan,
    report: &mut Report,
) -> Result<(), LookError> {
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
    let (state, now) = (report.state.to_string(), world.clock.now());
    if let Some(after) = report.published_after {
        let seen = serde_json::json!({ "published": after });
        let noted = world.ledger.journal(pass, now, VERIFIED, &seen).await;
        noted.map_err(LookError::ledger)?;
    }
    let noted = world
        .ledger
        .end_pass(pass, now, &state, purged, published, catalog)
        .await;
    match noted {
        Err(LedgerError::NoSuchPass { .. }) => {
            tracing::warn!(day = %report.target, %pass, "another program of ours ended pass {pass} meanwhile");
            Ok(())
        }
        noted => noted.map_err(LookError::ledger),
    }
}

/// Looks again and lets that look decide how the pass ended.
async fn settle(world: &World, report: &mut Report, ended: Result<(), RepairError>) {
    let failed = |report: &mut Report, state, error: &dyn std::error::Error| {
        report.state = state;
        report.why = Some(format!("failed to {}", chain(error)));
    };
    report.repair_failure = ended.as_ref().err().and_then(RepairFailure::of);
    match ended {
        Ok(()) => match look(world, &report.target, report.depth).await {
            Ok(again) => report.verified_by(Report::of(again)),
            Err(error) => {
                report.fails(error.service());
                report.repair_failure = Some(RepairFailure::Verify);
                failed(report, State::Unproven, &error);
            }
        },
        Err(error @ RepairError::Unconfirmed { .. }) => failed(report, State::Unconfirmed, &error),
        // What was under way came late: the other has looked already, so the ledger shall say that
        // the day is to be looked at again.
        Err(error @ RepairError::Overtaken { .. }) => failed(report, State::Differs, &error),
        Err(error) => {
            report.leased_away = matches!(error, RepairError::LeaseLost { .. });
            report.interrupted = matches!(error, RepairError::Stopped);
            report.failed = error.service();
            report.service_failed = !report.leased_away && !report.interrupted;
            failed(report, State::Differs, &error);
        }
    }
}
