//! One database, PostgreSQL or SQLite: connections, statements, transactions, migrations.
//!
//! The catalog and the ledger are tables in either kind. They write each statement once, in SQL
//! that both understand, with the parameters `$1`, `$2`, ..; the differences between the two kinds
//! are handled here. This module does not know what the tables mean.
//!
//! Every error names the database (role, host and name, or path), never a password. A database that
//! is down results in an error within seconds: see the limits in [`postgres`] and [`sqlite`].

mod instant;
pub mod postgres;
pub mod sqlite;
mod value;

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

pub use instant::earliest_and_latest;
pub use value::{FieldError, Line, Param};

/// Any error from a driver.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A database's name without secrets: `ledger db.example:5432/soda`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its role: `catalog` or `ledger`.
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
    /// Its role: `catalog` or `ledger`.
    pub role: &'static str,
    /// `postgres://..` or `sqlite:///path`.
    pub url: &'a Url,
    /// The password, if it is not in the URL.
    pub password: Option<&'a SecretString>,
    /// PEM file with the certificate authorities to trust, instead of the system's.
    pub ca_file: Option<&'a PathBuf>,
}

/// What a connection is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The database itself refuses every change.
    Read,
    /// Changes are allowed.
    Write,
}

/// A database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The settings name no database that can or may be used.
    #[error("cannot open {place}: {what}")]
    Settings {
        /// The database.
        place: Place,
        /// What is wrong, and what is allowed.
        what: String,
    },
    /// The server does not respond, or refuses the connection.
    #[error("cannot connect to {place}")]
    Connect {
        /// The database.
        place: Place,
        /// The cause.
        source: BoxError,
    },
    /// A statement failed.
    #[error("cannot {act} in {place}")]
    Statement {
        /// What the statement was meant to do.
        act: String,
        /// The database.
        place: Place,
        /// The cause.
        source: BoxError,
    },
    /// A statement of a transaction did not change the expected number of lines. The transaction is
    /// rolled back.
    #[error("cannot {act} in {place}: a line changed since it was read")]
    Unmet {
        /// What the transaction was meant to do.
        act: String,
        /// The database.
        place: Place,
        /// The index of the statement, from 0.
        index: usize,
    },
    /// The tables were created by a newer version of the program.
    #[error(
        "cannot open {place}: its tables have version {found}, and this program knows {known}; use a newer version of the program"
    )]
    Newer {
        /// The database.
        place: Place,
        /// The version found.
        found: i64,
        /// The latest version known to this program.
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

    /// Requires the statement to change exactly `lines` lines.
    #[must_use]
    pub fn expect(mut self, lines: u64) -> Self {
        self.expect = Some(lines);
        self
    }

    fn is_met(&self, changed: u64) -> bool {
        self.expect.is_none_or(|lines| lines == changed)
    }
}

/// The kind of a database, for SQL that must differ.
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
    /// Connects once, so that a database that is down or refuses the connection is noticed
    /// immediately.
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
                what: format!("scheme {other:?} is unknown; expected postgres or sqlite"),
            }),
        }
    }

    /// The database's name.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The database's kind.
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

    /// Runs one statement and returns the lines it yields, in order. `act` says what the statement
    /// does, for errors.
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

    /// Whether a connection pooler shares our sessions with other clients. `None` for SQLite.
    pub async fn shares_sessions(&self) -> Result<Option<bool>, DatabaseError> {
        match &self.engine {
            Engine::Postgres(engine) => {
                let shares = engine.shares_sessions().await;
                shares
                    .map(Some)
                    .map_err(|source| self.failed("compare sessions", source))
            }
            Engine::Sqlite(_) => Ok(None),
        }
    }

    /// Runs one statement, and returns the number of lines it changed.
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

    /// Runs the statements in one transaction, and returns the number of lines that each changed.
    ///
    /// # Errors
    /// If one fails, or does not change the expected number of lines ([`DatabaseError::Unmet`]).
    /// Then nothing is changed.
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
            TransactionError::Unmet(index) => DatabaseError::Unmet {
                act: act.into(),
                place: self.place.clone(),
                index,
            },
            TransactionError::Failed(source) => self.failed(act, source),
        })
    }

    /// Migrates the tables to the latest of `migrations`, each in a transaction, and records the
    /// version in the table `version_table`. Several processes may do so at the same time.
    ///
    /// # Errors
    /// If the database fails, or if the tables have a later version than the last of `migrations`.
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
        let found = found.map_err(|source| self.failed("upgrade the tables", source))?;
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

enum TransactionError {
    Unmet(usize),
    Failed(BoxError),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for TransactionError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Migrations, and the statements for them that are the same in both kinds of database.
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

    /// The migration from `version` to the next, with the statement that records it.
    fn next(&self, version: i64) -> Option<String> {
        let migration = self.migrations.get(usize::try_from(version).ok()?)?;
        Some(format!(
            "{migration}; insert into {} (version) values ({})",
            self.version_table,
            version + 1
        ))
    }
}
