//! Waits until the portal shows a write. Reads again and again, with growing pauses, until the
//! deadline set by `socrata.confirm_within`.
//!
//! The deadline also ends a read under way. The reader has its own, longer time limit, which is
//! meant for a portal that answers slowly and not for one whose data does not settle.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::socrata::ReadError;

use super::RepairError;

/// Pause after the first read that does not show the write; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause between two reads.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How long to wait for a write.
pub(super) struct Confirming {
    begun: Instant,
    within: Duration,
    pause: Duration,
}

impl Confirming {
    pub(super) fn new(within: Duration) -> Self {
        Self {
            begun: Instant::now(),
            within,
            pause: FIRST_PAUSE,
        }
    }

    /// What was read, or `None` if a later read may succeed: the portal had not settled, or did not
    /// answer before the deadline.
    pub(super) async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<Option<T>, RepairError> {
        match tokio::time::timeout_at(self.begun + self.within, read).await {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(error)) if is_stale(&error) => Ok(None),
            Ok(Err(error)) => Err(error.into()),
            Err(_deadline) => Ok(None),
        }
    }

    /// Waits before the next read.
    ///
    /// # Errors
    /// [`RepairError::Unconfirmed`] past the deadline.
    pub(super) async fn wait(&mut self, what: &'static str, left: u64) -> Result<(), RepairError> {
        let spent = self.begun.elapsed();
        if spent >= self.within {
            return Err(RepairError::Unconfirmed {
                what,
                within: self.within,
                left,
            });
        }
        tokio::time::sleep(self.pause.min(self.within.saturating_sub(spent))).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Whether the portal had not settled yet.
fn is_stale(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::OutOfDate { .. }
            | ReadError::FreshnessUnknown { .. }
            | ReadError::Unsteady { .. }
            | ReadError::Contradiction { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_that_never_settles_ends_at_the_deadline() {
        let mut confirming = Confirming::new(Duration::from_millis(20));
        let never = std::future::pending::<Result<(), ReadError>>();
        assert!(confirming.read(never).await.unwrap().is_none());
        let ended = confirming.wait("it", 3).await;
        let unconfirmed = |error| matches!(error, RepairError::Unconfirmed { left: 3, .. });
        assert!(ended.is_err_and(unconfirmed));
    }
}
