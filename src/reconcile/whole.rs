//! Reads all published and expected rows of a day, which a rewrite needs, without comparing them.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::compare::keys;
use crate::compare::{Depth, ExpectedRow};
use crate::model::{KeySet, PublishedRow, RowKey};

use super::check::{Checked, Checking, recipe_of, rows_of};
use super::detail::Wanted;
use super::{CheckError, LakeSide, World};

/// Every published and every expected row of a day.
///
/// # Errors
/// If portal or lake cannot be read.
pub(super) async fn whole_day(
    world: &World,
    seen: &Checked,
) -> Result<(Vec<PublishedRow>, Vec<ExpectedRow>), CheckError> {
    let target = &seen.findings.target;
    let read = world.socrata.rows(&seen.table, target.day, &Some).await?;
    let mut published = read.kept;
    let misdated = world
        .ledger
        .misdated_keys(&target.dataset.name, target.day)
        .await;
    let misdated: BTreeSet<RowKey> = misdated.map_err(CheckError::ledger)?.into_iter().collect();
    let far = |row: &PublishedRow| row.key.as_ref().is_some_and(|key| misdated.contains(key));
    published.retain(|row| !far(row));
    let checking = Checking {
        world,
        target,
        recipe: recipe_of(&target.dataset)?,
        table: seen.table.clone(),
        columns: seen.columns.clone(),
        depth: Depth::Keys,
        reads: Mutex::default(),
    };
    let mut side = LakeSide::read(world.ready(), target, checking.recipe.facts()).await?;
    let files = checking.derive_all(&mut side).await?;
    let all = keys::difference(&rows_of(&files), &KeySet::default(), &mut |_, _| {});
    let wanted = Wanted::new(&all, &[], &[]);
    let mut findings = seen.findings.clone();
    findings.missing.clear();
    findings.doubts = side.doubts;
    checking.fill_in(&files, wanted, &[], &mut findings).await?;
    match findings.doubts.into_iter().next() {
        Some(doubt) => Err(CheckError::Doubtful(doubt)),
        None => Ok((published, findings.missing)),
    }
}
