//! Lake and catalog over a run of days, read at once: each day's folder listed once and several at
//! a time, each layer's entries in one query.
//!
//! One look needs its own day and a few around it; a survey needs a month and more. Both read
//! their days from here, so that a survey asks no more for thirty days than a look asks for one,
//! but for the listings. What the files and entries of a day mean is left to [`super::LakeSide`].

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use crate::model::{Coverage, Dataset, DatasetDay, Day, DayRange, Entry, FileStamp, LakePath};

use super::{LookError, ReadyLayer, World};

/// Folders that are listed side by side.
const LISTINGS_AT_ONCE: usize = 8;

/// What is in the lake's folders of a run of days.
pub(super) type Listing = BTreeMap<LakePath, FileStamp>;

/// Entries by the day they belong to.
pub(super) type EntriesByDay = BTreeMap<Day, Vec<Entry>>;

/// Lists the folders of a source's days, both ends included.
pub(super) async fn listings(
    ready: ReadyLayer<'_>,
    source: &str,
    days: (Day, Day),
) -> Result<BTreeMap<Day, Listing>, LookError> {
    let list = async |day: Day| {
        let listing = ready.lake.list(source, day).await;
        listing
            .map(|listing| (day, listing))
            .map_err(LookError::lake)
    };
    futures::stream::iter(inclusive(days).days())
        .map(list)
        .buffered(LISTINGS_AT_ONCE)
        .try_collect()
        .await
}

/// The ready layer's entries of a source's days, both ends included.
pub(super) async fn ready_entries(
    ready: ReadyLayer<'_>,
    dataset: &Dataset,
    days: (Day, Day),
) -> Result<EntriesByDay, LookError> {
    let window = covering(dataset, days);
    let entries = (ready.catalog)
        .entries(ready.repository, &dataset.source, window)
        .await;
    let mut by_day = EntriesByDay::new();
    for entry in entries.map_err(LookError::catalog)? {
        let day = entry.day(dataset.zone);
        if (days.0..=days.1).contains(&day) {
            by_day.entry(day).or_default().push(entry);
        }
    }
    Ok(by_day)
}

/// The published entries of the days whose files can hold rows of the day.
pub(super) async fn published_entries(
    world: &World,
    target: &DatasetDay,
    spill_days: u8,
) -> Result<Vec<Entry>, LookError> {
    let range = DayRange::one(target.day);
    let by_day = published_by_day(world, &target.dataset, range, spill_days).await?;
    Ok(by_day.into_values().next().unwrap_or_default())
}

/// The same for every day of a range. An entry belongs to each day whose time, or that of the
/// `spill_days` after it, it covers in part.
pub(super) async fn published_by_day(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
    spill_days: u8,
) -> Result<EntriesByDay, LookError> {
    let spill = i64::from(spill_days);
    let whole = covering(dataset, (range.from, range.to.plus(spill - 1)));
    let repository = &world.settings.catalog.repository;
    let entries = world.catalog.entries(repository, &dataset.source, whole);
    let mut by_day: EntriesByDay = range.days().map(|day| (day, Vec::new())).collect();
    for entry in entries.await.map_err(LookError::catalog)? {
        let covers = entry.coverage(dataset.zone);
        let first = Day::at(covers.start, dataset.zone).plus(-spill);
        let last = Day::at(covers.end, dataset.zone);
        for (&day, of_day) in by_day.range_mut(first..=last.max(first)) {
            if covers.overlaps(covering(dataset, (day, day.plus(spill)))) {
                of_day.push(entry.clone());
            }
        }
    }
    Ok(by_day)
}

fn inclusive((from, last): (Day, Day)) -> DayRange {
    DayRange {
        from,
        to: last.next(),
    }
}

/// From the first instant of the first day to the last of the last.
fn covering(dataset: &Dataset, (first, last): (Day, Day)) -> Coverage {
    Coverage {
        start: first.start(dataset.zone),
        end: last.end(dataset.zone),
    }
}
