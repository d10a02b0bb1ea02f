//! `repair`, `apply` and `restore`: the commands that change something.

use anyhow::Context as _;

use super::look::{tell, world};
use super::style::{clean, json_line, print, thousands};
use super::{
    ApplyArgs, Common, Exit, Format, RepairArgs, RestoreArgs, UsageError, report, select, stop,
};
use crate::app;
use crate::archive::{ArchiveError, ArchivedDay};
use crate::compare::Depth;
use crate::ledger::Act;
use crate::model::RowKey;
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
    let world = world(common).await?;
    let writers = app::writers(&world).await?;
    let targets = select::days(&world.settings, &args.look, world.clock.now())?;
    let depth = common.depth.map_or(Depth::Keys, Into::into);
    let asked = Asked {
        rewrite: args.rewrite,
        wait: true,
        ..Asked::default()
    };
    let work = Box::pin(async {
        let steps = telemetry.steps();
        steps.begin("repair", targets.len() as u64);
        let mut reports = Vec::new();
        for target in &targets {
            steps.at(&target.to_string());
            reports.push(reconcile::repair(&world, &writers, target, depth, &asked).await);
            steps.advance(1);
        }
        steps.end();
        tell(&reports, common, "repair")?;
        Ok(report::exit(&reports))
    });
    stop::or_give_back(&world, &writers, work).await
}

/// `sodalake apply`.
pub(super) async fn apply(
    args: ApplyArgs,
    common: &Common,
    telemetry: &Telemetry,
) -> anyhow::Result<Exit> {
    let name = args.plan.to_string_lossy();
    let name = clean(&name);
    let file = std::fs::File::open(&args.plan).with_context(|| format!("read plan {name}"))?;
    let read = PlanFile::read(std::io::BufReader::new(file)).map_err(anyhow::Error::new);
    let plans = read.map_err(|error| UsageError(format!("read plan {name}: {error:#}")))?;
    if plans.is_empty() {
        return Err(UsageError(format!("read plan {name}: it is empty")).into());
    }
    let approved = approval(&plans, args.approve.as_deref())?;
    let world = world(common).await?;
    for plan in &plans {
        suits(plan, &world)?;
    }
    let writers = app::writers(&world).await?;
    let work = Box::pin(async {
        let steps = telemetry.steps();
        steps.begin("apply", plans.len() as u64);
        let mut reports = Vec::new();
        for plan in &plans {
            steps.at(&format!("{} {}", plan.header.dataset, plan.header.day));
            reports.push(carry_out(plan, approved.as_ref(), &world, &writers, common).await?);
            steps.advance(1);
        }
        steps.end();
        tell(&reports, common, "apply")?;
        Ok(report::exit(&reports))
    });
    stop::or_give_back(&world, &writers, work).await
}

/// The approval, which must name one of the plans; a beginning of 12 digits or more is enough.
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
            "approve {}: no plan in the file has this digest (12 digits at least)",
            wanted.escape_debug()
        ))),
    }
}

fn suits(plan: &PlanFile, world: &World) -> Result<(), UsageError> {
    let header = &plan.header;
    let what = format!("apply the plan of {} {}", header.dataset, header.day);
    if plan.digest() != header.digest {
        return Err(UsageError(format!(
            "{what}: its steps are not those its digest names; it was altered"
        )));
    }
    let portal = world.settings.socrata.url.as_str();
    if header.portal != portal {
        let theirs = header.portal.escape_debug();
        return Err(UsageError(format!(
            "{what}: it is for {theirs}, the settings say {portal}"
        )));
    }
    let dataset = &select::dataset(&world.settings, header.dataset.as_str())?.dataset;
    if dataset.id != header.id {
        return Err(UsageError(format!(
            "{what}: it is for {}, the settings say {}",
            header.id, dataset.id
        )));
    }
    Ok(())
}

async fn carry_out(
    plan: &PlanFile,
    approved: Option<&Approval>,
    world: &World,
    writers: &Writers,
    common: &Common,
) -> anyhow::Result<Report> {
    let header = &plan.header;
    let target = select::day(&world.settings, header.dataset.as_str(), header.day)?;
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
        recorded.context("record the approval")?;
    }
    let altered = plan.actions.iter().any(crate::plan::Action::needs_content);
    let default = if altered { Depth::Content } else { Depth::Keys };
    let depth = common.depth.map_or(default, Into::into);
    Ok(reconcile::repair(world, writers, &target, depth, &asked).await)
}

/// `sodalake restore`.
pub(super) async fn restore(args: RestoreArgs, common: &Common) -> anyhow::Result<Exit> {
    let pass = args.pass.parse().map_err(|_| {
        UsageError(format!(
            "read pass '{}': want the id that a repair printed",
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
    let loaded = loaded.map_err(advised)?;
    let archived: Vec<ArchivedDay> = (loaded.into_iter())
        .filter_map(|day| asked_for(day, &args))
        .collect();
    if archived.is_empty() {
        return Err(UsageError(format!(
            "restore pass {pass}: the archive has nothing of it"
        ))
        .into());
    }
    let writers = app::writers(&world).await?;
    let key = args.key.as_deref().map(RowKey::new);
    let work = Box::pin(put_back(
        archived,
        key.as_ref(),
        &world,
        &writers,
        common.format,
    ));
    stop::or_give_back(&world, &writers, work).await
}

/// What can still be done about an archive that is refused.
fn advised(error: ArchiveError) -> anyhow::Error {
    match &error {
        ArchiveError::Damaged { rows: 1.., .. } => {
            anyhow::Error::new(error).context("restore (--salvage puts back what is proven)")
        }
        _ => anyhow::Error::new(error).context("restore"),
    }
}

/// Rows that a pass archived of this day, by its journal.
async fn archived_rows(world: &World, day: &ArchivedDay) -> anyhow::Result<Option<u64>> {
    let Some((_, journal)) = world.ledger.pass(day.header.pass).await? else {
        return Ok(None);
    };
    let of_this = |detail: &serde_json::Value| {
        (detail.get("path")?.as_str()? == day.receipt.path).then(|| detail.get("rows")?.as_u64())?
    };
    Ok(journal.iter().find_map(|step| of_this(&step.detail)))
}

async fn put_back(
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
                "archive {path} is damaged: {damage}; {proven} of {rows} rows are proven"
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
                "{target}: {} of {} rows put back and seen, {} catalog entries\n",
                thousands(restored.seen),
                thousands(restored.rows),
                restored.entries,
            ),
        })?;
    }
    Ok(worst)
}

/// What is to be put back of an archived day: one row alone brings no catalog entry with it.
fn asked_for(mut archived: ArchivedDay, args: &RestoreArgs) -> Option<ArchivedDay> {
    if args.day.is_some_and(|day| day != archived.header.day) {
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
