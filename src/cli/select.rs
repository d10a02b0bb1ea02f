//! Selects the dataset-days of a command: names and ids from the command line, resolved with the
//! settings, over a range of days.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{TargetArgs, UsageError};
use crate::model::{DatasetDay, Day};
use crate::settings::{DatasetSettings, Settings};

/// The dataset with this name or id.
///
/// # Errors
/// If there is none; the error lists the datasets in the settings.
pub(super) fn dataset<'a>(
    settings: &'a Settings,
    name: &str,
) -> Result<&'a DatasetSettings, UsageError> {
    let known = |one: &&DatasetSettings| {
        one.dataset.name.as_str() == name || one.dataset.id.as_str() == name
    };
    settings.datasets.iter().find(known).ok_or_else(|| {
        let names: Vec<&str> = settings
            .datasets
            .iter()
            .map(|one| one.dataset.name.as_str())
            .collect();
        let name = name.escape_debug();
        UsageError(format!(
            "there is no dataset '{name}'; the settings have {}",
            names.join(", ")
        ))
    })
}

/// One dataset on one day.
pub(super) fn day(settings: &Settings, name: &str, day: Day) -> Result<DatasetDay, UsageError> {
    let dataset = Arc::clone(&dataset(settings, name)?.dataset);
    Ok(DatasetDay { dataset, day })
}

/// The named datasets, or all of them.
pub(super) fn datasets<'a>(
    settings: &'a Settings,
    names: &[String],
) -> Result<Vec<&'a DatasetSettings>, UsageError> {
    if names.is_empty() {
        return Ok(settings.datasets.iter().collect());
    }
    names.iter().map(|name| dataset(settings, name)).collect()
}

/// Every selected dataset-day, by dataset, in ascending order of days.
pub(super) fn days(
    settings: &Settings,
    named: &TargetArgs,
    now: DateTime<Utc>,
) -> Result<Vec<DatasetDay>, UsageError> {
    let span = named
        .range
        .span()
        .map_err(|empty| UsageError(empty.to_string()))?;
    let mut targets = Vec::new();
    for one in datasets(settings, &named.datasets)? {
        let range = span.days(now, one.dataset.zone, one.schedule.window_days);
        let dataset = &one.dataset;
        targets.extend(range.days().map(|day| DatasetDay {
            dataset: Arc::clone(dataset),
            day,
        }));
    }
    Ok(targets)
}
