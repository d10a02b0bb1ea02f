//! A fictional city, with a world that checks it and writers that repair it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::model::{DatasetDay, Day, DayRange, Entry, EntryKey};
use sodalake::reconcile::{self, Asked, Report, World};
use sodalake::repair::Writers;
use sodalake::sandbox::city::{Breakage, City, Injected, PUBLISHED, Place, Scale, Table};
use sodalake::sandbox::portal::PortalOptions;
use sodalake::sandbox::stage::Stage;
use sodalake::settings::Settings;

/// A city whose days are published, and everything needed to check and repair it.
pub struct TestCity {
    pub stage: Stage,
    pub world: World,
    pub writers: Writers,
    pub _dir: tempfile::TempDir,
}

/// The day that most tests use: an ordinary Wednesday.
pub fn wednesday() -> Day {
    "2020-10-14".parse().unwrap()
}

/// When wrong rows were written.
pub fn written_at() -> DateTime<Utc> {
    "2020-10-16T13:31:00Z".parse().unwrap()
}

/// Rows by key.
pub type Rows = BTreeMap<String, Map<String, Json>>;

/// A day on which Bluetooth addresses were numbered by a publisher that was catching up on older
/// days.
pub fn caught_up_day() -> Day {
    use sodalake::expected::Counter;
    let city = City::new(7, Scale::demo());
    let first: Day = "2020-05-04".parse().unwrap();
    (0..200)
        .map(|days| first.plus(days))
        .find(|day| city.counter(*day) == Counter::Separate)
        .expect("about one day in eight is of that kind")
}

/// The difference between two states of a table, for failure messages: the number of keys only in
/// the first, only in the second, and in both with different values.
pub fn difference(left: &Rows, right: &Rows) -> (usize, usize, usize) {
    let only = |a: &Rows, b: &Rows| a.keys().filter(|key| !b.contains_key(*key)).count();
    let other = |(key, row): &(&String, &Map<String, Json>)| {
        right.get(*key).is_some_and(|theirs| theirs != *row)
    };
    (
        only(left, right),
        only(right, left),
        left.iter().filter(other).count(),
    )
}

impl TestCity {
    /// A city whose days around `day` are published in full, with `more` settings.
    pub async fn around(day: Day, more: &str) -> Self {
        Self::with(day, more, PortalOptions::default(), &[]).await
    }

    /// The same, with portal options and settings from the environment.
    pub async fn with(
        day: Day,
        more: &str,
        options: PortalOptions,
        environment: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let city = City::new(7, Scale::demo());
        let listen = "127.0.0.1:0".parse().unwrap();
        let stage = Stage::set_up(dir.path(), city, options, listen)
            .await
            .unwrap();
        let days = DayRange {
            from: day.plus(-1),
            to: day.plus(3),
        };
        stage.fill(days).unwrap();
        for day in days.days() {
            stage.publish(day, written_at()).await.unwrap();
        }
        let file = dir.path().join("sodalake.toml");
        let text = stage.settings(&format!("rails.recheck_after = \"0s\"\n{more}"));
        std::fs::write(&file, text).unwrap();
        let recipes: Vec<_> = sodalake::expected::recipes()
            .iter()
            .map(|one| one.facts())
            .collect();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let settings = Settings::load(Some(&file), environment, &recipes).unwrap();
        let world = app::world(Arc::new(settings)).await.unwrap();
        let writers = app::writers(&world).await.unwrap();
        Self {
            stage,
            world,
            writers,
            _dir: dir,
        }
    }

    /// A dataset-day of this city.
    pub fn target(&self, table: Table, day: Day) -> DatasetDay {
        let name = table.dataset_name();
        let settings = self.world.settings.datasets.iter();
        let mut found = settings.filter(|one| one.dataset.name.as_str() == name);
        let dataset = Arc::clone(&found.next().unwrap().dataset);
        DatasetDay { dataset, day }
    }

    /// A check, which changes nothing.
    pub async fn check(&self, table: Table, day: Day, depth: Depth) -> Report {
        reconcile::check(&self.world, &self.target(table, day), depth).await
    }

    /// A whole pass.
    pub async fn repair(&self, table: Table, day: Day, depth: Depth) -> Report {
        let target = self.target(table, day);
        let asked = Asked {
            wait: true,
            ..Asked::default()
        };
        reconcile::repair(&self.world, &self.writers, &target, depth, &asked).await
    }

    /// A whole pass with the given options.
    pub async fn ask(&self, table: Table, day: Day, depth: Depth, asked: &Asked) -> Report {
        let target = self.target(table, day);
        reconcile::repair(&self.world, &self.writers, &target, depth, asked).await
    }

    /// Every row of a table by its key, without the portal's own fields.
    pub fn rows(&self, table: Table) -> Rows {
        let spec = table.spec();
        let all = self.stage.portal.rows(spec.id).into_iter();
        all.map(|mut row| {
            row.retain(|field, _| !field.starts_with(':'));
            (row[spec.row_identifier].as_str().unwrap().to_owned(), row)
        })
        .collect()
    }

    /// The files that have a published entry in the catalog, with the entry's pointer.
    pub fn published_entries(&self) -> BTreeMap<EntryKey, String> {
        let all: Vec<Entry> = self.stage.catalog.entries().unwrap();
        all.into_iter()
            .filter(|entry| entry.key.repository == PUBLISHED)
            .map(|entry| (entry.key, entry.pointer))
            .collect()
    }

    /// The bases of the table's files on a day.
    pub fn bases(&self, table: Table, day: Day) -> Vec<String> {
        let files = self.stage.city.day_files(table.source(), day).into_iter();
        files
            .filter(|file| file.ext == table.ext())
            .map(|file| file.base)
            .collect()
    }

    /// Breaks the first file that can break this way; `None` if no file of the table can.
    pub fn try_damage(&self, breakage: Breakage, table: Table, day: Day) -> Option<Vec<Injected>> {
        self.bases(table, day).into_iter().find_map(|base| {
            let place = Place { table, day, base };
            self.stage.damage(breakage, &place, written_at()).ok()
        })
    }

    /// Breaks the published file of `base`.
    pub fn damage(&self, breakage: Breakage, table: Table, day: Day, base: &str) -> Vec<Injected> {
        self.damage_at(breakage, table, day, base, written_at())
    }

    /// The same, with rows written at the given time.
    pub fn damage_at(
        &self,
        breakage: Breakage,
        table: Table,
        day: Day,
        base: &str,
        at: DateTime<Utc>,
    ) -> Vec<Injected> {
        let place = Place {
            table,
            day,
            base: base.to_owned(),
        };
        self.stage.damage(breakage, &place, at).unwrap()
    }
}
