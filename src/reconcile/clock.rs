//! The source of time, and how all processes that share a ledger agree on it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::ledger::LedgerError;

use super::World;

/// The source of time. Tests use their own.
pub trait Clock: Send + Sync {
    /// The instant now.
    fn now(&self) -> DateTime<Utc>;

    /// Sets the clock to the time of the shared clock. Only [`SharedClock`] does anything here.
    fn set(&self, _now: DateTime<Utc>) {}
}

/// A clock that follows another clock: it is set to it from time to time, and runs at the pace of
/// the machine's own clock in between.
///
/// Processes on several machines share a PostgreSQL ledger and judge each other's timestamps:
/// leases, claims, when a day is due, since when a difference exists. If each used its machine's
/// clock, a wrong clock could make the others wait or make them take over what is still held.
pub struct SharedClock {
    ours: Arc<dyn Clock>,
    /// How far the shared clock is ahead of ours.
    ahead: Mutex<TimeDelta>,
}

impl SharedClock {
    /// A clock that has not been set yet.
    pub fn new(ours: Arc<dyn Clock>) -> Self {
        Self {
            ours,
            ahead: Mutex::new(TimeDelta::zero()),
        }
    }
}

impl Clock for SharedClock {
    fn now(&self) -> DateTime<Utc> {
        self.ours.now() + *self.ahead.lock()
    }

    fn set(&self, now: DateTime<Utc>) {
        *self.ahead.lock() = now - self.ours.now();
    }
}

impl World {
    /// The time according to the ledger's server, if there is one. Needed for anything that must
    /// agree between machines. Sets [`World::clock`] to it.
    ///
    /// # Errors
    /// If the ledger does not respond.
    pub async fn time(&self) -> Result<DateTime<Utc>, LedgerError> {
        if let Some(now) = self.ledger.time().await? {
            self.clock.set(now);
        }
        Ok(self.clock.now())
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
    fn a_clock_that_was_set_continues_at_our_pace() {
        let start: DateTime<Utc> = "2020-10-17T12:00:00Z".parse().unwrap();
        let server_time = start - TimeDelta::days(1);
        let ours = Arc::new(Set(Mutex::new(start)));
        let clock = SharedClock::new(Arc::clone(&ours) as Arc<dyn Clock>);
        assert_eq!(clock.now(), start);
        clock.set(server_time);
        assert_eq!(clock.now(), server_time);
        *ours.0.lock() = start + TimeDelta::minutes(5);
        assert_eq!(clock.now(), server_time + TimeDelta::minutes(5));
    }
}
