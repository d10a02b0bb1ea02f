//! One page of rows: from JSON to keys, or to whole rows, without a tree of values for the keys.
//!
//! The caller asked for certain columns; anything else in a row, a key twice in one object, or a
//! value of another JSON type than its column's is a contradiction. What is wrong is told by the
//! row's place, never by its contents.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::model::{ColumnType, PublishedRow, RowKey, TableShape};

/// How many opening brackets at a page's end may be that of its last row.
const LAST_BRACKETS: usize = 16;

/// What a page of keys says of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyLine {
    pub(super) key: Option<RowKey>,
    pub(super) sid: Option<Box<str>>,
}

/// Hands each row's key, and its `:id` if it was asked for, to `each`. Returns the rows.
pub(super) fn keys(
    body: &[u8],
    key_column: &str,
    each: &mut dyn FnMut(KeyLine) -> Result<(), String>,
) -> Result<u64, String> {
    lines(body, &KeySeed { key_column }, each)
}

/// Hands each whole row to `each`. Returns the rows.
pub(super) fn rows(
    body: &[u8],
    key_column: &str,
    shape: &TableShape,
    each: &mut dyn FnMut(PublishedRow) -> Result<(), String>,
) -> Result<u64, String> {
    lines(body, &RowSeed { key_column, shape }, each)
}

/// What the last row has in this column, found at the page's end without reading the page. It is a
/// guess: nothing is checked.
pub(super) fn last(body: &[u8], column: &str) -> Option<String> {
    let end = body.iter().rposition(|byte| *byte == b']')?;
    let opens = (0..end).rev().filter(|at| body[*at] == b'{');
    let mut rows = opens
        .take(LAST_BRACKETS)
        .filter_map(|open| serde_json::from_slice(&body[open..end]).ok());
    let row: Map<String, Value> = rows.next()?;
    row.get(column)?.as_str().map(str::to_owned)
}

/// A seed that can be used for every row of a page.
trait LineSeed<T> {
    fn read<'de, A: MapAccess<'de>>(&self, map: A) -> Result<T, A::Error>;
}

fn lines<T>(
    body: &[u8],
    seed: &impl LineSeed<T>,
    each: &mut dyn FnMut(T) -> Result<(), String>,
) -> Result<u64, String> {
    let mut page = Page {
        seed,
        each,
        count: 0,
        why: None,
        line: std::marker::PhantomData,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = (&mut page).deserialize(&mut json).and_then(|()| json.end());
    match (parsed, page.why) {
        (Ok(()), None) => Ok(page.count),
        (_, Some(why)) => Err(why),
        (Err(_), None) => Err(format!(
            "row {} of a page is not what was asked for",
            page.count
        )),
    }
}

struct Page<'a, T, S> {
    seed: &'a S,
    each: &'a mut dyn FnMut(T) -> Result<(), String>,
    count: u64,
    why: Option<String>,
    line: std::marker::PhantomData<T>,
}

impl<'de, T, S: LineSeed<T>> DeserializeSeed<'de> for &mut Page<'_, T, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T, S: LineSeed<T>> Visitor<'de> for &mut Page<'_, T, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(line) = seq.next_element_seed(Line(self.seed, std::marker::PhantomData))? {
            if let Err(why) = (self.each)(line) {
                self.why = Some(why);
                return Err(de::Error::custom("refused"));
            }
            self.count += 1;
        }
        Ok(())
    }
}

struct Line<'a, T, S>(&'a S, std::marker::PhantomData<T>);

impl<'de, T, S: LineSeed<T>> DeserializeSeed<'de> for Line<'_, T, S> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T, S: LineSeed<T>> Visitor<'de> for Line<'_, T, S> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        self.0.read(map)
    }
}

/// A text that becomes a key without being copied first.
struct KeyText(RowKey);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = KeyText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyText, E> {
                Ok(KeyText(RowKey::new(text)))
            }
        }
        json.deserialize_str(Text)
    }
}

/// Which of the expected fields a row's next field is.
struct FieldSeed<'a>(&'a str);

enum Field {
    Sid,
    Key,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Field, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field that was asked for")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
        match name {
            ":id" => Ok(Field::Sid),
            name if name == self.0 => Ok(Field::Key),
            _ => Err(E::custom("a field that was not asked for")),
        }
    }
}

struct KeySeed<'a> {
    key_column: &'a str,
}

impl LineSeed<KeyLine> for KeySeed<'_> {
    fn read<'de, A: MapAccess<'de>>(&self, mut map: A) -> Result<KeyLine, A::Error> {
        let (mut key, mut sid) = (None, None);
        while let Some(field) = map.next_key_seed(FieldSeed(self.key_column))? {
            let is_new = match field {
                Field::Key => key.replace(map.next_value::<Option<KeyText>>()?).is_none(),
                Field::Sid => sid.replace(map.next_value::<Box<str>>()?).is_none(),
            };
            if !is_new {
                return Err(de::Error::custom("a field twice"));
            }
        }
        let key = key.flatten().map(|KeyText(key)| key);
        Ok(KeyLine { key, sid })
    }
}

struct RowSeed<'a> {
    key_column: &'a str,
    shape: &'a TableShape,
}

impl RowSeed<'_> {
    fn fits(&self, name: &str, value: &Value) -> bool {
        match self.shape.columns.get(name) {
            None => false,
            Some(ColumnType::Text | ColumnType::CalendarDate) => value.is_string(),
            Some(ColumnType::Number) => value.is_string() || value.is_number(),
            Some(ColumnType::Checkbox) => value.is_boolean(),
            Some(ColumnType::Other(_)) => true,
        }
    }
}

impl LineSeed<PublishedRow> for RowSeed<'_> {
    fn read<'de, A: MapAccess<'de>>(&self, mut map: A) -> Result<PublishedRow, A::Error> {
        let (mut sid, mut created, mut updated) = (None, None, None);
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let is_new = match &*name {
                ":id" => sid.replace(map.next_value::<String>()?).is_none(),
                ":created_at" => created
                    .replace(map.next_value::<DateTime<Utc>>()?)
                    .is_none(),
                ":updated_at" => updated
                    .replace(map.next_value::<DateTime<Utc>>()?)
                    .is_none(),
                _ => {
                    let value = map.next_value::<Value>()?;
                    let is_null = value.is_null();
                    if !is_null && !self.fits(&name, &value) {
                        return Err(de::Error::custom("a value that does not fit its column"));
                    }
                    is_null || fields.insert(name, value).is_none()
                }
            };
            if !is_new {
                return Err(de::Error::custom("a field twice"));
            }
        }
        Ok(PublishedRow {
            key: fields
                .get(self.key_column)
                .and_then(Value::as_str)
                .map(RowKey::new),
            sid: sid.ok_or_else(|| de::Error::missing_field(":id"))?,
            created_at: created.ok_or_else(|| de::Error::missing_field(":created_at"))?,
            updated_at: updated.ok_or_else(|| de::Error::missing_field(":updated_at"))?,
            fields,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn read_keys(body: &str) -> Result<Vec<KeyLine>, String> {
        let mut lines = Vec::new();
        keys(body.as_bytes(), "record_id", &mut |line| {
            lines.push(line);
            Ok(())
        })?;
        Ok(lines)
    }

    fn read_rows(body: &str) -> Result<Vec<PublishedRow>, String> {
        let shape = TableShape {
            title: "t".into(),
            row_identifier: None,
            columns: [
                ("record_id".to_owned(), ColumnType::Text),
                ("volume".to_owned(), ColumnType::Number),
                ("read_date".to_owned(), ColumnType::CalendarDate),
                ("at".to_owned(), ColumnType::new("point")),
            ]
            .into(),
            rows_updated_at: 0,
        };
        let mut lines = Vec::new();
        rows(body.as_bytes(), "record_id", &shape, &mut |line| {
            lines.push(line);
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn what_the_last_row_has_is_found_at_the_end_whatever_stands_in_it() {
        let found = |body: &str| last(body.as_bytes(), "record_id");
        for end in [
            r#"{"record_id":"b"}]"#,
            "{\"record_id\":\"b\"}\n]\n",
            r#"{"record_id":"b","at":{"type":"Point","record_id":"c"}}]"#,
            r#"{"at":{"x":[{},{"record_id":"c"}]},"record_id":"b"}]"#,
            r#"{"volume":"]}{\"record_id\":\"c\"}","record_id":"b"}]"#,
        ] {
            let page = format!(r#"[{{"record_id":"a"}},{end}"#);
            assert_eq!(found(&page).as_deref(), Some("b"), "{page}");
        }
        for nothing in [
            "",
            "[]",
            r#"[{"record_id":null}]"#,
            r#"[{"volume":"1"}]"#,
            "[{",
            "]{",
        ] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
        let inner = format!("{}1{}", r#"[{"x":"#.repeat(30), "}]".repeat(30));
        let deep = format!(r#"[{{"record_id":"b","at":{inner}}}]"#);
        assert!(serde_json::from_str::<Value>(&deep).is_ok());
        assert_eq!(found(&deep), None, "given up after some brackets");
    }

    #[test]
    fn keys_are_read_with_escapes_and_without() {
        let page = format!(
            r#"[{{"record_id":"{KEY}"}}{}{{":id":"row-a","record_id":"\u0061'b"}},{{}}]"#,
            "\n,"
        );
        let lines = read_keys(&page).unwrap();
        assert_eq!(lines[0].key, Some(RowKey::new(KEY)));
        assert_eq!(lines[1].key, Some(RowKey::new("a'b")));
        assert_eq!(lines[1].sid.as_deref(), Some("row-a"));
        assert_eq!(
            lines[2],
            KeyLine {
                key: None,
                sid: None
            }
        );
        assert_eq!(read_keys("[]\n").unwrap(), []);
    }

    #[test]
    fn what_was_not_asked_for_is_refused_without_quoting_it() {
        for page in [
            r#"[{"record_id":"secret-a"},{"record_id":7}]"#,
            r#"[{"record_id":"secret-a"},{"volume":"secret-b"}]"#,
            r#"[{"record_id":"secret-a"},{"record_id":"secret-b","record_id":"x"}]"#,
            r#"[{"record_id":"secret-a"},["secret-b"]]"#,
            r#"[{"record_id":"secret-a"},{"record_id":"secret-b""#,
            r#"[{"record_id":"secret-a"}"#,
        ] {
            let why = read_keys(page).unwrap_err();
            assert_eq!(why, "row 1 of a page is not what was asked for", "{page}");
        }
    }

    #[test]
    fn whole_rows_keep_all_fields_and_leave_nulls_out() {
        let page = r#"[{":id":"row-a",":created_at":"2020-10-02T08:31:00.000Z",":updated_at":"2020-10-02T08:47:00.123Z",
            "record_id":"k","volume":"4.50","read_date":null,"at":{"type":"Point","coordinates":[1,2]}}]"#;
        let rows = read_rows(page).unwrap();
        assert_eq!(rows[0].key, Some(RowKey::new("k")));
        assert_eq!(
            rows[0].fields.keys().collect::<Vec<_>>(),
            ["at", "record_id", "volume"]
        );
        assert_eq!(rows[0].updated_at.timestamp_subsec_millis(), 123);
    }

    #[test]
    fn a_row_needs_its_system_fields_and_fitting_types() {
        let stamps =
            r#"":created_at":"2020-10-02T08:31:00.000Z",":updated_at":"2020-10-02T08:47:00.123Z""#;
        for row in [
            ["{", stamps, "}"].concat(),
            r#"{":id":"row-a","record_id":"k"}"#.to_owned(),
            format!(r#"{{":id":"row-a",{stamps},"volume":true}}"#),
            format!(r#"{{":id":"row-a",{stamps},"read_date":5}}"#),
            format!(r#"{{":id":"row-a",{stamps},"stranger":"x"}}"#),
            format!(r#"{{":id":"row-a",":id":"row-b",{stamps}}}"#),
        ] {
            assert!(read_rows(&format!("[{row}]")).is_err(), "{row}");
        }
    }
}
