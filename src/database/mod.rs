//! One database, PostgreSQL or SQLite: connecting, statements, transactions, migrations.
//!
//! The catalog and the ledger are tables in either. They write each statement once, in the SQL both
//! understand, with `$1`, `$2`, .. for parameters; what differs between the two kinds stays in the
//! two files here. This module knows nothing of what the tables mean.
//!
//! Every failure names the database (role, host and name, or path), never a password. A database
//! that is down is an error within seconds: see the limits in [`postgres`] and [`sqlite`].

pub mod postgres;
pub mod sqlite;
mod value;

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

pub use value::{FieldError, Line, Param};

/// Any error of a driver.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Which database, in words that hold no secret: `ledger db.example:5432/soda`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is to us: `catalog` or `ledger`.
    pub role: &'static str,
    /// Host and database name, or path.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.name.escape_debug())
    }
}

/// How to reach a database.
#[derive(Clone, Debug)]
pub struct Address<'a> {
    /// What it is to us: `catalog` or `ledger`.
    pub role: &'static str,
    /// `postgres://..` or `sqlite:///path`.
    pub url: &'a Url,
    /// Password, if not in the URL's place for it.
    pub password: Option<&'a SecretString>,
    /// PEM file with the certificate authorities to trust, in place of the system's.
    pub ca_file: Option<&'a PathBuf>,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The database itself refuses every change.
    Read,
    /// Changes too.
    Write,
}

/// What could not be done to a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The settings name no database we can or may use.
    #[error("open {place}: {what}")]
    Settings {
        /// Which database.
        place: Place,
        /// What is wrong, and what is allowed.
        what: String,
    },
    /// Nobody answers, or not us.
    #[error("connect to {place}")]
    Connect {
        /// Which database.
        place: Place,
        /// Why.
        source: BoxError,
    },
    /// A statement failed.
    #[error("{act} in {place}")]
    Statement {
        /// What was to be done.
        act: String,
        /// Which database.
        place: Place,
        /// Why.
        source: BoxError,
    },
    /// A statement of a transaction changed another number of lines than it must. The transaction
    /// is rolled back.
    #[error("{act} in {place}: a line is not as it was seen")]
    Unmet {
        /// What was to be done.
        act: String,
        /// Which database.
        place: Place,
        /// Which statement, from 0.
        index: usize,
    },
    /// The tables were made by a later version of the program.
    #[error(
        "open {place}: its tables have version {found}, this program knows {known}; use the newer program"
    )]
    Newer {
        /// Which database.
        place: Place,
        /// The version found.
        found: i64,
        /// The latest version known.
        known: i64,
    },
}

/// One statement of a transaction.
#[derive(Debug)]
pub struct Statement {
    sql: String,
    params: Vec<Param>,
    expect: Option<u64>,
}

impl Statement {
    /// A statement that may change any number of lines.
    #[must_use]
    pub fn new(sql: impl Into<String>, params: Vec<Param>) -> Self {
        Self {
            sql: sql.into(),
            params,
            expect: None,
        }
    }

    /// The statement, which must change exactly `lines` lines.
    #[must_use]
    pub fn expect(mut self, lines: u64) -> Self {
        self.expect = Some(lines);
        self
    }

    fn is_met(&self, changed: u64) -> bool {
        self.expect.is_none_or(|lines| lines == changed)
    }
}

/// Which of the two a database is, where SQL must differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

enum Engine {
    Postgres(postgres::Postgres),
    Sqlite(sqlite::Sqlite),
}

/// An open database.
pub struct Database {
    place: Place,
    engine: Engine,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.place)
    }
}

impl Database {
    /// Connects once, so that a database that is down or refuses us is known at once.
    pub async fn open(address: &Address<'_>, access: Access) -> Result<Self, DatabaseError> {
        match address.url.scheme() {
            "postgres" | "postgresql" => {
                let place = postgres::place(address);
                let engine = postgres::Postgres::open(&place, address, access).await?;
                Ok(Self {
                    place,
                    engine: Engine::Postgres(engine),
                })
            }
            "sqlite" => {
                let (place, path) = sqlite::place(address)?;
                let engine = sqlite::Sqlite::open(&place, path, access).await?;
                Ok(Self {
                    place,
                    engine: Engine::Sqlite(engine),
                })
            }
            other => Err(DatabaseError::Settings {
                place: Place {
                    role: address.role,
                    name: "url".into(),
                },
                what: format!("scheme {other:?} is unknown, want postgres or sqlite"),
            }),
        }
    }

    /// Which database this is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Which of the two it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.engine {
            Engine::Postgres(_) => Kind::Postgres,
            Engine::Sqlite(_) => Kind::Sqlite,
        }
    }

    fn failed(&self, act: &str, source: BoxError) -> DatabaseError {
        DatabaseError::Statement {
            act: act.into(),
            place: self.place.clone(),
            source,
        }
    }

    /// Runs one statement and reads the lines it yields, in their order. `act` is what is done, for
    /// the error.
    pub async fn query<T>(
        &self,
        act: &str,
        sql: &str,
        params: Vec<Param>,
        read: impl Fn(&Line) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, DatabaseError> {
        let lines = match &self.engine {
            Engine::Postgres(engine) => engine.query(sql, &params).await,
            Engine::Sqlite(engine) => engine.query(sql, params).await,
        };
        let lines = lines.map_err(|source| self.failed(act, source))?;
        let items: Result<Vec<T>, FieldError> = lines.iter().map(read).collect();
        items.map_err(|error| self.failed(act, error.into()))
    }

    /// Runs one statement, and tells how many lines it changed.
    pub async fn execute(
        &self,
        act: &str,
        sql: &str,
        params: Vec<Param>,
    ) -> Result<u64, DatabaseError> {
        self.transaction(act, vec![Statement::new(sql, params)])
            .await
            .map(|changed| changed.iter().sum())
    }

    /// Runs the statements in one transaction, and tells how many lines each changed.
    ///
    /// # Errors
    /// If one fails, or does not change the lines it must ([`DatabaseError::Unmet`]). Then nothing
    /// is changed.
    pub async fn transaction(
        &self,
        act: &str,
        statements: Vec<Statement>,
    ) -> Result<Vec<u64>, DatabaseError> {
        let done = match &self.engine {
            Engine::Postgres(engine) => engine.transaction(statements).await,
            Engine::Sqlite(engine) => engine.transaction(statements).await,
        };
        done.map_err(|broken| match broken {
            Broken::Unmet(index) => DatabaseError::Unmet {
                act: act.into(),
                place: self.place.clone(),
                index,
            },
            Broken::Failed(source) => self.failed(act, source),
        })
    }

    /// Brings the tables to the latest of `migrations`, each in a transaction, and notes the version
    /// in the table `version_table`. Two programs may do so at once.
    ///
    /// # Errors
    /// Also if the tables are of a later version than the last of `migrations`.
    pub async fn migrate(
        &self,
        version_table: &'static str,
        migrations: &[String],
    ) -> Result<(), DatabaseError> {
        let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
        let script = Script {
            version_table,
            migrations,
        };
        let found = match &self.engine {
            Engine::Postgres(engine) => engine.migrate(&script).await,
            Engine::Sqlite(engine) => engine.migrate(&script).await,
        };
        let found = found.map_err(|source| self.failed("bring tables up to date", source))?;
        if found > known {
            return Err(DatabaseError::Newer {
                place: self.place.clone(),
                found,
                known,
            });
        }
        Ok(())
    }
}

enum Broken {
    Unmet(usize),
    Failed(BoxError),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Migrations, and the statements around them that are the same in both kinds.
struct Script<'a> {
    version_table: &'static str,
    migrations: &'a [String],
}

impl Script<'_> {
    fn create(&self) -> String {
        format!(
            "create table if not exists {} (version bigint primary key)",
            self.version_table
        )
    }

    fn version(&self) -> String {
        format!(
            "select coalesce(max(version), 0) from {}",
            self.version_table
        )
    }

    /// The migration that leads from `version` to the next, and the note of it.
    fn next(&self, version: i64) -> Option<String> {
        let migration = self.migrations.get(usize::try_from(version).ok()?)?;
        Some(format!(
            "{migration}; insert into {} (version) values ({})",
            self.version_table,
            version + 1
        ))
    }
}
