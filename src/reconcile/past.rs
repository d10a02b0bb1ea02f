//! Where a dataset's past begins, and which of its days have any data.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use crate::model::{Dataset, Day, DayRange};

use super::check::recipe_of;
use super::{CheckError, State, World};

/// Days before this one are not real: a sensor clock that was never set reports 1970.
const EARLIEST_DATE: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");

/// The oldest day with a catalogued file or a published row; `None` if there is none.
///
/// # Errors
/// If portal or catalog cannot be read.
pub async fn oldest_day(world: &World, dataset: &Dataset) -> Result<Option<Day>, CheckError> {
    let table = world.table(dataset).await?;
    let earliest = Day::new(EARLIEST_DATE);
    let all = DayRange {
        from: earliest,
        to: Day::at(world.clock.now(), dataset.zone).next(),
    };
    let surveyed = world.socrata.survey(&table, all).await?;
    let published = surveyed.days.keys().chain(&surveyed.unclear).min().copied();
    let catalogued = world
        .catalog
        .oldest(&world.settings.lake.repository, &dataset.source)
        .await
        .map_err(CheckError::catalog)?
        .map(|entry| Day::at(entry, dataset.zone).max(earliest));
    Ok(published.into_iter().chain(catalogued).min())
}

/// The days of a range that must be checked: every day since the first one with a catalogued file,
/// and older days that have published rows or were not in sync when last checked. A single row with
/// a wrong date can be years older than its table, with nothing on either side for the days
/// between.
///
/// # Errors
/// If portal, catalog or ledger cannot be read.
pub async fn days_with_anything(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
) -> Result<BTreeSet<Day>, CheckError> {
    let first = first_catalogued(world, dataset).await?;
    let from = first.map_or(range.to, |first| first.max(range.from));
    let since = DayRange { from, ..range };
    let mut days: BTreeSet<Day> = since.days().collect();
    if from > range.from {
        let table = world.table(dataset).await?;
        let older = DayRange {
            to: from.min(range.to),
            ..range
        };
        let seen = world.socrata.survey(&table, older).await?;
        days.extend(seen.days.into_keys().chain(seen.unclear));
        let known = world.ledger.days(Some(&dataset.name), Some(older)).await;
        let in_sync = State::InSync.to_string();
        let known = known.map_err(CheckError::ledger)?.into_iter();
        days.extend(known.filter(|day| day.state != in_sync).map(|day| day.day));
    }
    Ok(days)
}

/// The first day that can have a row of a catalogued file, or that the catalog lists as published.
async fn first_catalogued(world: &World, dataset: &Dataset) -> Result<Option<Day>, CheckError> {
    let settings = &world.settings;
    let mut first = None;
    for repository in [&settings.lake.repository, &settings.catalog.repository] {
        let oldest = world.catalog.oldest(repository, &dataset.source).await;
        let oldest = oldest.map_err(CheckError::catalog)?;
        first = first.into_iter().chain(oldest).min();
    }
    let spill = i64::from(recipe_of(dataset)?.facts().spill_days);
    Ok(first.map(|entry| Day::at(entry, dataset.zone).plus(-spill)))
}
