//! Sets of keys, a million on each side: merging a day's files, telling what differs, and deciding
//! under which recipe a file stands.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use md5::{Digest, Md5};
use sodalake::compare::gather::{FileKeys, Placed};
use sodalake::compare::keys::{ExpectedKeys, choose, difference};
use sodalake::expected::{Counter, FileOutcome, Variant};
use sodalake::model::{KeyPolicy, KeyRecipe, RowKey};

const ROWS: u32 = 1_000_000;

fn key(recipe: &str, n: u32) -> RowKey {
    RowKey::Md5(Md5::digest(format!("{recipe} {n}")).into())
}

fn rows(recipe: &str) -> Vec<Placed> {
    let placed = |ordinal| Placed {
        key: key(recipe, ordinal),
        file: 0,
        ordinal,
        digest: 0,
    };
    (0..ROWS).map(placed).collect()
}

/// All but one in a thousand of the expected keys, and as many others.
fn published() -> Vec<RowKey> {
    let other = |n| if n % 1_000 == 0 { "other" } else { "row" };
    let mut keys: Vec<RowKey> = (0..ROWS).map(|n| key(other(n), n)).collect();
    keys.sort_unstable();
    keys
}

fn candidate(keys: KeyRecipe) -> FileKeys {
    FileKeys {
        variant: Variant {
            keys,
            counter: Counter::Shared,
        },
        today: rows(&keys.to_string()),
        spilled: Vec::new(),
        misdated: Vec::new(),
        unfit: Vec::new(),
        outcome: FileOutcome::default(),
    }
}

fn compare(c: &mut Criterion) {
    let (expected, published) = (rows("row"), published());
    let merged = ExpectedKeys::of([expected.clone()]);
    let mut group = c.benchmark_group("compare");
    group.sample_size(10);
    group.bench_function("merge", |b| {
        let merge = |rows| black_box(ExpectedKeys::of([rows]));
        b.iter_batched(|| expected.clone(), merge, BatchSize::LargeInput);
    });
    group.bench_function("difference", |b| {
        b.iter(|| black_box(difference(&merged.standing, &published)));
    });
    group.finish();
}

fn decisions(c: &mut Criterion) {
    let candidates = [KeyRecipe::Row, KeyRecipe::Chained].map(candidate);
    let published = published();
    let mut group = c.benchmark_group("decisions");
    group.sample_size(10);
    group.bench_function("choose a recipe", |b| {
        b.iter(|| black_box(choose(&candidates, &published, KeyPolicy::Accept)));
    });
    group.finish();
}

criterion_group!(benches, compare, decisions);
criterion_main!(benches);
