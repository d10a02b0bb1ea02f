//! The benchmarks of docs/performance.md that are ratios: each pair is measured alternately in one
//! run.
//!
//! `cargo bench --bench bars` prints a Markdown line per target. A word after `--` selects
//! `derive`, `compare` or `growth`; `write=FILE` writes the measured `unmatched` file.
//! `benches/measure` runs this and the comparisons with other programs. Work on one thread is
//! measured by that thread's CPU time, so that other load on the machine does not count. Work on
//! two threads is measured by wall-clock time.

mod support;
#[path = "support/turns.rs"]
mod turns;

use std::fs;
use std::hint::black_box;
use std::path::Path;

use md5::{Digest, Md5};
use serde::de::IgnoredAny;
use sodalake::compare::gather::{self, Asked};
use sodalake::compare::keys::difference;
use sodalake::compare::{FileRows, Gathering};
use sodalake::expected::Line;
use sodalake::model::{KeySet, Md5Key, Value};
use sodalake::sandbox::city::Table;
use support::{Lake, VARIANT, day};
use turns::{by_clock, chosen, medians, on_processor, peak_bytes, words};

/// Keys on each side.
const KEYS: u32 = 10_000_000;

fn main() {
    let Some(words) = words() else {
        return;
    };
    if let Some(file) = words.iter().find_map(|word| word.strip_prefix("write=")) {
        let lake = Lake::of(Table::DeviceReads);
        let text = lake.texts().next().expect("the lake has a file");
        return fs::write(file, text.bytes).expect("the file can be written");
    }
    println!("| what | measured | bar |\n|---|---|---|");
    // Run this first: memory freed by other parts would hide what it takes.
    if chosen(&words, "compare") {
        compare(1);
        compare(30);
    }
    if chosen(&words, "derive") {
        for table in [Table::DeviceReads, Table::CameraCounts, Table::RadarCounts] {
            derive_and_key(&Lake::of(table));
        }
        two_days_on_two_cores(&Lake::of(Table::DeviceReads));
    }
    if chosen(&words, "growth") {
        growth(&Lake::of(Table::DeviceReads));
    }
}

/// The texts whose MD5s are the row keys.
fn key_texts(lake: &Lake) -> Vec<String> {
    let facts = lake.recipe.facts();
    let place = |name: &&str| facts.columns.iter().position(|column| column == name);
    let hashed: Vec<usize> = facts.identity.iter().filter_map(place).collect();
    let text = |value: &Value| value.text().unwrap_or_default().into_owned();
    let mut texts = Vec::new();
    lake.derive(|line| {
        if let Line::Row(row) = line {
            texts.push(hashed.iter().map(|&at| text(&row.values[at])).collect());
        }
    });
    texts
}

fn derive_and_key(lake: &Lake) {
    let texts = key_texts(lake);
    // A small file is read several times, because the clock is too coarse for one time.
    let times = 1 + 200_000 / texts.len();
    let again = |work: &mut dyn FnMut()| (0..times).for_each(|_| work());
    let mut scan = || {
        for text in lake.texts() {
            let scanned: IgnoredAny = serde_json::from_slice(text.bytes).expect("the file is JSON");
            black_box(scanned);
        }
    };
    let mut hash = || {
        for text in &texts {
            black_box(Md5::digest(text));
        }
    };
    let mut derive = || lake.derive(|line| _ = black_box(line));
    let mut keep = || {
        for text in lake.texts() {
            let asked = Asked {
                file: 0,
                file_day: day(),
                day: day(),
                columns: &lake.columns,
                contents: false,
            };
            black_box(
                gather::gather(lake.recipe, &text, VARIANT, asked)
                    .expect("the file can be derived"),
            );
        }
    };
    let [scan, hash, derive, keep] = medians(
        on_processor,
        [
            &mut || again(&mut scan),
            &mut || again(&mut hash),
            &mut || again(&mut derive),
            &mut || again(&mut keep),
        ],
    );
    let (rows, bare) = (texts.len(), scan + hash);
    let name = lake.recipe.facts().name;
    println!(
        "| derive + key, {name}, {rows} rows | {derive:.0} ms against scan {scan:.0} + MD5 {hash:.0} ms (read {times} times): {:.2} | 2.5 |",
        derive / bare
    );
    println!(
        "| the same, keeping what a check needs | {keep:.0} ms: {:.2} | |",
        keep / bare
    );
}

fn two_days_on_two_cores(lake: &Lake) {
    let one = || lake.derive(|line| _ = black_box(line));
    let [after, parallel] = medians(
        by_clock,
        [
            &mut || {
                one();
                one();
            },
            &mut || {
                std::thread::scope(|scope| {
                    scope.spawn(one);
                    scope.spawn(one);
                });
            },
        ],
    );
    println!(
        "| two days on two cores | {after:.0} ms one after the other, {parallel:.0} ms in parallel: {:.2} | 1.8 |",
        after / parallel
    );
}

/// Keys, of which one in a thousand differs from the other side.
fn keys(side: &str) -> impl Iterator<Item = Md5Key> {
    (0..KEYS).map(move |n| {
        let text = if n % 1_000 == 0 {
            format!("{side} {n}")
        } else {
            n.to_string()
        };
        Md5Key(Md5::digest(text).into())
    })
}

/// Compares ten million expected rows in `files` files with as many published keys. Measures what a
/// check does: gathering the rows of each file, which are in no order, and comparing them range by
/// range.
fn compare(files: u32) {
    // Reset the peak of memory use.
    fs::write("/proc/self/clear_refs", "5").expect("Linux allows it");
    let before = peak_bytes();
    let mut published = Vec::with_capacity(KEYS as usize);
    published.extend(keys("published"));
    let published = KeySet::of(published, Vec::new());
    let mut expected = keys("expected");
    let mut gather = 0.0;
    let mut gathered = |file| {
        let mut rows = Gathering::of(file);
        let mut ordinals = 0..KEYS.div_ceil(files);
        loop {
            // Few enough at a time that the keys themselves take little memory.
            let some: Vec<(u32, Md5Key)> = (ordinals.by_ref())
                .zip(expected.by_ref())
                .take(10_000)
                .collect();
            if some.is_empty() {
                let mut finished = None;
                let mut rows = Some(rows);
                gather += on_processor(&mut || finished = rows.take().map(Gathering::finish));
                return finished.expect("the file was gathered at least once");
            }
            gather += on_processor(&mut || some.iter().for_each(|(at, key)| rows.push(*key, *at)));
        }
    };
    let lists: Vec<FileRows> = (0..files).map(&mut gathered).collect();
    let lists: Vec<&FileRows> = lists.iter().collect();
    let mut found = None;
    let compare = on_processor(&mut || {
        found = Some(difference(&lists, &published, &mut |row, _| {
            black_box(row);
        }));
    });
    let found = found.expect("the keys were compared");
    assert_eq!(found.expected, u64::from(KEYS));
    assert_eq!(found.missing.len(), KEYS as usize / 1_000);
    assert_eq!(found.unexpected.len(), KEYS as usize / 1_000);
    let each = peak_bytes().saturating_sub(before) / u64::from(KEYS);
    println!(
        "| compare 10 million keys of {files} files with 10 million published | {:.0} ms: gather {gather:.0}, compare {compare:.0} | 1/5 of DuckDB |",
        gather + compare
    );
    println!("| the same: peak bytes per key on both sides | {each} | 40 |");
}

/// Cost by number of rows, as a table and as `rows milliseconds` lines for
/// `benches/plot_growth.py`.
fn growth(lake: &Lake) {
    let text = lake.texts().next().expect("the lake has a file");
    let whole = std::str::from_utf8(text.bytes).expect("the file is UTF-8");
    let opened = whole
        .find("\"data\": [")
        .expect("the file has a list of rows")
        + "\"data\": [".len();
    let closed = whole
        .find("}], \"devices\"")
        .expect("the list of readers follows the rows")
        + 1;
    let rows: Vec<&str> = whole[opened..closed].split_inclusive("}, ").collect();
    let mut points = String::new();
    for count in [
        10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000,
    ] {
        let mut file = whole[..opened].to_owned();
        for nth in 0..count {
            file.push_str(rows[nth % rows.len()].trim_end_matches([',', ' ']));
            file.push_str(if nth + 1 < count { ", " } else { "" });
        }
        file.push_str(&whole[closed..]);
        let sized = sodalake::expected::FileText {
            bytes: file.as_bytes(),
            ..text
        };
        let turns = 1 + 300_000 / count;
        let took = on_processor(&mut || {
            for _ in 0..turns {
                let derived = lake
                    .recipe
                    .derive(&sized, VARIANT, &mut |line| _ = black_box(line));
                assert_eq!(derived.expect("the file is complete").rows, count as u64);
            }
        });
        #[expect(
            clippy::cast_precision_loss,
            reason = "turns and rows are small numbers"
        )]
        let (each, row) = (took / turns as f64, took * 1e6 / (turns * count) as f64);
        println!("| derive {count} rows | {each:.1} ms, {row:.0} ns a row | linear |");
        points.extend([count.to_string(), " ".into(), each.to_string(), "\n".into()]);
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("growth.txt");
    fs::write(&file, points).expect("target/tmp can be written");
}
