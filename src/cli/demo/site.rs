//! The demo's status page: the daemon's own pages over the demo's ledger. Repairs approved there
//! are carried out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::app;
use crate::compare::Depth;
use crate::ledger::LedgerError;
use crate::model::DatasetDay;
use crate::reconcile::{self, Asked, World};
use crate::repair::Writers;
use crate::server::{self, State};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Activity, Phase};

/// How often approvals are polled.
const EVERY: Duration = Duration::from_millis(500);

/// Serves until Ctrl-C.
pub(super) async fn stay_open(
    world: &Arc<World>,
    held: Vec<DatasetDay>,
    listen: SocketAddr,
) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot serve the status page on {listen}"))?;
    let writers = app::writers(world).await?;
    // The last check only recorded that these days differ; the page should show why they are held.
    for target in &held {
        repair(world, &writers, target).await;
    }
    let activity = Activity::default();
    activity.update(|now| now.phase = Phase::Idle);
    let names = world.settings.datasets.iter().map(|one| &one.dataset.name);
    let state = State::new(activity, Metrics::new(names), Arc::clone(&world.clock));
    state.renew(world, &writers.holder);
    tokio::select! {
        () = server::serve(listener, state, std::future::pending()) => Ok(()),
        noted = carry_out_approved(world, &writers, &held) => noted.context("cannot read the approvals"),
        asked = tokio::signal::ctrl_c() => asked.context("cannot wait for Ctrl-C"),
    }
}

async fn repair(world: &World, writers: &Writers, target: &DatasetDay) {
    let asked = Asked {
        wait: true,
        ..Asked::default()
    };
    let report = reconcile::repair(world, writers, target, Depth::Content, &asked).await;
    tracing::debug!("{target} is {}", report.state);
}

/// Repairs each held day once its plan has been approved.
async fn carry_out_approved(
    world: &World,
    writers: &Writers,
    held: &[DatasetDay],
) -> Result<(), LedgerError> {
    loop {
        tokio::time::sleep(EVERY).await;
        for target in held {
            if is_approved(world, target).await? {
                repair(world, writers, target).await;
            }
        }
    }
}

async fn is_approved(world: &World, target: &DatasetDay) -> Result<bool, LedgerError> {
    let record = world.ledger.day(&target.dataset.name, target.day).await?;
    let Some(digest) = record.and_then(|record| record.digest) else {
        return Ok(false);
    };
    let approval = world.ledger.approval(&digest).await?;
    Ok(approval.is_some_and(|approval| approval.used_at.is_none()))
}
