//! The cheap look at many days at once.
//!
//! One grouped query tells rows per day and their newest stamp for a whole window. Together with
//! the lake's listing, the published entries and our own settings that makes a day's *fingerprint*. A day whose
//! fingerprint is the one it had when it was last found in step is skipped; every other is a
//! suspect. A delete leaves no stamp, which is why the count is in it.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::compare::{Depth, Findings};
use crate::model::{Dataset, DatasetDay, DayRange};
use std::sync::Arc;

use super::look::{entries, outside, recipe_of};
use super::report::{Report, State};
use super::{LakeSide, LookError, World};

/// Tells for every day of the range whether it is unchanged since it was found in step.
///
/// # Errors
/// If portal, lake or ledger cannot be read.
pub async fn survey(
    world: &World,
    dataset: &Arc<Dataset>,
    range: DayRange,
) -> Result<Vec<(DatasetDay, bool)>, LookError> {
    let table = world.table(dataset).await?;
    let surveyed = world.socrata.survey(&table, range).await?;
    let facts = recipe_of(dataset)?.facts();
    let mut days = Vec::new();
    for day in range.days() {
        let target = DatasetDay {
            dataset: Arc::clone(dataset),
            day,
        };
        let (count, newest) = surveyed
            .days
            .get(&day)
            .map_or((0, None), |row| (row.rows, row.newest));
        let side = LakeSide::read(world.ready(), &target, facts).await?;
        let entries = entries(world, &target, facts.spill_days).await?;
        let fingerprint = digest(dataset, &outside(&side, &entries), count, newest);
        let known = world
            .ledger
            .day(&dataset.name, day)
            .await
            .map_err(LookError::ledger)?;
        let unchanged = known.is_some_and(|known| {
            known.state == State::InStep.to_string()
                && known.fingerprint.as_deref() == Some(&*fingerprint)
        });
        days.push((target, unchanged));
    }
    Ok(days)
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
