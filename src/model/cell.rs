//! One stored value, by the type of its column.
//!
//! What is sent to a portal and what is read back differ in text and not in meaning: numbers come
//! as strings, times gain `.000`, nulls are left out, text is normalised to NFC. A [`Cell`] is the
//! meaning, so that two sides can be compared.

use std::fmt;
use std::hash::{Hash, Hasher};

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::Value as Json;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::Value;

/// The type of a portal's column, from the `dataTypeName` of its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `text`.
    Text,
    /// `number`, and the `money` and `percent` stored alike.
    Number,
    /// `checkbox`.
    Checkbox,
    /// `calendar_date`: wall time without a zone.
    CalendarDate,
    /// Any other, by its name.
    Other(Box<str>),
}

impl ColumnType {
    /// The type that metadata call `name`.
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

/// A value that its column cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} does not fit a column of type {column}")]
pub struct CellError {
    /// The value as JSON, cut after 60 characters.
    pub value: String,
    /// The column's type.
    pub column: ColumnType,
}

/// A stored value. Two cells are equal if a portal shows them as equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// Nothing; an empty text is stored as nothing too.
    Null,
    /// Text, normalised as portals do.
    Text(Box<str>),
    /// A decimal number of any size.
    Number(Decimal),
    /// A checkbox.
    Bool(bool),
    /// A wall time.
    Time(NaiveDateTime),
    /// A published value that its column's type does not explain, as JSON.
    Odd(Box<str>),
}

/// A decimal number: equal if numerically equal, and printed as it was written.
#[derive(Clone, Debug)]
pub struct Decimal {
    written: Box<str>,
    negative: bool,
    digits: Box<str>,
    exponent: i64,
}

impl Decimal {
    /// Reads a JSON number or a numeric text. `None` if it is neither, or absurdly scaled.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Numeral {
            negative,
            whole,
            fraction,
            exponent,
        } = Numeral::read(text)?;
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0').trim_end_matches('0');
        let zeros = all.len() - all.trim_end_matches('0').len();
        let is_zero = significant.is_empty();
        let scale = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Self {
            written: text.into(),
            negative: negative && !is_zero,
            digits: significant.into(),
            exponent: if is_zero {
                0
            } else {
                i64::from(exponent) + scale
            },
        })
    }
}

/// A decimal number's parts as they are written.
struct Numeral<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
}

impl<'a> Numeral<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
        let is_number = whole.len() + fraction.len() > 0 && digits(whole) && digits(fraction);
        is_number.then_some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            written: _,
            negative,
            digits,
            exponent,
        } = self;
        (*negative, digits, *exponent) == (other.negative, &other.digits, other.exponent)
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.negative, &self.digits, self.exponent).hash(state);
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
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

/// A time to the second, with or without `.000`: what we publish and what portals serve.
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

/// The number that two ASCII digits spell.
#[inline]
pub(crate) fn two_digits([tens, ones]: [u8; 2]) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens * 10 + ones))
}

fn any_time(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
}

impl Cell {
    /// What a portal stores of a derived value after the upload library has had its way with it:
    /// in text columns every value but null becomes its text, and empty texts become null
    /// (atd-socrata-util 0.0.10; docs/data.md).
    ///
    /// # Errors
    /// If the column cannot hold the value: a portal would refuse the whole upload for it.
    pub fn stored(value: &Value, column: &ColumnType) -> Result<Self, CellError> {
        let misfit = || CellError {
            value: value.json().chars().take(60).collect(),
            column: column.clone(),
        };
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

    /// Whether the column can hold the value: whether [`Cell::stored`] makes a cell of it, told
    /// without making one.
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

    /// What a portal's answer means. Never fails: what the type does not explain is [`Cell::Odd`]
    /// and equal to nothing that is stored.
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
            Self::Number(number) => f.pad(&number.written),
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
    fn numbers_are_equal_by_value_however_they_are_written() {
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
    fn an_absurd_exponent_is_refused_not_expanded() {
        assert!(Decimal::parse("1e99999999999999999999").is_none());
        assert_ne!(Decimal::parse("1e999999999"), Decimal::parse("1e999999998"));
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
    fn times_gain_their_milliseconds_without_changing() {
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
        fn a_value_fits_exactly_if_it_can_be_stored(value in values(), column in columns()) {
            prop_assert_eq!(Cell::fits(&value, &column), Cell::stored(&value, &column).is_ok());
        }

        #[test]
        fn a_usual_time_is_read_as_any_other(value in values()) {
            if let Value::Text(text) = value && let Some(time) = usual_time(&text) {
                prop_assert_eq!(Some(time), any_time(&text));
            }
        }

        #[test]
        fn a_decimal_equals_itself_scaled(digits in "-?[0-9]{1,12}", zeros in 0usize..9) {
            let plain = Decimal::parse(&digits).unwrap();
            prop_assert_eq!(&plain, &Decimal::parse(&format!("{digits}.{}", "0".repeat(zeros))).unwrap());
            prop_assert_eq!(&plain, &Decimal::parse(&format!("{digits}{}e-{zeros}", "0".repeat(zeros))).unwrap());
        }
    }
}
