//! The catalog: which files exist in which layer, and which are published. It is read and
//! corrected.
//!
//! The catalog is the lake's own table, which other programs write too (docs/data.md). So nothing
//! here creates or alters a table in PostgreSQL, an entry is removed only if it is unchanged since
//! it was read, and unknown columns and metadata are left as they are. In SQLite, for a single
//! small machine, the table is created if it does not exist.
//!
//! [`Catalog`] reads, in sessions that cannot change anything; only [`CatalogWriter`] changes the
//! catalog. Which entries are right is decided elsewhere.

mod line;
mod postgres;
mod shape;
mod sqlite;
mod table;

use chrono::{DateTime, Days, SubsecRound, Utc};
use chrono_tz::Tz;

use crate::database::{
    Access, Address, Database, DatabaseError, Kind, Param, Statement, earliest_and_latest,
};
use crate::model::{Coverage, Entry, EntryKey};
use crate::settings::CatalogSettings;

use line::Stored;
pub use line::UnreadLine;
pub use shape::CatalogShape;
use table::Table;

/// The catalog could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The setting `catalog.table` is not the name of a table.
    #[error(
        "catalog.table is {0:?}; expected table or schema.table, made of letters, digits and '_'"
    )]
    Table(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A required line cannot be read.
    #[error("{0}")]
    Unread(Box<UnreadLine>),
    /// An entry to be removed no longer exists or has changed since it was read. Nothing was
    /// changed.
    #[error(
        "cannot correct entry {} in the {place}: it changed since it was read",
        Named(entry)
    )]
    Changed {
        /// The entry.
        entry: Box<EntryKey>,
        /// The database.
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

/// At least the length of any local day.
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

/// The catalog's lines for a period of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogued {
    /// The entries, ordered by collection date, base and extension (as bytes).
    pub entries: Vec<Entry>,
    /// The lines that cannot be read and could be entries of that period.
    pub unread: Vec<UnreadLine>,
}

/// The catalog, read only.
#[derive(Debug)]
pub struct Catalog {
    database: Database,
    table: Table,
    zone: Tz,
}

impl Catalog {
    /// Connects for reading. An entry without an end covers its local day in `zone`.
    pub async fn open(settings: &CatalogSettings, zone: Tz) -> Result<Self, CatalogError> {
        let (database, table) = open(settings, Access::Read).await?;
        Ok(Self {
            database,
            table,
            zone,
        })
    }

    /// The lines of a repository and source that cover an instant of `window`, and the unreadable
    /// lines that might.
    pub async fn read(
        &self,
        repository: &str,
        source: &str,
        window: Coverage,
    ) -> Result<Catalogued, CatalogError> {
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
        let name = self.table.shown();
        let lines = self
            .database
            .query("read entries", &sql, params, |line| {
                Ok(line::read(line, &name, self.zone))
            })
            .await?;
        let mut found = Catalogued::default();
        for line in lines {
            match line {
                Ok(entry) => found.entries.push(entry),
                Err(line) => found.unread.push(*line),
            }
        }
        (found.entries).retain(|entry| entry.coverage(self.zone).overlaps(window));
        found.entries.sort_by(|a, b| order(a).cmp(&order(b)));
        found.unread.retain(|line| line.may_cover(window));
        found.unread.sort_by_key(ToString::to_string);
        Ok(found)
    }

    /// The entries of a repository and source that cover an instant of `window`.
    ///
    /// # Errors
    /// If the database fails, or if a line that could be one of them cannot be read.
    pub async fn entries(
        &self,
        repository: &str,
        source: &str,
        window: Coverage,
    ) -> Result<Vec<Entry>, CatalogError> {
        let Catalogued { entries, unread } = self.read(repository, source, window).await?;
        match unread.into_iter().next() {
            Some(line) => Err(CatalogError::Unread(Box::new(line))),
            None => Ok(entries),
        }
    }

    /// When the oldest entry of a repository and source begins, as far as it can be read; `None` if
    /// there is no entry.
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
            .query("read the oldest entry", &sql, params, |line| {
                line.get::<String>(0)
            });
        let oldest = oldest.await?;
        let dates = oldest.iter().filter_map(|text| earliest_and_latest(text));
        Ok(dates.map(|(earliest, _)| earliest).min())
    }

    /// Whether a connection pooler shares our sessions with other clients; `None` if there are no
    /// sessions.
    pub async fn shares_sessions(&self) -> Result<Option<bool>, CatalogError> {
        Ok(self.database.shares_sessions().await?)
    }

    /// The database's address, without secrets.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.database.place().name
    }

    /// Describes the table: whether it exists, its columns, its unique keys, and our privileges.
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
    /// Add the entry, or overwrite the one with the same key. If the entry has no metadata,
    /// existing metadata are kept.
    Put(Entry),
    /// Remove the entry if it is unchanged.
    Remove(Entry),
}

/// The only type that changes the catalog.
#[derive(Debug)]
pub struct CatalogWriter {
    database: Database,
    table: Table,
}

impl CatalogWriter {
    /// Connects for writing.
    pub async fn open(settings: &CatalogSettings) -> Result<Self, CatalogError> {
        let (database, table) = open(settings, Access::Write).await?;
        Ok(Self { database, table })
    }

    /// Makes all changes in one transaction, in order, and returns the number of changed lines.
    ///
    /// # Errors
    /// If one of the changes cannot be made, including [`CatalogError::Changed`]. Then none is
    /// made.
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

    async fn find_stored(&self, key: &EntryKey) -> Result<Option<Stored>, CatalogError> {
        let sql = match self.database.kind() {
            Kind::Postgres => postgres::select_stored(&self.table),
            Kind::Sqlite => sqlite::select_stored(&self.table),
        };
        let name = self.table.shown();
        let lines = self
            .database
            .query("read an entry", &sql, key_params(key), |line| {
                // The zone matters only for the end of an entry, which is not used here.
                Ok(line::read_stored(line, &name, Tz::UTC))
            })
            .await?;
        let key = micros_key(key);
        for line in lines {
            match line {
                Ok(stored) if stored.entry.key == key => return Ok(Some(stored)),
                Err(line) if line.has_key(&key) => return Err(CatalogError::Unread(line)),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    async fn put(&self, entry: &Entry) -> Result<Statement, CatalogError> {
        let mut params = entry_params(entry);
        if let Some(stored) = self.find_stored(&entry.key).await? {
            // In SQLite the same instant may be written in a different format.
            params[0] = stored.fields[0].clone();
        }
        Ok(Statement::new(table::upsert(&self.name()), params).expect(1))
    }

    async fn remove(&self, entry: &Entry) -> Result<Statement, CatalogError> {
        let stored = self.find_stored(&entry.key).await?;
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

/// The entry as databases store it, with times truncated to microseconds.
fn micros(entry: &Entry) -> Entry {
    let cut = |instant: DateTime<Utc>| instant.trunc_subsecs(6);
    Entry {
        key: micros_key(&entry.key),
        collection_end: entry.collection_end.map(cut),
        processing_date: entry.processing_date.map(cut),
        ..entry.clone()
    }
}
