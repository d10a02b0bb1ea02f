//! From a check to a draft, and everything the guards ask about it.

use chrono::TimeDelta;

use crate::compare::{Depth, Findings};
use crate::ledger::{MarkKind, REPAIRS_COUNTED};
use crate::model::{DatasetDay, Day};
use crate::plan::{Approval, Breach, Circumstances, Draft, Drafting};
use crate::settings::Republish;

use super::note::{Judged, at_least, carry, note};
use super::pass::{mark, reason_to_skip};
use super::report::Report;
use super::{CheckError, Checked, World, check_sides};

/// Checks, and drafts what a repair would do, with the breaches that would hold it.
///
/// # Errors
/// If a side could not be read.
pub async fn draft(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
    rewrite: bool,
) -> Result<(Report, Option<(Draft, Vec<Breach>)>), CheckError> {
    let started = std::time::Instant::now();
    if let Some((state, why)) = reason_to_skip(world, target).await? {
        let mut report = Report::new(target, depth, state);
        report.why = Some(why);
        return Ok((report, None));
    }
    let seen = check_sides(world, target, depth).await?;
    let draft = make_draft(world, &seen, rewrite).await?;
    let circumstances = circumstances(world, &seen, &draft, None).await?;
    let breaches = draft.breaches(world.rails(&target.dataset), &circumstances);
    let mut report = Report::of(seen);
    carry(world, &mut report).await?;
    report.took = started.elapsed();
    note(world, &mut report, Some(draft.digest()), Judged::Not).await;
    Ok((report, (!draft.is_empty()).then_some((draft, breaches))))
}

pub(super) async fn make_draft(
    world: &World,
    seen: &Checked,
    rewrite: bool,
) -> Result<Draft, CheckError> {
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

/// A person's approval in the ledger that has not been used.
async fn unused_approval(world: &World, digest: &str) -> Result<Option<Approval>, CheckError> {
    let approval = world
        .ledger
        .approval(digest)
        .await
        .map_err(CheckError::ledger)?;
    let unused = approval.filter(|approval| approval.used_at.is_none());
    Ok(unused.map(|approval| Approval {
        digest: approval.digest,
    }))
}

/// Whether there are open altered rows that this check did not compare. Then finding nothing to
/// repair does not mean that the difference is gone.
async fn leaves_values_open(world: &World, seen: &Findings) -> Result<bool, CheckError> {
    let deeper = at_least(world, &seen.target, seen.depth).await;
    Ok(deeper.map_err(CheckError::ledger)? > seen.depth)
}

pub(super) async fn circumstances(
    world: &World,
    seen: &Checked,
    draft: &Draft,
    approval: Option<Approval>,
) -> Result<Circumstances, CheckError> {
    let target = &seen.findings.target;
    let (name, day) = (&target.dataset.name, target.day);
    let settings = world.of(&target.dataset);
    let now = world.clock.now();
    let wall = now.with_timezone(&target.dataset.zone).time();
    let ledger = &world.ledger;
    let digest = (!draft.is_empty()).then(|| draft.digest());
    let first_seen = if digest.is_none() && leaves_values_open(world, &seen.findings).await? {
        Ok(None)
    } else {
        ledger
            .record_sighting(name, day, digest.as_deref(), now)
            .await
    };
    let recorded_approval = match &digest {
        Some(digest) => unused_approval(world, digest).await?,
        None => None,
    };
    let held = mark(world, target, Day::at(now, target.dataset.zone)).await?;
    let day_ago = now - TimeDelta::hours(24);
    let counted = now - REPAIRS_COUNTED;
    Ok(Circumstances {
        mode: world.settings.mode,
        hours: (settings.schedule.repair_hours, wall),
        mark: held
            .filter(|mark| mark.kind == MarkKind::Hold)
            .map(|mark| mark.reason),
        row_identifier: seen.table.shape.row_identifier.clone(),
        seen: (first_seen.map_err(CheckError::ledger)?, now),
        purged_24h: ledger
            .purged_since(name, day_ago)
            .await
            .map_err(CheckError::ledger)?,
        repairs: ledger
            .repairs_since(name, day, counted)
            .await
            .map_err(CheckError::ledger)?,
        approval: approval.or(recorded_approval),
    })
}
