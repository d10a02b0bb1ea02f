//! Findings in words: names of things, values, and when wrong rows were written. The output of
//! `explain`, the evidence in the ledger and the pages all use these words.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::Value as Json;

use crate::expected::{Facts, Variant};
use crate::model::{Cell, Entry, PublishedRow};

use super::duplicates::Kinship;
use super::{CatalogFinding, Findings};

/// Maximum number of minutes listed separately on a line.
const MAX_MINUTES: usize = 8;

/// The path of one of the day's files.
#[must_use]
pub fn path(findings: &Findings, file: u32) -> String {
    let seen = findings.files.get(file as usize);
    seen.map_or_else(|| format!("file {file}"), |seen| seen.file.path.to_string())
}

/// A variant in words; the counter is named only if the recipe has several.
#[must_use]
pub fn variant(variant: Variant, facts: &Facts) -> String {
    let Variant { keys, counter } = variant;
    if facts.counters.len() > 1 {
        format!("{keys}/{}", counter.name())
    } else {
        keys.to_string()
    }
}

/// A published value as text, without quotes.
#[must_use]
pub fn plain(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => "null".into(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A cell as text, without quotes.
#[must_use]
pub fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.to_string(),
        Cell::Null | Cell::Number(_) | Cell::Bool(_) | Cell::Time(_) | Cell::Odd(_) => {
            cell.to_string()
        }
    }
}

/// The identity columns of a published row.
#[must_use]
pub fn identity(row: &PublishedRow, facts: &Facts) -> String {
    let values = facts.identity.iter();
    let values: Vec<String> = values.map(|name| plain(row.fields.get(*name))).collect();
    values.join(" | ")
}

/// The identity columns of an expected row, whose cells are in the recipe's order.
#[must_use]
pub fn identity_of(cells: &[Cell], facts: &Facts) -> String {
    let named = facts.columns.iter().zip(cells);
    let named: BTreeMap<&str, &Cell> = named.map(|(name, cell)| (*name, cell)).collect();
    let values = facts.identity.iter().filter_map(|name| named.get(name));
    let values: Vec<String> = values.map(|value| cell(value)).collect();
    values.join(" | ")
}

/// How a duplicate got its key.
#[must_use]
pub fn kinship(how: &Kinship, facts: &Facts) -> String {
    match how {
        Kinship::Renamed { column, .. } => format!("{column} is spelled differently"),
        Kinship::Rekeyed(Some(made_by)) => format!("keyed by {}", variant(*made_by, facts)),
        Kinship::Rekeyed(None) => "keyed by no known scheme".into(),
    }
}

fn entry(entry: &Entry) -> String {
    let key = &entry.key;
    format!("{} {} of {}", key.id_base, key.id_ext, key.collection_date)
}

/// A finding about the catalog in words.
#[must_use]
pub fn catalog(finding: &CatalogFinding, findings: &Findings) -> String {
    match finding {
        CatalogFinding::Gone(gone) => format!(
            "entry {} says published, but neither the lake nor the ready layer has the file",
            entry(gone)
        ),
        CatalogFinding::RowsMissing { missing, file, .. } => format!(
            "the entry of {} says published, but {missing} of its rows are missing",
            path(findings, *file)
        ),
        CatalogFinding::WrongPointer {
            entry: wrong, file, ..
        } => format!(
            "the entry of {} points to {}, not to this dataset",
            path(findings, *file),
            wrong.pointer
        ),
        CatalogFinding::Uncatalogued { file } => format!(
            "{} is completely published but has no entry",
            path(findings, *file)
        ),
    }
}

/// When wrong rows were first written, by the minute: the fullest minutes in chronological order,
/// and the number of rows from all other minutes.
pub struct Written {
    /// Rows by minute (UTC).
    pub minutes: BTreeMap<DateTime<Utc>, u64>,
    /// Number of rows from all other minutes.
    pub others: u64,
}

impl Written {
    /// Counts the rows by minute, with as many minutes as fit on a line.
    #[must_use]
    pub fn of<'a>(rows: impl Iterator<Item = &'a PublishedRow>) -> Self {
        Self::with_minutes(rows, MAX_MINUTES)
    }

    /// Counts the rows by minute, with at most `max` groups. The last group is for all other
    /// minutes.
    #[must_use]
    pub fn with_minutes<'a>(rows: impl Iterator<Item = &'a PublishedRow>, max: usize) -> Self {
        let mut minutes: BTreeMap<DateTime<Utc>, u64> = BTreeMap::new();
        for row in rows {
            let at = row.created_at;
            let minute = at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
            *minutes.entry(minute).or_default() += 1;
        }
        if minutes.len() <= max {
            return Self { minutes, others: 0 };
        }
        let mut fullest: Vec<_> = minutes.into_iter().collect();
        fullest.sort_by_key(|(at, rows)| (std::cmp::Reverse(*rows), *at));
        let others = fullest.split_off(max.saturating_sub(1));
        Self {
            minutes: fullest.into_iter().collect(),
            others: others.iter().map(|(_, rows)| rows).sum(),
        }
    }

    /// `2020-10-16 08:31 x40, 08:32 x2, other minutes x3 (America/Chicago)`; empty for no rows.
    #[must_use]
    pub fn in_words(&self, zone: Tz) -> String {
        let mut day = None;
        let mut parts = Vec::new();
        for (at, rows) in &self.minutes {
            let at = at.with_timezone(&zone);
            let same_day = day.replace(at.date_naive()) == Some(at.date_naive());
            let form = if same_day { "%H:%M" } else { "%Y-%m-%d %H:%M" };
            parts.push(format!("{} x{rows}", at.format(form)));
        }
        if self.others > 0 {
            parts.push(format!("other minutes x{}", self.others));
        }
        if parts.is_empty() {
            return String::new();
        }
        format!("{} ({zone})", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: &str) -> PublishedRow {
        PublishedRow {
            key: None,
            sid: "row-1".into(),
            created_at: at.parse().unwrap(),
            updated_at: at.parse().unwrap(),
            fields: BTreeMap::new(),
        }
    }

    #[test]
    fn minutes_are_in_the_zone_and_each_day_is_named_once() {
        let rows = [
            row("2020-10-16T13:31:02Z"),
            row("2020-10-16T13:31:59Z"),
            row("2020-10-16T13:32:00Z"),
            row("2020-10-17T05:00:00Z"),
        ];
        let text = Written::of(rows.iter()).in_words(chrono_tz::America::Chicago);
        assert_eq!(
            text,
            "2020-10-16 08:31 x2, 08:32 x1, 2020-10-17 00:00 x1 (America/Chicago)"
        );
        assert_eq!(Written::of([].iter()).in_words(chrono_tz::UTC), "");
    }

    #[test]
    fn only_the_fullest_minutes_are_listed() {
        let rows: Vec<_> = (0..12)
            .map(|minute| row(&format!("2020-10-16T13:{minute:02}:00Z")))
            .chain([row("2020-10-16T13:11:30Z")])
            .collect();
        let written = Written::of(rows.iter());
        assert_eq!(written.minutes.len(), MAX_MINUTES - 1);
        assert_eq!(
            written.minutes.last_key_value().map(|(_, rows)| *rows),
            Some(2)
        );
        let listed: u64 = written.minutes.values().sum();
        assert_eq!(listed + written.others, 13);
        assert!(
            written
                .in_words(chrono_tz::UTC)
                .ends_with("other minutes x5 (UTC)")
        );
    }
}
