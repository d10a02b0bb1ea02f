//! The golden vectors: what the existing publisher really sent, compared with what the recipes
//! derive.
//!
//! A derived row is rendered as the line that Python writes for it and compared as a whole. So
//! every value, the type of every number and every key must match.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value as Json;
use sodalake::expected::{
    Counter, DeriveError, FileOutcome, FileText, Line, Recipe, Unpublishable, Variant, recipes,
};
use sodalake::model::{KeyScheme, LakePath};

pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specimens/vectors")
}

/// A file of a case's lake, by a catalog pointer such as `2019/06/05/bt/Austin_bt_..json`.
pub fn object(case: &Path, pointer: &str) -> Option<Vec<u8>> {
    fs::read(case.join("lake/atd-datalake-ready").join(pointer)).ok()
}

/// The recipe with the pointer's source and extension.
fn recipe_of(pointer: &str) -> &'static dyn Recipe {
    let fits = |recipe: &&&dyn Recipe| {
        let facts = recipe.facts();
        let (dot, source) = (facts.ext == "json", format!("/{}/", facts.source));
        let ending = format!("{}{}", if dot { '.' } else { '_' }, facts.ext);
        pointer.contains(&source) && pointer.ends_with(&ending)
    };
    *recipes()
        .iter()
        .find(fits)
        .expect("every pointer has a recipe")
}

/// The result of a file, with its rows as Python writes them.
struct Derived {
    lines: Vec<(u32, String)>,
    unpublishable: Vec<Unpublishable>,
    outcome: Result<FileOutcome, DeriveError>,
}

pub fn ascii(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(text, "\\u{unit:04x}").unwrap();
            }
        }
    }
    text
}

fn derive(case: &Path, pointer: &str, variant: Variant) -> Derived {
    let recipe = recipe_of(pointer);
    let facts = recipe.facts();
    let path = LakePath(pointer.into());
    let bytes = object(case, pointer).expect("the lake has the file");
    let companion = facts.companion.and_then(|ext| {
        let other = pointer.replace(facts.ext, ext);
        object(case, &other).map(|bytes| (LakePath(other), bytes))
    });
    let file = FileText {
        path: &path,
        bytes: &bytes,
        companion: companion.as_ref().map(|(path, bytes)| (path, &bytes[..])),
    };
    let (mut lines, mut unpublishable) = (Vec::new(), Vec::new());
    let outcome = recipe.derive(&file, variant, &mut |line| match line {
        Line::Row(row) => {
            let columns = facts.columns.iter().zip(row.values);
            let members: Vec<String> = columns
                .map(|(column, value)| format!("\"{column}\": {}", value.json()))
                .collect();
            let (members, key) = (members.join(", "), facts.key_column);
            let day = facts
                .columns
                .iter()
                .position(|column| *column == facts.day_column);
            let day = row.values[day.unwrap()].text().unwrap();
            assert_eq!(row.at.format("%Y-%m-%dT%H:%M:%S").to_string(), day);
            let line = ascii(&format!("{{{members}, \"{key}\": \"{}\"}}", row.key));
            lines.push((row.ordinal, line));
        }
        Line::Unpublishable(row) => unpublishable.push(row),
    });
    Derived {
        lines,
        unpublishable,
        outcome,
    }
}

/// One file of one run, as `case.json` reports it.
pub struct CaseFile {
    pub pointer: String,
    pub outcome: String,
    pub dataset: String,
    pub rows: usize,
    pub first_row: usize,
    pub variant: Variant,
}

pub fn case_files(case: &Path) -> Vec<CaseFile> {
    let json: Json = serde_json::from_slice(&fs::read(case.join("case.json")).unwrap()).unwrap();
    let keys = if json["name"] == "chained-keys" {
        KeyScheme::Chained
    } else {
        KeyScheme::Row
    };
    let mut files = Vec::new();
    for run in json["runs"].as_array().unwrap() {
        let in_run = run["files"].as_array().unwrap();
        let pointer = |file: &Json| file["pointer"].as_str().unwrap().to_owned();
        let published = in_run.iter().find(|file| file["outcome"] == "published");
        let first_date = published.map(|file| pointer(file)[..10].to_owned());
        for file in in_run {
            let pointer = pointer(file);
            let shared = first_date.as_deref() == Some(&pointer[..10]);
            let counter = if shared {
                Counter::Shared
            } else {
                Counter::Separate
            };
            let number =
                |name: &str| usize::try_from(file[name].as_u64().unwrap_or_default()).unwrap();
            files.push(CaseFile {
                outcome: file["outcome"].as_str().unwrap().to_owned(),
                dataset: file["dataset"].as_str().unwrap_or_default().to_owned(),
                rows: number("rows"),
                first_row: number("first_row"),
                variant: Variant { keys, counter },
                pointer,
            });
        }
    }
    files
}

pub fn expected(case: &Path, dataset: &str) -> Vec<String> {
    let file = case.join(format!("expected/{dataset}.ndjson"));
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Compares a published file. Returns the number of equal rows.
fn compare(case: &Path, file: &CaseFile) -> usize {
    let derived = derive(case, &file.pointer, file.variant);
    let outcome = derived.outcome.unwrap();
    let all = expected(case, &file.dataset);
    let wanted = &all[file.first_row..file.first_row + file.rows];
    let is_volatile = case.ends_with("bt-null-timestamp") && file.pointer.contains("_unmatched");
    let lost: Vec<u32> = if is_volatile { vec![3, 5] } else { vec![] };
    let found: Vec<u32> = derived
        .unpublishable
        .iter()
        .map(|row| row.ordinal)
        .collect();
    assert_eq!(found, lost, "{}", file.pointer);
    assert_eq!(
        derived.lines.len() + lost.len(),
        wanted.len(),
        "{}",
        file.pointer
    );
    let counted =
        [outcome.rows, outcome.unpublishable].map(|count| usize::try_from(count).unwrap());
    assert_eq!(counted, [derived.lines.len(), lost.len()]);
    let is_lost = |at: usize| lost.iter().any(|row| *row as usize == at);
    let kept = wanted.iter().enumerate().filter(|(at, _)| !is_lost(*at));
    for ((_, wanted), (ordinal, line)) in kept.zip(&derived.lines) {
        assert_eq!(line, wanted, "{} row {ordinal}", file.pointer);
    }
    derived.lines.len()
}

/// The expected error of the case `crashes` by day, with the row, or `None` if the whole file is
/// unusable.
fn crash(day: &str) -> (Option<u32>, &'static str) {
    match day {
        "2020/06/02" => (None, "cross_st of the device is null, not a text"),
        "2020/06/03" => (Some(2), "timestamp is not a time: \"\""),
        "2020/06/04" => (Some(1), "movement has a lone surrogate"),
        "2020/06/06" => (None, "it has neither a device nor the location of its site"),
        "2020/06/07" => (Some(3), "speed_std is missing"),
        "2020/06/08" => (None, "has no device \"dcfa19d388836543d9252f44ebec6cc4\""),
        "2020/06/09" => (Some(4), "detName is null, not a text"),
        "2020/06/10" => (None, "a string does not end"),
        other => panic!("no fault is known of {other}"),
    }
}

fn check_crash(case: &Path, file: &CaseFile) {
    let derived = derive(case, &file.pointer, file.variant);
    let (row, what) = crash(&file.pointer[..10]);
    match (row, derived.outcome) {
        (None, Err(error)) => assert!(error.to_string().contains(what), "{error}"),
        (Some(ordinal), Ok(_)) => {
            let why = what.into();
            assert_eq!(derived.unpublishable, [Unpublishable { ordinal, why }]);
            assert!(!derived.lines.is_empty());
        }
        (_, outcome) => panic!("{}: {outcome:?}", file.pointer),
    }
}

#[test]
fn every_row_of_every_vector_is_derived_as_it_was_published() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in fs::read_dir(vectors()).unwrap() {
        let case = entry.unwrap().path();
        if !case.is_dir() {
            continue;
        }
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        for file in case_files(&case) {
            match &*file.outcome {
                "published" => *counts.entry(name.clone()).or_default() += compare(&case, &file),
                "skipped" => {
                    let derived = derive(&case, &file.pointer, file.variant);
                    assert_eq!(derived.outcome.unwrap().passed_by.unwrap(), "no device");
                    assert!(derived.lines.is_empty() && derived.unpublishable.is_empty());
                }
                "failed" if object(&case, &file.pointer).is_none() => {}
                "failed" => check_crash(&case, &file),
                other => panic!("unknown outcome {other}"),
            }
        }
    }
    let total: usize = counts.values().sum();
    println!("{total} rows compared: {counts:?}");
    assert!(total > 2500, "{total} rows compared");
}

#[test]
fn a_chain_is_broken_after_an_underivable_row() {
    let case = vectors().join("bt-null-timestamp");
    let pointer = "2020/06/02/bt/Austin_bt_2020-06-02_unmatched.json";
    let variant = |keys| Variant {
        keys,
        counter: Counter::Shared,
    };
    let chained = derive(&case, pointer, variant(KeyScheme::Chained));
    let row = derive(&case, pointer, variant(KeyScheme::Row));
    let ordinals: Vec<u32> = chained.lines.iter().map(|(ordinal, _)| *ordinal).collect();
    assert_eq!(ordinals, [0, 1, 2]);
    assert_eq!(chained.lines[0], row.lines[0]);
    assert_ne!(chained.lines[1], row.lines[1]);
    assert_eq!(chained.unpublishable.len(), 11);
    assert_eq!(chained.unpublishable[0], row.unpublishable[0]);
    assert!(
        chained.unpublishable[1]
            .why
            .contains("row 3 cannot be derived")
    );
}

#[test]
fn matched_rows_do_not_depend_on_the_counter() {
    let case = vectors().join("bt-two-days");
    let pointer = "2019/07/17/bt/Austin_bt_2019-07-17_matched.json";
    let lines = |counter| {
        let keys = KeyScheme::Row;
        derive(&case, pointer, Variant { keys, counter }).lines
    };
    assert_eq!(lines(Counter::Shared), lines(Counter::Separate));
}

/// Every recipe's file of an ordinary day.
const ORDINARY: [&str; 5] = [
    "2019/06/05/gs/Burnet_Richcreek_gs_2019-06-05_agg15.json",
    "2019/06/05/bt/Austin_bt_2019-06-05_matched.json",
    "2019/06/05/bt/Austin_bt_2019-06-05_traf_match_summary.json",
    "2019/06/05/bt/Austin_bt_2019-06-05_unmatched.json",
    "2019/06/05/wt/Austin_wt_2019-06-05.json",
];

/// Derives rows from bytes that replace a file.
fn derive_bytes(pointer: &str, bytes: &[u8], companion: Option<&[u8]>) -> bool {
    let path = LakePath(pointer.into());
    let file = FileText {
        path: &path,
        bytes,
        companion: companion.map(|bytes| (&path, bytes)),
    };
    let variant = Variant {
        keys: KeyScheme::Row,
        counter: Counter::Shared,
    };
    recipe_of(pointer)
        .derive(&file, variant, &mut |_| ())
        .is_ok()
}

proptest! {
    #[test]
    fn a_file_cut_short_anywhere_is_unreadable(pick in 0usize..5, cut in any::<prop::sample::Index>()) {
        let case = vectors().join("plain-day");
        let bytes = object(&case, ORDINARY[pick]).unwrap();
        let short = &bytes[..cut.index(bytes.len())];
        prop_assert!(!derive_bytes(ORDINARY[pick], short, None));
        let whole = object(&case, ORDINARY[3]).unwrap();
        prop_assert!(!derive_bytes(ORDINARY[3], &whole, Some(short)));
        prop_assert!(derive_bytes(ORDINARY[3], &whole, None));
    }

    #[test]
    fn no_change_of_a_file_makes_a_recipe_panic(
        pick in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, ".{0,4}"), 1..5),
    ) {
        let mut bytes = object(&vectors().join("plain-day"), ORDINARY[pick]).unwrap();
        for (at, length, text) in changes {
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, text.bytes());
        }
        derive_bytes(ORDINARY[pick], &bytes, Some(&bytes));
    }
}
