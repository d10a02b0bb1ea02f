//! `sodalake demo`: a small, broken city on this machine.
//!
//! The demo publishes a month of a made-up city over HTTP to a stand-in portal, then breaks it in
//! ways that real days have been broken. From then on nothing uses knowledge of the breakage: the
//! code that checks a real city finds, explains and repairs the faults within the rails. Only the
//! verdict at the end compares what was found with what was broken. Then the status page is
//! served, and repairs approved there are carried out.

mod script;
mod site;
mod verdict;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use self::script::Script;
use self::verdict::Verdict;
use super::check::check_days;
use super::report::wrapped;
use super::style::{Tone, paint, print, thousands};
use super::{DemoArgs, Exit, Format};
use crate::app;
use crate::compare::Depth;
use crate::model::{DatasetDay, DayRange};
use crate::reconcile::{self, Asked, Report, World};
use crate::sandbox::city::{City, Scale};
use crate::sandbox::portal::PortalOptions;
use crate::sandbox::stage::Stage;
use crate::settings::Settings;
use crate::telemetry::Telemetry;

/// The rails of the demo: what a city would set, scaled down.
const RAILS: &str = "rails.recheck_after = \"300ms\"\nrails.max_orphan_rows_per_day = 20\n";

/// The status page's token. The demo is on this machine only, so it need not be secret.
const TOKEN: &str = "demo";

/// Runs the demo.
pub(super) async fn run(args: DemoArgs, telemetry: &Telemetry) -> Result<Exit> {
    let dir = tempfile::Builder::new().prefix("sodalake-demo-").tempdir();
    let dir = dir.context("cannot create a folder for the demo")?;
    let format = args.output.format;
    let stage = set_up(dir.path(), &args).await?;
    let script = Script::for_month();
    publish(&stage, script.published(), format, telemetry).await?;
    let injected = script.break_days(&stage, format)?;
    let world = Arc::new(world(&stage).await?);
    let (before, after) = repair(&world, script.days, format, telemetry).await?;
    let verdict = Verdict::of(&injected, &before, &after);
    if format == Format::Text {
        print(&verdict.to_text(&before, &after))?;
    }
    if !args.exit {
        let held = after.iter().filter(|report| !verdict::in_sync(report));
        let held = held.map(|report| report.target.clone()).collect();
        print_next_steps(&stage, script.days, args.listen)?;
        site::stay_open(&world, held, args.listen).await?;
    }
    Ok(verdict.exit())
}

async fn set_up(dir: &Path, args: &DemoArgs) -> Result<Stage> {
    let city = City::new(args.seed, Scale::demo());
    let options = PortalOptions {
        seed: args.seed,
        ..PortalOptions::default()
    };
    let listen = ([127, 0, 0, 1], 0).into();
    let stage = Stage::set_up(dir, city, options, listen).await;
    let stage = stage.context("cannot create the demo's city")?;
    let settings = dir.join("sodalake.toml");
    let more = format!(
        "{RAILS}http.listen = \"{}\"\nhttp.token = \"{TOKEN}\"\n",
        args.listen
    );
    std::fs::write(&settings, stage.settings(&more)).context("cannot write the demo's settings")?;
    Ok(stage)
}

async fn publish(
    stage: &Stage,
    days: DayRange,
    format: Format,
    telemetry: &Telemetry,
) -> Result<()> {
    let files = stage.fill(days).context("cannot fill the demo's lake")?;
    let steps = telemetry.steps();
    let count = days.days().count() as u64;
    steps.begin("publish", count);
    let mut rows = 0;
    for day in days.days() {
        steps.at(&day.to_string());
        let published = stage.publish(day, script::published_at(day)).await;
        rows += published
            .with_context(|| format!("cannot publish {day}"))?
            .rows;
        steps.advance(1);
    }
    steps.end();
    if format == Format::Text {
        let head = paint(Tone::Strong, "A small city");
        let (rows, files) = (thousands(rows), thousands(files));
        let text = format!(
            "{count} days of 5 datasets: {files} files in the lake, {rows} rows published over HTTP to a \
             stand-in portal at {}",
            stage.url()
        );
        print(&format!("{head}\n{}\n", wrapped(&text)))?;
    }
    Ok(())
}

async fn world(stage: &Stage) -> Result<World> {
    let recipes: Vec<_> = crate::expected::recipes()
        .iter()
        .map(|one| one.facts())
        .collect();
    let mut settings = Settings::load(Some(&stage.dir().join("sodalake.toml")), [], &recipes)?;
    // No schedule runs in the demo, so it promises nothing about the days of the present.
    for one in &mut settings.datasets {
        one.schedule.settle_days = one.schedule.window_days + 1;
    }
    app::world(Arc::new(settings)).await
}

fn targets(world: &World, days: DayRange) -> Vec<DatasetDay> {
    let datasets = world.settings.datasets.iter().map(|one| &one.dataset);
    datasets
        .flat_map(|dataset| {
            days.days().map(|day| DatasetDay {
                dataset: Arc::clone(dataset),
                day,
            })
        })
        .collect()
}

/// Checks everything, repairs what differs, and checks everything again.
async fn repair(
    world: &Arc<World>,
    days: DayRange,
    format: Format,
    telemetry: &Telemetry,
) -> Result<(Vec<Report>, Vec<Report>)> {
    let before = check_days(world, targets(world, days), Some(Depth::Content), telemetry)
        .await
        .reports;
    let differ: Vec<&Report> = before
        .iter()
        .filter(|report| !verdict::in_sync(report))
        .collect();
    print_days(format, "What Sodalake finds", &differ)?;
    let writers = app::writers(world).await?;
    let asked = Asked {
        wait: true,
        ..Asked::default()
    };
    let steps = telemetry.steps();
    steps.begin("repair", differ.len() as u64);
    let mut repaired = Vec::new();
    for report in differ {
        steps.at(&report.target.to_string());
        let repair = reconcile::repair(world, &writers, &report.target, Depth::Content, &asked);
        repaired.push(repair.await);
        steps.advance(1);
    }
    steps.end();
    print_days(
        format,
        "What it does about it",
        &repaired.iter().collect::<Vec<_>>(),
    )?;
    let after = check_days(world, targets(world, days), Some(Depth::Content), telemetry)
        .await
        .reports;
    if format == Format::Json {
        print(&super::report::json_lines(&after))?;
    }
    Ok((before, after))
}

fn print_days(format: Format, title: &str, reports: &[&Report]) -> Result<()> {
    let text: String = match format {
        Format::Json => super::report::json_lines(reports.iter().copied()),
        Format::Text => {
            let said: String = reports
                .iter()
                .map(|report| verdict::in_a_sentence(report))
                .collect();
            format!("{}\n{said}\n", paint(Tone::Strong, title))
        }
    };
    print(&text).context("cannot write to stdout")
}

fn print_next_steps(stage: &Stage, days: DayRange, listen: SocketAddr) -> Result<()> {
    let config = stage.dir().join("sodalake.toml");
    let text = format!(
        "\nThe status page is at http://{listen}/ until Ctrl-C; its token is {TOKEN}.\n\
         In another terminal:\n  \
         export SODALAKE_CONFIG={}\n  \
         sodalake status --from {} --to {}\n",
        config.display(),
        days.from,
        days.to
    );
    Ok(print(&text)?)
}
