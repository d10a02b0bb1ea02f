//! Evidence for a day's findings, kept so that a person can judge them long after the check.
//!
//! Its size is bounded: a few rows per finding with long values cut short, the minutes in which
//! wrong rows were written, the files, the doubts and the breaches. A new check (`explain`) shows
//! more.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::compare::duplicates::{Duplicate, Kinship};
use crate::compare::words::{self, Written};
use crate::compare::{Altered, ExpectedRow, FileSeen, Finding, Findings};
use crate::expected::Facts;
use crate::model::{Cell, Day, PublishedRow};
use crate::plan::Breach;

use super::Report;

/// Maximum rows kept per finding.
const SAMPLES: usize = 3;
/// Maximum files, and maximum sentences about the catalog.
const LINES: usize = 40;
/// Maximum doubts.
const DOUBTS: usize = 20;
/// Maximum distinct minutes.
const MINUTES: usize = 60;
/// Maximum length of one value, in characters.
const MAX_CHARS: usize = 200;

/// Evidence for the findings of one check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Example rows.
    pub samples: Vec<Sample>,
    /// What is wrong with the catalog, as sentences.
    pub catalog: Vec<String>,
    /// When the wrong rows were first written, by finding.
    pub written: Vec<WrittenWhen>,
    /// The files that hold rows of the day.
    pub files: Vec<FileEvidence>,
    /// Number of further files that are not listed.
    pub more_files: u64,
    /// Why the check cannot be trusted.
    pub doubts: Vec<String>,
    /// What holds the plan: breaches with their figure, their limit and the setting that sets it.
    pub breaches: Vec<Breach>,
    /// Whether a person's approval would let the plan pass.
    pub approvable: bool,
}

/// An example row of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The finding.
    pub finding: Finding,
    /// The row's key, if it has one.
    pub key: Option<String>,
    /// For a duplicate: the key of the expected row.
    pub of: Option<String>,
    /// How the row came about, or what is wrong with it.
    pub how: Option<String>,
    /// The lake file the row is from.
    pub file: Option<String>,
    /// When the published row was first written (UTC).
    pub created_at: Option<DateTime<Utc>>,
    /// When the published row was last written (UTC).
    pub updated_at: Option<DateTime<Utc>>,
    /// The row by column: its published values, or the expected ones if it is not published.
    pub row: Map<String, Json>,
    /// The columns in which published and expected differ.
    pub changes: Vec<Changed>,
}

/// One column in which two rows differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The column.
    pub column: String,
    /// The published value.
    pub published: Json,
    /// The expected value.
    pub expected: Json,
}

/// When the rows of one finding were first written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrittenWhen {
    /// The finding.
    pub finding: Finding,
    /// The minutes in which most of them were written, in order.
    pub minutes: Vec<Minute>,
    /// Rows written in all other minutes.
    pub others: u64,
}

/// Rows first written in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Its start (UTC).
    pub minute: DateTime<Utc>,
    /// Number of rows.
    pub rows: u64,
}

/// One file that holds rows of the day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEvidence {
    /// Its path in the lake.
    pub path: String,
    /// The day it belongs to.
    pub day: Day,
    /// Rows it has on the checked day.
    pub rows: u64,
    /// How its rows are keyed.
    pub keys: String,
    /// Whether its rows are known for certain.
    pub certain: bool,
    /// Whether the catalog lists it as published.
    pub entered: bool,
}

impl Evidence {
    /// The evidence in a report; `None` if the day was not checked.
    #[must_use]
    pub fn of(report: &Report) -> Option<Self> {
        let findings = report.findings.as_ref()?;
        let facts = crate::expected::recipe(&findings.target.dataset.recipe)?.facts();
        let doubts = findings.doubts.iter().take(DOUBTS);
        let catalog = findings.catalog.iter().take(LINES);
        let refusal = report.refusal.as_ref();
        Some(Self {
            samples: samples(findings, facts),
            catalog: catalog.map(|item| words::catalog(item, findings)).collect(),
            written: written(findings),
            files: (findings.files.iter().take(LINES))
                .map(|seen| file(seen, facts))
                .collect(),
            more_files: findings.files.len().saturating_sub(LINES) as u64,
            doubts: doubts.map(|doubt| cut(&doubt.to_string())).collect(),
            breaches: refusal.map_or_else(Vec::new, |refusal| refusal.breaches.clone()),
            approvable: refusal.is_some_and(crate::plan::Refusal::is_approvable),
        })
    }

    /// Takes over from earlier evidence what this check did not determine: the altered rows, if it
    /// did not compare values, and what holds the plan, if an earlier plan is still held.
    pub(super) fn carry(&mut self, before: Self, altered: bool, hold: bool) {
        if altered {
            let of_altered = |sample: &Sample| sample.finding == Finding::Altered;
            (self.samples).extend(before.samples.into_iter().filter(of_altered));
            let of_altered = |when: &WrittenWhen| when.finding == Finding::Altered;
            (self.written).extend(before.written.into_iter().filter(of_altered));
        }
        if hold {
            (self.breaches, self.approvable) = (before.breaches, before.approvable);
        }
    }
}

fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let kept: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        kept + "…"
    } else {
        kept
    }
}

fn value(json: &Json) -> Json {
    match json {
        Json::String(text) => cut(text).into(),
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
        Json::Array(_) | Json::Object(_) => cut(&json.to_string()).into(),
    }
}

fn cells(cells: &[Cell], facts: &Facts) -> Map<String, Json> {
    let named = facts.columns.iter().zip(cells);
    named
        .map(|(name, cell)| ((*name).to_owned(), value(&cell.to_json())))
        .collect()
}

fn bare(finding: Finding, key: Option<String>) -> Sample {
    Sample {
        finding,
        key,
        of: None,
        how: None,
        file: None,
        created_at: None,
        updated_at: None,
        row: Map::new(),
        changes: Vec::new(),
    }
}

fn published(finding: Finding, row: &PublishedRow) -> Sample {
    let fields = row.fields.iter();
    Sample {
        created_at: Some(row.created_at),
        updated_at: Some(row.updated_at),
        row: fields
            .map(|(name, json)| (cut(name), value(json)))
            .collect(),
        ..bare(finding, row.key.as_ref().map(ToString::to_string))
    }
}

fn missing(row: &ExpectedRow, findings: &Findings, facts: &Facts) -> Sample {
    Sample {
        file: Some(words::path(findings, row.file)),
        row: cells(&row.cells, facts),
        ..bare(Finding::Missing, Some(row.row.key.to_string()))
    }
}

fn duplicate(duplicate: &Duplicate, facts: &Facts) -> Sample {
    let changes = match &duplicate.how {
        Kinship::Renamed { column, from, to } => vec![Changed {
            column: (*column).to_owned(),
            published: value(&from.to_json()),
            expected: value(&to.to_json()),
        }],
        Kinship::Rekeyed(_) => Vec::new(),
    };
    Sample {
        of: Some(duplicate.of.to_string()),
        how: Some(words::kinship(&duplicate.how, facts)),
        changes,
        ..published(Finding::Duplicate, &duplicate.published)
    }
}

fn altered(altered: &Altered) -> Sample {
    let changes = altered.changes.iter().map(|change| Changed {
        column: change.column.to_owned(),
        published: value(&change.published.to_json()),
        expected: value(&change.expected.to_json()),
    });
    Sample {
        changes: changes.collect(),
        ..published(Finding::Altered, &altered.published)
    }
}

fn samples(findings: &Findings, facts: &Facts) -> Vec<Sample> {
    let path = |file| Some(words::path(findings, file));
    let mut samples = Vec::new();
    let absent = findings.missing.iter().chain(&findings.misdated_missing);
    samples.extend(
        absent
            .take(SAMPLES)
            .map(|row| missing(row, findings, facts)),
    );
    let duplicates = findings.duplicates.iter().take(SAMPLES);
    samples.extend(duplicates.map(|item| duplicate(item, facts)));
    let orphans = findings.orphans.iter().take(SAMPLES);
    samples.extend(orphans.map(|row| published(Finding::Orphan, row)));
    samples.extend(findings.altered.iter().take(SAMPLES).map(altered));
    for item in findings.repeated.iter().take(SAMPLES) {
        let key = item.key.as_ref().map(ToString::to_string);
        samples.push(Sample {
            how: Some(format!("on {} rows", item.sids.len())),
            ..bare(Finding::Repeated, key)
        });
    }
    for item in findings.collided.iter().take(SAMPLES) {
        samples.push(Sample {
            how: Some("two rows of the lake have this key; the later one is published".into()),
            file: path(item.stands.file),
            ..bare(Finding::Collided, Some(item.stands.key.to_string()))
        });
    }
    for item in findings.misdated.iter().take(SAMPLES) {
        samples.push(Sample {
            how: Some(format!("is published on {}", item.row.day)),
            file: path(item.row.file),
            ..bare(Finding::Misdated, Some(item.row.key.to_string()))
        });
    }
    for item in findings.unpublishable.iter().take(SAMPLES) {
        samples.push(Sample {
            how: Some(cut(&item.why)),
            file: path(item.file),
            ..bare(
                Finding::Unpublishable,
                item.key.as_ref().map(ToString::to_string),
            )
        });
    }
    samples
}

fn written(findings: &Findings) -> Vec<WrittenWhen> {
    let duplicates: Vec<&PublishedRow> = (findings.duplicates.iter())
        .map(|item| &item.published)
        .collect();
    let altered: Vec<&PublishedRow> = (findings.altered.iter())
        .map(|item| &item.published)
        .collect();
    let orphans: Vec<&PublishedRow> = findings.orphans.iter().collect();
    [
        (Finding::Duplicate, duplicates),
        (Finding::Orphan, orphans),
        (Finding::Altered, altered),
    ]
    .into_iter()
    .filter(|(_, rows)| !rows.is_empty())
    .map(|(finding, rows)| {
        let Written { minutes, others } = Written::with_minutes(rows.into_iter(), MINUTES);
        let minutes = minutes.into_iter();
        WrittenWhen {
            finding,
            minutes: minutes
                .map(|(minute, rows)| Minute { minute, rows })
                .collect(),
            others,
        }
    })
    .collect()
}

fn file(seen: &FileSeen, facts: &Facts) -> FileEvidence {
    FileEvidence {
        path: cut(&seen.file.path.to_string()),
        day: seen.file.day,
        rows: seen.rows,
        keys: words::variant(seen.variant, facts),
        certain: seen.certain,
        entered: seen.entry.is_some(),
    }
}
