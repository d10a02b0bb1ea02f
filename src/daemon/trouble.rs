//! A service that does not respond: how long everything waits for it, and when one attempt is made.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::database::DatabaseError;
use crate::reconcile::Service;
use crate::telemetry::Pause;

/// The first wait; each further failure doubles it.
const FIRST: Duration = Duration::from_secs(5);

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// The service that failed last, and how often in a row.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failing: Option<Pause>,
    failures: u32,
}

impl Trouble {
    /// Records a failure. Failures of passes that were in progress when the wait began do not
    /// extend it.
    pub(super) fn note(&mut self, reason: Service, why: &str, now: DateTime<Utc>) {
        if let Some(pause) = &self.failing
            && now < pause.until
        {
            return;
        }
        let wait = doubled(FIRST, self.failures).min(LONGEST);
        let since = self.failing.as_ref().map_or(now, |pause| pause.since);
        self.failures += 1;
        tracing::warn!(service = %reason, "waiting {wait:?} for the {reason}: {why}");
        self.failing = Some(Pause {
            reason,
            why: why.to_owned(),
            since,
            until: now + wait,
        });
    }

    /// Records that a service responded.
    pub(super) fn over(&mut self) {
        if let Some(pause) = self.failing.take() {
            tracing::info!(service = %pause.reason, "the {} answers again", pause.reason);
        }
        self.failures = 0;
    }

    /// Records that this particular service responded.
    pub(super) fn over_for(&mut self, service: Service) {
        if (self.failing.as_ref()).is_some_and(|pause| pause.reason == service) {
            self.over();
        }
    }

    /// Whether no service is failing.
    pub(super) fn is_none(&self) -> bool {
        self.failing.is_none()
    }

    /// Whether something may be started: everything, or the one attempt after a wait.
    pub(super) fn allows_one(&self, now: DateTime<Utc>) -> bool {
        (self.failing.as_ref()).is_none_or(|pause| pause.until <= now)
    }

    /// The wait in progress, if there is one.
    pub(super) fn pause(&self) -> Option<Pause> {
        self.failing.clone()
    }

    /// How much longer to wait.
    pub(super) fn wait(&self, now: DateTime<Utc>) -> Duration {
        let until = self.failing.as_ref().map(|pause| pause.until);
        until
            .and_then(|until| (until - now).to_std().ok())
            .unwrap_or_default()
    }
}

/// `first`, doubled `times` times, saturating.
pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times))
}

/// The database that is down, if the error says that one is. Such an error is worth waiting for,
/// unlike wrong settings, which only a person can repair.
pub(super) fn away(error: &anyhow::Error) -> Option<Service> {
    let is_unmounted = |cause: &(dyn std::error::Error + 'static)| {
        let ledger = cause.downcast_ref::<crate::ledger::LedgerError>();
        matches!(ledger, Some(crate::ledger::LedgerError::NoFolder { .. }))
    };
    if error.chain().any(is_unmounted) {
        return Some(Service::Ledger);
    }
    let of_database = error.chain().find_map(|cause| {
        let database = cause.downcast_ref::<DatabaseError>();
        database.or_else(
            || match cause.downcast_ref::<crate::ledger::LedgerError>() {
                Some(crate::ledger::LedgerError::Database(error)) => Some(error),
                _ => match cause.downcast_ref::<crate::catalog::CatalogError>() {
                    Some(crate::catalog::CatalogError::Database(error)) => Some(error),
                    _ => None,
                },
            },
        )
    })?;
    match of_database {
        DatabaseError::Connect { place, .. } | DatabaseError::Statement { place, .. } => {
            Some(if place.role == "ledger" {
                Service::Ledger
            } else {
                Service::Catalog
            })
        }
        DatabaseError::Settings { .. }
        | DatabaseError::Unmet { .. }
        | DatabaseError::Newer { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_until_one_attempt_succeeds() {
        let mut now: DateTime<Utc> = "2020-10-01T10:00:00Z".parse().unwrap();
        let mut trouble = Trouble::default();
        assert!(trouble.allows_one(now));
        let mut waits = Vec::new();
        for _ in 0..8 {
            trouble.note(Service::Portal, "refused", now);
            // A pass that was already in progress fails too.
            trouble.note(Service::Portal, "refused", now);
            assert!(!trouble.allows_one(now));
            let wait = trouble.wait(now);
            waits.push(wait.as_secs());
            now += wait;
            assert!(trouble.allows_one(now));
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        trouble.over();
        assert!(trouble.is_none());
        trouble.note(Service::Ledger, "away", now);
        assert_eq!(trouble.wait(now), FIRST);
    }
}
