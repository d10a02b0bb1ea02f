//! Every metric of the program, in one struct, and the text that Prometheus reads.
//!
//! A metric's name is its field's with `sodalake_` before it, its help text is the field's
//! comment. Labels are datasets of the settings and names of our own enums, never a day, a key or
//! a file, so their number is bounded. Every series exists from the start with 0 ([`Metrics::fill`])
//! so that a first event is seen as one.
//!
//! Counters begin anew with the process. They are fed in two places: [`Metrics::record`] takes the
//! report of every pass, and the [`Observer`](crate::socrata::Observer) hears of every request to
//! the portal. Gauges that outlive the process are read from the ledger ([`Metrics::refresh`]).

mod gauges;
mod portal;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    CounterVec, Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::compare::{Depth, Finding};
use crate::model::DatasetName;
use crate::plan::{Guard, WhyPurge};
use crate::reconcile::Service;
use crate::reconcile::{CheckFailure, RepairFailure, State};
use crate::schedule::Schedule;
use crate::telemetry::Snapshot;

pub use gauges::Durable;

/// What every metric's name begins with.
const PREFIX: &str = "sodalake_";

/// Upper bounds of a look's or a repair's duration, in seconds: a small day takes one, a day of
/// 300,000 rows some minutes, and a write may take hours to be seen.
const PASS_SECONDS: [f64; 12] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
];

/// Upper bounds of a request's duration, in seconds.
const REQUEST_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0];

/// How a metric of each kind is made and registered.
trait Register: Sized {
    fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self;
}

macro_rules! registers {
    ($kind:ty, $opts:expr) => {
        impl Register for $kind {
            fn register(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
                let options: fn(&str, &str) -> _ = $opts;
                let made = <$kind>::new(options(name, help), labels);
                let made = made.expect("names and labels are constants, and right");
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
            /// Held while gauges change together, and while they are read out.
            still: Mutex<()>,
            /// Rows restored by whatever program, as they were counted already.
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
    /// Dataset-days by the state their last look left them in.
    days: IntGaugeVec ["dataset", "state"],
    /// Rows (or catalog entries) found wrong, counted again by every look that finds them.
    rows_found_total: IntCounterVec ["dataset", "finding"],
    /// Rows published by repairs.
    rows_published_total: IntCounterVec ["dataset"],
    /// Rows purged by repairs, by what was found wrong with them.
    rows_purged_total: IntCounterVec ["dataset", "finding"],
    /// Archived rows put back on the portal.
    rows_restored_total: IntCounterVec ["dataset"],
    /// Rows archived before they were purged or written over.
    rows_archived_total: IntCounterVec ["dataset"],
    /// Catalog entries changed by repairs.
    catalog_changes_total: IntCounterVec ["dataset", "change"],
    /// Looks that came to a judgement.
    checks_total: IntCounterVec ["dataset", "depth"],
    /// Looks that came to none.
    check_failures_total: IntCounterVec ["dataset", "reason"],
    /// Dataset-days passed over, unchanged since they were found in step.
    days_skipped_total: IntCounterVec ["dataset"],
    /// Repairs begun.
    repairs_total: IntCounterVec ["dataset"],
    /// Repairs that did not come to their end, or left something to mend.
    repair_failures_total: IntCounterVec ["dataset", "reason"],
    /// Plans held, by the guard that held them.
    held_total: IntCounterVec ["dataset", "guard"],
    /// Duration of passes that changed nothing.
    check_duration_seconds: HistogramVec ["dataset", "depth"],
    /// Duration of passes that carried a plan out, both looks included.
    repair_duration_seconds: HistogramVec ["dataset"],
    /// When a look last came to a judgement; 0: never.
    last_check_success_timestamp_seconds: IntGaugeVec ["dataset"],
    /// When a look last found a day in step; 0: never.
    last_in_step_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Since when the day that has differed longest does so; 0: no day differs.
    oldest_finding_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Start of the newest day that was seen with published rows; 0: none was.
    newest_published_day_timestamp_seconds: IntGaugeVec ["dataset"],
    /// Whether a run that was due has not succeeded yet.
    schedule_unfulfilled: IntGaugeVec ["dataset", "schedule"],
    /// Days held because they were repaired too often.
    breaker_open: IntGaugeVec ["dataset"],
    /// Days held until a person approves their plan.
    approvals_pending: IntGaugeVec ["dataset"],
    /// Whether this program holds the dataset's lease.
    lease_held: IntGaugeVec ["dataset"],
    /// Whether nothing new is begun because this service does not answer.
    paused: IntGaugeVec ["reason"],
    /// Requests to the portal by HTTP status; code "none": no answer came.
    portal_requests_total: IntCounterVec ["operation", "code"],
    /// Duration of requests to the portal, the wait for the throttle left out.
    portal_request_duration_seconds: HistogramVec ["operation"],
    /// Requests to the portal sent again.
    portal_retries_total: IntCounterVec ["reason"],
    /// Time that requests waited for the throttle.
    portal_throttled_seconds_total: CounterVec [],
    /// Bytes of request bodies sent, and of answers received and decompressed.
    portal_bytes_total: IntCounterVec ["direction"],
    /// Bytes of lake files read.
    lake_bytes_total: IntCounterVec ["dataset"],
    /// Lake files by what came of reading them; one is read once for each recipe that is tried.
    lake_files_total: IntCounterVec ["dataset", "outcome"],
    /// Size of all archives.
    archive_bytes: IntGaugeVec [],
    /// Whether the ledger answered when gauges were last read from it.
    ledger_up: IntGaugeVec [],
    /// Messages by what came of sending them to the webhook.
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
        let process = prometheus::process_collector::ProcessCollector::for_self();
        let known = registry.register(Box::new(process));
        known.expect("every name is registered once");
        let metrics = Self::register(registry);
        let revision = option_env!("SODALAKE_REVISION").unwrap_or("unknown");
        let build = [env!("CARGO_PKG_VERSION"), revision];
        metrics.build_info.with_label_values(&build).set(1);
        metrics.fill(datasets);
        Arc::new(metrics)
    }

    /// Makes every series of `datasets` exist, at 0 where it is new: at the start, and when new
    /// settings bring new datasets.
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
            &self.last_in_step_timestamp_seconds,
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

    /// Takes over why the daemon waits, and which runs are overdue.
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

    /// Counts a message by what came of sending it.
    pub fn sent(&self, outcome: Sent) {
        self.sent_counter(outcome).inc();
    }

    fn sent_counter(&self, outcome: Sent) -> IntCounter {
        let outcome = outcome.to_string();
        self.notifications_total.with_label_values(&[&*outcome])
    }

    /// Everything as Prometheus reads it, in the text format 0.0.4.
    ///
    /// # Errors
    /// If a metric cannot be written as text, which is a fault of the program.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let _still = self.still.lock();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// What came of sending a message to the webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Taken,
    /// It was not, and will be sent again.
    Failed,
    /// It was never taken, and is not sent again.
    GivenUp,
}

impl Sent {
    const ALL: [Self; 3] = [Self::Taken, Self::Failed, Self::GivenUp];
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Taken => "taken",
            Self::Failed => "failed",
            Self::GivenUp => "given-up",
        })
    }
}

fn names<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}
