//! How fast and how wide we ask: one throttle for all datasets of a portal.
//!
//! A portal answers 429 to whoever asks too much, and a replica answers 429 above 15 requests at
//! once for one dataset. So requests begin at a steady rate, and few are under way at once. A
//! place is held until the answer's body is read, since a replica works until then, and it is not
//! held while waiting to try again.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Throttle {
    rate: DefaultDirectRateLimiter,
    places: Semaphore,
    waited: Mutex<Duration>,
}

impl Throttle {
    /// At most `in_flight` requests at once, `per_second` begun each second; 0 counts as 1.
    pub(super) fn new(in_flight: u32, per_second: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            rate: RateLimiter::direct(Quota::per_second(per_second)),
            places: Semaphore::new(usize::try_from(in_flight.max(1)).unwrap_or(1)),
            waited: Mutex::default(),
        }
    }

    /// Waits for a place and for the rate, and tells how long. The place is free again when the
    /// permit is dropped.
    pub(super) async fn enter(&self) -> (SemaphorePermit<'_>, Duration) {
        let asked = Instant::now();
        let place = self.places.acquire().await;
        let place = place.expect("the semaphore is never closed");
        self.rate.until_ready().await;
        let waited = asked.elapsed();
        *self
            .waited
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) += waited;
        (place, waited)
    }

    /// How long requests have waited here, all together.
    pub(super) fn waited(&self) -> Duration {
        *self
            .waited
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
