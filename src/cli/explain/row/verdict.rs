//! The verdict on one row: a name for programs and a sentence for people.

use super::{Seen, Sighting};
use crate::compare::Findings;
use crate::compare::duplicates::Duplicate;
use crate::compare::words as facts;
use crate::model::{Cell, Day, PublishedRow};

pub(super) struct Verdict {
    /// The name in JSON.
    pub(super) name: &'static str,
    /// The sentence for people.
    pub(super) sentence: String,
}

impl Verdict {
    fn new(name: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { name, sentence }
    }
}

impl Seen {
    /// What the check found about the key; otherwise, what lake and portal say.
    pub(super) fn verdict(&self, findings: Option<&Findings>) -> Verdict {
        if let Some(verdict) = findings.and_then(|found| self.found(found)) {
            return verdict;
        }
        let chosen = |one: &&Sighting| self.is_chosen(one, findings);
        let explained = self.sightings.iter().rfind(chosen);
        let other_way = self.sightings.first();
        match (self.published.is_empty(), explained, other_way) {
            (false, Some(row), _) => self.expected_and_published(row),
            (true, Some(row), _) => Verdict::new(
                "missing",
                format!("expected on {} but not published", row.day),
            ),
            (false, None, Some(row)) => {
                let by = facts::variant(row.variant, self.facts);
                let said = format!("published, and a row of the lake has this key under {by}");
                Verdict::new("known", said)
            }
            (true, None, Some(row)) => {
                let by = facts::variant(row.variant, self.facts);
                let said = format!(
                    "neither published nor expected: a row of the lake would have this key under {by}, but its file is published under another key scheme"
                );
                Verdict::new("not-expected", said)
            }
            (false, None, None) => self.unexpected(),
            (true, None, None) => Verdict::new("unknown", "neither in the lake nor published"),
        }
    }

    fn expected_and_published(&self, row: &Sighting) -> Verdict {
        let published = self.published.first();
        let same = match (&row.cells, published) {
            (Ok(cells), Some(published)) => self.columns.published(&published.fields) == *cells,
            (Err(_), _) | (_, None) => false,
        };
        if same {
            return Verdict::new("in-sync", "expected and published");
        }
        match &row.cells {
            Ok(_) => Verdict::new("altered", "expected, and published with different values"),
            Err(why) => Verdict::new(
                "unpublishable",
                format!("published earlier, but cannot be published now: {why}"),
            ),
        }
    }

    fn unexpected(&self) -> Verdict {
        let day = self.published_day();
        let (name, own) = ("stranger", Some(self.target.day));
        match day {
            Some(day) if Some(day) != own => {
                let dataset = &self.target.dataset.name;
                let said = format!(
                    "it is published on {day}, and the files of the days around {} do not contain it: sodalake explain {dataset} {day}",
                    self.target.day
                );
                Verdict::new(name, said)
            }
            _ => Verdict::new(name, "published, but in none of the files that were read"),
        }
    }

    /// The day of the published row, if its day column is readable.
    fn published_day(&self) -> Option<Day> {
        let column = self.columns.index(&self.target.dataset.day_column)?;
        let cells = self.columns.published(&self.published.first()?.fields);
        match cells.get(column)? {
            Cell::Time(at) => Some(Day::of(*at)),
            Cell::Text(text) => text.get(..10)?.parse().ok(),
            Cell::Null | Cell::Number(_) | Cell::Bool(_) | Cell::Odd(_) => None,
        }
    }

    /// What the check found about this key.
    fn found(&self, findings: &Findings) -> Option<Verdict> {
        let key = &self.key;
        let ours = |row: &PublishedRow| row.key.as_ref() == Some(key);
        let duplicate = findings
            .duplicates
            .iter()
            .find(|duplicate| ours(&duplicate.published));
        if let Some(Duplicate { of, how, .. }) = duplicate {
            let how = facts::kinship(how, self.facts);
            return Some(Verdict::new(
                "duplicate",
                format!("duplicate of {of}: {how}"),
            ));
        }
        if findings.orphans.iter().any(ours) {
            let said = "orphan: published, but nothing in the lake matches it";
            return Some(Verdict::new("orphan", said));
        }
        let mut missing = findings.missing.iter().chain(&findings.misdated_missing);
        if let Some(row) = missing.find(|row| row.row.key == *key) {
            let doubled = findings
                .duplicates
                .iter()
                .find(|duplicate| duplicate.of == *key);
            let doubled = doubled.and_then(|duplicate| duplicate.published.key.as_ref());
            let duplicate = doubled.map_or(String::new(), |duplicate| {
                format!("; its duplicate {duplicate} is published in its place")
            });
            let path = facts::path(findings, row.file);
            let said = format!("expected from {path} but not published{duplicate}");
            return Some(Verdict::new("missing", said));
        }
        let unfit = findings.unpublishable.iter();
        let unfit = unfit.filter(|_| self.published.is_empty());
        let mut unfit = unfit.filter(|row| row.key.as_ref() == Some(key));
        unfit.next().map(|row| {
            let said = format!("expected, but cannot be published: {}", row.why);
            Verdict::new("unpublishable", said)
        })
    }
}
