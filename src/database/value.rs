//! What goes into a statement and what comes out, the same for both kinds of database.
//!
//! PostgreSQL has types for instants, days and JSON. SQLite has text: instants in UTC as
//! `2020-10-01T05:00:00.000000Z`, which sorts as time does, days as ISO dates, JSON as written.
//! Instants are kept to the microsecond in both.

use chrono::{DateTime, NaiveDate, Utc};
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use rusqlite::types::Value as Lite;
use serde_json::Value as Json;
use tokio_postgres::types as postgres_types;

use super::BoxError;
use crate::model::Day;

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// NULL of any type.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// An instant.
    Time(DateTime<Utc>),
    /// A day.
    Day(Day),
    /// JSON.
    Json(Json),
}

/// Neither text nor JSON of PostgreSQL can hold a NUL, and such text may come from outside.
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

impl ToSql for Param {
    fn to_sql(&self, column: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, BoxError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Text(text) => text.to_sql_checked(column, out),
            Self::Int(number) => number.to_sql_checked(column, out),
            Self::Time(instant) => instant.to_sql_checked(column, out),
            Self::Day(day) => day.date().to_sql_checked(column, out),
            Self::Json(json) => json.to_sql_checked(column, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn instant_text(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads an instant as programs write it: with `T` or a blank, a fraction or none, `Z` or an offset.
fn read_instant(text: &str) -> Result<DateTime<Utc>, BoxError> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .map(|instant| instant.with_timezone(&Utc))
        .map_err(|_| {
            format!(
                "{text:?} is no instant, want a date, a time and an offset: 2020-10-01T05:00:00Z"
            )
            .into()
        })
}

impl From<Param> for Lite {
    fn from(param: Param) -> Self {
        match param {
            Param::Null => Self::Null,
            Param::Text(text) => Self::Text(text),
            Param::Int(number) => Self::Integer(number),
            Param::Time(instant) => Self::Text(instant_text(instant)),
            Param::Day(day) => Self::Text(day.to_string()),
            Param::Json(json) => Self::Text(json.to_string()),
        }
    }
}

/// A field that does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("read column {index} of the answer")]
pub struct FieldError {
    index: usize,
    source: BoxError,
}

/// One line of an answer.
#[derive(Debug)]
pub enum Line {
    /// Of PostgreSQL.
    Postgres(tokio_postgres::Row),
    /// Of SQLite.
    Sqlite(Vec<Lite>),
}

/// A type that a field can be read as.
pub trait Field: Sized {
    /// Its form in PostgreSQL.
    type Wire: for<'a> FromSql<'a>;

    /// From its form in PostgreSQL.
    fn from_wire(wire: Self::Wire) -> Self;

    /// From its form in SQLite, which is not null.
    fn from_lite(value: &Lite) -> Result<Self, BoxError>;
}

fn lite_text(value: &Lite) -> Result<&str, BoxError> {
    match value {
        Lite::Text(text) => Ok(text),
        other => Err(format!("want text, found {}", other.data_type()).into()),
    }
}

impl Field for String {
    type Wire = Self;

    fn from_wire(wire: Self) -> Self {
        wire
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
            other => Err(format!("want a whole number, found {}", other.data_type()).into()),
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

impl Line {
    /// The field `index` from 0; `None` if it is null.
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

    /// The field `index` from 0, which must not be null.
    pub fn get<T: Field>(&self, index: usize) -> Result<T, FieldError> {
        self.maybe(index)?.ok_or_else(|| FieldError {
            index,
            source: "it is null".into(),
        })
    }

    /// The field `index` from 0 as a count.
    pub fn count(&self, index: usize) -> Result<u64, FieldError> {
        let number: i64 = self.get(index)?;
        u64::try_from(number).map_err(|source| FieldError {
            index,
            source: source.into(),
        })
    }

    /// The field `index` from 0, as `read` understands it.
    pub fn read<F: Field, T>(
        &self,
        index: usize,
        read: impl Fn(F) -> Result<T, BoxError>,
    ) -> Result<T, FieldError> {
        read(self.get(index)?).map_err(|source| FieldError { index, source })
    }

    /// The field `index` from 0, a text with a form of its own.
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
    fn instants_are_read_as_any_program_writes_them() {
        let want: DateTime<Utc> = "2020-11-01T05:00:00.5Z".parse().unwrap();
        for text in [
            "2020-11-01T05:00:00.5Z",
            "2020-11-01T00:00:00.500-05:00",
            "2020-11-01 05:00:00.5+00",
            "2020-11-01 05:00:00.500000+00:00",
            &instant_text(want),
        ] {
            assert_eq!(read_instant(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn an_instant_without_an_offset_is_no_instant() {
        for text in ["2020-11-01T05:00:00", "2020-11-01", "", "now"] {
            assert!(read_instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_nul_reaches_a_database() {
        let json = serde_json::json!({"a\0": ["b\0", 1, null]});
        let clean = serde_json::json!({"a\u{fffd}": ["b\u{fffd}", 1, null]});
        assert_eq!(Param::from(&json), Param::Json(clean));
        assert_eq!(Param::from("a\0b"), Param::Text("a\u{fffd}b".into()));
    }

    #[test]
    fn a_field_of_another_kind_is_an_error_and_not_a_guess() {
        let line = Line::Sqlite(vec![Lite::Integer(-1), Lite::Null, Lite::Text("x".into())]);
        assert!(line.count(0).is_err());
        assert!(line.get::<String>(0).is_err());
        assert!(line.get::<String>(1).is_err());
        assert_eq!(line.maybe::<String>(1).unwrap(), None);
        assert!(line.get::<Day>(2).is_err());
        assert!(line.maybe::<i64>(3).is_err());
    }
}
