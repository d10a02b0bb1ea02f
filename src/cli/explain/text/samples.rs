//! The findings for people: their number, and the first of each kind with its evidence.

use super::{indented, section, sentence};
use crate::cli::explain::SAMPLES;
use crate::cli::style::{Side, Table, Tone, clean, cut, thousands};
use crate::compare::duplicates::{Duplicate, Kinship};
use crate::compare::gather::Placed;
use crate::compare::words::{self as facts, Written};
use crate::compare::{Altered, Finding, Findings};
use crate::expected::Facts;
use crate::model::PublishedRow;
use crate::plan::remedy;

/// Width of a value next to its counterpart.
const VALUE: usize = 24;
/// Width of a value in a list, before the last column.
const KEY: usize = 36;

fn left<const N: usize>(names: [&str; N]) -> Table {
    Table::new(&names.map(|name| (name, Side::Left)))
}

/// For each kind of finding: its count, what it means, its first rows, and when wrong rows were
/// written.
pub(super) fn of(findings: &Findings, facts: &Facts) -> String {
    let duplicates = || {
        findings
            .duplicates
            .iter()
            .map(|duplicate| &duplicate.published)
    };
    let altered = || findings.altered.iter().map(|altered| &altered.published);
    let counts = findings.counts();
    let entries = |of: Finding| catalog(findings, of);
    [
        Finding::Duplicate,
        Finding::Altered,
        Finding::Orphan,
        Finding::Missing,
        Finding::Miscatalogued,
        Finding::Uncatalogued,
        Finding::Repeated,
        Finding::Collided,
        Finding::Misdated,
        Finding::Unpublishable,
    ]
    .into_iter()
    .filter(|finding| counts.of(*finding) > 0)
    .map(|finding| {
        let (body, when) = match finding {
            Finding::Duplicate => (
                each(&findings.duplicates, |one| duplicate(one, facts)),
                written(duplicates(), findings),
            ),
            Finding::Altered => (
                each(&findings.altered, altered_row),
                written(altered(), findings),
            ),
            Finding::Orphan => (
                orphans(findings, facts),
                written(findings.orphans.iter(), findings),
            ),
            Finding::Missing => (missing(findings, facts), String::new()),
            Finding::Miscatalogued | Finding::Uncatalogued => (entries(finding), String::new()),
            Finding::Repeated => (repeated(findings), String::new()),
            Finding::Collided => (collided(findings), String::new()),
            Finding::Misdated => (misdated(findings), String::new()),
            Finding::Unpublishable => (unpublishable(findings), String::new()),
        };
        kind(finding, counts.of(finding), &(body + &when))
    })
    .collect()
}

/// One kind of finding: its count, what it means, what a repair does about it, and samples.
fn kind(finding: Finding, count: u64, body: &str) -> String {
    let name = match finding {
        Finding::Duplicate => "duplicates".into(),
        Finding::Orphan => "orphans".into(),
        other => other.to_string(),
    };
    let (means, does) = (finding.meaning(), remedy::of(finding));
    let means = sentence(&format!("{means}; a repair {does}"));
    section(&format!("{} {name}", thousands(count)), &(means + body))
}

/// The catalog findings of one kind.
fn catalog(findings: &Findings, of: Finding) -> String {
    let ours = findings.catalog.iter().filter(|one| one.finding() == of);
    let said = ours.take(SAMPLES);
    said.map(|one| sentence(&facts::catalog(one, findings)))
        .collect()
}

fn each<T>(items: &[T], say: impl Fn(&T) -> String) -> String {
    items.iter().take(SAMPLES).map(say).collect()
}

fn written<'a>(rows: impl Iterator<Item = &'a PublishedRow>, findings: &Findings) -> String {
    let said = Written::of(rows).in_words(findings.target.dataset.zone);
    if said.is_empty() {
        return said;
    }
    sentence(&format!("written: {said}"))
}

fn key_of(row: &PublishedRow) -> String {
    row.key
        .as_ref()
        .map_or("no key".into(), ToString::to_string)
}

/// A column's published value next to the expected one.
pub(in crate::cli::explain) fn side_by_side(
    changes: impl Iterator<Item = (String, String, String)>,
) -> String {
    let mut table = left(["column", "published", "expected"]);
    let short = |text: String| cut(&clean(&text), VALUE).into_owned();
    for (column, published, expected) in changes {
        table.row([
            (short(column), None),
            (short(published), Some(Tone::Bad)),
            (expected, Some(Tone::Good)),
        ]);
    }
    indented(&table, 4)
}

fn duplicate(duplicate: &Duplicate, facts: &Facts) -> String {
    let how = facts::kinship(&duplicate.how, facts);
    let head = sentence(&format!(
        "{} of {}",
        key_of(&duplicate.published),
        duplicate.of
    ));
    let body = match &duplicate.how {
        Kinship::Renamed { column, from, to } => {
            let change = ((*column).to_owned(), facts::cell(from), facts::cell(to));
            sentence(&format!("  {how}:")) + &side_by_side(std::iter::once(change))
        }
        Kinship::Rekeyed(_) => {
            let row = facts::identity(&duplicate.published, facts);
            sentence(&format!("  {how}: {row}"))
        }
    };
    head + &body
}

fn altered_row(altered: &Altered) -> String {
    let changes = altered.changes.iter().map(|change| {
        let (published, expected) = (&change.published, &change.expected);
        (
            change.column.to_owned(),
            facts::cell(published),
            facts::cell(expected),
        )
    });
    sentence(&key_of(&altered.published)) + &side_by_side(changes)
}

fn orphans(findings: &Findings, facts: &Facts) -> String {
    let mut table = left(["key", "written", "row"]);
    let zone = findings.target.dataset.zone;
    for row in findings.orphans.iter().take(SAMPLES) {
        let at = row.created_at.with_timezone(&zone);
        table.row([
            (cut(&clean(&key_of(row)), KEY).into_owned(), None),
            (at.format("%m-%d %H:%M:%S %Z").to_string(), None),
            (facts::identity(row, facts), None),
        ]);
    }
    rows_of(&table)
}

fn rows_of(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    indented(table, 2)
}

fn missing(findings: &Findings, facts: &Facts) -> String {
    let mut table = left(["key", "row"]);
    let rows = findings.missing.iter().chain(&findings.misdated_missing);
    for row in rows.take(SAMPLES) {
        let identity = facts::identity_of(&row.cells, facts);
        table.row([(row.row.key.to_string(), None), (identity, None)]);
    }
    rows_of(&table)
}

fn repeated(findings: &Findings) -> String {
    each(&findings.repeated, |one| {
        let rows = one.sids.len();
        match &one.key {
            Some(key) => sentence(&format!("{key} is published {rows} times")),
            None => sentence(&format!("{rows} rows have no key")),
        }
    })
}

fn collided(findings: &Findings) -> String {
    let place = |row: &Placed| {
        let path = facts::path(findings, row.file);
        format!("row {} of {path}", row.ordinal)
    };
    each(&findings.collided, |one| {
        let (stands, replaced) = (place(&one.stands), place(&one.replaced));
        let key = &one.stands.key;
        sentence(&format!(
            "{key}: {stands} is published; it replaced {replaced}"
        ))
    })
}

fn misdated(findings: &Findings) -> String {
    each(&findings.misdated, |one| {
        let path = facts::path(findings, one.row.file);
        let stands = if one.published {
            "is published on"
        } else {
            "should be published on"
        };
        let (ordinal, day) = (one.row.ordinal, one.row.day);
        sentence(&format!("row {ordinal} of {path} {stands} {day}"))
    })
}

fn unpublishable(findings: &Findings) -> String {
    each(&findings.unpublishable, |one| {
        let path = facts::path(findings, one.file);
        sentence(&format!("row {} of {path}: {}", one.ordinal, one.why))
    })
}
