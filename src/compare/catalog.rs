//! Finds the catalog entries that are wrong about a day.
//!
//! A file's entry is judged only when the file's own day is checked. Rows that the file has on a
//! neighbouring day are found missing when that day is checked.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use crate::model::{Day, Entry, ReadyFile};

use super::findings::{CatalogFinding, FileSeen};

/// The entry that says a ready file is published: it has the same base and ext, and covers part of
/// the file's day.
#[must_use]
pub fn entry_of<'a>(file: &ReadyFile, entries: &'a [Entry], zone: Tz) -> Option<&'a Entry> {
    let whole = file.entry.coverage(zone);
    let covers = |entry: &&Entry| {
        let (ours, theirs) = (&file.entry.key, &entry.key);
        ours.id_base == theirs.id_base
            && ours.id_ext == theirs.id_ext
            && entry.coverage(zone).overlaps(whole)
    };
    let exact = |entry: &&Entry| entry.key.collection_date == file.entry.key.collection_date;
    (entries.iter().filter(covers).find(exact)).or_else(|| entries.iter().find(covers))
}

/// Compares the day's entries with its files. `missing` returns how many rows of a file are missing
/// on the day. `ready_bases` holds the bases that the ready layer or the lake has for the day.
/// `entries` are those of the published layer for this dataset's ext.
#[must_use]
pub fn compare(
    day: Day,
    zone: Tz,
    pointer: &str,
    files: &[FileSeen],
    missing: &dyn Fn(u32) -> u64,
    ready_bases: &BTreeSet<String>,
    entries: &[Entry],
) -> Vec<CatalogFinding> {
    let gone = (entries.iter())
        .filter(|entry| entry.day(zone) == day && !ready_bases.contains(&entry.key.id_base))
        .cloned()
        .map(CatalogFinding::Gone);
    let own = (0u32..).zip(files).filter(|(_, seen)| seen.own_day);
    let wrong = own.filter_map(|(file, seen)| judge(file, seen, missing(file), pointer));
    gone.chain(wrong).collect()
}

fn judge(file: u32, seen: &FileSeen, missing: u64, pointer: &str) -> Option<CatalogFinding> {
    match &seen.entry {
        Some(entry) if missing > 0 => Some(CatalogFinding::RowsMissing {
            entry: entry.clone(),
            missing,
            file,
        }),
        Some(entry) if entry.pointer != pointer => Some(CatalogFinding::WrongPointer {
            entry: entry.clone(),
            file,
        }),
        Some(_) => None,
        None => {
            let whole = missing == 0 && seen.spilled_missing == Some(0);
            let publishable = seen.outcome.passed_by.is_none();
            (whole && publishable).then_some(CatalogFinding::Uncatalogued { file })
        }
    }
}
