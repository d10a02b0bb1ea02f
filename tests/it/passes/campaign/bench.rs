//! A city that is broken and repaired repeatedly. It is healthy at the start and restored before
//! every case, and each case has its own ledger and archive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value as Json};
use sodalake::app;
use sodalake::archive::ArchiveWriter;
use sodalake::catalog::{Catalog, CatalogWriter};
use sodalake::lease::Waits;
use sodalake::model::{DatasetDay, Day, Entry, KeyPolicy};
use sodalake::reconcile::{self, Asked, Clock, Report, World};
use sodalake::repair::Writers;
use sodalake::sandbox::city::{READY, Table};
use sodalake::settings::Settings;
use sodalake::socrata::{Patience, Portal, Reader, Writer};

use super::damage::Damage;
use super::script::Script;
use super::store::Store;
use crate::support::city::{Rows, TestCity, wednesday};

/// How long a difference must persist before it is repaired.
const RECHECK: Duration = Duration::from_millis(20);

/// How long a write may take to become visible.
const CONFIRM: Duration = Duration::from_millis(400);

/// Rows per upload and per page, so small that a small day needs several of each.
const CHUNK_ROWS: u32 = 25;
const PAGE_ROWS: u32 = 90;

const MORE: &str = "rails.max_repairs_per_week = 50\n\
    rails.max_purge_share_per_day = 0.7\n\
    rails.max_orphan_rows_per_day = 60\n\
    rails.max_purge_rows_per_day = 600\n\
    rails.max_purge_rows_per_24h = 1200\n";

pub struct Bench {
    pub city: TestCity,
    pub store: Arc<Store>,
    healthy: BTreeMap<Table, Rows>,
    entries: Vec<Entry>,
}

/// The world of one case, with its writers.
pub struct Place {
    pub world: World,
    pub writers: Writers,
    pub target: DatasetDay,
    pub clock: Arc<OffsetClock>,
    pub dir: tempfile::TempDir,
}

/// The machine's clock, set ahead by some minutes.
#[derive(Default)]
pub struct OffsetClock(AtomicI64);

impl OffsetClock {
    pub fn advance(&self, minutes: i64) {
        self.0.fetch_add(minutes, Ordering::SeqCst);
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::minutes(self.0.load(Ordering::SeqCst))
    }
}

impl Bench {
    pub async fn set_up() -> Self {
        let city = TestCity::around(wednesday(), MORE).await;
        let store = Store::serve(city.stage.lake()).await;
        let rows = |table: Table| (table, city.rows(table));
        Self {
            store,
            healthy: Table::ALL.into_iter().map(rows).collect(),
            entries: city.stage.catalog.entries().unwrap(),
            city,
        }
    }

    /// The day that is broken and repaired.
    pub fn day() -> Day {
        wednesday()
    }

    /// The rows that the lake confirms.
    pub fn confirmed(&self, table: Table) -> &Rows {
        &self.healthy[&table]
    }

    /// The correct catalog.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The files that hold the table's rows of the day, including companions, with their bytes.
    pub fn files(&self, table: Table) -> Vec<(String, Vec<u8>)> {
        let facts = sodalake::expected::recipe(table.recipe()).unwrap().facts();
        let exts = [Some(table.ext()), facts.companion];
        let files = self.city.stage.city.day_files(table.source(), Self::day());
        let ours = files
            .into_iter()
            .filter(|file| exts.contains(&Some(file.ext.as_str())));
        ours.map(|file| (file.path.0, file.bytes)).collect()
    }

    /// Restores the portal and the catalog.
    pub fn heal(&self, table: Table) {
        let portal = &self.city.stage.portal;
        portal.set_witness(None);
        portal.set_faults(sodalake::sandbox::portal::Faults {
            rules: Vec::new(),
            replicas: Some(sodalake::sandbox::portal::Replicas::default()),
        });
        portal.clear_requests();
        self.store.set(None);
        let (id, healthy, now) = (
            table.spec().id,
            self.confirmed(table),
            self.city.rows(table),
        );
        let surplus = now.keys().filter(|key| !healthy.contains_key(*key));
        let surplus: Vec<&str> = surplus.map(String::as_str).collect();
        portal.delete_directly(id, &surplus).unwrap();
        let wrong = healthy
            .iter()
            .filter(|(key, row)| now.get(*key) != Some(row));
        let wrong: Vec<Map<String, Json>> = wrong.map(|(_, row)| whole(table, row)).collect();
        let at = crate::support::city::written_at();
        portal.upsert_directly(id, wrong, at).unwrap();
        self.heal_catalog();
    }

    /// Restores the catalog.
    pub fn heal_catalog(&self) {
        let catalog = &self.city.stage.catalog;
        let known: BTreeSet<_> = self.entries.iter().map(|entry| &entry.key).collect();
        for entry in catalog.entries().unwrap() {
            if !known.contains(&entry.key) {
                catalog.remove(&entry.key).unwrap();
            }
        }
        catalog.insert(&self.entries).unwrap();
    }

    /// Applies the damage to the store and, if its files are also uncatalogued, to the catalog.
    pub fn apply_damage(&self, damage: &Damage) {
        self.store.set(Some(damage.clone()));
        if !damage.is_forgotten() {
            return;
        }
        let lost = |entry: &&Entry| {
            let pointer = &entry.pointer;
            entry.key.repository == READY
                && (*pointer == damage.path || damage.more.contains(pointer))
        };
        for entry in self.entries.iter().filter(lost) {
            self.city.stage.catalog.remove(&entry.key).unwrap();
        }
    }

    /// A world with its own ledger and archive, and a client that does not wait long.
    pub async fn place(&self, script: &Script) -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("archive")).unwrap();
        let settings = Arc::new(self.settings(script, dir.path()));
        let patience = Patience {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(8),
            total: Duration::from_secs(20),
            poll_pause: Duration::from_millis(2),
            polls: 20,
            stale_pause: Duration::from_millis(10),
            seed: script.seed,
            ..Patience::default()
        };
        let portal = Portal::open_with(&settings.socrata, patience).unwrap();
        let writers = Writers {
            portal: Writer::new(Arc::clone(&portal), &settings.socrata).unwrap(),
            archive: ArchiveWriter::open(&settings.archive).unwrap(),
            catalog: CatalogWriter::open(&settings.catalog).await.unwrap(),
            holder: format!("campaign:{}", script.seed),
            stop: sodalake::repair::Stop::default(),
        };
        let clock = Arc::new(OffsetClock::default());
        let world = World {
            lake: self.store.lake(&settings.lake),
            catalog: Catalog::open(&settings.catalog, settings.timezone)
                .await
                .unwrap(),
            socrata: Reader::new(Arc::clone(&portal)),
            portal,
            ledger: app::ledger(&settings).await.unwrap(),
            clock: clock.clone(),
            waits: Waits::default(),
            settings,
        };
        let name = script.table.dataset_name();
        let mut datasets = world.settings.datasets.iter();
        let found = datasets
            .find(|one| one.dataset.name.as_str() == name)
            .unwrap();
        let target = DatasetDay {
            dataset: Arc::clone(&found.dataset),
            day: Self::day(),
        };
        Place {
            world,
            writers,
            target,
            clock,
            dir,
        }
    }

    fn settings(&self, script: &Script, dir: &std::path::Path) -> Settings {
        let mut settings = Settings::clone(&self.city.world.settings);
        let at = |scheme: &str, name: &str| format!("{scheme}://{}/{name}", dir.display());
        settings.ledger.url = at("sqlite", "ledger.db").parse().unwrap();
        settings.archive.url = at("file", "archive").parse().unwrap();
        settings.socrata.chunk_rows = CHUNK_ROWS;
        settings.socrata.page_rows = PAGE_ROWS;
        settings.socrata.confirm_within = CONFIRM;
        settings.socrata.request_timeout = script.request_timeout();
        for dataset in &mut settings.datasets {
            dataset.rails.recheck_after = RECHECK;
            if script.migrates() {
                Arc::make_mut(&mut dataset.dataset).keys = KeyPolicy::Migrate;
            }
        }
        settings
    }
}

impl Place {
    pub async fn pass(&self, script: &Script) -> Report {
        let asked = Asked {
            wait: true,
            rewrite: script.rewrite,
            ..Asked::default()
        };
        let Self {
            world,
            writers,
            target,
            ..
        } = self;
        reconcile::repair(world, writers, target, script.depth(), &asked).await
    }
}

/// The row with every column, so that writing it clears columns it lacks.
fn whole(table: Table, row: &Map<String, Json>) -> Map<String, Json> {
    let columns = table.spec().columns.into_iter();
    let nulls = columns.map(|(name, _)| (name.to_owned(), Json::Null));
    nulls.chain(row.clone()).collect()
}
