//! `doctor`: tries everything that must work before the first run, and says how to fix each
//! problem.
//!
//! Each part is opened separately, so that one that fails does not hide problems of the others.
//! Nothing is written to the portal; the ledger is tried with a lease of its own.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::style::{Tone, clean, json_line, paint, print, thousands};
use super::{Common, Exit, Format, config};
use crate::app;
use crate::archive::{Archive, Folder};
use crate::catalog::{Catalog, Catalogued};
use crate::compare::gather::Columns;
use crate::expected::recipe;
use crate::lake::{Lake, LakeError};
use crate::ledger::{LeaseAnswer, Ledger, LedgerError};
use crate::model::{ColumnType, Coverage, Day, DayRange};
use crate::reconcile::{Clock as _, SystemClock, chain};
use crate::settings::{DatasetSettings, Mode, Settings};
use crate::socrata::{Denial, Freshness, Patience, Portal, ReadError, Reader, Table, Writer};

/// How many days back to look for the newest file, and to survey rows.
const NEWEST_FILE_WITHIN_DAYS: i64 = 30;
/// How many days back catalog entries are counted.
const ENTRY_DAYS: i64 = 60;
/// Maximum unreadable catalog lines that are listed.
const UNREAD_LINES: usize = 3;
/// The age of the first day whose files should all exist.
const SETTLED_DAYS: i64 = 3;
/// With more skew than this, our ages and hours would not match the portal's.
const MOST_SKEW_SECONDS: i64 = 60;

/// `sodalake doctor`.
pub(super) async fn run(format: Format, common: &Common) -> anyhow::Result<Exit> {
    let mut doctor = Doctor {
        format,
        exit: Exit::Ok,
    };
    let settings = match config::load(common) {
        Ok(settings) => settings,
        Err(error) => {
            let todo = "correct the problems printed above, then run: sodalake config check";
            doctor.fail("config", "the settings are not valid", todo, Exit::Usage)?;
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

/// Prints each line as soon as it is known, and keeps the worst exit code.
struct Doctor {
    format: Format,
    exit: Exit,
}

impl Doctor {
    fn ok(&mut self, what: &str, found: impl AsRef<str>) -> std::io::Result<()> {
        self.report("ok", Tone::Good, what, found.as_ref(), None)
    }

    fn warn(&mut self, what: &str, found: impl AsRef<str>, todo: &str) -> std::io::Result<()> {
        self.report("warn", Tone::Warn, what, found.as_ref(), Some(todo))
    }

    fn fail(
        &mut self,
        what: &str,
        found: impl AsRef<str>,
        todo: &str,
        exit: Exit,
    ) -> std::io::Result<()> {
        self.exit = self.exit.and(exit);
        self.report("fail", Tone::Bad, what, found.as_ref(), Some(todo))
    }

    /// A problem that prevents repairs but not checks: only a warning if we observe.
    fn fail_unless_observing(
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

    /// Reports whether a connection pooler sits between us and a database.
    fn sessions(&mut self, what: &str, shares: Option<bool>) -> std::io::Result<()> {
        match shares {
            Some(true) => self.ok(
                what,
                "a transaction pooler shares them with other programs; Sodalake leaves no state on them",
            ),
            Some(false) => self.ok(what, "each connection has its own session"),
            None => Ok(()),
        }
    }

    fn skew(&mut self, portal: &Portal) -> std::io::Result<()> {
        let Some(theirs) = portal.date() else {
            return Ok(());
        };
        let seconds = (SystemClock.now() - theirs).num_seconds();
        let found = format!("{} seconds apart from the portal's", seconds.abs());
        if seconds.abs() > MOST_SKEW_SECONDS {
            self.warn("clock", found, "synchronize this machine's clock (NTP)")
        } else {
            self.ok("clock", found)
        }
    }

    fn report(
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

/// The error as text. A denial's remedy is left out, since it is printed beside it.
fn error_text(error: &ReadError) -> String {
    match error.denial() {
        Some(denial) => format!("{error}: {denial}"),
        None => chain(error),
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
            Mode::Observe => "observe: nothing is changed",
            Mode::Repair => "repair: findings are repaired within the rails",
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
                    let found = format!("no files in the last {NEWEST_FILE_WITHIN_DAYS} days");
                    let todo = "check that lake.url points to the ready layer, with folders YYYY/MM/DD/SOURCE";
                    doctor.warn(&what, found, todo)?;
                }
                Err(error) => {
                    let todo = "check lake.url, the network and the credentials, which must allow list and read";
                    doctor.fail(&what, chain(&error), todo, Exit::Failed)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the newest day with files and reads the smallest of them.
    async fn newest_file(&self, lake: &Lake, source: &str) -> Result<Option<String>, LakeError> {
        for back in SETTLED_DAYS..SETTLED_DAYS + NEWEST_FILE_WITHIN_DAYS {
            let day = self.today.plus(-back);
            let listing = lake.list(source, day).await?.files;
            let Some((path, stamp)) = listing.iter().min_by_key(|(_, stamp)| stamp.size) else {
                continue;
            };
            let bytes = lake.read(path, stamp).await?.len() as u64;
            let (files, bytes) = (thousands(listing.len() as u64), thousands(bytes));
            return Ok(Some(format!(
                "{files} files on {day}; read one of {bytes} bytes"
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
            let todo = "grant these rights: entries cannot be corrected without them";
            let mode = self.settings.mode;
            doctor.fail_unless_observing(mode, "catalog rights", fault, todo, Exit::Failed)?;
        }
        if !faults.is_empty() {
            return Ok(());
        }
        doctor.ok("catalog", format!("{} is correct", shape.table))?;
        match catalog.shares_sessions().await {
            Ok(shares) => doctor.sessions("catalog sessions", shares)?,
            Err(error) => doctor.fail("catalog sessions", chain(&error), todo, Exit::Failed)?,
        }
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
        let (lake, portal) = (&self.settings.lake, &self.settings.catalog);
        let read = async |repository: &str| catalog.read(repository, &dataset.source, window).await;
        let both = match read(&lake.repository).await {
            Ok(ready) => read(&portal.repository).await.map(|done| (ready, done)),
            Err(error) => Err(error),
        };
        let ours = |found: &Catalogued| {
            let exts = found.entries.iter().map(|entry| &entry.key.id_ext);
            exts.filter(|ext| **ext == dataset.ext).count() as u64
        };
        if let Ok((ready, done)) = &both {
            let unread = ready.unread.iter().chain(&done.unread);
            for line in unread
                .filter(|line| line.may_be(&dataset.ext))
                .take(UNREAD_LINES)
            {
                let todo = "correct the line: days it may belong to are not judged until then";
                doctor.fail(&what, line.to_string(), todo, Exit::Failed)?;
            }
        }
        match both.map(|(ready, done)| (ours(&ready), ours(&done))) {
            Ok((0, _)) => {
                let found = format!("no ready files in the last {ENTRY_DAYS} days");
                let todo = "check lake.repository, and the source and extension of the dataset";
                doctor.warn(&what, found, todo)
            }
            Ok((ready, done)) => {
                let (ready, done) = (thousands(ready), thousands(done));
                let found = format!(
                    "{ready} ready files in the last {ENTRY_DAYS} days, {done} marked as published"
                );
                doctor.ok(&what, found)
            }
            Err(error) => {
                let todo = "check the entries; other programs may write them too";
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
        if portal.refused_token() {
            let found = Denial::WrongToken.to_string();
            doctor.warn("app token", found, Denial::WrongToken.todo())?;
        }
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
                let todo = error.denial().map_or(
                    "check socrata.url, the dataset's id and the network, and whether the portal is up",
                    Denial::todo,
                );
                return doctor.fail(&what, error_text(&error), todo, Exit::Failed);
            }
        };
        if shape.row_identifier.as_ref() != Some(&dataset.key_column) {
            let found = match &shape.row_identifier {
                Some(column) => format!("its row identifier is {column}"),
                None => "it has no row identifier".into(),
            };
            let todo = format!("set it to {} on the portal", dataset.key_column);
            let mode = self.settings.mode;
            doctor.fail_unless_observing(mode, &what, found, &todo, Exit::Failed)?;
        }
        let Some(recipe) = recipe(&dataset.recipe) else {
            let todo = "set the dataset's recipe";
            return doctor.fail(&what, "it has no recipe", todo, Exit::Usage);
        };
        if let Err(error) = Columns::of(recipe, &shape) {
            let todo = "check that the recipe fits this dataset; correct its id or recipe";
            return doctor.fail(&what, chain(&error), todo, Exit::Failed);
        }
        for column in recipe.facts().columns {
            if let Some(ColumnType::Other(kind)) = shape.columns.get(*column) {
                let found = format!(
                    "column {column} has type {kind}, which cannot hold the values of the recipe"
                );
                let todo = "change its type to text, number, checkbox or calendar_date";
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
            from: self.today.plus(-NEWEST_FILE_WITHIN_DAYS),
            to: self.today.next(),
        };
        let surveyed = match reader.survey(table, range).await {
            Ok(surveyed) => surveyed,
            Err(error) => {
                let todo = error.denial().map_or(
                    "wait and try again; an app token raises the portal's limits",
                    Denial::todo,
                );
                return doctor.fail(what, error_text(&error), todo, Exit::Failed);
            }
        };
        let rows: u64 = surveyed.days.values().map(|day| day.rows).sum();
        let rows = thousands(rows);
        let fresh = match surveyed.freshness {
            Freshness::Proven => "",
            Freshness::Assumed => ", freshness not reported",
        };
        let found = format!("{rows} rows in the last {NEWEST_FILE_WITHIN_DAYS} days{fresh}");
        doctor.ok(what, found)
    }

    fn secrets(&self, doctor: &mut Doctor, portal: Arc<Portal>) -> std::io::Result<()> {
        match Writer::new(portal, &self.settings.socrata) {
            Ok(_) => doctor.ok("secrets", "the username and password for writing are set"),
            Err(error) => {
                let todo = "set socrata.username and socrata.password; repairs need them";
                let (mode, error) = (self.settings.mode, chain(&error));
                doctor.fail_unless_observing(mode, "secrets", error, todo, Exit::Usage)
            }
        }
    }

    async fn ledger(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        match self.lease().await {
            Ok(shares) => {
                doctor.ok("ledger", "it is writable")?;
                doctor.sessions("ledger sessions", shares)
            }
            Err(error) => {
                let todo = "check ledger.url; its folder or schema must be writable";
                doctor.fail("ledger", chain(&error), todo, Exit::Failed)
            }
        }
    }

    /// Acquires and releases a lease that nothing else uses. Returns whether the ledger's sessions are
    /// shared.
    async fn lease(&self) -> Result<Option<bool>, LedgerError> {
        let ledger = Ledger::open(&self.settings.ledger).await?;
        let (name, holder) = ("doctor", app::holder());
        let ttl = Duration::from_secs(1);
        let now = ledger.time().await?.unwrap_or(self.now);
        match ledger.lease(name, &holder, now, ttl).await? {
            LeaseAnswer::Granted { .. } => ledger.release(name, &holder).await?,
            LeaseAnswer::HeldBy(_) => {}
        }
        ledger.shares_sessions().await
    }

    async fn archive(&self, doctor: &mut Doctor) -> std::io::Result<()> {
        let todo = "check archive.url; nothing is purged without an archive";
        match Folder::of(&self.settings.archive) {
            Ok(Folder::Ready) => {}
            Ok(Folder::ToCreate(folder)) => {
                let found = format!("{} will be created by the first repair", folder.display());
                return doctor.ok("archive", found);
            }
            Err(error) => return doctor.fail("archive", chain(&error), todo, Exit::Failed),
        }
        let opened = Archive::open(&self.settings.archive);
        let bytes = match &opened {
            Ok(archive) => archive.bytes().await,
            Err(error) => return doctor.fail("archive", chain(error), todo, Exit::Failed),
        };
        match bytes {
            Ok(bytes) => doctor.ok("archive", format!("{} bytes", thousands(bytes))),
            Err(error) => doctor.fail("archive", chain(&error), todo, Exit::Failed),
        }
    }
}
