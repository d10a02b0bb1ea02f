//! Once a day, removes old archives and old ledger records.
//!
//! Archives go first, because whether one may be removed depends on its pass in the ledger; a pass
//! is kept as long as its archive exists. Only the writers may remove archives, so in observe mode
//! archives and passes are kept.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ledger::LedgerError;
use crate::reconcile::World;
use crate::repair::{self, RetireError, Retired, Writers};

use super::ended::Ended;
use super::{Daemon, chain};

/// How often this is done.
const EVERY: Duration = Duration::from_hours(24);

/// Why old data could not be removed. It is tried again the next day.
#[derive(Debug, thiserror::Error)]
pub(super) enum TidyError {
    #[error("cannot remove old archives")]
    Archives(#[from] RetireError),
    #[error("cannot remove old records from the ledger")]
    Ledger(#[from] LedgerError),
}

/// What was removed.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    pub(super) archives: Retired,
    pub(super) lines: u64,
}

impl Daemon {
    /// Starts the removal, if it is due.
    pub(super) fn tidy(&mut self, now: DateTime<Utc>) {
        let is_due = (self.tidied_at)
            .is_none_or(|last| (now - last).to_std().is_ok_and(|past| past >= EVERY));
        if !is_due {
            return;
        }
        self.tidied_at = Some(now);
        let world = Arc::clone(&self.tools.world);
        let writers = self.tools.writers.clone();
        (self.work)
            .spawn(async move { Ended::Tidied(tidy_up(&world, writers.as_deref(), now).await) });
    }
}

async fn tidy_up(
    world: &World,
    writers: Option<&Writers>,
    now: DateTime<Utc>,
) -> Result<Tidied, TidyError> {
    let keep = TimeDelta::days(i64::from(world.settings.archive.keep_days));
    let mut tidied = Tidied {
        lines: world.ledger.prune(now - keep).await?,
        ..Tidied::default()
    };
    if let Some(writers) = writers {
        tidied.archives = repair::retire(&world.ledger, &writers.archive, now, false).await?;
        tidied.lines += world.ledger.prune_passes(now, keep).await?;
    }
    Ok(tidied)
}

pub(super) fn log(tidied: Result<Tidied, TidyError>) {
    match tidied {
        Ok(Tidied { archives, lines }) => {
            let (removed, bytes) = (archives.removed.len(), archives.bytes);
            tracing::debug!(
                removed,
                bytes,
                lines,
                "removed {removed} old archives and {lines} old ledger records"
            );
        }
        Err(error) => tracing::warn!("{}", chain(&error)),
    }
}
