//! `derive`: every row of every golden vector, and the handling of input that cannot be derived.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use sodalake::compare::gather::RowDay;
use sodalake::expected::{Counter, recipe};
use sodalake::model::{Day, KeyScheme};

use super::place::{DATASETS, NOBODY, Place};
use crate::sources::recipes::{CaseFile, ascii, case_files, expected, vectors};

fn case(name: &str) -> Place {
    Place::of_case(&vectors().join(name), NOBODY)
}

/// Rows by key. The last row of a key counts.
type Rows = BTreeMap<String, String>;

/// One call of `derive`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    dataset: &'static str,
    day: Day,
}

#[derive(Default)]
struct Wanted {
    rows: Rows,
    flags: Vec<&'static str>,
}

/// Column `name` of a line that Python wrote. The column's values contain no quotes.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("\"{name}\": \"")).unwrap();
    rest.split_once('"').unwrap().0
}

fn flags(file: &CaseFile, dataset: &str) -> Vec<&'static str> {
    let recipe = match file.variant.keys {
        KeyScheme::Row => [].as_slice(),
        KeyScheme::Chained => &["--key-scheme", "chained"],
        KeyScheme::Kits => &["--key-scheme", "kits"],
    };
    let counter: &[_] = match file.variant.counter {
        Counter::Separate if dataset == "sightings" => &["--counter", "separate"],
        Counter::Separate | Counter::Shared => &[],
    };
    [recipe, counter].concat()
}

/// The expected output by call. Rows without a time cannot be derived; the publisher used the time
/// at which it ran.
fn wanted(path: &Path) -> BTreeMap<Call, Wanted> {
    let volatile = path.ends_with("bt-null-timestamp");
    let mut calls: BTreeMap<Call, Wanted> = BTreeMap::new();
    for file in case_files(path)
        .iter()
        .filter(|file| file.outcome == "published")
    {
        let known = DATASETS.iter().find(|(_, id, _)| *id == file.dataset);
        let (dataset, id, name) = *known.unwrap();
        let facts = recipe(name).unwrap().facts();
        let file_day: Day = file.pointer[..10].replace('/', "-").parse().unwrap();
        let lines = &expected(path, id)[file.first_row..file.first_row + file.rows];
        for (at, line) in lines.iter().enumerate() {
            if volatile && dataset == "sightings" && [3, 5].contains(&at) {
                continue;
            }
            let wall = field(line, facts.day_column).parse().unwrap();
            let spill = i64::from(facts.spill_days);
            let day = match RowDay::of(wall, file_day, file_day, spill) {
                RowDay::Today | RowDay::Far(_) => file_day,
                RowDay::Near => Day::of(wall),
            };
            let call = calls.entry(Call { dataset, day }).or_default();
            call.flags = flags(file, dataset);
            let key = field(line, facts.key_column).to_owned();
            call.rows.insert(key, line.clone());
        }
    }
    calls
}

#[test]
fn every_row_of_every_vector_is_printed_as_it_was_published() {
    let (mut rows, mut exact) = (0, 0);
    for entry in fs::read_dir(vectors()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let place = Place::of_case(&path, NOBODY);
        for (call, wanted) in wanted(&path) {
            let day = call.day.to_string();
            let args = [&["derive", call.dataset, "--day", &day], &*wanted.flags].concat();
            let ran = place.run(&args);
            let printed: Vec<String> = ran.out.lines().map(ascii).collect();
            let set: BTreeSet<&String> = printed.iter().collect();
            assert_eq!(set.len(), printed.len(), "{path:?} {args:?}: a row twice");
            for line in wanted.rows.values() {
                assert!(set.contains(line), "{path:?} {args:?}: {line}\n{}", ran.err);
            }
            // A day whose only rows come from the next day's file.
            let no_file = ran.err.contains(&format!("the lake has no file for {day}"));
            if !path.ends_with("crashes") {
                let code = if no_file { 4 } else { 0 };
                assert_eq!(ran.code, code, "{path:?} {args:?}: {}", ran.err);
            }
            rows += wanted.rows.len();
            exact += usize::from(set.len() == wanted.rows.len());
        }
    }
    println!("{rows} rows, {exact} calls with no row more");
    assert!(rows > 2500 && exact > 60, "{rows} rows, {exact} calls");
}

#[test]
fn unreadable_files_are_reported_and_the_others_printed() {
    let place = case("crashes");
    for (dataset, day, code, said) in [
        (
            "camera-counts",
            "2020-06-02",
            4,
            "cross_st of the device is null",
        ),
        (
            "camera-counts",
            "2020-06-03",
            0,
            "the first is row 2: timestamp is not a time",
        ),
        ("camera-counts", "2020-06-05", 4, "does not exist"),
        (
            "camera-counts",
            "2020-06-06",
            4,
            "neither a device nor the location",
        ),
        ("travel-times", "2020-06-08", 4, "has no device"),
        (
            "radar-counts",
            "2020-06-09",
            0,
            "the first is row 4: detName is null",
        ),
        ("camera-counts", "2020-06-10", 4, "a string does not end"),
    ] {
        let ran = place.run(&["derive", dataset, "--day", day]);
        assert_eq!(ran.code, code, "{day}: {}", ran.err);
        assert!(ran.err.contains(said), "{day}: {}", ran.err);
        assert!(!ran.out.contains(said));
        if dataset == "camera-counts" {
            assert!(ran.out.lines().count() > 8, "{day}: the other two files");
        }
    }
}

#[test]
fn options_that_never_applied_to_a_dataset_are_usage_errors() {
    let place = case("plain-day");
    let day = "2019-06-05";
    let ran = place.run(&[
        "derive",
        "camera-counts",
        "--day",
        day,
        "--key-scheme",
        "kits",
    ]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("it only used row, chained"), "{}", ran.err);
    let ran = place.run(&["derive", "matches", "--day", day, "--counter", "separate"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("it only used shared"), "{}", ran.err);
}

#[test]
fn the_keys_flag_prints_the_keys_of_the_rows() {
    let place = case("dst-fall");
    let args = ["derive", "camera-counts", "--day", "2020-11-01"];
    let rows = place.run(&args).out;
    let keys = place.run(&[&args[..], &["--keys"]].concat()).out;
    let of_rows: Vec<&str> = rows
        .lines()
        .map(|line| &line[line.len() - 34..line.len() - 2])
        .collect();
    assert_eq!(keys.lines().collect::<Vec<_>>(), of_rows);
    assert_eq!(of_rows.len(), 86);
}

#[test]
fn a_day_without_files_prints_nothing_and_sends_no_request() {
    let place = case("plain-day");
    let ran = place.run(&["derive", "camera-counts", "--day", "2018-01-01"]);
    assert_eq!((ran.code, &*ran.out), (0, ""), "{}", ran.err);
    assert!(!place.path("ledger.db").exists());
}

#[test]
fn unavailable_services_are_named() {
    let place = case("plain-day");
    place.reset("sqlite://", "sqlite:///nowhere");
    let ran = place.run(&["derive", "camera-counts", "--day", "2019-06-05"]);
    assert_eq!((ran.code, &*ran.out), (7, ""));
    assert!(ran.err.contains("open the catalog"), "{}", ran.err);
}

#[test]
fn a_closed_output_is_not_an_error() {
    let place = case("plain-day");
    let mut command = place.command(&["derive", "radar-counts", "--day", "2019-06-05"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::with_capacity(64, child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    drop(out);
    assert!(child.wait().unwrap().success());
    assert!(line.starts_with('{'));
}
