//! Notifies operators through a webhook: a message for each change of a day's state and each
//! recovery, and a digest every day.
//!
//! Changes are in the ledger from the moment the state is recorded, until the webhook accepts the
//! message with a 2xx status. So a restart loses nothing, and of several replicas only one sends,
//! under a lease. Each message reports the current state of its day. A change that was followed by
//! another before it could be sent is outdated and dropped, as is a recovery from a state that was
//! never reported. A message may be sent twice, if we crash after its delivery and before recording
//! it; its `id` is then the same. A message that cannot be delivered for a day is given up, since
//! the digest covers it. The exception is a day that was last reported in another state: that
//! report is corrected however late it is.
//!
//! After a failure, the webhook is left alone for a time that doubles with each failure, and for as
//! long as its `Retry-After` requests, within bounds. The pause applies to all messages and
//! replicas and survives restarts, since it is the webhook that cannot take more. So it is kept in
//! the ledger, like the outbox.
//!
//! The address is a secret: no log line and no error contains it. Redirects are not followed.

mod message;
mod send;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use sha2::{Digest as _, Sha256};

use self::message::is_quiet;
use self::send::{SENT_WITHIN, Sender};
use super::metrics::{Metrics, Sent};
use crate::lease;
use crate::ledger::{LeaseAnswer, LedgerError, Pause, Untold};
use crate::model::Day;
use crate::reconcile::{World, chain};
use crate::settings::SecretUrl;

pub use message::{Digest, Kind, Message};
pub use send::SendError;

/// The lease under which one replica sends.
const LEASE: &str = "notify";
/// How long the lease is held: longer than sending a message may take.
const LEASE_FOR: Duration = Duration::from_mins(1);
/// How often we check for messages to send.
const EVERY: Duration = Duration::from_secs(5);
/// Maximum messages per turn.
const MAX_MESSAGES: u32 = 50;
/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(15);
/// Maximum pause by our own rule.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// Maximum pause that the webhook can request, so that a wrong response does not silence us for days.
const LONGEST_REQUESTED: TimeDelta = TimeDelta::hours(6);
/// Changes older than this are no longer reported.
const NEWS_FOR: TimeDelta = TimeDelta::hours(24);
/// The day's digest is sent from this hour on, in the zone of the settings.
const DIGEST_HOUR: u32 = 8;

/// Sends notifications.
pub struct Notifier {
    sender: Sender,
    metrics: Arc<Metrics>,
    /// Our name in leases.
    holder: String,
    /// Consecutive failures of the digest, and when to retry.
    digest: (u64, DateTime<Utc>),
}

/// The result of handling one message.
enum Step {
    Taken,
    Dropped,
    /// There is nothing left to do in this turn.
    Over,
}

/// The time since when the lease is ours, by two clocks: one counts a sleep of the machine, and the
/// other cannot be set back.
struct Lead(DateTime<Utc>, Instant);

impl Lead {
    /// Whether a message sent now is answered or given up before the lease expires.
    fn leaves_time(&self, now: DateTime<Utc>) -> bool {
        let by_wall = (now - self.0).to_std().unwrap_or_default();
        by_wall.max(self.1.elapsed()) + SENT_WITHIN <= LEASE_FOR
    }
}

impl Notifier {
    /// Creates the clients. Sends nothing.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(metrics: Arc<Metrics>, holder: &str) -> Result<Self, reqwest::Error> {
        Ok(Self {
            sender: Sender::new()?,
            metrics,
            holder: holder.to_owned(),
            digest: (0, DateTime::UNIX_EPOCH),
        })
    }

    /// Sends due messages for as long as it is polled. `world` returns the current world, once there
    /// is one.
    pub async fn run(mut self, world: impl Fn() -> Option<Arc<World>>) {
        loop {
            if let Some(world) = world()
                && let Err(error) = self.turn(&world).await
            {
                tracing::warn!("cannot send notifications: {}", chain(&error));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Sends the messages that are due, and returns how many were accepted.
    ///
    /// # Errors
    /// If the ledger does not answer. A webhook that does not answer is not an error: it is retried.
    pub async fn turn(&mut self, world: &World) -> Result<u64, LedgerError> {
        let Some(webhook) = &world.settings.notify.webhook else {
            return Ok(0);
        };
        let mut taken = 0;
        for _ in 0..MAX_MESSAGES {
            match self.step(world, webhook).await? {
                Step::Taken => taken += 1,
                Step::Dropped => {}
                Step::Over => break,
            }
        }
        Ok(taken + u64::from(self.send_digest(world, webhook).await?))
    }

    /// The next due message, unless the webhook is paused.
    async fn due(&self, world: &World, webhook: &SecretUrl) -> Result<Option<Untold>, LedgerError> {
        if self.is_paused(world, webhook).await? {
            return Ok(None);
        }
        let untold = world.ledger.untold(world.clock.now(), 1).await?;
        Ok(untold.into_iter().next())
    }

    async fn step(&self, world: &World, webhook: &SecretUrl) -> Result<Step, LedgerError> {
        if self.due(world, webhook).await?.is_none() {
            return Ok(Step::Over);
        }
        let Some(lead) = self.lead(world).await? else {
            return Ok(Step::Over);
        };
        // Read it again under the lease: another replica may have sent it before it released the lease.
        let Some(untold) = self.due(world, webhook).await? else {
            return Ok(Step::Over);
        };
        let Untold { change, notified } = &untold;
        let now = world.clock.now();
        if is_quiet(&change.state) && is_quiet(notified) && change.pass.is_none() {
            let dropped = world.ledger.drop_change(change, now).await?;
            self.metrics.sent(Sent::Outdated, dropped);
            return Ok(Step::Dropped);
        }
        let contradicts = !is_quiet(notified) && *notified != change.state;
        if now - change.at > NEWS_FOR && !contradicts {
            let (dataset, day) = (&change.dataset, change.day);
            tracing::warn!(
                "the notification of {dataset} {day} could not be delivered within 24 hours; giving up"
            );
            let dropped = world.ledger.drop_change(change, now).await?;
            self.metrics.sent(Sent::GivenUp, 1);
            self.metrics.sent(Sent::Outdated, dropped.saturating_sub(1));
            return Ok(Step::Dropped);
        }
        self.deliver(world, webhook, &untold, &lead).await
    }

    /// The lease, if we can get it.
    async fn lead(&self, world: &World) -> Result<Option<Lead>, LedgerError> {
        let lead = Lead(world.clock.now(), Instant::now());
        let answer = lease::take(world, LEASE, &self.holder, LEASE_FOR);
        let granted = matches!(answer.await?, LeaseAnswer::Granted { .. });
        Ok(granted.then_some(lead))
    }

    async fn deliver(
        &self,
        world: &World,
        webhook: &SecretUrl,
        untold: &Untold,
        lead: &Lead,
    ) -> Result<Step, LedgerError> {
        let Untold { change, notified } = untold;
        let message = Message::of(change, world.settings.timezone);
        world.ledger.begin_telling(change).await?;
        let now = world.clock.now();
        if !lead.leaves_time(now) {
            return Ok(Step::Over); // another replica may hold the lease by now, and may have sent a later state
        }
        match self.sender.send(webhook, &message, now).await {
            Ok(()) => {
                let outdated = world.ledger.told(change, world.clock.now()).await?;
                self.metrics.sent(Sent::Outdated, outdated);
                self.succeeded(world, webhook).await?;
                Ok(Step::Taken)
            }
            Err(error) => {
                self.failed(world, webhook, &error).await?;
                let later = world.clock.now() + pause(change.tries);
                let still = (!error.may_have_arrived()).then_some(notified.as_str());
                world.ledger.tell_later(change, later, still).await?;
                Ok(Step::Over)
            }
        }
    }

    async fn is_paused(&self, world: &World, webhook: &SecretUrl) -> Result<bool, LedgerError> {
        let pause = world.ledger.pause(&pause_name(webhook)).await?;
        Ok(pause.is_some_and(|pause| world.clock.now() < pause.until))
    }

    async fn succeeded(&self, world: &World, webhook: &SecretUrl) -> Result<(), LedgerError> {
        self.metrics.sent(Sent::Taken, 1);
        world.ledger.end_pause(&pause_name(webhook)).await
    }

    /// Pauses the webhook, for all messages.
    async fn failed(
        &self,
        world: &World,
        webhook: &SecretUrl,
        error: &SendError,
    ) -> Result<(), LedgerError> {
        self.metrics.sent(Sent::Failed, 1);
        let name = pause_name(webhook);
        let before = world.ledger.pause(&name).await?;
        let failures = before.map_or(0, |before| before.failures);
        let rest = pause(failures).max(requested_pause(error));
        tracing::warn!(failures, "{error}; retrying in {}", words(rest));
        let pause = Pause {
            until: world.clock.now() + rest,
            failures: failures.saturating_add(1),
        };
        world.ledger.set_pause(&name, pause).await
    }

    async fn send_digest(
        &mut self,
        world: &World,
        webhook: &SecretUrl,
    ) -> Result<bool, LedgerError> {
        let now = world.clock.now();
        let local = now.with_timezone(&world.settings.timezone);
        let today = Day::new(local.date_naive());
        let (failures, due) = self.digest;
        if local.hour() < DIGEST_HOUR
            || now < due
            || self.is_paused(world, webhook).await?
            || world.ledger.digest_told(today).await?
            || self.lead(world).await?.is_none()
        {
            return Ok(false);
        }
        let digest = Digest::read(world, today, now).await?;
        match self.sender.send(webhook, &digest, now).await {
            Ok(()) => {
                self.digest = (0, DateTime::UNIX_EPOCH);
                world.ledger.tell_digest(today, now).await?;
                self.succeeded(world, webhook).await?;
                Ok(true)
            }
            Err(error) => {
                self.digest = (failures + 1, now + pause(failures));
                self.failed(world, webhook, &error).await?;
                Ok(false)
            }
        }
    }
}

/// The name of the webhook in the ledger. It depends on the address, since another address is
/// another webhook, but does not reveal it.
fn pause_name(webhook: &SecretUrl) -> String {
    let hash = Sha256::digest(webhook.expose().as_str());
    let bytes = hash
        .first_chunk()
        .map_or(0, |eight| u64::from_be_bytes(*eight));
    format!("webhook/{bytes:016x}")
}

/// The pause after this many earlier failures.
fn pause(failures: u64) -> TimeDelta {
    let doubled = 2_i32.saturating_pow(u32::try_from(failures.min(20)).unwrap_or(20));
    FIRST_PAUSE
        .checked_mul(doubled)
        .map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// The pause that the webhook requests.
fn requested_pause(error: &SendError) -> TimeDelta {
    let asked = error.requested_wait().map(TimeDelta::from_std);
    asked.map_or(TimeDelta::zero(), |asked| {
        asked.map_or(LONGEST_REQUESTED, |asked| asked.min(LONGEST_REQUESTED))
    })
}

fn words(span: TimeDelta) -> humantime::FormattedDuration {
    humantime::format_duration(span.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn pauses_double_up_to_one_hour() {
        let pauses = [0, 1, 2, 7, 8, u64::MAX].map(|failures| pause(failures).num_seconds());
        assert_eq!(pauses, [15, 30, 60, 1_920, 3_600, 3_600]);
    }

    #[test]
    fn a_requested_pause_is_bounded() {
        let asked = |seconds| SendError::Refused {
            status: StatusCode::TOO_MANY_REQUESTS,
            wait: Some(Duration::from_secs(seconds)),
        };
        let pauses = [0, 600, 21_600, 21_601, u64::MAX];
        let pauses = pauses.map(|seconds| requested_pause(&asked(seconds)).num_seconds());
        assert_eq!(pauses, [0, 600, 21_600, 21_600, 21_600]);
        assert_eq!(requested_pause(&SendError::Unreachable), TimeDelta::zero());
    }

    #[test]
    fn nothing_is_sent_shortly_before_the_lease_expires_by_either_clock() {
        let start: DateTime<Utc> = "2020-10-16T12:00:00Z".parse().unwrap();
        let lead = Lead(start, Instant::now());
        assert!(lead.leaves_time(start));
        assert!(lead.leaves_time(start + TimeDelta::seconds(49)));
        assert!(!lead.leaves_time(start + TimeDelta::seconds(51)));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(51));
        let slept = Lead(start, long_ago.unwrap());
        assert!(!slept.leaves_time(start - TimeDelta::hours(1)));
    }
}
