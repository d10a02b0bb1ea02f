//! Shutdown on Ctrl-C and SIGTERM.
//!
//! A check is simply dropped. A repair releases its leases first, so that the next one need not
//! wait for them to expire; the next pass finds and finishes anything left half done.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::reconcile::World;
use crate::repair::Writers;

/// How long releasing the leases may delay the exit.
const GRACE: Duration = Duration::from_secs(2);

/// Waits for a signal to stop. After the first call, the signals no longer end the process.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub(super) async fn interrupted() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Runs `work`, which only reads, until it is done or the program is interrupted.
pub(super) async fn or_interrupted(
    work: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    tokio::select! {
        outcome = work => outcome,
        received = interrupted() => {
            received.context("cannot listen for signals")?;
            Ok(Exit::Interrupted)
        }
    }
}

/// Runs `work`, which writes; if interrupted, releases the leases before it returns.
pub(super) async fn or_release_leases(
    world: &World,
    writers: &Writers,
    work: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let exit = or_interrupted(work).await?;
    if exit == Exit::Interrupted {
        let given_back = world.ledger.release_all(&writers.holder);
        match tokio::time::timeout(GRACE, given_back).await {
            Ok(Ok(())) => tracing::warn!("interrupted; the next pass finishes the repair"),
            Ok(Err(error)) => tracing::warn!("cannot release the leases: {error}"),
            Err(_) => tracing::warn!("cannot release the leases in time; they expire"),
        }
    }
    Ok(exit)
}
