//! One writer of ours per dataset: the lease is taken before a repair and held again before every
//! effect of it, so that a program that was paused past its lease does nothing when it wakes.

use std::time::Duration;

use crate::ledger::{LeaseAnswer, LedgerError};
use crate::model::DatasetName;
use crate::reconcile::World;

use super::{RepairError, Writers};

/// How long a lease lasts without being held again. Longer than any one request takes.
const LASTS: Duration = Duration::from_mins(15);

/// The lease of one dataset, ours.
pub struct Lease<'a> {
    name: String,
    world: &'a World,
    holder: &'a str,
    fence: u64,
}

impl<'a> Lease<'a> {
    /// Takes the lease of a dataset. The inner error tells who has it instead.
    ///
    /// # Errors
    /// If the ledger cannot be asked.
    pub async fn take(
        world: &'a World,
        writers: &'a Writers,
        dataset: &DatasetName,
    ) -> Result<Result<Self, LeaseAnswer>, LedgerError> {
        let name = format!("repair/{dataset}");
        let holder = writers.holder.as_str();
        let answer = world
            .ledger
            .lease(&name, holder, world.clock.now(), LASTS)
            .await?;
        Ok(match answer {
            LeaseAnswer::Granted { fence, .. } => Ok(Self {
                name,
                world,
                holder,
                fence,
            }),
            held @ LeaseAnswer::HeldBy { .. } => Err(held),
        })
    }

    /// Holds it again.
    ///
    /// # Errors
    /// If another has it, or had it in between.
    pub async fn hold(&self) -> Result<(), RepairError> {
        let now = self.world.clock.now();
        let lost = |holder| RepairError::LeaseLost {
            name: self.name.clone(),
            holder,
        };
        match self
            .world
            .ledger
            .lease(&self.name, self.holder, now, LASTS)
            .await?
        {
            LeaseAnswer::Granted { fence, .. } if fence == self.fence => Ok(()),
            LeaseAnswer::Granted { .. } => {
                Err(lost("another program had it in between, and nobody".into()))
            }
            LeaseAnswer::HeldBy { holder, .. } => Err(lost(holder)),
        }
    }

    /// Gives it back. If that fails it runs out by itself.
    pub async fn release(self) {
        if let Err(error) = self.world.ledger.release(&self.name, self.holder).await {
            tracing::warn!(lease = %self.name, "failed to release the lease: {error}");
        }
    }
}
