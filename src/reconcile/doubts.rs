//! What explains an unexpected row, and what casts doubt on a check.
//!
//! Before a published row is called an orphan, everything that could explain it is consulted: rows
//! that can no longer be published, misdated rows of other days' files, files of the neighboring
//! days. Before the numbers of a check are trusted, they are compared with the dataset's own past.

use std::collections::BTreeSet;

use crate::compare::duplicates::Kinship;
use crate::compare::gather;
use crate::compare::keys;
use crate::compare::{Doubt, Findings};
use crate::model::{KeyScheme, KeySet, PublishedRow, RowKey};
use crate::socrata::{ByKey, Freshness};

use super::CheckError;
use super::check::{Candidate, Checking};
use super::lakeside::LakeSide;

/// Days before and after a day that determine its usual number of rows.
const USUAL_DAYS: u32 = 28;

/// Minimum number of those days that must be known.
const MIN_KNOWN_DAYS: usize = 7;

/// The doubt caused by something unreadable.
///
/// # Errors
/// If a service does not respond: that is not a doubt about one day.
pub(super) fn unreadable(error: CheckError) -> Result<Doubt, CheckError> {
    if error.is_service() {
        return Err(error);
    }
    Ok(Doubt::Unreadable(super::chain(&error)))
}

impl Checking<'_> {
    /// Adds a doubt if the day has far fewer rows than usual, since some may have been lost before
    /// the lake. Checked only if rows would be purged and enough days nearby are known.
    pub(super) async fn doubt_rows(&self, findings: &mut Findings) -> Result<(), CheckError> {
        if findings.duplicates.is_empty() && findings.orphans.is_empty() {
            return Ok(());
        }
        let (dataset, day) = (&self.target.dataset.name, self.target.day);
        let known = self.world.ledger.usual(dataset, day, USUAL_DAYS).await;
        let known = known.map_err(CheckError::ledger)?.into_iter();
        let rows: Vec<u64> = known
            .filter(|known| known.day != day)
            .map(|known| known.rows)
            .collect();
        let Some(least) = rows.iter().min().filter(|_| rows.len() >= MIN_KNOWN_DAYS) else {
            return Ok(());
        };
        let (found, usual) = (findings.expected, *least);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        let few = (found as f64) < self.rails().min_share_of_usual * usual as f64;
        if few {
            findings.doubts.push(Doubt::FewRows { found, usual });
        }
        Ok(())
    }

    /// Published keys that belong to rows of the lake although they are not expected on the day:
    /// rows that can no longer be published, and misdated rows of other days' files.
    pub(super) async fn explained_keys(
        &self,
        files: &[Candidate],
    ) -> Result<BTreeSet<RowKey>, CheckError> {
        let (dataset, day) = (&self.target.dataset.name, self.target.day);
        let misdated = self
            .world
            .ledger
            .misdated_keys(dataset, day)
            .await
            .map_err(CheckError::ledger)?;
        let unfit = files
            .iter()
            .flat_map(|file| &file.tried)
            .flat_map(|keys| &keys.unfit);
        Ok(unfit
            .filter_map(|row| row.key.clone())
            .chain(misdated)
            .collect())
    }

    /// Drops orphans that belong to files of the neighboring days: the lake has those rows.
    pub(super) async fn drop_orphans_of_nearby_files(
        &self,
        findings: &mut Findings,
    ) -> Result<(), CheckError> {
        if findings.orphans.is_empty() {
            return Ok(());
        }
        let facts = self.recipe.facts();
        let day = self.target.day;
        let read_to = day.plus(i64::from(facts.spill_days));
        let mut orphans: BTreeSet<RowKey> = findings
            .orphans
            .iter()
            .filter_map(|row| row.key.clone())
            .collect();
        for near in [day.plus(-1), read_to.next()] {
            let read = LakeSide::between(self.world.ready(), self.target, facts, (near, near));
            let mut side = match read.await {
                Ok(side) => side,
                Err(error) => {
                    findings.doubts.push(unreadable(error)?);
                    continue;
                }
            };
            for source in std::mem::take(&mut side.sources) {
                for variant in self.variants() {
                    let request = self.gather_request(0, &source);
                    let gathered = self
                        .with_text(&source, |text| {
                            gather::gather(self.recipe, text, variant, request)
                        })
                        .await;
                    match gathered {
                        Ok(keys) => keys.every_key().for_each(|key| {
                            orphans.remove(&key);
                        }),
                        Err(error) => side.doubts.push(unreadable(error)?),
                    }
                }
            }
            findings.doubts.extend(side.doubts);
        }
        findings
            .orphans
            .retain(|row| row.key.as_ref().is_none_or(|key| orphans.contains(key)));
        Ok(())
    }

    /// For files whose device numbers depend on what else was published: such a file is certain
    /// only if it is published whole, or if no published row may be one of its rows under another
    /// number. The absence of its companion does not make it more certain: if the companion was
    /// lost, every row has another number.
    pub(super) fn doubt_numbering(
        &self,
        files: &mut [Candidate],
        published: &KeySet,
        side: &LakeSide,
        resembling: &BTreeSet<RowKey>,
        findings: &mut Findings,
    ) {
        let facts = self.recipe.facts();
        if facts.counters.len() < 2 {
            return;
        }
        let by_recipe = |how: &Kinship| matches!(how, Kinship::Rekeyed(Some(_)));
        let is_like =
            |row: &PublishedRow| row.key.as_ref().is_none_or(|key| resembling.contains(key));
        let explained = !findings.orphans.iter().any(is_like)
            && findings
                .duplicates
                .iter()
                .all(|duplicate| by_recipe(&duplicate.how));
        for file in files.iter_mut() {
            let source = &file.source;
            let lost_companion =
                source.companion.is_none() && side.doubts_companion(&source.file, facts);
            file.certain =
                (explained && !lost_companion) || keys::stands_whole(file.keys(), published);
            if !file.certain {
                findings
                    .doubts
                    .push(Doubt::Numbering(file.source.file.path.clone()));
            }
        }
    }
}

/// Unwraps a lookup by key. If the portal did not confirm that its answers are up to date, rows
/// that were not found may exist and rows that were found may be gone, so this adds a doubt.
pub(super) fn take_found<T>(by_key: ByKey<T>, findings: &mut Findings) -> T {
    let ByKey { found, freshness } = by_key;
    doubt_freshness(freshness, findings);
    found
}

/// Adds a doubt unless the portal confirmed that its answers are up to date.
pub(super) fn doubt_freshness(freshness: Freshness, findings: &mut Findings) {
    let is_known = findings.doubts.contains(&Doubt::FreshnessUnknown);
    if freshness != Freshness::Proven && !is_known {
        findings.doubts.push(Doubt::FreshnessUnknown);
    }
}

/// A chained key is a hash over all rows before it. If a file is published under chained keys and
/// one of its rows cannot be derived, the keys of all rows after it are unknown: whether they are
/// published, and how to publish them.
pub(super) fn doubt_chain(files: &mut [Candidate], findings: &mut Findings) {
    for file in files {
        let max_rows = file.tried.iter().map(|keys| keys.outcome.rows).max();
        let chosen = file.keys();
        if chosen.variant.keys == KeyScheme::Chained && max_rows > Some(chosen.outcome.rows) {
            file.certain = false;
            let path = file.source.file.path.clone();
            findings.doubts.push(Doubt::Chain(path));
        }
    }
}
