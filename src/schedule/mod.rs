//! Decides when a scheduled run is due, from a cron expression with seconds and an IANA time zone.
//! This module is pure: the caller passes in the time.
//!
//! A cron expression is about wall time, and most time zones skip or repeat an hour twice a year:
//!
//! - An expression with one time of day (`0 30 2 * * *`) runs once on every day it names. If the
//!   clock skips that time, it runs at the first instant after the gap. If the time occurs twice,
//!   it runs at the first.
//! - Any other expression (`0 */30 * * * *`) is an interval. It runs in both passes of a repeated
//!   hour, and runs that a gap skips are not made up.
//!
//! These questions do not arise while a zone's offset is constant. The next run is therefore
//! computed for the offset in force, and changes of the offset are handled separately. Cron
//! libraries that use the zone directly return times in the past within a repeated hour, or keep
//! the offset of the day they were started on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, MappedLocalTime, Offset as _, SubsecRound as _, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::model::DatasetName;
use crate::settings::Hours;

/// The kinds of scheduled runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// One grouped query. The days that changed are checked.
    Survey,
    /// Every day of the window is checked.
    Check,
    /// Every past day is checked in full, once per round.
    Audit,
}

impl Schedule {
    /// Every schedule.
    pub const ALL: [Self; 3] = [Self::Survey, Self::Check, Self::Audit];
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Survey => "survey",
            Self::Check => "check",
            Self::Audit => "audit",
        })
    }
}

/// A text that does not name a schedule.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a schedule; expected survey, check or audit")]
pub struct UnknownSchedule(String);

impl FromStr for Schedule {
    type Err = UnknownSchedule;

    fn from_str(text: &str) -> Result<Self, UnknownSchedule> {
        (Self::ALL.into_iter())
            .find(|schedule| schedule.to_string() == text)
            .ok_or_else(|| UnknownSchedule(text.into()))
    }
}

/// A text that is not a cron expression, or one that never occurs.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// Not a cron expression with seconds.
    #[error("{0}")]
    Parse(String),
    /// The expression names no existing date, such as 30 February.
    #[error("it never occurs")]
    Never,
}

/// A cron expression with seconds, in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    cron: croner::Cron,
    zone: Tz,
}

/// Changes of a zone's offset are always further apart than this.
const STRIDE: TimeDelta = TimeDelta::hours(6);

/// How far back to search for a run that was due, nearest first.
const SEARCH_BACK: [TimeDelta; 5] = [
    TimeDelta::minutes(1),
    TimeDelta::hours(1),
    TimeDelta::days(1),
    TimeDelta::days(32),
    TimeDelta::days(367),
];

impl Cron {
    /// Parses a cron expression with six fields, seconds first.
    ///
    /// # Errors
    /// If it is not a cron expression, or never occurs.
    pub fn new(text: &str, zone: Tz) -> Result<Self, CronError> {
        // The parser accepts empty list items, and then searches the whole calendar for a match.
        let is_empty_list = |field: &str| field.split(',').any(str::is_empty);
        if text.split_whitespace().any(is_empty_list) {
            return Err(CronError::Parse("a list has an empty item".into()));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| CronError::Parse(error.to_string()))?;
        let any_start = DateTime::UNIX_EPOCH;
        match cron.find_next_occurrence(&any_start, false) {
            Ok(_) => Ok(Self { cron, zone }),
            Err(_) => Err(CronError::Never),
        }
    }

    /// Whether it names one time of day, rather than an interval.
    fn is_fixed(&self) -> bool {
        self.cron.determine_job_type() == croner::JobType::FixedTime
    }

    /// The first run after an instant; `None` only at the end of the calendar.
    #[must_use]
    pub fn after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut base = instant.trunc_subsecs(0) + TimeDelta::seconds(1);
        loop {
            let local = base.with_timezone(&self.zone);
            let offset = local.offset().fix();
            let found = (self.cron)
                .find_next_occurrence(&base.with_timezone(&offset), true)
                .ok()?;
            let next = found.with_timezone(&Utc);
            match self.change_within(base, next) {
                None if self.is_fixed() && self.is_second_pass(next) => {
                    base = next + TimeDelta::seconds(1);
                }
                None => return Some(next),
                Some(change) => {
                    let wall_after = change.with_timezone(&self.zone).naive_local();
                    if self.is_fixed() && found.naive_local() < wall_after {
                        return Some(change);
                    }
                    base = change;
                }
            }
        }
    }

    /// The latest run after `instant` and not after `now`. Several missed runs count as one.
    #[must_use]
    pub fn latest(&self, instant: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let windows = SEARCH_BACK.iter().map(|back| now - *back);
        let starts = windows.filter(|start| *start > instant).chain([instant]);
        let due = |start| self.after(start).filter(|next| *next <= now);
        let mut latest = starts.into_iter().find_map(due)?;
        while let Some(next) = due(latest) {
            latest = next;
        }
        Some(latest)
    }

    /// The first instant after `from` and not after `to` with a different offset.
    fn change_within(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let offset = |at: DateTime<Utc>| at.with_timezone(&self.zone).offset().fix();
        let before = offset(from);
        let mut same = from;
        while same < to {
            let mut other = to.min(same + STRIDE);
            if offset(other) == before {
                same = other;
                continue;
            }
            while other - same > TimeDelta::seconds(1) {
                let middle = same + TimeDelta::seconds((other - same).num_seconds() / 2);
                if offset(middle) == before {
                    same = middle;
                } else {
                    other = middle;
                }
            }
            return Some(other);
        }
        None
    }

    fn is_second_pass(&self, instant: DateTime<Utc>) -> bool {
        let wall = instant.with_timezone(&self.zone).naive_local();
        match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Ambiguous(_, later) => later == instant,
            MappedLocalTime::Single(_) | MappedLocalTime::None => false,
        }
    }
}

/// The first instant at or after `from` that is within the hours, by the clock of `zone`.
#[must_use]
pub fn opening(hours: Hours, zone: Tz, from: DateTime<Utc>) -> DateTime<Utc> {
    let open = |at: DateTime<Utc>| hours.contains(at.with_timezone(&zone).time());
    if open(from) {
        return from;
    }
    let text = hours.from.format("%-S %-M %-H * * *").to_string();
    let next = Cron::new(&text, zone)
        .ok()
        .and_then(|cron| cron.after(from));
    next.unwrap_or(from)
}

/// How long a run waits after it is due, at most `max`, so that datasets do not all query the
/// portal in the same second. It is constant for a dataset and schedule.
#[must_use]
pub fn jitter(dataset: &DatasetName, schedule: Schedule, max: Duration) -> Duration {
    let hash = Sha256::digest(format!("{schedule} {dataset}"));
    let share = hash
        .first_chunk()
        .map_or(0, |four| u32::from_be_bytes(*four));
    max.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
