//! Tells people of changes by a webhook: one message for each change of a day's state, one when it
//! recovers, and a digest every day.
//!
//! The changes stand in the ledger from the moment the state is noted, and stay there until the
//! webhook has taken the message with a 2xx: nothing is lost by a restart, and of several replicas
//! one tells, under a lease. A message may come twice, if we die between its delivery and our
//! note of it; its `id` is the same then. What cannot be delivered for a day is given up: old news
//! is worth nothing, and the digest says how things stand.
//!
//! The address is a secret: it is in no log line and no error. Redirects are not followed.

mod message;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use reqwest::{Client, redirect};

use super::metrics::{Metrics, Sent};
use crate::ledger::{Change, LeaseAnswer, LedgerError};
use crate::model::Day;
use crate::reconcile::{World, chain};
use crate::settings::SecretUrl;

pub use message::{Digest, Kind, Message, approval_commands};

/// The lease under which one replica tells.
const LEASE: &str = "notify";
/// How long it is held: longer than a message may take.
const LEASE_FOR: Duration = Duration::from_mins(1);
/// How often we look for something to tell.
const EVERY: Duration = Duration::from_secs(5);
/// How long a message may take.
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// Most messages of one turn.
const MOST: u32 = 50;
/// Pause after a first failure; doubles with each.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(15);
/// Longest pause.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// What is older is not told any more.
const NEWS_FOR: TimeDelta = TimeDelta::hours(24);
/// From this hour on, in the zone of the settings, the day's digest is sent.
const DIGEST_HOUR: u32 = 8;

/// A message that was not taken. It never holds the webhook's address.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No answer: who listens there, if anyone, is not known.
    #[error("send a message to the webhook: {0}")]
    Transport(&'static str),
    /// An answer that is no yes.
    #[error("send a message to the webhook: it answers {0}")]
    Refused(u16),
}

/// Tells people of changes.
pub struct Notifier {
    http: Client,
    metrics: Arc<Metrics>,
    /// Who we are, in leases.
    holder: String,
    /// Failures of the digest in a row, and when it is tried again.
    digest: (u32, DateTime<Utc>),
}

impl Notifier {
    /// Prepares the client. Sends nothing.
    ///
    /// # Errors
    /// If there is no TLS to be had.
    pub fn new(metrics: Arc<Metrics>, holder: &str) -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .user_agent(concat!("sodalake/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .timeout(SENT_WITHIN)
            .build()?;
        Ok(Self {
            http,
            metrics,
            holder: holder.to_owned(),
            digest: (0, DateTime::UNIX_EPOCH),
        })
    }

    /// Tells whatever is to be told, by and by, for as long as it is polled. `world` is the world in
    /// force, once there is one.
    pub async fn run(mut self, world: impl Fn() -> Option<Arc<World>>) {
        loop {
            if let Some(world) = world()
                && let Err(error) = self.turn(&world).await
            {
                tracing::warn!("failed to tell of changes: {}", chain(&error));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Tells what is to be told now; gives the number of messages that were taken.
    ///
    /// # Errors
    /// If the ledger does not answer. A webhook that does not is no error: it is tried again.
    pub async fn turn(&mut self, world: &World) -> Result<u64, LedgerError> {
        let Some(webhook) = &world.settings.notify.webhook else {
            return Ok(0);
        };
        let mut taken = 0;
        let now = world.clock.now();
        for change in world.ledger.untold(now, MOST).await? {
            if !self.leads(world).await? {
                return Ok(taken);
            }
            if now - change.at > NEWS_FOR {
                self.give_up(world, &change).await?;
                continue;
            }
            let message = Message::of(&change, world.settings.timezone);
            if !self.tell(world, webhook, &change, &message).await? {
                return Ok(taken); // the others would meet the same
            }
            taken += 1;
        }
        Ok(taken + u64::from(self.tell_digest(world, webhook).await?))
    }

    /// Whether we are the one who tells.
    async fn leads(&self, world: &World) -> Result<bool, LedgerError> {
        let now = world.clock.now();
        let answer = world.ledger.lease(LEASE, &self.holder, now, LEASE_FOR);
        Ok(matches!(answer.await?, LeaseAnswer::Granted { .. }))
    }

    async fn tell(
        &self,
        world: &World,
        webhook: &SecretUrl,
        change: &Change,
        message: &Message,
    ) -> Result<bool, LedgerError> {
        let sent = self.send(webhook, message).await;
        let now = world.clock.now();
        match sent {
            Ok(()) => {
                self.metrics.sent(Sent::Taken);
                world.ledger.told(change.number, now).await?;
                Ok(true)
            }
            Err(error) => {
                self.metrics.sent(Sent::Failed);
                let tries = u32::try_from(change.tries).unwrap_or(u32::MAX);
                let pause = pause(tries);
                tracing::warn!(tries, "failed to {error}; it is tried again in {pause}");
                let later = now + pause;
                world.ledger.tell_later(change.number, later).await?;
                Ok(false)
            }
        }
    }

    async fn give_up(&self, world: &World, change: &Change) -> Result<(), LedgerError> {
        let Change { dataset, day, .. } = change;
        tracing::warn!("nobody was told of {dataset} {day} within a day: it is told no more");
        self.metrics.sent(Sent::GivenUp);
        world.ledger.told(change.number, world.clock.now()).await
    }

    async fn send(
        &self,
        webhook: &SecretUrl,
        message: &impl serde::Serialize,
    ) -> Result<(), SendError> {
        let request = self.http.post(webhook.expose().clone()).json(message);
        let response = request.send().await.map_err(|error| {
            // The error itself names the address.
            SendError::Transport(if error.is_timeout() {
                "no answer in time"
            } else if error.is_connect() {
                "no connection"
            } else {
                "the connection broke"
            })
        })?;
        let status = response.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(SendError::Refused(status.as_u16()))
        }
    }

    async fn tell_digest(
        &mut self,
        world: &World,
        webhook: &SecretUrl,
    ) -> Result<bool, LedgerError> {
        let now = world.clock.now();
        let local = now.with_timezone(&world.settings.timezone);
        let today = Day::new(local.date_naive());
        let (failures, due) = self.digest;
        if local.hour() < DIGEST_HOUR || now < due || world.ledger.digest_told(today).await? {
            return Ok(false);
        }
        if !self.leads(world).await? {
            return Ok(false);
        }
        let digest = Digest::read(world, today, now).await?;
        match self.send(webhook, &digest).await {
            Ok(()) => {
                self.metrics.sent(Sent::Taken);
                self.digest = (0, DateTime::UNIX_EPOCH);
                world.ledger.tell_digest(today, now).await?;
                Ok(true)
            }
            Err(error) => {
                self.metrics.sent(Sent::Failed);
                tracing::warn!("failed to {error}: the daily digest is tried again");
                self.digest = (failures + 1, now + pause(failures));
                Ok(false)
            }
        }
    }
}

/// How long to wait after so many failures before this one.
fn pause(failures: u32) -> TimeDelta {
    let doubled = 2_i32.saturating_pow(failures.min(20));
    FIRST_PAUSE
        .checked_mul(doubled)
        .map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let pauses = [0, 1, 2, 7, 8, u32::MAX].map(|failures| pause(failures).num_seconds());
        assert_eq!(pauses, [15, 30, 60, 1_920, 3_600, 3_600]);
    }
}
