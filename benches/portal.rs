//! Reads keys, rows and a survey of a day with 100,000 rows from the stand-in portal over HTTP.

#[path = "support/small.rs"]
#[expect(dead_code, reason = "used by other benchmarks for writing")]
mod small;

use criterion::{Criterion, criterion_group, criterion_main};
use small::{day, small};
use sodalake::model::DayRange;

const ROWS: u32 = 100_000;

fn reads(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let small = runtime.block_on(small(ROWS));
    let (reader, table) = (&small.reader, &small.table);
    let mut group = c.benchmark_group("portal");
    group.sample_size(10);
    group.bench_function("keys", |b| {
        b.iter(|| runtime.block_on(reader.keys(table, day())).expect("whole"));
    });
    group.bench_function("rows", |b| {
        b.iter(|| {
            let read = runtime.block_on(reader.rows(table, day(), &Some));
            assert_eq!(read.expect("whole").kept.len(), ROWS as usize);
        });
    });
    group.bench_function("survey", |b| {
        let range = DayRange::one(day());
        b.iter(|| {
            runtime
                .block_on(reader.survey(table, range))
                .expect("whole")
        });
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
