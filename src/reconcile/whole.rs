//! A day read whole from both sides, without comparing: what a rewrite needs.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::compare::keys;
use crate::compare::{Depth, ExpectedRow};
use crate::model::{KeySet, PublishedRow, RowKey};

use super::detail::Wanted;
use super::look::{Look, Looking, recipe_of, rows_of};
use super::{LakeSide, LookError, World};

/// Every published and every expected row of a day, whole: what a rewrite needs.
///
/// # Errors
/// If portal or lake cannot be read.
pub(super) async fn whole_day(
    world: &World,
    seen: &Look,
) -> Result<(Vec<PublishedRow>, Vec<ExpectedRow>), LookError> {
    let target = &seen.findings.target;
    let read = world.socrata.rows(&seen.table, target.day, &Some).await?;
    let mut published = read.kept;
    let strays = world.ledger.strays(&target.dataset.name, target.day).await;
    let strays: BTreeSet<RowKey> = strays.map_err(LookError::ledger)?.into_iter().collect();
    let far = |row: &PublishedRow| row.key.as_ref().is_some_and(|key| strays.contains(key));
    published.retain(|row| !far(row));
    let looking = Looking {
        world,
        target,
        recipe: recipe_of(&target.dataset)?,
        table: seen.table.clone(),
        columns: seen.columns.clone(),
        depth: Depth::Keys,
        reads: Mutex::default(),
    };
    let mut side = LakeSide::read(world.ready(), target, looking.recipe.facts()).await?;
    let files = looking.derive_all(&mut side).await;
    let all = keys::difference(&rows_of(&files), &KeySet::default(), &mut |_, _| {});
    let wanted = Wanted::new(&all, &[], &[]);
    let mut findings = seen.findings.clone();
    findings.missing.clear();
    findings.doubts = side.doubts;
    looking.fill_in(&files, wanted, &[], &mut findings).await?;
    match findings.doubts.into_iter().next() {
        Some(doubt) => Err(LookError::Doubtful(doubt)),
        None => Ok((published, findings.missing)),
    }
}
