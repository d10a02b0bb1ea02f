//! The server's state: the current world, the metrics, and what the daemon is doing.

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
use crate::reconcile::{Clock, World, chain, promises};
use crate::settings::{DatasetSettings, Settings};
use crate::telemetry::metrics::{Durable, Metrics};
use crate::telemetry::{Activity, Snapshot};

/// Minimum interval between reads of the gauges from the ledger, however often they are scraped.
const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// Minimum interval between listings of the archive, which may have many objects.
const ARCHIVE_EVERY: Duration = Duration::from_mins(10);
/// How long the ledger may take; after that, the gauges keep their old values.
const LEDGER_WITHIN: Duration = Duration::from_secs(5);
/// How long a scrape waits for the archive's size; after that, the next scrape reports it.
const ARCHIVE_WITHIN: Duration = Duration::from_secs(2);

/// The state that all requests share; clones refer to the same state.
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

/// The world of the current settings, and the holder name of our leases.
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
    /// The state before anything is open: alive, but not ready.
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

    /// Replaces the world, at the start and after the settings were reloaded. `holder` is the name that
    /// holds this process's leases.
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

    /// The current world.
    ///
    /// # Errors
    /// If nothing is open yet.
    pub(super) fn world(&self) -> Result<Arc<World>, Problem> {
        let in_force = self.shared.in_force.read();
        let world = in_force
            .as_ref()
            .map(|in_force| Arc::clone(&in_force.world));
        world.ok_or_else(|| Problem::unavailable("the daemon has not opened its ledger yet"))
    }

    /// The settings of the dataset with this name.
    ///
    /// # Errors
    /// If there is no such dataset, or nothing is open yet.
    pub(super) fn dataset(&self, name: &str) -> Result<(Arc<World>, DatasetSettings), Problem> {
        let world = self.world()?;
        let mut datasets = world.settings.datasets.iter();
        let found = datasets
            .find(|one| one.dataset.name.as_str() == name)
            .cloned();
        let found = found.ok_or_else(|| Problem::not_found(format!("there is no dataset {name}")));
        Ok((world, found?))
    }

    /// What the daemon is doing.
    pub(super) fn activity(&self) -> Snapshot {
        self.shared.activity.snapshot()
    }

    /// The current time, by the world's clock once there is one, since the daemon's times come from it.
    pub(super) fn now(&self) -> DateTime<Utc> {
        let in_force = self.shared.in_force.read();
        match in_force.as_ref() {
            Some(in_force) => in_force.world.clock.now(),
            None => self.shared.clock.now(),
        }
    }

    /// The metrics, with fresh gauges.
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
            let _ = tokio::time::timeout(ARCHIVE_WITHIN, sized).await; // otherwise, the next scrape has it
        }
        metrics
    }

    async fn read_gauges(&self, in_force: &InForce) {
        let InForce { world, holder } = in_force;
        let now = self.now();
        let promises = promises(&world.settings, now);
        let durable = Durable::read(&world.ledger, holder, promises, now);
        let durable = match tokio::time::timeout(LEDGER_WITHIN, durable).await {
            Ok(Ok(durable)) => Some(durable),
            Ok(Err(error)) => {
                tracing::warn!("cannot read the gauges: {}", chain(&error));
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
        Err(error) => tracing::warn!("cannot measure the archive: {error:#}"),
    }
}
