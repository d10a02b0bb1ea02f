//! One pass over one claimed dataset-day: look, and where that finds something and the settings
//! allow it, mend.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::ledger::{Queued, Reason};
use crate::model::{DatasetDay, DatasetName};
use crate::reconcile::{self, Asked, Report, State};
use crate::repair::{Stop, Writers};
use crate::telemetry::{Activity, InWork};

use super::Tools;
use super::ended::Ended;

/// Who mends which dataset: one at a time, so that no two of ours meet at its lease.
#[derive(Debug, Default)]
pub(super) struct Mends {
    turns: Mutex<BTreeMap<DatasetName, Arc<Turn<()>>>>,
}

impl Mends {
    async fn turn(&self, dataset: &DatasetName) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.turns.lock().entry(dataset.clone()).or_default());
        turn.lock_owned().await
    }
}

/// Shows a dataset-day as being in work for as long as it lives.
struct Shown {
    activity: Activity,
    at: InWork,
}

impl Shown {
    fn begin(activity: Activity, at: InWork) -> Self {
        activity.update(|picture| picture.in_work.push(at.clone()));
        Self { activity, at }
    }

    fn mending(&mut self) {
        let found = self.at.clone();
        self.at.mending = true;
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

/// The pass. A look that is told to stop is dropped; a repair ends after the step in hand.
pub(super) async fn pass(
    tools: Tools,
    target: DatasetDay,
    entry: Queued,
    mends: Arc<Mends>,
    stop: Stop,
    activity: Activity,
) -> Ended {
    let at = InWork {
        dataset: target.dataset.name.clone(),
        day: target.day,
        depth: entry.depth,
        mending: false,
        since: tools.world.clock.now(),
    };
    let mut shown = Shown::begin(activity, at);
    let looked = tokio::select! {
        looked = look(&tools, &target, &entry) => looked,
        () = stop.asked() => return Ended::Stopped(entry),
    };
    let report = match (looked, &tools.writers) {
        (Some(report), None) => report,
        (Some(report), Some(_)) if report.state != State::Differs => report,
        (None | Some(_), Some(writers)) => {
            let _turn = tokio::select! {
                turn = mends.turn(&target.dataset.name) => turn,
                () = stop.asked() => return Ended::Stopped(entry),
            };
            shown.mending();
            mend(&tools, writers, &target, &entry).await
        }
        (None, None) => unreachable!("without writers every pass begins with a look"),
    };
    if stop.is_asked() && report.interrupted {
        return Ended::Stopped(entry);
    }
    Ended::Pass(entry, Box::new(report))
}

/// The look that a repair may follow. A day that only waited for its repair needs none before it.
async fn look(tools: &Tools, target: &DatasetDay, entry: &Queued) -> Option<Report> {
    let (world, depth) = (&tools.world, entry.depth);
    match &tools.writers {
        None => Some(reconcile::check(world, target, depth).await),
        Some(_) if entry.has(Reason::Again) => None,
        Some(_) => Some(reconcile::check_before_repair(world, target, depth).await),
    }
}

async fn mend(tools: &Tools, writers: &Writers, target: &DatasetDay, entry: &Queued) -> Report {
    let asked = Asked::default();
    reconcile::repair(&tools.world, writers, target, entry.depth, &asked).await
}
