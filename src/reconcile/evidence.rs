//! What speaks for a day's findings, kept so that a person can judge them long after the look.
//!
//! Bounded: a few rows of each finding with values cut short, the minutes in which wrong rows were
//! written, the files, the doubts and the vetoes. What says more is a new look (`explain`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::compare::twins::{Kinship, Twin};
use crate::compare::words::{self, Written};
use crate::compare::{Altered, ExpectedRow, FileSeen, Finding, Findings};
use crate::expected::Facts;
use crate::model::{Cell, Day, PublishedRow};
use crate::plan::Breach;

use super::Report;

/// Most rows kept of each finding.
const SAMPLES: usize = 3;
/// Most files, and most sentences about the catalog.
const LINES: usize = 40;
/// Most doubts.
const DOUBTS: usize = 20;
/// Most minutes told apart.
const MINUTES: usize = 60;
/// Longest text kept of one value, in characters.
const LETTERS: usize = 200;

/// What speaks for the findings of one look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Rows that show what is wrong.
    pub samples: Vec<Sample>,
    /// What is wrong with the catalog, in sentences.
    pub catalog: Vec<String>,
    /// When wrong rows were first written, by finding.
    pub written: Vec<WrittenWhen>,
    /// The files that hold rows of the day.
    pub files: Vec<FileEvidence>,
    /// Files beyond those.
    pub more_files: u64,
    /// Why the look cannot be trusted.
    pub doubts: Vec<String>,
    /// What holds the plan: each with its figure, its limit and the setting that sets it.
    pub breaches: Vec<Breach>,
    /// Whether a person's approval would let the plan pass.
    pub approvable: bool,
}

/// One row that shows what is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The finding.
    pub finding: Finding,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// For a twin: the key of the expected row that it doubles.
    pub of: Option<String>,
    /// How it came to be, or why it is wrong.
    pub how: Option<String>,
    /// The lake file it is from, or should be.
    pub file: Option<String>,
    /// When the published row was first written (UTC).
    pub created_at: Option<DateTime<Utc>>,
    /// When the published row was last written (UTC).
    pub updated_at: Option<DateTime<Utc>>,
    /// The row by column: as it stands if it is published, else as it should.
    pub row: Map<String, Json>,
    /// The columns in which published and expected differ.
    pub changes: Vec<Changed>,
}

/// One column in which two rows differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The column.
    pub column: String,
    /// What stands.
    pub published: Json,
    /// What should.
    pub expected: Json,
}

/// When the rows of one finding were first written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrittenWhen {
    /// The finding.
    pub finding: Finding,
    /// The minutes in which most were, in order.
    pub minutes: Vec<Minute>,
    /// Rows of all other minutes.
    pub others: u64,
}

/// Rows first written in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Its start (UTC).
    pub minute: DateTime<Utc>,
    /// How many.
    pub rows: u64,
}

/// One file that holds rows of the day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEvidence {
    /// Where it lies in the lake.
    pub path: String,
    /// The day it belongs to.
    pub day: Day,
    /// Rows it has on the day that was looked at.
    pub rows: u64,
    /// How its rows are keyed.
    pub keys: String,
    /// Whether its rows are known for certain.
    pub certain: bool,
    /// Whether the catalog says it is published.
    pub entered: bool,
}

impl Evidence {
    /// What a report has to show; `None`: it did not look.
    #[must_use]
    pub fn of(report: &Report) -> Option<Self> {
        let findings = report.findings.as_ref()?;
        let facts = crate::expected::recipe(&findings.target.dataset.recipe)?.facts();
        let doubts = findings.doubts.iter().take(DOUBTS);
        let catalog = findings.catalog.iter().take(LINES);
        let refusal = report.refusal.as_ref();
        Some(Self {
            samples: samples(findings, facts),
            catalog: catalog.map(|one| words::catalog(one, findings)).collect(),
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
}

fn cut(text: &str) -> String {
    let mut letters = text.chars();
    let kept: String = letters.by_ref().take(LETTERS).collect();
    if letters.next().is_some() {
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

fn twin(twin: &Twin, facts: &Facts) -> Sample {
    let changes = match &twin.how {
        Kinship::Renamed { column, from, to } => vec![Changed {
            column: (*column).to_owned(),
            published: value(&from.to_json()),
            expected: value(&to.to_json()),
        }],
        Kinship::Rekeyed(_) => Vec::new(),
    };
    Sample {
        of: Some(twin.of.to_string()),
        how: Some(words::kinship(&twin.how, facts)),
        changes,
        ..published(Finding::Twin, &twin.published)
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
    let twins = findings.twins.iter().take(SAMPLES);
    samples.extend(twins.map(|one| twin(one, facts)));
    let orphans = findings.orphans.iter().take(SAMPLES);
    samples.extend(orphans.map(|row| published(Finding::Orphan, row)));
    samples.extend(findings.altered.iter().take(SAMPLES).map(altered));
    for one in findings.repeated.iter().take(SAMPLES) {
        let key = one.key.as_ref().map(ToString::to_string);
        samples.push(Sample {
            how: Some(format!("on {} rows", one.sids.len())),
            ..bare(Finding::Repeated, key)
        });
    }
    for one in findings.collided.iter().take(SAMPLES) {
        samples.push(Sample {
            how: Some("two rows of the lake have this key; the later one stands".into()),
            file: path(one.stands.file),
            ..bare(Finding::Collided, Some(one.stands.key.to_string()))
        });
    }
    for one in findings.misdated.iter().take(SAMPLES) {
        samples.push(Sample {
            how: Some(format!("stands on {}", one.row.day)),
            file: path(one.row.file),
            ..bare(Finding::Misdated, Some(one.row.key.to_string()))
        });
    }
    for one in findings.unpublishable.iter().take(SAMPLES) {
        samples.push(Sample {
            how: Some(cut(&one.why)),
            file: path(one.file),
            ..bare(
                Finding::Unpublishable,
                one.key.as_ref().map(ToString::to_string),
            )
        });
    }
    samples
}

fn written(findings: &Findings) -> Vec<WrittenWhen> {
    let twins: Vec<&PublishedRow> = (findings.twins.iter()).map(|one| &one.published).collect();
    let altered: Vec<&PublishedRow> = (findings.altered.iter())
        .map(|one| &one.published)
        .collect();
    let orphans: Vec<&PublishedRow> = findings.orphans.iter().collect();
    [
        (Finding::Twin, twins),
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
