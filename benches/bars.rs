//! The bars of docs/performance.md that are ratios: each pair measured in turns in one run.
//!
//! `cargo bench --bench bars` prints a Markdown line per bar; a word behind `--` chooses:
//! `derive`, `compare`, `growth`; `write=FILE` writes the `unmatched` file that is measured.
//! `benches/measure` runs this and the comparisons with other
//! programs. Work on one thread is measured by the time that thread was on a processor, so that
//! neighbours on the machine do not count; work on two is measured by the clock.

mod support;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use md5::{Digest, Md5};
use serde::de::IgnoredAny;
use sodalake::compare::gather::{Asked, Placed, gather};
use sodalake::compare::keys::{ExpectedKeys, difference};
use sodalake::expected::Line;
use sodalake::model::{RowKey, Value};
use sodalake::sandbox::city::Table;
use support::{Lake, VARIANT, day};

/// How often each of a pair is run; the medians count.
const TURNS: usize = 9;
/// Keys on each side.
const KEYS: u32 = 10_000_000;

fn main() {
    // `cargo bench` passes `--bench`, `cargo test` does not: then there is nothing to measure.
    let words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    if let Some(file) = words.iter().find_map(|word| word.strip_prefix("write=")) {
        let lake = Lake::of(Table::DeviceReads);
        let text = lake.texts().next().expect("there is a file");
        return fs::write(file, text.bytes).expect("the file can be written");
    }
    let chosen = |name: &str| {
        let mut named = words
            .iter()
            .filter(|word| !word.starts_with("--"))
            .peekable();
        named.peek().is_none() || named.any(|word| word == name)
    };
    println!("| what | measured | bar |\n|---|---|---|");
    if chosen("derive") {
        for table in [Table::DeviceReads, Table::CameraCounts, Table::RadarCounts] {
            derive_and_key(&Lake::of(table));
        }
        two_days_on_two_cores(&Lake::of(Table::DeviceReads));
    }
    if chosen("compare") {
        compare();
    }
    if chosen("growth") {
        growth(&Lake::of(Table::DeviceReads));
    }
}

/// Milliseconds that this thread was on a processor while `work` ran.
fn on_processor(work: &mut dyn FnMut()) -> f64 {
    let now = || -> f64 {
        let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
        let nanos = stat.split(' ').next().unwrap_or_default();
        nanos.parse::<f64>().expect("nanoseconds come first") / 1e6
    };
    let begun = now();
    work();
    now() - begun
}

fn by_clock(work: &mut dyn FnMut()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}

/// The median time of each piece of work, all of them taken in turns.
fn medians<const N: usize>(
    clock: fn(&mut dyn FnMut()) -> f64,
    mut works: [&mut dyn FnMut(); N],
) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..TURNS {
        for (work, times) in works.iter_mut().zip(&mut times) {
            times.push(clock(work));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// The texts whose MD5s are the rows' keys.
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
    // A small file is read several times over, or the clock would be too coarse.
    let times = 1 + 200_000 / texts.len();
    let again = |work: &mut dyn FnMut()| (0..times).for_each(|_| work());
    let mut scan = || {
        for text in lake.texts() {
            let scanned: IgnoredAny = serde_json::from_slice(text.bytes).expect("it is JSON");
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
            black_box(gather(lake.recipe, &text, VARIANT, asked).expect("it can be derived"));
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
        "| derive + key, {name}, {rows} rows | {derive:.0} ms against scan {scan:.0} + MD5 {hash:.0} ms ({times} times over): {:.2} | 2.5 |",
        derive / bare
    );
    println!(
        "| the same as a look keeps it | {keep:.0} ms: {:.2} | |",
        keep / bare
    );
}

fn two_days_on_two_cores(lake: &Lake) {
    let one = || lake.derive(|line| _ = black_box(line));
    let [after, beside] = medians(
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
        "| two days on two cores | {after:.0} ms one after the other, {beside:.0} ms side by side: {:.2} | 1.8 |",
        after / beside
    );
}

/// Keys of which one in a thousand is another than on the other side.
fn keys(side: &str) -> impl Iterator<Item = RowKey> {
    (0..KEYS).map(move |n| {
        let text = if n % 1_000 == 0 {
            format!("{side} {n}")
        } else {
            n.to_string()
        };
        RowKey::Md5(Md5::digest(text).into())
    })
}

fn compare() {
    let before = peak_bytes();
    let mut published = Vec::with_capacity(KEYS as usize);
    published.extend(keys("published"));
    published.sort_unstable();
    let mut rows = Vec::with_capacity(KEYS as usize);
    rows.extend((0..).zip(keys("expected")).map(|(ordinal, key)| Placed {
        key,
        file: 0,
        ordinal,
        digest: 0,
    }));
    let (mut expected, mut found) = (None, None);
    let mut rows = Some(rows);
    let merge = on_processor(&mut || expected = rows.take().map(|rows| ExpectedKeys::of([rows])));
    let expected = expected.expect("it was merged");
    let tell = on_processor(&mut || found = Some(difference(&expected.standing, &published)));
    let found = found.expect("it was compared");
    assert_eq!(found.missing.len(), KEYS as usize / 1_000);
    assert_eq!(found.unexpected.len(), KEYS as usize / 1_000);
    let each = (peak_bytes() - before) / u64::from(KEYS);
    println!(
        "| compare 10 million with 10 million keys | sort and merge {merge:.0} ms, difference {tell:.0} ms | 1/5 of DuckDB |"
    );
    println!("| bytes at the peak, for a key on both sides | {each} | 40 |");
}

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("the peak is in it") * 1024
}

/// Cost against rows, as a table and as `rows milliseconds` lines for `benches/plot`.
fn growth(lake: &Lake) {
    let text = lake.texts().next().expect("there is a file");
    let whole = std::str::from_utf8(text.bytes).expect("it is UTF-8");
    let opened = whole.find("\"data\": [").expect("rows have a list") + "\"data\": [".len();
    let closed = whole
        .find("}], \"devices\"")
        .expect("readers follow the rows")
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
                assert_eq!(derived.expect("it is whole").rows, count as u64);
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
