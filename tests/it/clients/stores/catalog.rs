//! The catalog: windows, corrections, and what must not happen to another program's table.

use std::collections::BTreeMap;
use std::path::Path;

use chrono_tz::Tz;
use serde_json::{Value as Json, json};
use sodalake::catalog::{Catalog, CatalogChange, CatalogError, CatalogWriter, Catalogued};
use sodalake::model::{Coverage, Day, Entry, EntryKey};

use super::{Place, at, on_both};
use crate::support::postgres;

const ZONE: Tz = chrono_tz::America::Chicago;

/// The lake's own table, as its documentation defines it.
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
    a_window_contains_every_entry_that_overlaps_it,
    entries_without_an_end_last_one_local_day,
    an_entry_is_read_back_unchanged,
    unknown_metadata_is_preserved,
    a_changed_entry_cancels_the_whole_correction,
    removals_and_insertions_are_atomic,
    the_reading_side_accepts_the_table,
    every_specimen_is_read_back_day_by_day,
    open_and_distant_times_are_understood,
    an_unreadable_entry_is_a_doubt_on_every_day_it_could_belong_to,
);

async fn a_window_contains_every_entry_that_overlaps_it(place: Place) {
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

async fn entries_without_an_end_last_one_local_day(place: Place) {
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

async fn an_entry_is_read_back_unchanged(place: Place) {
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

async fn unknown_metadata_is_preserved(place: Place) {
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

async fn a_changed_entry_cancels_the_whole_correction(place: Place) {
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
    // The same applies if it is removed in between: the second removal of an entry finds nothing.
    let twice = [
        new,
        CatalogChange::Remove(rival.clone()),
        CatalogChange::Remove(rival),
    ];
    let error = writer.apply(&twice).await.unwrap_err();
    assert!(matches!(error, CatalogError::Changed { .. }), "{error}");
    assert_eq!(bases(&catalog, "2020-06-02").await, ["a"]);
}

async fn removals_and_insertions_are_atomic(place: Place) {
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

async fn the_reading_side_accepts_the_table(place: Place) {
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

async fn every_specimen_is_read_back_day_by_day(place: Place) {
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
async fn instants_in_sqlite_may_have_any_format() {
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
async fn a_foreign_table_is_never_created_and_its_problems_are_reported() {
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
async fn foreign_columns_are_preserved() {
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

/// Inserts an entry as another program might write it.
async fn foreign(place: &Place, base: &str, begin: &str, end: &str, metadata: &str) {
    let sql = format!(
        "insert into data_lake_catalog (repository, data_source, id_base, id_ext, pointer,
           collection_date, collection_end, metadata)
         values ('socrata', 'gs', {base}, 'agg15.json', 'p', {begin}, {end}, {metadata})"
    );
    if place.is_postgres() {
        let sql = sql.replace("into data_lake", "into api.data_lake");
        let client = postgres::client(&place.url).await;
        client.batch_execute(&sql).await.unwrap();
    } else {
        let file = rusqlite::Connection::open(place.url.path()).unwrap();
        file.execute_batch(&sql).unwrap();
    }
}

async fn read(catalog: &Catalog, day: &str) -> Catalogued {
    let day = Coverage::of_day(day.parse().unwrap(), ZONE);
    catalog.read("socrata", "gs", day).await.unwrap()
}

async fn open_and_distant_times_are_understood(place: Place) {
    let (catalog, writer) = open(&place).await;
    let far = "'294276-12-31 23:59:59.999999+00'";
    let old = "'4713-01-01 00:00:00+00 BC'";
    for (base, begin, end) in [
        (
            "'from the second on'",
            "'2020-06-02T05:00:00Z'",
            "'infinity'",
        ),
        ("'from the third on'", "'2020-06-03 05:00:00+00'", far),
        (
            "'until the third'",
            "'-infinity'",
            "'2020-06-03 05:00:00+00'",
        ),
        ("'since ever'", old, "'2020-06-03 05:00:00+00'"),
        ("'always'", "'-infinity'", "'infinity'"),
        ("'never'", "'infinity'", "null"),
        ("'ended before'", "'2020-06-02 05:00:00+00'", "'-infinity'"),
        ("'nor then'", "'2020-06-02 05:00:00+00'", old),
        ("'a day long ago'", "'-infinity'", "null"),
        ("'a day to come'", "'12000-01-01 00:00:00+00'", "null"),
    ] {
        foreign(&place, base, begin, end, "null").await;
    }
    let second = [
        "always",
        "until the third",
        "since ever",
        "from the second on",
    ];
    assert_eq!(bases(&catalog, "2020-06-02").await, second);
    let later = ["always", "from the second on", "from the third on"];
    assert_eq!(bases(&catalog, "2020-06-03").await, later);
    assert_eq!(bases(&catalog, "2199-12-31").await, later);
    let oldest = catalog.oldest("socrata", "gs").await.unwrap().unwrap();
    assert!(oldest < at("2020-06-03T00:00:00Z"), "{oldest}");

    // They are removed and put back like any other entry.
    let found = read(&catalog, "2020-06-02").await.entries;
    let all = |change: fn(Entry) -> CatalogChange| found.iter().cloned().map(change).collect();
    let remove: Vec<_> = all(CatalogChange::Remove);
    assert_eq!(writer.apply(&remove).await.unwrap(), 4);
    assert!(bases(&catalog, "2020-06-02").await.is_empty());
    let put: Vec<_> = all(CatalogChange::Put);
    assert_eq!(writer.apply(&put).await.unwrap(), 4);
    assert_eq!(read(&catalog, "2020-06-02").await.entries, found);
}

async fn an_unreadable_entry_is_a_doubt_on_every_day_it_could_belong_to(place: Place) {
    let (catalog, writer) = open(&place).await;
    put(&writer, &[entry("a", "2020-06-02T05:00:00Z", None)]).await;
    let begin = "'2020-06-02 05:00:00+00'";
    foreign(&place, "'b'", begin, "null", "'{\"n\": 1e999}'").await;
    let found = read(&catalog, "2020-06-02").await;
    assert_eq!(found.entries.len(), 1, "the others are read");
    let [line] = &found.unread[..] else {
        panic!("{found:?}");
    };
    let named = line.to_string();
    for part in [
        "\"b\"",
        "agg15.json",
        "2020-06-02",
        "data_lake_catalog",
        "metadata",
    ] {
        assert!(named.contains(part), "{part}: {named}");
    }
    assert!(line.may_be("agg15.json") && !line.may_be("json"));
    for day in ["2020-06-01", "2020-06-03"] {
        assert_eq!(read(&catalog, day).await.unread, [], "{day}");
    }
    // It is not overwritten, because its contents are unknown.
    let over = CatalogChange::Put(entry("b", "2020-06-02T05:00:00Z", None));
    let refused = writer.apply(&[over]).await.unwrap_err();
    assert!(matches!(&refused, CatalogError::Unread(_)), "{refused}");
    let day = Coverage::of_day("2020-06-02".parse().unwrap(), ZONE);
    assert!(catalog.entries("socrata", "gs", day).await.is_err());
}

/// The days from June 1 to June 4 on which an entry with these values is a doubt.
async fn doubted(base: &str, begin: &str, end: &str, metadata: &str) -> Vec<&'static str> {
    let place = Place::sqlite();
    let (catalog, _) = open(&place).await;
    // A table of another program, which takes any value.
    let file = rusqlite::Connection::open(place.url.path()).unwrap();
    file.execute_batch(
        "drop table data_lake_catalog; create table data_lake_catalog (repository, data_source,
           id_base, id_ext, pointer, collection_date, collection_end, processing_date, metadata)",
    )
    .unwrap();
    foreign(&place, base, begin, end, metadata).await;
    let mut doubted = Vec::new();
    for day in ["2020-06-01", "2020-06-02", "2020-06-03", "2020-06-04"] {
        let found = read(&catalog, day).await;
        assert_eq!(found.entries, []);
        if !found.unread.is_empty() {
            doubted.push(&day[8..]);
        }
    }
    doubted
}

#[tokio::test]
async fn in_sqlite_any_column_may_hold_any_value() {
    let begin = "'2020-06-02T05:00:00Z'";
    let every = ["01", "02", "03", "04"];
    for (base, begin, end, metadata, days) in [
        ("null", begin, "null", "null", &every[1..2]),
        ("5", begin, "null", "null", &every[1..2]),
        ("x'fffe'", begin, "null", "null", &every[1..2]),
        ("cast(x'fffe' as text)", begin, "null", "null", &every[1..2]),
        ("'a'", begin, "null", "'no JSON'", &every[1..2]),
        ("'a'", begin, "null", "7", &every[1..2]),
        (
            "'a'",
            begin,
            "'2020-06-04T05:00:00Z'",
            "'no JSON'",
            &every[1..3],
        ),
        // Its end is unknown.
        ("'a'", begin, "'soon'", "null", &every[1..]),
        ("'a'", begin, "1591056000", "null", &every[1..]),
        ("'a'", begin, "2459003.5", "null", &every[1..]),
        // Its begin is unknown.
        ("'a'", "'soon'", "null", "null", &every[..]),
        ("'a'", "'now'", "null", "null", &every[..]),
        ("'a'", "null", "null", "null", &every[..]),
        ("'a'", "1591056000", "null", "null", &every[..]),
        (
            "'a'",
            "'soon'",
            "'2020-06-03T05:00:00Z'",
            "null",
            &every[..2],
        ),
        // A local time without its zone.
        ("'a'", "'2020-06-02 12:00:00'", "null", "null", &every[0..3]),
        ("'a'", "'2020-06-02'", "null", "null", &every[0..3]),
        ("'a'", "'2020-06-09 12:00:00'", "null", "null", &every[..0]),
    ] {
        let found = doubted(base, begin, end, metadata).await;
        assert_eq!(found, days, "{base} {begin} {end} {metadata}");
    }
}

#[tokio::test]
async fn in_postgres_a_table_without_a_key_may_hold_nulls_and_other_types() {
    let place = Place::postgres().await;
    let client = postgres::client(&place.url).await;
    client
        .batch_execute(
            "create schema api; create table api.data_lake_catalog (
               repository text, data_source text, id_base text, id_ext text, pointer text,
               collection_date date, collection_end date, processing_date timestamptz,
               metadata json)",
        )
        .await
        .unwrap();
    let catalog = Catalog::open(&place.catalog(), ZONE).await.unwrap();
    foreign(&place, "'always'", "'-infinity'", "'infinity'", "null").await;
    foreign(&place, "'a'", "'2020-06-02'", "null", "null").await;
    foreign(&place, "null", "'-infinity'", "'infinity'", "null").await;
    let found = read(&catalog, "2020-06-02").await;
    assert_eq!(found.entries.len(), 1);
    assert_eq!(found.unread.len(), 2, "{:?}", found.unread);
    assert_eq!(read(&catalog, "2020-06-09").await.unread.len(), 1);
}

/// A database that does not check its encoding returns invalid text.
#[tokio::test]
async fn in_postgres_a_text_may_be_invalid() {
    let mut place = Place::postgres().await;
    let client = postgres::client(&place.url).await;
    let name = format!("{}_ascii", &place.url.path()[1..]);
    let sql = format!(
        "create database {name} encoding 'SQL_ASCII' template template0
           lc_collate 'C' lc_ctype 'C'"
    );
    client.batch_execute(&sql).await.unwrap();
    place.url.set_path(&name);
    let (catalog, writer) = open(&place).await;
    put(&writer, &[entry("a", "2020-06-02T05:00:00Z", None)]).await;
    let begin = "'2020-06-02 05:00:00+00'";
    foreign(&place, "E'M\\xe9'", begin, "null", "null").await;
    let found = read(&catalog, "2020-06-02").await;
    assert_eq!(found.entries.len(), 1);
    assert_eq!(found.unread.len(), 1);
    let named = found.unread[0].to_string();
    assert!(named.contains("id_base \"M\u{fffd}\""), "{named}");
}
