//! One broken dataset-day in a city, which can be broken repeatedly, with either pair of backends.
//! Also checks what must hold at every moment and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value as Json};
use sodalake::app;
use sodalake::archive::{Archive, Environment};
use sodalake::ledger::{LeaseAnswer, Ledger};
use sodalake::model::{Entry, PublishedRow};
use sodalake::sandbox::city::{Breakage, PUBLISHED, Place, Table};
use sodalake::settings::Settings;
use url::Url;

use super::PAST_THE_LEASE;
use super::effects::{Act, Interference};
use super::process::{Program, Ran};
use crate::support::city::{Rows, TestCity, difference, wednesday, written_at};
use crate::support::lake_catalog::{databases, fill, move_catalog};
use crate::support::postgres;
use crate::support::program::command;
use crate::support::s3::S3Bucket;

/// The dataset whose day is broken. It has many files, so that each can break in a different way.
pub const TABLE: Table = Table::CameraCounts;
/// Limits wide enough for all breakages of the day together, and blocks so small that there are
/// several.
const SETTINGS: &str = "rails.max_orphan_rows_per_day = 1000\n\
    rails.max_purge_share_per_day = 1.0\n\
    socrata.chunk_rows = 30\n\
    socrata.request_timeout = \"30s\"";
/// The breakages, each in a different file. Together they need every step of a repair.
pub const FAULTS: [Breakage; 6] = [
    Breakage::OtherSpelling,
    Breakage::TailLost,
    Breakage::StaleValues,
    Breakage::Strangers(5),
    Breakage::NotCatalogued,
    Breakage::GhostEntry,
];

/// Sets every time in the ledger back.
const TIME_PASSES: &str = "do $$ declare one record; begin
    for one in select table_name as name, column_name as field from information_schema.columns
      where table_schema = 'public' and data_type = 'timestamp with time zone' loop
      execute format('update %I set %I = %I - interval ''SECONDS seconds''',
        one.name, one.field, one.field);
    end loop; end $$";

/// Where catalog, ledger and archive are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite files and a folder.
    Embedded,
    /// PostgreSQL and S3.
    Services,
}

/// The services of the production setup that a test can reset.
struct Services {
    catalog: Url,
    ledger: Url,
    environment: Environment,
}

/// The content of the portal and the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDay {
    pub rows: Rows,
    /// Published entries, without the times they were written.
    pub entries: BTreeSet<String>,
}

pub struct Scene {
    pub city: TestCity,
    services: Option<Services>,
    settings: Settings,
    env: Vec<(String, String)>,
    healthy: RowDay,
    whole_catalog: Vec<Entry>,
}

fn named(entry: &Entry) -> String {
    let key = &entry.key;
    let (date, source) = (key.collection_date.to_rfc3339(), &key.data_source);
    let (base, ext, pointer) = (&key.id_base, &key.id_ext, &entry.pointer);
    format!("{date} {source} {base} {ext} {pointer}")
}

/// Whether the archived row equals the original row in every column.
fn is_same(archived: &PublishedRow, was: &Map<String, Json>) -> bool {
    let theirs = archived.fields.iter().collect::<BTreeMap<_, _>>();
    let ours = was.iter().filter(|(_, value)| !value.is_null());
    theirs == ours.collect::<BTreeMap<_, _>>()
}

fn load(city: &TestCity, env: &[(String, String)]) -> Settings {
    let facts: Vec<_> = sodalake::expected::recipes()
        .iter()
        .map(|one| one.facts())
        .collect();
    let file = city.stage.dir().join("sodalake.toml");
    let ours = env.iter().filter(|(name, _)| name.starts_with("SODALAKE"));
    Settings::load(Some(&file), ours.cloned(), &facts).unwrap()
}

impl Scene {
    pub async fn new(backend: Backend) -> Self {
        let city = TestCity::around(wednesday(), SETTINGS).await;
        match backend {
            Backend::Embedded => Self::of(city, None, Vec::new()).await,
            Backend::Services => {
                let (catalog, ledger) = (postgres::database().await, postgres::database().await);
                let (services, env) = Services::of(&city, catalog, ledger).await;
                Self::of(city, Some(services), env).await
            }
        }
    }

    /// With a PostgreSQL server that the test may stop.
    pub async fn with_own_server() -> (Self, postgres::Server) {
        let city = TestCity::around(wednesday(), SETTINGS).await;
        let server = postgres::Server::start();
        let catalog = postgres::database_on(&server.url).await;
        let ledger = postgres::database_on(&server.url).await;
        let (services, env) = Services::of(&city, catalog, ledger).await;
        (Self::of(city, Some(services), env).await, server)
    }

    async fn of(city: TestCity, services: Option<Services>, env: Vec<(String, String)>) -> Self {
        let healthy = RowDay {
            rows: city.rows(TABLE),
            entries: BTreeSet::new(),
        };
        let mut scene = Self {
            settings: load(&city, &env),
            whole_catalog: city.stage.catalog.entries().unwrap(),
            city,
            services,
            env,
            healthy,
        };
        scene.healthy.entries = scene.standing().await.entries;
        scene
    }

    /// The portal, as it is named in effects.
    pub fn portal(&self) -> String {
        let port = self.settings.socrata.url.port();
        format!("net:{}/", port.expect("the stand-in's address has a port"))
    }

    pub fn healthy(&self) -> &RowDay {
        &self.healthy
    }

    /// The current content of the portal and the catalog.
    pub async fn standing(&self) -> RowDay {
        let entries = match &self.services {
            Some(services) => services.entries().await,
            None => self.city.stage.catalog.entries().unwrap(),
        };
        let published = |entry: &&Entry| entry.key.repository == PUBLISHED;
        RowDay {
            rows: self.city.rows(TABLE),
            entries: entries.iter().filter(published).map(named).collect(),
        }
    }

    /// Breaks the healthy day in all ways, with a new ledger. Returns the resulting content.
    pub async fn break_day(&self) -> RowDay {
        self.break_day_by(&FAULTS).await
    }

    /// The same, with only these breakages.
    pub async fn break_day_by(&self, faults: &[Breakage]) -> RowDay {
        self.heal();
        let mut free: BTreeSet<String> = self.city.bases(TABLE, wednesday()).into_iter().collect();
        for &fault in faults {
            let broken = free.iter().find(|base| {
                let place = Place {
                    table: TABLE,
                    day: wednesday(),
                    base: (*base).clone(),
                };
                self.city.stage.damage(fault, &place, written_at()).is_ok()
            });
            let base = broken
                .unwrap_or_else(|| panic!("{fault:?} fits no file"))
                .clone();
            free.remove(&base);
        }
        self.reset_ledger().await;
        self.standing().await
    }

    /// Restores rows and entries directly, without the program.
    fn heal(&self) {
        let id = TABLE.spec().id;
        let now = self.city.rows(TABLE);
        let unexpected: Vec<&str> = (now.keys())
            .filter(|key| !self.healthy.rows.contains_key(*key))
            .map(String::as_str)
            .collect();
        self.city
            .stage
            .portal
            .delete_directly(id, &unexpected)
            .unwrap();
        let wrong: Vec<Map<String, Json>> = (self.healthy.rows.iter())
            .filter(|(key, row)| now.get(*key) != Some(*row))
            .map(|(_, row)| row.clone())
            .collect();
        let at = written_at();
        self.city
            .stage
            .portal
            .upsert_directly(id, wrong, at)
            .unwrap();
        let catalog = &self.city.stage.catalog;
        for entry in catalog.entries().unwrap() {
            catalog.remove(&entry.key).unwrap();
        }
        catalog.insert(&self.whole_catalog).unwrap();
    }

    /// Resets the ledger, and the services' catalog to that of the city.
    async fn reset_ledger(&self) {
        if let Some(services) = &self.services {
            return services.reset(&self.city).await;
        }
        for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let path = self.city.stage.dir().join(name);
            if path.exists() {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Changes what the PostgreSQL ledger holds.
    pub async fn in_ledger(&self, sql: &str) {
        let services = self.services.as_ref().expect("the ledger is in PostgreSQL");
        let ledger = postgres::client(&services.ledger).await;
        ledger.batch_execute(sql).await.unwrap();
    }

    /// Lets time pass on a PostgreSQL ledger, whose server has the clock: all times in it lie back
    /// by so many seconds more. With files the programs' own clocks count.
    pub async fn time_passes(&self, seconds: i64) {
        if self.services.is_some() {
            let sql = TIME_PASSES.replace("SECONDS", &seconds.to_string());
            self.in_ledger(&sql).await;
        }
    }

    /// Runs the program once the leases that others have left behind are over.
    pub async fn run_past_the_lease(&self, line: &str) -> Ran {
        self.time_passes(PAST_THE_LEASE).await;
        self.run(line, &Interference::ahead(PAST_THE_LEASE)).await
    }

    pub async fn run(&self, line: &str, how: &Interference) -> Ran {
        self.start(line, how).ended().await
    }

    /// Starts the program and stops it at one effect. When it continues, its clocks are ahead by
    /// `slept` seconds.
    pub async fn stopped(&self, line: &str, at: u64, slept: i64) -> Program {
        let how = Interference {
            slept,
            ..Interference::of(Act::Stop, at)
        };
        let program = self.start(line, &how);
        program.stands_still().await;
        program
    }

    /// Starts the program.
    pub fn start(&self, line: &str, how: &Interference) -> Program {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let log = self.city.stage.dir().join(format!("effects-{run}"));
        let env: Vec<(&str, &str)> = (self.env.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut command = command(&self.city, line, &env);
        command
            .env("SODALAKE_LOG_FORMAT", "text")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        how.load(&mut command, &log);
        Program::new(command.spawn().unwrap(), log)
    }

    /// The ledger, opened while the program may be running.
    pub async fn ledger(&self) -> Ledger {
        app::ledger(&self.settings).await.unwrap()
    }

    fn archive(&self) -> Archive {
        match &self.services {
            Some(services) => {
                Archive::open_with(&self.settings.archive, &services.environment).unwrap()
            }
            None => app::archive(&self.settings).unwrap(),
        }
    }

    /// Every row in the archives of the passes in the ledger.
    async fn archived(&self) -> Result<Vec<PublishedRow>, String> {
        let (ledger, name) = (self.ledger().await, TABLE.dataset_name().parse().unwrap());
        let long_ago = written_at();
        let passes = ledger.passes(&name, wednesday(), long_ago).await.unwrap();
        let archive = self.archive();
        let mut rows = Vec::new();
        for pass in passes {
            let days = archive.load(pass.id).await;
            let days = days.map_err(|error| format!("archive of {}: {error}", pass.id))?;
            rows.extend(days.into_iter().flat_map(|day| day.rows).map(|row| row.row));
        }
        Ok(rows)
    }

    /// Checks what must hold at every moment of a repair that began in the state `before`.
    pub async fn holds(&self, before: &RowDay, rewrite: bool) -> Result<(), String> {
        let now = self.standing().await;
        let mut lost = Vec::new();
        for (key, was) in &before.rows {
            let (is, expected) = (now.rows.get(key), self.healthy.rows.get(key));
            match is {
                Some(is) if is == was => {}
                Some(is) if expected == Some(is) => lost.push((key, was)),
                Some(_) => {
                    return Err(format!(
                        "row {key} has values that are neither old nor expected"
                    ));
                }
                None if expected == Some(was) && !rewrite => {
                    return Err(format!("row {key}, which the lake confirms, is gone"));
                }
                None => lost.push((key, was)),
            }
        }
        let invented = |(key, row): &(&String, &Map<String, Json>)| {
            !before.rows.contains_key(*key) && self.healthy.rows.get(*key) != Some(*row)
        };
        if let Some((key, _)) = now.rows.iter().find(invented) {
            return Err(format!("row {key} is new and unexpected"));
        }
        if !lost.is_empty() {
            self.check_archived(&lost).await?;
        }
        self.check_claims(before, &now)
    }

    async fn check_archived(&self, rows: &[(&String, &Map<String, Json>)]) -> Result<(), String> {
        let archived = self.archived().await?;
        let kept = |was| archived.iter().any(|row| is_same(row, was));
        match rows.iter().find(|(_, was)| !kept(was)) {
            Some((key, _)) => Err(format!("row {key} has changed and is not archived")),
            None => Ok(()),
        }
    }

    /// Checks that every row of `before` that is not published unchanged is archived.
    pub async fn archived_whole(&self, before: &RowDay) -> Result<(), String> {
        let now = self.city.rows(TABLE);
        let changed = |(key, was): &(&String, &Map<String, Json>)| now.get(*key) != Some(*was);
        let lost: Vec<_> = before.rows.iter().filter(changed).collect();
        self.check_archived(&lost).await
    }

    /// The state of the day in the ledger.
    pub async fn day_state(&self) -> String {
        let (ledger, name) = (self.ledger().await, TABLE.dataset_name().parse().unwrap());
        let day = ledger.day(&name, wednesday()).await.unwrap();
        day.map(|day| day.state).unwrap_or_default()
    }

    /// Checks that the catalog has no entry that is neither true nor in `before`.
    fn check_claims(&self, before: &RowDay, now: &RowDay) -> Result<(), String> {
        if let Some(new) = now.entries.difference(&before.entries).next() {
            let is_published =
                |(key, row): (&String, &Map<String, Json>)| now.rows.get(key) == Some(row);
            if !self.healthy.entries.contains(new) || !self.healthy.rows.iter().all(is_published) {
                return Err(format!("the catalog has the entry {new} too early"));
            }
        }
        let gone = |key: &String| !now.rows.contains_key(key);
        let is_missing =
            (before.rows.keys()).any(|key| gone(key) && self.healthy.rows.contains_key(key));
        let of_day =
            |entry: &&String| entry.starts_with("2020-10-14") && entry.ends_with(TABLE.spec().id);
        match now.entries.iter().find(of_day) {
            Some(entry) if is_missing => Err(format!(
                "the catalog has the entry {entry} although rows are missing"
            )),
            _ => Ok(()),
        }
    }

    /// Checks that the final state is the only correct one.
    pub async fn ended_well(&self) -> Result<(), String> {
        let now = self.standing().await;
        if now.rows != self.healthy.rows {
            let (missing, unexpected, other) = difference(&self.healthy.rows, &now.rows);
            return Err(format!(
                "rows: {missing} missing, {unexpected} unexpected, {other} with other values"
            ));
        }
        if now.entries != self.healthy.entries {
            let odd = now.entries.symmetric_difference(&self.healthy.entries);
            return Err(format!("entries: {:?}", odd.collect::<Vec<_>>()));
        }
        let state = self.day_state().await;
        if state != "in-sync" {
            return Err(format!("the ledger says {state:?}"));
        }
        self.is_left_clean().await
    }

    /// Checks that no pass is unfinished and no lease is held.
    pub async fn is_left_clean(&self) -> Result<(), String> {
        let (ledger, name) = (self.ledger().await, TABLE.dataset_name().parse().unwrap());
        let left = ledger.unfinished(&name).await.unwrap();
        if !left.is_empty() {
            return Err(format!("unfinished passes: {left:?}"));
        }
        let (lease, now) = (format!("repair/{name}"), self.city.world.clock.now());
        let second = std::time::Duration::from_secs(1);
        match ledger.lease(&lease, "test", now, second).await.unwrap() {
            LeaseAnswer::Granted { .. } => {
                ledger.release(&lease, "test").await.unwrap();
                Ok(())
            }
            held @ LeaseAnswer::HeldBy { .. } => Err(format!("the lease is still held: {held:?}")),
        }
    }
}

impl Services {
    async fn of(city: &TestCity, catalog: Url, ledger: Url) -> (Self, Vec<(String, String)>) {
        let bucket = S3Bucket::create().await;
        move_catalog(city, &postgres::client(&catalog).await).await;
        let databases = databases(&catalog, &ledger).into_iter();
        let services = Self {
            catalog,
            ledger,
            environment: (bucket.environment.clone().into_iter())
                .chain([("AWS_ENDPOINT_URL".to_owned(), bucket.endpoint.to_string())])
                .collect(),
        };
        let env = databases
            .map(|(name, value)| (name.to_owned(), value))
            .chain([("SODALAKE__ARCHIVE__URL".to_owned(), bucket.url.to_string())])
            .chain(services.environment.clone())
            .collect();
        (services, env)
    }

    async fn reset(&self, city: &TestCity) {
        let ledger = postgres::client(&self.ledger).await;
        let again = "drop schema public cascade; create schema public";
        ledger.batch_execute(again).await.unwrap();
        let catalog = postgres::client(&self.catalog).await;
        let empty =
            catalog.batch_execute("set synchronous_commit = on; truncate api.data_lake_catalog");
        empty.await.unwrap();
        fill(&catalog, &city.stage.catalog.entries().unwrap()).await;
    }

    async fn entries(&self) -> Vec<Entry> {
        let sql = "select repository, data_source, id_base, id_ext, pointer, collection_date
             from api.data_lake_catalog";
        let catalog = postgres::client(&self.catalog).await;
        let rows = catalog.query(sql, &[]).await.unwrap();
        let entry = |row: tokio_postgres::Row| Entry {
            key: sodalake::model::EntryKey {
                repository: row.get(0),
                data_source: row.get(1),
                id_base: row.get(2),
                id_ext: row.get(3),
                collection_date: row.get(5),
            },
            pointer: row.get(4),
            collection_end: None,
            processing_date: None,
            metadata: None,
        };
        rows.into_iter().map(entry).collect()
    }
}
