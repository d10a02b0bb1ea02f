//! Tests of the rows that are uploaded for a file, and of the requests that carry them.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json as Body, Router};
use chrono::DateTime;
use md5::{Digest, Md5};
use serde_json::{Value as Json, json};

use super::{day, demo};
use crate::expected::{Counter, Recipe, recipe};
use crate::model::{Md5Key, RowKey};
use crate::sandbox::city::{
    City, CityCatalog, How, PUBLISHED, Publisher, Recipes, Scale, Source, Spelling, Table, upload,
};

const DATE: &str = "2020-10-01";

fn cameras() -> &'static dyn Recipe {
    recipe("gridsmart-agg15").unwrap()
}

fn burnet(city: &City, date: &str) -> crate::sandbox::city::GeneratedFile {
    let files = city.day_files(Source::Gridsmart, day(date));
    let mut wanted = files
        .into_iter()
        .filter(|file| file.base == "Burnet_Richcreek");
    wanted
        .find(|file| file.ext == Table::CameraCounts.ext())
        .unwrap()
}

#[test]
fn a_respelled_key_is_the_md5_of_the_respelled_row() {
    let file = burnet(&demo(), DATE);
    let mut how = How::ordinary(Counter::Shared);
    how.spelling = Some(Spelling::tight_slash());
    let sent = upload(cameras(), &Table::CameraCounts.spec(), &file, None, &how).unwrap();
    let row = &sent.rows[0].fields;
    let text = |name: &str| match &row[name] {
        Json::Bool(heavy) => if *heavy { "True" } else { "False" }.to_owned(),
        value => value.as_str().unwrap_or("None").to_owned(),
    };
    assert_eq!(text("intersection_name"), "BURNET RD/ RICHCREEK RD");
    let identity = [
        "intersection_name",
        "read_date",
        "heavy_vehicle",
        "direction",
        "movement",
    ]
    .map(text)
    .concat();
    let key = RowKey::Md5(Md5Key(Md5::digest(identity.as_bytes()).into())).to_string();
    assert_eq!(sent.rows[0].key, key);
    assert_eq!(row["record_id"], Json::from(key));
}

#[test]
fn text_columns_take_any_value_as_text_and_number_columns_refuse_nan() {
    let city = City::new(
        5,
        Scale {
            camera_rows: 2_000,
            ..Scale::demo()
        },
    );
    let file = burnet(&city, "2020-10-02");
    let nans = String::from_utf8_lossy(&file.bytes).matches("NaN").count();
    assert!(nans > 0);
    let mut how = How::ordinary(Counter::Shared);
    let sent = upload(cameras(), &Table::CameraCounts.spec(), &file, None, &how).unwrap();
    assert_eq!(sent.unpublishable, nans as u64);
    let odd = sent
        .rows
        .iter()
        .filter(|row| row.fields["movement"].is_null());
    assert!(odd.count() > 0, "some empty texts and nulls become null");
    how.stop_after = Some(17);
    let cut = upload(cameras(), &Table::CameraCounts.spec(), &file, None, &how).unwrap();
    assert_eq!((cut.rows.len(), cut.cut_short), (17, true));
    assert_eq!(cut.rows[..], sent.rows[..17]);
}

#[test]
fn clock_changes_repeat_keys_in_autumn_but_not_in_spring() {
    for (date, folds) in [("2020-11-01", true), ("2020-03-08", false)] {
        let file = burnet(&demo(), date);
        let how = How::ordinary(Counter::Shared);
        let sent = upload(cameras(), &Table::CameraCounts.spec(), &file, None, &how).unwrap();
        let (all, published) = (sent.rows.len(), sent.published_rows().len());
        if folds {
            assert!(all >= published + 4, "{all} {published}");
        } else {
            let text = String::from_utf8_lossy(&file.bytes);
            assert!(!text.contains("T02:") && !text.contains(" 02:"));
        }
    }
}

/// An upload as it arrived: dataset, Authorization header, number of rows.
type Arrived = (String, String, usize);

async fn listen(arrived: Arc<Mutex<Vec<Arrived>>>, errors: u64) -> reqwest::Url {
    type Seen = State<Arc<Mutex<Vec<Arrived>>>>;
    let answer = move |State(seen): Seen,
                       Path(name): Path<String>,
                       headers: HeaderMap,
                       Body(rows): Body<Json>| async move {
        let who = headers["authorization"].to_str().unwrap().to_owned();
        let rows = rows.as_array().unwrap().len();
        seen.lock().unwrap().push((name, who, rows));
        Body(json!({"Errors": errors, "Rows Created": rows, "Rows Updated": 0, "Rows Deleted": 0}))
    };
    let router = Router::new()
        .route("/resource/{name}", post(answer))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(arrived);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().unwrap()
}

fn publisher(portal: reqwest::Url) -> Publisher {
    Publisher::new(
        crate::outgoing::client(crate::outgoing::Wire::Plain)
            .build()
            .expect("a client"),
        portal,
        "pat".into(),
        "secret".into(),
    )
}

#[tokio::test]
async fn files_are_uploaded_in_blocks_of_ten_thousand_and_then_catalogued() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = CityCatalog::open(&folder.path().join("catalog.db")).unwrap();
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let portal = listen(arrived.clone(), 0).await;
    let city = City::new(
        1,
        Scale {
            unmatched_rows: 25_000,
            ..Scale::demo()
        },
    );
    let reads = recipe("bluetooth-unmatched").unwrap();
    let recipes: Recipes<'_> = [(Table::DeviceReads, reads)].into();
    let published = publisher(portal)
        .publish_day(
            &city,
            Source::Bluetooth,
            day(DATE),
            &recipes,
            &catalog,
            DateTime::UNIX_EPOCH,
        )
        .await
        .unwrap();
    let arrived = arrived.lock().unwrap();
    let sizes: Vec<usize> = arrived.iter().map(|(_, _, rows)| *rows).collect();
    assert_eq!(sizes[..2], [10_000, 10_000]);
    assert_eq!(sizes.iter().sum::<usize>() as u64, published.rows);
    assert!(arrived.iter().all(|(name, _, _)| name == "qnpj-zrb9.json"));
    assert!(
        arrived
            .iter()
            .all(|(_, who, _)| who == "Basic cGF0OnNlY3JldA==")
    );
    let entries = catalog.entries().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].pointer, "qnpj-zrb9");
    assert_eq!(entries[0].key.repository, PUBLISHED);
    assert_eq!(entries[0].key.id_ext, "unmatched.json");
}

#[tokio::test]
async fn a_publisher_that_stops_early_or_gets_errors_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = CityCatalog::open(&folder.path().join("catalog.db")).unwrap();
    let file = burnet(&demo(), DATE);
    for (errors, stop_after) in [(0, Some(7)), (3, None)] {
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let publisher = publisher(listen(arrived.clone(), errors).await);
        let mut how = How::ordinary(Counter::Shared);
        how.stop_after = stop_after;
        let at = DateTime::UNIX_EPOCH;
        let table = Table::CameraCounts;
        let outcome = publisher
            .publish_file(cameras(), table, &file, None, &how, &catalog, at)
            .await;
        assert_eq!(outcome.is_err(), errors > 0);
        let rows = arrived.lock().unwrap()[0].2;
        assert_eq!(rows == 7, stop_after.is_some());
        assert!(catalog.entries().unwrap().is_empty());
    }
}
