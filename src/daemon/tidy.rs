//! Once a day: what is too old to be of use leaves archive and ledger.
//!
//! Archives go first, since whether one may go is asked of its pass in the ledger; a pass stays on
//! record as long as its archive lies there. Only what can write may remove archives, so in observe
//! mode archives and passes stay as they are.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ledger::LedgerError;
use crate::reconcile::World;
use crate::repair::{self, RetireError, Retired, Writers};

use super::ended::Ended;
use super::{Daemon, chain};

/// How often that is done.
const EVERY: Duration = Duration::from_hours(24);

/// What was not tidied up, and is tried again the next day.
#[derive(Debug, thiserror::Error)]
pub(super) enum TidyError {
    #[error("remove old archives")]
    Archives(#[from] RetireError),
    #[error("clear the ledger of old lines")]
    Ledger(#[from] LedgerError),
}

/// What left.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    pub(super) archives: Retired,
    pub(super) lines: u64,
}

impl Daemon {
    /// Begins tidying up, if that is due.
    pub(super) fn tidy(&mut self, now: DateTime<Utc>) {
        let is_due =
            (self.tidied).is_none_or(|last| (now - last).to_std().is_ok_and(|past| past >= EVERY));
        if !is_due {
            return;
        }
        self.tidied = Some(now);
        let world = Arc::clone(&self.tools.world);
        let writers = self.tools.writers.clone();
        (self.work)
            .spawn(async move { Ended::Tidied(tidied(&world, writers.as_deref(), now).await) });
    }
}

async fn tidied(
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
                "removed {removed} old archives and {lines} lines of the ledger"
            );
        }
        Err(error) => tracing::warn!("failed to {}", chain(&error)),
    }
}
