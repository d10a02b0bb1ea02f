//! The cheap look at many days at once.
//!
//! One grouped query tells rows per day and their newest stamp for a whole window. Together with
//! the lake's listing, the published entries and our own settings that makes a day's *fingerprint*. A day whose
//! fingerprint is the one it had when it was last found in step is skipped; every other is a
//! suspect. A delete leaves no stamp, which is why the count is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::compare::{Depth, Findings};
use crate::model::{Dataset, DatasetDay, Day, DayRange};
use crate::socrata::Survey;

use super::lakeside::Window;
use super::look::{outside, recipe_of};
use super::report::{Report, State};
use super::{LakeSide, LookError, World, window};

/// Tells for every day of the range whether it is unchanged since it was found in step. Asks each
/// side once for the whole range, and lists the lake's folders; no object is opened.
///
/// # Errors
/// If portal, lake or ledger cannot be read.
pub async fn survey(
    world: &World,
    dataset: &Arc<Dataset>,
    range: DayRange,
) -> Result<Vec<(DatasetDay, bool)>, LookError> {
    let facts = recipe_of(dataset)?.facts();
    let spill = i64::from(facts.spill_days);
    let published = published(world, dataset, range).await?;
    let (ready, days) = (world.ready(), (range.from, range.to.plus(spill - 1)));
    let window = Window::read(ready, dataset, range.from, days).await?;
    let entries = window::published_by_day(world, dataset, range, facts.spill_days).await?;
    let in_step = in_step(world, dataset, range).await?;
    let mut judged = Vec::new();
    for (day, entries) in entries {
        let target = DatasetDay {
            dataset: Arc::clone(dataset),
            day,
        };
        let days = (day, day.plus(spill));
        let side = LakeSide::within(ready, &window, &target, facts, days).await?;
        let (count, newest) = published
            .days
            .get(&day)
            .map_or((0, None), |row| (row.rows, row.newest));
        let fingerprint = digest(dataset, &outside(&side, &entries), count, newest);
        let unchanged = in_step.get(&day) == Some(&fingerprint);
        judged.push((target, unchanged));
    }
    Ok(judged)
}

/// Rows per day, in one request: the metadata are read only where the day column is no date.
async fn published(world: &World, dataset: &Dataset, range: DayRange) -> Result<Survey, LookError> {
    let (id, day_column) = (&dataset.id, &dataset.day_column);
    if let Some(survey) = world.socrata.survey_unread(id, day_column, range).await? {
        return Ok(survey);
    }
    let table = world.table(dataset).await?;
    Ok(world.socrata.survey(&table, range).await?)
}

/// The fingerprints of the days that were found in step when they were looked at last.
async fn in_step(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
) -> Result<BTreeMap<Day, String>, LookError> {
    let known = world.ledger.days(Some(&dataset.name), Some(range)).await;
    let in_step = State::InStep.to_string();
    Ok((known.map_err(LookError::ledger)?.into_iter())
        .filter(|known| known.state == in_step)
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

/// What a day that was just found in step looks like from outside.
pub(super) fn fingerprint(findings: &Findings) -> String {
    let dataset = &findings.target.dataset;
    digest(dataset, &findings.lake, findings.published, findings.newest)
}

impl Report {
    /// The report of a day that is unchanged since it was found in step.
    #[must_use]
    pub fn skipped(target: &DatasetDay) -> Self {
        Self::new(target, Depth::Survey, State::Skipped)
    }
}
