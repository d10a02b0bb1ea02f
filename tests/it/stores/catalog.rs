//! The catalog: windows, corrections, and what must not happen to another program's table.

use std::collections::BTreeMap;
use std::path::Path;

use chrono_tz::Tz;
use serde_json::{Value as Json, json};
use sodalake::catalog::{Catalog, CatalogChange, CatalogError, CatalogWriter};
use sodalake::model::{Coverage, Day, Entry, EntryKey};

use super::{Place, at, on_both};
use crate::support::postgres;

const ZONE: Tz = chrono_tz::America::Chicago;

/// The lake's own table, as its documents have it.
const TABLE: &str = "create schema api;
    create table api.data_lake_catalog (
      id serial, repository text, data_source text, id_base text, id_ext text, pointer text,
      collection_date timestamptz, collection_end timestamptz, processing_date timestamptz,
      metadata jsonb, note text,
      primary key (collection_date, repository, data_source, id_base, id_ext));
    create index on api.data_lake_catalog (collection_date)";

async fn open(place: &Place) -> (Catalog, CatalogWriter) {
    if place.is_postgres() {
        let client = postgres::client(&place.url).await;
        client.batch_execute(TABLE).await.unwrap();
    }
    let catalog = Catalog::open(&place.catalog(), ZONE).await.unwrap();
    let writer = CatalogWriter::open(&place.catalog()).await.unwrap();
    (catalog, writer)
}

fn entry(base: &str, start: &str, end: Option<&str>) -> Entry {
    Entry {
        key: EntryKey {
            collection_date: at(start),
            repository: "socrata".into(),
            data_source: "gs".into(),
            id_base: base.into(),
            id_ext: "agg15.json".into(),
        },
        pointer: "sh59-i6y9".into(),
        collection_end: end.map(at),
        processing_date: Some(at("2020-11-02T12:00:45.297516Z")),
        metadata: None,
    }
}

async fn put(writer: &CatalogWriter, entries: &[Entry]) {
    let changes: Vec<_> = entries.iter().cloned().map(CatalogChange::Put).collect();
    let lines = writer.apply(&changes).await.unwrap();
    assert_eq!(lines, entries.len() as u64);
}

async fn bases(catalog: &Catalog, day: &str) -> Vec<String> {
    let day: Day = day.parse().unwrap();
    let entries = catalog.entries("socrata", "gs", Coverage::of_day(day, ZONE));
    let keys = entries.await.unwrap().into_iter().map(|entry| entry.key);
    keys.map(|key| key.id_base).collect()
}

on_both!(
    a_window_takes_what_covers_an_instant_of_it,
    days_without_an_end_are_as_long_as_the_clock_makes_them,
    an_entry_comes_back_as_it_was_put,
    metadata_we_do_not_know_stay,
    a_changed_entry_stops_the_whole_correction,
    removing_and_putting_go_together,
    the_reading_side_finds_the_table_sound,
    every_specimen_reads_back_day_by_day,
);

async fn a_window_takes_what_covers_an_instant_of_it(place: Place) {
    let (catalog, writer) = open(&place).await;
    put(
        &writer,
        &[
            entry("b", "2020-06-02T05:00:00Z", None),
            entry("a", "2020-06-02T05:00:00Z", None),
            entry("before", "2020-06-01T05:00:00Z", None),
            entry(
                "touching",
                "2020-05-01T05:00:00Z",
                Some("2020-06-02T05:00:00Z"),
            ),
            entry(
                "reaching",
                "2020-05-01T05:00:00Z",
                Some("2020-06-02T05:00:00.000001Z"),
            ),
            entry("after", "2020-06-03T05:00:00Z", None),
            entry("last", "2020-06-03T04:59:59.999999Z", None),
        ],
    )
    .await;
    assert_eq!(
        bases(&catalog, "2020-06-02").await,
        ["reaching", "a", "b", "last"]
    );
    let other = Coverage::of_day("2020-06-02".parse().unwrap(), ZONE);
    assert!(
        catalog
            .entries("socrata", "bt", other)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        catalog
            .entries("ready", "gs", other)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn days_without_an_end_are_as_long_as_the_clock_makes_them(place: Place) {
    let (catalog, writer) = open(&place).await;
    put(
        &writer,
        &[
            entry("spring", "2020-03-08T06:00:00Z", None),
            entry("autumn", "2020-11-01T05:00:00Z", None),
        ],
    )
    .await;
    assert_eq!(bases(&catalog, "2020-03-08").await, ["spring"]);
    assert!(bases(&catalog, "2020-03-09").await.is_empty());
    assert_eq!(bases(&catalog, "2020-11-01").await, ["autumn"]);
    assert!(bases(&catalog, "2020-11-02").await.is_empty());
    let last_hour = Coverage {
        start: at("2020-11-02T05:30:00Z"),
        end: at("2020-11-02T05:45:00Z"),
    };
    let found = catalog.entries("socrata", "gs", last_hour).await.unwrap();
    assert_eq!(found.len(), 1, "the 25th hour belongs to the day");
}

async fn an_entry_comes_back_as_it_was_put(place: Place) {
    let (catalog, writer) = open(&place).await;
    let mut odd = entry(
        "Parmer&FM 734_M\u{e9}'; drop table x; --\"",
        "2020-06-02T05:00:00Z",
        Some("2020-06-02T06:00:00.123456Z"),
    );
    odd.metadata = Some(json!({"z": [1, null], "a": {"b": "c"}}));
    put(&writer, std::slice::from_ref(&odd)).await;
    let day = Coverage::of_day("2020-06-02".parse().unwrap(), ZONE);
    let found = catalog.entries("socrata", "gs", day).await.unwrap();
    assert_eq!(found, [odd.clone()]);
    assert_eq!(
        writer.apply(&[CatalogChange::Remove(odd)]).await.unwrap(),
        1
    );
    assert!(bases(&catalog, "2020-06-02").await.is_empty());
}

async fn metadata_we_do_not_know_stay(place: Place) {
    let (catalog, writer) = open(&place).await;
    let mut known = entry("a", "2020-06-02T05:00:00Z", None);
    known.metadata = Some(json!({"kept": 1}));
    put(&writer, &[known.clone()]).await;
    let mut bare = known.clone();
    (bare.metadata, bare.pointer) = (None, "x44q-icha".into());
    put(&writer, &[bare]).await;
    let day = Coverage::of_day("2020-06-02".parse().unwrap(), ZONE);
    let found = catalog.entries("socrata", "gs", day).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].metadata, Some(json!({"kept": 1})));
    assert_eq!(found[0].pointer, "x44q-icha");
}

async fn a_changed_entry_stops_the_whole_correction(place: Place) {
    let (catalog, writer) = open(&place).await;
    let seen = entry("a", "2020-06-02T05:00:00Z", None);
    put(&writer, std::slice::from_ref(&seen)).await;
    let mut rival = seen.clone();
    rival.processing_date = Some(at("2020-12-24T00:00:00Z"));
    put(&writer, std::slice::from_ref(&rival)).await;
    let new = CatalogChange::Put(entry("new", "2020-06-02T05:00:00Z", None));
    let error = writer
        .apply(&[new.clone(), CatalogChange::Remove(seen)])
        .await
        .unwrap_err();
    assert!(matches!(&error, CatalogError::Changed { entry, .. } if entry.id_base == "a"));
    assert!(error.to_string().contains("agg15.json"), "{error}");
    assert_eq!(bases(&catalog, "2020-06-02").await, ["a"]);
    // Also if it is gone in between: the second removal of the same entry finds nothing.
    let twice = [
        new,
        CatalogChange::Remove(rival.clone()),
        CatalogChange::Remove(rival),
    ];
    let error = writer.apply(&twice).await.unwrap_err();
    assert!(matches!(error, CatalogError::Changed { .. }), "{error}");
    assert_eq!(bases(&catalog, "2020-06-02").await, ["a"]);
}

async fn removing_and_putting_go_together(place: Place) {
    let (catalog, writer) = open(&place).await;
    let old = entry("old", "2020-06-02T05:00:00Z", None);
    put(&writer, std::slice::from_ref(&old)).await;
    let changes = [
        CatalogChange::Remove(old),
        CatalogChange::Put(entry("new", "2020-06-02T05:00:00Z", None)),
    ];
    assert_eq!(writer.apply(&changes).await.unwrap(), 2);
    assert_eq!(bases(&catalog, "2020-06-02").await, ["new"]);
}

async fn the_reading_side_finds_the_table_sound(place: Place) {
    let (catalog, _) = open(&place).await;
    let shape = catalog.inspect().await.unwrap();
    assert_eq!(shape.faults(), Vec::<String>::new());
    assert_eq!(shape.write_faults(), Vec::<String>::new());
}

fn specimens() -> BTreeMap<String, Vec<Entry>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specimens/vectors");
    let cases = folder.read_dir().unwrap().map(|case| case.unwrap().path());
    let read = |case: std::path::PathBuf| {
        let text = std::fs::read(case.join("catalog.json")).ok()?;
        let lines: Vec<Json> = serde_json::from_slice(&text).unwrap();
        let entries = lines.iter().map(specimen).collect();
        Some((case.file_name()?.to_str()?.to_owned(), entries))
    };
    cases.filter_map(read).collect()
}

fn specimen(line: &Json) -> Entry {
    let text = |name: &str| line[name].as_str().map(Into::into);
    let time = |name: &str| line[name].as_str().map(at);
    Entry {
        key: EntryKey {
            collection_date: time("collection_date").unwrap(),
            repository: text("repository").unwrap(),
            data_source: text("data_source").unwrap(),
            id_base: text("id_base").unwrap(),
            id_ext: text("id_ext").unwrap(),
        },
        pointer: text("pointer").unwrap(),
        collection_end: time("collection_end"),
        processing_date: time("processing_date"),
        metadata: Some(line["metadata"].clone()).filter(|json| !json.is_null()),
    }
}

async fn every_specimen_reads_back_day_by_day(place: Place) {
    let (catalog, writer) = open(&place).await;
    let specimens = specimens();
    assert!(specimens.len() >= 15, "{}", specimens.len());
    for (case, entries) in specimens {
        put(&writer, &entries).await;
        for probe in &entries {
            let window = Coverage::of_day(probe.day(ZONE), ZONE);
            let mut want: Vec<Entry> = entries.clone();
            want.retain(|entry| {
                entry.key.repository == probe.key.repository
                    && entry.key.data_source == probe.key.data_source
                    && entry.coverage(ZONE).overlaps(window)
            });
            want.sort_by(|a, b| a.key.cmp(&b.key));
            let found = catalog
                .entries(&probe.key.repository, &probe.key.data_source, window)
                .await;
            assert_eq!(found.unwrap(), want, "{case} {:?}", probe.key);
        }
        let all: Vec<_> = entries.into_iter().map(CatalogChange::Remove).collect();
        assert_eq!(
            writer.apply(&all).await.unwrap(),
            all.len() as u64,
            "{case}"
        );
    }
}

#[tokio::test]
async fn instants_in_sqlite_may_be_written_in_any_way() {
    let place = Place::sqlite();
    let (catalog, writer) = open(&place).await;
    let path = place.url.path();
    let file = rusqlite::Connection::open(path).unwrap();
    let add = |base: &str, date: &str| {
        file.execute(
            "insert into data_lake_catalog (repository, data_source, id_base, id_ext, pointer,
               collection_date) values ('socrata', 'gs', ?1, 'agg15.json', 'p', ?2)",
            [base, date],
        )
        .unwrap();
    };
    add("a", "2020-06-02T00:00:00-05:00");
    add("b", "2020-06-02 05:00:00+00");
    assert_eq!(bases(&catalog, "2020-06-02").await, ["a", "b"]);
    let day = Coverage::of_day("2020-06-02".parse().unwrap(), ZONE);
    let seen = catalog.entries("socrata", "gs", day).await.unwrap();
    put(&writer, &seen[..1]).await;
    assert_eq!(bases(&catalog, "2020-06-02").await, ["a", "b"]);
    writer
        .apply(&[CatalogChange::Remove(seen[0].clone())])
        .await
        .unwrap();
    assert_eq!(bases(&catalog, "2020-06-02").await, ["b"]);
    add("c", "yesterday");
    let unread = catalog.entries("socrata", "gs", day).await;
    assert!(unread.is_err(), "an unreadable entry is not an absent one");
}

#[tokio::test]
async fn a_table_of_others_is_never_created_and_its_faults_are_told() {
    let place = Place::postgres().await;
    let catalog = Catalog::open(&place.catalog(), ZONE).await.unwrap();
    CatalogWriter::open(&place.catalog()).await.unwrap();
    let shape = catalog.inspect().await.unwrap();
    assert!(!shape.exists);
    assert_eq!(shape.faults().len(), 1);
    let client = postgres::client(&place.url).await;
    client
        .batch_execute(
            "create schema api; create table api.data_lake_catalog
               (repository text, collection_date timestamp)",
        )
        .await
        .unwrap();
    let shape = catalog.inspect().await.unwrap();
    assert_eq!(shape.faults().len(), 8, "{:?}", shape.faults());
    assert_eq!(shape.write_faults().len(), 1);
}

#[tokio::test]
async fn columns_of_others_survive_a_put() {
    let place = Place::postgres().await;
    let (_, writer) = open(&place).await;
    let mine = entry("a", "2020-06-02T05:00:00Z", None);
    put(&writer, std::slice::from_ref(&mine)).await;
    let client = postgres::client(&place.url).await;
    let note = "update api.data_lake_catalog set note = 'theirs'";
    client.batch_execute(note).await.unwrap();
    put(&writer, &[mine]).await;
    let row = client
        .query_one("select note from api.data_lake_catalog", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "theirs");
}
