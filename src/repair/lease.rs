//! One writer of ours per dataset: the lease is taken before a repair and held again before every
//! effect of it, so that a program that was paused past its lease does nothing when it wakes.
//!
//! A killed program leaves its lease behind. Where it is certain that the holder is gone, the next
//! takes over at once; where not, as for a holder on another machine, when the lease has run out.
//! Either way the passes it left are ended here, in the ledger.
//!
//! Two cautions reach beyond the lease itself. A request begins only if it will also end within
//! the lease. And a purge whose answer nobody heard may still be carried out by the portal, also
//! where it was asked for again and that was answered: where it could take rows which we or a
//! successor had just written, in a rewrite, the day waits until no such request can be under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::ledger::{LeaseAnswer, LedgerError, PassKind, PassRecord};
use crate::model::DatasetDay;
use crate::reconcile::{Clock, World};
use crate::settings::Settings;
use crate::socrata::Permit;

use super::steps::PURGING;
use super::{RepairError, Stop, Writers, holder};

/// How long a lease lasts without being held again, at least.
const LASTS: Duration = Duration::from_mins(15);

/// How often a lease is held again during a step: so often that a ledger which cannot be reached for
/// some minutes does not cost it.
const RENEWED: Duration = Duration::from_secs(10);

/// The lease of one dataset, ours.
pub struct Lease<'a> {
    name: String,
    world: &'a World,
    holder: &'a str,
    stop: &'a Stop,
    fence: u64,
    term: Arc<Term>,
}

/// Since when a lease is held, by two clocks: one of them counts a sleep of the machine, and the
/// other cannot be set back.
struct Term {
    clock: Arc<dyn Clock>,
    lasts: Duration,
    held: Mutex<(DateTime<Utc>, Instant)>,
}

impl Term {
    fn begin(clock: &Arc<dyn Clock>, lasts: Duration) -> Self {
        Self {
            clock: Arc::clone(clock),
            lasts,
            held: Mutex::new((clock.now(), Instant::now())),
        }
    }

    /// Whether something that takes so long is over before the lease is.
    fn leaves(&self, time: Duration) -> bool {
        let (wall, instant) = *self.held.lock();
        let by_wall = (self.clock.now() - wall).to_std().unwrap_or_default();
        by_wall.max(instant.elapsed()) + time <= self.lasts
    }
}

/// Long enough that a request begun soon after the lease was held ends before it does.
fn lasts(settings: &Settings) -> Duration {
    LASTS.max(settings.socrata.request_timeout * 3)
}

impl<'a> Lease<'a> {
    /// Takes the dataset's lease to repair one of its days, and ends the passes that others left
    /// unfinished. The inner error tells who has it instead.
    ///
    /// # Errors
    /// If the ledger cannot be asked.
    pub async fn take(
        world: &'a World,
        writers: &'a Writers,
        target: &DatasetDay,
    ) -> Result<Result<Self, LeaseAnswer>, LedgerError> {
        let name = format!("repair/{}", target.dataset.name);
        let holder = writers.holder.as_str();
        let lasts = lasts(&world.settings);
        let ask = async || {
            let term = Term::begin(&world.clock, lasts);
            let now = term.held.lock().0;
            let answer = world.ledger.lease(&name, holder, now, lasts).await?;
            Ok::<_, LedgerError>((answer, term))
        };
        let (mut answer, mut term) = ask().await?;
        if let LeaseAnswer::HeldBy { holder: theirs, .. } = &answer
            && holder::is_gone(theirs)
        {
            tracing::warn!(lease = %name, holder = %theirs, "took over the lease of {theirs}, which is gone");
            world.ledger.release(&name, theirs).await?;
            (answer, term) = ask().await?;
        }
        let LeaseAnswer::Granted { fence, .. } = answer else {
            return Ok(Err(answer));
        };
        let lease = Self {
            name,
            world,
            holder,
            stop: &writers.stop,
            fence,
            term: Arc::new(term),
        };
        if let Some(doubt) = lease.purge_in_doubt(target).await? {
            lease.release().await;
            return Ok(Err(doubt));
        }
        lease.end_passes_left(target).await?;
        Ok(Ok(lease))
    }

    /// A rewrite of this day whose last purge was not answered each time it was asked for: the portal
    /// may still carry it out, and it names rows that a repair would publish again.
    async fn purge_in_doubt(
        &self,
        target: &DatasetDay,
    ) -> Result<Option<LeaseAnswer>, LedgerError> {
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
                return Ok(Some(LeaseAnswer::HeldBy {
                    holder: format!("pass {}, whose purge may still be under way,", pass.id),
                    until,
                }));
            }
        }
        Ok(None)
    }

    /// Under the lease nobody of ours is at work on them.
    async fn end_passes_left(&self, target: &DatasetDay) -> Result<(), LedgerError> {
        let ledger = &self.world.ledger;
        for left in ledger.unfinished(&target.dataset.name).await? {
            let now = self.world.clock.now();
            match ledger.end_pass(left.id, now, "interrupted", 0, 0, 0).await {
                // Its program woke up and ended it itself.
                Err(LedgerError::NoSuchPass { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Holds it again, before the next step.
    ///
    /// # Errors
    /// If another has it, or had it in between, or we were asked to end.
    pub async fn hold(&self) -> Result<(), RepairError> {
        if self.stop.is_asked() {
            return Err(RepairError::Stopped);
        }
        self.renew().await
    }

    /// Waits for a step that may last longer than the lease does, which is held again and again
    /// meanwhile. What is under way is waited for whatever becomes of the lease, and also if we are
    /// asked to end: [`Lease::hold`] tells so before the next step.
    pub async fn hold_through<T>(&self, step: impl Future<Output = T>) -> T {
        let mut step = std::pin::pin!(step);
        loop {
            if let Ok(done) = tokio::time::timeout(RENEWED, &mut step).await {
                return done;
            }
            if let Err(error) = self.renew().await {
                tracing::warn!(lease = %self.name, "failed to hold the lease while a step goes on: {error}");
            }
        }
    }

    async fn renew(&self) -> Result<(), RepairError> {
        let (now, instant) = (self.world.clock.now(), Instant::now());
        let lost = |holder| RepairError::LeaseLost {
            name: self.name.clone(),
            holder,
        };
        match self
            .world
            .ledger
            .lease(&self.name, self.holder, now, self.term.lasts)
            .await?
        {
            LeaseAnswer::Granted { fence, .. } if fence == self.fence => {
                *self.term.held.lock() = (now, instant);
                Ok(())
            }
            LeaseAnswer::Granted { .. } => {
                Err(lost("another program had it in between, and nobody".into()))
            }
            LeaseAnswer::HeldBy { holder, .. } => Err(lost(holder)),
        }
    }

    /// Says of each request to the portal whether it may begin: only while it will also be over
    /// before the lease is.
    pub(super) fn permit(&self) -> Permit {
        let term = Arc::clone(&self.term);
        let longest = self.world.settings.socrata.request_timeout;
        Arc::new(move || term.leaves(longest))
    }

    /// Gives it back. If that fails it runs out by itself.
    pub async fn release(self) {
        if let Err(error) = self.world.ledger.release(&self.name, self.holder).await {
            tracing::warn!(lease = %self.name, "failed to release the lease: {error}");
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
        let term = Term::begin(&shared, LASTS);
        let request = Duration::from_mins(5);
        assert!(term.leaves(request));
        *clock.0.lock() = start + TimeDelta::minutes(9);
        assert!(term.leaves(request));
        *clock.0.lock() = start + TimeDelta::minutes(11);
        assert!(!term.leaves(request));
        // A wall clock set back gives no time that the other clock does not.
        *clock.0.lock() = start - TimeDelta::days(1);
        assert!(term.leaves(request));
        term.held.lock().1 -= Duration::from_mins(11);
        assert!(!term.leaves(request));
    }
}
