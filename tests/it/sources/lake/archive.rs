//! The archive: what is stored comes back, what is damaged is refused, and old archives are listed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};
use sodalake::archive::{
    Archive, ArchiveError, ArchiveHeader, ArchiveReceipt, ArchiveWriter, ArchivedRow,
};
use sodalake::model::{Entry, EntryKey, PublishedRow, RowKey};
use sodalake::settings::ArchiveSettings;
use uuid::Uuid;

use crate::sources::lake::{Place, in_both_places};

impl Place {
    fn archive_settings(&self) -> ArchiveSettings {
        ArchiveSettings {
            url: self.url(),
            keep_days: 400,
        }
    }

    fn writer(&self) -> ArchiveWriter {
        ArchiveWriter::open_with(&self.archive_settings(), &self.environment()).unwrap()
    }

    fn archive(&self) -> Archive {
        Archive::open_with(&self.archive_settings(), &self.environment()).unwrap()
    }
}

pub(super) fn header(pass: Uuid, day: &str) -> ArchiveHeader {
    ArchiveHeader {
        pass,
        portal: "data.example.gov".into(),
        dataset: "camera-counts".parse().unwrap(),
        id: "sh59-i6y9".parse().unwrap(),
        day: day.parse().unwrap(),
        key_column: "record_id".into(),
        recipe: "gridsmart-agg15".into(),
        made_at: "2020-10-03T10:00:00.25Z".parse().unwrap(),
    }
}

pub(super) fn rows(count: u32) -> Vec<ArchivedRow> {
    let row = |number: u32| ArchivedRow {
        why: "duplicate".into(),
        row: PublishedRow {
            key: (number > 0).then(|| RowKey::new(&format!("{number:032x}"))),
            sid: format!("row-{number}"),
            created_at: "2020-10-01T13:31:00.123Z".parse().unwrap(),
            updated_at: "2020-10-01T13:47:00Z".parse().unwrap(),
            fields: BTreeMap::from([
                (
                    "intersection_name".into(),
                    json!(" BURNET RD / \u{e9}\u{301} \n "),
                ),
                ("volume".into(), json!("15.000")),
                ("speed".into(), json!(0.300_000_000_000_000_04)),
                ("odd".into(), json!([null, "", {"human_address": "{}"}])),
            ]),
        },
    };
    (0..count).map(row).collect()
}

fn entries() -> Vec<Entry> {
    let entry = |base: &str, metadata| Entry {
        key: EntryKey {
            collection_date: "2020-10-01T05:00:00Z".parse().unwrap(),
            repository: "socrata".into(),
            data_source: "gs".into(),
            id_base: base.into(),
            id_ext: "agg15.json".into(),
        },
        pointer: "sh59-i6y9".into(),
        collection_end: None,
        processing_date: None,
        metadata,
    };
    vec![
        entry("Burnet_Richcreek", None),
        entry("Parmer&FM 734_McNeil", Some(serde_json::Value::Null)),
        entry("Cesar Ch\u{e1}vez_Comal", Some(json!({"note": null}))),
    ]
}

pub(super) const PASS: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const OTHER: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);

async fn store(place: &Place, pass: Uuid, day: &str, count: u32) -> ArchiveReceipt {
    let (header, rows) = (header(pass, day), rows(count));
    let writer = place.writer();
    writer.store(&header, &rows, &entries()).await.unwrap()
}

in_both_places!(
    stored_rows_are_read_back_exactly,
    an_archive_is_never_overwritten,
    a_damaged_archive_is_refused_and_its_verified_rows_can_be_read,
    only_files_that_are_archives_are_listed_as_old,
);

async fn stored_rows_are_read_back_exactly(place: Place) {
    let receipt = store(&place, PASS, "2020-10-01", 2_500).await;
    assert_eq!((receipt.rows, receipt.entries), (2_500, 3));
    assert_eq!(
        receipt.path,
        format!("passes/{PASS}/camera-counts_2020-10-01.jsonl.gz")
    );
    let object = place.get(&receipt.path).await;
    assert_eq!(receipt.bytes, object.len() as u64);
    let digest = Sha256::digest(&object);
    let number = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
    let said: Vec<u8> = receipt.sha256.as_bytes().chunks(2).map(number).collect();
    assert_eq!(said, digest[..]);

    let next = store(&place, PASS, "2020-10-02", 0).await;
    let other = store(&place, OTHER, "2020-10-01", 1).await;
    let archive = place.archive();
    let days = archive.load(PASS).await.unwrap();
    assert_eq!(days.len(), 2);
    assert_eq!(days[0].header, header(PASS, "2020-10-01"));
    assert_eq!(days[0].rows, rows(2_500));
    assert_eq!(days[0].entries, entries());
    assert_eq!(days[0].receipt, receipt);
    assert_eq!(
        (&days[1].header.day, days[1].rows.len()),
        (&"2020-10-02".parse().unwrap(), 0)
    );
    let all = receipt.bytes + next.bytes + other.bytes;
    assert_eq!(archive.bytes().await.unwrap(), all);
    assert!(archive.load(Uuid::from_u128(5)).await.unwrap().is_empty());
}

async fn an_archive_is_never_overwritten(place: Place) {
    let first = store(&place, PASS, "2020-10-01", 3).await;
    let again = store(&place, PASS, "2020-10-01", 3).await;
    assert_eq!(first, again);
    let header = header(PASS, "2020-10-01");
    let error = place
        .writer()
        .store(&header, &rows(2), &entries())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ArchiveError::Exists { path } if *path == first.path),
        "{error:?}"
    );
    let days = place.archive().load(PASS).await.unwrap();
    assert_eq!(days[0].rows, rows(3));
}

async fn a_damaged_archive_is_refused_and_its_verified_rows_can_be_read(place: Place) {
    store(&place, PASS, "2020-10-02", 1).await;
    let receipt = store(&place, PASS, "2020-10-01", 2_000).await;
    let whole = place.get(&receipt.path).await;
    place
        .put(&receipt.path, &whole[..whole.len() * 3 / 4])
        .await;
    let ArchiveError::Damaged {
        path,
        what,
        rows: proven,
    } = place.archive().load(PASS).await.unwrap_err()
    else {
        panic!("a damaged archive is handed out");
    };
    assert_eq!(path, receipt.path);
    assert!((1_000..2_000).contains(&proven), "{proven}");
    assert!(what.starts_with("it cannot be unpacked: "), "{what}");

    let days = place.archive().salvage(PASS).await.unwrap();
    assert_eq!(days.len(), 2, "the other one of the pass is whole");
    assert_eq!(days[0].damage.as_ref(), Some(&what));
    let proven = usize::try_from(proven).unwrap();
    assert_eq!(days[0].rows, rows(2_000)[..proven]);
    assert_eq!(days[0].entries, [], "entries say that all rows stand");
    assert_eq!((&days[1].damage, days[1].rows.len()), (&None, 1));

    place.remove(&receipt.path).await;
    let moved = receipt.path.replace("2020-10-01", "2020-10-03");
    place.put(&moved, &whole).await;
    for error in [
        place.archive().load(PASS).await.unwrap_err(),
        place.archive().salvage(PASS).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, ArchiveError::Damaged { path, rows: 0, .. } if *path == moved),
            "{error:?}"
        );
    }
}

async fn only_files_that_are_archives_are_listed_as_old(place: Place) {
    let one = store(&place, PASS, "2020-10-01", 1).await;
    let two = store(&place, OTHER, "2020-10-01", 1).await;
    let moved = format!("passes/{PASS}/moved_2020-10-01.jsonl.gz");
    place.put(&moved, &place.get(&one.path).await).await;
    let empty = format!("passes/{OTHER}/empty_2020-10-01.jsonl.gz");
    let foreign = [
        "passes/notes.txt",
        "passes/x/y.jsonl.gz",
        "other/z.jsonl.gz",
    ];
    for name in foreign {
        place.put(name, b"x").await;
    }
    place.put(&empty, b"").await;
    let writer = place.writer();
    let now: DateTime<Utc> = Utc::now();
    let young = writer.old(now + TimeDelta::days(399)).await.unwrap();
    assert_eq!(young, []);
    let old = writer.old(now + TimeDelta::days(401)).await.unwrap();
    let paths: Vec<_> = old.iter().map(|old| &old.path).collect();
    assert_eq!(paths, [&one.path, &two.path]);
    assert_eq!((old[0].pass, old[0].bytes), (PASS, one.bytes));

    writer.remove(&old[0]).await.unwrap();
    writer.remove(&old[0]).await.unwrap();
    let error = writer.archive().load(PASS).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Damaged { path, .. } if *path == moved));
    assert_eq!(
        writer
            .archive()
            .salvage(OTHER)
            .await
            .unwrap_err()
            .to_string()
            .matches(&empty)
            .count(),
        1
    );
    for name in foreign {
        assert_eq!(place.get(name).await, b"x");
    }
}

#[tokio::test]
async fn an_unwritable_folder_stores_nothing() {
    let place = Place::folder();
    place
        .put("passes", b"a file where the folder should be")
        .await;
    let stored = place
        .writer()
        .store(&header(PASS, "2020-10-01"), &rows(1), &[])
        .await;
    assert!(matches!(stored.unwrap_err(), ArchiveError::Write { .. }));
}

#[tokio::test]
async fn an_archive_with_a_missing_folder_is_an_error() {
    let place = Place::folder();
    let archive = place.archive();
    drop(place);
    let error = archive.load(PASS).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Gone { .. }), "{error:?}");
}

#[test]
fn a_missing_folder_is_an_error() {
    let settings = ArchiveSettings {
        url: "file:///no/such/folder".parse().unwrap(),
        keep_days: 400,
    };
    assert!(matches!(
        Archive::open(&settings),
        Err(ArchiveError::Open { .. })
    ));
    assert!(matches!(
        ArchiveWriter::open(&settings),
        Err(ArchiveError::NoFolder { .. })
    ));
}
