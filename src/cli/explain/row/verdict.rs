//! The verdict on one row, in a word for programs and a sentence for people.

use super::{Seen, Sighting};
use crate::compare::Findings;
use crate::compare::twins::Twin;
use crate::compare::words as facts;
use crate::model::{Cell, Day, PublishedRow};

/// What is to be said of a row.
pub(super) struct Verdict {
    /// Its name in JSON.
    pub(super) name: &'static str,
    /// The same in words.
    pub(super) sentence: String,
}

impl Verdict {
    fn new(name: &'static str, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { name, sentence }
    }
}

impl Seen {
    /// What the look found about the key, or else what the sides themselves say.
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
                format!("expected on {} and missing on the portal", row.day),
            ),
            (false, None, Some(row)) => {
                let by = facts::variant(row.variant, self.facts);
                let said = format!("published, and a row of the lake has this key by {by}");
                Verdict::new("known", said)
            }
            (true, None, Some(row)) => {
                let by = facts::variant(row.variant, self.facts);
                let said = format!(
                    "not published, and not expected: a row of the lake would have this key by \
                     {by}, and its file stands otherwise"
                );
                Verdict::new("not-expected", said)
            }
            (false, None, None) => self.stranger(),
            (true, None, None) => Verdict::new("unknown", "unknown to all sides"),
        }
    }

    fn expected_and_published(&self, row: &Sighting) -> Verdict {
        let stands = self.published.first();
        let same = match (&row.cells, stands) {
            (Ok(cells), Some(stands)) => self.columns.published(&stands.fields) == *cells,
            (Err(_), _) | (_, None) => false,
        };
        if same {
            return Verdict::new("in-step", "expected and published");
        }
        match &row.cells {
            Ok(_) => Verdict::new("altered", "expected and published with other values"),
            Err(why) => Verdict::new(
                "unpublishable",
                format!("published once, and could not be published now: {why}"),
            ),
        }
    }

    fn stranger(&self) -> Verdict {
        let day = self.published_day();
        let (name, own) = ("stranger", Some(self.target.day));
        match day {
            Some(day) if Some(day) != own => {
                let dataset = &self.target.dataset.name;
                let said = format!(
                    "it stands on {day}, and the lake's days around {} do not have it: \
                     sodalake explain {dataset} {day}",
                    self.target.day
                );
                Verdict::new(name, said)
            }
            _ => Verdict::new(name, "published, and no file that was read has it"),
        }
    }

    /// The day the published row stands on, where its day column is readable.
    fn published_day(&self) -> Option<Day> {
        let column = self.columns.index(&self.target.dataset.day_column)?;
        let cells = self.columns.published(&self.published.first()?.fields);
        match cells.get(column)? {
            Cell::Time(at) => Some(Day::of(*at)),
            Cell::Text(text) => text.get(..10)?.parse().ok(),
            Cell::Null | Cell::Number(_) | Cell::Bool(_) | Cell::Odd(_) => None,
        }
    }

    /// What the look found about this very key.
    fn found(&self, findings: &Findings) -> Option<Verdict> {
        let key = &self.key;
        let ours = |row: &PublishedRow| row.key.as_ref() == Some(key);
        let twin = findings.twins.iter().find(|twin| ours(&twin.published));
        if let Some(Twin { of, how, .. }) = twin {
            let how = facts::kinship(how, self.facts);
            return Some(Verdict::new("twin", format!("twin of {of}: {how}")));
        }
        if findings.orphans.iter().any(ours) {
            let said = "orphan: published, and the lake has nothing like it";
            return Some(Verdict::new("orphan", said));
        }
        let mut missing = findings.missing.iter().chain(&findings.misdated_missing);
        if let Some(row) = missing.find(|row| row.row.key == *key) {
            let doubled = findings.twins.iter().find(|twin| twin.of == *key);
            let doubled = doubled.and_then(|twin| twin.published.key.as_ref());
            let twin = doubled.map_or(String::new(), |twin| {
                format!("; its twin {twin} is published in its place")
            });
            let path = facts::path(findings, row.file);
            let said = format!("expected from {path} and missing on the portal{twin}");
            return Some(Verdict::new("missing", said));
        }
        let unfit = findings.unpublishable.iter();
        let unfit = unfit.filter(|_| self.published.is_empty());
        let mut unfit = unfit.filter(|row| row.key.as_ref() == Some(key));
        unfit.next().map(|row| {
            let said = format!("expected, and cannot be published: {}", row.why);
            Verdict::new("unpublishable", said)
        })
    }
}
