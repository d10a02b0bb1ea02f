//! Instants as text: in the formats that programs write, and as PostgreSQL prints those far from
//! the present.
//!
//! `infinity`, `-infinity` and years outside the supported range are represented by the open ends
//! [`OPEN_BEGIN`] and [`OPEN_END`].

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::BoxError;
use crate::model::{OPEN_BEGIN, OPEN_END};

/// Instants after this year count as the open end.
const LAST_YEAR: i32 = 190_000;

/// Local clocks are at most this far ahead of UTC.
const AHEAD: TimeDelta = TimeDelta::hours(14);
/// Local clocks are at most this far behind UTC.
const BEHIND: TimeDelta = TimeDelta::hours(12);

pub(super) fn instant_text(instant: DateTime<Utc>) -> String {
    if instant >= OPEN_END {
        return "infinity".into();
    }
    if instant <= OPEN_BEGIN {
        return "-infinity".into();
    }
    let rest = instant.format("%m-%dT%H:%M:%S%.6fZ");
    match instant.year() {
        year @ 1.. => format!("{year:04}-{rest}"),
        year => format!("{:04}-{rest} BC", 1 - year),
    }
}

/// Reads an instant: with `T` or a space, with or without a fraction, with `Z` or an offset.
pub(super) fn read_instant(text: &str) -> Result<DateTime<Utc>, BoxError> {
    open(text)
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(Into::into))
        .or_else(|| with_year(text))
        .ok_or_else(|| {
            format!(
                "{text:?} is not an instant, expected a date, a time and an offset: \
                 2020-10-01T05:00:00Z"
            )
            .into()
        })
}

fn open(text: &str) -> Option<DateTime<Utc>> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" => Some(OPEN_END),
        "-infinity" => Some(OPEN_BEGIN),
        _ => None,
    }
}

/// Reads a year of any length, with ` BC` after the text for years before the year 1.
fn with_year(text: &str) -> Option<DateTime<Utc>> {
    let (text, is_bc) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (year, rest) = text.split_once('-')?;
    if !(4..=6).contains(&year.len()) || !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year: i32 = year.parse().ok()?;
    let is_beyond = year > LAST_YEAR;
    let year = match (is_bc, is_beyond) {
        (_, true) => 2000,
        (true, false) => 1 - year,
        (false, false) => year,
    };
    let text = format!("{year:+05}-{}", rest.replacen('T', " ", 1));
    let instant = DateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
    Some(match (is_bc, is_beyond) {
        (_, false) => instant.to_utc(),
        (true, true) => OPEN_BEGIN,
        (false, true) => OPEN_END,
    })
}

/// The earliest and the latest instant that a text can mean. They differ if it has no offset;
/// `None` if it is not a time at all.
#[must_use]
pub fn earliest_and_latest(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if let Ok(instant) = read_instant(text) {
        return Some((instant, instant));
    }
    let wall = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let midnight = || {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(date.and_time(NaiveTime::MIN))
    };
    let wall = wall.or_else(midnight)?;
    let earliest = wall.checked_sub_signed(AHEAD)?.and_utc();
    let latest = wall.checked_add_signed(BEHIND)?.and_utc();
    Some((earliest, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_any_program_writes_them() {
        let expected: DateTime<Utc> = "2020-11-01T05:00:00.5Z".parse().unwrap();
        for text in [
            "2020-11-01T05:00:00.5Z",
            "2020-11-01T00:00:00.500-05:00",
            "2020-11-01 05:00:00.5+00",
            "2020-11-01 05:00:00.500000+00:00",
            &instant_text(expected),
        ] {
            assert_eq!(read_instant(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_without_an_offset_is_not_an_instant() {
        for text in [
            "2020-11-01T05:00:00",
            "2020-11-01",
            "",
            "now",
            "99-01-01 00:00:00+00",
        ] {
            assert!(read_instant(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_far_from_now_are_written_as_they_are_read() {
        for (text, expected) in [
            ("infinity", OPEN_END),
            ("-infinity", OPEN_BEGIN),
            ("294276-12-31 23:59:59.999999+00", OPEN_END),
            (
                "12000-01-01 00:00:00+00",
                "+12000-01-01T00:00:00Z".parse().unwrap(),
            ),
            (
                "0044-03-15 12:00:00+00 BC",
                "-0043-03-15T12:00:00Z".parse().unwrap(),
            ),
            (
                "4713-01-01 00:00:00+00 BC",
                "-4712-01-01T00:00:00Z".parse().unwrap(),
            ),
        ] {
            assert_eq!(read_instant(text).unwrap(), expected, "{text}");
            assert_eq!(
                read_instant(&instant_text(expected)).unwrap(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_time_without_an_offset_has_an_earliest_and_a_latest_instant() {
        let (first, last) = earliest_and_latest("2020-06-02 05:00:00").unwrap();
        assert_eq!(instant_text(first), "2020-06-01T15:00:00.000000Z");
        assert_eq!(instant_text(last), "2020-06-02T17:00:00.000000Z");
        let (first, last) = earliest_and_latest("2020-06-02").unwrap();
        assert_eq!(instant_text(first), "2020-06-01T10:00:00.000000Z");
        assert_eq!(instant_text(last), "2020-06-02T12:00:00.000000Z");
        assert_eq!(earliest_and_latest("soon"), None);
    }
}
