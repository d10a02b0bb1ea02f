//! Tests of the archive format: it loses nothing, and damage is always detected.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::model::{EntryKey, PublishedRow, RowKey};

fn header() -> ArchiveHeader {
    ArchiveHeader {
        pass: Uuid::from_u128(7),
        portal: "data.example.gov".into(),
        dataset: "camera-counts".parse().unwrap(),
        id: "sh59-i6y9".parse().unwrap(),
        day: "2020-10-01".parse().unwrap(),
        key_column: "record_id".into(),
        recipe: "gridsmart-agg15".into(),
        made_at: DateTime::from_timestamp(1_600_000_000, 123_456_789).unwrap(),
    }
}

fn row(field: Json) -> ArchivedRow {
    ArchivedRow {
        why: "duplicate".into(),
        row: PublishedRow {
            key: Some(RowKey::new("05d4a4491a2138f1f4320557ba490c7a")),
            sid: "row-abcd".into(),
            created_at: DateTime::from_timestamp(1_500_000_000, 1).unwrap(),
            updated_at: DateTime::from_timestamp(1_500_000_001, 0).unwrap(),
            fields: BTreeMap::from([("field".to_string(), field)]),
        },
    }
}

fn entry(metadata: Option<Json>) -> Entry {
    Entry {
        key: EntryKey {
            collection_date: DateTime::from_timestamp(1_500_000_000, 0).unwrap(),
            repository: "socrata".into(),
            data_source: "gs".into(),
            id_base: " Cesar Ch\u{e1}vez ".into(),
            id_ext: "agg15.json".into(),
        },
        pointer: "sh59-i6y9".into(),
        collection_end: None,
        processing_date: DateTime::from_timestamp(1_500_000_000, 1_000),
        metadata,
    }
}

fn pack(rows: &[ArchivedRow], entries: &[Entry]) -> Vec<u8> {
    let mut packer = Packer::new(&header()).unwrap();
    for row in rows {
        packer.row(row).unwrap();
    }
    for entry in entries {
        packer.entry(entry).unwrap();
    }
    packer.finish().unwrap()
}

type Unpacked = (ArchiveHeader, Vec<ArchivedRow>, Vec<Entry>);

fn unpack(packed: &[u8]) -> Result<Unpacked, Damage> {
    let (mut reader, header) = Reader::open(packed)?;
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    while let Some(content) = reader.next()? {
        match content {
            Content::Row(row) => rows.push(row),
            Content::Entry(entry) => entries.push(entry),
        }
    }
    Ok((header, rows, entries))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut text).unwrap();
    text
}

fn damage(packed: &[u8]) -> String {
    unpack(packed).unwrap_err().what
}

#[test]
fn null_and_absent_values_stay_distinct() {
    let mut keyless = row(Json::Null);
    keyless.row.key = None;
    let rows = [row(json!(["", " x ", null, {"a": null}])), keyless];
    let entries = [entry(None), entry(Some(Json::Null)), entry(Some(json!({})))];
    let packed = pack(&rows, &entries);
    assert_eq!(
        unpack(&packed).unwrap(),
        (header(), rows.into(), entries.into())
    );
}

#[test]
fn an_archive_cut_short_anywhere_is_refused() {
    let packed = pack(&[row(json!("a")), row(json!("b"))], &[entry(None)]);
    for length in 0..packed.len() {
        assert!(
            unpack(&packed[..length]).is_err(),
            "{length} of {}",
            packed.len()
        );
    }
}

#[test]
fn a_flipped_bit_never_changes_what_is_read() {
    let packed = pack(&[row(json!("a")), row(json!("b"))], &[entry(None)]);
    let whole = unpack(&packed).unwrap();
    for bit in 0..packed.len() * 8 {
        let mut flipped = packed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            unpack(&flipped).is_err_and(|damage| damage.rows <= 2)
                || unpack(&flipped).unwrap() == whole
        );
    }
}

#[test]
fn a_changed_line_in_a_valid_gzip_is_refused() {
    let text =
        String::from_utf8(gunzip(&pack(&[row(json!("before")), row(json!("b"))], &[]))).unwrap();
    let changed = gzip(text.replace("before", "beside").as_bytes());
    assert_eq!(
        damage(&changed),
        "the checksum of its trailer does not match"
    );
    let second = text.lines().nth(1).unwrap();
    let fewer = gzip(text.replace(&format!("{second}\n"), "").as_bytes());
    assert_eq!(
        damage(&fewer),
        "it has 1 rows and 0 entries, but its trailer says 2 and 0"
    );
    let open = gzip(
        text.split_inclusive('\n')
            .take(3)
            .collect::<String>()
            .as_bytes(),
    );
    let rest = Damage {
        what: "it ends before its trailer".into(),
        rows: 0,
    };
    assert_eq!(unpack(&open).unwrap_err(), rest);
    let longer = gzip(format!("{text}{second}\n").as_bytes());
    assert_eq!(damage(&longer), "something follows its trailer");
    let twice = [pack(&[], &[]), pack(&[], &[])].concat();
    assert_eq!(damage(&twice), "something follows its trailer");
    let later = gzip(text.replace("\"format\":1", "\"format\":2").as_bytes());
    assert_eq!(damage(&later), "its format is 2, not 1");
    let strange = gzip(text.replace("\"why\"", "\"because\"").as_bytes());
    assert!(
        damage(&strange).starts_with("line 2 is invalid"),
        "{}",
        damage(&strange)
    );
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    let line = gzip(&vec![b' '; 17 << 20]);
    assert_eq!(damage(&line), "it has a line over 16777216 bytes");
    let mut text = serde_json::to_vec(&Line::Header {
        format: FORMAT,
        of: Cow::Owned(header()),
    })
    .unwrap();
    text.push(b'\n');
    let blank = Line::Row(Cow::Owned(row(Json::from(" ".repeat(4 << 20)))));
    let mut blank = serde_json::to_vec(&blank).unwrap();
    blank.push(b'\n');
    (0..30).for_each(|_| text.extend_from_slice(&blank));
    assert_eq!(
        damage(&gzip(&text)),
        "it unpacks to more than an archive of its size can hold"
    );
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        "[0-9.\\- ]{0,30}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(Json::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_read_back_exactly(fields in prop::collection::vec(value(), 1..4)) {
        let rows: Vec<_> = fields.into_iter().map(row).collect();
        let (_, found, _) = unpack(&pack(&rows, &[])).unwrap();
        prop_assert_eq!(found, rows);
    }
}

#[test]
fn only_rows_before_a_mark_are_proven() {
    let rows: Vec<_> = (0..50).map(|number| row(json!(number))).collect();
    let text = String::from_utf8(gunzip(&pack(&rows, &[entry(None)]))).unwrap();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("{\"mark\""))
            .count(),
        2
    );
    // The first line is the header. Marks follow the 20th and the 40th row.
    for (line, proven) in [(1, 0), (20, 0), (22, 20), (41, 20), (43, 40), (52, 40)] {
        let changed: String = (text.split_inclusive('\n').enumerate())
            .map(|(at, whole)| {
                let times = usize::from(at == line);
                whole.replacen("\"duplicate\"", "\"orphan\"", times)
            })
            .collect();
        assert_ne!(changed, text, "line {line}");
        let damage = unpack(&gzip(changed.as_bytes())).unwrap_err();
        assert_eq!(damage.rows, proven, "line {line}: {}", damage.what);
    }
}
