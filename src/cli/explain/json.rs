//! The explanation as JSON: the day's report with files, samples, doubts and breaches.

use serde_json::{Map, Value as Json, json};

use super::{Explained, SAMPLES};
use crate::cli::report;
use crate::compare::duplicates::{Duplicate, Kinship};
use crate::compare::gather::Placed;
use crate::compare::keys::Collision;
use crate::compare::words::{self as facts, Written};
use crate::compare::{Altered, ExpectedRow, FileSeen, Findings};
use crate::expected::{Facts, Variant};
use crate::model::{Cell, PublishedRow};

pub(super) fn of(explained: &Explained) -> Json {
    let mut object = report::to_json(&explained.report);
    let (draft, breaches) = match &explained.drafted {
        Some((draft, breaches)) => (Some(draft), breaches.as_slice()),
        None => (None, [].as_slice()),
    };
    if let Some(draft) = draft {
        object["digest"] = draft.digest().into();
    }
    object["repair"] = json!(draft.map(crate::plan::Draft::size));
    object["breaches"] = json!(breaches);
    object["next"] = json!(super::text::next(explained));
    let findings = explained.findings();
    let facts = explained.facts;
    object["files"] = findings.map_or(json!([]), |found| found.files.iter().map(file).collect());
    let doubts = findings.map(|found| found.doubts.iter().map(ToString::to_string));
    object["doubts"] = doubts.map_or(json!([]), Iterator::collect);
    object["samples"] = findings.map_or(json!({}), |found| samples(found, facts));
    object["written"] = findings.map_or(json!({}), written);
    object
}

/// A variant, by the names of its key scheme and counter.
pub(super) fn variant(variant: Variant) -> Json {
    json!({ "keys": variant.keys, "counter": variant.counter.name() })
}

fn file(seen: &FileSeen) -> Json {
    let mut object = variant(seen.variant);
    object["path"] = json!(seen.file.path);
    object["day"] = json!(seen.file.day);
    object["rows"] = seen.rows.into();
    object["certain"] = seen.certain.into();
    object["entry"] = seen.entry.is_some().into();
    object["passed_by"] = json!(seen.outcome.passed_by);
    object
}

/// The cells by column name.
pub(super) fn cells(cells: &[Cell], facts: &Facts) -> Json {
    let named = facts.columns.iter().zip(cells);
    let named = named.map(|(name, cell)| ((*name).to_owned(), cell.to_json()));
    Json::Object(named.collect::<Map<_, _>>())
}

/// A published row, unchanged.
pub(super) fn published(row: &PublishedRow) -> Json {
    json!({
        "key": row.key,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "row": row.fields,
    })
}

fn samples(findings: &Findings, facts: &Facts) -> Json {
    let missing = findings.missing.iter().chain(&findings.misdated_missing);
    let missing = missing
        .take(SAMPLES)
        .map(|row| expected(row, findings, facts));
    let path = |file| facts::path(findings, file);
    json!({
        "missing": missing.collect::<Json>(),
        "duplicates": first(&findings.duplicates, |one| duplicate(one, facts)),
        "orphans": first(&findings.orphans, published),
        "altered": first(&findings.altered, altered),
        "repeated": first(&findings.repeated, |one| json!({
            "key": one.key, "rows": one.sids.len(),
        })),
        "collided": first(&findings.collided, |one| collision(one, findings)),
        "misdated": first(&findings.misdated, |one| json!({
            "key": one.row.key, "day": one.row.day, "file": path(one.row.file),
            "ordinal": one.row.ordinal, "published": one.published,
        })),
        "unpublishable": first(&findings.unpublishable, |one| json!({
            "key": one.key, "file": path(one.file), "ordinal": one.ordinal, "why": one.why,
        })),
        "catalog": first(&findings.catalog, |one| facts::catalog(one, findings).into()),
    })
}

fn first<T>(items: &[T], say: impl Fn(&T) -> Json) -> Json {
    items.iter().take(SAMPLES).map(say).collect()
}

fn expected(row: &ExpectedRow, findings: &Findings, facts: &Facts) -> Json {
    json!({
        "key": row.row.key,
        "file": facts::path(findings, row.file),
        "row": cells(&row.cells, facts),
    })
}

fn duplicate(duplicate: &Duplicate, facts: &Facts) -> Json {
    let mut object = published(&duplicate.published);
    object["of"] = json!(duplicate.of);
    object["how"] = facts::kinship(&duplicate.how, facts).into();
    if let Kinship::Renamed { column, from, to } = &duplicate.how {
        object["changes"] = json!([
            { "column": column, "published": from.to_json(), "expected": to.to_json() }
        ]);
    }
    object
}

fn altered(altered: &Altered) -> Json {
    let mut object = published(&altered.published);
    let changes = altered.changes.iter().map(|change| {
        json!({
            "column": change.column,
            "published": change.published.to_json(),
            "expected": change.expected.to_json(),
        })
    });
    object["changes"] = changes.collect();
    object
}

fn collision(collision: &Collision, findings: &Findings) -> Json {
    let place =
        |row: &Placed| json!({ "file": facts::path(findings, row.file), "ordinal": row.ordinal });
    json!({
        "key": collision.stands.key,
        "stands": place(&collision.stands),
        "replaced": place(&collision.replaced),
    })
}

fn written(findings: &Findings) -> Json {
    let minutes = |written: &Written| {
        let minute = |(at, rows)| json!({ "minute": at, "rows": rows });
        json!({
            "minutes": written.minutes.iter().map(minute).collect::<Json>(),
            "others": written.others,
        })
    };
    let duplicates = findings
        .duplicates
        .iter()
        .map(|duplicate| &duplicate.published);
    let altered = findings.altered.iter().map(|altered| &altered.published);
    json!({
        "duplicates": minutes(&Written::of(duplicates)),
        "orphans": minutes(&Written::of(findings.orphans.iter())),
        "altered": minutes(&Written::of(altered)),
    })
}
