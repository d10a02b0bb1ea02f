//! The city's clock: quarter hours and instants of a local day, and the offset that each source
//! writes. Cameras know the instant. Bluetooth readers and radars know only the wall time, and
//! their writer uses `-06:00` for both passes of the hour that is repeated in autumn.

use chrono::{DateTime, Duration, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use super::Quirks;
use crate::model::Day;

/// The city's time zone.
pub const ZONE: Tz = chrono_tz::America::Chicago;

/// A wall time, and the offset written after it, in hours west of Greenwich.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) wall: NaiveDateTime,
    pub(super) west: u8,
}

impl Stamp {
    /// The stamp of a device that knows the instant.
    pub(super) fn of(instant: DateTime<Utc>) -> Self {
        let local = instant.with_timezone(&ZONE);
        let west = -local.offset().fix().local_minus_utc() / 3600;
        Self {
            wall: local.naive_local(),
            west: u8::try_from(west).unwrap_or(6),
        }
    }

    /// The stamp of a device that knows only the wall time.
    pub(super) fn of_wall(wall: NaiveDateTime) -> Self {
        match ZONE.from_local_datetime(&wall).single() {
            Some(local) => Self::of(local.with_timezone(&Utc)),
            None => Self { wall, west: 6 },
        }
    }
}

/// Whether the instant is in the second pass of the hour that is repeated in autumn.
pub(super) fn is_second_pass(instant: DateTime<Utc>) -> bool {
    let wall = instant.with_timezone(&ZONE).naive_local();
    let first = ZONE.from_local_datetime(&wall).earliest();
    first.is_some_and(|first| first.with_timezone(&Utc) < instant)
}

/// Whether the instant's wall time occurs twice that day.
pub(super) fn is_repeated(instant: DateTime<Utc>) -> bool {
    let wall = instant.with_timezone(&ZONE).naive_local();
    ZONE.from_local_datetime(&wall).single().is_none()
}

/// The starts of the day's quarter hours: 96, or 92 and 100 when the clock changes. Without quirks
/// there are none in the second pass of a repeated hour.
pub(super) fn quarters(day: Day, quirks: Quirks) -> Vec<DateTime<Utc>> {
    let (start, end) = (day.start(ZONE), day.end(ZONE));
    let count = i32::try_from((end - start).num_minutes() / 15).unwrap_or(0);
    let quarters = (0..count).map(|quarter| start + Duration::minutes(15) * quarter);
    match quirks {
        Quirks::Real => quarters.collect(),
        Quirks::None => quarters.filter(|at| !is_second_pass(*at)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_changes_add_and_remove_quarter_hours() {
        for (day, with, without) in [
            ("2020-03-08", 92, 92),
            ("2020-06-01", 96, 96),
            ("2020-11-01", 100, 96),
        ] {
            let day: Day = day.parse().unwrap();
            assert_eq!(quarters(day, Quirks::Real).len(), with);
            assert_eq!(quarters(day, Quirks::None).len(), without);
        }
    }

    #[test]
    fn only_cameras_distinguish_the_passes_of_the_repeated_hour() {
        let first: DateTime<Utc> = "2020-11-01T06:30:00Z".parse().unwrap();
        let second = first + Duration::hours(1);
        assert_eq!((Stamp::of(first).west, Stamp::of(second).west), (5, 6));
        assert_eq!(Stamp::of(first).wall, Stamp::of(second).wall);
        assert_eq!(Stamp::of_wall(Stamp::of(first).wall).west, 6);
        assert!(!is_second_pass(first) && is_second_pass(second));
        assert!(is_repeated(first) && is_repeated(second));
    }
}
