//! The cheap check of many days at once.
//!
//! One grouped query returns the number of rows per day and their newest stamp for a whole window.
//! Together with the lake's listing, the published entries and the settings, these make a day's
//! *fingerprint*. A day is skipped if its fingerprint is the one it had when it was last found in
//! sync; every other day must be checked. The number of rows is included because a delete leaves no
//! stamp. A fingerprint says nothing about values, so only a check that compared them allows a day
//! to be skipped.
//!
//! A day with a side that cannot be read, while the sides of other days can, must be checked too.
//! Its check reports why, and the other days are not affected.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::compare::{Depth, Findings};
use crate::expected::Facts;
use crate::model::{Dataset, DatasetDay, Day, DayRange};
use crate::socrata::Survey;

use super::check::{outside, recipe_of};
use super::report::{Report, State};
use super::window::Window;
use super::{CheckError, LakeSide, World, chain, window};

/// A day as seen by a survey.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The dataset-day.
    pub target: DatasetDay,
    /// Whether it is unchanged since it was found in sync.
    pub unchanged: bool,
    /// The sides of the day as one text; `None` if one of them cannot be read.
    pub outside: Option<String>,
}

/// Determines for every day of the range whether it is unchanged since it was found in sync.
/// Queries each side once for the whole range and lists the lake's folders; opens no object.
///
/// # Errors
/// If the portal, lake, catalog or ledger cannot be read at all.
pub async fn survey(
    world: &World,
    dataset: &Arc<Dataset>,
    range: DayRange,
) -> Result<Vec<Surveyed>, CheckError> {
    let facts = recipe_of(dataset)?.facts();
    let spill = i64::from(facts.spill_days);
    let published = read_survey(world, dataset, range).await?;
    let (ready, days) = (world.ready(), (range.from, range.to.plus(spill - 1)));
    let window = Window::read_in_part(ready, dataset, range.from, days).await?;
    let catalogued = window::published_by_day(world, dataset, range, facts.spill_days).await?;
    let in_sync = fingerprints_in_sync(world, dataset, range).await?;
    let mut judged = Vec::new();
    for (day, catalogued) in catalogued {
        let target = DatasetDay {
            dataset: Arc::clone(dataset),
            day,
        };
        let days = (day, day.plus(spill));
        let side = lake_side(world, &window, &target, facts, days).await?;
        let outside = side
            .zip(rows_of_day(&published, day))
            .map(|(side, (count, newest))| {
                let lake = outside(&side.fingerprint(), &catalogued);
                digest(dataset, &lake, count, newest)
            });
        judged.push(Surveyed {
            unchanged: outside.is_some() && in_sync.get(&day) == outside.as_ref(),
            target,
            outside,
        });
    }
    Ok(judged)
}

/// Number of rows published on these days, with one request.
///
/// # Errors
/// If the portal cannot be read.
pub async fn published_count(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
) -> Result<u64, CheckError> {
    let survey = read_survey(world, dataset, range).await?;
    Ok(survey.days.values().map(|day| day.rows).sum())
}

/// The lake's side of a day; `None` if it cannot be read although that of other days can.
async fn lake_side(
    world: &World,
    window: &Window,
    target: &DatasetDay,
    facts: &Facts,
    days: (Day, Day),
) -> Result<Option<LakeSide>, CheckError> {
    if !window.has_listed(days) {
        return Ok(None);
    }
    match LakeSide::within(world.ready(), window, target, facts, days).await {
        Ok(side) => Ok(Some(side)),
        Err(error) if error.is_service() => Err(error),
        Err(error) => {
            tracing::debug!(day = %target, "cannot survey {target}: {}", chain(&error));
            Ok(None)
        }
    }
}

/// Rows of a day and their newest stamp; `None` if the portal's answer for the day makes no sense.
fn rows_of_day(published: &Survey, day: Day) -> Option<(u64, Option<DateTime<Utc>>)> {
    if published.unclear.contains(&day) {
        return None;
    }
    let seen = published.days.get(&day);
    Some(seen.map_or((0, None), |row| (row.rows, row.newest)))
}

/// Rows per day, in one request. The metadata are read only if the day column is not a date column.
async fn read_survey(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
) -> Result<Survey, CheckError> {
    let (id, day_column) = (&dataset.id, &dataset.day_column);
    if let Some(survey) = world.socrata.survey_unread(id, day_column, range).await? {
        return Ok(survey);
    }
    let table = world.table(dataset).await?;
    Ok(world.socrata.survey(&table, range).await?)
}

/// The fingerprints of the days that were in sync at their last check.
async fn fingerprints_in_sync(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
) -> Result<BTreeMap<Day, String>, CheckError> {
    let known = world.ledger.days(Some(&dataset.name), Some(range)).await;
    let in_sync = State::InSync.to_string();
    Ok((known.map_err(CheckError::ledger)?.into_iter())
        .filter(|known| known.state == in_sync)
        .filter_map(|known| Some((known.day, known.fingerprint?)))
        .collect())
}

fn digest(dataset: &Dataset, outside: &str, count: u64, newest: Option<DateTime<Utc>>) -> String {
    let mut hash = Sha256::new();
    hash.update(crate::settings::fingerprint(dataset));
    hash.update(format!("\n{count}\n{newest:?}\n"));
    hash.update(outside);
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The fingerprint of a day that was just checked.
pub(super) fn fingerprint(findings: &Findings) -> String {
    let dataset = &findings.target.dataset;
    digest(dataset, &findings.lake, findings.published, findings.newest)
}

impl Report {
    /// The report of a day that is unchanged since it was found in sync.
    #[must_use]
    pub fn skipped(target: &DatasetDay) -> Self {
        Self::new(target, Depth::Survey, State::Skipped)
    }
}
