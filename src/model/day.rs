//! Local calendar days, the unit of all work. A day is the half-open interval from one local
//! midnight to the next in the time zone of its dataset. It is 23 to 25 hours long.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A calendar day in the time zone of its dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(NaiveDate);

/// A text that is not a day of the form `2020-10-01`.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a date; expected one such as 2020-10-01")]
pub struct DayError {
    text: String,
}

impl Day {
    /// The day of this date.
    #[must_use]
    pub fn new(date: NaiveDate) -> Self {
        Self(date)
    }

    /// The day of a local wall time.
    #[must_use]
    pub fn of(wall: NaiveDateTime) -> Self {
        Self(wall.date())
    }

    /// The day of an instant in `zone`.
    #[must_use]
    pub fn at(instant: DateTime<Utc>, zone: Tz) -> Self {
        Self(instant.with_timezone(&zone).date_naive())
    }

    /// The calendar date.
    #[must_use]
    pub fn date(self) -> NaiveDate {
        self.0
    }

    /// The day `days` after this one, or before it if `days` is negative. Stops at the ends of the
    /// calendar.
    #[must_use]
    pub fn plus(self, days: i64) -> Self {
        let step = Days::new(days.unsigned_abs());
        let moved = if days < 0 {
            self.0.checked_sub_days(step).unwrap_or(NaiveDate::MIN)
        } else {
            self.0.checked_add_days(step).unwrap_or(NaiveDate::MAX)
        };
        Self(moved)
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// How many days `other` is after this day; negative if it is before.
    #[must_use]
    pub fn days_until(self, other: Self) -> i64 {
        other.0.signed_duration_since(self.0).num_days()
    }

    /// Local midnight as a naive wall time: the first wall time of the day on the portal.
    #[must_use]
    pub fn midnight(self) -> NaiveDateTime {
        self.0.and_time(NaiveTime::MIN)
    }

    /// The instant the day begins in `zone`. If the clock skips midnight, this is the first instant
    /// after the gap. If midnight occurs twice, it is the first of the two.
    #[must_use]
    pub fn start(self, zone: Tz) -> DateTime<Utc> {
        let midnight = self.midnight();
        (0..=8)
            .find_map(|quarter| {
                zone.from_local_datetime(&(midnight + Duration::minutes(15 * quarter)))
                    .earliest()
            })
            .map_or_else(|| midnight.and_utc(), |start| start.with_timezone(&Utc))
    }

    /// The instant the day ends in `zone`, exclusive: the start of the next day.
    #[must_use]
    pub fn end(self, zone: Tz) -> DateTime<Utc> {
        self.next().start(zone)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format("%Y-%m-%d").fmt(f)
    }
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .filter(|_| text.len() == 10)
            .map(Self)
            .ok_or_else(|| DayError { text: text.into() })
    }
}

/// A range of days: `from` inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    /// The first day.
    pub from: Day,
    /// The day after the last.
    pub to: Day,
}

impl DayRange {
    /// A range of one day.
    #[must_use]
    pub fn one(day: Day) -> Self {
        Self {
            from: day,
            to: day.next(),
        }
    }

    /// The days in order.
    #[must_use = "an iterator does nothing until it is used"]
    pub fn days(self) -> impl DoubleEndedIterator<Item = Day> {
        (0..self.from.days_until(self.to).max(0)).map(move |step| self.from.plus(step))
    }

    /// Whether `day` is one of them.
    #[must_use]
    pub fn contains(self, day: Day) -> bool {
        self.from <= day && day < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(day: &str, zone: Tz) -> i64 {
        let day: Day = day.parse().unwrap();
        (day.end(zone) - day.start(zone)).num_hours()
    }

    #[test]
    fn a_day_has_23_to_25_hours_by_its_zone() {
        let zone = chrono_tz::America::Chicago;
        assert_eq!(hours("2020-03-08", zone), 23);
        assert_eq!(hours("2020-11-01", zone), 25);
        assert_eq!(hours("2020-06-01", zone), 24);
    }

    #[test]
    fn a_day_without_a_midnight_begins_after_the_gap() {
        let zone = chrono_tz::America::Santiago;
        assert_eq!(hours("2019-09-08", zone), 23);
        let day: Day = "2019-09-08".parse().unwrap();
        assert_eq!(day.start(zone).to_rfc3339(), "2019-09-08T04:00:00+00:00");
    }

    #[test]
    fn only_whole_dates_are_days() {
        for text in ["2020-1-1", "2020-02-30", "", "2020-10-01T00", "20201001"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
