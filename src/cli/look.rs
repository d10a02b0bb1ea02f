//! `check` and `plan`: looking, and writing down what a repair would do.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;

use super::style::{clean, clean_json, print};
use super::{CheckArgs, Common, Depth, Exit, Format, PlanArgs, config, next, report, select};
use crate::app;
use crate::compare;
use crate::model::{DatasetDay, DayRange};
use crate::plan::{Breach, Draft};
use crate::reconcile::{self, Evidence, Report, State, World};
use crate::server::pages::{self, ReportedDay};
use crate::telemetry::Telemetry;

/// How many days are looked at side by side. Requests are bounded by the settings; this bounds
/// the files in memory.
const SIDE_BY_SIDE: usize = 4;

impl From<Depth> for compare::Depth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Survey => Self::Survey,
            Depth::Keys => Self::Keys,
            Depth::Content => Self::Content,
        }
    }
}

/// The world that the command line's settings describe.
pub(super) async fn world(common: &Common) -> anyhow::Result<Arc<World>> {
    let settings = config::load(common)?;
    Ok(Arc::new(app::world(Arc::new(settings)).await?))
}

/// `sodalake check`.
pub(super) async fn check(
    args: CheckArgs,
    common: &Common,
    telemetry: &Telemetry,
) -> anyhow::Result<Exit> {
    let world = world(common).await?;
    let targets = select::days(&world.settings, &args.look, world.clock.now())?;
    let reports = match common.depth {
        Some(Depth::Survey) => survey(&world, targets, telemetry).await?,
        depth => {
            let depth = depth.map_or(compare::Depth::Keys, Into::into);
            look_at(&world, targets, depth, telemetry).await
        }
    };
    if let Some(file) = &args.report {
        let name = file.display();
        let page = page(&world, &reports);
        let written = write_whole(file, &[page]);
        written.with_context(|| format!("write report {name}"))?;
    }
    tell(&reports, common, "check")?;
    Ok(report::exit(&reports))
}

/// The reports as one page of HTML.
fn page(world: &World, reports: &[Report]) -> String {
    let now = world.clock.now();
    let day = |report: &Report| ReportedDay {
        record: report.record(now, None),
        evidence: Evidence::of(report),
    };
    let days: Vec<ReportedDay> = reports.iter().map(day).collect();
    let range = reports.first().zip(reports.last());
    let command = range.map_or_else(String::new, |(first, last)| {
        let (from, to) = (first.target.day, last.target.day.next());
        format!("sodalake check --from {from} --to {to}")
    });
    pages::report(&days, &command, now, world.settings.timezone).into_string()
}

/// Looks at every day, several side by side, and reports them in order.
pub(super) async fn look_at(
    world: &Arc<World>,
    targets: Vec<DatasetDay>,
    depth: compare::Depth,
    telemetry: &Telemetry,
) -> Vec<Report> {
    let steps = telemetry.steps();
    steps.begin("check", targets.len() as u64);
    let one = |target: DatasetDay| {
        let world = Arc::clone(world);
        tokio::spawn(async move { reconcile::check(&world, &target, depth).await })
    };
    let mut looks = futures::stream::iter(targets)
        .map(one)
        .buffered(SIDE_BY_SIDE);
    let mut reports = Vec::new();
    while let Some(look) = looks.next().await {
        let report = look.expect("a look neither panics nor is cancelled");
        steps.at(&report.target.to_string());
        steps.advance(1);
        reports.push(report);
    }
    steps.end();
    reports
}

/// Surveys each dataset with one query and looks only at the suspects.
async fn survey(
    world: &Arc<World>,
    targets: Vec<DatasetDay>,
    telemetry: &Telemetry,
) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for days in targets.chunk_by(|a, b| a.dataset.name == b.dataset.name) {
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            continue;
        };
        let range = DayRange {
            from: first.day,
            to: last.day.next(),
        };
        let surveyed = reconcile::survey(world, &first.dataset, range).await;
        let surveyed = surveyed.with_context(|| format!("survey {}", first.dataset.name))?;
        let suspects = surveyed.iter().filter(|(_, unchanged)| !unchanged);
        let suspects: Vec<DatasetDay> = suspects.map(|(target, _)| target.clone()).collect();
        let mut looked = look_at(world, suspects, compare::Depth::Keys, telemetry)
            .await
            .into_iter();
        for (target, unchanged) in surveyed {
            let report = if unchanged {
                Some(Report::skipped(&target))
            } else {
                looked.next()
            };
            reports.extend(report);
        }
    }
    Ok(reports)
}

/// Writes the reports to stdout.
pub(super) fn tell(reports: &[Report], common: &Common, command: &str) -> anyhow::Result<()> {
    let text = match common.format {
        Format::Text => {
            let mut text = report::to_text(reports);
            text.push_str(&next::step(reports, common, command));
            text
        }
        Format::Json => report::json_lines(reports),
    };
    print(&text).context("write to stdout")
}

/// `sodalake plan`.
pub(super) async fn plan(
    args: PlanArgs,
    common: &Common,
    telemetry: &Telemetry,
) -> anyhow::Result<Exit> {
    let world = world(common).await?;
    let targets = select::days(&world.settings, &args.look, world.clock.now())?;
    let depth = common.depth.map_or(compare::Depth::Keys, Into::into);
    let steps = telemetry.steps();
    steps.begin("plan", targets.len() as u64);
    let (mut reports, mut lines) = (Vec::new(), Vec::new());
    for target in targets {
        steps.at(&target.to_string());
        let (report, drafted) = match reconcile::draft(&world, &target, depth, args.rewrite).await {
            Ok(drafted) => drafted,
            Err(error) => (Report::failed(&target, depth, &error), None),
        };
        lines.extend(drafted.iter().flat_map(rendered));
        reports.push(report);
        steps.advance(1);
    }
    steps.end();
    let exit = report::exit(&reports);
    if let Some(file) = &args.out {
        // A plan that lacks a day nobody could look at would pass for the whole one.
        if exit != Exit::Failed {
            let name = file.to_string_lossy();
            write_whole(file, &lines).with_context(|| format!("write plan {}", clean(&name)))?;
        }
        tell(&reports, common, "plan")?;
        if exit != Exit::Failed && common.format == Format::Text && !lines.is_empty() {
            let file = clean(&file.to_string_lossy()).into_owned();
            print(&format!("Next: read it, then\n  sodalake apply {file}\n"))?;
        }
    } else {
        reports.iter().for_each(warn_of_doubt);
        lines.push(String::new());
        print(&lines.join("\n")).context("write to stdout")?;
    }
    Ok(exit)
}

/// Where the plan itself goes to stdout, what stopped it is told on stderr.
fn warn_of_doubt(report: &Report) {
    if report.state == State::Unproven {
        let why = report.why.as_deref().unwrap_or_default();
        tracing::warn!(day = %report.target, "{} is unproven: {}", report.target, clean(why));
    }
}

/// A plan may be read on a terminal, wherever it was written to.
fn rendered((draft, held): &(Draft, Vec<Breach>)) -> Vec<String> {
    let lines = draft.render(held.clone()).into_iter();
    lines.map(|line| clean_json(&line).into_owned()).collect()
}

/// Written beside and renamed, so that a plan is there whole or not at all.
fn write_whole(path: &std::path::Path, lines: &[String]) -> std::io::Result<()> {
    let beside = path.with_extension("part");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&beside)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()?;
    std::fs::rename(&beside, path)
}
