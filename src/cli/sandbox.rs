//! `sandbox`: the stand-in portal with a made-up city, for trying things out.
//!
//! Lake, catalog and settings are in a folder that can be kept; the portal's tables are in memory
//! and filled again at every start. Lake files of days that are in the catalog are not written
//! again, so manual changes to them survive a restart.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use super::style::{print, thousands};
use super::{Exit, SandboxArgs, UsageError, stop};
use crate::model::text::shell_word;
use crate::model::{Day, DayRange};
use crate::reconcile::{Clock as _, SystemClock};
use crate::sandbox::city::{self, City, Published, Scale, Source};
use crate::sandbox::portal::{Faults, PortalOptions};
use crate::sandbox::stage::Stage;

/// Fixed, so that a kept lake and the portal agree.
const SEED: u64 = 1;
/// How many days the city has.
const DAYS: i64 = 30;
/// Age of its last day, in days: the default of `schedule.settle_days`.
const SETTLED: i64 = 2;
/// How long after its end a day is published.
const PUBLISHED_AFTER: TimeDelta = TimeDelta::minutes(8 * 60 + 30);

/// `sodalake sandbox`: serves until it is interrupted.
pub(super) async fn run(args: SandboxArgs) -> anyhow::Result<Exit> {
    let faults = args.faults.as_deref().map(read_faults).transpose()?;
    let folder = Folder::of(args.data)?;
    let days = days(SystemClock.now());
    let stage = set_up(folder.path(), args.listen, days).await?;
    let settings = write_settings(&stage)?;
    let published = publish(&stage, days)?;
    if let Some(faults) = faults {
        stage.portal.set_faults(faults);
    }
    print(&about(&stage, &settings, days, published)).context("cannot write to stdout")?;
    stop::interrupted()
        .await
        .context("cannot listen for signals")?;
    Ok(Exit::Ok)
}

/// The folder of the city.
enum Folder {
    Kept(PathBuf),
    Passing(PathBuf),
}

impl Folder {
    /// The named folder, or a temporary one that is removed at the end.
    fn of(data: Option<PathBuf>) -> anyhow::Result<Self> {
        let passing = data.is_none();
        let path = data.unwrap_or_else(|| {
            std::env::temp_dir().join(format!(
                "sodalake-sandbox-{}",
                uuid::Uuid::now_v7().simple()
            ))
        });
        let name = path.display().to_string();
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create the folder {name}"))?;
        let path = path.canonicalize();
        let path = path.with_context(|| format!("there is no folder {name}"))?;
        Ok(if passing {
            Self::Passing(path)
        } else {
            Self::Kept(path)
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) | Self::Passing(path) => path,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        match self {
            Self::Kept(_) => {}
            Self::Passing(path) => {
                if let Err(error) = std::fs::remove_dir_all(&*path) {
                    tracing::warn!("failed to remove {}: {error}", path.display());
                }
            }
        }
    }
}

/// Reads the faults file.
fn read_faults(file: &Path) -> Result<Faults, UsageError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| UsageError(format!("cannot read faults file {name}: {error}")))?;
    toml::from_str(&text)
        .map_err(|error| UsageError(format!("cannot read faults file {name}: {error}")))
}

/// A month that ends two days before today.
fn days(now: DateTime<Utc>) -> DayRange {
    let to = Day::at(now, city::ZONE).plus(1 - SETTLED);
    DayRange {
        from: to.plus(-DAYS),
        to,
    }
}

async fn set_up(folder: &Path, listen: SocketAddr, days: DayRange) -> anyhow::Result<Stage> {
    let city = City::new(SEED, Scale::demo());
    let options = PortalOptions::default();
    let stage = Stage::set_up(folder, city, options, listen)
        .await
        .with_context(|| format!("cannot create the city in {}", folder.display()))?;
    let entries = stage.catalog.entries()?;
    let known: BTreeSet<Day> = (entries.iter())
        .filter(|entry| entry.key.repository == city::READY)
        .map(|entry| entry.day(city::ZONE))
        .collect();
    for day in days.days().filter(|day| !known.contains(day)) {
        stage.fill(DayRange::one(day))?;
    }
    Ok(stage)
}

fn write_settings(stage: &Stage) -> anyhow::Result<PathBuf> {
    let file = stage.dir().join("sodalake.toml");
    let text = stage.settings("rails.recheck_after = \"2s\"\n");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Publishes every day as of the morning after it.
fn publish(stage: &Stage, days: DayRange) -> anyhow::Result<Published> {
    let recipes = city::recipes();
    let (city, places) = (&stage.city, (&stage.portal as _, &stage.catalog));
    let mut published = Published::default();
    for day in days.days() {
        let at = day.end(city::ZONE) + PUBLISHED_AFTER;
        for source in Source::ALL {
            let sent = city::publish_directly(city, source, day, &recipes, places, at);
            published.add(sent.with_context(|| format!("cannot publish {day}"))?);
        }
    }
    Ok(published)
}

fn about(stage: &Stage, settings: &Path, days: DayRange, published: Published) -> String {
    let DayRange { from, to } = days;
    let config = quoted(settings);
    let all = format!("--config {config} --from {from} --to {to}");
    let one = format!("--config {config} camera-counts --partition {from}");
    format!(
        "Stand-in portal on {url}\n\
         \x20 {rows} rows from {files} files: {from} to {to} (exclusive), {zone}\n\
         \x20 users    writer (may write), reader; the writer's password is in the settings\n\
         \x20 lake     {lake}\n\
         \x20 catalog  {catalog}\n\
         \x20 settings {config}\n\
         \n\
         Try, in another terminal:\n\
         \x20 sodalake check {all}\n\
         \x20 sodalake plan {one}\n\
         Press Ctrl-C to stop.\n",
        url = stage.url(),
        rows = thousands(published.rows),
        files = thousands(published.files),
        zone = city::ZONE,
        lake = quoted(&stage.lake()),
        catalog = quoted(&stage.dir().join("catalog.db")),
    )
}

/// The path, quoted for a shell.
fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_ends_two_days_before_today_in_the_city_zone() {
        let range = days("2020-10-16T03:00:00Z".parse().unwrap());
        assert_eq!(range.from.to_string(), "2020-09-14");
        assert_eq!(range.to.to_string(), "2020-10-14");
    }

    #[test]
    fn an_invalid_faults_file_is_reported_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults.toml");
        std::fs::write(&file, "[[rules]]\nfault = { kind = \"nonsense\" }\n").unwrap();
        let error = read_faults(&file).unwrap_err().to_string();
        assert!(error.contains("faults.toml"), "{error}");
        assert!(
            error.contains("line 2") && error.contains("nonsense"),
            "{error}"
        );
        let error = read_faults(Path::new("/nowhere.toml")).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
