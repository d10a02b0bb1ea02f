//! Every metric of the program in one struct, and the text format that Prometheus reads.
//!
//! The name of a metric is `sodalake_` and the field's name; its help text is the field's doc
//! comment. Labels are datasets of the settings and names of our own enums, never days, keys or
//! files, so their number is bounded. Every series starts at 0 ([`Metrics::fill`]), so that the
//! first event shows as an increase.
//!
//! Counters start again with the process. They have two sources: [`Metrics::record`] takes the
//! report of every pass, and the [`Observer`](crate::socrata::Observer) sees every request to the
//! portal. Gauges that must survive a restart are read from the ledger ([`Metrics::refresh`]).

mod gauges;
mod portal;
mod process;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    CounterVec, Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use self::process::Process;
use crate::compare::{Depth, Finding};
use crate::model::DatasetName;
use crate::plan::{Guard, WhyPurge};
use crate::reconcile::Service;
use crate::reconcile::{CheckFailure, RepairFailure, State};
use crate::schedule::Schedule;
use crate::telemetry::Snapshot;

pub use gauges::Durable;

/// The prefix of every metric's name.
const PREFIX: &str = "sodalake_";

/// Upper bounds for the duration of checks and repairs, in seconds: a small day takes a second, a
/// day of 300,000 rows some minutes, and a write may take hours to become visible.
const PASS_SECONDS: [f64; 12] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
];

/// Upper bounds for the duration of requests, in seconds.
const REQUEST_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0];

/// How to create and register a metric of each kind.
trait Register: Sized {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self;
}

macro_rules! registers {
    ($kind:ty, $opts:expr) => {
        impl Register for $kind {
            fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
                let options: fn(&str, &str) -> _ = $opts;
                let made = <$kind>::new(options(name, help), labels);
                let made = made.expect("names and labels are valid constants");
                let known = registry.register(Box::new(made.clone()));
                known.expect("every name is registered once");
                made
            }
        }
    };
}

fn histogram(name: &str, help: &str) -> HistogramOpts {
    let bounds: &[f64] = if name.contains("request") {
        &REQUEST_SECONDS
    } else {
        &PASS_SECONDS
    };
    HistogramOpts::new(name, help).buckets(bounds.to_vec())
}

registers!(IntCounterVec, |name, help| Opts::new(name, help));
registers!(CounterVec, |name, help| Opts::new(name, help));
registers!(IntGaugeVec, |name, help| Opts::new(name, help));
registers!(HistogramVec, histogram);

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ty [$($label:literal),*],)+) => {
        /// Every metric of the program.
        pub struct Metrics {
            registry: Registry,
            /// Locked while gauges change together, and while they are read.
            still: Mutex<()>,
            /// Rows restored by any process, as far as they were already counted.
            restored_before: Mutex<Option<BTreeMap<DatasetName, u64>>>,
            $($(#[doc = $help])+ $name: $kind,)+
        }

        impl Metrics {
            fn register(registry: Registry) -> Self {
                $(let $name = <$kind>::register(
                    &registry,
                    &format!("{PREFIX}{}", stringify!($name)),
                    concat!($($help),+).trim(),
                    &[$($label),*],
                );)+
                Self {
                    registry,
                    still: Mutex::new(()),
                    restored_before: Mutex::default(),
                    $($name,)+
                }
            }
        }
    };
}

metrics! {
    /// Version and source revision of the running program; always 1.
    build_info: IntGaugeVec ["version", "revision"],
    /// Dataset-days by the state after their last check; "unknown": never checked, or not for longer
    /// than the schedules promise.
    days: IntGaugeVec ["dataset", "state"],
    /// Rows (or catalog entries) with a finding, counted again by every check that finds them.
    rows_found_total: IntCounterVec ["dataset", "finding"],
    /// Rows published by repairs.
    rows_published_total: IntCounterVec ["dataset"],
    /// Rows purged by repairs, by finding.
    rows_purged_total: IntCounterVec ["dataset", "finding"],
    /// Rows restored to the portal from the archive.
    rows_restored_total: IntCounterVec ["dataset"],
    /// Rows archived before they were purged or overwritten.
    rows_archived_total: IntCounterVec ["dataset"],
    /// Catalog entries changed by repairs.
    catalog_changes_total: IntCounterVec ["dataset", "change"],
    /// Checks that succeeded.
    checks_total: IntCounterVec ["dataset", "depth"],
    /// Checks that failed or were inconclusive.
    check_failures_total: IntCounterVec ["dataset", "reason"],
    /// Dataset-days skipped because they have not changed since they were found in sync.
    days_skipped_total: IntCounterVec ["dataset"],
    /// Repairs started.
    repairs_total: IntCounterVec ["dataset"],
    /// Repairs that failed or left findings.
    repair_failures_total: IntCounterVec ["dataset", "reason"],
    /// Plans held, by guard.
    held_total: IntCounterVec ["dataset", "guard"],
    /// Duration of passes that changed nothing.
    check_duration_seconds: HistogramVec ["dataset", "depth"],
    /// Duration of passes that carried out a plan, including both checks.
    repair_duration_seconds: HistogramVec ["dataset"],
    /// Time of the last successful check; 0 if there was none.
    last_check_success_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Time when a check last found a day in sync; 0 if there was none.
    last_in_sync_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Since when the day with the oldest findings has differed; 0 if no day differs.
    oldest_finding_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Start of the newest day seen with published rows; 0 if there is none.
    newest_published_day_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Whether a due run has not succeeded yet.
    schedule_unfulfilled: IntGaugeVec ["dataset", "schedule"],
    /// Days whose repairs are stopped because they were repaired too often.
    breaker_open: IntGaugeVec ["dataset"],
    /// Days held until an operator approves their plan.
    approvals_pending: IntGaugeVec ["dataset"],
    /// Whether this process holds the dataset's lease.
    lease_held: IntGaugeVec ["dataset"],
    /// Whether no new work is started because this service does not answer.
    paused: IntGaugeVec ["reason"],
    /// Requests to the portal by HTTP status; "none" if there was no response.
    portal_requests_total: IntCounterVec ["operation", "code"],
    /// Duration of requests to the portal, without the time spent waiting for the throttle.
    portal_request_duration_seconds: HistogramVec ["operation"],
    /// Retried requests to the portal.
    portal_retries_total: IntCounterVec ["reason"],
    /// Time that requests spent waiting for the throttle.
    portal_throttled_seconds_total: CounterVec [],
    /// Bytes of request bodies sent, and of responses received, after decompression.
    portal_bytes_total: IntCounterVec ["direction"],
    /// Bytes of lake files read.
    lake_bytes_total: IntCounterVec ["dataset"],
    /// Lake files by the outcome of reading them; a file is read once for each recipe that is tried.
    lake_files_total: IntCounterVec ["dataset", "outcome"],
    /// Total size of the archives.
    archive_bytes: IntGaugeVec [],
    /// Whether the ledger answered when the gauges were last read from it.
    ledger_up: IntGaugeVec [],
    /// Notifications by the outcome of sending them to the webhook.
    notifications_total: IntCounterVec ["outcome"],
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All metrics, with every series of `datasets` at 0.
    #[must_use]
    pub fn new<'a>(datasets: impl IntoIterator<Item = &'a DatasetName>) -> Arc<Self> {
        let registry = Registry::new();
        let process = Process::new().and_then(|process| registry.register(Box::new(process)));
        process.expect("every name is valid and registered once");
        let metrics = Self::register(registry);
        let revision = option_env!("SODALAKE_REVISION").unwrap_or("unknown");
        let build = [env!("CARGO_PKG_VERSION"), revision];
        metrics.build_info.with_label_values(&build).set(1);
        metrics.fill(datasets);
        Arc::new(metrics)
    }

    /// Creates every series of `datasets` that does not exist yet, at 0: at the start, and when
    /// reloaded settings add datasets.
    pub fn fill<'a>(&self, datasets: impl IntoIterator<Item = &'a DatasetName>) {
        self.fill_portal();
        for service in Service::ALL {
            self.paused.with_label_values(&[&*service.to_string()]);
        }
        for outcome in Sent::ALL {
            let outcome = outcome.to_string();
            self.notifications_total.with_label_values(&[&*outcome]);
        }
        let none: [&str; 0] = [];
        for gauge in [&self.archive_bytes, &self.ledger_up] {
            gauge.with_label_values(&none);
        }
        for dataset in datasets {
            self.fill_dataset(dataset.as_str());
        }
    }

    fn fill_dataset(&self, dataset: &str) {
        for counter in [
            &self.rows_published_total,
            &self.rows_restored_total,
            &self.rows_archived_total,
            &self.days_skipped_total,
            &self.repairs_total,
            &self.lake_bytes_total,
        ] {
            counter.with_label_values(&[dataset]);
        }
        for gauge in [
            &self.last_check_success_timestamp_seconds,
            &self.last_in_sync_timestamp_seconds,
            &self.oldest_finding_timestamp_seconds,
            &self.newest_published_day_timestamp_seconds,
            &self.breaker_open,
            &self.approvals_pending,
            &self.lease_held,
        ] {
            gauge.with_label_values(&[dataset]);
        }
        self.repair_duration_seconds.with_label_values(&[dataset]);
        let each = |counter: &IntCounterVec, labels: &[String]| {
            for label in labels {
                counter.with_label_values(&[dataset, label]);
            }
        };
        each(&self.rows_found_total, &names(&Finding::ALL));
        each(&self.rows_purged_total, &names(&WhyPurge::ALL));
        each(&self.catalog_changes_total, &names(&record::CHANGES));
        each(&self.checks_total, &names(&Depth::ALL));
        each(&self.check_failures_total, &names(&CheckFailure::ALL));
        each(&self.repair_failures_total, &names(&RepairFailure::ALL));
        each(&self.held_total, &names(&Guard::ALL));
        each(&self.lake_files_total, &names(&record::FILE_OUTCOMES));
        for depth in names(&Depth::ALL) {
            let labels = [dataset, &*depth];
            self.check_duration_seconds.with_label_values(&labels);
        }
        for state in names(&State::ALL) {
            self.days.with_label_values(&[dataset, &*state]);
        }
        for schedule in names(&Schedule::ALL) {
            let labels = [dataset, &*schedule];
            self.schedule_unfulfilled.with_label_values(&labels);
        }
    }

    /// Sets the gauges that show why the daemon waits and which runs are overdue.
    pub fn show(&self, picture: &Snapshot) {
        let _still = self.still.lock();
        let paused = picture.paused.as_ref().map(|pause| pause.reason);
        for service in Service::ALL {
            let gauge = self.paused.with_label_values(&[&*service.to_string()]);
            gauge.set(i64::from(paused == Some(service)));
        }
        for status in &picture.schedules {
            let schedule = status.schedule.to_string();
            let labels = [status.dataset.as_str(), &*schedule];
            let gauge = self.schedule_unfulfilled.with_label_values(&labels);
            gauge.set(i64::from(status.unfulfilled.is_some()));
        }
    }

    /// Counts notifications by outcome.
    pub fn sent(&self, outcome: Sent, messages: u64) {
        self.sent_counter(outcome).inc_by(messages);
    }

    fn sent_counter(&self, outcome: Sent) -> IntCounter {
        let outcome = outcome.to_string();
        self.notifications_total.with_label_values(&[&*outcome])
    }

    /// All metrics in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// If a metric cannot be encoded, which would be a bug.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let _still = self.still.lock();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// The outcome of sending a message to the webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Accepted by the webhook.
    Taken,
    /// Not accepted; it will be sent again.
    Failed,
    /// Never accepted, and no longer retried.
    GivenUp,
    /// Not sent: the state of the day has changed since, or was already reported.
    Outdated,
}

impl Sent {
    const ALL: [Self; 4] = [Self::Taken, Self::Failed, Self::GivenUp, Self::Outdated];
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Taken => "taken",
            Self::Failed => "failed",
            Self::GivenUp => "given-up",
            Self::Outdated => "outdated",
        })
    }
}

fn names<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}
