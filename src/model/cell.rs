//! One stored value, with the type of its column.
//!
//! A value sent to a portal comes back as different text with the same meaning: numbers become
//! strings, times gain `.000`, nulls are left out, and text is normalised to NFC. A [`Cell`] holds
//! the meaning, so that two sides can be compared.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::Value as Json;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::Value;
use super::decimal::{Decimal, Numeral};

/// The type of a portal's column, from the `dataTypeName` of its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `text`.
    Text,
    /// `number`, and also `money` and `percent`, which are stored the same way.
    Number,
    /// `checkbox`.
    Checkbox,
    /// `calendar_date`: wall time without a zone.
    CalendarDate,
    /// Any other type, with its name.
    Other(Box<str>),
}

impl ColumnType {
    /// The type that the metadata calls `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        match name {
            "text" => Self::Text,
            "number" | "money" | "percent" => Self::Number,
            "checkbox" => Self::Checkbox,
            "calendar_date" | "floating_timestamp" => Self::CalendarDate,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Checkbox => "checkbox",
            Self::CalendarDate => "calendar_date",
            Self::Other(name) => name,
        })
    }
}

/// Longest part of a value that an error shows, in characters.
const SHOWN: usize = 60;

/// A value that its column cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} does not fit a column of type {column}")]
pub struct CellError {
    /// The value as JSON, cut where it is long.
    pub value: String,
    /// The column's type.
    pub column: ColumnType,
}

impl CellError {
    /// The value, given as JSON, does not fit the column.
    #[must_use]
    pub fn new(json: &str, column: ColumnType) -> Self {
        let value = Self::shortened(json);
        Self { value, column }
    }

    /// As much of a text as an error shows.
    #[must_use]
    pub fn shortened(text: &str) -> String {
        let mut letters = text.chars();
        let mut shown: String = letters.by_ref().take(SHOWN).collect();
        if letters.next().is_some() {
            shown.push('…');
        }
        shown
    }
}

/// A stored value. Two cells are equal if a portal shows them as equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// No value. An empty text is also stored as null.
    Null,
    /// Text, normalised as portals do it.
    Text(Box<str>),
    /// A decimal number of any length.
    Number(Decimal),
    /// A checkbox.
    Bool(bool),
    /// A wall time.
    Time(NaiveDateTime),
    /// A published value that its column's type does not explain, as JSON. The portal client refuses
    /// rows that have one in a column whose type is known.
    Odd(Box<str>),
}

fn portal_text(text: &str) -> Cell {
    let clean = text.contains('\0').then(|| text.replace('\0', ""));
    let text = clean.as_deref().unwrap_or(text);
    if text.is_empty() {
        return Cell::Null;
    }
    Cell::Text(if is_nfc(text) {
        text.into()
    } else {
        text.nfc().collect::<String>().into()
    })
}

fn wall_time(text: &str) -> Option<NaiveDateTime> {
    usual_time(text).or_else(|| any_time(text))
}

/// A time to the second, with or without `.000`: the form we publish and the form portals serve.
fn usual_time(text: &str) -> Option<NaiveDateTime> {
    let bytes: &[u8; 19] = text
        .strip_suffix(".000")
        .unwrap_or(text)
        .as_bytes()
        .try_into()
        .ok()?;
    let marks = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]];
    if marks != *b"--T::" {
        return None;
    }
    let two = |at: usize| two_digits([bytes[at], bytes[at + 1]]);
    let year = i32::try_from(two(0)? * 100 + two(2)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, two(5)?, two(8)?)?;
    date.and_hms_opt(two(11)?, two(14)?, two(17)?)
}

/// The number written by two ASCII digits.
#[inline]
pub(crate) fn two_digits([tens, ones]: [u8; 2]) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens * 10 + ones))
}

fn any_time(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
}

impl Cell {
    /// The cell that a portal stores for a derived value after the upload library has converted it:
    /// in text columns every value but null becomes its text, and empty texts become null
    /// (atd-socrata-util 0.0.10; docs/data.md).
    ///
    /// # Errors
    /// If the column cannot hold the value. A portal would refuse the whole upload.
    pub fn stored(value: &Value, column: &ColumnType) -> Result<Self, CellError> {
        let misfit = || CellError::new(&value.json(), column.clone());
        match (column, value) {
            (_, Value::LoneSurrogate(_)) => Err(misfit()),
            (_, Value::Null) => Ok(Self::Null),
            (ColumnType::Text, value) => value
                .text()
                .map(|text| portal_text(&text))
                .ok_or_else(misfit),
            (ColumnType::Number, Value::Text(text)) if text.is_empty() => Ok(Self::Null),
            (ColumnType::Number, Value::Text(text)) => {
                Decimal::parse(text).map(Self::Number).ok_or_else(misfit)
            }
            (ColumnType::Number, Value::Int(_) | Value::Float(_)) => Decimal::parse(&value.json())
                .map(Self::Number)
                .ok_or_else(misfit),
            (ColumnType::Checkbox, Value::Bool(yes)) => Ok(Self::Bool(*yes)),
            (ColumnType::CalendarDate, Value::Text(text)) => {
                wall_time(text).map(Self::Time).ok_or_else(misfit)
            }
            _ => Err(misfit()),
        }
    }

    /// Whether the column can hold the value. This is the same as asking whether [`Cell::stored`]
    /// succeeds, but builds no cell.
    #[must_use]
    pub fn fits(value: &Value, column: &ColumnType) -> bool {
        match (column, value) {
            (_, Value::LoneSurrogate(_)) => false,
            (_, Value::Null) | (ColumnType::Text, _) | (ColumnType::Checkbox, Value::Bool(_)) => {
                true
            }
            (ColumnType::Number, Value::Text(text)) => {
                text.is_empty() || Numeral::read(text).is_some()
            }
            (ColumnType::Number, Value::Int(digits)) => Numeral::read(digits).is_some(),
            (ColumnType::Number, Value::Float(number)) => number.is_finite(),
            (ColumnType::CalendarDate, Value::Text(text)) => wall_time(text).is_some(),
            _ => false,
        }
    }

    /// The meaning of a value in a portal's answer. Never fails: a value that does not fit its type
    /// becomes [`Cell::Odd`], which equals no stored cell.
    #[must_use]
    pub fn published(json: Option<&Json>, column: &ColumnType) -> Self {
        let Some(json) = json else {
            return Self::Null;
        };
        let cell = match (column, json) {
            (_, Json::Null) => Some(Self::Null),
            (ColumnType::Text, Json::String(text)) => Some(portal_text(text)),
            (ColumnType::Number, Json::String(text)) => Decimal::parse(text).map(Self::Number),
            (ColumnType::Number, Json::Number(number)) => {
                Decimal::parse(&number.to_string()).map(Self::Number)
            }
            (ColumnType::Checkbox, Json::Bool(yes)) => Some(Self::Bool(*yes)),
            (ColumnType::CalendarDate, Json::String(text)) => wall_time(text).map(Self::Time),
            _ => None,
        };
        cell.unwrap_or_else(|| Self::Odd(json.to_string().into()))
    }

    /// Whether a portal's answer is a value of the column: whether [`Cell::published`] understands
    /// it, reported without making a cell. Columns of a type we do not know hold anything.
    ///
    /// # Errors
    /// If it is no value of the column.
    pub fn check_published(json: &Json, column: &ColumnType) -> Result<(), CellError> {
        let is_value = match (column, json) {
            (ColumnType::Other(_), _)
            | (_, Json::Null)
            | (ColumnType::Text, Json::String(_))
            | (ColumnType::Checkbox, Json::Bool(_)) => true,
            (ColumnType::Number, Json::String(text)) => Numeral::read(text).is_some(),
            (ColumnType::Number, Json::Number(number)) => {
                Numeral::read(&number.to_string()).is_some()
            }
            (ColumnType::CalendarDate, Json::String(text)) => wall_time(text).is_some(),
            (
                ColumnType::Text
                | ColumnType::Number
                | ColumnType::Checkbox
                | ColumnType::CalendarDate,
                _,
            ) => false,
        };
        if is_value {
            Ok(())
        } else {
            Err(CellError::new(&json.to_string(), column.clone()))
        }
    }

    /// The cell as it is sent in an upload: numbers as they were written, times to the second.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Text(text) => Json::from(&**text),
            Self::Number(number) => Json::from(number.to_string()),
            Self::Bool(yes) => Json::from(*yes),
            Self::Time(time) => Json::from(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string()),
            Self::Odd(json) => serde_json::from_str(json).unwrap_or(Json::Null),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.pad("null"),
            Self::Text(text) => write!(f, "'{}'", text.escape_debug()),
            Self::Number(number) => number.fmt(f),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Time(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S%.f")),
            Self::Odd(json) => write!(f, "{}", json.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn number(value: &Value) -> Cell {
        Cell::stored(value, &ColumnType::Number).unwrap()
    }

    #[test]
    fn numbers_written_differently_are_equal_by_value() {
        let published = |json| Cell::published(Some(&json), &ColumnType::Number);
        assert_eq!(number(&Value::Float(15.0)), published(json!("15")));
        assert_eq!(number(&Value::Int("15".into())), published(json!("15.000")));
        assert_eq!(number(&Value::Float(1e-5)), published(json!("0.00001")));
        assert_eq!(
            number(&Value::Text("0.331".into())),
            published(json!("0.3310"))
        );
        assert_eq!(number(&Value::Float(-0.0)), published(json!("0")));
        assert_ne!(number(&Value::Float(15.0)), published(json!("15.01")));
        assert_ne!(number(&Value::Float(-1.0)), published(json!("1")));
    }

    #[test]
    fn text_columns_take_the_text_of_anything_and_no_empty_text() {
        let stored = |value| Cell::stored(&value, &ColumnType::Text).unwrap();
        assert_eq!(stored(Value::Float(15.0)), Cell::Text("15.0".into()));
        assert_eq!(stored(Value::Bool(true)), Cell::Text("True".into()));
        assert_eq!(stored(Value::Text(String::new())), Cell::Null);
        assert_eq!(stored(Value::Null), Cell::Null);
        assert_eq!(
            stored(Value::Text("e\u{301}".into())),
            Cell::Text("\u{e9}".into())
        );
    }

    #[test]
    fn what_a_column_cannot_hold_is_named() {
        for (value, column) in [
            (Value::Float(f64::NAN), ColumnType::Number),
            (Value::Text("x".into()), ColumnType::Number),
            (Value::Bool(true), ColumnType::Number),
            (Value::Int("1".into()), ColumnType::Checkbox),
            (Value::Text("yesterday".into()), ColumnType::CalendarDate),
            (Value::LoneSurrogate("\"\\ud83d\"".into()), ColumnType::Text),
        ] {
            assert_eq!(Cell::stored(&value, &column).unwrap_err().column, column);
        }
    }

    #[test]
    fn milliseconds_of_zero_do_not_change_a_time() {
        let stored = Cell::stored(
            &Value::Text("2019-06-05T00:15:00".into()),
            &ColumnType::CalendarDate,
        );
        let published = Cell::published(
            Some(&json!("2019-06-05T00:15:00.000")),
            &ColumnType::CalendarDate,
        );
        assert_eq!(stored.unwrap(), published);
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[-+]?[0-9]{0,3}[.]?[0-9]{0,3}(e[-+]?[0-9]{1,2})?",
            "[0-2]0[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,4})?",
            "(yes|NaN| 1|1_0|\u{e9}|-|\\.)?",
        ];
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<f64>().prop_map(Value::Float),
            "-?[0-9]{1,30}".prop_map(Value::Int),
            text.prop_map(Value::Text),
            Just(Value::LoneSurrogate("\"\\ud83d\"".into())),
            Just(Value::Nested {
                json: "[]".into(),
                text: "[]".into()
            }),
        ]
    }

    fn answers() -> impl Strategy<Value = Json> {
        prop_oneof![
            values()
                .prop_map(|value| Cell::stored(&value, &ColumnType::Text))
                .prop_map(|cell| cell.map_or(Json::Null, |cell| cell.to_json())),
            values().prop_map(|value| serde_json::from_str(&value.json()).unwrap_or(Json::Null)),
            Just(json!({"amount": 5})),
            Just(json!(["15"])),
            Just(json!("12,000")),
            Just(json!("2020-10-01T00:15:00.000Z")),
        ]
    }

    fn columns() -> impl Strategy<Value = ColumnType> {
        prop::sample::select(vec![
            ColumnType::Text,
            ColumnType::Number,
            ColumnType::Checkbox,
            ColumnType::CalendarDate,
            ColumnType::new("point"),
        ])
    }

    proptest! {
        #[test]
        fn a_value_fits_if_and_only_if_it_can_be_stored(value in values(), column in columns()) {
            prop_assert_eq!(Cell::fits(&value, &column), Cell::stored(&value, &column).is_ok());
        }

        #[test]
        fn an_answer_is_a_value_exactly_if_it_is_understood(json in answers(), column in columns()) {
            let odd = matches!(Cell::published(Some(&json), &column), Cell::Odd(_));
            let known = !matches!(column, ColumnType::Other(_));
            prop_assert_eq!(Cell::check_published(&json, &column).is_err(), odd && known);
        }

        #[test]
        fn a_usual_time_is_read_as_any_other(value in values()) {
            if let Value::Text(text) = value && let Some(time) = usual_time(&text) {
                prop_assert_eq!(Some(time), any_time(&text));
            }
        }
    }
}
