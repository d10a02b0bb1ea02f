//! Waiting until a write is seen: looks again and again, with longer and longer pauses, until the
//! deadline that `socrata.confirm_within` sets.
//!
//! A read under way is given up at the deadline too: the reader has a patience of its own, and it
//! is for a portal that answers, not for one that does not come to rest.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::socrata::ReadError;

use super::RepairError;

/// Pause before the first look for a write, doubled after each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause between two looks for a write.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How much longer a write is waited for.
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

    /// What was read, or `None` if reading again later may help: the portal has not come to rest,
    /// or not by the deadline.
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

    /// Waits before the next look.
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

/// Whether the portal had not come to rest.
fn is_stale(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::OutOfDate { .. } | ReadError::Unsteady { .. } | ReadError::Contradiction { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_that_never_comes_to_rest_is_given_up_at_the_deadline() {
        let mut confirming = Confirming::new(Duration::from_millis(20));
        let never = std::future::pending::<Result<(), ReadError>>();
        assert!(confirming.read(never).await.unwrap().is_none());
        let ended = confirming.wait("it", 3).await;
        let unconfirmed = |error| matches!(error, RepairError::Unconfirmed { left: 3, .. });
        assert!(ended.is_err_and(unconfirmed));
    }
}
