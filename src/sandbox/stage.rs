//! A complete city: its lake in a folder, its catalog in an SQLite file, its portal on a local
//! port, and settings that name all three.
//!
//! The demo runs on it and the tests break it. Its rows are published by the stand-in publisher
//! over HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value as Json};

use super::city::{
    self, Breakage, BreakageError, City, CityCatalog, CityCatalogError, Injected, Place,
    PublishError, Published, Publisher, Recipes, Site, Source, Tables, WriteLakeError,
};
use super::portal::{ColumnType, Portal, PortalOptions, Serving, TableSpec};
use crate::model::{Day, DayRange};
use crate::outgoing::{self, Wire};

/// The user name and password for writing to the stage's portal.
const WRITER: (&str, &str) = ("writer", "writer-password");

/// A stage that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A folder could not be created.
    #[error("cannot create the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The portal's port could not be opened.
    #[error("cannot serve the stand-in portal on {listen}")]
    Serve {
        /// The address.
        listen: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The lake could not be filled.
    #[error("cannot fill the lake")]
    Lake(#[from] WriteLakeError),
    /// The catalog could not be filled.
    #[error("cannot fill the catalog")]
    Catalog(#[from] CityCatalogError),
    /// A day could not be published.
    #[error("cannot publish a day")]
    Publish(#[from] PublishError),
    /// An HTTP client for the publisher could not be created.
    #[error("cannot create an HTTP client")]
    Client(#[from] reqwest::Error),
    /// The portal's address could not be parsed.
    #[error("cannot read the stand-in portal's address")]
    Address(#[from] url::ParseError),
}

impl Tables for Portal {
    fn upsert(&self, id: &str, rows: Vec<Map<String, Json>>, at: DateTime<Utc>) {
        if let Err(error) = self.upsert_directly(id, rows, at) {
            tracing::error!("failed to add rows to the stand-in portal: {error}");
        }
    }

    fn delete(&self, id: &str, keys: &[String]) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        if let Err(error) = self.delete_directly(id, &keys) {
            tracing::error!("failed to remove rows from the stand-in portal: {error}");
        }
    }

    fn rows(&self, id: &str) -> Vec<Map<String, Json>> {
        Portal::rows(self, id)
    }
}

/// A city with its lake, catalog and portal.
pub struct Stage {
    /// The city.
    pub city: City,
    /// Its portal.
    pub portal: Portal,
    /// Its catalog.
    pub catalog: CityCatalog,
    recipes: Recipes<'static>,
    dir: PathBuf,
    serving: Serving,
}

impl Stage {
    /// Sets up a city with an empty lake, an empty catalog and a portal with its five empty tables.
    ///
    /// # Errors
    /// If the folder or catalog cannot be created, or the port cannot be opened.
    pub async fn set_up(
        dir: &Path,
        city: City,
        options: PortalOptions,
        listen: SocketAddr,
    ) -> Result<Self, StageError> {
        for folder in ["lake", "archive"] {
            let path = dir.join(folder);
            let made = std::fs::create_dir_all(&path);
            made.map_err(|source| StageError::Folder { path, source })?;
        }
        let portal = Portal::new(options);
        for table in city.tables() {
            portal.create(TableSpec {
                id: table.id.to_owned(),
                name: table.name.to_owned(),
                columns: (table.columns.iter())
                    .map(|(field, kind)| ((*field).to_owned(), column_type(kind)))
                    .collect(),
                row_identifier: Some(table.row_identifier.to_owned()),
                computed_region: false,
                private: false,
            });
        }
        let serving = portal.serve(listen).await;
        Ok(Self {
            serving: serving.map_err(|source| StageError::Serve { listen, source })?,
            catalog: CityCatalog::open(&dir.join("catalog.db"))?,
            recipes: city::recipes(),
            dir: dir.to_owned(),
            city,
            portal,
        })
    }

    /// The portal's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// The folder that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of the lake.
    #[must_use]
    pub fn lake(&self) -> PathBuf {
        self.dir.join("lake")
    }

    /// Fills the lake with the sensors' files of these days, and enters the files in the ready
    /// layer.
    ///
    /// # Errors
    /// If the lake or catalog cannot be written.
    pub fn fill(&self, days: DayRange) -> Result<u64, StageError> {
        let entries = self.city.write_lake(&self.lake(), days, &Source::ALL)?;
        self.catalog.insert(&entries)?;
        Ok(entries.len() as u64)
    }

    /// Publishes one day of every source over HTTP, as the existing publisher does.
    ///
    /// # Errors
    /// If a file yields no rows, or the portal or catalog refuses.
    pub async fn publish(&self, day: Day, at: DateTime<Utc>) -> Result<Published, StageError> {
        let (user, password) = WRITER;
        let client = outgoing::client(Wire::Plain).build()?;
        let password = SecretString::from(password);
        let publisher = Publisher::new(client, self.url().parse()?, user.to_owned(), password);
        let mut all = Published::default();
        for source in Source::ALL {
            let (city, recipes, catalog) = (&self.city, &self.recipes, &self.catalog);
            all.add(
                publisher
                    .publish_day(city, source, day, recipes, catalog, at)
                    .await?,
            );
        }
        Ok(all)
    }

    /// Breaks a published file, and returns what a check must find.
    ///
    /// # Errors
    /// If nothing in the file can break this way.
    pub fn damage(
        &self,
        breakage: Breakage,
        place: &Place,
        at: DateTime<Utc>,
    ) -> Result<Vec<Injected>, BreakageError> {
        let lake = self.lake();
        let site = Site {
            city: &self.city,
            tables: &self.portal,
            catalog: &self.catalog,
            lake: &lake,
        };
        breakage.apply(place, &site, self.recipes[&place.table], at)
    }

    /// Settings for this city: everything that differs from the defaults. `more` lines are appended
    /// and name their section, such as `rails.recheck_after = "1s"`.
    #[must_use]
    pub fn settings(&self, more: &str) -> String {
        let dir = self.dir.display();
        let (user, password) = WRITER;
        let dataset = |one: &crate::model::Dataset| {
            let (name, id, recipe) = (&one.name, &one.id, &one.recipe);
            format!("\n[[dataset]]\nname = \"{name}\"\nid = \"{id}\"\nrecipe = \"{recipe}\"\n")
        };
        let datasets: Vec<String> = city::datasets().iter().map(dataset).collect();
        let datasets = datasets.concat();
        format!(
            "timezone = \"America/Chicago\"\n\
             mode = \"repair\"\n\
             lake.url = \"file://{dir}/lake\"\n\
             lake.repository = \"{ready}\"\n\
             catalog.url = \"sqlite://{dir}/catalog.db\"\n\
             catalog.table = \"data_lake_catalog\"\n\
             socrata.url = \"{url}\"\n\
             socrata.username = \"{user}\"\n\
             socrata.password = \"{password}\"\n\
             socrata.requests_per_second = 1000\n\
             socrata.confirm_within = \"20s\"\n\
             ledger.url = \"sqlite://{dir}/ledger.db\"\n\
             archive.url = \"file://{dir}/archive\"\n\
             schedule.repair_hours = \"00:00-00:00\"\n\
             {more}\n{datasets}",
            ready = city::READY,
            url = self.url(),
        )
    }
}

fn column_type(kind: &crate::model::ColumnType) -> ColumnType {
    match kind {
        crate::model::ColumnType::Text | crate::model::ColumnType::Other(_) => ColumnType::Text,
        crate::model::ColumnType::Number => ColumnType::Number,
        crate::model::ColumnType::Checkbox => ColumnType::Checkbox,
        crate::model::ColumnType::CalendarDate => ColumnType::CalendarDate,
    }
}
