//! PostgreSQL: a small pool of connections.
//!
//! Connecting takes at most 5 seconds, a statement at most 60. A connection that the server has
//! closed, for example at a restart, or that is silent for 5 seconds is replaced by a new one. A
//! commit is on the server's disk before it is acknowledged, even if the server's default differs.
//!
//! A pooler such as PgBouncer may give the session behind a connection to another client after each
//! transaction. So everything runs inside a transaction, which is explicitly read only or not (if
//! it is, the server refuses changes) and sets its limits with `SET LOCAL`: nothing is left on the
//! session, not even the application name. No statement is prepared under a name, and no startup
//! parameter is sent that PgBouncer refuses by default. A query takes two round trips: one begins
//! the transaction, the other carries the statement and the commit.

mod address;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use futures::future;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Access, Address, BoxError, DatabaseError, Line, Param, Place, Script, Statement,
    TransactionError,
};

pub(super) use address::place;
use address::{Wire, settings, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);
/// Limit for a whole transaction. Also applies if the server stops responding, when the statement
/// timeout cannot take effect.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECTIONS: usize = 8;
/// Held during migrations. An arbitrary number that other programs are unlikely to use.
const MIGRATION_LOCK: i64 = 0x50da_1a4e;

/// How often each of two connections is asked for its session. A pooler usually serves both from
/// the same one right away.
const SESSION_PROBES: usize = 4;

pub(super) struct Postgres {
    pool: Pool,
    /// The statements that begin a transaction and set its limits.
    begin: String,
}

/// The statements that begin a transaction. Their settings end with it. The time zone and date
/// style make the text of an instant the same on every server.
fn begin(access: Access) -> String {
    let limit = STATEMENT_TIMEOUT.as_millis();
    let limits = format!(
        "set local statement_timeout = {limit}; set local lock_timeout = {limit}; \
         set local idle_in_transaction_session_timeout = {limit}; \
         set local timezone = 'UTC'; set local datestyle = 'ISO'; \
         set local application_name = 'sodalake'"
    );
    match access {
        Access::Read => format!("start transaction read only; {limits}"),
        Access::Write => format!(
            "start transaction isolation level read committed, read write; {limits}; \
             select set_config('synchronous_commit', 'on', true) \
             where current_setting('synchronous_commit') = 'off'"
        ),
    }
}

fn pool(manager: Manager) -> Result<Pool, BoxError> {
    Ok(Pool::builder(manager)
        .max_size(CONNECTIONS)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(ANSWER_TIMEOUT),
            create: Some(CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        })
        .build()?)
}

/// The parameters as text, with the types that the server infers from the statement.
fn inferred(params: &[Param]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    params
        .iter()
        .map(|param| (param as &(dyn ToSql + Sync), Type::UNKNOWN))
        .collect()
}

async fn run_all(client: &Client, statements: &[Statement]) -> Result<Vec<u64>, TransactionError> {
    let mut changed = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let params = inferred(&statement.params);
        let lines = client.execute_typed(&statement.sql, &params).await?;
        if !statement.is_met(lines) {
            return Err(TransactionError::Unmet(index));
        }
        changed.push(lines);
    }
    client.batch_execute("commit").await?;
    Ok(changed)
}

/// Applies the next migration. Returns the version if there is none left.
async fn migrate_one(client: &Client, script: &Script<'_>) -> Result<Option<i64>, BoxError> {
    let lock = format!("select pg_advisory_xact_lock({MIGRATION_LOCK})");
    client.batch_execute(&lock).await?;
    let exists = "select to_regclass($1) is not null";
    let table = [Param::from(script.version_table)];
    let exists = client.query_typed_one(exists, &inferred(&table)).await?;
    if !exists.try_get(0)? {
        client.batch_execute(&script.create()).await?;
    }
    let version = client.query_typed_one(&script.version(), &[]).await?;
    let version = version.try_get(0)?;
    let Some(next) = script.next(version) else {
        return Ok(Some(version));
    };
    client.batch_execute(&next).await?;
    client.batch_execute("commit").await?;
    Ok(None)
}

async fn within_time_limit<T>(work: impl Future<Output = T>) -> Result<T, BoxError> {
    tokio::time::timeout(ANSWER_TIMEOUT, work)
        .await
        .map_err(|_| no_answer())
}

fn no_answer() -> BoxError {
    format!("no answer for {} seconds", ANSWER_TIMEOUT.as_secs()).into()
}

/// A connection inside a transaction. Unless the transaction is known to have ended, the connection
/// is closed, so that no other call uses it in the middle of a transaction.
struct OpenTransaction {
    client: Option<Object>,
}

impl OpenTransaction {
    /// Returns the connection to the pool: its transaction has ended.
    fn finish(mut self) {
        self.client = None;
    }

    /// Rolls the transaction back.
    async fn roll_back(self) {
        if let Ok(Ok(())) = within_time_limit(self.batch_execute("rollback")).await {
            self.finish();
        }
    }
}

impl Deref for OpenTransaction {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
            .as_ref()
            .expect("the connection is present until the end")
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

/// Whether the connection was closed before anything was done on it.
fn is_lost(error: &tokio_postgres::Error, client: &Client) -> bool {
    let fatal = |error: &tokio_postgres::error::DbError| {
        matches!(
            error.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        )
    };
    error.is_closed() || client.is_closed() || error.as_db_error().is_some_and(fatal)
}

/// Adds advice to an error if a pooler refused the connection.
fn with_advice(error: tokio_postgres::Error) -> BoxError {
    let message = error
        .as_db_error()
        .map(tokio_postgres::error::DbError::message);
    let advice = match message {
        Some(text) if text.contains("statement pooling") => {
            "this pooler does not allow transactions, which Sodalake needs: set pool_mode = \
             transaction or session for this database"
        }
        Some(text) if text.contains("unsupported startup parameter") => {
            "this pooler refuses a parameter of the URL: remove it from the URL, or add it to the \
             pooler's ignore_startup_parameters"
        }
        _ => return error.into(),
    };
    Box::new(PoolerRefusal {
        advice,
        source: error,
    })
}

/// A pooler refused something we need.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct PoolerRefusal {
    advice: &'static str,
    source: tokio_postgres::Error,
}

fn pool_error(error: PoolError) -> BoxError {
    match error {
        PoolError::Backend(error) => with_advice(error),
        other => other.into(),
    }
}

impl Postgres {
    pub(super) async fn open(
        place: &Place,
        address: &Address<'_>,
        access: Access,
    ) -> Result<Self, DatabaseError> {
        let (config, wire) = settings(address).map_err(|what| DatabaseError::Settings {
            place: place.clone(),
            what,
        })?;
        let failed = |source: BoxError| DatabaseError::Connect {
            place: place.clone(),
            source,
        };
        let manager_config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match wire {
            Wire::Plain => Manager::from_config(config, NoTls, manager_config),
            Wire::Tls => {
                let tls = MakeRustlsConnect::new(tls(address).map_err(failed)?);
                Manager::from_config(config, tls, manager_config)
            }
        };
        let opened = Self {
            pool: pool(manager).map_err(failed)?,
            begin: begin(access),
        };
        opened.begin().await.map_err(failed)?.roll_back().await;
        Ok(opened)
    }

    /// Begins a transaction. A pooled connection that turns out to be closed, or does not respond
    /// soon, is replaced by the next one: nothing was done on it yet.
    async fn begin(&self) -> Result<OpenTransaction, BoxError> {
        loop {
            let client = self.pool.get().await.map_err(pool_error)?;
            let is_used = Object::metrics(&client).recycled.is_some();
            let time_limit = if is_used {
                CONNECT_TIMEOUT
            } else {
                ANSWER_TIMEOUT
            };
            let open_transaction = OpenTransaction {
                client: Some(client),
            };
            let answer = open_transaction.batch_execute(&self.begin);
            match tokio::time::timeout(time_limit, answer).await {
                Ok(Ok(())) => return Ok(open_transaction),
                Ok(Err(error)) if is_used && is_lost(&error, &open_transaction) => {}
                Ok(Err(error)) => return Err(with_advice(error)),
                Err(_) if is_used => {}
                Err(_) => return Err(no_answer()),
            }
        }
    }

    pub(super) async fn query(&self, sql: &str, params: &[Param]) -> Result<Vec<Line>, BoxError> {
        let open_transaction = self.begin().await?;
        let params = inferred(params);
        // Sent in this order and answered together. If the statement fails, the commit rolls back.
        let statement_and_commit = future::join(
            open_transaction.query_typed(sql, &params),
            open_transaction.batch_execute("commit"),
        );
        let (rows, committed) = within_time_limit(statement_and_commit).await?;
        if committed.is_ok() {
            open_transaction.finish();
        }
        let rows = rows?;
        committed?;
        Ok(rows.into_iter().map(Line::Postgres).collect())
    }

    pub(super) async fn transaction(
        &self,
        statements: Vec<Statement>,
    ) -> Result<Vec<u64>, TransactionError> {
        let open_transaction = self.begin().await.map_err(TransactionError::Failed)?;
        let done = within_time_limit(run_all(&open_transaction, &statements)).await;
        let done = done.map_err(TransactionError::Failed)?;
        match &done {
            Ok(_) => open_transaction.finish(),
            Err(_) => open_transaction.roll_back().await,
        }
        done
    }

    pub(super) async fn migrate(&self, script: &Script<'_>) -> Result<i64, BoxError> {
        loop {
            let open_transaction = self.begin().await?;
            let version = within_time_limit(migrate_one(&open_transaction, script)).await??;
            match version {
                None => open_transaction.finish(),
                Some(version) => {
                    open_transaction.roll_back().await;
                    return Ok(version);
                }
            }
        }
    }

    /// Whether two connections are served by the same session. Then there is a pooler in between,
    /// which assigns a session to each transaction.
    pub(super) async fn shares_sessions(&self) -> Result<bool, BoxError> {
        let clients = [
            self.pool.get().await.map_err(pool_error)?,
            self.pool.get().await.map_err(pool_error)?,
        ];
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..SESSION_PROBES {
            for (client, seen) in clients.iter().zip(&mut seen) {
                let session = client.query_typed_one("select pg_backend_pid()", &[]);
                let session: i32 = within_time_limit(session).await??.try_get(0)?;
                seen.insert(session);
            }
        }
        let [one, other] = &seen;
        Ok(one.len() > 1 || other.len() > 1 || !one.is_disjoint(other))
    }
}
