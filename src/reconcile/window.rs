//! Reads lake and catalog over a range of days: each day's folder is listed once, several in
//! parallel, and each layer's entries are read with one query.
//!
//! A check needs its own day and a few around it; a survey needs a month or more. Both read through
//! this module, so that apart from the listings a survey of thirty days makes no more requests than
//! a check of one. What the files and entries of a day mean is left to [`super::LakeSide`].

use std::collections::BTreeMap;

use futures::StreamExt;

use crate::catalog::{Catalogued, UnreadLine};
use crate::compare::Doubt;
use crate::lake::Listed;
use crate::model::{Coverage, Dataset, DatasetDay, Day, DayRange, Entry, FileStamp, LakePath};

use super::{CheckError, ReadyLayer, World};

/// Number of folders listed in parallel.
const LISTINGS_AT_ONCE: usize = 8;

/// The contents of the lake's folders for a range of days.
pub(super) type Listing = BTreeMap<LakePath, FileStamp>;

/// Entries by the day they belong to.
pub(super) type EntriesByDay = BTreeMap<Day, Vec<Entry>>;

/// Days before a day that determine its usual number of files.
const USUAL_DAYS: i64 = 28;

fn median(mut counts: Vec<u64>) -> u64 {
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or(0)
}

/// The ready layer of a dataset over a range of days, both ends included, and over the days before
/// it that determine the usual number of files.
pub(super) struct Window {
    pub(super) entries: ReadyEntries,
    /// The folders that could be listed.
    listings: BTreeMap<Day, Listed>,
}

impl Window {
    /// Lists the lake and reads the ready layer's entries, for checks of the days from `first` on.
    ///
    /// # Errors
    /// If the lake cannot be listed or the catalog cannot be read.
    pub(super) async fn read(
        ready: ReadyLayer<'_>,
        dataset: &Dataset,
        first: Day,
        days: (Day, Day),
    ) -> Result<Self, CheckError> {
        let listings = listings(ready, &dataset.source, days).await;
        let whole = listings
            .into_iter()
            .map(|(day, listed)| Ok((day, listed?)))
            .collect::<Result<_, CheckError>>()?;
        Self::over(ready, dataset, first, days, whole).await
    }

    /// The same for a survey, but skips folders that cannot be listed as long as others can: they
    /// affect only their own days.
    ///
    /// # Errors
    /// If the lake does not respond, no folder can be listed or the catalog cannot be read.
    pub(super) async fn read_in_part(
        ready: ReadyLayer<'_>,
        dataset: &Dataset,
        first: Day,
        days: (Day, Day),
    ) -> Result<Self, CheckError> {
        let listings = listings(ready, &dataset.source, days).await;
        let (mut listed, mut failed) = (BTreeMap::new(), None);
        for (day, listing) in listings {
            match listing {
                Ok(listing) => drop(listed.insert(day, listing)),
                Err(error) if error.is_service() => return Err(error),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        match failed.filter(|_| listed.is_empty()) {
            Some(error) => Err(error),
            None => Self::over(ready, dataset, first, days, listed).await,
        }
    }

    async fn over(
        ready: ReadyLayer<'_>,
        dataset: &Dataset,
        first: Day,
        days: (Day, Day),
        listings: BTreeMap<Day, Listed>,
    ) -> Result<Self, CheckError> {
        let with_past = (first.plus(-USUAL_DAYS).min(days.0), days.1);
        Ok(Self {
            entries: ready_entries(ready, dataset, with_past).await?,
            listings,
        })
    }

    /// Whether the folders of these days, both ends included, could be listed.
    pub(super) fn has_listed(&self, days: (Day, Day)) -> bool {
        let range = DayRange {
            from: days.0,
            to: days.1.next(),
        };
        range.days().all(|day| self.listings.contains_key(&day))
    }

    pub(super) fn entries(&self, days: (Day, Day)) -> impl Iterator<Item = &Entry> {
        self.entries
            .by_day
            .range(days.0..=days.1)
            .flat_map(|(_, of_day)| of_day)
    }

    pub(super) fn listing(&self, days: (Day, Day)) -> Listing {
        let listings = self.listings.range(days.0..=days.1);
        listings
            .flat_map(|(_, listed)| listed.files.clone())
            .collect()
    }

    /// A doubt for each object in these days' folders whose name no client can address.
    pub(super) fn unaddressable(&self, days: (Day, Day)) -> Vec<Doubt> {
        let listings = self.listings.range(days.0..=days.1);
        let names = listings.flat_map(|(_, listed)| listed.unaddressable.clone());
        names.map(Doubt::Unaddressable).collect()
    }

    /// The usual number of files per day, judged by the days before this one.
    pub(super) fn usual(&self, target: &DatasetDay) -> u64 {
        let by_day = &self.entries.by_day;
        let before = by_day.range(target.day.plus(-USUAL_DAYS)..target.day);
        let ours = |entry: &&Entry| entry.key.id_ext == target.dataset.ext;
        let counts = before.map(|(_, of_day)| of_day.iter().filter(ours).count() as u64);
        median(counts.filter(|count| *count > 0).collect())
    }
}

/// Lists the folders of a source's days, both ends included. If a folder cannot be listed, only its
/// own day fails.
pub(super) async fn listings(
    ready: ReadyLayer<'_>,
    source: &str,
    days: (Day, Day),
) -> BTreeMap<Day, Result<Listed, CheckError>> {
    let list = async |day: Day| {
        let listing = ready.lake.list(source, day).await;
        (day, listing.map_err(CheckError::lake))
    };
    futures::stream::iter(inclusive(days).days())
        .map(list)
        .buffered(LISTINGS_AT_ONCE)
        .collect()
        .await
}

/// The ready layer's entries and unreadable lines for a range of days.
pub(super) struct ReadyEntries {
    pub(super) by_day: EntriesByDay,
    unread: Vec<UnreadLine>,
}

impl ReadyEntries {
    /// A doubt for each unreadable line that could be a file of one of these days, both ends
    /// included, with one of these extensions.
    pub(super) fn doubts(&self, dataset: &Dataset, days: (Day, Day), exts: &[&str]) -> Vec<Doubt> {
        let window = covering(dataset, days);
        let concerns = |line: &&UnreadLine| {
            line.may_begin_in(window) && exts.iter().any(|ext| line.may_be(ext))
        };
        self.unread.iter().filter(concerns).map(doubt).collect()
    }
}

/// The ready layer's entries of a source's days, both ends included.
pub(super) async fn ready_entries(
    ready: ReadyLayer<'_>,
    dataset: &Dataset,
    days: (Day, Day),
) -> Result<ReadyEntries, CheckError> {
    let window = covering(dataset, days);
    let read = (ready.catalog)
        .read(ready.repository, &dataset.source, window)
        .await;
    let Catalogued { entries, unread } = read.map_err(CheckError::catalog)?;
    let mut by_day = EntriesByDay::new();
    for entry in entries {
        let day = entry.day(dataset.zone);
        if (days.0..=days.1).contains(&day) {
            by_day.entry(day).or_default().push(entry);
        }
    }
    Ok(ReadyEntries { by_day, unread })
}

/// What the published layer has for one day and for the days whose files can hold its rows.
#[derive(Clone, Debug, Default)]
pub(super) struct PublishedSide {
    pub(super) entries: Vec<Entry>,
    /// A doubt for each unreadable line that could be one of them.
    pub(super) doubts: Vec<Doubt>,
}

/// The published layer of one day.
pub(super) async fn published_entries(
    world: &World,
    target: &DatasetDay,
    spill_days: u8,
) -> Result<PublishedSide, CheckError> {
    let range = DayRange::one(target.day);
    let by_day = published_by_day(world, &target.dataset, range, spill_days).await?;
    Ok(by_day.into_values().next().unwrap_or_default())
}

/// The same for every day of a range. An entry belongs to each day whose time it covers in part, or
/// if it covers part of one of the `spill_days` after that day.
pub(super) async fn published_by_day(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
    spill_days: u8,
) -> Result<BTreeMap<Day, PublishedSide>, CheckError> {
    let spill = i64::from(spill_days);
    let whole = covering(dataset, (range.from, range.to.plus(spill - 1)));
    let repository = &world.settings.catalog.repository;
    let read = world.catalog.read(repository, &dataset.source, whole).await;
    let Catalogued { entries, unread } = read.map_err(CheckError::catalog)?;
    let mut by_day: BTreeMap<Day, PublishedSide> = BTreeMap::new();
    for day in range.days() {
        let window = covering(dataset, (day, day.plus(spill)));
        let concerns = |line: &&UnreadLine| line.may_be(&dataset.ext) && line.may_cover(window);
        let doubts = unread.iter().filter(concerns).map(doubt).collect();
        let entries = Vec::new();
        by_day.insert(day, PublishedSide { entries, doubts });
    }
    for entry in entries {
        let covers = entry.coverage(dataset.zone);
        let first = Day::at(covers.start, dataset.zone).plus(-spill);
        let last = Day::at(covers.end, dataset.zone);
        for (&day, of_day) in by_day.range_mut(first..=last.max(first)) {
            if covers.overlaps(covering(dataset, (day, day.plus(spill)))) {
                of_day.entries.push(entry.clone());
            }
        }
    }
    Ok(by_day)
}

fn doubt(line: &UnreadLine) -> Doubt {
    Doubt::UnreadLine(line.to_string())
}

fn inclusive((from, last): (Day, Day)) -> DayRange {
    DayRange {
        from,
        to: last.next(),
    }
}

/// From the first instant of the first day to the last instant of the last.
fn covering(dataset: &Dataset, (first, last): (Day, Day)) -> Coverage {
    Coverage {
        start: first.start(dataset.zone),
        end: last.end(dataset.zone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_days_do_not_move_the_median() {
        assert_eq!(median(vec![60, 60, 1, 61, 60]), 60);
        assert_eq!(median(vec![]), 0);
    }
}
