//! Runs every entry point of `sodalake::fuzzing` with its seeds and with some thousand corrupted
//! copies of them. Inputs found by cargo-fuzz (tests/fuzz) become seeds, so they are tested here
//! too.
//!
//! `SODALAKE_FUZZ_SEED` selects other copies, and `SODALAKE_FUZZ_RUNS` sets their number.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sodalake::fuzzing::DOORS;

/// Maximum length of an input. Shorter inputs already reach everything in a parser.
const MAX_LENGTH: usize = 64 << 10;

/// Tokens that the parsers recognize.
const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0000",
    "\\ud83d",
    "null",
    "NaN",
    "-Infinity",
    "1e999",
    "-0",
    "00",
    "9007199254740993",
    "\u{feff}",
    "\0",
    "\n",
    "\"data\":",
    "\"\":",
    "2020-10-14T00:00:00",
    "2020-11-01 01:30:00-05:00",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// The seeds of an entry point: its own folder, and matching specimens and examples.
fn seeds(entry_point: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut paths = Vec::new();
    files(
        &root().join("tests/fuzz/seeds").join(entry_point),
        &mut paths,
    );
    if entry_point.starts_with("lake-") {
        let mut specimens = Vec::new();
        files(&root().join("tests/specimens/vectors"), &mut specimens);
        let in_lake = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "lake");
        specimens.retain(in_lake);
        paths.extend(specimens);
    }
    if entry_point == "settings" {
        files(&root().join("config"), &mut paths);
    }
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    let read = paths.into_iter().map(read);
    read.filter(|(_, bytes)| bytes.len() <= MAX_LENGTH)
        .collect()
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect(name))
}

/// A copy with one to eight random errors.
fn broken(seed: &[u8], other: &[u8], dice: &mut StdRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..dice.random_range(1..=8) {
        let at = dice.random_range(0..=bytes.len());
        let to = dice.random_range(at..=bytes.len().min(at + 64));
        match dice.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => drop(bytes.drain(at..to)),
            2 => bytes.insert(at, dice.random()),
            3 => {
                let token = TOKENS.choose(dice).expect("there are tokens");
                drop(bytes.splice(at..to.min(at + 4), token.bytes()));
            }
            4 => {
                let piece = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            5 => bytes.truncate(at),
            _ => {
                let from = dice.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        bytes.truncate(MAX_LENGTH);
    }
    bytes
}

#[test]
fn no_parser_panics_on_seeds_or_corrupted_copies() {
    let start = number("SODALAKE_FUZZ_SEED", 20_201_014);
    let runs = number("SODALAKE_FUZZ_RUNS", 2_000);
    println!("SODALAKE_FUZZ_SEED={start} SODALAKE_FUZZ_RUNS={runs}");
    for entry_point in DOORS {
        let seeds = seeds(entry_point.name);
        assert!(
            seeds.len() >= 2,
            "{} has {} seeds",
            entry_point.name,
            seeds.len()
        );
        for (path, bytes) in &seeds {
            let entered = catch_unwind(|| (entry_point.enter)(bytes));
            assert!(entered.is_ok(), "{}: {}", entry_point.name, path.display());
        }
        let seeds: Vec<&Vec<u8>> = seeds.values().collect();
        for run in 0..runs {
            let mut dice = StdRng::seed_from_u64(start + run);
            let seed = seeds.choose(&mut dice).expect("there are seeds");
            let other = seeds.choose(&mut dice).expect("there are seeds");
            let bytes = broken(seed, other, &mut dice);
            if catch_unwind(|| (entry_point.enter)(&bytes)).is_err() {
                let kept =
                    std::env::temp_dir().join(format!("{}-{}", entry_point.name, start + run));
                std::fs::write(&kept, &bytes).unwrap();
                panic!(
                    "{}, SODALAKE_FUZZ_SEED={} run {run}: {}",
                    entry_point.name,
                    start,
                    kept.display()
                );
            }
        }
    }
}

#[test]
fn every_seed_folder_has_an_entry_point() {
    let folders = std::fs::read_dir(root().join("tests/fuzz/seeds")).unwrap();
    let mut folders: Vec<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut entry_points: Vec<_> = DOORS
        .iter()
        .map(|entry_point| entry_point.name.to_owned())
        .collect();
    entry_points.sort();
    assert_eq!(folders, entry_points);
}
