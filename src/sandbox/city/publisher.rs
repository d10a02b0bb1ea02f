//! A stand-in for the existing publisher. It uploads the files in the same order, in blocks of
//! 10,000 rows as JSON lists with Basic authentication, and enters each file in the catalog. It
//! retries and verifies nothing. Sodalake is compared with it, so it shares no code with the client
//! that writes.

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

/// The recipes of the tables to publish. A table without a recipe is not published.
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

/// Totals of what was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files entered in the catalog as published.
    pub files: u64,
    /// Rows sent.
    pub rows: u64,
    /// Number of rows that a portal would refuse.
    pub unpublishable: u64,
}

/// Why publishing stopped early.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file yields no rows.
    #[error("cannot derive rows of {path}")]
    Derive {
        /// The file.
        path: LakePath,
        /// The cause.
        source: DeriveError,
    },
    /// The portal could not be reached, or its answer could not be read.
    #[error("cannot upload rows to {dataset}")]
    Send {
        /// The dataset's four-by-four.
        dataset: &'static str,
        /// The cause.
        source: reqwest::Error,
    },
    /// The address of a dataset could not be built.
    #[error("cannot build the address of {dataset}")]
    Address {
        /// The dataset's four-by-four.
        dataset: &'static str,
        /// The cause.
        source: url::ParseError,
    },
    /// The portal reported errors.
    #[error("cannot upload rows to {dataset}: the portal reports {errors} errors")]
    RowErrors {
        /// The dataset's four-by-four.
        dataset: &'static str,
        /// The number of errors.
        errors: u64,
    },
    /// The catalog could not be changed.
    #[error("cannot enter a published file in the catalog")]
    Catalog(#[from] CityCatalogError),
}

/// The stand-in publisher, for one portal.
#[derive(Debug)]
pub struct Publisher {
    client: reqwest::Client,
    portal: Url,
    username: String,
    password: SecretString,
}

/// A file that is being published.
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

    /// Publishes one file. If all of it is sent, enters it in the catalog with the time `at`.
    ///
    /// # Errors
    /// If the file yields no rows, or the portal or catalog refuses.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a separate input of the publisher"
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

    /// Publishes the files of a source's day, in the publisher's order, with the city's own
    /// numbering.
    ///
    /// # Errors
    /// As [`Self::publish_file`]. Files that were completed before the error stay published.
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
    /// Adds another's totals.
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

/// Publishes the files of a source's day directly into the tables, written at `at`. This does the
/// same as [`Publisher::publish_day`] without HTTP and at a chosen time.
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

/// The files of the day that are published, each with the rows to upload.
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

/// Enters the file as published, unless it was skipped or the publisher stopped in it.
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
