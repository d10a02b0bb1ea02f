//! Local calendar days. All work is cut into them: a day is the half-open time from one local
//! midnight to the next, 23 to 25 hours long, in the zone of its dataset.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A calendar day in the dataset's own zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(NaiveDate);

/// A text that is not a day of the form `2020-10-01`.
#[derive(Debug, thiserror::Error)]
#[error("read day {text:?}: want a date such as 2020-10-01")]
pub struct DayError {
    text: String,
}

impl Day {
    /// The day of this date.
    #[must_use]
    pub fn new(date: NaiveDate) -> Self {
        Self(date)
    }

    /// The day on which a local wall time falls.
    #[must_use]
    pub fn of(wall: NaiveDateTime) -> Self {
        Self(wall.date())
    }

    /// The day that an instant falls on in `zone`.
    #[must_use]
    pub fn at(instant: DateTime<Utc>, zone: Tz) -> Self {
        Self(instant.with_timezone(&zone).date_naive())
    }

    /// The calendar date.
    #[must_use]
    pub fn date(self) -> NaiveDate {
        self.0
    }

    /// The day `days` after this one (before, if negative). Stops at the calendar's ends.
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

    /// How many days `other` lies after this day (negative if before).
    #[must_use]
    pub fn days_until(self, other: Self) -> i64 {
        other.0.signed_duration_since(self.0).num_days()
    }

    /// Local midnight as naive wall time: the day's first wall time on the portal.
    #[must_use]
    pub fn midnight(self) -> NaiveDateTime {
        self.0.and_time(NaiveTime::MIN)
    }

    /// The instant the day begins in `zone`. Where the clock skips midnight, the first instant
    /// after the gap; where midnight comes twice, the first of the two.
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

    /// The instant the day ends in `zone`, exclusive: the start of the next.
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

/// A run of days: `from` inclusive, `to` exclusive, as in the by-hand procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    /// The first day.
    pub from: Day,
    /// The day after the last.
    pub to: Day,
}

impl DayRange {
    /// The one day `day`.
    #[must_use]
    pub fn one(day: Day) -> Self {
        Self {
            from: day,
            to: day.next(),
        }
    }

    /// The days in order.
    #[must_use]
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
    fn a_day_has_the_hours_its_zone_gives_it() {
        let zone = chrono_tz::America::Chicago;
        assert_eq!(hours("2020-03-08", zone), 23);
        assert_eq!(hours("2020-11-01", zone), 25);
        assert_eq!(hours("2020-06-01", zone), 24);
    }

    #[test]
    fn a_day_without_midnight_begins_after_the_gap() {
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
