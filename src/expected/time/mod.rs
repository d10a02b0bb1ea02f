//! Parses times as the publisher's parser did (arrow 0.17 for Python).
//!
//! A published time is the wall time as written: the fraction and the offset are dropped, and the
//! time is never converted to the local zone. The oldest radar keys hash the true instant, which
//! depends on the offset, so a [`Moment`] has both. Legacy writers only ever wrote `2019-10-04
//! 00:15:00-05:00`, with or without a fraction. The parser also accepts other forms. Some of these
//! no writer can have meant (a comma after the time, digits of other scripts). We refuse those: the
//! row becomes unpublishable rather than wrong.

#[cfg(test)]
mod tests;

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Weekday,
};

use super::json::{Kind, Raw};
use crate::model::two_digits;

/// A point in time, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The wall time, in whole seconds.
    pub wall: NaiveDateTime,
    /// Seconds east of UTC; 0 if no offset is written.
    offset: i32,
}

impl Moment {
    fn new(wall: NaiveDateTime, offset: i32) -> Self {
        Self { wall, offset }
    }

    /// Seconds since 1970 of the true instant. Without an offset the wall time is UTC.
    pub fn unix(&self) -> i64 {
        self.wall.and_utc().timestamp() - i64::from(self.offset)
    }

    /// Parses a JSON value.
    ///
    /// # Errors
    /// What was found instead of a time, as a phrase.
    pub fn read(raw: Raw<'_>) -> Result<Self, String> {
        let read = match raw.kind() {
            Kind::Text => match raw.plain() {
                Some(text) => usual(text).or_else(|| parse(text)),
                None => raw.text().and_then(|text| parse(&text)),
            },
            Kind::Number => raw.json().parse().ok().and_then(since_1970),
            Kind::Null | Kind::Bool | Kind::List | Kind::Object => {
                return Err(format!("is {}, not a time", raw.kind().name()));
            }
        };
        read.ok_or_else(|| format!("is not a time: {}", shown(raw.json())))
    }

    /// Parses a JSON value and writes its published form over `text`. In the usual form the two
    /// differ only in the separator between day and time.
    ///
    /// # Errors
    /// As [`Moment::read`].
    pub fn publish(raw: Raw<'_>, text: &mut String) -> Result<Self, String> {
        if let Some(written) = raw.plain()
            && let Some(moment) = usual(written)
            && moment.wall.year() >= 1000
        {
            text.clear();
            text.extend([&written[..10], "T", &written[11..19]]);
            return Ok(moment);
        }
        let moment = Self::read(raw)?;
        moment.write(text);
        Ok(moment)
    }

    /// Writes the published form over `text`: `2019-10-04T00:15:00`. Years before 1000 are as short
    /// as Python's `strftime` makes them.
    fn write(&self, text: &mut String) {
        let mut form = *b"0000-00-00T00:00:00";
        let [month, day, year, hour, minute, _] = self.parts();
        let numbers = [
            year / 100,
            year % 100,
            month,
            day,
            hour,
            minute,
            self.wall.second(),
        ];
        for (at, number) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(numbers) {
            form[at] += u8::try_from(number / 10).unwrap_or_default();
            form[at + 1] += u8::try_from(number % 10).unwrap_or_default();
        }
        let written = std::str::from_utf8(&form).unwrap_or_default();
        text.clear();
        text.push_str(if year < 1000 {
            written.trim_start_matches('0')
        } else {
            written
        });
    }

    /// Month, day, year, hour, minute, and the day of the week from Sunday (0) to Saturday (6).
    pub fn parts(&self) -> [u32; 6] {
        let wall = self.wall;
        [
            wall.month(),
            wall.day(),
            wall.year().unsigned_abs(),
            wall.hour(),
            wall.minute(),
            wall.weekday().num_days_from_sunday(),
        ]
    }

    /// The English name of the day of the week.
    pub fn day_name(&self) -> &'static str {
        match self.wall.weekday() {
            Weekday::Mon => "Monday",
            Weekday::Tue => "Tuesday",
            Weekday::Wed => "Wednesday",
            Weekday::Thu => "Thursday",
            Weekday::Fri => "Friday",
            Weekday::Sat => "Saturday",
            Weekday::Sun => "Sunday",
        }
    }
}

/// The beginning of a text, safe to show.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(60) {
        match c {
            ' '..='~' => shown.push(c),
            _ => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// Parses the form that every legacy writer uses, without a fraction: `2019-10-04 00:15:00-05:00`.
fn usual(text: &str) -> Option<Moment> {
    let bytes: &[u8; 25] = text.as_bytes().try_into().ok()?;
    let marks = [bytes[4], bytes[7], bytes[13], bytes[16], bytes[22]];
    if marks != *b"--:::" || !matches!(bytes[10], b' ' | b'T') {
        return None;
    }
    let two = |at: usize| two_digits([bytes[at], bytes[at + 1]]);
    let year = i32::try_from(two(0)? * 100 + two(2)?).ok()?;
    let time = NaiveTime::from_hms_opt(two(11)?, two(14)?, two(17)?)?;
    let date = calendar(year, two(5)?, two(8)?)?;
    Some(Moment::new(
        date.and_time(time),
        signed(bytes[19], two(20)?, two(23)?)?,
    ))
}

/// The number written by these ASCII digits; `None` if one is not a digit.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |sum, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The number written by a text of exactly `width` digits.
fn digits(text: &str, width: usize) -> Option<u32> {
    (text.len() == width).then(|| number(text.as_bytes()))?
}

/// A date within the years that Python supports.
fn calendar(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day).filter(|date| is_python_date(*date))
}

fn is_python_date(date: NaiveDate) -> bool {
    (1..=9999).contains(&date.year())
}

/// Seconds east of UTC, less than a day in either direction.
fn signed(sign: u8, hours: u32, minutes: u32) -> Option<i32> {
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    match sign {
        _ if seconds >= 86_400 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Parses any textual form that arrow accepts.
fn parse(text: &str) -> Option<Moment> {
    let blanks = text.matches(' ').count();
    if blanks > 1 || (blanks == 1 && text.contains('T')) {
        return None;
    }
    let Some((day, time)) = text.split_once(if blanks == 1 { ' ' } else { 'T' }) else {
        return Some(Moment::new(date(text)?.and_time(NaiveTime::MIN), 0));
    };
    let end = time.find(['+', '-', 'Z']).unwrap_or(time.len());
    let offset = offset(&time[end..])?;
    let (time, carry) = clock(&time[..end])?;
    let wall = date(day)?.and_time(time).checked_add_signed(carry)?;
    is_python_date(wall.date()).then(|| Moment::new(wall, offset))
}

/// Parses `Z`, `-05:00`, `-0500` or `-05`. No offset means UTC.
fn offset(text: &str) -> Option<i32> {
    if text.is_empty() || text == "Z" {
        return Some(0);
    }
    let (sign, rest) = (text.as_bytes()[0], &text[1..]);
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at_checked(2)?,
        _ => rest.split_once(':')?,
    };
    signed(sign, digits(hours, 2)?, digits(minutes, 2)?)
}

/// The time of day, and what must be added to it: a day for `24:00:00`, a second if the fraction
/// rounds up to one.
fn clock(text: &str) -> Option<(NaiveTime, TimeDelta)> {
    let (whole, fraction) = match text.find(['.', ',']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let parts = hours_minutes_seconds(whole)?;
    let micros = match fraction {
        None => 0,
        Some(fraction) if parts.len() == 3 => microseconds(fraction)?,
        Some(_) => return None,
    };
    let part = |at: usize| parts.get(at).copied().unwrap_or(0);
    if part(0) == 24 {
        let midnight = part(1) == 0 && part(2) == 0 && micros == 0;
        return midnight.then(|| (NaiveTime::MIN, TimeDelta::days(1)));
    }
    let carry = TimeDelta::seconds(i64::from(micros == 1_000_000));
    Some((NaiveTime::from_hms_opt(part(0), part(1), part(2))?, carry))
}

/// One to three numbers of two digits, with colons between all of them or none.
fn hours_minutes_seconds(text: &str) -> Option<Vec<u32>> {
    let parts: Vec<&[u8]> = if text.contains(':') {
        text.as_bytes().split(|&byte| byte == b':').collect()
    } else {
        text.as_bytes().chunks(2).collect()
    };
    if parts.len() > 3 || parts.is_empty() || parts.iter().any(|part| part.len() != 2) {
        return None;
    }
    parts.into_iter().map(number).collect()
}

/// The six most significant digits, rounded half to even by the seventh, as arrow does it.
fn microseconds(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut seven = [b'0'; 7];
    for (slot, digit) in seven.iter_mut().zip(fraction.bytes()) {
        *slot = digit;
    }
    let micros = number(&seven[..6])?;
    Some(match seven[6] {
        b'5' => micros + micros % 2,
        b'6'..=b'9' => micros + 1,
        _ => micros,
    })
}

/// Parses any form of a date: `2019-10-04`, `2019/10/4`, `20191004`, `2019-277`, `2019-10`, `2019`,
/// `2019-W40-5`.
fn date(text: &str) -> Option<NaiveDate> {
    if let Some((year, week)) = text.split_once(['W', 'w']) {
        return week_date(year, week);
    }
    let mark = text.chars().find(|c| matches!(c, '-' | '/' | '.'));
    let parts: Vec<&str> = match mark {
        Some(mark) => text.split(mark).collect(),
        None => return compact_date(text),
    };
    let year = |text| digits(text, 4).and_then(|year| i32::try_from(year).ok());
    match *parts.as_slice() {
        [of, month, day] => calendar(year(of)?, one_or_two(month)?, one_or_two(day)?),
        [of, month] if month.len() == 2 => calendar(year(of)?, digits(month, 2)?, 1),
        [of, day] if mark == Some('-') => day_of_year(year(of)?, digits(day, 3)?),
        _ => None,
    }
}

fn compact_date(text: &str) -> Option<NaiveDate> {
    let year = |text| digits(text, 4).and_then(|year| i32::try_from(year).ok());
    let (of, rest) = text.split_at_checked(4)?;
    match rest.len() {
        0 => calendar(year(of)?, 1, 1),
        3 => day_of_year(year(of)?, digits(rest, 3)?),
        4 => {
            let (month, day) = rest.split_at_checked(2)?;
            calendar(year(of)?, digits(month, 2)?, digits(day, 2)?)
        }
        _ => None,
    }
}

fn one_or_two(text: &str) -> Option<u32> {
    digits(text, 1).or_else(|| digits(text, 2))
}

/// Day 366 of a common year is the first of the next year, as in Python's `strptime`.
fn day_of_year(year: i32, day: u32) -> Option<NaiveDate> {
    if year < 1000 || !(1..=366).contains(&day) {
        return None;
    }
    calendar(year, 1, 1)?
        .checked_add_days(Days::new(u64::from(day - 1)))
        .filter(|date| is_python_date(*date))
}

/// Week 53 of a year with 52 weeks is the first of the next year. Without a day it means Monday.
fn week_date(year: &str, week: &str) -> Option<NaiveDate> {
    let year = digits(year.strip_suffix('-').unwrap_or(year), 4)?;
    let (week, day) = week.split_at_checked(2)?;
    let (week, day) = (digits(week, 2)?, day.strip_prefix('-').unwrap_or(day));
    let day = if day.is_empty() { 1 } else { digits(day, 1)? };
    if !(1..=53).contains(&week) || !(1..=7).contains(&day) {
        return None;
    }
    let fourth = calendar(i32::try_from(year).ok()?, 1, 4)?;
    let monday = fourth - Days::new(u64::from(fourth.weekday().num_days_from_monday()));
    monday
        .checked_add_days(Days::new(u64::from(week * 7 + day - 8)))
        .filter(|date| is_python_date(*date))
}

/// The largest number that arrow takes for seconds. Larger ones are milliseconds or microseconds.
const LAST_SECOND: f64 = 253_402_318_799.0;

/// Converts a number: seconds since 1970 in UTC, or milliseconds or microseconds if it is that
/// large.
fn since_1970(number: f64) -> Option<Moment> {
    let seconds = match number {
        _ if number.is_nan() => return None,
        _ if number <= LAST_SECOND => number,
        _ if number < LAST_SECOND * 1e3 => number / 1e3,
        _ if number < LAST_SECOND * 1e6 => number / 1e6,
        _ => return None,
    };
    // Round to microseconds, half to even, and then down to the second.
    let micros = (seconds.fract() * 1e6).round_ties_even();
    let carry = if micros >= 1e6 {
        1.0
    } else if micros < 0.0 {
        -1.0
    } else {
        0.0
    };
    let whole = seconds.trunc() + carry;
    if !(-62_135_596_800.0..=253_402_300_799.0).contains(&whole) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number within the range above"
    )]
    let unix = whole as i64;
    let wall = DateTime::from_timestamp(unix, 0)?.naive_utc();
    Some(Moment::new(wall, 0))
}
