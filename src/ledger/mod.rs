//! The program's own durable record: passes and their journal, the state of every day and schedule,
//! the queue of days to check, leases, marks, approvals, and usual numbers of a dataset.
//!
//! Only Sodalake uses it. It has its own tables (`schema`) in PostgreSQL, for several replicas, or
//! in an SQLite file. Every statement is written once for both. The ledger has no clock: all times
//! are passed in, and are returned truncated to microseconds. What the records mean is decided
//! elsewhere; the ledger only ensures that none is lost or invented.

mod carry;
mod changes;
mod corrections;
mod days;
mod leases;
mod passes;
mod pauses;
mod people;
mod prune;
mod queue;
mod schedules;
mod schema;
mod totals;
mod usual;

use std::path::PathBuf;

use url::Url;

use crate::database::{Access, Address, Database, DatabaseError, Param};
use crate::model::DayRange;
use crate::model::text::shell_word;
use crate::settings::LedgerSettings;

pub use carry::{Compared, OpenAltered, carry_over};
pub use changes::{Change, Tell, Untold};
pub use corrections::Correction;
pub use days::DayRecord;
pub use leases::{Held, LeaseAnswer};
pub use passes::{JournalStep, PassEnd, PassKind, PassRecord, UnknownKind, VERIFIED};
pub use pauses::Pause;
pub use people::{Act, Approval, Mark, MarkKind};
pub use prune::REPAIRS_COUNTED;
pub use queue::{Finished, QueueSize, Queued, Reason, ToCheck};
pub use schedules::{ScheduleRecord, Walk};
pub use totals::{HeldDays, Promise, StateTotal, UNKNOWN};
pub use usual::Usual;

/// The ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database failed, or its tables belong to a newer version.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The folder of an SQLite ledger does not exist. It is not created, because a disk may not be
    /// mounted.
    #[error(
        "cannot open the ledger {}: its folder does not exist; mount it if it is a disk, or create \
         it: mkdir -p {}",
        .file.display(), shell_word(&.folder.display().to_string())
    )]
    NoFolder {
        /// The database's file.
        file: PathBuf,
        /// The folder it should be in.
        folder: PathBuf,
    },
    /// A step or the end of a pass could not be recorded, because the pass never began or has
    /// already ended.
    #[error(
        "cannot record a step of pass {pass} in the {place}: the pass has ended or never began"
    )]
    NoSuchPass {
        /// The pass.
        pass: uuid::Uuid,
        /// The database.
        place: String,
    },
    /// The lease kept changing hands while it was requested.
    #[error(
        "cannot take lease {name:?} in the {place}: too many other processes are requesting it"
    )]
    Contended {
        /// The lease.
        name: String,
        /// The database.
        place: String,
    },
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
}

impl Ledger {
    /// Connects, and creates or migrates the tables. Several processes may do so at the same time.
    ///
    /// # Errors
    /// If the database fails, or if its tables belong to a newer version; then nothing is changed.
    pub async fn open(settings: &LedgerSettings) -> Result<Self, LedgerError> {
        let address = Address {
            role: "ledger",
            url: &settings.url,
            password: settings.password.as_ref(),
            ca_file: settings.ca_file.as_ref(),
        };
        folder_exists(settings)?;
        let database = Database::open(&address, Access::Write).await?;
        database
            .migrate(schema::VERSION_TABLE, &schema::migrations(database.kind()))
            .await?;
        Ok(Self { database })
    }

    /// The database's address, without secrets.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.database.place().name
    }

    /// Checks the connection, for readiness and `doctor`.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.database
            .query("check the connection", "select 1", Vec::new(), |_| Ok(()))
            .await?;
        Ok(())
    }

    /// Whether a connection pooler shares our sessions with other clients; `None` if there are no
    /// sessions.
    pub async fn shares_sessions(&self) -> Result<Option<bool>, LedgerError> {
        Ok(self.database.shares_sessions().await?)
    }
}

/// A new ledger is created as a new file, in a folder that must exist.
fn folder_exists(settings: &LedgerSettings) -> Result<(), LedgerError> {
    if settings.url.scheme() != "sqlite" {
        return Ok(());
    }
    // An invalid path is refused when the database is opened.
    let file = Url::parse(&format!("file://{}", settings.url.path()));
    let file = file.ok().and_then(|file| file.to_file_path().ok());
    match file
        .as_deref()
        .and_then(|file| Some((file, file.parent()?)))
    {
        Some((file, folder)) if !folder.is_dir() => Err(LedgerError::NoFolder {
            file: file.to_owned(),
            folder: folder.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The first day and the day after the last, for the condition `day >= $n and day < $m`.
fn bounds(range: Option<DayRange>) -> [Param; 2] {
    let year = |year| chrono::NaiveDate::from_ymd_opt(year, 1, 1).map(crate::model::Day::new);
    match range {
        Some(DayRange { from, to }) => [from.into(), to.into()],
        None => [year(1).into(), year(9999).into()],
    }
}
