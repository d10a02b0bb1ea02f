//! A made-up city with a world that looks at it and writers that mend it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::model::{DatasetDay, Day, DayRange};
use sodalake::reconcile::{self, Asked, Report, World};
use sodalake::repair::Writers;
use sodalake::sandbox::city::{Breakage, City, Injected, Place, Scale, Table};
use sodalake::sandbox::portal::PortalOptions;
use sodalake::sandbox::stage::Stage;
use sodalake::settings::Settings;

/// A city whose days stand published, and everything to look at it and mend it.
pub struct TestCity {
    pub stage: Stage,
    pub world: World,
    pub writers: Writers,
    pub _dir: tempfile::TempDir,
}

/// The day that most tests are about: an ordinary Wednesday.
pub fn wednesday() -> Day {
    "2020-10-14".parse().unwrap()
}

/// When a rival wrote wrong rows.
pub fn written_at() -> DateTime<Utc> {
    "2020-10-16T13:31:00Z".parse().unwrap()
}

impl TestCity {
    /// A city whose days around `day` are published in full, with `more` settings.
    pub async fn around(day: Day, more: &str) -> Self {
        Self::with(day, more, PortalOptions::default(), &[]).await
    }

    /// The same with a portal of one's own options, and settings from the environment.
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

    /// A look that touches nothing.
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

    /// Breaks the published file of `base`.
    pub fn damage(&self, breakage: Breakage, table: Table, day: Day, base: &str) -> Vec<Injected> {
        let place = Place {
            table,
            day,
            base: base.to_owned(),
        };
        self.stage.damage(breakage, &place, written_at()).unwrap()
    }
}
