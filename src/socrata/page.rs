//! Parses one page of rows from JSON to keys or to whole rows; for keys, without building a tree of
//! values.
//!
//! The caller requested certain columns. Anything else in a row, or a column that occurs twice in
//! one object, is a contradiction, which is reported with the row's position. So is a cell that is
//! not a value of its column's type; it is reported with the row's key, the column and the
//! beginning of the cell.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::failure::harmless;
use super::fields::Field;
use crate::model::{Cell, CellError, ColumnType, PublishedRow, RowKey, TableShape};

/// How many opening brackets near the end of a page to try as the beginning of its last row.
const LAST_BRACKETS: usize = 16;

/// A row of a page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyLine {
    pub(super) key: Option<RowKey>,
    pub(super) sid: Option<Box<str>>,
}

/// Passes each row's key, and its `:id` if requested, to `each`. Returns the number of rows.
pub(super) fn keys(
    body: &[u8],
    key_column: &str,
    each: &mut dyn FnMut(KeyLine) -> Result<(), String>,
) -> Result<u64, String> {
    lines(body, &KeySeed { key_column }, each)
}

/// Passes each whole row to `each`. Returns the number of rows.
pub(super) fn rows(
    body: &[u8],
    key_column: &str,
    shape: &TableShape,
    each: &mut dyn FnMut(PublishedRow) -> Result<(), String>,
) -> Result<u64, String> {
    lines(body, &RowSeed { key_column, shape }, each)
}

/// The value of this column in the last row, found at the end of the page without parsing the page.
/// This is a guess: nothing is verified.
pub(super) fn last(body: &[u8], column: &str) -> Option<String> {
    let end = body.iter().rposition(|byte| *byte == b']')?;
    let opens = (0..end).rev().filter(|at| body[*at] == b'{');
    let mut rows = opens
        .take(LAST_BRACKETS)
        .filter_map(|open| serde_json::from_slice(&body[open..end]).ok());
    let row: Map<String, Value> = rows.next()?;
    row.get(column)?.as_str().map(str::to_owned)
}

/// A deserializer that can be used for every row of a page.
trait LineSeed<T> {
    /// The row, or the cell that cannot be parsed. An error means that it is not such a row.
    fn read<'de, A: MapAccess<'de>>(&self, map: A) -> Result<Result<T, Misread>, A::Error>;
}

/// A cell that is not a value of its column's type.
struct Misread {
    key: Option<RowKey>,
    column: String,
    error: CellError,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, column, error } = self;
        match key {
            Some(key) => write!(f, "row {}", CellError::shortened(&key.to_string()))?,
            None => write!(f, "a row without a key")?,
        }
        write!(f, ", column {column}: {error}")
    }
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
            "row {} of a page is not what was requested",
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
            let line = line.map_err(|misread| harmless(&misread.to_string()));
            if let Err(why) = line.and_then(&mut *self.each) {
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
    type Value = Result<T, Misread>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T, S: LineSeed<T>> Visitor<'de> for Line<'_, T, S> {
    type Value = Result<T, Misread>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.read(map)
    }
}

/// Identifies a row's next field among the expected ones.
struct NameSeed<'a>(&'a str);

enum Name {
    Sid,
    Key,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Name, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a requested field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
        match name {
            ":id" => Ok(Name::Sid),
            name if name == self.0 => Ok(Name::Key),
            _ => Err(E::custom("a field that was not requested")),
        }
    }
}

struct KeySeed<'a> {
    key_column: &'a str,
}

impl LineSeed<KeyLine> for KeySeed<'_> {
    fn read<'de, A: MapAccess<'de>>(
        &self,
        mut map: A,
    ) -> Result<Result<KeyLine, Misread>, A::Error> {
        let (mut key, mut sid) = (None, None);
        while let Some(name) = map.next_key_seed(NameSeed(self.key_column))? {
            let is_new = match name {
                Name::Key => key.replace(map.next_value::<Field<RowKey>>()?).is_none(),
                Name::Sid => sid.replace(map.next_value::<Box<str>>()?).is_none(),
            };
            if !is_new {
                return Err(de::Error::custom("a field occurs twice"));
            }
        }
        let key = match key {
            None | Some(Field::Null) => None,
            Some(Field::Is(key)) => Some(key),
            Some(Field::Odd(json)) => {
                return Ok(Err(Misread {
                    key: None,
                    column: self.key_column.to_owned(),
                    error: CellError::new(&json, ColumnType::Text),
                }));
            }
        };
        Ok(Ok(KeyLine { key, sid }))
    }
}

struct RowSeed<'a> {
    key_column: &'a str,
    shape: &'a TableShape,
}

/// A row's fields as received.
#[derive(Default)]
struct Fields {
    sid: Option<String>,
    created: Option<Field<DateTime<Utc>>>,
    updated: Option<Field<DateTime<Utc>>>,
    others: BTreeMap<String, Value>,
}

impl Fields {
    fn read<'de, A: MapAccess<'de>>(mut map: A, shape: &TableShape) -> Result<Self, A::Error> {
        let mut fields = Self::default();
        while let Some(name) = map.next_key::<String>()? {
            let is_new = match &*name {
                ":id" => fields.sid.replace(map.next_value()?).is_none(),
                ":created_at" => fields.created.replace(map.next_value()?).is_none(),
                ":updated_at" => fields.updated.replace(map.next_value()?).is_none(),
                _ if !shape.columns.contains_key(&name) => {
                    return Err(de::Error::custom("a field that was not requested"));
                }
                _ => {
                    let value = map.next_value::<Value>()?;
                    value.is_null() || fields.others.insert(name, value).is_none()
                }
            };
            if !is_new {
                return Err(de::Error::custom("a field occurs twice"));
            }
        }
        Ok(fields)
    }
}

impl RowSeed<'_> {
    /// The first cell that is not a value of its column's type.
    fn misread(&self, cells: &BTreeMap<String, Value>) -> Option<(&str, CellError)> {
        self.shape.columns.iter().find_map(|(name, kind)| {
            let error = Cell::check_published(cells.get(name)?, kind).err()?;
            Some((name.as_str(), error))
        })
    }
}

impl LineSeed<PublishedRow> for RowSeed<'_> {
    fn read<'de, A: MapAccess<'de>>(
        &self,
        map: A,
    ) -> Result<Result<PublishedRow, Misread>, A::Error> {
        let fields = Fields::read(map, self.shape)?;
        let key = fields.others.get(self.key_column).and_then(Value::as_str);
        let key = key.map(RowKey::new);
        let stamp = |stamp: Option<Field<DateTime<Utc>>>, column: &'static str| match stamp {
            None | Some(Field::Null) => Err((column, None)),
            Some(Field::Is(at)) => Ok(at),
            Some(Field::Odd(json)) => Err((column, Some(json))),
        };
        let stamps = stamp(fields.created, ":created_at")
            .and_then(|created| Ok((created, stamp(fields.updated, ":updated_at")?)));
        let misread = |column: &str, error| Misread {
            key: key.clone(),
            column: column.to_owned(),
            error,
        };
        let (created_at, updated_at) = match stamps {
            Ok(stamps) => stamps,
            Err((column, None)) => return Err(de::Error::missing_field(column)),
            Err((column, Some(json))) => {
                let kind = ColumnType::new("fixed_timestamp");
                return Ok(Err(misread(column, CellError::new(&json, kind))));
            }
        };
        if let Some((column, error)) = self.misread(&fields.others) {
            return Ok(Err(misread(column, error)));
        }
        Ok(Ok(PublishedRow {
            key,
            sid: fields.sid.ok_or_else(|| de::Error::missing_field(":id"))?,
            created_at,
            updated_at,
            fields: fields.others,
        }))
    }
}

#[cfg(test)]
mod tests;
