//! `sandbox`: the stand-in portal with a made-up city behind it, for trying things out.
//!
//! Lake, catalog and settings lie in a folder that may be kept; the portal's tables are in memory
//! and filled anew at every start. Lake files of days that the catalog knows are left as they
//! are, so that what was changed in them by hand stays changed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use super::style::{print, thousands};
use super::{Exit, SandboxArgs, UsageError, stop};
use crate::model::{Day, DayRange};
use crate::reconcile::{Clock as _, SystemClock};
use crate::sandbox::city::{self, City, Published, Scale, Source};
use crate::sandbox::portal::{Faults, PortalOptions};
use crate::sandbox::stage::Stage;

/// The same city at every start, so that a kept lake and the portal agree.
const SEED: u64 = 1;
/// How many days it has.
const DAYS: i64 = 30;
/// Its last day is as many days old as settings ask for by default (`schedule.settle_days`).
const SETTLED: i64 = 2;
/// When a day is published: so long after its end.
const PUBLISHED_AFTER: TimeDelta = TimeDelta::minutes(8 * 60 + 30);

/// `sodalake sandbox`: serves until it is asked to end.
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
    print(&about(&stage, &settings, days, published)).context("write to stdout")?;
    stop::asked().await.context("listen for signals")?;
    Ok(Exit::Ok)
}

/// Where the city lies.
enum Folder {
    Kept(PathBuf),
    Passing(PathBuf),
}

impl Folder {
    /// The folder of this name, or one that goes away at the end.
    fn of(data: Option<PathBuf>) -> anyhow::Result<Self> {
        let passing = data.is_none();
        let path = data.unwrap_or_else(|| {
            std::env::temp_dir().join(format!(
                "sodalake-sandbox-{}",
                uuid::Uuid::now_v7().simple()
            ))
        });
        let name = path.display().to_string();
        std::fs::create_dir_all(&path).with_context(|| format!("make the folder {name}"))?;
        let path = path.canonicalize();
        let path = path.with_context(|| format!("find the folder {name}"))?;
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

/// The faults that a file asks for.
fn read_faults(file: &Path) -> Result<Faults, UsageError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| UsageError(format!("read the faults file {name}: {error}")))?;
    toml::from_str(&text)
        .map_err(|error| UsageError(format!("read the faults file {name}: {error}")))
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
        .with_context(|| format!("set up the city in {}", folder.display()))?;
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
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
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
            published.add(sent.with_context(|| format!("publish {day}"))?);
        }
    }
    Ok(published)
}

fn about(stage: &Stage, settings: &Path, days: DayRange, published: Published) -> String {
    let DayRange { from, to } = days;
    let config = quoted(settings);
    let all = format!("--config {config} --from {from} --to {to}");
    let one = format!("--config {config} camera-counts --day {from}");
    format!(
        "Stand-in portal on {url}\n\
         \x20 {rows} rows from {files} files: {from} to {to} (exclusive), {zone}\n\
         \x20 users    writer (may write), reader; the writer's password stands in the settings\n\
         \x20 lake     {lake}\n\
         \x20 catalog  {catalog}\n\
         \x20 settings {config}\n\
         \n\
         Try, in another terminal:\n\
         \x20 sodalake check {all}\n\
         \x20 sodalake plan {one}\n\
         Ctrl-C ends it.\n",
        url = stage.url(),
        rows = thousands(published.rows),
        files = thousands(published.files),
        zone = city::ZONE,
        lake = quoted(&stage.lake()),
        catalog = quoted(&stage.dir().join("catalog.db")),
    )
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_ends_two_days_before_today_in_the_citys_zone() {
        let range = days("2020-10-16T03:00:00Z".parse().unwrap());
        assert_eq!(range.from.to_string(), "2020-09-14");
        assert_eq!(range.to.to_string(), "2020-10-14");
    }

    #[test]
    fn a_path_with_blanks_and_quotes_survives_the_shell() {
        assert_eq!(quoted(Path::new("/srv/a_b-1.toml")), "/srv/a_b-1.toml");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn a_faults_file_that_is_wrong_says_where() {
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
