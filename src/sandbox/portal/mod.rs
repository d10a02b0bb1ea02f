//! A stand-in for a Socrata portal: real HTTP, a subset of `SoQL`, replicas that lag, and faults on
//! demand.
//!
//! It keeps tables in memory and answers like a real portal, as far as that is known: reads go to a
//! random replica, each write is one transaction per body, numbers are returned as text, nulls are
//! left out, and without a `$limit` results are silently cut at 1000 rows. The demo, `sodalake
//! sandbox` and every test use it. It shares no code with the client under test.
//!
//! `cell`, `decimal` and `rowid` are values; `store` and `replicas` are tables; `write` applies
//! writes; `soql` runs queries. A request passes `http` and `transport` (the network), `admission`
//! (access and limits) and `routes` (paths and methods) to `read`, `publish` or `metadata`, and
//! returns as a `reply`. `faults` decides what goes wrong, and a `witness` can observe every
//! request.

mod admission;
mod cell;
mod decimal;
mod faults;
mod http;
mod metadata;
mod publish;
mod read;
mod replicas;
mod reply;
mod routes;
mod rowid;
mod soql;
mod store;
mod transport;
mod witness;
mod write;
#[cfg(test)]
mod write_tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use admission::User;
pub use cell::ColumnType;
pub use faults::{CutAt, Fault, Faults, Hint, Operation, Rule};
pub use replicas::{ReplicaOptions, Replicas};
pub use reply::WriteEffects;
pub use witness::{Arrival, Witness};

use faults::Armed;
use store::{Column, Schema, Table};

/// The portal's clock; tests can set it.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The setup of a portal.
#[derive(Clone)]
pub struct PortalOptions {
    /// Seed of all random decisions: choice of replicas, shuffles, faults.
    pub seed: u64,
    /// The replicas.
    pub replicas: Replicas,
    /// The users who may log in.
    pub users: Vec<User>,
    /// The valid app tokens. Others are refused with 403.
    pub app_tokens: Vec<String>,
    /// Requests allowed per address or app token; `None` means no limit.
    pub throttle: Option<Throttle>,
    /// Maximum concurrent requests per dataset before a 429. The real server's limit is 15.
    pub max_concurrent: Option<usize>,
    /// Maximum length of a request's body, in bytes, before a 413.
    pub max_body_bytes: usize,
    /// Maximum length of path and query, in bytes, before a 414.
    pub max_uri_bytes: usize,
    /// Behave as API version 2.0: send its marker header, and answer 400 above `$limit=50000`.
    pub legacy: bool,
    /// The form of the answer to a POST.
    pub summary: SummaryForm,
    /// The clock.
    pub now: Now,
}

impl Default for PortalOptions {
    fn default() -> PortalOptions {
        PortalOptions {
            seed: 1,
            replicas: Replicas::default(),
            users: vec![
                User::new("writer", "writer-password", true),
                User::new("reader", "reader-password", false),
            ],
            app_tokens: vec!["sandbox-app-token".to_owned()],
            throttle: None,
            max_concurrent: None,
            max_body_bytes: 70_000_000,
            max_uri_bytes: 16_384,
            legacy: false,
            summary: SummaryForm::default(),
            now: Arc::new(Utc::now),
        }
    }
}

/// At most so many requests in a fixed window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// Requests in a window.
    pub requests: u32,
    /// Length of the window, in seconds.
    pub seconds: u32,
    /// Whether the 429 carries `Retry-After`.
    pub sends_retry_after: bool,
}

/// The known forms of the answer to a POST.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SummaryForm {
    /// `Errors`, `Rows Created`, `Rows Updated`, `Rows Deleted`, pretty-printed.
    #[default]
    Four,
    /// The same, and also `By RowIdentifier` and `By SID`.
    Six,
    /// `rows_created`, …, and a list of `errors`.
    SnakeCase,
    /// A report for each row.
    PerRow,
}

/// A table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Four letters, `-`, four letters.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Field names and types, in order.
    pub columns: Vec<(String, ColumnType)>,
    /// The field that is the row identifier, if any.
    pub row_identifier: Option<String>,
    /// Whether `*` includes a computed region column.
    pub computed_region: bool,
    /// Whether reading needs a login.
    pub private: bool,
}

impl TableSpec {
    /// A public table.
    #[must_use]
    pub fn new(
        id: &str,
        columns: &[(&str, ColumnType)],
        row_identifier: Option<&str>,
    ) -> TableSpec {
        TableSpec {
            id: id.to_owned(),
            name: id.to_owned(),
            columns: columns
                .iter()
                .map(|(field, kind)| ((*field).to_owned(), *kind))
                .collect(),
            row_identifier: row_identifier.map(str::to_owned),
            computed_region: false,
            private: false,
        }
    }
}

/// Why a table refuses a direct change from inside the process.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// There is no such table.
    #[error("there is no table {0}")]
    NoTable(String),
    /// A row does not fit the table. Nothing was changed.
    #[error("a row does not fit table {table}")]
    Row {
        /// The table.
        table: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A request that was answered, as recorded in the request log.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// `GET`, …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query string, percent-decoded.
    pub query: String,
    /// The status that was sent, or would have been sent on a connection broken on purpose.
    pub status: u16,
    /// Size of the request's body as received.
    pub request_bytes: usize,
    /// Size of the reply's body before it was cut or compressed.
    pub reply_bytes: usize,
    /// What a write changed; `None` if nothing was applied.
    pub effects: Option<WriteEffects>,
    /// The replica that answered a read.
    pub replica: Option<usize>,
    /// Whether the reply declared itself out of date.
    pub is_marked_stale: bool,
    /// The fault that was applied to it.
    pub fault: Option<Fault>,
    /// The user that was logged in.
    pub user: Option<String>,
}

/// A portal; clones are the same portal.
#[derive(Clone)]
pub struct Portal {
    inner: Arc<Inner>,
}

struct Inner {
    options: PortalOptions,
    tables: RwLock<BTreeMap<String, Arc<RwLock<Table>>>>,
    replicas: RwLock<Replicas>,
    armed: Mutex<Armed>,
    rng: Mutex<StdRng>,
    requests: Mutex<Vec<RequestRecord>>,
    witness: RwLock<Option<Arc<dyn Witness>>>,
    windows: Mutex<BTreeMap<String, (i64, u32)>>,
    running: Mutex<BTreeMap<String, usize>>,
}

impl fmt::Debug for Portal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<String> = self.inner.tables.read().keys().cloned().collect();
        to.debug_struct("Portal")
            .field("tables", &tables)
            .finish_non_exhaustive()
    }
}

impl Portal {
    /// An empty portal.
    #[must_use]
    pub fn new(mut options: PortalOptions) -> Portal {
        if options.replicas.each.is_empty() {
            options.replicas.each.push(ReplicaOptions::default());
        }
        let inner = Inner {
            tables: RwLock::default(),
            replicas: RwLock::new(options.replicas.clone()),
            armed: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(options.seed)),
            requests: Mutex::default(),
            witness: RwLock::default(),
            windows: Mutex::default(),
            running: Mutex::default(),
            options,
        };
        Portal {
            inner: Arc::new(inner),
        }
    }

    /// Creates a table, replacing any with the same id. A row identifier that is not a column is
    /// ignored.
    pub fn create(&self, table: TableSpec) {
        let key = table
            .row_identifier
            .and_then(|key| table.columns.iter().position(|(field, _)| *field == key));
        let columns = table
            .columns
            .into_iter()
            .map(|(field, kind)| Column { field, kind });
        let schema = Schema {
            ids: rowid::RowIds::new(&table.id),
            id: table.id.clone(),
            name: table.name,
            columns: columns.collect(),
            key,
            computed_region: table.computed_region,
            private: table.private,
            created_at: self.now_ms(),
        };
        let made = Table::new(schema, &self.inner.replicas.read());
        self.inner
            .tables
            .write()
            .insert(table.id, Arc::new(RwLock::new(made)));
    }

    /// Serves the portal until the returned handle is stopped or dropped.
    pub async fn serve(&self, listen: SocketAddr) -> io::Result<Serving> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(());
        let service = http::service(self.clone());
        let task = tokio::spawn(async move {
            let served = axum::serve(transport::CuttableListener(listener), service);
            tokio::select! {
                _ = served => {}
                _ = stopped.changed() => {}
            }
        });
        Ok(Serving {
            addr,
            url: format!("http://{addr}"),
            stop,
            task,
        })
    }

    /// The true rows of a table in the JSON form of reads, including system fields, in the order
    /// they were created; empty if there is no such table.
    #[must_use]
    pub fn rows(&self, id: &str) -> Vec<Map<String, Value>> {
        let Some(table) = self.table(id) else {
            return Vec::new();
        };
        let table = table.read();
        table
            .truth
            .rows
            .values()
            .map(|row| read::published(&table.schema, row))
            .collect()
    }

    /// The true number of rows of a table; 0 if there is no such table.
    #[must_use]
    pub fn row_count(&self, id: &str) -> usize {
        self.table(id)
            .map_or(0, |table| table.read().truth.rows.len())
    }

    /// Writes rows as a POST would, but without HTTP, and replicas that are not stuck show them at
    /// once. `at` becomes `:created_at` and `:updated_at`. If one row does not fit the table, all
    /// are refused.
    pub fn upsert_directly(
        &self,
        id: &str,
        rows: Vec<Map<String, Value>>,
        at: DateTime<Utc>,
    ) -> Result<WriteEffects, DirectError> {
        let table = self
            .table(id)
            .ok_or_else(|| DirectError::NoTable(id.to_owned()))?;
        let mut table = table.write();
        let schema = Arc::clone(&table.schema);
        let operations = rows
            .into_iter()
            .map(|row| write::read_map(&schema, &row))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| DirectError::Row {
                table: id.to_owned(),
                source: source.into(),
            })?;
        let (reports, changes) = write::carry_out(&mut table, operations, at.timestamp_millis());
        table.commit(self.now_ms(), true, changes);
        Ok(publish::effects(&reports))
    }

    /// Removes rows by key (or by `:id` if there is no key), without HTTP or lag. Returns how many
    /// existed.
    pub fn delete_directly(&self, id: &str, keys: &[&str]) -> Result<usize, DirectError> {
        let table = self
            .table(id)
            .ok_or_else(|| DirectError::NoTable(id.to_owned()))?;
        let mut table = table.write();
        let schema = Arc::clone(&table.schema);
        let operations = keys
            .iter()
            .map(|key| write::Operation::Delete {
                target: write::named_row(&schema, key),
            })
            .collect();
        let (reports, changes) = write::carry_out(&mut table, operations, 0);
        table.commit(self.now_ms(), true, changes);
        Ok(publish::effects(&reports).deleted)
    }

    /// Replaces the faults in force. Their counters start again.
    pub fn set_faults(&self, faults: Faults) {
        if let Some(replicas) = faults.replicas.clone() {
            self.set_replicas(replicas);
        }
        *self.inner.armed.lock() = Armed::new(faults);
    }

    /// Makes a table private, or public again.
    pub fn set_private(&self, id: &str, private: bool) {
        if let Some(table) = self.table(id) {
            let mut table = table.write();
            let schema = Schema {
                private,
                ..Schema::clone(&table.schema)
            };
            table.schema = Arc::new(schema);
        }
    }

    /// Begins all chance again, as if the portal had been set up with this seed.
    pub fn reseed(&self, seed: u64) {
        *self.inner.rng.lock() = StdRng::seed_from_u64(seed);
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.inner.armed.lock().faults.clone()
    }

    /// Changes how replicas behave. A replica that begins to lag still shows the current state. One
    /// that no longer lags catches up at once.
    pub fn set_replicas(&self, mut replicas: Replicas) {
        if replicas.each.is_empty() {
            replicas.each.push(ReplicaOptions::default());
        }
        for table in self.inner.tables.read().values() {
            table.write().set_replicas(&replicas);
        }
        *self.inner.replicas.write() = replicas;
    }

    /// Reports every request from now on to `witness`, instead of any earlier one.
    pub fn set_witness(&self, witness: Option<Arc<dyn Witness>>) {
        *self.inner.witness.write() = witness;
    }

    fn witness(&self) -> Option<Arc<dyn Witness>> {
        self.inner.witness.read().clone()
    }

    /// The requests answered so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.inner.requests.lock().clone()
    }

    /// Clears the log of answered requests.
    pub fn clear_requests(&self) {
        self.inner.requests.lock().clear();
    }

    fn table(&self, id: &str) -> Option<Arc<RwLock<Table>>> {
        self.inner.tables.read().get(id).cloned()
    }

    fn now(&self) -> DateTime<Utc> {
        (self.inner.options.now)()
    }

    fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }
}

/// A portal that is being served. It stops when dropped.
#[derive(Debug)]
pub struct Serving {
    /// The address it listens on.
    pub addr: SocketAddr,
    /// The address as a URL without a path.
    pub url: String,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Stops listening, and waits until that is done.
    pub async fn stop(mut self) {
        self.stop.send_replace(());
        // A task that was cancelled or panicked is no longer serving either.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
