//! Leases as Sodalake processes use them: each kind of work that only one process may do at a time
//! has a lease with its own name. All leases are requested through this module, so that the same
//! rules apply to all: their times come from the clock shared by the processes on a ledger; a lease
//! is taken over immediately if its holder has certainly exited; and a process that has to wait
//! logs it once.
//!
//! A clock can be wrong and be corrected, and a lease taken before that may end in the far future.
//! So a lease is also taken over if its holder has not renewed it for its whole duration, as
//! measured by the waiting process. Neither rule shortens the lease of a running holder.
//!
//! What is done under a lease, and what losing it means, is up to the caller.

mod holder;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::ledger::{Held, LeaseAnswer, LedgerError};
use crate::model::DatasetName;
use crate::reconcile::World;

pub(crate) use holder::{has_exited as holder_has_exited, name as holder_name};

/// How often a lease is renewed during a step: often enough that it is not lost if the ledger
/// cannot be reached for some minutes.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// The lease under which a dataset is repaired.
pub(crate) fn of_dataset(dataset: &DatasetName) -> String {
    format!("repair/{dataset}")
}

/// Requests or renews a lease. It is taken over from a holder that has certainly exited, and from
/// one that did not renew it for its whole duration while this process waited.
///
/// # Errors
/// If the ledger cannot be read or written.
pub(crate) async fn take(
    world: &World,
    name: &str,
    holder: &str,
    lasts: Duration,
) -> Result<LeaseAnswer, LedgerError> {
    let answer = renew(world, name, holder, lasts).await?;
    let LeaseAnswer::HeldBy(held) = &answer else {
        world.waits.end(name);
        return Ok(answer);
    };
    let Held {
        holder: current_holder,
        until,
        ..
    } = held;
    let (is_new, unrenewed) = world
        .waits
        .note(name, current_holder, *until, Instant::now());
    let why = if holder::has_exited(current_holder) {
        "has exited"
    } else if unrenewed >= held.lasts.unwrap_or(lasts) {
        "no longer renews it"
    } else {
        if is_new {
            log(name, held);
        }
        return Ok(answer);
    };
    world.ledger.end_lease(name, held).await?;
    let answer = renew(world, name, holder, lasts).await?;
    if let LeaseAnswer::Granted { .. } = answer {
        world.waits.end(name);
        tracing::warn!(lease = %name, holder = %current_holder, "took over lease {name} from {current_holder}, which {why}");
    }
    Ok(answer)
}

fn log(name: &str, held: &Held) {
    let Held { holder, until, .. } = held;
    tracing::info!(lease = %name, %holder, %until, "must wait for lease {name}: {held}");
}

/// Renews our lease. A lease held by another process is not changed.
///
/// # Errors
/// If the ledger cannot be read or written.
pub(crate) async fn renew(
    world: &World,
    name: &str,
    holder: &str,
    lasts: Duration,
) -> Result<LeaseAnswer, LedgerError> {
    let now = world.time().await?;
    world.ledger.lease(name, holder, now, lasts).await
}

/// Runs a step that may take longer than the lease lasts, and renews the lease in the meantime. The
/// step runs to its end even if the lease is lost.
pub(crate) async fn hold_through<T, E, R>(
    name: &str,
    step: impl Future<Output = T>,
    renew: impl Fn() -> R,
) -> T
where
    E: fmt::Display,
    R: Future<Output = Result<(), E>>,
{
    let mut step = std::pin::pin!(step);
    loop {
        if let Ok(done) = tokio::time::timeout(RENEW_EVERY, &mut step).await {
            return done;
        }
        if let Err(error) = renew().await {
            tracing::warn!(lease = %name, "cannot renew lease {name}: {error}");
        }
    }
}

/// What this process waits for other processes to end or renew, so that each wait is logged once
/// and does not depend on a clock that may be set.
#[derive(Debug, Default)]
pub struct Waits {
    by_name: Mutex<BTreeMap<String, Wait>>,
}

#[derive(Debug)]
struct Wait {
    holder: String,
    until: DateTime<Utc>,
    /// Since when `until` has not changed.
    unrenewed: Instant,
}

impl Waits {
    /// Records a wait that ends only with [`Waits::end`], and logs it if it is new.
    pub(crate) fn begin(&self, name: &str, held: &Held) {
        let (is_new, _) = self.note(name, &held.holder, held.until, Instant::now());
        if is_new {
            log(name, held);
        }
    }

    /// Records until when `holder` has something. Returns whether the wait is new, and for how long
    /// it has not been renewed.
    pub(crate) fn note(
        &self,
        name: &str,
        holder: &str,
        until: DateTime<Utc>,
        now: Instant,
    ) -> (bool, Duration) {
        let mut by_name = self.by_name.lock();
        let before = by_name.get(name).filter(|wait| wait.holder == holder);
        let is_new = before.is_none();
        let unrenewed = before
            .filter(|wait| wait.until == until)
            .map_or(now, |wait| wait.unrenewed);
        let wait = Wait {
            holder: holder.into(),
            until,
            unrenewed,
        };
        by_name.insert(name.into(), wait);
        (is_new, now.duration_since(unrenewed))
    }

    /// Records that a wait is over.
    pub(crate) fn end(&self, name: &str) {
        self.by_name.lock().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_new_once_per_holder_and_counts_from_the_last_renewal() {
        let waits = Waits::default();
        let until: DateTime<Utc> = "2020-10-16T12:00:00Z".parse().unwrap();
        let later = until + chrono::TimeDelta::minutes(1);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let note = |name, holder, until, seconds| {
            let (is_new, unrenewed) = waits.note(name, holder, until, at(seconds));
            (is_new, unrenewed.as_secs())
        };
        assert_eq!(note("a", "one", until, 0), (true, 0));
        assert_eq!(note("a", "one", until, 10), (false, 10));
        assert_eq!(note("b", "one", until, 10), (true, 0));
        assert_eq!(note("a", "one", later, 20), (false, 0));
        assert_eq!(note("a", "one", later, 50), (false, 30));
        assert_eq!(note("a", "other", later, 60), (true, 0));
        waits.end("a");
        assert_eq!(note("a", "other", later, 70), (true, 0));
    }
}
