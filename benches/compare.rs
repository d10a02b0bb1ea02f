//! Sets of keys, a million on each side: gathering a file's rows, finding the differences, and
//! choosing a file's key scheme.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use md5::{Digest, Md5};
use sodalake::compare::gather::FileKeys;
use sodalake::compare::keys::{choose, difference};
use sodalake::compare::{FileRows, Gathering};
use sodalake::expected::{Counter, FileOutcome, Variant};
use sodalake::model::{KeyPolicy, KeyScheme, KeySet, Md5Key};

const ROWS: u32 = 1_000_000;

fn key(recipe: &str, n: u32) -> Md5Key {
    Md5Key(Md5::digest(format!("{recipe} {n}")).into())
}

fn keys(recipe: &str) -> Vec<Md5Key> {
    (0..ROWS).map(|n| key(recipe, n)).collect()
}

fn gathered(keys: &[Md5Key]) -> FileRows {
    let mut rows = Gathering::of(0);
    for (ordinal, key) in (0..).zip(keys) {
        rows.push(*key, ordinal);
    }
    rows.finish()
}

/// All but one in a thousand of the expected keys, and as many other ones.
fn published() -> KeySet {
    let other = |n| if n % 1_000 == 0 { "other" } else { "row" };
    KeySet::of((0..ROWS).map(|n| key(other(n), n)).collect(), Vec::new())
}

fn candidate(keys: KeyScheme) -> FileKeys {
    FileKeys {
        variant: Variant {
            keys,
            counter: Counter::Shared,
        },
        today: gathered(&self::keys(&keys.to_string())),
        digests: Vec::new(),
        spilled: Vec::new(),
        misdated: Vec::new(),
        unfit: Vec::new(),
        outcome: FileOutcome::default(),
    }
}

fn compare(c: &mut Criterion) {
    let (expected, published) = (keys("row"), published());
    let file = gathered(&expected);
    let mut group = c.benchmark_group("compare");
    group.sample_size(10);
    group.bench_function("gather", |b| b.iter(|| black_box(gathered(&expected))));
    group.bench_function("difference", |b| {
        b.iter(|| black_box(difference(&[&file], &published, &mut |_, _| {})));
    });
    group.finish();
}

fn decisions(c: &mut Criterion) {
    let candidates = [KeyScheme::Row, KeyScheme::Chained].map(candidate);
    let published = published();
    let mut group = c.benchmark_group("decisions");
    group.sample_size(10);
    group.bench_function("choose a key scheme", |b| {
        b.iter(|| black_box(choose(&candidates, &published, KeyPolicy::Accept)));
    });
    group.finish();
}

criterion_group!(benches, compare, decisions);
criterion_main!(benches);
