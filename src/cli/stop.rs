//! The end that a person or a service manager asks for: Ctrl-C and SIGTERM.
//!
//! A look is simply dropped. A repair gives its leases back first, so that the next one need not
//! wait until they run out; whatever it left half done, the next pass finds and finishes.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::reconcile::World;
use crate::repair::Writers;

/// How long giving the leases back may hold up the end.
const GRACE: Duration = Duration::from_secs(2);

/// Waits until the program is asked to end. From the first call on, both signals do nothing else.
///
/// # Errors
/// If the signals cannot be listened to.
pub(super) async fn asked() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Carries out what only reads, until it is done or the program is asked to end.
pub(super) async fn or_asked(
    work: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    tokio::select! {
        outcome = work => outcome,
        asked = asked() => {
            asked.context("listen for signals")?;
            Ok(Exit::Interrupted)
        }
    }
}

/// The same for what writes: ends with the leases given back.
pub(super) async fn or_give_back(
    world: &World,
    writers: &Writers,
    work: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let exit = or_asked(work).await?;
    if exit == Exit::Interrupted {
        let given_back = world.ledger.release_all(&writers.holder);
        match tokio::time::timeout(GRACE, given_back).await {
            Ok(Ok(())) => tracing::warn!("interrupted; the next pass finishes what is half done"),
            Ok(Err(error)) => tracing::warn!("failed to give the leases back: {error}"),
            Err(_) => tracing::warn!("failed to give the leases back in time: they run out"),
        }
    }
    Ok(exit)
}
