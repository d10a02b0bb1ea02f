//! The stand-in of the existing publisher: files in its order, blocks of 10,000 rows as JSON lists
//! with Basic auth, and after each file its catalog entry. Plain requests and no care at all: it
//! is what Sodalake is compared with, and shares no code with the client that writes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value as Json};

use super::catalog::{day_of, published_entry};
use super::{
    City, CityCatalog, CityCatalogError, GeneratedFile, How, Source, Table, Tables, Upload, upload,
};
use crate::expected::{self, DeriveError, Recipe};
use crate::model::{Day, LakePath};

/// Rows per upload.
const BLOCK: usize = 10_000;

/// The recipes of the tables that are published; a table that has none is not.
pub type Recipes<'a> = BTreeMap<Table, &'a dyn Recipe>;

/// The recipes of all five tables.
///
/// # Panics
/// If a table's recipe is not registered, which a test rules out.
#[must_use]
pub fn recipes() -> Recipes<'static> {
    let recipe = |table: Table| expected::recipe(table.recipe());
    let known = |table| recipe(table).expect("every table's recipe is registered");
    Table::ALL.map(|table| (table, known(table))).into()
}

/// What came of publishing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files entered in the catalog as published.
    pub files: u64,
    /// Rows sent.
    pub rows: u64,
    /// Rows that no portal takes.
    pub unpublishable: u64,
}

/// Publishing ended early.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file that yields no rows.
    #[error("derive rows of {path}")]
    Derive {
        /// The file.
        path: LakePath,
        /// Why.
        source: DeriveError,
    },
    /// The portal could not be reached, or its answer not be read.
    #[error("upload rows to {dataset}")]
    Send {
        /// The dataset's four-by-four.
        dataset: &'static str,
        /// Why.
        source: reqwest::Error,
    },
    /// The address of a dataset could not be formed.
    #[error("form the address of {dataset}")]
    Address {
        /// The dataset's four-by-four.
        dataset: &'static str,
        /// Why.
        source: url::ParseError,
    },
    /// The portal counted errors.
    #[error("upload rows to {dataset}: the portal counts {errors} errors")]
    RowErrors {
        /// The dataset's four-by-four.
        dataset: &'static str,
        /// How many.
        errors: u64,
    },
    /// The catalog.
    #[error("enter a published file")]
    Catalog(#[from] CityCatalogError),
}

/// The existing publisher, for a portal.
#[derive(Debug)]
pub struct Publisher {
    client: reqwest::Client,
    portal: Url,
    username: String,
    password: SecretString,
}

/// A file on its way.
struct Course {
    table: Table,
    base: String,
    day: Day,
    upload: Upload,
}

impl Publisher {
    /// The publisher for the portal at this address.
    #[must_use]
    pub fn new(
        client: reqwest::Client,
        portal: Url,
        username: String,
        password: SecretString,
    ) -> Self {
        Self {
            client,
            portal,
            username,
            password,
        }
    }

    /// Publishes one file and, if it is sent whole, enters it in the catalog with the time `at`.
    ///
    /// # Errors
    /// If the file yields no rows, the portal refuses or the catalog does.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing a publisher is given"
    )]
    pub async fn publish_file(
        &self,
        recipe: &dyn Recipe,
        table: Table,
        file: &GeneratedFile,
        companion: Option<&GeneratedFile>,
        how: &How,
        catalog: &CityCatalog,
        at: DateTime<Utc>,
    ) -> Result<Published, PublishError> {
        let course = course(recipe, table, file, companion, how)?;
        self.send(&course).await?;
        finish(&course, catalog, at)
    }

    /// Publishes the files of a source's day, in the publisher's order, as the city's publisher
    /// works.
    ///
    /// # Errors
    /// As [`Self::publish_file`]; files done before stay published.
    pub async fn publish_day(
        &self,
        city: &City,
        source: Source,
        day: Day,
        recipes: &Recipes<'_>,
        catalog: &CityCatalog,
        at: DateTime<Utc>,
    ) -> Result<Published, PublishError> {
        let mut published = Published::default();
        for course in courses(city, source, day, recipes) {
            let course = course?;
            self.send(&course).await?;
            published.add(finish(&course, catalog, at)?);
        }
        Ok(published)
    }

    async fn send(&self, course: &Course) -> Result<(), PublishError> {
        let dataset = course.table.spec().id;
        let address = self
            .portal
            .join(&format!("/resource/{dataset}.json"))
            .map_err(|source| PublishError::Address { dataset, source })?;
        for block in course.upload.rows.chunks(BLOCK) {
            let rows: Vec<&Map<String, Json>> = block.iter().map(|row| &row.fields).collect();
            let answer = self.post(address.clone(), &rows).await;
            let answer = answer.map_err(|source| PublishError::Send { dataset, source })?;
            match answer["Errors"].as_u64() {
                None | Some(0) => {}
                Some(errors) => return Err(PublishError::RowErrors { dataset, errors }),
            }
        }
        Ok(())
    }

    async fn post(&self, address: Url, rows: &[&Map<String, Json>]) -> reqwest::Result<Json> {
        let password = self.password.expose_secret();
        let request = self.client.post(address).json(rows);
        let request = request.basic_auth(&self.username, Some(password));
        request.send().await?.error_for_status()?.json().await
    }
}

impl Published {
    /// Counts another's.
    pub fn add(&mut self, other: Self) {
        let Self {
            files,
            rows,
            unpublishable,
        } = other;
        self.files += files;
        self.rows += rows;
        self.unpublishable += unpublishable;
    }
}

/// Publishes the files of a source's day straight into the tables, written at `at`: what
/// [`Publisher::publish_day`] does, without HTTP and with a time of one's choice.
///
/// # Errors
/// If a file yields no rows or the catalog refuses.
pub fn publish_directly(
    city: &City,
    source: Source,
    day: Day,
    recipes: &Recipes<'_>,
    (tables, catalog): (&dyn Tables, &CityCatalog),
    at: DateTime<Utc>,
) -> Result<Published, PublishError> {
    let mut published = Published::default();
    for course in courses(city, source, day, recipes) {
        let course = course?;
        for block in course.upload.rows.chunks(BLOCK) {
            let rows = block.iter().map(|row| row.fields.clone()).collect();
            tables.upsert(course.table.spec().id, rows, at);
        }
        published.add(finish(&course, catalog, at)?);
    }
    Ok(published)
}

/// The files of the day that are published, each with what is sent for it.
fn courses<'a>(
    city: &City,
    source: Source,
    day: Day,
    recipes: &'a Recipes<'_>,
) -> impl Iterator<Item = Result<Course, PublishError>> + 'a {
    let files = city.day_files(source, day);
    let how = How::ordinary(city.counter(day));
    let due: Vec<_> = files
        .iter()
        .filter_map(|file| Some((Table::of(source, &file.ext)?, file.clone())))
        .collect();
    due.into_iter().filter_map(move |(table, file)| {
        let recipe = recipes.get(&table)?;
        let companion = companion(&files, table, &file.base);
        Some(course(*recipe, table, &file, companion, &how))
    })
}

/// The file whose addresses are numbered before those of the table's file.
pub(super) fn companion<'a>(
    files: &'a [GeneratedFile],
    table: Table,
    base: &str,
) -> Option<&'a GeneratedFile> {
    let ext = table.companion_ext()?;
    files
        .iter()
        .find(|file| file.ext == ext && file.base == base)
}

fn course(
    recipe: &dyn Recipe,
    table: Table,
    file: &GeneratedFile,
    companion: Option<&GeneratedFile>,
    how: &How,
) -> Result<Course, PublishError> {
    let upload = upload(recipe, &table.spec(), file, companion, how);
    Ok(Course {
        table,
        base: file.base.clone(),
        day: day_of(&file.entry),
        upload: upload.map_err(|source| PublishError::Derive {
            path: file.path.clone(),
            source,
        })?,
    })
}

/// Enters the file as published, unless it was passed by or the publisher died in it.
fn finish(
    course: &Course,
    catalog: &CityCatalog,
    at: DateTime<Utc>,
) -> Result<Published, PublishError> {
    let Course {
        table,
        base,
        day,
        upload,
    } = course;
    let whole = !upload.passed_by && !upload.cut_short;
    if whole {
        catalog.insert(&[published_entry(*table, base, *day, at)])?;
    }
    Ok(Published {
        files: whole.into(),
        rows: upload.rows.len() as u64,
        unpublishable: upload.unpublishable,
    })
}
