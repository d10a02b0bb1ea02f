//! The form of an archive: gzip, and in it JSON lines.
//!
//! ```text
//! {"header":{"format":1,"of":{"pass":"..","portal":"..","dataset":"..","day":"..",..}}}
//! {"row":{"why":"twin","row":{"key":"..","sid":"..","created_at":"..","updated_at":"..","fields":{..}}}}
//! {"entry":{"entry":{"key":{..},"pointer":"..",..}}}
//! {"trailer":{"rows":1,"entries":1,"sha256":".."}}
//! ```
//!
//! The checksum is that of every byte before the trailer's line, unpacked. Values are kept as they
//! are: null apart from nothing, numbers to the last digit (`serde_json` with `float_roundtrip`),
//! text to the last blank.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{ArchiveHeader, ArchivedRow, hex};
use crate::model::Entry;

/// The form written here, and the only one read.
const FORMAT: u32 = 1;
/// Longest line: a row of a portal has some kilobytes.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// An archive unpacks to at most this, and in addition this many times its size: keys do not pack,
/// so real rows reach some 20 to 1, where gzip can do 1,000 to 1.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;
const MAX_UNPACKED_RATIO: u64 = 200;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line<'a> {
    Header {
        format: u32,
        of: Cow<'a, ArchiveHeader>,
    },
    Row(Cow<'a, ArchivedRow>),
    Entry {
        entry: Cow<'a, Entry>,
        /// JSON has one null for "no metadata" and "metadata that are null".
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        null_metadata: bool,
    },
    Trailer(Trailer),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    rows: u64,
    entries: u64,
    sha256: String,
}

/// The first line alone, of any form.
#[derive(Deserialize)]
struct AnyHeader {
    header: AnyFormat,
}

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// Packs an archive, line by line.
pub(super) struct Packer {
    lines: GzEncoder<Vec<u8>>,
    hash: Sha256,
    rows: u64,
    entries: u64,
}

impl Packer {
    pub(super) fn new(header: &ArchiveHeader) -> io::Result<Self> {
        let mut packer = Self {
            lines: GzEncoder::new(Vec::new(), Compression::default()),
            hash: Sha256::new(),
            rows: 0,
            entries: 0,
        };
        let of = Cow::Borrowed(header);
        packer.line(&Line::Header { format: FORMAT, of })?;
        Ok(packer)
    }

    pub(super) fn row(&mut self, row: &ArchivedRow) -> io::Result<()> {
        self.rows += 1;
        self.line(&Line::Row(Cow::Borrowed(row)))
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.entries += 1;
        let null_metadata = entry.metadata == Some(Json::Null);
        let entry = Cow::Borrowed(entry);
        self.line(&Line::Entry {
            entry,
            null_metadata,
        })
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let trailer = Line::Trailer(Trailer {
            rows: self.rows,
            entries: self.entries,
            sha256: hex(&self.hash.clone().finalize()),
        });
        self.line(&trailer)?;
        self.lines.finish()
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if text.len() as u64 > MAX_LINE_BYTES {
            return Err(io::Error::other(format!("a line of {} bytes", text.len())));
        }
        self.hash.update(&text);
        self.lines.write_all(&text)
    }
}

/// What is wrong with an archive, as a phrase, and how many rows came before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) what: String,
    pub(super) rows: u64,
}

/// A line between header and trailer.
#[derive(Debug)]
pub(super) enum Content {
    Row(ArchivedRow),
    Entry(Entry),
}

/// Reads an archive, line by line. What it hands out counts only if it comes to its end.
pub(super) struct Reader<'a> {
    lines: BufReader<GzDecoder<&'a [u8]>>,
    line: Vec<u8>,
    hash: Sha256,
    room: u64,
    rows: u64,
    entries: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn open(packed: &'a [u8]) -> Result<(Self, ArchiveHeader), Damage> {
        let mut reader = Self {
            lines: BufReader::new(GzDecoder::new(packed)),
            line: Vec::new(),
            hash: Sha256::new(),
            room: MAX_UNPACKED_BYTES + MAX_UNPACKED_RATIO * packed.len() as u64,
            rows: 0,
            entries: 0,
        };
        reader.read_line()?;
        if let Ok(AnyHeader { header }) = serde_json::from_slice(&reader.line)
            && header.format != FORMAT
        {
            return Err(reader.damage(format!("it is of form {}, not {FORMAT}", header.format)));
        }
        match reader.parse()? {
            Line::Header { format: _, of } => {
                reader.hash.update(&reader.line);
                Ok((reader, of.into_owned()))
            }
            Line::Row(_) | Line::Entry { .. } | Line::Trailer(_) => {
                Err(reader.damage("it does not begin with a header"))
            }
        }
    }

    /// The next row or entry; `None` after a trailer that agrees with all before it.
    pub(super) fn next(&mut self) -> Result<Option<Content>, Damage> {
        self.read_line()?;
        let content = match self.parse()? {
            Line::Header { .. } => return Err(self.damage("it has a second header")),
            Line::Trailer(trailer) => return self.end(&trailer).map(|()| None),
            Line::Row(row) => {
                self.rows += 1;
                Content::Row(row.into_owned())
            }
            Line::Entry {
                entry,
                null_metadata,
            } => {
                self.entries += 1;
                let mut entry = entry.into_owned();
                if null_metadata {
                    entry.metadata = Some(Json::Null);
                }
                Content::Entry(entry)
            }
        };
        self.hash.update(&self.line);
        Ok(Some(content))
    }

    fn read_line(&mut self) -> Result<(), Damage> {
        self.line.clear();
        let most = self.room.min(MAX_LINE_BYTES);
        let read = self
            .lines
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| self.damage(format!("it cannot be unpacked: {error}")))?;
        self.room -= read as u64;
        if self.line.ends_with(b"\n") {
            return Ok(());
        }
        Err(self.damage(if self.room == 0 {
            "it unpacks to more than any archive of its size".to_string()
        } else if read as u64 == most {
            format!("it has a line over {MAX_LINE_BYTES} bytes")
        } else {
            "it breaks off before its trailer".to_string()
        }))
    }

    fn parse(&self) -> Result<Line<'static>, Damage> {
        // The place, not the text: rows are never shown.
        let place = |error: serde_json::Error| {
            let line = self.rows + self.entries + 2;
            self.damage(format!(
                "line {line} is not understood at column {}",
                error.column()
            ))
        };
        serde_json::from_slice(&self.line).map_err(place)
    }

    fn end(&mut self, trailer: &Trailer) -> Result<(), Damage> {
        if (trailer.rows, trailer.entries) != (self.rows, self.entries) {
            return Err(self.damage(format!(
                "it holds {} rows and {} entries, its trailer says {} and {}",
                self.rows, self.entries, trailer.rows, trailer.entries
            )));
        }
        if trailer.sha256 != hex(&self.hash.clone().finalize()) {
            return Err(self.damage("its checksum does not fit"));
        }
        match self.lines.read(&mut [0]) {
            Ok(0) if self.lines.get_ref().get_ref().is_empty() => Ok(()),
            Ok(_) => Err(self.damage("something follows its trailer")),
            Err(error) => Err(self.damage(format!("it cannot be unpacked: {error}"))),
        }
    }

    fn damage(&self, what: impl Into<String>) -> Damage {
        Damage {
            what: what.into(),
            rows: self.rows,
        }
    }
}

#[cfg(test)]
mod tests {
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
            why: "twin".into(),
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
    fn nothing_and_null_are_two_things() {
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
    fn an_archive_cut_anywhere_is_refused() {
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
    fn no_flipped_bit_changes_what_is_read() {
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
    fn a_line_changed_under_a_good_gzip_is_refused() {
        let text = String::from_utf8(gunzip(&pack(&[row(json!("before")), row(json!("b"))], &[])))
            .unwrap();
        let changed = gzip(text.replace("before", "beside").as_bytes());
        assert_eq!(damage(&changed), "its checksum does not fit");
        let second = text.lines().nth(1).unwrap();
        let fewer = gzip(text.replace(&format!("{second}\n"), "").as_bytes());
        assert_eq!(
            damage(&fewer),
            "it holds 1 rows and 0 entries, its trailer says 2 and 0"
        );
        let open = gzip(
            text.split_inclusive('\n')
                .take(3)
                .collect::<String>()
                .as_bytes(),
        );
        let rest = Damage {
            what: "it breaks off before its trailer".into(),
            rows: 2,
        };
        assert_eq!(unpack(&open).unwrap_err(), rest);
        let longer = gzip(format!("{text}{second}\n").as_bytes());
        assert_eq!(damage(&longer), "something follows its trailer");
        let twice = [pack(&[], &[]), pack(&[], &[])].concat();
        assert_eq!(damage(&twice), "something follows its trailer");
        let later = gzip(text.replace("\"format\":1", "\"format\":2").as_bytes());
        assert_eq!(damage(&later), "it is of form 2, not 1");
        let strange = gzip(text.replace("\"why\"", "\"because\"").as_bytes());
        assert!(
            damage(&strange).starts_with("line 2 is not understood"),
            "{}",
            damage(&strange)
        );
    }

    #[test]
    fn what_unpacks_without_end_is_refused() {
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
            "it unpacks to more than any archive of its size"
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
        fn every_value_comes_back_exactly(fields in prop::collection::vec(value(), 1..4)) {
            let rows: Vec<_> = fields.into_iter().map(row).collect();
            let (_, found, _) = unpack(&pack(&rows, &[])).unwrap();
            prop_assert_eq!(found, rows);
        }
    }
}
