//! One stored value and its column type: how it is accepted from a client, ordered, and written as
//! JSON or CSV. It follows the server's own converters (`JsonColumnRep`, `CsvColumnRep`), so that
//! the text of a value changes in the same cases as on the real server.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::decimal::Decimal;
use super::rowid::RowIds;

/// A column's type. The names are those in the portal's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `text`
    Text,
    /// `number`: exact decimals, published as JSON strings.
    Number,
    /// `checkbox`
    Checkbox,
    /// `calendar_date`, also called `floating_timestamp`: a time without a zone.
    CalendarDate,
    /// `date` in metadata, `fixed_timestamp` elsewhere: an instant in UTC.
    FixedTimestamp,
    /// `point`: stored as the JSON that was sent.
    Point,
    /// `location`: stored as the JSON that was sent. Anything but an object becomes null.
    Location,
    /// `url`: stored as the JSON that was sent. Anything but an object becomes null.
    Url,
    /// The type of `:id`.
    RowId,
    /// The type of `:version`.
    RowVersion,
}

impl ColumnType {
    /// The type with that name in metadata or in `X-SODA2-Types`. The types of `:id` and `:version`
    /// have no name.
    #[must_use]
    pub fn named(name: &str) -> Option<ColumnType> {
        Some(match name {
            "text" => ColumnType::Text,
            "number" | "money" | "percent" => ColumnType::Number,
            "checkbox" => ColumnType::Checkbox,
            "calendar_date" | "floating_timestamp" => ColumnType::CalendarDate,
            "date" | "fixed_timestamp" => ColumnType::FixedTimestamp,
            "point" => ColumnType::Point,
            "location" => ColumnType::Location,
            "url" => ColumnType::Url,
            _ => return None,
        })
    }

    /// The name in `columns[].dataTypeName` of the metadata.
    pub(super) fn in_metadata(self) -> &'static str {
        match self {
            ColumnType::CalendarDate => "calendar_date",
            ColumnType::FixedTimestamp => "date",
            other => other.in_headers(),
        }
    }

    /// The name in `X-SODA2-Types` and in error messages.
    pub(super) fn in_headers(self) -> &'static str {
        match self {
            ColumnType::Text => "text",
            ColumnType::Number => "number",
            ColumnType::Checkbox => "checkbox",
            ColumnType::CalendarDate => "floating_timestamp",
            ColumnType::FixedTimestamp => "fixed_timestamp",
            ColumnType::Point => "point",
            ColumnType::Location => "location",
            ColumnType::Url => "url",
            ColumnType::RowId => "row_identifier",
            ColumnType::RowVersion => "row_version",
        }
    }

    /// Whether `<`, `min` and `$order` can be used with it.
    pub(super) fn is_ordered(self) -> bool {
        !matches!(
            self,
            ColumnType::Point | ColumnType::Location | ColumnType::Url
        )
    }
}

/// One value. Times are milliseconds since 1970-01-01T00:00:00, in UTC or without a zone.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Bool(bool),
    Small(i64, i8),
    Wide(Arc<Decimal>),
    Text(Arc<str>),
    Floating(i64),
    Fixed(i64),
    RowId(u64),
    Version(u64),
    Json(Arc<Value>),
    Null,
}

impl Cell {
    pub(super) fn number(decimal: Decimal) -> Cell {
        match (i64::try_from(decimal.mantissa), i8::try_from(decimal.scale)) {
            (Ok(mantissa), Ok(scale)) => Cell::Small(mantissa, scale),
            _ => Cell::Wide(Arc::new(decimal)),
        }
    }

    pub(super) fn text(text: &str) -> Cell {
        let clean: String = text.nfc().filter(|c| *c != '\0').collect();
        Cell::Text(clean.into())
    }

    pub(super) fn decimal(&self) -> Option<Decimal> {
        match self {
            Cell::Small(mantissa, scale) => Some(Decimal {
                mantissa: i128::from(*mantissa),
                scale: i32::from(*scale),
            }),
            Cell::Wide(decimal) => Some(**decimal),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }

    /// The value that a column of that type stores for the JSON scalar `raw`; `None` if it is
    /// maltyped.
    pub(super) fn accept(kind: ColumnType, raw: &str) -> Option<Cell> {
        let value = match raw.trim() {
            "null" => return Some(Cell::Null),
            "true" => return (kind == ColumnType::Checkbox).then_some(Cell::Bool(true)),
            "false" => return (kind == ColumnType::Checkbox).then_some(Cell::Bool(false)),
            other => other,
        };
        match value.as_bytes().first()? {
            b'"' => Cell::accept_text(kind, &serde_json::from_str::<String>(value).ok()?),
            b'{' | b'[' => Cell::accept_structure(kind, serde_json::from_str(value).ok()?),
            _ => match kind {
                ColumnType::Text => Some(Cell::text(value)),
                ColumnType::Number => Decimal::parse(value).map(Cell::number),
                ColumnType::Url | ColumnType::Location => Some(Cell::Null),
                ColumnType::Checkbox
                | ColumnType::CalendarDate
                | ColumnType::FixedTimestamp
                | ColumnType::Point
                | ColumnType::RowId
                | ColumnType::RowVersion => None,
            },
        }
    }

    /// The value that a column of that type stores for a JSON string.
    pub(super) fn accept_text(kind: ColumnType, text: &str) -> Option<Cell> {
        match kind {
            ColumnType::Text => Some(Cell::text(text)),
            ColumnType::Number => Decimal::parse(text).map(Cell::number),
            ColumnType::CalendarDate => parse_floating(text).map(Cell::Floating),
            ColumnType::FixedTimestamp => parse_fixed(text).map(Cell::Fixed),
            ColumnType::Url | ColumnType::Location => Some(Cell::Null),
            ColumnType::Checkbox
            | ColumnType::Point
            | ColumnType::RowId
            | ColumnType::RowVersion => None,
        }
    }

    /// The value that a column of that type stores for a CSV field. In CSV a checkbox is a word.
    pub(super) fn accept_csv(kind: ColumnType, field: &str) -> Option<Cell> {
        match (kind, field) {
            (_, "") => Some(Cell::Null),
            (ColumnType::Checkbox, _) => Cell::accept(kind, &field.to_lowercase()),
            (ColumnType::Point, _) => Cell::accept(kind, field),
            _ => Cell::accept_text(kind, field),
        }
    }

    fn accept_structure(kind: ColumnType, value: Value) -> Option<Cell> {
        match kind {
            ColumnType::Point => value.is_object().then(|| Cell::Json(Arc::new(value))),
            ColumnType::Url | ColumnType::Location if value.is_object() => {
                Some(Cell::Json(Arc::new(value)))
            }
            ColumnType::Url | ColumnType::Location => Some(Cell::Null),
            _ => None,
        }
    }

    /// The value as written in JSON output; `None` for null, which is left out.
    pub(super) fn json(&self, ids: &RowIds) -> Option<Value> {
        match self {
            Cell::Null => None,
            Cell::Bool(value) => Some(Value::Bool(*value)),
            Cell::Json(value) => Some((**value).clone()),
            other => other.plain(ids).map(Value::String),
        }
    }

    /// The value as plain text, for a CSV field or a row identifier in a path; `None` for null.
    pub(super) fn plain(&self, ids: &RowIds) -> Option<String> {
        Some(match self {
            Cell::Null => return None,
            Cell::Bool(value) => value.to_string(),
            Cell::Small(..) | Cell::Wide(_) => self.decimal()?.text(),
            Cell::Text(text) => text.to_string(),
            Cell::Floating(at) => time_text(*at),
            Cell::Fixed(at) => format!("{}Z", time_text(*at)),
            Cell::RowId(sid) => ids.row(*sid),
            Cell::Version(version) => ids.version(*version),
            Cell::Json(value) => value.to_string(),
        })
    }

    fn rank(&self) -> u8 {
        match self {
            Cell::Bool(_) => 0,
            Cell::Small(..) | Cell::Wide(_) => 1,
            Cell::Text(_) => 2,
            Cell::Floating(_) => 3,
            Cell::Fixed(_) => 4,
            Cell::RowId(_) => 5,
            Cell::Version(_) => 6,
            Cell::Json(_) => 7,
            Cell::Null => 8,
        }
    }
}

/// By value within a type. Null comes last, as in `ORDER BY … ASC NULLS LAST`.
impl Ord for Cell {
    fn cmp(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
            (Cell::Floating(a), Cell::Floating(b)) | (Cell::Fixed(a), Cell::Fixed(b)) => a.cmp(b),
            (Cell::RowId(a), Cell::RowId(b)) | (Cell::Version(a), Cell::Version(b)) => a.cmp(b),
            (Cell::Bool(a), Cell::Bool(b)) => a.cmp(b),
            (Cell::Json(a), Cell::Json(b)) => a.to_string().cmp(&b.to_string()),
            _ => match (self.decimal(), other.decimal()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Cell) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cell {}

/// Parses `YYYY-MM-DD`, optionally with `T` and a time to the minute, second or fraction, never
/// with a zone.
pub(super) fn parse_floating(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let time = match time {
        None => NaiveTime::MIN,
        Some(time) => ["%H:%M:%S%.f", "%H:%M"]
            .iter()
            .find_map(|format| NaiveTime::parse_from_str(time, format).ok())?,
    };
    Some(date.and_time(time).and_utc().timestamp_millis())
}

/// Parses an ISO time with any offset. Without an offset it is UTC.
pub(super) fn parse_fixed(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .ok()
        .or_else(|| parse_floating(text))
}

/// `YYYY-MM-DDTHH:MM:SS.mmm`
pub(super) fn time_text(at: i64) -> String {
    let time: NaiveDateTime = DateTime::from_timestamp_millis(at)
        .unwrap_or_default()
        .naive_utc();
    time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(kind: &str, raw: &str) -> String {
        let kind = ColumnType::named(kind).unwrap();
        match Cell::accept(kind, raw) {
            None => "maltyped".to_owned(),
            Some(cell) => cell
                .json(&RowIds::new("t"))
                .map_or("null".to_owned(), |value| value.to_string()),
        }
    }

    #[test]
    fn each_type_accepts_what_the_server_accepts_in_canonical_form() {
        for (kind, sent, published) in [
            ("text", "\"a\"", "\"a\""),
            ("text", "4.50", "\"4.50\""),
            ("text", "true", "maltyped"),
            ("text", "\"e\\u0301\\u0000\"", "\"é\""),
            ("number", "4.50", "\"4.50\""),
            ("number", "\"1e2\"", "\"100\""),
            ("number", "\"x\"", "maltyped"),
            ("checkbox", "true", "true"),
            ("checkbox", "\"true\"", "maltyped"),
            ("checkbox", "1", "maltyped"),
            (
                "calendar_date",
                "\"2021-06-01\"",
                "\"2021-06-01T00:00:00.000\"",
            ),
            (
                "calendar_date",
                "\"2021-06-01T00:15:00.5\"",
                "\"2021-06-01T00:15:00.500\"",
            ),
            ("calendar_date", "\"2021-06-01T00:15:00Z\"", "maltyped"),
            ("calendar_date", "1622505600", "maltyped"),
            (
                "date",
                "\"2021-06-01T00:15:00-05:00\"",
                "\"2021-06-01T05:15:00.000Z\"",
            ),
            ("location", "\"nowhere\"", "null"),
            ("number", "null", "null"),
        ] {
            assert_eq!(read_back(kind, sent), published, "{sent} as {kind}");
        }
    }

    #[test]
    fn null_sorts_last() {
        let mut cells = [Cell::Null, Cell::text("b"), Cell::text("a")];
        cells.sort();
        assert_eq!(cells, [Cell::text("a"), Cell::text("b"), Cell::Null]);
    }
}
