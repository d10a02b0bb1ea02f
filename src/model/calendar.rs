//! A year as a calendar: a column per week, starting on Monday, and a row per weekday. The terminal
//! and the status page each draw it in their own way.

use chrono::{Datelike as _, NaiveDate};

use super::Day;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A calendar year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Year(i32);

impl Year {
    /// The year of a day.
    #[must_use]
    pub fn of(day: Day) -> Self {
        Self(day.date().year())
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// 1 January.
    #[must_use]
    pub fn first(self) -> Day {
        Day::new(NaiveDate::from_ymd_opt(self.0, 1, 1).unwrap_or(NaiveDate::MIN))
    }

    /// Its days in order.
    pub fn days(self) -> impl Iterator<Item = Day> {
        let first = self.first();
        let days = (0..366).map(move |number| first.plus(number));
        days.filter(move |day| Self::of(*day) == self)
    }

    /// The column of a day of this year: its week, from 0.
    #[must_use]
    pub fn week(self, day: Day) -> usize {
        let number = usize::try_from(self.first().days_until(day)).unwrap_or(0);
        (number + weekday(self.first())) / 7
    }

    /// The number of columns: 53, or 54 in a leap year that begins on a Sunday.
    #[must_use]
    pub fn weeks(self) -> usize {
        self.days().last().map_or(0, |last| self.week(last) + 1)
    }

    /// Each month's short name, and the column of its first day.
    pub fn months(self) -> impl Iterator<Item = (&'static str, usize)> {
        let firsts = self.days().filter(|day| day.date().day() == 1);
        MONTHS
            .into_iter()
            .zip(firsts.map(move |day| self.week(day)))
    }
}

/// The row of a day: 0 for Monday to 6 for Sunday.
#[must_use]
pub fn weekday(day: Day) -> usize {
    day.date().weekday().num_days_from_monday() as usize
}

/// `Oct 14`, for use next to a calendar that shows the year.
#[must_use]
pub fn month_and_day(day: Day) -> String {
    let month = MONTHS[day.date().month0() as usize % MONTHS.len()];
    format!("{month} {}", day.date().day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_own_place_next_to_its_neighbours() {
        for year in (1990..2040).map(Year) {
            let places: Vec<_> = (year.days())
                .map(|day| (year.week(day), weekday(day)))
                .collect();
            assert!(matches!(places.len(), 365 | 366), "{year:?}");
            assert_eq!(places[0].0, 0);
            assert!(matches!(year.weeks(), 53 | 54), "{year:?}");
            for pair in places.windows(2) {
                let ((week, row), next) = (pair[0], pair[1]);
                let follows = if row == 6 {
                    (week + 1, 0)
                } else {
                    (week, row + 1)
                };
                assert_eq!(next, follows, "{year:?}");
            }
        }
    }

    #[test]
    fn months_are_labelled_above_their_first_day() {
        let months: Vec<_> = Year(2020).months().collect();
        assert_eq!(months.len(), 12);
        assert_eq!(months[0], ("Jan", 0));
        assert_eq!(months[9], ("Oct", 39));
        let day = "2020-10-14".parse().unwrap();
        assert_eq!(month_and_day(day), "Oct 14");
    }
}
