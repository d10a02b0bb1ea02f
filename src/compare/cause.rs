//! Describes the likely cause of a day's findings, in a sentence that an operator can act on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::model::{KeyScheme, PublishedRow};

use super::duplicates::{Duplicate, Kinship};
use super::findings::{CatalogFinding, Findings};

/// Digits in groups of three: `40,322`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rows(number: usize) -> String {
    let unit = if number == 1 { "row" } else { "rows" };
    format!("{} {unit}", grouped(number as u64))
}

/// When rows were first written: `2020-10-01 08:31 to 08:47 CDT`.
#[must_use]
pub fn written<'a>(rows: impl Iterator<Item = &'a PublishedRow>, zone: Tz) -> Option<String> {
    let times: Vec<DateTime<Utc>> = rows.map(|row| row.created_at).collect();
    let first = times.iter().min()?.with_timezone(&zone);
    let last = times.iter().max()?.with_timezone(&zone);
    let end = if first.date_naive() == last.date_naive() {
        "%H:%M %Z"
    } else {
        "%Y-%m-%d %H:%M %Z"
    };
    Some(if last - first < chrono::TimeDelta::minutes(1) {
        first.format("%Y-%m-%d %H:%M %Z").to_string()
    } else {
        format!("{} to {}", first.format("%Y-%m-%d %H:%M"), last.format(end))
    })
}

/// Why rows are duplicates. The text is the same for all duplicates of one kind.
fn why_duplicate(how: &Kinship) -> String {
    match how {
        Kinship::Renamed { column, .. } => format!("{column} in another publisher's spelling"),
        Kinship::Rekeyed(Some(variant)) => match variant.keys {
            KeyScheme::Chained => {
                "keyed by the chained hasher of the publishers before December 2020".into()
            }
            KeyScheme::Kits => "keyed as radar rows were before the lake existed".into(),
            KeyScheme::Row => {
                "published again in a run that numbered the devices differently".into()
            }
        },
        Kinship::Rekeyed(None) => "the same rows under keys of no known scheme".into(),
    }
}

/// The most common renaming among duplicates: `, such as 'A/ B' for 'A / B'`.
fn example(duplicates: &[&Duplicate]) -> String {
    let mut spellings: BTreeMap<String, u64> = BTreeMap::new();
    for duplicate in duplicates {
        if let Kinship::Renamed { from, to, .. } = &duplicate.how {
            *spellings.entry(format!("{from} for {to}")).or_default() += 1;
        }
    }
    let most_common = spellings.into_iter().max_by_key(|(_, count)| *count);
    most_common
        .map(|(spelling, _)| format!(", such as {spelling}"))
        .unwrap_or_default()
}

fn duplicates(duplicates: &[Duplicate], zone: Tz) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&Duplicate>> = BTreeMap::new();
    for duplicate in duplicates {
        groups
            .entry(why_duplicate(&duplicate.how))
            .or_default()
            .push(duplicate);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, duplicates)| std::cmp::Reverse(duplicates.len()));
    (groups.into_iter())
        .map(|(why, duplicates)| {
            let when = written(
                duplicates.iter().map(|duplicate| &duplicate.published),
                zone,
            )
            .unwrap_or_default();
            let are = if duplicates.len() == 1 {
                "is a duplicate"
            } else {
                "are duplicates"
            };
            format!(
                "{} written {when} {are}: {why}{}",
                rows(duplicates.len()),
                example(&duplicates)
            )
        })
        .collect()
}

fn orphans(orphans: &[PublishedRow], zone: Tz) -> Option<String> {
    let when = written(orphans.iter(), zone)?;
    let what = rows(orphans.len());
    Some(format!(
        "{what} written {when} are orphans: nothing in the lake matches them"
    ))
}

fn missing(findings: &Findings) -> Option<String> {
    if findings.missing.is_empty() {
        return None;
    }
    let mut by_file: BTreeMap<u32, u64> = BTreeMap::new();
    for row in &findings.missing {
        *by_file.entry(row.file).or_default() += 1;
    }
    let whole = |(file, count): (&u32, &u64)| findings.files[*file as usize].rows == *count;
    let absent = by_file
        .iter()
        .filter(|(file, count)| whole((file, count)))
        .count();
    let partly = by_file.len() - absent;
    let name = |file: &u32| findings.files[*file as usize].file.path.to_string();
    let named = by_file.keys().next().map(name).unwrap_or_default();
    Some(match (absent, partly) {
        (0, 1) => format!("the end or part of {named} is missing: a publisher died between chunks"),
        (0, _) => format!("parts of {partly} files are missing; the first is {named}"),
        (1, 0) => format!("{named} was never published"),
        (_, 0) => format!("{absent} files were never published; the first is {named}"),
        (_, _) => format!("{absent} files were never published, and parts of {partly} are missing"),
    })
}

/// The likely cause of the altered rows; `None` if there are none.
#[must_use]
pub fn altered(findings: &Findings) -> Option<String> {
    let mut columns: BTreeMap<&str, u64> = BTreeMap::new();
    for change in findings.altered.iter().flat_map(|altered| &altered.changes) {
        *columns.entry(change.column).or_default() += 1;
    }
    let names: Vec<&str> = columns.into_keys().collect();
    (!names.is_empty()).then(|| {
        let what = rows(findings.altered.len());
        format!(
            "{what} keep old values of {}: the file was corrected after it was published",
            names.join(", ")
        )
    })
}

fn catalog(findings: &Findings) -> Vec<String> {
    let (mut gone, mut false_entries, mut pointers, mut uncatalogued) = (0, 0, 0, 0);
    for finding in &findings.catalog {
        match finding {
            CatalogFinding::Gone(_) => gone += 1,
            CatalogFinding::RowsMissing { .. } => false_entries += 1,
            CatalogFinding::WrongPointer { .. } => pointers += 1,
            CatalogFinding::Uncatalogued { .. } => uncatalogued += 1,
        }
    }
    let counted = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    [
        counted(
            gone,
            "catalog entries name files that no longer exist in the ready layer",
        ),
        counted(
            false_entries,
            "catalog entries say that files are published, but rows are missing",
        ),
        counted(pointers, "catalog entries point to another dataset"),
        counted(uncatalogued, "published files have no catalog entry"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The likely causes of the findings, as one text; `None` if there are no findings.
#[must_use]
pub fn of(findings: &Findings) -> Option<String> {
    let zone = findings.target.dataset.zone;
    let mut sentences = duplicates(&findings.duplicates, zone);
    sentences.extend(orphans(&findings.orphans, zone));
    sentences.extend(missing(findings));
    sentences.extend(altered(findings));
    if !findings.repeated.is_empty() {
        sentences.push("keys repeat: the dataset has no row identifier on the portal".into());
    }
    sentences.extend(catalog(findings));
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
