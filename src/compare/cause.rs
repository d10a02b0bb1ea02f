//! The likely cause of a day's findings, in a sentence a person can act on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::model::{KeyRecipe, PublishedRow};

use super::findings::{CatalogFinding, Findings};
use super::twins::{Kinship, Twin};

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

/// Why rows are twins, in words that are the same for twins of one kind.
fn why_twin(how: &Kinship) -> String {
    match how {
        Kinship::Renamed { column, .. } => format!("{column} in another publisher's spelling"),
        Kinship::Rekeyed(Some(variant)) => match variant.keys {
            KeyRecipe::Chained => {
                "keyed by the chained hasher of the publishers before December 2020".into()
            }
            KeyRecipe::Kits => "keyed as radar rows were before the lake".into(),
            KeyRecipe::Row => "published again in a run that numbered the devices otherwise".into(),
        },
        Kinship::Rekeyed(None) => "the same lines under keys that no recipe we know makes".into(),
    }
}

/// The commonest renaming among twins: `, such as 'A/ B' for 'A / B'`.
fn example(twins: &[&Twin]) -> String {
    let mut spellings: BTreeMap<String, u64> = BTreeMap::new();
    for twin in twins {
        if let Kinship::Renamed { from, to, .. } = &twin.how {
            *spellings.entry(format!("{from} for {to}")).or_default() += 1;
        }
    }
    let commonest = spellings.into_iter().max_by_key(|(_, count)| *count);
    commonest
        .map(|(spelling, _)| format!(", such as {spelling}"))
        .unwrap_or_default()
}

fn twins(twins: &[Twin], zone: Tz) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&Twin>> = BTreeMap::new();
    for twin in twins {
        groups.entry(why_twin(&twin.how)).or_default().push(twin);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, twins)| std::cmp::Reverse(twins.len()));
    (groups.into_iter())
        .map(|(why, twins)| {
            let when = written(twins.iter().map(|twin| &twin.published), zone).unwrap_or_default();
            let are = if twins.len() == 1 {
                "is a twin"
            } else {
                "are twins"
            };
            format!(
                "{} written {when} {are}: {why}{}",
                rows(twins.len()),
                example(&twins)
            )
        })
        .collect()
}

fn orphans(orphans: &[PublishedRow], zone: Tz) -> Option<String> {
    let when = written(orphans.iter(), zone)?;
    let what = rows(orphans.len());
    Some(format!(
        "{what} written {when} are strangers: the lake has nothing like them"
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
        (0, 1) => format!("the end or part of {named} was lost: a publisher died between blocks"),
        (0, _) => format!("parts of {partly} files were lost, {named} the first"),
        (1, 0) => format!("{named} was never published"),
        (_, 0) => format!("{absent} files were never published, {named} the first"),
        (_, _) => format!("{absent} files were never published and parts of {partly} were lost"),
    })
}

fn altered(findings: &Findings) -> Option<String> {
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
    let (mut gone, mut false_entries, mut pointers, mut unsaid) = (0, 0, 0, 0);
    for finding in &findings.catalog {
        match finding {
            CatalogFinding::Gone(_) => gone += 1,
            CatalogFinding::RowsMissing { .. } => false_entries += 1,
            CatalogFinding::WrongPointer { .. } => pointers += 1,
            CatalogFinding::Uncatalogued { .. } => unsaid += 1,
        }
    }
    let say = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    [
        say(
            gone,
            "catalog entries name files that are gone from the ready layer",
        ),
        say(
            false_entries,
            "catalog entries say published though rows are missing",
        ),
        say(pointers, "catalog entries point to another dataset"),
        say(unsaid, "published files are not entered in the catalog"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The likely cause of what was found; `None` if nothing was.
#[must_use]
pub fn of(findings: &Findings) -> Option<String> {
    let zone = findings.target.dataset.zone;
    let mut said = twins(&findings.twins, zone);
    said.extend(orphans(&findings.orphans, zone));
    said.extend(missing(findings));
    said.extend(altered(findings));
    if !findings.repeated.is_empty() {
        said.push("keys repeat: the dataset has no row identifier on the portal".into());
    }
    said.extend(catalog(findings));
    (!said.is_empty()).then(|| said.join("; "))
}
