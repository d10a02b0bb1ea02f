//! When a scheduled run is due: cron with seconds, in an IANA zone. Pure: the caller brings the time.
//!
//! A cron text speaks of wall time, and twice a year most zones skip an hour or repeat one:
//!
//! - A text with one time of day (`0 30 2 * * *`) runs once on every day it names. Where the clock
//!   skips that time, it runs at the first moment after the gap; where the time comes twice, at the
//!   first.
//! - Any other text (`0 */30 * * * *`) is an interval: it goes on through both passes of a repeated
//!   hour, and nothing is made up for the times that a gap skips.
//!
//! Within one offset of a zone there are no such questions, so the next run is looked for in the
//! offset in force, and a change of offset on the way there is crossed by hand. Cron libraries that
//! ask the zone itself answer with times in the past inside a repeated hour, or keep the offset of
//! the day they were started on.

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

/// What is run by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// One grouped query; the days that changed are looked at.
    Survey,
    /// Every day of the window is looked at.
    Check,
    /// Every day of the past is looked at in full, once a round.
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

/// A text that names no schedule.
#[derive(Debug, thiserror::Error)]
#[error("read schedule {0:?}: want survey, check or audit")]
pub struct UnknownSchedule(String);

impl FromStr for Schedule {
    type Err = UnknownSchedule;

    fn from_str(text: &str) -> Result<Self, UnknownSchedule> {
        (Self::ALL.into_iter())
            .find(|schedule| schedule.to_string() == text)
            .ok_or_else(|| UnknownSchedule(text.into()))
    }
}

/// A text that is no cron, or never comes round.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// No cron with seconds.
    #[error("{0}")]
    Parse(String),
    /// Such as the 30th of February.
    #[error("this one never comes round")]
    Never,
}

/// Cron with seconds, in a zone.
#[derive(Clone, Debug)]
pub struct Cron {
    cron: croner::Cron,
    zone: Tz,
}

/// No two changes of a zone's offset are as near to each other.
const STRIDE: TimeDelta = TimeDelta::hours(6);

/// How far back a run that fell due is looked for, nearest first.
const LOOKING_BACK: [TimeDelta; 5] = [
    TimeDelta::minutes(1),
    TimeDelta::hours(1),
    TimeDelta::days(1),
    TimeDelta::days(32),
    TimeDelta::days(367),
];

impl Cron {
    /// Reads six cron fields, seconds first.
    ///
    /// # Errors
    /// If it is no cron, or one that never comes round.
    pub fn new(text: &str, zone: Tz) -> Result<Self, CronError> {
        // The parser takes a list of nothing for one, and then looks for it all over the calendar.
        let is_empty_list = |field: &str| field.split(',').any(str::is_empty);
        if text.split_whitespace().any(is_empty_list) {
            return Err(CronError::Parse("a list lacks a value".into()));
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

    /// Whether it names one time of day, as against an interval.
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

    /// The latest run after `instant` and not after `now`: what fell due in between, however often.
    #[must_use]
    pub fn latest(&self, instant: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let windows = LOOKING_BACK.iter().map(|back| now - *back);
        let starts = windows.filter(|start| *start > instant).chain([instant]);
        let due = |start| self.after(start).filter(|next| *next <= now);
        let mut latest = starts.into_iter().find_map(due)?;
        while let Some(next) = due(latest) {
            latest = next;
        }
        Some(latest)
    }

    /// The first instant after `from` and not after `to` at which the zone's offset is another.
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

/// The first instant at or after `from` that lies in the hours, by the clocks of `zone`.
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

/// How long a run waits after it fell due, at most `most`, so that not every dataset asks the portal
/// in the same second. Always the same for a dataset and schedule.
#[must_use]
pub fn jitter(dataset: &DatasetName, schedule: Schedule, most: Duration) -> Duration {
    let hash = Sha256::digest(format!("{schedule} {dataset}"));
    let share = hash
        .first_chunk()
        .map_or(0, |four| u32::from_be_bytes(*four));
    most.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
