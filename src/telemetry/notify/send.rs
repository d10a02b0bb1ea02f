//! Sends one message to the webhook and interprets the response: whether the message may have been
//! delivered, and how long the webhook asks us to wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, Response, StatusCode};

use crate::outgoing::{self, Wire, asked_wait};
use crate::settings::SecretUrl;

/// Timeout of a message.
pub(super) const SENT_WITHIN: Duration = Duration::from_secs(10);

/// A message was not accepted. The error never contains the webhook's address.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The webhook could not be reached: the message was not sent.
    #[error("cannot send a message to the webhook: no connection")]
    Unreachable,
    /// No response: the message may or may not have arrived.
    #[error("cannot send a message to the webhook: {0}")]
    Unanswered(&'static str),
    /// A response that is not a success.
    #[error("cannot send a message to the webhook: it answered with status {}", status.as_u16())]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The wait that it requests.
        wait: Option<Duration>,
    },
}

impl SendError {
    /// Whether the message may have been delivered all the same. A failing server or gateway may have
    /// passed it on first; one that rejects the message has not.
    pub(super) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable => false,
            Self::Unanswered(_) => true,
            Self::Refused { status, .. } => {
                status.is_server_error() && *status != StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The wait that the webhook requests.
    pub(super) fn requested_wait(&self) -> Option<Duration> {
        match self {
            Self::Refused { wait, .. } => *wait,
            Self::Unreachable | Self::Unanswered(_) => None,
        }
    }
}

impl From<reqwest::Error> for SendError {
    /// Takes no text from the error itself, which contains the address.
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() || error.is_builder() {
            Self::Unreachable
        } else if error.is_timeout() {
            Self::Unanswered("no answer in time")
        } else {
            Self::Unanswered("the connection was lost")
        }
    }
}

/// Sends messages. It has a client for each wire, since the settings may change the address.
pub(super) struct Sender {
    plain: Client,
    tls: Client,
}

impl Sender {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let client = |wire| outgoing::client(wire).timeout(SENT_WITHIN).build();
        Ok(Self {
            plain: client(Wire::Plain)?,
            tls: client(Wire::Tls)?,
        })
    }

    /// Sends a message once. `now` is used if the response has no date.
    pub(super) async fn send(
        &self,
        webhook: &SecretUrl,
        message: &impl serde::Serialize,
        now: DateTime<Utc>,
    ) -> Result<(), SendError> {
        let url = webhook.expose().clone();
        let client = match Wire::of(url.scheme()) {
            Wire::Plain => &self.plain,
            Wire::Tls => &self.tls,
        };
        let response = client.post(url).json(message).send().await?;
        refusal(&response, now).map_or(Ok(()), Err)
    }
}

fn refusal(response: &Response, now: DateTime<Utc>) -> Option<SendError> {
    let status = response.status();
    (!status.is_success()).then(|| SendError::Refused {
        status,
        wait: asked_wait(response.headers(), Some(now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rejection_shows_that_the_message_was_not_delivered() {
        let refused = |status: u16| SendError::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            wait: None,
        };
        for status in [301, 307, 400, 403, 404, 429, 503] {
            assert!(!refused(status).may_have_arrived(), "{status}");
        }
        for status in [500, 502, 504] {
            assert!(refused(status).may_have_arrived(), "{status}");
        }
        assert!(!SendError::Unreachable.may_have_arrived());
        assert!(SendError::Unanswered("no answer in time").may_have_arrived());
    }
}
