//! `check` and `plan`: check the partitions, and write down what a repair would do.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;

use super::style::{clean, clean_json, print};
use super::{
    CheckArgs, Common, Depth, Exit, Format, PlanArgs, TargetArgs, away, config, next, report,
    select,
};
use crate::app;
use crate::compare;
use crate::model::{DatasetDay, DayRange};
use crate::plan::{Breach, Draft};
use crate::reconcile::{self, Clock as _, Evidence, Report, Service, State, SystemClock, World};
use crate::server::pages::{self, ReportedDay};
use crate::telemetry::Telemetry;

impl From<Depth> for compare::Depth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Survey => Self::Survey,
            Depth::Keys => Self::Keys,
            Depth::Content => Self::Content,
        }
    }
}

/// The world, built from the settings named on the command line.
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
    let (world, targets) = opened(common, &args.targets, "check").await?;
    let checked = match args.depth {
        Some(Depth::Survey) => survey(&world, &targets, telemetry).await,
        depth => check_days(&world, targets.clone(), depth.map(Into::into), telemetry).await,
    };
    let reports = checked.reports;
    if let Some(file) = &args.report {
        let name = file.display();
        let page = page(&world, &reports);
        let written = write_whole(file, &[page]);
        written.with_context(|| format!("cannot write report {name}"))?;
    }
    print_reports(&reports, args.output.format, common, "check")?;
    let left =
        (checked.away).map(|service| away::leave(&world, service, &targets, &reports, "checked"));
    Ok(report::exit(&reports).and(left.unwrap_or(Exit::Ok)))
}

/// The world and the dataset-days of a command. If a service cannot be opened, the error says that
/// none of the days could be done.
pub(super) async fn opened(
    common: &Common,
    targets: &TargetArgs,
    verb: &str,
) -> anyhow::Result<(Arc<World>, Vec<DatasetDay>)> {
    let settings = Arc::new(config::load(common)?);
    let targets = select::days(&settings, targets, SystemClock.now())?;
    let world = app::world(settings).await;
    let none = || format!("{verb} any of {} dataset-days", targets.len());
    Ok((Arc::new(world.with_context(none)?), targets))
}

/// The reports as one HTML page.
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

/// The result of checking many dataset-days.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) reports: Vec<Report>,
    /// The service that did not answer; the remaining days were skipped.
    pub(super) away: Option<Service>,
}

/// The requested depth. Without one: keys, or deeper if an earlier, deeper check found differences
/// that only another one can resolve.
pub(super) async fn depth(
    world: &World,
    target: &DatasetDay,
    asked: Option<compare::Depth>,
) -> compare::Depth {
    let keys = compare::Depth::Keys;
    match asked {
        Some(depth) => depth,
        // If the ledger does not answer, the check fails too and reports it.
        None => (reconcile::at_least(world, target, keys).await).unwrap_or(keys),
    }
}

/// Checks every day, several at a time, and returns the reports in order. Stops early if a service
/// does not answer.
pub(super) async fn check_days(
    world: &Arc<World>,
    targets: Vec<DatasetDay>,
    asked: Option<compare::Depth>,
    telemetry: &Telemetry,
) -> Checked {
    let steps = telemetry.steps();
    steps.begin("check", targets.len() as u64);
    let one = |target: DatasetDay| {
        let world = Arc::clone(world);
        tokio::spawn(async move {
            let depth = depth(&world, &target, asked).await;
            reconcile::check(&world, &target, depth).await
        })
    };
    let mut checks = futures::stream::iter(targets)
        .map(one)
        .buffered(world.settings.daemon.workers as usize);
    let mut checked = Checked::default();
    while checked.away.is_none()
        && let Some(targets) = checks.next().await
    {
        let report = targets.expect("a check neither panics nor is cancelled");
        steps.at(&report.target.to_string());
        steps.advance(1);
        checked.away = away::behind(world, &report).await;
        checked.reports.push(report);
    }
    steps.end();
    checked
}

/// Surveys each dataset with one query and checks only the suspect days, at content depth: a later
/// survey skips a day only if its values were compared. If a dataset cannot be surveyed, only its
/// own days are unproven. Stops early if a service does not answer.
async fn survey(world: &Arc<World>, targets: &[DatasetDay], telemetry: &Telemetry) -> Checked {
    let mut all = Checked::default();
    for days in targets.chunk_by(|a, b| a.dataset.name == b.dataset.name) {
        if all.away.is_some() {
            break;
        }
        let checked = survey_dataset(world, days, telemetry).await;
        all.away = checked.away;
        all.reports.extend(checked.reports);
    }
    all
}

async fn survey_dataset(world: &Arc<World>, days: &[DatasetDay], telemetry: &Telemetry) -> Checked {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return Checked::default();
    };
    let range = DayRange {
        from: first.day,
        to: last.day.next(),
    };
    let surveyed = match reconcile::survey(world, &first.dataset, range).await {
        Ok(surveyed) => surveyed,
        Err(error) => {
            let failed = |day| Report::failed(day, compare::Depth::Survey, &error);
            let away = match error.service() {
                Some(service) => away::is_away(world, service, &first.dataset).await,
                None => None,
            };
            return Checked {
                reports: days.iter().map(failed).collect(),
                away,
            };
        }
    };
    let (unchanged, suspects): (Vec<_>, Vec<_>) =
        surveyed.into_iter().partition(|seen| seen.unchanged);
    let suspects = suspects.into_iter().map(|seen| seen.target).collect();
    let mut checked = check_days(world, suspects, Some(compare::Depth::Content), telemetry).await;
    let skipped = unchanged.iter().map(|seen| Report::skipped(&seen.target));
    checked.reports.extend(skipped);
    checked.reports.sort_by_key(|report| report.target.day);
    checked
}

/// Prints the reports to stdout.
pub(super) fn print_reports(
    reports: &[Report],
    format: Format,
    common: &Common,
    command: &str,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Text => {
            let mut text = report::to_text(reports);
            text.push_str(&next::step(reports, common, command));
            text
        }
        Format::Json => report::json_lines(reports),
    };
    print(&text).context("cannot write to stdout")
}

/// `sodalake plan`.
pub(super) async fn plan(
    args: PlanArgs,
    common: &Common,
    telemetry: &Telemetry,
) -> anyhow::Result<Exit> {
    let (world, targets) = opened(common, &args.targets, "plan").await?;
    let (checked, mut lines) = draft_all(&world, &targets, &args, telemetry).await;
    let reports = checked.reports;
    let left =
        (checked.away).map(|service| away::leave(&world, service, &targets, &reports, "planned"));
    let exit = report::exit(&reports).and(left.unwrap_or(Exit::Ok));
    if let Some(file) = &args.out {
        // A plan in which unchecked days are missing would look complete.
        if exit != Exit::Failed {
            let name = file.to_string_lossy();
            write_whole(file, &lines)
                .with_context(|| format!("cannot write plan {}", clean(&name)))?;
        }
        print_reports(&reports, args.format, common, "plan")?;
        if exit != Exit::Failed && args.format == Format::Text && !lines.is_empty() {
            print(&next::apply(file, common))?;
        }
    } else {
        reports.iter().for_each(warn_of_doubt);
        lines.push(String::new());
        print(&lines.join("\n")).context("cannot write to stdout")?;
    }
    Ok(exit)
}

/// Drafts the repair of each day and renders it as lines. Stops early if a service does not answer.
async fn draft_all(
    world: &World,
    targets: &[DatasetDay],
    args: &PlanArgs,
    telemetry: &Telemetry,
) -> (Checked, Vec<String>) {
    let asked = args.depth.map(Into::into);
    let steps = telemetry.steps();
    steps.begin("plan", targets.len() as u64);
    let (mut checked, mut lines) = (Checked::default(), Vec::new());
    for target in targets {
        steps.at(&target.to_string());
        let depth = depth(world, target, asked).await;
        let (report, drafted) = match reconcile::draft(world, target, depth, args.rewrite).await {
            Ok(drafted) => drafted,
            Err(error) => (Report::failed(target, depth, &error), None),
        };
        lines.extend(drafted.iter().flat_map(rendered));
        checked.away = away::behind(world, &report).await;
        checked.reports.push(report);
        steps.advance(1);
        if checked.away.is_some() {
            break;
        }
    }
    steps.end();
    (checked, lines)
}

/// Logs the doubt on stderr, for when the plan itself goes to stdout.
fn warn_of_doubt(report: &Report) {
    if report.state == State::Unproven {
        let why = report.why.as_deref().unwrap_or_default();
        tracing::warn!(day = %report.target, "{} is unproven: {}", report.target, clean(why));
    }
}

/// The draft as lines that are safe to print: a plan file may be read on a terminal later.
fn rendered((draft, held): &(Draft, Vec<Breach>)) -> Vec<String> {
    let lines = draft.render(held.clone()).into_iter();
    lines.map(|line| clean_json(&line).into_owned()).collect()
}

/// Writes to a temporary file and renames it, so that the file is never half written.
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
