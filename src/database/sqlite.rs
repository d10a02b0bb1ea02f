//! SQLite: one file and one connection, used from blocking threads.
//!
//! The journal is a write-ahead log, and every commit is on disk before it is acknowledged
//! (`synchronous = full`). If another process has locked the file, calls wait up to 5 seconds. A
//! connection for reading has `query_only` set, so that SQLite itself refuses changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params_from_iter};
use url::Url;

use super::{
    Access, Address, BoxError, DatabaseError, Line, Param, Place, Script, Statement,
    TransactionError,
};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const BUSY_PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Sqlite {
    connection: Arc<Mutex<Connection>>,
}

/// The path in a URL such as `sqlite:///var/lib/sodalake/ledger.db`.
pub(super) fn place(address: &Address<'_>) -> Result<(Place, PathBuf), DatabaseError> {
    let url = address.url;
    let path = url
        .host()
        .is_none()
        .then(|| Url::parse(&format!("file://{}", url.path())).ok())
        .flatten()
        .and_then(|file| file.to_file_path().ok())
        .filter(|path| path.file_name().is_some());
    let Some(path) = path else {
        return Err(DatabaseError::Settings {
            place: Place {
                role: address.role,
                name: "url".into(),
            },
            what: "the SQLite URL has no absolute path; expected sqlite:///path/to/file.db".into(),
        });
    };
    let name = path.display().to_string();
    Ok((
        Place {
            role: address.role,
            name,
        },
        path,
    ))
}

fn connect(path: &Path, access: Access) -> Result<Connection, rusqlite::Error> {
    let reading = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = match access {
        Access::Read => reading,
        Access::Write => reading | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match access {
        Access::Read => connection.pragma_update(None, "query_only", true)?,
        Access::Write => {
            write_ahead(&connection)?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)?;
        }
    }
    connection.query_row("select count(*) from sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

/// Turns the write-ahead log on. If several processes open a new file at once, SQLite reports it as
/// busy without waiting for the busy timeout, so that no two wait for each other. So this waits
/// instead.
fn write_ahead(connection: &Connection) -> Result<(), rusqlite::Error> {
    let started = Instant::now();
    loop {
        let result = connection.pragma_update(None, "journal_mode", "wal");
        let is_busy = (result.as_ref().err())
            .is_some_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
        if !is_busy || started.elapsed() >= BUSY_TIMEOUT {
            return result;
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn run(connection: &Connection, sql: &str, params: Vec<Param>) -> Result<u64, rusqlite::Error> {
    let params = params.into_iter().map(Value::from);
    let changed = connection
        .prepare_cached(&numbered(sql))?
        .execute(params_from_iter(params))?;
    Ok(changed as u64)
}

/// The value as it is; invalid text as bytes.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Blob(bytes.to_vec()),
        },
    }
}

fn read(connection: &Connection, sql: &str, params: Vec<Param>) -> Result<Vec<Line>, BoxError> {
    let params = params.into_iter().map(Value::from);
    let mut statement = connection.prepare_cached(&numbered(sql))?;
    let columns = statement.column_count();
    let lines = statement.query_map(params_from_iter(params), |row| {
        let values: Result<Vec<_>, _> = (0..columns)
            .map(|index| row.get_ref(index).map(value))
            .collect();
        values.map(Line::Sqlite)
    })?;
    Ok(lines.collect::<Result<_, _>>()?)
}

fn run_all(
    connection: &mut Connection,
    statements: Vec<Statement>,
) -> Result<Vec<u64>, TransactionError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changed = Vec::with_capacity(statements.len());
    for (index, mut statement) in statements.into_iter().enumerate() {
        let params = std::mem::take(&mut statement.params);
        let lines = run(&transaction, &statement.sql, params)?;
        if !statement.is_met(lines) {
            return Err(TransactionError::Unmet(index));
        }
        changed.push(lines);
    }
    transaction.commit()?;
    Ok(changed)
}

fn migrate_one(connection: &mut Connection, script: &ScriptText) -> Result<Option<i64>, BoxError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&script.create)?;
    let version = transaction.query_row(&script.version, [], |row| row.get(0))?;
    let next = usize::try_from(version)
        .ok()
        .and_then(|version| script.steps.get(version));
    let Some(next) = next else {
        return Ok(Some(version));
    };
    transaction.execute_batch(next)?;
    transaction.commit()?;
    Ok(None)
}

struct ScriptText {
    create: String,
    version: String,
    steps: Vec<String>,
}

impl Sqlite {
    pub(super) async fn open(
        place: &Place,
        path: PathBuf,
        access: Access,
    ) -> Result<Self, DatabaseError> {
        let failed = |source: BoxError| DatabaseError::Connect {
            place: place.clone(),
            source,
        };
        let opened = tokio::task::spawn_blocking(move || connect(&path, access)).await;
        let connection = opened
            .map_err(|error| failed(error.into()))?
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Runs `work` on a blocking thread. Dropping the future does not stop it.
    async fn with<T, E>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<tokio::task::JoinError> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection)
        })
        .await?
    }

    pub(super) async fn query(&self, sql: &str, params: Vec<Param>) -> Result<Vec<Line>, BoxError> {
        let sql = sql.to_owned();
        self.with(move |connection| read(connection, &sql, params))
            .await
    }

    pub(super) async fn transaction(
        &self,
        statements: Vec<Statement>,
    ) -> Result<Vec<u64>, TransactionError> {
        self.with(move |connection| run_all(connection, statements))
            .await
    }

    pub(super) async fn migrate(&self, script: &Script<'_>) -> Result<i64, BoxError> {
        let text = ScriptText {
            create: script.create(),
            version: script.version(),
            steps: (0..).map_while(|version| script.next(version)).collect(),
        };
        self.with(move |connection| {
            loop {
                if let Some(version) = migrate_one(connection, &text)? {
                    return Ok(version);
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(url: &str) -> Option<PathBuf> {
        let address = Address {
            role: "ledger",
            url: &url.parse().unwrap(),
            password: None,
            ca_file: None,
        };
        place(&address).ok().map(|(_, path)| path)
    }

    #[test]
    fn a_url_names_an_absolute_path() {
        assert_eq!(path_of("sqlite:///a/b%20c.db"), Some("/a/b c.db".into()));
        for url in [
            "sqlite://ledger.db",
            "sqlite:ledger.db",
            "sqlite:///",
            "sqlite://host/a.db",
        ] {
            assert_eq!(path_of(url), None, "{url}");
        }
    }
}
