//! Where a dataset's past begins.

use chrono::NaiveDate;

use crate::model::{Dataset, Day, DayRange};

use super::{LookError, World};

/// Nothing before this day is a sensor's: a clock that was never set says 1970.
const NOTHING_BEFORE: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");

/// The oldest day of which a file is catalogued or a row published; `None` if there is none.
///
/// # Errors
/// If portal or catalog cannot be read.
pub async fn oldest_day(world: &World, dataset: &Dataset) -> Result<Option<Day>, LookError> {
    let table = world.table(dataset).await?;
    let nothing_before = Day::new(NOTHING_BEFORE);
    let all = DayRange {
        from: nothing_before,
        to: Day::at(world.clock.now(), dataset.zone).next(),
    };
    let surveyed = world.socrata.survey(&table, all).await?;
    let published = surveyed.days.keys().next().copied();
    let catalogued = world
        .catalog
        .oldest(&world.settings.lake.repository, &dataset.source)
        .await
        .map_err(LookError::catalog)?
        .map(|entry| Day::at(entry, dataset.zone).max(nothing_before));
    Ok(published.into_iter().chain(catalogued).min())
}
