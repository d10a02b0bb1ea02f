//! `sodalake run`: the daemon, until it is asked to end.

use std::sync::Arc;

use super::{Common, Exit, config};
use crate::daemon::{self, Deaf, End, Parts};
use crate::reconcile::SystemClock;
use crate::telemetry::Activity;

/// Carries the command out.
pub(super) async fn run(common: &Common) -> anyhow::Result<Exit> {
    let again = common.clone();
    let parts = Parts {
        reread: Box::new(move || config::load(&again)),
        clock: Arc::new(SystemClock),
        activity: Activity::default(),
        observer: Arc::new(Deaf),
    };
    Ok(match daemon::run(parts).await? {
        End::Drained => Exit::Ok,
        End::Cut => Exit::Interrupted,
    })
}
