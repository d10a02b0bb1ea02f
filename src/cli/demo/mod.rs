//! `sodalake demo`: a broken city in a box.
//!
//! A month of a made-up city is published over HTTP to a stand-in portal, then broken in the ways
//! in which real days have broken. From there on nothing knows of the breaking: the same code that
//! looks at a real city finds the faults, explains and repairs them inside the rails. What was
//! broken is compared with what was found only at the end, for the verdict. Then the status page is
//! served, and what a person approves there is carried out.

mod script;
mod site;
mod verdict;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use self::script::Script;
use self::verdict::Verdict;
use super::look::look_at;
use super::report::wrapped;
use super::style::{Tone, paint, print, thousands};
use super::{Common, DemoArgs, Exit, Format};
use crate::app;
use crate::compare::Depth;
use crate::model::{DatasetDay, DayRange};
use crate::reconcile::{self, Asked, Report, World};
use crate::sandbox::city::{City, Scale};
use crate::sandbox::portal::PortalOptions;
use crate::sandbox::stage::Stage;
use crate::settings::Settings;
use crate::telemetry::Telemetry;

/// The rails of the demo: as a city would set them, scaled to this small one.
const RAILS: &str = "rails.recheck_after = \"300ms\"\nrails.max_orphan_rows_per_day = 20\n";

/// With what one approves on the demo's status page; nothing but the demo's city takes it.
const TOKEN: &str = "demo";

/// Carries the command out.
pub(super) async fn run(args: DemoArgs, common: &Common, telemetry: &Telemetry) -> Result<Exit> {
    let dir = tempfile::Builder::new().prefix("sodalake-demo-").tempdir();
    let dir = dir.context("make a folder for the demo")?;
    let stage = set_up(dir.path(), &args).await?;
    let script = Script::for_month();
    publish(&stage, script.published(), common.format, telemetry).await?;
    let injected = script.break_days(&stage, common.format)?;
    let world = Arc::new(world(&stage).await?);
    let (before, after) = mend(&world, script.days, common.format, telemetry).await?;
    let verdict = Verdict::of(&injected, &before, &after);
    if common.format == Format::Text {
        print(&verdict.to_text(&before, &after))?;
    }
    if !args.exit {
        let held = after.iter().filter(|report| !verdict::in_step(report));
        let held = held.map(|report| report.target.clone()).collect();
        say_how_to_go_on(&stage, script.days, args.listen)?;
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
    let stage = stage.context("set the demo's city up")?;
    let settings = dir.join("sodalake.toml");
    let more = format!(
        "{RAILS}http.listen = \"{}\"\nhttp.token = \"{TOKEN}\"\n",
        args.listen
    );
    std::fs::write(&settings, stage.settings(&more)).context("write the demo's settings")?;
    Ok(stage)
}

async fn publish(
    stage: &Stage,
    days: DayRange,
    format: Format,
    telemetry: &Telemetry,
) -> Result<()> {
    let files = stage.fill(days).context("fill the demo's lake")?;
    let steps = telemetry.steps();
    let count = days.days().count() as u64;
    steps.begin("publish", count);
    let mut rows = 0;
    for day in days.days() {
        steps.at(&day.to_string());
        let published = stage.publish(day, script::published_at(day)).await;
        rows += published.with_context(|| format!("publish {day}"))?.rows;
        steps.advance(1);
    }
    steps.end();
    if format == Format::Text {
        let head = paint(Tone::Strong, "A city in a box");
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
    let settings = Settings::load(Some(&stage.dir().join("sodalake.toml")), [], &recipes)?;
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

/// Looks at everything, repairs what differs, and looks at everything again.
async fn mend(
    world: &Arc<World>,
    days: DayRange,
    format: Format,
    telemetry: &Telemetry,
) -> Result<(Vec<Report>, Vec<Report>)> {
    let before = look_at(world, targets(world, days), Depth::Content, telemetry).await;
    let differ: Vec<&Report> = before
        .iter()
        .filter(|report| !verdict::in_step(report))
        .collect();
    say(format, "What Sodalake finds", &differ)?;
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
    say(
        format,
        "What it does about it",
        &repaired.iter().collect::<Vec<_>>(),
    )?;
    let after = look_at(world, targets(world, days), Depth::Content, telemetry).await;
    if format == Format::Json {
        print(&super::report::json_lines(&after))?;
    }
    Ok((before, after))
}

fn say(format: Format, title: &str, reports: &[&Report]) -> Result<()> {
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
    print(&text).context("write to stdout")
}

fn say_how_to_go_on(stage: &Stage, days: DayRange, listen: SocketAddr) -> Result<()> {
    let config = stage.dir().join("sodalake.toml");
    let text = format!(
        "\nThe status page is at http://{listen}/ until Ctrl-C; its token is {TOKEN}.\n\
         In another terminal:\n  \
         export SODALAKE_CONFIG={}\n  \
         sodalake days --from {} --to {}\n",
        config.display(),
        days.from,
        days.to
    );
    Ok(print(&text)?)
}
