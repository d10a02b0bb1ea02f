//! The catalog's side of a check: each file with its entry, and the entries that are wrong.

use crate::compare::{FileSeen, Findings, catalog};
use crate::model::Entry;

use super::CheckError;
use super::check::{Candidate, Checking};
use super::lakeside::LakeSide;

impl Checking<'_> {
    /// Compares the entries with what is published, and adds what is wrong to the findings.
    pub(super) async fn compare_catalog(
        &self,
        files: &[Candidate],
        side: &LakeSide,
        entries: &[Entry],
        findings: &mut Findings,
    ) -> Result<(), CheckError> {
        let dataset = &self.target.dataset;
        let ours: Vec<Entry> = entries
            .iter()
            .filter(|entry| entry.key.id_ext == dataset.ext)
            .cloned()
            .collect();
        for (index, file) in files.iter().enumerate() {
            let seen = self.file_seen((index, file), entries, &ours, findings);
            let seen = seen.await?;
            findings.files.push(seen);
        }
        let missing = |file: u32| {
            let day = findings
                .missing
                .iter()
                .filter(|row| row.file == file)
                .count();
            let misdated = findings
                .misdated_missing
                .iter()
                .filter(|row| row.file == file)
                .count();
            (day + misdated) as u64
        };
        let zone = dataset.zone;
        let day = self.target.day;
        let id = dataset.id.as_str();
        findings.catalog =
            catalog::compare(day, zone, id, &findings.files, &missing, &side.bases, &ours);
        Ok(())
    }

    async fn file_seen(
        &self,
        (index, file): (usize, &Candidate),
        entries: &[Entry],
        ours: &[Entry],
        findings: &mut Findings,
    ) -> Result<FileSeen, CheckError> {
        let zone = self.target.dataset.zone;
        let keys = file.keys();
        let ready = &file.source.file;
        let own_day = ready.day == self.target.day;
        let entry = catalog::entry_of(ready, ours, zone).cloned();
        let spilled_missing = match (&entry, own_day) {
            (None, true) => Some(self.spilled_missing(index, file, findings).await?),
            (Some(_), _) | (None, false) => None,
        };
        let base = |entry: &&Entry| {
            entry.key.id_base == ready.entry.key.id_base && entry.day(zone) == ready.day
        };
        Ok(FileSeen {
            file: ready.clone(),
            variant: keys.variant,
            certain: file.certain,
            outcome: keys.outcome.clone(),
            rows: keys.today.len() as u64,
            own_day,
            entry,
            covered_by: entries.iter().filter(base).cloned().collect(),
            spilled_missing,
        })
    }
}
