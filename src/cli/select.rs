//! Which dataset-days a command is about: names and ids from the command line, found in the
//! settings, over a range of days.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{LookArgs, UsageError};
use crate::model::{DatasetDay, Day};
use crate::settings::{DatasetSettings, Settings};

/// The dataset of this name or id.
///
/// # Errors
/// If the settings have none such, with those they have.
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
            "find dataset '{name}': the settings have {}",
            names.join(", ")
        ))
    })
}

/// One dataset on one day.
pub(super) fn day(settings: &Settings, name: &str, day: Day) -> Result<DatasetDay, UsageError> {
    let dataset = Arc::clone(&dataset(settings, name)?.dataset);
    Ok(DatasetDay { dataset, day })
}

/// The datasets that are named, or all.
pub(super) fn datasets<'a>(
    settings: &'a Settings,
    names: &[String],
) -> Result<Vec<&'a DatasetSettings>, UsageError> {
    if names.is_empty() {
        return Ok(settings.datasets.iter().collect());
    }
    names.iter().map(|name| dataset(settings, name)).collect()
}

/// Every dataset-day that is asked for, dataset by dataset, days ascending.
pub(super) fn days(
    settings: &Settings,
    look: &LookArgs,
    now: DateTime<Utc>,
) -> Result<Vec<DatasetDay>, UsageError> {
    let span = look
        .range
        .span()
        .map_err(|empty| UsageError(empty.to_string()))?;
    let mut targets = Vec::new();
    for one in datasets(settings, &look.datasets)? {
        let range = span.days(now, one.dataset.zone, one.schedule.window_days);
        let dataset = &one.dataset;
        targets.extend(range.days().map(|day| DatasetDay {
            dataset: Arc::clone(dataset),
            day,
        }));
    }
    Ok(targets)
}
