//! One Sodalake writer per dataset. The lease is taken before a repair and renewed before each of
//! its effects, so that a process that was suspended past its lease changes nothing when it
//! resumes.
//!
//! A killed process leaves its lease behind, and the next process takes it over (see
//! [`crate::lease`]). The passes it left unfinished are ended in the ledger here.
//!
//! Two precautions go beyond the lease itself. A request starts only if it is sure to end within
//! the lease. And the portal may still carry out a purge whose response we never received, even if
//! the purge was sent again and that one was answered. In a rewrite such a purge could remove rows
//! that we or another process had just published, so the day waits until no such request can be
//! under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::lease;
use crate::ledger::{Held, LeaseAnswer, LedgerError, PassKind, PassRecord};
use crate::model::DatasetDay;
use crate::reconcile::{Clock, World};
use crate::settings::Settings;
use crate::socrata::Permit;

use super::steps::PURGING;
use super::{RepairError, Stop, Writers};

/// Minimum duration of a lease between renewals.
const LASTS: Duration = Duration::from_mins(15);

/// The lease of one dataset, held by us.
pub struct Lease<'a> {
    name: String,
    world: &'a World,
    holder: &'a str,
    stop: &'a Stop,
    fence: u64,
    term: Arc<Term>,
}

/// When a lease was last renewed, by two clocks: the wall clock counts the time the machine sleeps,
/// and the monotonic clock cannot be set back.
struct Term {
    clock: Arc<dyn Clock>,
    lasts: Duration,
    held: Mutex<(DateTime<Utc>, Instant)>,
}

impl Term {
    /// For a lease requested at `requested_at` and granted until `until`.
    fn new(
        clock: &Arc<dyn Clock>,
        lasts: Duration,
        requested_at: Instant,
        until: DateTime<Utc>,
    ) -> Self {
        Self {
            clock: Arc::clone(clock),
            lasts,
            held: Mutex::new((until - lasts, requested_at)),
        }
    }

    fn record_renewal(&self, requested_at: Instant, until: DateTime<Utc>) {
        *self.held.lock() = (until - self.lasts, requested_at);
    }

    /// Whether a step that takes this long ends before the lease does.
    fn has_time_for(&self, time: Duration) -> bool {
        let (wall, instant) = *self.held.lock();
        let by_wall = (self.clock.now() - wall).to_std().unwrap_or_default();
        by_wall.max(instant.elapsed()) + time <= self.lasts
    }
}

/// Long enough that a request started soon after a renewal ends before the lease does.
fn lasts(settings: &Settings) -> Duration {
    LASTS.max(settings.socrata.request_timeout * 3)
}

impl<'a> Lease<'a> {
    /// Takes the dataset's lease to repair one of its days, and ends the passes that other
    /// processes left unfinished. The inner error names the current holder.
    ///
    /// # Errors
    /// If the ledger cannot be read or written.
    pub async fn take(
        world: &'a World,
        writers: &'a Writers,
        target: &DatasetDay,
    ) -> Result<Result<Self, Held>, LedgerError> {
        let name = lease::of_dataset(&target.dataset.name);
        let holder = writers.holder.as_str();
        let lasts = lasts(&world.settings);
        let requested_at = Instant::now();
        let (fence, until) = match lease::take(world, &name, holder, lasts).await? {
            LeaseAnswer::Granted { fence, until } => (fence, until),
            LeaseAnswer::HeldBy(held) => return Ok(Err(held)),
        };
        let term = Term::new(&world.clock, lasts, requested_at, until);
        let lease = Self {
            name,
            world,
            holder,
            stop: &writers.stop,
            fence,
            term: Arc::new(term),
        };
        let place = format!("{} for {}", lease.name, target.day);
        if let Some(doubt) = lease.purge_in_doubt(target).await? {
            world.waits.begin(&place, &doubt);
            lease.release().await;
            return Ok(Err(doubt));
        }
        world.waits.end(&place);
        lease.end_passes_left(target).await?;
        Ok(Ok(lease))
    }

    /// The reason to wait, if this day had a rewrite whose last purge may still be under way: a
    /// request for it was not answered, and it names rows that a repair would publish again.
    async fn purge_in_doubt(&self, target: &DatasetDay) -> Result<Option<Held>, LedgerError> {
        let now = self.world.clock.now();
        let (dataset, since) = (&target.dataset.name, now - TimeDelta::days(1));
        let passes = self.world.ledger.passes(dataset, target.day, since).await?;
        let unfinished = self.world.ledger.unfinished(dataset).await?;
        let of_day = |pass: &PassRecord| pass.day == target.day && pass.kind == PassKind::Rewrite;
        for pass in passes.into_iter().chain(unfinished).filter(of_day) {
            let Some((_, journal)) = self.world.ledger.pass(pass.id).await? else {
                continue;
            };
            let last = journal.last().filter(|last| last.step == PURGING);
            let until = last.map(|last| last.at + self.term.lasts);
            if let Some(until) = until.filter(|until| now < *until) {
                return Ok(Some(Held {
                    holder: format!("pass {}, whose purge may still be under way,", pass.id),
                    since: Some(pass.started_at),
                    until,
                    lasts: Some(self.term.lasts),
                }));
            }
        }
        Ok(None)
    }

    /// While we hold the lease, no other Sodalake process works on these passes.
    async fn end_passes_left(&self, target: &DatasetDay) -> Result<(), LedgerError> {
        let ledger = &self.world.ledger;
        for left in ledger.unfinished(&target.dataset.name).await? {
            let now = self.world.clock.now();
            match ledger.end_pass(left.id, now, "interrupted", 0, 0, 0).await {
                // Its process resumed and ended the pass itself.
                Err(LedgerError::NoSuchPass { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Renews the lease before the next step.
    ///
    /// # Errors
    /// If another process holds or has held the lease, or if we are shutting down.
    pub async fn hold(&self) -> Result<(), RepairError> {
        if self.stop.is_requested() {
            return Err(RepairError::Stopped);
        }
        self.renew().await
    }

    /// Runs a step that may take longer than the lease lasts, renewing the lease meanwhile. The
    /// step always runs to its end, even if the lease is lost or we are shutting down;
    /// [`Lease::hold`] reports that before the next step.
    pub async fn hold_through<T>(&self, step: impl Future<Output = T>) -> T {
        lease::hold_through(&self.name, step, || self.renew()).await
    }

    async fn renew(&self) -> Result<(), RepairError> {
        let requested_at = Instant::now();
        let lost = |holder| RepairError::LeaseLost {
            name: self.name.clone(),
            holder,
        };
        match lease::renew(self.world, &self.name, self.holder, self.term.lasts).await? {
            LeaseAnswer::Granted { fence, until } if fence == self.fence => {
                self.term.record_renewal(requested_at, until);
                Ok(())
            }
            LeaseAnswer::Granted { .. } => Err(lost(
                "another process held it in between and has released it; nobody".into(),
            )),
            LeaseAnswer::HeldBy(held) => Err(lost(held.holder)),
        }
    }

    /// Decides for each request to the portal whether it may start: only if it is sure to end
    /// before the lease does.
    pub(super) fn permit(&self) -> Permit {
        let term = Arc::clone(&self.term);
        let longest = self.world.settings.socrata.request_timeout;
        Arc::new(move || term.has_time_for(longest))
    }

    /// Releases the lease. If that fails, it expires.
    pub async fn release(self) {
        if let Err(error) = self.world.ledger.release(&self.name, self.holder).await {
            tracing::warn!(lease = %self.name, "cannot release the lease: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Set(Mutex<DateTime<Utc>>);

    impl Clock for Set {
        fn now(&self) -> DateTime<Utc> {
            *self.0.lock()
        }
    }

    #[test]
    fn a_request_begins_only_if_it_ends_within_the_lease() {
        let start: DateTime<Utc> = "2020-10-16T12:00:00Z".parse().unwrap();
        let clock = Arc::new(Set(Mutex::new(start)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let term = Term::new(&shared, LASTS, Instant::now(), start + LASTS);
        let request = Duration::from_mins(5);
        assert!(term.has_time_for(request));
        *clock.0.lock() = start + TimeDelta::minutes(9);
        assert!(term.has_time_for(request));
        *clock.0.lock() = start + TimeDelta::minutes(11);
        assert!(!term.has_time_for(request));
        // Setting the wall clock back gains no time.
        *clock.0.lock() = start - TimeDelta::days(1);
        assert!(term.has_time_for(request));
        term.held.lock().1 -= Duration::from_mins(11);
        assert!(!term.has_time_for(request));
    }
}
