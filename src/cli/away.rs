//! Stops a command early when a service does not answer.
//!
//! Every request has its own timeout, so a command on many dataset-days would wait for each of
//! them. After a failed request, the service gets one small probe. If it does not answer the probe
//! either, the remaining days are listed and skipped.

use tracing::error;

use super::Exit;
use super::style::clean;
use crate::model::{Dataset, DatasetDay};
use crate::reconcile::{Report, Service, World};

/// The service that the report failed on, if a probe of it fails too.
pub(super) async fn behind(world: &World, report: &Report) -> Option<Service> {
    is_away(world, report.failed?, &report.target.dataset).await
}

/// The service, if it does not answer a probe.
pub(super) async fn is_away(world: &World, service: Service, dataset: &Dataset) -> Option<Service> {
    let answers = world.answers(service, dataset).await;
    (!answers).then_some(service)
}

/// Logs which dataset-days have no result, and why. `done` is the participle of what was to be
/// done with them, such as `checked`.
pub(super) fn leave(
    world: &World,
    service: Service,
    targets: &[DatasetDay],
    reports: &[Report],
    done: &str,
) -> Exit {
    let is_judged = |target: &&DatasetDay| {
        let of_it = |report: &Report| report.target == **target && !report.service_failed;
        reports.iter().any(of_it)
    };
    let left: Vec<&DatasetDay> = targets.iter().filter(|day| !is_judged(day)).collect();
    let (address, days) = (world.address(service), in_words(&left));
    let (left, all) = (left.len(), targets.len());
    error!(
        %service,
        left,
        "the {service} at {} does not answer: {left} of {all} dataset-days were not {done}: {days}",
        clean(&address)
    );
    Exit::Failed
}

/// The days, grouped by dataset: `camera-counts 2020-10-01 to 2020-10-30`.
fn in_words(days: &[&DatasetDay]) -> String {
    let by_dataset = days.chunk_by(|a, b| a.dataset.name == b.dataset.name);
    let spans = by_dataset.filter_map(|days| {
        let (first, last) = (days.first()?, days.last()?);
        Some(match days.len() {
            1 => first.to_string(),
            _ => format!("{first} to {}", last.day),
        })
    });
    spans.collect::<Vec<_>>().join(", ")
}
