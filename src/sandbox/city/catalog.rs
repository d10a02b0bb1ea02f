//! The city's catalog in an `SQLite` file: the table of the real catalog (docs/data.md), created
//! and filled as the lake's own programs do it. Times are RFC 3339 text in UTC. The module
//! `catalog` reads and corrects catalogs; this module only provides one.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, Row, params};

use super::{PUBLISHED, Table, ZONE, entry_key};
use crate::model::{Day, Entry, EntryKey};

const SCHEMA: &str = "
create table if not exists data_lake_catalog (
    id integer primary key,
    repository text not null,
    data_source text not null,
    id_base text not null,
    id_ext text not null,
    pointer text not null,
    collection_date text not null,
    collection_end text,
    processing_date text,
    metadata text,
    unique (collection_date, repository, data_source, id_base, id_ext)
)";

/// The catalog could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the city's catalog")]
pub struct CityCatalogError {
    act: &'static str,
    source: rusqlite::Error,
}

fn failed(act: &'static str) -> impl Fn(rusqlite::Error) -> CityCatalogError {
    move |source| CityCatalogError { act, source }
}

/// A catalog in an `SQLite` file.
#[derive(Debug)]
pub struct CityCatalog(Mutex<Connection>);

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: EntryKey {
            collection_date: row.get("collection_date")?,
            repository: row.get("repository")?,
            data_source: row.get("data_source")?,
            id_base: row.get("id_base")?,
            id_ext: row.get("id_ext")?,
        },
        pointer: row.get("pointer")?,
        collection_end: row.get("collection_end")?,
        processing_date: row.get("processing_date")?,
        metadata: row.get("metadata")?,
    })
}

impl CityCatalog {
    /// Opens the catalog in this file. Creates the file and the table if they do not exist.
    ///
    /// # Errors
    /// If the file cannot be opened or is not a database.
    pub fn open(path: &Path) -> Result<Self, CityCatalogError> {
        let connection = Connection::open(path).map_err(failed("open"))?;
        connection
            .execute_batch(SCHEMA)
            .map_err(failed("create the table of"))?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts the entries. An entry with an existing key replaces the old one.
    ///
    /// # Errors
    /// If the database refuses. Then none is inserted.
    pub fn insert(&self, entries: &[Entry]) -> Result<(), CityCatalogError> {
        let mut connection = self.connection();
        let change = connection.transaction().map_err(failed("write"))?;
        for entry in entries {
            put(&change, entry).map_err(failed("write"))?;
        }
        change.commit().map_err(failed("write"))
    }

    /// Removes the entry. Returns whether it existed.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn remove(&self, key: &EntryKey) -> Result<bool, CityCatalogError> {
        let EntryKey {
            collection_date,
            repository,
            data_source,
            id_base,
            id_ext,
        } = key;
        let sql = "delete from data_lake_catalog where collection_date = ? and repository = ? \
                   and data_source = ? and id_base = ? and id_ext = ?";
        let values = params![
            text(*collection_date),
            repository,
            data_source,
            id_base,
            id_ext
        ];
        let removed = self.connection().execute(sql, values);
        removed.map(|rows| rows > 0).map_err(failed("write"))
    }

    /// All entries, by key.
    ///
    /// # Errors
    /// If the database refuses or contains an invalid entry.
    pub fn entries(&self) -> Result<Vec<Entry>, CityCatalogError> {
        let connection = self.connection();
        let sql = "select * from data_lake_catalog \
                   order by collection_date, repository, data_source, id_base, id_ext";
        let mut statement = connection.prepare(sql).map_err(failed("read"))?;
        let entries = statement.query_map([], entry).map_err(failed("read"))?;
        entries.collect::<Result<_, _>>().map_err(failed("read"))
    }
}

fn put(connection: &Connection, entry: &Entry) -> rusqlite::Result<usize> {
    let Entry {
        key,
        pointer,
        collection_end,
        processing_date,
        metadata,
    } = entry;
    connection.execute(
        "insert or replace into data_lake_catalog values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            key.repository,
            key.data_source,
            key.id_base,
            key.id_ext,
            pointer,
            text(key.collection_date),
            collection_end.map(text),
            processing_date.map(text),
            metadata,
        ],
    )
}

/// The entry that says this file of this day was published, at `at`.
pub(super) fn published_entry(table: Table, base: &str, day: Day, at: DateTime<Utc>) -> Entry {
    Entry {
        key: entry_key(PUBLISHED, table.source(), base, table.ext(), day),
        pointer: table.spec().id.into(),
        collection_end: None,
        processing_date: Some(at),
        metadata: None,
    }
}

/// The local day of an entry.
pub(super) fn day_of(entry: &Entry) -> Day {
    entry.day(ZONE)
}
