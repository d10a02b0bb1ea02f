//! What speaks for a row that nobody expects, and against a look that looks whole.
//!
//! Before a published row is called an orphan, everything is asked that could vouch for it: rows
//! that cannot be published any more, rows of far files, files of the neighbouring days. Before a
//! look is believed, its numbers are held against the dataset's own past.

use std::collections::BTreeSet;

use crate::compare::gather;
use crate::compare::keys;
use crate::compare::twins::Kinship;
use crate::compare::{Doubt, Findings};
use crate::model::{KeyRecipe, KeySet, PublishedRow, RowKey};

use super::LookError;
use super::lakeside::LakeSide;
use super::look::{Candidate, Looking};

/// How many days before and after a day tell how many rows are usual.
const USUAL_DAYS: u32 = 28;

/// So many of them must be known before they tell anything.
const DAYS_THAT_TELL: usize = 7;

impl Looking<'_> {
    /// Doubts from the number of rows, where rows would be purged and enough days are known to say
    /// what is usual: a day far below the least of them may have lost rows on its way.
    pub(super) async fn doubt_rows(&self, findings: &mut Findings) -> Result<(), LookError> {
        if findings.twins.is_empty() && findings.orphans.is_empty() {
            return Ok(());
        }
        let (dataset, day) = (&self.target.dataset.name, self.target.day);
        let known = self.world.ledger.usual(dataset, day, USUAL_DAYS).await;
        let known = known.map_err(LookError::ledger)?.into_iter();
        let rows: Vec<u64> = known
            .filter(|known| known.day != day)
            .map(|known| known.rows)
            .collect();
        let Some(least) = rows.iter().min().filter(|_| rows.len() >= DAYS_THAT_TELL) else {
            return Ok(());
        };
        let (found, usual) = (findings.expected, *least);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        let few = (found as f64) < self.rails().min_files_share * usual as f64;
        if few {
            findings.doubts.push(Doubt::FewRows { found, usual });
        }
        Ok(())
    }

    /// Published keys that rows of the lake explain though they are not expected on the day: rows
    /// that cannot be published (and once were), and strays of far files.
    pub(super) async fn vouched(&self, files: &[Candidate]) -> Result<BTreeSet<RowKey>, LookError> {
        let (dataset, day) = (&self.target.dataset.name, self.target.day);
        let strays = self
            .world
            .ledger
            .strays(dataset, day)
            .await
            .map_err(LookError::ledger)?;
        let unfit = files
            .iter()
            .flat_map(|file| &file.tried)
            .flat_map(|keys| &keys.unfit);
        Ok(unfit
            .filter_map(|row| row.key.clone())
            .chain(strays)
            .collect())
    }

    /// Orphans that files of the neighbouring days hold are none: the lake vouches for them.
    pub(super) async fn drop_vouched_elsewhere(
        &self,
        findings: &mut Findings,
    ) -> Result<(), LookError> {
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
            let mut side =
                LakeSide::between(self.world.ready(), self.target, facts, (near, near)).await?;
            for source in std::mem::take(&mut side.sources) {
                for variant in self.variants() {
                    let asked = self.asked(0, &source);
                    let gathered = self
                        .with_text(&source, |text| {
                            gather::gather(self.recipe, text, variant, asked)
                        })
                        .await;
                    match gathered {
                        Ok(keys) => keys.every_key().for_each(|key| {
                            orphans.remove(&key);
                        }),
                        Err(error) => side.doubts.push(Doubt::Unreadable(super::chain(&error))),
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

    /// A file whose device numbers depend on what else was published is certain only if it stands
    /// whole, or if no row that stands may be one of its rows under another number. That its
    /// companion is not there makes it no more certain: one that is gone leaves every row under
    /// another number.
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
            && findings.twins.iter().all(|twin| by_recipe(&twin.how));
        for file in files.iter_mut() {
            let source = &file.source;
            let alone = source.companion.is_none() && side.doubts_companion(&source.file, facts);
            file.certain = (explained && !alone) || keys::stands_whole(file.keys(), published);
            if !file.certain {
                findings
                    .doubts
                    .push(Doubt::Numbering(file.source.file.path.clone()));
            }
        }
    }
}

/// A chained key hashes every row before. Of a file that stands under such keys, and of which one
/// row cannot be made, nobody knows the keys of those behind it: not whether they stand, and not
/// how to publish them.
pub(super) fn doubt_chain(files: &mut [Candidate], findings: &mut Findings) {
    for file in files {
        let most = file.tried.iter().map(|keys| keys.outcome.rows).max();
        let chosen = file.keys();
        if chosen.variant.keys == KeyRecipe::Chained && most > Some(chosen.outcome.rows) {
            file.certain = false;
            let path = file.source.file.path.clone();
            findings.doubts.push(Doubt::Chain(path));
        }
    }
}
