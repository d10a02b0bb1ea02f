//! `sodalake run`: the daemon with its status page, metrics, API and notifications.

use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Common, Exit, config};
use crate::app;
use crate::daemon::{self, End, Observer, Parts};
use crate::reconcile::{Report, SystemClock, World};
use crate::server;
use crate::telemetry::Activity;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::notify::Notifier;

/// Passes what the daemon finds on to the status page and the notifications.
struct Audience {
    metrics: Arc<Metrics>,
    state: server::State,
    world: Mutex<Option<Arc<World>>>,
}

impl Observer for Audience {
    fn renewed(&self, world: &Arc<World>, holder: &str) {
        self.state.renew(world, holder);
        *self.world.lock() = Some(Arc::clone(world));
    }

    fn told(&self, report: &Report) {
        self.metrics.record(report);
    }
}

/// Runs the daemon until it is interrupted.
pub(super) async fn run(common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let listen = settings.http.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen} (http.listen)"))?;
    let address = listener
        .local_addr()
        .context("cannot read the listening address")?;
    tracing::info!(%address, "serving the status page, metrics and API at http://{address}/");

    let (activity, clock) = (Activity::default(), Arc::new(SystemClock));
    let metrics = Metrics::new(settings.datasets.iter().map(|one| &one.dataset.name));
    let state = server::State::new(activity.clone(), Arc::clone(&metrics), clock.clone());
    let audience = Arc::new(Audience {
        metrics: Arc::clone(&metrics),
        state: state.clone(),
        world: Mutex::default(),
    });
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve(listener, state, async {
        let _ = ended.await; // sent or dropped: both mean shutdown
    }));
    let notifier = Notifier::new(metrics, &app::holder()).context("cannot set up notifications")?;
    let hearer = Arc::clone(&audience);
    let notifying = tokio::spawn(notifier.run(move || hearer.world.lock().clone()));

    let again = common.clone();
    let parts = Parts {
        reread: Box::new(move || config::load(&again)),
        clock,
        activity,
        observer: audience,
    };
    let came = daemon::run(parts).await;
    notifying.abort();
    let _ = end.send(()); // the server may have ended before
    match came? {
        End::Drained => {
            serving.await.context("cannot stop the server")?;
            Ok(Exit::Ok)
        }
        End::Cut => Ok(Exit::Interrupted),
    }
}
