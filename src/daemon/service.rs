//! The service manager and the operator: signals in, readiness, status and watchdog out.
//!
//! Where no service manager listens, nothing is sent and nothing is missed.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// End: SIGTERM or SIGINT.
    End,
    /// Read the settings again: SIGHUP.
    Reload,
}

/// The signals, listened to from one place.
pub(super) struct Orders(Option<Signals>);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Orders {
    /// From now on, no signal ends the program by itself.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self(Some(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })))
    }

    /// Nobody's orders.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The next order.
    pub(super) async fn next(&mut self) -> io::Result<Order> {
        let Some(signals) = &mut self.0 else {
            return std::future::pending().await;
        };
        let (order, came) = tokio::select! {
            came = signals.terminate.recv() => (Order::End, came),
            came = signals.interrupt.recv() => (Order::End, came),
            came = signals.hang_up.recv() => (Order::Reload, came),
        };
        let gone = || io::Error::other("listen for signals: nobody sends any more");
        came.map(|()| order).ok_or_else(gone)
    }

    /// Whether the order to end comes within this time. There is nothing yet to reload.
    pub(super) async fn ended_within(&mut self, within: Duration) -> io::Result<bool> {
        let ended = async {
            loop {
                if self.next().await? == Order::End {
                    return Ok(true);
                }
            }
        };
        tokio::time::timeout(within, ended)
            .await
            .unwrap_or(Ok(false))
    }
}

/// How often the loop must turn for the watchdog to be fed in time, `most` at most.
pub(super) fn turn_within(most: Duration) -> Duration {
    sd_notify::watchdog_enabled().map_or(most, |within| most.min(within / 3))
}

/// Everything is open.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// The settings are being read again; `ready` ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("failed to read the machine's clock: {error}"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The start, or the end, takes longer, and why.
pub(super) fn tell(status: &str) {
    const LONGER: Duration = Duration::from_mins(6);
    let longer = u32::try_from(LONGER.as_micros()).unwrap_or(u32::MAX);
    send(&[
        NotifyState::ExtendTimeoutUsec(longer),
        NotifyState::Status(status),
    ]);
}

/// What the service manager was told last.
#[derive(Debug, Default)]
pub(super) struct Told(String);

impl Told {
    /// The loop has turned: feeds the watchdog, and says what is done where that is news.
    pub(super) fn turned(&mut self, status: String) {
        let news = (status != self.0).then_some(NotifyState::Status(&status));
        let fed = sd_notify::watchdog_enabled().map(|_| NotifyState::Watchdog);
        let states: Vec<NotifyState> = fed.into_iter().chain(news).collect();
        if !states.is_empty() {
            send(&states);
        }
        self.0 = status;
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("failed to tell the service manager: {error}");
    }
}
