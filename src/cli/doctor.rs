//! `doctor`: everything that must work before the first run, tried one after the other, each with
//! what to do about a fault.
//!
//! Each part is opened on its own, so that one that is away does not hide the others. Nothing is
//! sent to the portal that writes; the ledger is tried with a lease of its own.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::style::{Tone, clean, json_line, paint, print, thousands};
use super::{Common, Exit, Format, config};
use crate::app;
use crate::archive::ArchiveWriter;
use crate::catalog::Catalog;
use crate::compare::gather::Columns;
use crate::expected::recipe;
use crate::lake::{Lake, LakeError};
use crate::ledger::{LeaseAnswer, Ledger, LedgerError};
use crate::model::{ColumnType, Coverage, Day, DayRange};
use crate::reconcile::{Clock as _, SystemClock, chain};
use crate::settings::{DatasetSettings, Mode, Settings};
use crate::socrata::{Freshness, Patience, Portal, Reader, Table, Writer};

/// How far back a day with files is looked for, and how far rows are surveyed.
const LOOK_BACK_DAYS: i64 = 30;
/// How far back catalog entries are counted.
const ENTRY_DAYS: i64 = 60;
/// The first day whose files should all be there.
const SETTLED_DAYS: i64 = 3;
/// More than this and our hours and ages are not the portal's.
const MOST_SKEW_SECONDS: i64 = 60;

/// `sodalake doctor`.
pub(super) async fn run(common: &Common) -> anyhow::Result<Exit> {
    let mut doctor = Doctor {
        format: common.format,
        exit: Exit::Ok,
    };
    let settings = match config::load(common) {
        Ok(settings) => settings,
        Err(error) => {
            let todo = "correct what stands on stderr; sodalake config check";
            doctor.fail("config", "the settings are not right", todo, Exit::Usage)?;
            return Err(error.into());
        }
    };
    let now = SystemClock.now();
    let examined = Examined {
        now,
        today: Day::at(now, settings.timezone),
        settings: &settings,
    };
    examined.config(&mut doctor)?;
    examined.lake(&mut doctor).await?;
    examined.catalog(&mut doctor).await?;
    examined.portal(&mut doctor).await?;
    examined.ledger(&mut doctor).await?;
    examined.archive(&mut doctor).await?;
    Ok(doctor.exit)
}

/// Prints each line as it is known, and keeps the worst end.
struct Doctor {
    format: Format,
    exit: Exit,
}

impl Doctor {
    fn ok(&mut self, what: &str, found: impl AsRef<str>) -> std::io::Result<()> {
        self.say("ok", Tone::Good, what, found.as_ref(), None)
    }

    fn warn(&mut self, what: &str, found: impl AsRef<str>, todo: &str) -> std::io::Result<()> {
        self.say("warn", Tone::Warn, what, found.as_ref(), Some(todo))
    }

    fn fail(
        &mut self,
        what: &str,
        found: impl AsRef<str>,
        todo: &str,
        exit: Exit,
    ) -> std::io::Result<()> {
        self.exit = self.exit.and(exit);
        self.say("fail", Tone::Bad, what, found.as_ref(), Some(todo))
    }

    /// Keeps us from mending, and not from looking.
    fn unless_observing(
        &mut self,
        mode: Mode,
        what: &str,
        found: impl AsRef<str>,
        todo: &str,
        exit: Exit,
    ) -> std::io::Result<()> {
        match mode {
            Mode::Observe => self.warn(what, found, todo),
            Mode::Repair => self.fail(what, found, todo, exit),
        }
    }

    fn skew(&mut self, portal: &Portal) -> std::io::Result<()> {
        let Some(theirs) = portal.date() else {
            return Ok(());
        };
        let seconds = (SystemClock.now() - theirs).num_seconds();
        let found = format!("{} seconds from the portal's", seconds.abs());
        if seconds.abs() > MOST_SKEW_SECONDS {
            self.warn("clock", found, "set this machine's clock by NTP")
        } else {
            self.ok("clock", found)
        }
    }

    fn say(
        &self,
        verdict: &str,
        tone: Tone,
        what: &str,
        found: &str,
        todo: Option<&str>,
    ) -> std::io::Result<()> {
        let line = match self.format {
            Format::Json => {
                json_line(&json!({ "verdict": verdict, "what": what, "found": found, "do": todo }))
            }
            Format::Text => {
                let verdict = paint(tone, format!("{verdict:<4}"));
                let todo = todo.map(|todo| format!("  -> {}", clean(todo)));
                let (found, todo) = (clean(found), todo.unwrap_or_default());
                format!("{verdict}  {what:<24}  {found}{todo}\n")
            }
        };
        print(&line)
    }
}

struct Examined<'a> {
    now: DateTime<Utc>,
    today: Day,
    settings: &'a Settings,
}

impl Examined<'_> {
    fn config(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        let settings = self.settings;
        let mode = match settings.mode {
            Mode::Observe => "observe: nothing will be changed",
            Mode::Repair => "repair: faults will be mended inside the rails",
        };
        let count = settings.datasets.len();
        doctor.ok("config", format!("{count} datasets, mode {mode}"))?;
        let here = self.now.with_timezone(&settings.timezone);
        let found = format!("{}, now {}", settings.timezone, here.format("%F %H:%M %Z"));
        doctor.ok("zone", found)
    }

    async fn lake(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        let lake = match Lake::open(&self.settings.lake) {
            Ok(lake) => lake,
            Err(error) => {
                let todo = "correct lake.url; is the folder mounted?";
                return doctor.fail("lake", chain(&error), todo, Exit::Failed);
            }
        };
        let datasets = self.settings.datasets.iter();
        let mut sources: Vec<&str> = datasets.map(|one| one.dataset.source.as_str()).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            let what = format!("lake {source}");
            match self.newest_file(&lake, source).await {
                Ok(Some(found)) => doctor.ok(&what, found)?,
                Ok(None) => {
                    let found = format!("no files in {LOOK_BACK_DAYS} days");
                    let todo = "is lake.url the ready layer? its folders are YYYY/MM/DD/SOURCE";
                    doctor.warn(&what, found, todo)?;
                }
                Err(error) => {
                    let todo = "check lake.url, network and credentials: list and read are needed";
                    doctor.fail(&what, chain(&error), todo, Exit::Failed)?;
                }
            }
        }
        Ok(())
    }

    /// Lists back to a day with files and reads the smallest of them.
    async fn newest_file(&self, lake: &Lake, source: &str) -> Result<Option<String>, LakeError> {
        for back in SETTLED_DAYS..SETTLED_DAYS + LOOK_BACK_DAYS {
            let day = self.today.plus(-back);
            let listing = lake.list(source, day).await?;
            let Some((path, stamp)) = listing.iter().min_by_key(|(_, stamp)| stamp.size) else {
                continue;
            };
            let bytes = lake.read(path, stamp).await?.len() as u64;
            let (files, bytes) = (thousands(listing.len() as u64), thousands(bytes));
            return Ok(Some(format!(
                "{files} files on {day}, one of {bytes} bytes read"
            )));
        }
        Ok(None)
    }

    async fn catalog(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        let todo = "check catalog.url, its password and the network";
        let opened = Catalog::open(&self.settings.catalog, self.settings.timezone).await;
        let catalog = match opened {
            Ok(catalog) => catalog,
            Err(error) => return doctor.fail("catalog", chain(&error), todo, Exit::Failed),
        };
        let shape = match catalog.inspect().await {
            Ok(shape) => shape,
            Err(error) => return doctor.fail("catalog", chain(&error), todo, Exit::Failed),
        };
        let faults = shape.faults();
        for fault in &faults {
            let todo = "correct catalog.table, or the table";
            doctor.fail("catalog", fault, todo, Exit::Failed)?;
        }
        for fault in shape.write_faults() {
            let todo = "entries cannot be corrected before";
            let mode = self.settings.mode;
            doctor.unless_observing(mode, "catalog rights", fault, todo, Exit::Failed)?;
        }
        if !faults.is_empty() {
            return Ok(());
        }
        doctor.ok("catalog", format!("{} is as it should be", shape.table))?;
        for one in &self.settings.datasets {
            self.entries(doctor, &catalog, one).await?;
        }
        Ok(())
    }

    async fn entries(
        &self,
        doctor: &mut Doctor,
        catalog: &Catalog,
        one: &DatasetSettings,
    ) -> std::io::Result<()> {
        let dataset = &one.dataset;
        let what = format!("catalog {}", dataset.name);
        let window = Coverage {
            start: self.today.plus(-ENTRY_DAYS).start(dataset.zone),
            end: self.today.end(dataset.zone),
        };
        let count = async |repository: &str| {
            let entries = catalog.entries(repository, &dataset.source, window).await?;
            let ours = |entry: &&crate::model::Entry| entry.key.id_ext == dataset.ext;
            Ok::<u64, crate::catalog::CatalogError>(entries.iter().filter(ours).count() as u64)
        };
        let (lake, portal) = (&self.settings.lake, &self.settings.catalog);
        let counts = match count(&lake.repository).await {
            Ok(ready) => count(&portal.repository).await.map(|done| (ready, done)),
            Err(error) => Err(error),
        };
        match counts {
            Ok((0, _)) => {
                let found = format!("no ready files in {ENTRY_DAYS} days");
                let todo = "check lake.repository, and source and ext of the dataset";
                doctor.warn(&what, found, todo)
            }
            Ok((ready, done)) => {
                let (ready, done) = (thousands(ready), thousands(done));
                let found = format!(
                    "{ready} ready files in {ENTRY_DAYS} days, {done} entered as published"
                );
                doctor.ok(&what, found)
            }
            Err(error) => {
                let todo = "look at the entries: other programs write them too";
                doctor.fail(&what, chain(&error), todo, Exit::Failed)
            }
        }
    }

    async fn portal(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        let patience = Patience {
            tries: 2,
            stale_tries: 2,
            total: Duration::from_mins(1),
            ..Patience::default()
        };
        let portal = match Portal::open_with(&self.settings.socrata, patience) {
            Ok(portal) => portal,
            Err(error) => {
                let todo = "correct [socrata]";
                return doctor.fail("portal", chain(&error), todo, Exit::Usage);
            }
        };
        let reader = Reader::new(Arc::clone(&portal));
        for one in &self.settings.datasets {
            self.table(doctor, &reader, one).await?;
        }
        doctor.skew(&portal)?;
        self.secrets(doctor, portal)
    }

    async fn table(
        &self,
        doctor: &mut Doctor,
        reader: &Reader,
        one: &DatasetSettings,
    ) -> std::io::Result<()> {
        let dataset = &one.dataset;
        let what = format!("portal {}", dataset.name);
        let shape = match reader.shape(&dataset.id).await {
            Ok(shape) => shape,
            Err(error) => {
                let todo = "is the portal up? check socrata.url, the dataset's id and the network";
                return doctor.fail(&what, chain(&error), todo, Exit::Failed);
            }
        };
        if shape.row_identifier.as_ref() != Some(&dataset.key_column) {
            let found = match &shape.row_identifier {
                Some(column) => format!("its row identifier is {column}"),
                None => "it has no row identifier".into(),
            };
            let todo = format!("set it to {} on the portal", dataset.key_column);
            let mode = self.settings.mode;
            doctor.unless_observing(mode, &what, found, &todo, Exit::Failed)?;
        }
        let Some(recipe) = recipe(&dataset.recipe) else {
            let todo = "correct the dataset's recipe";
            return doctor.fail(&what, "it has no recipe", todo, Exit::Usage);
        };
        if let Err(error) = Columns::of(recipe, &shape) {
            let todo = "is it the dataset of this recipe? correct its id or recipe";
            return doctor.fail(&what, chain(&error), todo, Exit::Failed);
        }
        for column in recipe.facts().columns {
            if let Some(ColumnType::Other(kind)) = shape.columns.get(*column) {
                let found = format!("column {column} is {kind}, which holds no value of ours");
                let todo = "give it the type text, number, checkbox or calendar_date";
                doctor.fail(&what, found, todo, Exit::Failed)?;
            }
        }
        let columns = (&dataset.key_column, &dataset.day_column);
        match Table::new(dataset.id.clone(), columns.0, columns.1, shape) {
            Ok(table) => self.survey(doctor, reader, &what, &table).await,
            Err(error) => {
                let todo = "correct the dataset's key_column or day_column";
                doctor.fail(&what, chain(&error), todo, Exit::Failed)
            }
        }
    }

    async fn survey(
        &self,
        doctor: &mut Doctor,
        reader: &Reader,
        what: &str,
        table: &Table,
    ) -> std::io::Result<()> {
        let range = DayRange {
            from: self.today.plus(-LOOK_BACK_DAYS),
            to: self.today.next(),
        };
        let surveyed = match reader.survey(table, range).await {
            Ok(surveyed) => surveyed,
            Err(error) => {
                let todo = "wait and try again; an app token raises the portal's limits";
                return doctor.fail(what, chain(&error), todo, Exit::Failed);
            }
        };
        let rows: u64 = surveyed.days.values().map(|day| day.rows).sum();
        let rows = thousands(rows);
        let fresh = match surveyed.freshness {
            Freshness::Proven => "",
            Freshness::Assumed => ", freshness not told",
        };
        let found = format!("{rows} rows in {LOOK_BACK_DAYS} days{fresh}");
        doctor.ok(what, found)
    }

    fn secrets(&self, doctor: &mut Doctor, portal: Arc<Portal>) -> std::io::Result<()> {
        match Writer::new(portal, &self.settings.socrata) {
            Ok(_) => doctor.ok("secrets", "user and password for writing are given"),
            Err(error) => {
                let todo = "give socrata.username and socrata.password; repairs need them";
                let (mode, error) = (self.settings.mode, chain(&error));
                doctor.unless_observing(mode, "secrets", error, todo, Exit::Usage)
            }
        }
    }

    async fn ledger(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        match self.lease().await {
            Ok(()) => doctor.ok("ledger", "it can be written"),
            Err(error) => {
                let todo = "check ledger.url; its folder or schema must be ours to write";
                doctor.fail("ledger", chain(&error), todo, Exit::Failed)
            }
        }
    }

    /// Takes a lease that nobody else wants, and lets it go.
    async fn lease(&self) -> Result<(), LedgerError> {
        let ledger = Ledger::open(&self.settings.ledger).await?;
        let (name, holder) = ("doctor", app::holder());
        let ttl = Duration::from_secs(1);
        match ledger.lease(name, &holder, self.now, ttl).await? {
            LeaseAnswer::Granted { .. } => ledger.release(name, &holder).await,
            LeaseAnswer::HeldBy { .. } => Ok(()),
        }
    }

    async fn archive(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        let todo = "check archive.url; nothing is purged without an archive";
        let opened = ArchiveWriter::open(&self.settings.archive);
        let bytes = match &opened {
            Ok(writer) => writer.archive().bytes().await,
            Err(error) => return doctor.fail("archive", chain(error), todo, Exit::Failed),
        };
        match bytes {
            Ok(bytes) => doctor.ok("archive", format!("{} bytes", thousands(bytes))),
            Err(error) => doctor.fail("archive", chain(&error), todo, Exit::Failed),
        }
    }
}
