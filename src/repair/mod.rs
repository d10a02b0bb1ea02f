//! The writers: carries a plan out, in the one safe order.
//!
//! Mending: archive, publish missing and altered rows, see them published, purge, see them gone,
//! correct the catalog. Readers never see a hole, and stopping anywhere does no harm: the next
//! pass looks at what is there and goes on.
//! Rewriting wipes the day first, by its nature; there the catalog's entries go before anything
//! else, so that if we die the existing publisher fills the day again.
//!
//! Nothing is chosen here. The only thing that may change between plan and deed is that less is
//! done: a row that is no longer what it was when it was judged drops out.

mod confirm;
mod holder;
mod lease;
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
use crate::model::RowKey;
use crate::plan::{Action, Plan, Strategy, WhyPurge};
use crate::reconcile::{Look, Service, World};
use crate::settings::Republish;
use crate::socrata::{ReadError, WriteError, Writer};

pub(crate) use holder::{is_gone as holder_is_gone, name as holder_name};
pub use lease::Lease;
pub use restore::{RestoreError, Restored, restore};
pub use retention::{RetireError, Retired, retire};
pub use stop::Stop;

/// Where a pass notes when the rows that it purges were written.
pub(crate) const WRITTEN: &str = "written";

/// Everything that can change the portal and the catalog.
pub struct Writers {
    /// The portal.
    pub portal: Writer,
    /// The archive.
    pub archive: ArchiveWriter,
    /// The catalog.
    pub catalog: CatalogWriter,
    /// Who we are, in leases.
    pub holder: String,
    /// Asks repairs under way to end.
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
    /// Rows purged, for whatever reason.
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

/// A repair that did not come to its end. What it did before is in the ledger, and the next pass
/// goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The archive could not be written: nothing was purged.
    #[error("archive rows before they are purged")]
    Archive(#[from] ArchiveError),
    /// The portal refused or failed a write.
    #[error("write to the portal")]
    Write(#[from] WriteError),
    /// The portal could not be read.
    #[error("read the portal between two steps")]
    Read(#[from] ReadError),
    /// The catalog could not be changed.
    #[error("correct the catalog")]
    Catalog(#[from] CatalogError),
    /// The ledger could not be written: nothing more was done.
    #[error("write the ledger")]
    Ledger(#[from] LedgerError),
    /// The portal took an upload and refused rows in it.
    #[error("publish {rows} rows: the portal refused them, {first} the first")]
    Refused {
        /// How many.
        rows: u64,
        /// The first of them.
        first: RowKey,
    },
    /// A write is not to be seen yet.
    #[error("see {what} on the portal within {within:?}: {left} rows are not confirmed yet")]
    Unconfirmed {
        /// What was written.
        what: &'static str,
        /// How long we waited.
        within: Duration,
        /// How many rows are left.
        left: u64,
    },
    /// Another program of ours took the lease.
    #[error("keep the lease of {name}: {holder} has it now")]
    LeaseLost {
        /// The lease.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Another program of ours took the dataset over while we were in the middle of an effect.
    #[error(
        "stay alone at work: another program of ours ended pass {pass} while it was doing something"
    )]
    Overtaken {
        /// The pass, ours.
        pass: Uuid,
    },
    /// Part of a rewrite's purge was asked for twice, since the first time went unanswered.
    #[error(
        "be sure that nothing is purged after it was published again: the portal left a request to \
         purge unanswered and took it when it came again, so the first may still be carried out; \
         the day is published again once it cannot be any more"
    )]
    PurgeInDoubt,
    /// The program was asked to end between two steps.
    #[error("go on: the program was asked to end")]
    Stopped,
    /// The existing publisher failed.
    #[error("run the publisher {program:?}: {what}")]
    Publisher {
        /// The program.
        program: String,
        /// What came of it.
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

/// Carries a plan out. `effects` tells what was done, also if it fails half way.
///
/// # Errors
/// At the first step that fails.
pub async fn carry_out(
    plan: Plan,
    world: &World,
    writers: &Writers,
    seen: &Look,
    lease: &Lease<'_>,
    effects: &mut Effects,
) -> Result<(), RepairError> {
    effects.pass = Uuid::now_v7();
    begin(&plan, world, &seen.findings, effects.pass).await?;
    let strategy = plan.strategy();
    let mut steps = steps::Steps::new(plan, world, writers, seen, lease, effects);
    steps.archive().await?;
    let publisher = match &world.settings.republish {
        Republish::Command(command) => Some(command),
        Republish::Native | Republish::Defer => None,
    };
    match strategy {
        Strategy::Mend => {
            if let Some(command) = publisher {
                steps.withdraw().await?;
                steps.run_publisher(command).await?;
            }
            steps.publish().await?;
            steps.purge().await?;
            steps.withdraw().await?;
            steps.enter().await
        }
        Strategy::Rewrite => {
            steps.withdraw().await?;
            steps.purge().await?;
            if let Some(command) = publisher {
                steps.run_publisher(command).await?;
            }
            steps.publish().await?;
            steps.enter().await
        }
    }
}

/// When the rows that a mending takes away were written. Who brings a fault back again and again is
/// known by these times.
fn written(plan: &Plan) -> Option<String> {
    let wrong = plan.actions().iter().filter_map(|action| match action {
        Action::Purge { row, .. } => Some(row),
        Action::Publish { .. } | Action::Enter { .. } | Action::Withdraw { .. } => None,
    });
    match plan.strategy() {
        Strategy::Mend => cause::written(wrong, plan.target().dataset.zone),
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
        Strategy::Mend => PassKind::Repair,
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
