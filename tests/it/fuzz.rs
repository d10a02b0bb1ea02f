//! Every door of `sodalake::fuzzing` held open to its seeds and to some thousand broken copies of
//! them. What cargo-fuzz finds by the hour (tests/fuzz) stays found: its seeds are these.
//!
//! `SODALAKE_FUZZ_SEED` begins another walk, `SODALAKE_FUZZ_RUNS` makes it longer.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sodalake::fuzzing::DOORS;

/// Longest input tried: what matters in a parser happens in less.
const LONGEST: usize = 64 << 10;

/// What parsers look for.
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

/// The seeds of a door: its own folder, and the specimens and examples that are of its kind.
fn seeds(door: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut paths = Vec::new();
    files(&root().join("tests/fuzz/seeds").join(door), &mut paths);
    if door.starts_with("lake-") {
        let mut specimens = Vec::new();
        files(&root().join("tests/specimens/vectors"), &mut specimens);
        let in_lake = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "lake");
        specimens.retain(in_lake);
        paths.extend(specimens);
    }
    if door == "settings" {
        files(&root().join("config"), &mut paths);
    }
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    let read = paths.into_iter().map(read);
    read.filter(|(_, bytes)| bytes.len() <= LONGEST).collect()
}

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().expect(name))
}

/// A copy with one to eight things wrong with it.
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
        bytes.truncate(LONGEST);
    }
    bytes
}

#[test]
fn no_door_panics_at_its_seeds_or_at_broken_copies_of_them() {
    let start = number("SODALAKE_FUZZ_SEED", 20_201_014);
    let runs = number("SODALAKE_FUZZ_RUNS", 2_000);
    println!("SODALAKE_FUZZ_SEED={start} SODALAKE_FUZZ_RUNS={runs}");
    for door in DOORS {
        let seeds = seeds(door.name);
        assert!(seeds.len() >= 2, "{} has {} seeds", door.name, seeds.len());
        for (path, bytes) in &seeds {
            let entered = catch_unwind(|| (door.enter)(bytes));
            assert!(entered.is_ok(), "{}: {}", door.name, path.display());
        }
        let seeds: Vec<&Vec<u8>> = seeds.values().collect();
        for run in 0..runs {
            let mut dice = StdRng::seed_from_u64(start + run);
            let seed = seeds.choose(&mut dice).expect("there are seeds");
            let other = seeds.choose(&mut dice).expect("there are seeds");
            let bytes = broken(seed, other, &mut dice);
            if catch_unwind(|| (door.enter)(&bytes)).is_err() {
                let kept = std::env::temp_dir().join(format!("{}-{}", door.name, start + run));
                std::fs::write(&kept, &bytes).unwrap();
                panic!(
                    "{}, SODALAKE_FUZZ_SEED={} run {run}: {}",
                    door.name,
                    start,
                    kept.display()
                );
            }
        }
    }
}

#[test]
fn every_folder_of_seeds_has_its_door() {
    let folders = std::fs::read_dir(root().join("tests/fuzz/seeds")).unwrap();
    let mut folders: Vec<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut doors: Vec<_> = DOORS.iter().map(|door| door.name.to_owned()).collect();
    doors.sort();
    assert_eq!(folders, doors);
}
