//! Interface to the service manager and the operator: receives signals, and reports readiness,
//! status and watchdog pings.
//!
//! Without `NOTIFY_SOCKET` there is no service manager, and nothing is sent. If the variable
//! contains an unusable address, this is logged once.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Shut down: SIGTERM or SIGINT.
    End,
    /// Reload the settings: SIGHUP.
    Reload,
}

/// The signals, received in one place.
pub(super) struct Orders(Option<Signals>);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Orders {
    /// From now on, no signal ends the program directly.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self(Some(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })))
    }

    /// Receives no signals.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Waits for the next order.
    pub(super) async fn next(&mut self) -> io::Result<Order> {
        let Some(signals) = &mut self.0 else {
            return std::future::pending().await;
        };
        let (order, received) = tokio::select! {
            received = signals.terminate.recv() => (Order::End, received),
            received = signals.interrupt.recv() => (Order::End, received),
            received = signals.hang_up.recv() => (Order::Reload, received),
        };
        let stream_ended = || io::Error::other("cannot listen for signals: the stream has ended");
        received.map(|()| order).ok_or_else(stream_ended)
    }

    /// Waits up to `within` and returns whether a shutdown was requested. Reload requests are
    /// ignored, as nothing is open yet.
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

/// How often the loop must run for the watchdog to be fed in time, but not less often than
/// `longest`.
pub(super) fn turn_within(longest: Duration) -> Duration {
    sd_notify::watchdog_enabled().map_or(longest, |within| longest.min(within / 3))
}

/// Reports that everything is open.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Reports that the settings are being reloaded, until `ready` is called.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("cannot read the machine's clock: {error}"),
    }
}

/// Reports that the shutdown has started.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Reports that starting or shutting down takes longer, and the status.
pub(super) fn extend_timeout(status: &str) {
    const LONGER: Duration = Duration::from_mins(6);
    let longer = u32::try_from(LONGER.as_micros()).unwrap_or(u32::MAX);
    send(&[
        NotifyState::ExtendTimeoutUsec(longer),
        NotifyState::Status(status),
    ]);
}

/// The last status reported to the service manager.
#[derive(Debug, Default)]
pub(super) struct Reported(String);

impl Reported {
    /// Called after each iteration of the loop: feeds the watchdog, and reports the status if it
    /// changed.
    pub(super) fn report_turn(&mut self, status: String) {
        let new_status = (status != self.0).then_some(NotifyState::Status(&status));
        let fed = sd_notify::watchdog_enabled().map(|_| NotifyState::Watchdog);
        let states: Vec<NotifyState> = fed.into_iter().chain(new_status).collect();
        if !states.is_empty() {
            send(&states);
        }
        self.0 = status;
    }
}

/// Notifies the service manager, if there is one. Only the first failure is logged: it is caused by
/// an unusable address and would recur with each iteration of the loop.
fn send(states: &[NotifyState<'_>]) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = notify(&address, states)
        && !WARNED.swap(true, Ordering::Relaxed)
    {
        let address = address.display();
        tracing::warn!(
            "cannot notify the service manager at {address} (NOTIFY_SOCKET): {error}; further \
             failures are not logged"
        );
    }
}

/// Implements `sd_notify(3)`. The crate's own function treats the name of an abstract socket as a
/// path.
fn notify(address: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(message.as_bytes(), &socket_address(address)?)?;
    Ok(())
}

/// A path, or the name of an abstract socket after `@`.
fn socket_address(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(address),
        [b'@', name @ ..] if !name.is_empty() => abstract_address(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected an absolute path, or @ and the name of an abstract socket",
        )),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}
