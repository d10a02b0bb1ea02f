//! Renders the status page for two years of five datasets.

#[path = "../tests/it/program/pages/two_years.rs"]
mod two_years;

use criterion::{Criterion, criterion_group, criterion_main};
use sodalake::server::pages;
use sodalake::telemetry::Snapshot;

fn overview(bench: &mut Criterion) {
    let (datasets, activity) = (two_years::datasets(), Snapshot::default());
    let view = two_years::overview(&datasets, &activity);
    bench.bench_function("pages/overview of 2 years x 5 datasets", |bencher| {
        bencher.iter(|| pages::overview(&view).into_string().len());
    });
}

criterion_group!(pages_of_two_years, overview);
criterion_main!(pages_of_two_years);
