//! One pass over one claimed dataset-day: a check, and a repair if the check finds something and
//! the settings allow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::compare::Depth;
use crate::ledger::{Queued, Reason};
use crate::model::{DatasetDay, DatasetName};
use crate::reconcile::{self, Asked, Report, State};
use crate::repair::{Stop, Writers};
use crate::telemetry::{Activity, InWork};

use super::Tools;
use super::ended::Ended;

/// Lets repairs of the same dataset take turns, so that this process never competes with itself for
/// the dataset's lease.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    turns: Mutex<BTreeMap<DatasetName, Arc<Turn<()>>>>,
}

impl Repairs {
    async fn turn(&self, dataset: &DatasetName) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.turns.lock().entry(dataset.clone()).or_default());
        turn.lock_owned().await
    }
}

/// Shows a dataset-day as in progress until dropped.
struct Shown {
    activity: Activity,
    at: InWork,
}

impl Shown {
    fn begin(activity: Activity, at: InWork) -> Self {
        activity.update(|picture| picture.in_work.push(at.clone()));
        Self { activity, at }
    }

    fn repairing(&mut self) {
        let found = self.at.clone();
        self.at.repairing = true;
        let (activity, at) = (&self.activity, &self.at);
        activity.update(|picture| {
            if let Some(shown) = picture.in_work.iter_mut().find(|shown| **shown == found) {
                *shown = at.clone();
            }
        });
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let at = &self.at;
        self.activity
            .update(|picture| picture.in_work.retain(|shown| shown != at));
    }
}

/// The pass. When a stop is requested, a check is dropped and a repair ends after its current step.
pub(super) async fn pass(
    tools: Tools,
    target: DatasetDay,
    entry: Queued,
    repairs: Arc<Repairs>,
    stop: Stop,
    activity: Activity,
) -> Ended {
    let depth = reconcile::at_least(&tools.world, &target, entry.depth).await;
    // If the ledger does not respond, the check fails too.
    let depth = depth.unwrap_or(entry.depth);
    let at = InWork {
        dataset: target.dataset.name.clone(),
        day: target.day,
        depth,
        repairing: false,
        since: tools.world.clock.now(),
    };
    let mut shown = Shown::begin(activity, at);
    let checked = tokio::select! {
        checked = check_first(&tools, &target, &entry, depth) => checked,
        () = stop.requested() => return Ended::Stopped(entry),
    };
    let report = match (checked, &tools.writers) {
        (Some(report), None) => report,
        (Some(report), Some(_)) if report.state != State::Differs => report,
        (None | Some(_), Some(writers)) => {
            let _turn = tokio::select! {
                turn = repairs.turn(&target.dataset.name) => turn,
                () = stop.requested() => return Ended::Stopped(entry),
            };
            shown.repairing();
            repair(&tools, writers, &target, depth).await
        }
        (None, None) => unreachable!("without writers every pass starts with a check"),
    };
    if stop.is_requested() && report.interrupted {
        return Ended::Stopped(entry);
    }
    Ended::Pass(entry, Box::new(report))
}

/// The check before a possible repair. A day that was only waiting for its repair needs none.
async fn check_first(
    tools: &Tools,
    target: &DatasetDay,
    entry: &Queued,
    depth: Depth,
) -> Option<Report> {
    let world = &tools.world;
    match &tools.writers {
        None => Some(reconcile::check(world, target, depth).await),
        Some(_) if entry.has(Reason::Again) => None,
        Some(_) => Some(reconcile::check_before_repair(world, target, depth).await),
    }
}

async fn repair(tools: &Tools, writers: &Writers, target: &DatasetDay, depth: Depth) -> Report {
    let asked = Asked::default();
    reconcile::repair(&tools.world, writers, target, depth, &asked).await
}
