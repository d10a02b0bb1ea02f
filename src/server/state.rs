//! What the server knows: the world in force, the metrics, and what the daemon is doing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Problem;
use crate::app;
use crate::model::DatasetName;
use crate::reconcile::{Clock, World, chain};
use crate::settings::{DatasetSettings, Settings};
use crate::telemetry::metrics::{Durable, Metrics};
use crate::telemetry::{Activity, Snapshot};

/// Gauges are read from the ledger no more often than this, however often they are asked for.
const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// Archives are listed no more often than this: it may be many objects.
const ARCHIVE_EVERY: Duration = Duration::from_mins(10);
/// How long the ledger may take; then the gauges stay as they were.
const LEDGER_WITHIN: Duration = Duration::from_secs(5);
/// How long a scrape waits for the archive's size; then the next one has it.
const ARCHIVE_WITHIN: Duration = Duration::from_secs(2);

/// Shared by all requests; clones are one and the same.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
}

struct Shared {
    activity: Activity,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    in_force: RwLock<Option<InForce>>,
    fresh: Mutex<Fresh>,
}

/// The world by the settings in force, and who holds our leases.
#[derive(Clone)]
struct InForce {
    world: Arc<World>,
    holder: Arc<str>,
}

#[derive(Default)]
struct Fresh {
    gauges: Option<Instant>,
    archive: Option<Instant>,
}

impl State {
    /// Before anything is open: alive, and not ready.
    #[must_use]
    pub fn new(activity: Activity, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            activity,
            metrics,
            clock,
            in_force: RwLock::default(),
            fresh: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes over a world that was just opened: at the start, and when settings were read anew.
    /// `holder` is who holds this program's leases.
    pub fn renew(&self, world: &Arc<World>, holder: &str) {
        let metrics = &self.shared.metrics;
        let names = |settings: &Settings| -> BTreeSet<DatasetName> {
            let names = settings.datasets.iter();
            names.map(|one| one.dataset.name.clone()).collect()
        };
        let new = names(&world.settings);
        let in_force = InForce {
            world: Arc::clone(world),
            holder: holder.into(),
        };
        let old = self.shared.in_force.write().replace(in_force);
        for gone in old.map(|old| names(&old.world.settings)).iter().flatten() {
            if !new.contains(gone) {
                metrics.forget(gone);
            }
        }
        metrics.fill(&new);
        world.portal.observe(Arc::clone(metrics) as _);
    }

    /// The world in force.
    ///
    /// # Errors
    /// Before anything is open.
    pub(super) fn world(&self) -> Result<Arc<World>, Problem> {
        let in_force = self.shared.in_force.read();
        let world = in_force
            .as_ref()
            .map(|in_force| Arc::clone(&in_force.world));
        world.ok_or_else(|| Problem::unavailable("the daemon has not opened its ledger yet"))
    }

    /// The settings of a dataset by its name.
    ///
    /// # Errors
    /// If there is none of that name, or before anything is open.
    pub(super) fn dataset(&self, name: &str) -> Result<(Arc<World>, DatasetSettings), Problem> {
        let world = self.world()?;
        let mut datasets = world.settings.datasets.iter();
        let found = datasets
            .find(|one| one.dataset.name.as_str() == name)
            .cloned();
        let found = found.ok_or_else(|| Problem::not_found(format!("no dataset is called {name}")));
        Ok((world, found?))
    }

    /// What the daemon is doing.
    pub(super) fn activity(&self) -> Snapshot {
        self.shared.activity.snapshot()
    }

    /// The time.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    /// The metrics, with gauges no older than a moment.
    pub(super) async fn metrics(&self) -> Arc<Metrics> {
        let metrics = Arc::clone(&self.shared.metrics);
        metrics.show(&self.activity());
        let in_force = self.shared.in_force.read().clone();
        let mut fresh = self.shared.fresh.lock().await;
        let due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        let Some(in_force) = in_force else {
            return metrics;
        };
        if due(fresh.gauges, GAUGES_EVERY) {
            self.read_gauges(&in_force).await;
            fresh.gauges = Some(Instant::now());
        }
        if due(fresh.archive, ARCHIVE_EVERY) {
            fresh.archive = Some(Instant::now());
            let sized = tokio::spawn(size_archive(in_force.world, Arc::clone(&metrics)));
            let _ = tokio::time::timeout(ARCHIVE_WITHIN, sized).await; // else the next scrape has it
        }
        metrics
    }

    async fn read_gauges(&self, in_force: &InForce) {
        let InForce { world, holder } = in_force;
        let durable = Durable::read(&world.ledger, holder, self.now());
        let durable = match tokio::time::timeout(LEDGER_WITHIN, durable).await {
            Ok(Ok(durable)) => Some(durable),
            Ok(Err(error)) => {
                tracing::warn!("failed to read gauges: {}", chain(&error));
                None
            }
            Err(_) => None,
        };
        let datasets = world.settings.datasets.iter().map(|one| &one.dataset);
        let zones: Vec<_> = datasets.map(|one| (one.name.clone(), one.zone)).collect();
        self.shared.metrics.refresh(durable.as_ref(), &zones);
    }
}

async fn size_archive(world: Arc<World>, metrics: Arc<Metrics>) {
    let bytes = async { Ok::<u64, anyhow::Error>(app::archive(&world.settings)?.bytes().await?) };
    match bytes.await {
        Ok(bytes) => metrics.archived(bytes),
        Err(error) => tracing::warn!("failed to size the archive: {error:#}"),
    }
}
