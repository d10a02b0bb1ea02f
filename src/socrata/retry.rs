//! Whether, and after how long, a request is sent again.
//!
//! Two questions only: was it sent, and is it safe to send again? Reads are always safe. Writes
//! are upserts and deletes by row identifier, which are idempotent, so they are safe too; but a
//! write whose answer was lost may have been applied, and that is told to the caller.
//! This file holds the rules; `portal` (reads) and `write` hold the loops.

use std::sync::Mutex;
use std::time::Duration;

use chrono::DateTime;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

/// How patiently the portal is asked. [`Patience::default`] suits a real portal.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// First pause between two tries; doubles with every try.
    pub first_pause: Duration,
    /// Longest pause, also where the portal asks for a longer one.
    pub longest_pause: Duration,
    /// Most tries of one request.
    pub tries: u32,
    /// Most time for all tries of one request.
    pub total: Duration,
    /// Pause before asking again after a 202 that names none.
    pub poll_pause: Duration,
    /// Most repetitions after 202.
    pub polls: u32,
    /// Pause before asking again an answer that was out of date.
    pub stale_pause: Duration,
    /// Most tries for an answer that is not out of date.
    pub stale_tries: u32,
    /// Most times that a look begins anew because the data changed under it.
    pub starts: u32,
    /// Whether answers that do not say how fresh they are count as fresh.
    pub trust_unflagged: bool,
    /// Largest body read, in bytes after decompression.
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

/// What an answer's status asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The answer.
    Done,
    /// Ask again later: the portal is still at it.
    Poll,
    /// Try again: for this reason.
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

/// The wait that an answer asks for: seconds, or an HTTP date, which is measured against the
/// answer's own `Date`, so that our clock does not matter.
pub(super) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(asked).ok()?;
    let now = DateTime::parse_from_rfc2822(text(DATE)?).ok()?;
    Some((until - now).to_std().unwrap_or_default())
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    patience: &'a Patience,
    dice: &'a Mutex<StdRng>,
    begun: Instant,
    tried: u32,
    polled: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(patience: &'a Patience, dice: &'a Mutex<StdRng>) -> Self {
        Self {
            patience,
            dice,
            begun: Instant::now(),
            tried: 1,
            polled: 0,
        }
    }

    /// Waits before the next try. `false` if there is to be none.
    pub(super) async fn again(&mut self, asked: Option<Duration>) -> bool {
        if self.tried >= self.patience.tries {
            return false;
        }
        let ours = self.jittered(self.patience.pause(self.tried));
        self.tried += 1;
        self.wait(asked.map_or(ours, |asked| asked.max(ours))).await
    }

    /// Waits before asking whether the portal is done. `false` if it has had time enough.
    pub(super) async fn poll(&mut self, asked: Option<Duration>) -> bool {
        self.polled += 1;
        self.polled <= self.patience.polls
            && self.wait(asked.unwrap_or(self.patience.poll_pause)).await
    }

    async fn wait(&self, pause: Duration) -> bool {
        let pause = pause.min(self.patience.longest_pause);
        if self.begun.elapsed() + pause > self.patience.total {
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
    /// The pause after the `tried`th try, before jitter.
    fn pause(&self, tried: u32) -> Duration {
        let doubled = 2u32.saturating_pow(tried.saturating_sub(1));
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }

    /// The pause before asking again for a fresh answer: short at first, since another replica
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

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
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
    fn a_wait_is_seconds_or_a_date_against_the_portals_own_clock() {
        let wait =
            |pairs: &[(&'static str, &str)]| asked_wait(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        let (until, now) = (
            "Wed, 21 Oct 2015 07:28:30 GMT",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        );
        assert_eq!(wait(&[("retry-after", until), ("date", now)]), Some(30));
        assert_eq!(wait(&[("retry-after", now), ("date", until)]), Some(0));
        assert_eq!(wait(&[("retry-after", "soon"), ("date", now)]), None);
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let patience = Patience::default();
        let pauses = [1, 2, 3, 8, 4_000_000_000].map(|tried| patience.pause(tried).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 60_000, 60_000]);
    }

    #[tokio::test]
    async fn tries_and_time_are_bounded() {
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
        let begun = Instant::now();
        while tries.poll(Some(Duration::from_secs(9_999))).await {}
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(tries.polled < patience.polls);
    }
}
