//! Limits how fast and how many requests are sent: one throttle for all datasets of a portal.
//!
//! A portal answers 429 to clients that send too many requests, and a replica answers 429 above 15
//! simultaneous requests for one dataset. So requests start at a steady rate, and few are in
//! progress at once. A request holds its place until the answer's body has been read, since the
//! replica works until then, but not while it waits for another attempt.

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
    /// Allows at most `in_flight` requests at once, and starts `per_second` per second; 0 counts as
    /// 1.
    pub(super) fn new(in_flight: u32, per_second: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            rate: RateLimiter::direct(Quota::per_second(per_second)),
            places: Semaphore::new(usize::try_from(in_flight.max(1)).unwrap_or(1)),
            waited: Mutex::default(),
        }
    }

    /// Waits for a place and for the rate, and returns how long it waited. The place is free again
    /// when the permit is dropped.
    pub(super) async fn enter(&self) -> (SemaphorePermit<'_>, Duration) {
        let started = Instant::now();
        let place = self.places.acquire().await;
        let place = place.expect("the semaphore is never closed");
        self.rate.until_ready().await;
        let waited = started.elapsed();
        *self
            .waited
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) += waited;
        (place, waited)
    }

    /// Total time that requests have waited here.
    pub(super) fn waited(&self) -> Duration {
        *self
            .waited
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
