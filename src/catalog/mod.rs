//! The catalog: which files exist in which layer, and which are published. Read, and corrected.
//!
//! It is the lake's own table, which other programs write too (docs/data.md). So nothing here
//! creates or changes a table in PostgreSQL, an entry is removed only if it is still the one that
//! was seen, and columns and metadata we know nothing of stay as they are. In SQLite, for a single
//! small machine, the table is created if it is absent.
//!
//! [`Catalog`] reads, in sessions that cannot change anything; [`CatalogWriter`] is the only thing
//! that changes the catalog. Which entries are right is decided elsewhere.

mod postgres;
mod shape;
mod sqlite;
mod table;

use chrono::{DateTime, Days, SubsecRound, Utc};
use chrono_tz::Tz;

use crate::database::{
    Access, Address, Database, DatabaseError, FieldError, Kind, Line, Param, Statement,
};
use crate::model::{Coverage, Entry, EntryKey};
use crate::settings::CatalogSettings;

pub use shape::CatalogShape;
use table::Table;

/// What could not be found out from the catalog or done to it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The setting `catalog.table` names no table.
    #[error("read catalog.table {0:?}: want table or schema.table of letters, digits and '_'")]
    Table(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An entry to be removed is gone or not the one that was seen. Nothing at all was changed.
    #[error(
        "remove entry {} from the {place}: it is no longer as it was seen",
        Named(entry)
    )]
    Changed {
        /// The entry.
        entry: Box<EntryKey>,
        /// Which database.
        place: String,
    },
}

struct Named<'a>(&'a EntryKey);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let EntryKey {
            collection_date,
            repository,
            data_source,
            id_base,
            id_ext,
        } = self.0;
        write!(
            f,
            "{repository:?} {data_source:?} {id_base:?} {id_ext:?} of {}",
            collection_date.to_rfc3339()
        )
    }
}

/// The columns of an entry, in the order of [`read_entry`] and [`entry_params`].
const COLUMNS: &str = "collection_date, repository, data_source, id_base, id_ext, \
     pointer, collection_end, processing_date, metadata";

/// Longer than any local day.
const LONGEST_DAY: Days = Days::new(2);

async fn open(
    settings: &CatalogSettings,
    access: Access,
) -> Result<(Database, Table), CatalogError> {
    let address = Address {
        role: "catalog",
        url: &settings.url,
        password: settings.password.as_ref(),
        ca_file: settings.ca_file.as_ref(),
    };
    let table =
        Table::parse(&settings.table).ok_or_else(|| CatalogError::Table(settings.table.clone()))?;
    if settings.url.scheme() == "sqlite" {
        sqlite::create_if_absent(&address, &table).await?;
    }
    let database = Database::open(&address, access).await?;
    Ok((database, table))
}

fn read_entry(line: &Line) -> Result<Entry, FieldError> {
    Ok(Entry {
        key: EntryKey {
            collection_date: line.get(0)?,
            repository: line.get(1)?,
            data_source: line.get(2)?,
            id_base: line.get(3)?,
            id_ext: line.get(4)?,
        },
        pointer: line.maybe(5)?.unwrap_or_default(),
        collection_end: line.maybe(6)?,
        processing_date: line.maybe(7)?,
        metadata: line.maybe(8)?,
    })
}

fn entry_params(entry: &Entry) -> Vec<Param> {
    let Entry {
        key,
        pointer,
        collection_end,
        processing_date,
        metadata,
    } = entry;
    let mut params = key_params(key);
    params.extend([
        pointer.into(),
        (*collection_end).into(),
        (*processing_date).into(),
        metadata.as_ref().into(),
    ]);
    params
}

fn key_params(key: &EntryKey) -> Vec<Param> {
    let EntryKey {
        collection_date,
        repository,
        data_source,
        id_base,
        id_ext,
    } = key;
    vec![
        (*collection_date).into(),
        repository.into(),
        data_source.into(),
        id_base.into(),
        id_ext.into(),
    ]
}

/// The catalog, for reading only.
#[derive(Debug)]
pub struct Catalog {
    database: Database,
    table: Table,
    zone: Tz,
}

impl Catalog {
    /// Connects for reading. `zone` is that of the local days which entries without an end cover.
    pub async fn open(settings: &CatalogSettings, zone: Tz) -> Result<Self, CatalogError> {
        let (database, table) = open(settings, Access::Read).await?;
        Ok(Self {
            database,
            table,
            zone,
        })
    }

    /// The entries of a repository and source that cover an instant of `window`, ordered by
    /// collection date, base and ext (as bytes).
    pub async fn entries(
        &self,
        repository: &str,
        source: &str,
        window: Coverage,
    ) -> Result<Vec<Entry>, CatalogError> {
        let sql = match self.database.kind() {
            Kind::Postgres => postgres::entries(&self.table),
            Kind::Sqlite => sqlite::entries(&self.table),
        };
        let params = vec![
            repository.into(),
            source.into(),
            window.end.into(),
            (window.start - LONGEST_DAY).into(),
            window.start.into(),
        ];
        let mut entries = self
            .database
            .query("read entries", &sql, params, read_entry)
            .await?;
        entries.retain(|entry| entry.coverage(self.zone).overlaps(window));
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(entries)
    }

    /// When the oldest entry of a repository and source begins; `None` if there is none.
    pub async fn oldest(
        &self,
        repository: &str,
        source: &str,
    ) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let sql = match self.database.kind() {
            Kind::Postgres => postgres::oldest(&self.table),
            Kind::Sqlite => sqlite::oldest(&self.table),
        };
        let params = vec![repository.into(), source.into()];
        let oldest = self
            .database
            .query("find the oldest entry", &sql, params, |line| line.get(0));
        Ok(oldest.await?.into_iter().next())
    }

    /// What the table is like: whether it is there, its columns, its primary key, our rights.
    pub async fn inspect(&self) -> Result<CatalogShape, CatalogError> {
        match self.database.kind() {
            Kind::Postgres => postgres::inspect(&self.database, &self.table).await,
            Kind::Sqlite => sqlite::inspect(&self.database, &self.table).await,
        }
        .map_err(Into::into)
    }
}

fn order(entry: &Entry) -> (DateTime<Utc>, &str, &str) {
    let key = &entry.key;
    (key.collection_date, &key.id_base, &key.id_ext)
}

/// One correction of the catalog.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogChange {
    /// Add the entry, or bring the one with its key to it. Without metadata, those found stay.
    Put(Entry),
    /// Remove the entry if it is still this very one.
    Remove(Entry),
}

/// The only thing that changes the catalog.
#[derive(Debug)]
pub struct CatalogWriter {
    database: Database,
    table: Table,
}

/// An entry as the table holds it now.
struct Stored {
    entry: Entry,
    /// The fields as they are written, in the order of [`COLUMNS`], the metadata as text.
    fields: Vec<Param>,
}

impl CatalogWriter {
    /// Connects for writing.
    pub async fn open(settings: &CatalogSettings) -> Result<Self, CatalogError> {
        let (database, table) = open(settings, Access::Write).await?;
        Ok(Self { database, table })
    }

    /// Makes all the changes in one transaction, in their order, and tells how many lines changed.
    ///
    /// # Errors
    /// If one of them cannot be made, [`CatalogError::Changed`] included: then none is.
    pub async fn apply(&self, changes: &[CatalogChange]) -> Result<u64, CatalogError> {
        let mut statements = Vec::with_capacity(changes.len());
        for change in changes {
            statements.push(match change {
                CatalogChange::Put(entry) => self.put(entry).await?,
                CatalogChange::Remove(entry) => self.remove(entry).await?,
            });
        }
        match self
            .database
            .transaction("correct entries", statements)
            .await
        {
            Ok(lines) => Ok(lines.iter().sum()),
            Err(DatabaseError::Unmet { index, .. }) => {
                let (CatalogChange::Put(entry) | CatalogChange::Remove(entry)) = &changes[index];
                Err(self.changed(entry))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn name(&self) -> String {
        match self.database.kind() {
            Kind::Postgres => self.table.quoted(),
            Kind::Sqlite => self.table.quoted_name(),
        }
    }

    fn changed(&self, entry: &Entry) -> CatalogError {
        CatalogError::Changed {
            entry: Box::new(entry.key.clone()),
            place: self.database.place().to_string(),
        }
    }

    async fn stored(&self, key: &EntryKey) -> Result<Option<Stored>, CatalogError> {
        let act = "read an entry";
        let (table, params) = (&self.table, key_params(key));
        let found = match self.database.kind() {
            Kind::Postgres => {
                self.database
                    .query(act, &postgres::stored(table), params, postgres::read_stored)
                    .await?
            }
            Kind::Sqlite => {
                self.database
                    .query(act, &sqlite::stored(table), params, sqlite::read_stored)
                    .await?
            }
        };
        let same = |stored: &Stored| stored.entry.key == micros_key(key);
        Ok(found.into_iter().find(same))
    }

    async fn put(&self, entry: &Entry) -> Result<Statement, CatalogError> {
        let mut params = entry_params(entry);
        if let Some(stored) = self.stored(&entry.key).await? {
            // In SQLite the same instant may be written in another way.
            params[0] = stored.fields[0].clone();
        }
        Ok(Statement::new(table::upsert(&self.name()), params).expect(1))
    }

    async fn remove(&self, entry: &Entry) -> Result<Statement, CatalogError> {
        let stored = self.stored(&entry.key).await?;
        let Some(stored) = stored.filter(|stored| stored.entry == micros(entry)) else {
            return Err(self.changed(entry));
        };
        Ok(Statement::new(table::delete(&self.name()), stored.fields).expect(1))
    }
}

fn micros_key(key: &EntryKey) -> EntryKey {
    EntryKey {
        collection_date: key.collection_date.trunc_subsecs(6),
        ..key.clone()
    }
}

/// The entry as a database keeps it: times to the microsecond.
fn micros(entry: &Entry) -> Entry {
    let cut = |instant: DateTime<Utc>| instant.trunc_subsecs(6);
    Entry {
        key: micros_key(&entry.key),
        collection_end: entry.collection_end.map(cut),
        processing_date: entry.processing_date.map(cut),
        ..entry.clone()
    }
}
