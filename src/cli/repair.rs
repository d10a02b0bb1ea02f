//! `repair`, `apply` and `restore`: the commands that change something.

use anyhow::Context as _;

use super::check::{self, depth, opened, print_reports, world};
use super::style::{clean, json_line, print, thousands};
use super::{
    ApplyArgs, Common, Exit, Format, RepairArgs, RestoreArgs, TargetArgs, UsageError, away,
    consent, report, select, stop,
};
use crate::app;
use crate::archive::{ArchiveError, ArchivedDay};
use crate::ledger::Act;
use crate::model::{DatasetDay, RowKey};
use crate::plan::{Approval, PlanFile, Strategy};
use crate::reconcile::{self, Asked, Report, World};
use crate::repair::{self, Writers};
use crate::telemetry::Telemetry;

/// `sodalake repair`.
pub(super) async fn repair(
    args: RepairArgs,
    common: &Common,
    telemetry: &Telemetry,
) -> anyhow::Result<Exit> {
    if args.dry_run {
        return check::plan(args.into_plan(), common, telemetry).await;
    }
    let asks = args.rewrite && !args.yes;
    if asks && !consent::can_ask() {
        return Err(consent::no_terminal().into());
    }
    let targets = TargetArgs {
        datasets: args.datasets,
        range: args.range,
    };
    let (world, targets) = opened(common, &targets, "repair").await?;
    if asks && !consent::confirm_rewrite(&world, &targets).await? {
        return Ok(Exit::Interrupted);
    }
    let writers = app::writers(&world).await?;
    let asked_depth = args.depth.map(Into::into);
    let asked = Asked {
        rewrite: args.rewrite,
        wait: true,
        ..Asked::default()
    };
    let work = Box::pin(async {
        let steps = telemetry.steps();
        steps.begin("repair", targets.len() as u64);
        let (mut reports, mut unavailable) = (Vec::new(), None);
        for target in &targets {
            steps.at(&target.to_string());
            let depth = depth(&world, target, asked_depth).await;
            let report = reconcile::repair(&world, &writers, target, depth, &asked).await;
            unavailable = away::behind(&world, &report).await;
            reports.push(report);
            steps.advance(1);
            if unavailable.is_some() {
                break;
            }
        }
        steps.end();
        print_reports(&reports, args.output.format, common, "repair")?;
        let left =
            unavailable.map(|service| away::leave(&world, service, &targets, &reports, "repaired"));
        Ok(report::exit(&reports).and(left.unwrap_or(Exit::Ok)))
    });
    stop::or_release_leases(&world, &writers, work).await
}

/// `sodalake apply`.
pub(super) async fn apply(
    args: ApplyArgs,
    common: &Common,
    telemetry: &Telemetry,
) -> anyhow::Result<Exit> {
    let name = args.plan.to_string_lossy();
    let name = clean(&name);
    let file =
        std::fs::File::open(&args.plan).with_context(|| format!("cannot read plan {name}"))?;
    let read = PlanFile::read(std::io::BufReader::new(file)).map_err(anyhow::Error::new);
    let plans = read.map_err(|error| UsageError(format!("cannot read plan {name}: {error:#}")))?;
    if plans.is_empty() {
        return Err(UsageError(format!("plan {name} is empty")).into());
    }
    let approved = approval(&plans, args.approve.as_deref())?;
    let world = world(common).await?;
    for plan in &plans {
        check_applicable(plan, &world)?;
    }
    let writers = app::writers(&world).await?;
    let work = Box::pin(async {
        let steps = telemetry.steps();
        steps.begin("apply", plans.len() as u64);
        let (mut reports, mut unavailable) = (Vec::new(), None);
        for plan in &plans {
            steps.at(&format!("{} {}", plan.header.dataset, plan.header.day));
            let report = carry_out(plan, approved.as_ref(), &world, &writers).await?;
            unavailable = away::behind(&world, &report).await;
            reports.push(report);
            steps.advance(1);
            if unavailable.is_some() {
                break;
            }
        }
        steps.end();
        print_reports(&reports, args.output.format, common, "apply")?;
        let targets = plans.iter().map(|plan| target(plan, &world));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let left =
            unavailable.map(|service| away::leave(&world, service, &targets, &reports, "repaired"));
        Ok(report::exit(&reports).and(left.unwrap_or(Exit::Ok)))
    });
    stop::or_release_leases(&world, &writers, work).await
}

/// The approval, which must name one of the plans; the first 12 digits of the digest are enough.
fn approval(plans: &[PlanFile], digest: Option<&str>) -> Result<Option<Approval>, UsageError> {
    let Some(wanted) = digest else {
        return Ok(None);
    };
    let named = |plan: &&PlanFile| wanted.len() >= 12 && plan.header.digest.starts_with(wanted);
    match plans.iter().find(named) {
        Some(plan) => Ok(Some(Approval {
            digest: plan.header.digest.clone(),
        })),
        None => Err(UsageError(format!(
            "no plan in the file has digest {} (give at least 12 digits)",
            wanted.escape_debug()
        ))),
    }
}

fn check_applicable(plan: &PlanFile, world: &World) -> Result<(), UsageError> {
    let header = &plan.header;
    let what = format!("cannot apply the plan of {} {}", header.dataset, header.day);
    if plan.digest() != header.digest {
        return Err(UsageError(format!(
            "{what}: its actions do not match its digest; it was edited, or written by an older \
             version of sodalake. Write a new plan"
        )));
    }
    let portal = world.settings.socrata.url.as_str();
    if header.portal != portal {
        let theirs = header.portal.escape_debug();
        return Err(UsageError(format!(
            "{what}: it is for {theirs}, but the settings say {portal}"
        )));
    }
    let dataset = &select::dataset(&world.settings, header.dataset.as_str())?.dataset;
    if dataset.id != header.id {
        return Err(UsageError(format!(
            "{what}: it is for {}, but the settings say {}",
            header.id, dataset.id
        )));
    }
    Ok(())
}

fn target(plan: &PlanFile, world: &World) -> Result<DatasetDay, UsageError> {
    let header = &plan.header;
    select::day(&world.settings, header.dataset.as_str(), header.day)
}

async fn carry_out(
    plan: &PlanFile,
    approved: Option<&Approval>,
    world: &World,
    writers: &Writers,
) -> anyhow::Result<Report> {
    let header = &plan.header;
    let target = target(plan, world)?;
    let asked = Asked {
        rewrite: header.strategy == Strategy::Rewrite,
        approval: approved.filter(|yes| yes.digest == header.digest).cloned(),
        only_digest: Some(header.digest.clone()),
        wait: true,
    };
    if asked.approval.is_some() {
        let act = Act {
            at: world.clock.now(),
            origin: app::origin(),
            act: "approve".into(),
            subject: header.digest.clone(),
            reason: format!("apply --approve, for {} {}", header.dataset, header.day),
        };
        let recorded = world.ledger.record_act(&act).await;
        recorded.context("cannot record the approval")?;
    }
    Ok(reconcile::repair(world, writers, &target, header.depth, &asked).await)
}

/// `sodalake restore`.
pub(super) async fn restore(args: RestoreArgs, common: &Common) -> anyhow::Result<Exit> {
    let pass = args.pass.parse().map_err(|_| {
        UsageError(format!(
            "'{}' is not a pass id; expected the id that a repair printed",
            args.pass.escape_debug()
        ))
    })?;
    let world = world(common).await?;
    let archive = app::archive(&world.settings)?;
    let loaded = if args.salvage {
        archive.salvage(pass).await
    } else {
        archive.load(pass).await
    };
    let loaded = loaded.map_err(with_advice)?;
    let archived: Vec<ArchivedDay> = (loaded.into_iter())
        .filter_map(|day| selected(day, &args))
        .collect();
    if archived.is_empty() {
        return Err(UsageError(format!("the archive has nothing from pass {pass}")).into());
    }
    let writers = app::writers(&world).await?;
    let key = args.key.as_deref().map(RowKey::new);
    let work = Box::pin(restore_day(
        archived,
        key.as_ref(),
        &world,
        &writers,
        args.output.format,
    ));
    stop::or_release_leases(&world, &writers, work).await
}

/// Adds what can still be done about an archive that cannot be used.
fn with_advice(error: ArchiveError) -> anyhow::Error {
    match &error {
        ArchiveError::Damaged { rows: 1.., .. } => anyhow::Error::new(error)
            .context("cannot restore (--salvage restores the verified rows)"),
        _ => anyhow::Error::new(error).context("cannot restore"),
    }
}

/// How many rows of this day the pass archived, according to its journal.
async fn archived_rows(world: &World, day: &ArchivedDay) -> anyhow::Result<Option<u64>> {
    let Some((_, journal)) = world.ledger.pass(day.header.pass).await? else {
        return Ok(None);
    };
    let of_this = |detail: &serde_json::Value| {
        (detail.get("path")?.as_str()? == day.receipt.path).then(|| detail.get("rows")?.as_u64())?
    };
    Ok(journal.iter().find_map(|step| of_this(&step.detail)))
}

async fn restore_day(
    archived: Vec<ArchivedDay>,
    key: Option<&RowKey>,
    world: &World,
    writers: &Writers,
    format: Format,
) -> anyhow::Result<Exit> {
    let mut worst = Exit::Ok;
    for day in archived {
        let (name, of) = (day.header.dataset.clone(), day.header.day);
        let target = select::day(&world.settings, name.as_str(), of)?;
        if let Some(damage) = &day.damage {
            let (path, proven) = (&day.receipt.path, thousands(day.receipt.rows));
            let rows = archived_rows(world, &day).await?;
            let rows = rows.map_or_else(|| "an unknown number of".into(), thousands);
            tracing::warn!(
                "archive {path} is damaged: {damage}; {proven} of {rows} rows are verified"
            );
            worst = worst.and(Exit::Findings);
        }
        let restored = repair::restore(world, writers, &target, day, key).await?;
        worst = worst.and(if restored.is_whole() {
            Exit::Ok
        } else {
            Exit::Unconfirmed
        });
        print(&match format {
            Format::Json => json_line(&restored),
            Format::Text => format!(
                "{target}: {} of {} rows restored and verified, {} catalog entries\n",
                thousands(restored.seen),
                thousands(restored.rows),
                restored.entries,
            ),
        })?;
    }
    Ok(worst)
}

/// The part of an archived day to restore. A single row is restored without its catalog entries.
fn selected(mut archived: ArchivedDay, args: &RestoreArgs) -> Option<ArchivedDay> {
    if args.partition.is_some_and(|day| day != archived.header.day) {
        return None;
    }
    if let Some(key) = args.key.as_deref().map(RowKey::new) {
        let is_it = |row: &RowKey| *row == key;
        archived
            .rows
            .retain(|row| row.row.key.as_ref().is_some_and(is_it));
        archived.entries.clear();
    }
    Some(archived)
}
