//! Rows of a file that belong to the day before it. The file may be entered in the catalog only if
//! they are published.

use std::collections::BTreeSet;

use crate::compare::gather::Placed;
use crate::compare::{Doubt, Findings};
use crate::model::{KeyPolicy, RowKey};

use super::CheckError;
use super::check::{Candidate, Checking};
use super::doubts::take_found;

impl Checking<'_> {
    /// Number of the file's rows on neighboring days that are not published. A file may have been
    /// published under one key scheme on one day and under another on the next, so a row counts as
    /// published if it is published under any accepted scheme.
    pub(super) async fn spilled_missing(
        &self,
        index: usize,
        file: &Candidate,
        findings: &mut Findings,
    ) -> Result<u64, CheckError> {
        let chosen = file.keys();
        let mut missing: BTreeSet<u32> = chosen.spilled.iter().map(|row| row.ordinal).collect();
        self.drop_published(&mut missing, &chosen.spilled, findings)
            .await?;
        let accepts = self.target.dataset.keys == KeyPolicy::Accept;
        let others = self.variants().into_iter();
        let others = others.filter(|variant| accepts && *variant != chosen.variant);
        for variant in others {
            if missing.is_empty() {
                break;
            }
            let tried = file.tried.iter().find(|keys| keys.variant == variant);
            if let Some(keys) = tried {
                self.drop_published(&mut missing, &keys.spilled, findings)
                    .await?;
                continue;
            }
            match self.gather(index, &file.source, variant).await {
                Ok(keys) => {
                    self.drop_published(&mut missing, &keys.spilled, findings)
                        .await?;
                }
                Err(error) => (findings.doubts).push(Doubt::Unreadable(super::chain(&error))),
            }
        }
        Ok(missing.len() as u64)
    }

    /// Removes from `missing` the ordinals of those rows that are published.
    async fn drop_published(
        &self,
        missing: &mut BTreeSet<u32>,
        rows: &[Placed],
        findings: &mut Findings,
    ) -> Result<(), CheckError> {
        let rows = rows.iter().filter(|row| missing.contains(&row.ordinal));
        let rows: Vec<(RowKey, u32)> = rows.map(|row| (row.key.into(), row.ordinal)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<RowKey> = rows.iter().map(|(key, _)| key.clone()).collect();
        let present = self.world.socrata.keys_present(&self.table, &keys).await?;
        let present = take_found(present, findings);
        for (key, ordinal) in rows {
            if present.contains(&key) {
                missing.remove(&ordinal);
            }
        }
        Ok(())
    }
}
