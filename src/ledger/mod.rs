//! Our own durable record: passes and their journal, the state of every day and schedule, the queue
//! of what is to be looked at, leases, marks, approvals, and what is usual for a dataset.
//!
//! It is ours alone, with tables of its own (`schema`) in PostgreSQL, for several replicas, or in
//! an SQLite file. Every statement is written once for both. Nothing here has a clock: all times
//! are handed in, and come back cut to the microsecond. What the records mean for what is done is
//! decided elsewhere; the ledger only never loses or invents one.

mod changes;
mod corrections;
mod days;
mod leases;
mod passes;
mod people;
mod prune;
mod queue;
mod schedules;
mod schema;
mod standing;
mod usual;

use crate::database::{Access, Address, Database, DatabaseError, Param};
use crate::model::DayRange;
use crate::settings::LedgerSettings;

pub use changes::{Change, Tell};
pub use corrections::Correction;
pub use days::DayRecord;
pub use leases::LeaseAnswer;
pub use passes::{JournalStep, PassEnd, PassKind, PassRecord, UnknownKind, VERIFIED};
pub use people::{Act, Approval, Mark, MarkKind};
pub use prune::GUARDS_COUNT;
pub use queue::{Finished, QueueSize, Queued, Reason, Want};
pub use schedules::{ScheduleRecord, Walk};
pub use standing::{HeldDays, Standing};
pub use usual::Usual;

/// What could not be found out from the ledger or noted in it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database failed, or its tables are of a newer program.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A step or an end was to be noted for a pass that was never begun, or has ended.
    #[error("note in the {place} for pass {pass}: no such pass is under way")]
    NoSuchPass {
        /// The pass.
        pass: uuid::Uuid,
        /// Which database.
        place: String,
    },
    /// The lease was let go and taken again and again while we asked.
    #[error("take lease {name:?} in the {place}: too many others ask at once")]
    Contended {
        /// The lease.
        name: String,
        /// Which database.
        place: String,
    },
}

/// Our own durable record, open.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
}

impl Ledger {
    /// Connects, creates the tables or brings them up to date. Several programs may do so at once.
    ///
    /// # Errors
    /// Also if the tables are of a newer program than this one: nothing is touched then.
    pub async fn open(settings: &LedgerSettings) -> Result<Self, LedgerError> {
        let address = Address {
            role: "ledger",
            url: &settings.url,
            password: settings.password.as_ref(),
            ca_file: settings.ca_file.as_ref(),
        };
        let database = Database::open(&address, Access::Write).await?;
        database
            .migrate(schema::VERSION_TABLE, &schema::migrations(database.kind()))
            .await?;
        Ok(Self { database })
    }

    /// Asks the database for a sign of life, for readiness and `doctor`.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.database
            .query("ask for a sign of life", "select 1", Vec::new(), |_| Ok(()))
            .await?;
        Ok(())
    }
}

/// The first day and the day after the last, for a condition `day >= $n and day < $m`.
fn bounds(range: Option<DayRange>) -> [Param; 2] {
    let year = |year| chrono::NaiveDate::from_ymd_opt(year, 1, 1).map(crate::model::Day::new);
    match range {
        Some(DayRange { from, to }) => [from.into(), to.into()],
        None => [year(1).into(), year(9999).into()],
    }
}
