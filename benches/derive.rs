//! Derives rows and keys from lake files: every recipe on a day of realistic size, and what a check
//! keeps of it.

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sodalake::compare::gather::{Asked, gather};
use sodalake::sandbox::city::Table;
use support::{Lake, VARIANT, day};

fn derive(c: &mut Criterion) {
    let mut group = c.benchmark_group("derive");
    group.sample_size(10);
    for table in Table::ALL {
        let lake = Lake::of(table);
        let bytes = lake.texts().map(|text| text.bytes.len() as u64).sum();
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(table.recipe(), |b| {
            b.iter(|| lake.derive(|line| _ = black_box(line)));
        });
    }
    group.finish();
}

fn gathered(c: &mut Criterion) {
    let lake = Lake::of(Table::DeviceReads);
    let mut group = c.benchmark_group("gather");
    group.sample_size(10);
    for (name, contents) in [("keys", false), ("content", true)] {
        let asked = Asked {
            file: 0,
            file_day: day(),
            day: day(),
            columns: &lake.columns,
            contents,
        };
        group.bench_function(name, |b| {
            b.iter(|| {
                for text in lake.texts() {
                    black_box(
                        gather(lake.recipe, &text, VARIANT, asked).expect("the file is complete"),
                    );
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, derive, gathered);
criterion_main!(benches);
