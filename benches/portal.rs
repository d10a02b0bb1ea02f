//! Keys, rows and a survey of a day of 100,000 rows, read from the stand-in portal over HTTP.

use std::sync::Arc;

use chrono::Utc;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use sodalake::model::{Day, DayRange};
use sodalake::sandbox::portal::{ColumnType, Portal, PortalOptions, Serving, TableSpec};
use sodalake::settings::SocrataSettings;
use sodalake::socrata::{self, Reader, Table};

const ROWS: usize = 100_000;
const ID: &str = "i626-g7ub";

fn row(n: usize) -> Map<String, Value> {
    let fields = json!({
        "row_id": format!("{:032x}", u128::try_from(n).expect("it is small") << 64 | 7),
        "curdatetime": "2020-10-01T00:15:00",
        "volume": n % 97,
        "intname": "BURNET RD / RICHCREEK RD",
    });
    fields.as_object().expect("it is an object").clone()
}

async fn portal() -> (Portal, Serving) {
    let portal = Portal::new(PortalOptions::default());
    let columns = [
        ("row_id", ColumnType::Text),
        ("curdatetime", ColumnType::CalendarDate),
        ("volume", ColumnType::Number),
        ("intname", ColumnType::Text),
    ];
    portal.create(TableSpec::new(ID, &columns, Some("row_id")));
    let rows = (0..ROWS).map(row).collect();
    portal
        .upsert_directly(ID, rows, Utc::now())
        .expect("the rows fit the table");
    let listen = "127.0.0.1:0".parse().expect("it is an address");
    let serving = portal.serve(listen).await.expect("a port is free");
    (portal, serving)
}

async fn table(serving: &Serving) -> (Reader, Table) {
    let settings = SocrataSettings {
        url: serving.url.parse().expect("it is a URL"),
        username: None,
        password: None,
        app_token: None,
        page_rows: 50_000,
        chunk_rows: 10_000,
        max_in_flight: 4,
        requests_per_second: 100_000,
        confirm_within: std::time::Duration::from_mins(1),
        request_timeout: std::time::Duration::from_mins(10),
    };
    let portal = socrata::Portal::open(&settings).expect("the settings are right");
    let reader = Reader::new(Arc::clone(&portal));
    let id = ID.parse().expect("it is an id");
    let shape = reader.shape(&id).await.expect("the portal answers");
    let table = Table::new(id, "row_id", "curdatetime", shape).expect("it has both columns");
    (reader, table)
}

fn reads(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let day: Day = "2020-10-01".parse().expect("it is a day");
    let (_portal, serving) = runtime.block_on(portal());
    let (reader, table) = runtime.block_on(table(&serving));
    let mut group = c.benchmark_group("portal");
    group.sample_size(10);
    group.bench_function("keys", |b| {
        b.iter(|| runtime.block_on(reader.keys(&table, day)).expect("whole"));
    });
    group.bench_function("rows", |b| {
        b.iter(|| {
            let mut seen = 0_usize;
            let mut count = |_| seen += 1;
            let read = runtime.block_on(reader.rows(&table, day, &mut count));
            read.expect("whole");
            assert_eq!(seen, ROWS);
        });
    });
    group.bench_function("survey", |b| {
        let range = DayRange::one(day);
        b.iter(|| {
            runtime
                .block_on(reader.survey(&table, range))
                .expect("whole")
        });
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
