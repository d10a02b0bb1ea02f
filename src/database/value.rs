//! Parameters and results of statements, the same for both kinds of database.
//!
//! Parameters are text in both: instants in UTC as `2020-10-01T05:00:00.000000Z`, which sorts
//! chronologically, days as ISO dates, JSON as written. PostgreSQL converts the text to the type
//! that the statement needs; SQLite stores it as it is. Instants have a precision of microseconds
//! in both.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use postgres_types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use rusqlite::types::Value as Lite;
use serde_json::Value as Json;
use tokio_postgres::types as postgres_types;

use super::BoxError;
use super::instant::{instant_text, read_instant};
use crate::model::Day;

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// NULL of any type.
    Null,
    /// Text.
    Text(String),
    /// An integer.
    Int(i64),
    /// An instant.
    Time(DateTime<Utc>),
    /// A day.
    Day(Day),
    /// JSON.
    Json(Json),
}

/// Neither text nor JSON in PostgreSQL can contain a NUL, and such text may come from outside.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn json_without_nul(json: &Json) -> Json {
    match json {
        Json::String(text) => Json::String(without_nul(text)),
        Json::Array(items) => items.iter().map(json_without_nul).collect(),
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| (without_nul(name), json_without_nul(value)))
            .collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    }
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(without_nul(text))
    }
}

impl From<&String> for Param {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Param {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<DateTime<Utc>> for Param {
    fn from(instant: DateTime<Utc>) -> Self {
        Self::Time(instant)
    }
}

impl From<Day> for Param {
    fn from(day: Day) -> Self {
        Self::Day(day)
    }
}

impl From<&Json> for Param {
    fn from(json: &Json) -> Self {
        Self::Json(json_without_nul(json))
    }
}

impl<T: Into<Self>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Param {
    /// Its text, for both kinds of database.
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Text(text) => text.into(),
            Self::Int(number) => number.to_string().into(),
            Self::Time(instant) => instant_text(*instant).into(),
            Self::Day(day) => day.to_string().into(),
            Self::Json(json) => json.to_string().into(),
        })
    }
}

/// Sent as text, as the type that the server infers, so that a statement runs without being
/// prepared.
impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, BoxError> {
        let Some(text) = self.text() else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

impl From<Param> for Lite {
    fn from(param: Param) -> Self {
        match param {
            Param::Int(number) => Self::Integer(number),
            Param::Text(text) => Self::Text(text),
            other => other
                .text()
                .map_or(Self::Null, |text| Self::Text(text.into_owned())),
        }
    }
}

/// A field does not contain a valid value.
#[derive(Debug, thiserror::Error)]
#[error("cannot read column {index} of the answer")]
pub struct FieldError {
    index: usize,
    source: BoxError,
}

impl FieldError {
    /// The field `index`, from 0, is null but must not be.
    #[must_use]
    pub fn null(index: usize) -> Self {
        Self {
            index,
            source: "it is null".into(),
        }
    }

    /// The index of the field, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

/// One line of a result.
#[derive(Debug)]
pub enum Line {
    /// From PostgreSQL.
    Postgres(tokio_postgres::Row),
    /// From SQLite.
    Sqlite(Vec<Lite>),
}

/// A type that a field can be read as.
pub trait Field: Sized {
    /// Its representation in PostgreSQL.
    type Wire: for<'a> FromSql<'a>;

    /// Converts from PostgreSQL.
    fn from_wire(wire: Self::Wire) -> Self;

    /// Converts from SQLite. The value is not null.
    fn from_lite(value: &Lite) -> Result<Self, BoxError>;
}

fn lite_text(value: &Lite) -> Result<&str, BoxError> {
    match value {
        Lite::Text(text) => Ok(text),
        other => Err(format!("expected text, found {}", other.data_type()).into()),
    }
}

/// Text, or the bytes of a text whose encoding PostgreSQL did not check.
pub struct Utf8(String);

impl<'a> FromSql<'a> for Utf8 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(column: &Type) -> bool {
        <String as FromSql>::accepts(column) || *column == Type::BYTEA
    }
}

impl Field for String {
    type Wire = Utf8;

    fn from_wire(Utf8(text): Utf8) -> Self {
        text
    }

    fn from_lite(value: &Lite) -> Result<Self, BoxError> {
        lite_text(value).map(Into::into)
    }
}

impl Field for i64 {
    type Wire = Self;

    fn from_wire(wire: Self) -> Self {
        wire
    }

    fn from_lite(value: &Lite) -> Result<Self, BoxError> {
        match value {
            Lite::Integer(number) => Ok(*number),
            other => Err(format!("expected an integer, found {}", other.data_type()).into()),
        }
    }
}

impl Field for DateTime<Utc> {
    type Wire = Self;

    fn from_wire(wire: Self) -> Self {
        wire
    }

    fn from_lite(value: &Lite) -> Result<Self, BoxError> {
        lite_text(value).and_then(read_instant)
    }
}

impl Field for Day {
    type Wire = NaiveDate;

    fn from_wire(wire: NaiveDate) -> Self {
        Self::new(wire)
    }

    fn from_lite(value: &Lite) -> Result<Self, BoxError> {
        Ok(lite_text(value)?.parse()?)
    }
}

impl Field for Json {
    type Wire = Self;

    fn from_wire(wire: Self) -> Self {
        wire
    }

    fn from_lite(value: &Lite) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(lite_text(value)?)?)
    }
}

/// The bytes of any value sent by PostgreSQL.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Line {
    /// The field `index`, from 0, for messages, whatever it contains: text in quotes, with invalid
    /// characters replaced.
    #[must_use]
    pub fn shown(&self, index: usize) -> String {
        let quoted = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
        match self {
            Self::Postgres(row) => match row.try_get::<_, Option<Raw>>(index) {
                Ok(Some(Raw(bytes))) => quoted(&bytes),
                Ok(None) | Err(_) => "null".into(),
            },
            Self::Sqlite(values) => match values.get(index) {
                None | Some(Lite::Null) => "null".into(),
                Some(Lite::Integer(number)) => number.to_string(),
                Some(Lite::Real(number)) => number.to_string(),
                Some(Lite::Text(text)) => quoted(text.as_bytes()),
                Some(Lite::Blob(bytes)) => format!("the bytes {}", quoted(bytes)),
            },
        }
    }

    /// Whether the field `index`, from 0, is null.
    #[must_use]
    pub fn is_null(&self, index: usize) -> bool {
        match self {
            Self::Postgres(row) => matches!(row.try_get::<_, Option<Raw>>(index), Ok(None)),
            Self::Sqlite(values) => matches!(values.get(index), None | Some(Lite::Null)),
        }
    }

    /// The field `index`, from 0: an instant that the database returns as text.
    pub fn instant(&self, index: usize) -> Result<Option<DateTime<Utc>>, FieldError> {
        let text: Option<String> = self.maybe(index)?;
        let read = text.map(|text| read_instant(&text)).transpose();
        read.map_err(|source| FieldError { index, source })
    }

    /// The field `index`, from 0: JSON that the database returns as text.
    pub fn json(&self, index: usize) -> Result<Option<Json>, FieldError> {
        let text: Option<String> = self.maybe(index)?;
        let read = text.map(|text| serde_json::from_str(&text)).transpose();
        read.map_err(|source| FieldError {
            index,
            source: source.into(),
        })
    }

    /// The field `index`, from 0; `None` if it is null.
    pub fn maybe<T: Field>(&self, index: usize) -> Result<Option<T>, FieldError> {
        let value = match self {
            Self::Postgres(row) => row
                .try_get::<_, Option<T::Wire>>(index)
                .map(|wire| wire.map(T::from_wire))
                .map_err(Into::into),
            Self::Sqlite(values) => match values.get(index) {
                None => Err("there is no such column".into()),
                Some(Lite::Null) => Ok(None),
                Some(value) => T::from_lite(value).map(Some),
            },
        };
        value.map_err(|source| FieldError { index, source })
    }

    /// The field `index`, from 0, which must not be null.
    pub fn get<T: Field>(&self, index: usize) -> Result<T, FieldError> {
        self.maybe(index)?.ok_or_else(|| FieldError::null(index))
    }

    /// The field `index`, from 0, as a count.
    pub fn count(&self, index: usize) -> Result<u64, FieldError> {
        let number: i64 = self.get(index)?;
        u64::try_from(number).map_err(|source| FieldError {
            index,
            source: source.into(),
        })
    }

    /// The field `index`, from 0, converted by `read`.
    pub fn read<F: Field, T>(
        &self,
        index: usize,
        read: impl Fn(F) -> Result<T, BoxError>,
    ) -> Result<T, FieldError> {
        read(self.get(index)?).map_err(|source| FieldError { index, source })
    }

    /// The field `index`, from 0, parsed from text.
    pub fn parsed<T>(&self, index: usize) -> Result<T, FieldError>
    where
        T: std::str::FromStr<Err: Into<BoxError>>,
    {
        self.get::<String>(index)?
            .parse()
            .map_err(|source: T::Err| FieldError {
                index,
                source: source.into(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nul_reaches_a_database() {
        let json = serde_json::json!({"a\0": ["b\0", 1, null]});
        let clean = serde_json::json!({"a\u{fffd}": ["b\u{fffd}", 1, null]});
        assert_eq!(Param::from(&json), Param::Json(clean));
        assert_eq!(Param::from("a\0b"), Param::Text("a\u{fffd}b".into()));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_an_error() {
        let line = Line::Sqlite(vec![Lite::Integer(-1), Lite::Null, Lite::Text("x".into())]);
        assert!(line.count(0).is_err());
        assert!(line.get::<String>(0).is_err());
        assert!(line.get::<String>(1).is_err());
        assert_eq!(line.maybe::<String>(1).unwrap(), None);
        assert!(line.get::<Day>(2).is_err());
        assert!(line.maybe::<i64>(3).is_err());
    }
}
