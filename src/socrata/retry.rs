//! Whether, and after what time, a request is sent again.
//!
//! Only two questions matter: was it sent, and is it safe to send it again? Reads are always safe.
//! Writes are upserts and deletes by row identifier, which are idempotent and therefore safe too;
//! but a write whose answer was lost may have been applied, which is reported to the caller. This
//! file contains the rules; the loops are in `portal` (reads) and `write`.

use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use tokio::time::Instant;

/// Retries and time limits for a portal. [`Patience::default`] suits a real portal.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// First pause between two attempts; doubled after each attempt.
    pub first_pause: Duration,
    /// Longest pause, even if the portal requests a longer one.
    pub longest_pause: Duration,
    /// Maximum attempts of one request.
    pub tries: u32,
    /// Maximum time for all attempts of one request.
    pub total: Duration,
    /// Pause after a 202 that does not name one.
    pub poll_pause: Duration,
    /// Maximum repetitions after a 202.
    pub polls: u32,
    /// Longest pause before sending a request again whose answer was out of date.
    pub stale_pause: Duration,
    /// Maximum attempts to get an answer that is up to date.
    pub stale_tries: u32,
    /// Maximum attempts of a read whose data change while it runs.
    pub starts: u32,
    /// Whether answers that do not say whether they are up to date are accepted.
    pub trust_unflagged: bool,
    /// Maximum size of a body, in bytes after decompression.
    pub max_body_bytes: usize,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_mins(1),
            tries: 8,
            total: Duration::from_mins(15),
            poll_pause: Duration::from_secs(4),
            polls: 200,
            stale_pause: Duration::from_secs(10),
            stale_tries: 6,
            starts: 3,
            trust_unflagged: true,
            max_body_bytes: 256 << 20,
            seed: rand::random(),
        }
    }
}

/// What to do about an answer, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Use the answer.
    Done,
    /// Ask again later: the portal is still working.
    Poll,
    /// Try again, for this reason.
    Again(&'static str),
    /// Trying again cannot help.
    Final,
}

pub(super) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        202 => Verdict::Poll,
        200..=299 => Verdict::Done,
        408 => Verdict::Again("timeout"),
        429 => Verdict::Again("throttled"),
        500..=599 => Verdict::Again("server_error"),
        _ => Verdict::Final,
    }
}

/// The attempts of one request.
pub(super) struct Tries<'a> {
    patience: &'a Patience,
    dice: &'a Mutex<StdRng>,
    started: Instant,
    tried: u32,
    polled: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(patience: &'a Patience, dice: &'a Mutex<StdRng>) -> Self {
        Self {
            patience,
            dice,
            started: Instant::now(),
            tried: 1,
            polled: 0,
        }
    }

    /// Waits before the next attempt. Returns `false` if there is to be none.
    pub(super) async fn again(&mut self, asked: Option<Duration>) -> bool {
        if self.tried >= self.patience.tries {
            return false;
        }
        let ours = self.jittered(self.patience.pause(self.tried));
        self.tried += 1;
        self.wait(asked.map_or(ours, |asked| asked.max(ours))).await
    }

    /// Waits before asking whether the portal is done. Returns `false` if the limit is reached.
    pub(super) async fn poll(&mut self, asked: Option<Duration>) -> bool {
        self.polled += 1;
        self.polled <= self.patience.polls
            && self.wait(asked.unwrap_or(self.patience.poll_pause)).await
    }

    async fn wait(&self, pause: Duration) -> bool {
        let pause = pause.min(self.patience.longest_pause);
        if self.started.elapsed() + pause > self.patience.total {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }

    fn jittered(&self, pause: Duration) -> Duration {
        let mut dice = self
            .dice
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        pause.mul_f64(dice.random_range(0.5..=1.0))
    }
}

impl Patience {
    /// The pause after attempt number `tried`, before jitter.
    fn pause(&self, tried: u32) -> Duration {
        let doubled = 2u32.saturating_pow(tried.saturating_sub(1));
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }

    /// The pause before trying to get an up-to-date answer: short at first, since another replica
    /// may answer.
    pub(super) fn fresh_pause(&self, tried: u32) -> Duration {
        self.pause(tried + 2).min(self.stale_pause)
    }

    pub(super) fn dice(&self) -> Mutex<StdRng> {
        Mutex::new(StdRng::seed_from_u64(self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_failures_are_retried() {
        for status in [400, 401, 403, 404, 409, 410, 413, 414, 302] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(verdict(status), Verdict::Final, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(matches!(verdict(status), Verdict::Again(_)), "{status}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let patience = Patience::default();
        let pauses = [1, 2, 3, 8, 4_000_000_000].map(|tried| patience.pause(tried).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 60_000, 60_000]);
    }

    #[tokio::test]
    async fn attempts_and_time_are_limited() {
        let brief = Duration::from_millis(1);
        let patience = Patience {
            first_pause: brief,
            longest_pause: brief,
            total: Duration::from_millis(30),
            tries: 3,
            polls: 100_000,
            ..Patience::default()
        };
        let dice = patience.dice();
        let mut tries = Tries::new(&patience, &dice);
        assert!(tries.again(None).await && tries.again(None).await);
        assert!(!tries.again(None).await);

        let mut tries = Tries::new(&patience, &dice);
        let started = Instant::now();
        while tries.poll(Some(Duration::from_secs(9_999))).await {}
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(tries.polled < patience.polls);
    }
}
