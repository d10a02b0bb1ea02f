//! The writers: carries out a plan, in the one safe order.
//!
//! A repair archives, publishes missing and altered rows, confirms that they are published, purges,
//! confirms that the rows are gone, and corrects the catalog. Readers never see missing rows, and a
//! stop at any point does no harm: the next pass checks what is there and continues.
//! A rewrite wipes the day first. It removes the catalog entries before anything else, so that the
//! existing publisher fills the day again if the rewrite is cut short.
//!
//! Nothing is decided here. The only way in which the effects may differ from the plan is that less
//! is done: a row that has changed since the check is left alone.

mod confirm;
mod lease;
mod publisher;
mod restore;
mod retention;
mod steps;
mod stop;

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use crate::archive::{ArchiveError, ArchiveWriter};
use crate::catalog::{CatalogError, CatalogWriter};
use crate::compare::{Findings, cause};
use crate::ledger::{LedgerError, PassKind, PassRecord};
use crate::model::{DatasetName, Day, RowKey};
use crate::plan::{Action, Plan, Strategy, WhyPurge};
use crate::reconcile::{Checked, Service, World};
use crate::settings::Republish;
use crate::socrata::{ReadError, WriteError, Writer};

pub use lease::Lease;
pub use restore::{RestoreError, Restored, restore};
pub use retention::{RetireError, Retired, retire};
pub use stop::Stop;

/// Key under which a pass records when the rows it purges were written.
pub(crate) const WRITTEN: &str = "written";

/// Everything that can change the portal and the catalog.
pub struct Writers {
    /// The portal.
    pub portal: Writer,
    /// The archive.
    pub archive: ArchiveWriter,
    /// The catalog.
    pub catalog: CatalogWriter,
    /// Our name as the holder of leases.
    pub holder: String,
    /// Stops repairs under way.
    pub stop: Stop,
}

/// What a pass has changed so far.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The pass, in ledger and archive.
    pub pass: Uuid,
    /// Rows published.
    pub published: u64,
    /// Rows purged, by reason.
    pub purged: BTreeMap<WhyPurge, u64>,
    /// Rows archived before they were purged or written over.
    pub archived: u64,
    /// Catalog entries made or corrected.
    pub entered: u64,
    /// Catalog entries taken out.
    pub withdrawn: u64,
    /// Rows that changed since they were judged, and were left alone.
    pub dropped: u64,
}

impl Effects {
    /// Rows purged, for any reason.
    #[must_use]
    pub fn purged_rows(&self) -> u64 {
        self.purged.values().sum()
    }

    /// Catalog entries changed.
    #[must_use]
    pub fn catalog_changes(&self) -> u64 {
        self.entered + self.withdrawn
    }
}

/// A repair that was not completed. What it did is in the ledger, and the next pass continues from
/// there.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The archive could not be written: nothing was purged.
    #[error("cannot archive the rows to purge")]
    Archive(#[from] ArchiveError),
    /// The portal refused or failed a write.
    #[error("cannot write to the portal")]
    Write(#[from] WriteError),
    /// The portal could not be read.
    #[error("cannot read the portal during the repair")]
    Read(#[from] ReadError),
    /// The catalog could not be changed.
    #[error("cannot correct the catalog")]
    Catalog(#[from] CatalogError),
    /// The ledger could not be written: nothing more was done.
    #[error("cannot write to the ledger")]
    Ledger(#[from] LedgerError),
    /// The portal accepted an upload and refused rows in it.
    #[error("the portal refused {rows} rows; the first has key {first}")]
    Refused {
        /// How many.
        rows: u64,
        /// The first of them.
        first: RowKey,
    },
    /// A write is not visible yet.
    #[error("{left} rows are not confirmed yet: the portal did not show {what} within {within:?}")]
    Unconfirmed {
        /// What was written.
        what: &'static str,
        /// How long we waited.
        within: Duration,
        /// How many rows are left.
        left: u64,
    },
    /// Another Sodalake process took the lease.
    #[error("lost the lease of {name}: {holder} holds it")]
    LeaseLost {
        /// The lease.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Another Sodalake process took over the dataset during one of our effects.
    #[error(
        "another sodalake process ended pass {pass} during one of its requests; check the partition again"
    )]
    Overtaken {
        /// Our pass.
        pass: Uuid,
    },
    /// Part of a rewrite's purge was sent twice because the first request was not answered.
    #[error(
        "the portal did not answer a request to purge and accepted it when it was sent again, so the \
         first request may still be carried out and could purge rows published since; the day is \
         published again once that is no longer possible"
    )]
    PurgeInDoubt,
    /// The program was interrupted between two steps.
    #[error("interrupted: the program is shutting down")]
    Stopped,
    /// The existing publisher failed.
    #[error("the publisher {program:?} failed for {dataset}, {from} to {to}: {what}")]
    Publisher {
        /// The program.
        program: String,
        /// The dataset.
        dataset: DatasetName,
        /// The first day.
        from: Day,
        /// The day after the last.
        to: Day,
        /// Its exit status or the error.
        what: String,
    },
}

impl RepairError {
    /// The service that failed, if one did.
    #[must_use]
    pub fn service(&self) -> Option<Service> {
        match self {
            Self::Archive(_) => Some(Service::Archive),
            Self::Write(_) => Some(Service::Portal),
            Self::Read(error) => {
                matches!(error, ReadError::Request { .. }).then_some(Service::Portal)
            }
            Self::Catalog(error) => {
                matches!(error, CatalogError::Database(_)).then_some(Service::Catalog)
            }
            Self::Ledger(_) => Some(Service::Ledger),
            Self::Refused { .. }
            | Self::Unconfirmed { .. }
            | Self::LeaseLost { .. }
            | Self::Overtaken { .. }
            | Self::PurgeInDoubt
            | Self::Stopped
            | Self::Publisher { .. } => None,
        }
    }
}

/// Carries out a plan. `effects` counts what was done, even if a step fails.
///
/// # Errors
/// At the first step that fails.
pub async fn carry_out(
    plan: Plan,
    world: &World,
    writers: &Writers,
    seen: &Checked,
    lease: &Lease<'_>,
    effects: &mut Effects,
) -> Result<(), RepairError> {
    effects.pass = Uuid::now_v7();
    begin(&plan, world, &seen.findings, effects.pass).await?;
    let strategy = plan.strategy();
    let mut steps = steps::Steps::new(plan, world, writers, seen, lease, effects);
    steps.archive().await?;
    let publisher = match &world.settings.republish {
        Republish::Command(publisher) => Some(publisher),
        Republish::Native | Republish::Defer => None,
    };
    match strategy {
        Strategy::Repair => {
            if let Some(publisher) = publisher {
                steps.withdraw().await?;
                steps.run_publisher(publisher).await?;
            }
            steps.publish().await?;
            steps.purge().await?;
            steps.withdraw().await?;
            steps.enter().await
        }
        Strategy::Rewrite => {
            steps.withdraw().await?;
            steps.purge().await?;
            if let Some(publisher) = publisher {
                steps.run_publisher(publisher).await?;
            }
            steps.publish().await?;
            steps.enter().await
        }
    }
}

/// When the rows that a repair purges were written. The times help to identify a writer that keeps
/// bringing the differences back.
fn written(plan: &Plan) -> Option<String> {
    let wrong = plan.actions().iter().filter_map(|action| match action {
        Action::Purge { row, .. } => Some(row),
        Action::Publish { .. } | Action::Enter { .. } | Action::Withdraw { .. } => None,
    });
    match plan.strategy() {
        Strategy::Repair => cause::written(wrong, plan.target().dataset.zone),
        Strategy::Rewrite => None,
    }
}

async fn begin(
    plan: &Plan,
    world: &World,
    findings: &Findings,
    pass: Uuid,
) -> Result<(), RepairError> {
    let target = plan.target();
    let now = world.clock.now();
    let kind = match plan.strategy() {
        Strategy::Repair => PassKind::Repair,
        Strategy::Rewrite => PassKind::Rewrite,
    };
    let record = PassRecord {
        id: pass,
        dataset: target.dataset.name.clone(),
        day: target.day,
        kind,
        started_at: now,
        digest: plan.digest().to_owned(),
        summary: serde_json::json!({
            "steps": plan.size(),
            WRITTEN: written(plan),
            "found": findings.counts(),
            "cause": cause::of(findings),
            "published": findings.published,
        }),
        end: None,
    };
    world.ledger.begin_pass(&record).await?;
    Ok(())
}
