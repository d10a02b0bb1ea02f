//! What the daemon is doing right now, and why it waits. The status page, the API, the metrics and
//! the service manager's status line all read this shared state.
//!
//! Only the daemon writes it; everyone else takes a [`Snapshot`]. Nothing is decided here, and
//! nothing is kept across restarts: that is what the ledger is for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;

use crate::compare::Depth;
use crate::model::{DatasetName, Day};
use crate::reconcile::Service;
use crate::schedule::Schedule;

/// What the daemon as a whole is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Opening ledger, lake, catalog and portal.
    #[default]
    Starting,
    /// Nothing is due.
    Idle,
    /// Checking or repairing dataset-days.
    Working,
    /// A service does not answer; due work waits.
    Paused,
    /// Shutting down: finishing the current step.
    Draining,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Paused => "paused",
            Self::Draining => "draining",
        })
    }
}

/// Why no new work is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// The service that failed.
    pub reason: Service,
    /// The error, in a sentence.
    pub why: String,
    /// Start of the pause (UTC).
    pub since: DateTime<Utc>,
    /// Time of the next attempt (UTC).
    pub until: DateTime<Utc>,
}

/// A dataset-day in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InWork {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// How closely it is checked.
    pub depth: Depth,
    /// Whether it is being repaired, not only checked.
    pub repairing: bool,
    /// When it was started (UTC).
    pub since: DateTime<Utc>,
}

/// Progress of the current round of work: from an empty queue to the next empty queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Round {
    /// Dataset-days done.
    pub done: u64,
    /// Dataset-days done, in progress, or ready to be started.
    pub total: u64,
    /// When it started (UTC).
    pub began: DateTime<Utc>,
}

impl Round {
    /// Estimated time left at the pace so far; `None` until a day is done.
    #[must_use]
    pub fn left(&self, now: DateTime<Utc>) -> Option<Duration> {
        let spent = (now - self.began).to_std().ok()?;
        let done = u32::try_from(self.done).ok().filter(|done| *done > 0)?;
        let left = u32::try_from(self.total.saturating_sub(self.done)).ok()?;
        (spent / done).checked_mul(left)
    }
}

/// One schedule of one dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScheduleStatus {
    /// The dataset.
    pub dataset: DatasetName,
    /// Which schedule.
    pub schedule: Schedule,
    /// Next due time (UTC).
    pub next: Option<DateTime<Utc>>,
    /// Last due time (UTC).
    pub due: Option<DateTime<Utc>>,
    /// When a run last succeeded, with all its days checked (UTC).
    pub succeeded: Option<DateTime<Utc>>,
    /// Why the due run has not succeeded: it failed, or takes too long.
    pub unfulfilled: Option<String>,
}

/// What the daemon is doing at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The current phase.
    pub phase: Phase,
    /// Why no new work is started, if it is not.
    pub paused: Option<Pause>,
    /// The dataset-days in progress, longest first.
    pub in_work: Vec<InWork>,
    /// Progress of the current round, if there is one.
    pub round: Option<Round>,
    /// Dataset-days in the queue, including those in progress and those not due yet.
    pub queued: u64,
    /// When the next waiting dataset-day is due (UTC).
    pub next_due: Option<DateTime<Utc>>,
    /// The schedules, by dataset.
    pub schedules: Vec<ScheduleStatus>,
    /// When the main loop last ran (UTC). It runs every few seconds, whatever happens.
    pub turned: Option<DateTime<Utc>>,
}

impl Snapshot {
    /// One line for people: what is being done, the progress, and why the daemon waits.
    #[must_use]
    pub fn line(&self, now: DateTime<Utc>) -> String {
        match (self.phase, &self.paused) {
            (Phase::Starting, None) => "starting".into(),
            (Phase::Starting | Phase::Idle | Phase::Working | Phase::Paused, Some(pause)) => {
                let left = whole_seconds((pause.until - now).to_std().unwrap_or_default());
                format!(
                    "waiting for the {}, retrying in {left}: {}",
                    pause.reason, pause.why
                )
            }
            (Phase::Idle | Phase::Paused, None) => self.idle(),
            (Phase::Working, None) => self.working(now),
            (Phase::Draining, _) => match self.in_work.len() {
                0 => "shutting down".into(),
                days => format!("shutting down: finishing the current step of {days} dataset-days"),
            },
        }
    }

    fn idle(&self) -> String {
        let next = (self.schedules.iter())
            .filter_map(|one| Some((one.next?, one)))
            .min_by_key(|(at, _)| *at);
        let waiting = match self.queued {
            0 => String::new(),
            days => format!(", {days} dataset-days not due yet"),
        };
        match next {
            Some((at, one)) => {
                let at = at.format("%H:%M:%S UTC");
                format!("idle until {at}: {} {}{waiting}", one.schedule, one.dataset)
            }
            None => format!("idle{waiting}"),
        }
    }

    fn working(&self, now: DateTime<Utc>) -> String {
        let mut line = match &self.round {
            Some(round) => {
                let left = round.left(now).map(whole_seconds);
                let left = left.map_or(String::new(), |left| format!(", {left} left"));
                format!("{} of {} dataset-days done{left}", round.done, round.total)
            }
            None => "working".into(),
        };
        if let Some(longest) = self.in_work.first() {
            let act = if longest.repairing {
                "repairing"
            } else {
                "checking"
            };
            line = format!("{line}; {act} {} {}", longest.dataset, longest.day);
        }
        line
    }
}

/// Whole seconds, for people.
fn whole_seconds(length: Duration) -> String {
    humantime::format_duration(Duration::from_secs(length.as_secs())).to_string()
}

/// The state that the daemon and its readers share.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    now: Arc<Mutex<Snapshot>>,
}

impl Activity {
    /// The current state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.now.lock().clone()
    }

    /// Changes the state. `change` must be quick and must not block.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.now.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn round() -> Round {
        Round {
            done: 10,
            total: 40,
            began: at("2020-10-01T10:00:00Z"),
        }
    }

    #[test]
    fn the_time_left_follows_from_the_pace_so_far() {
        let left = round().left(at("2020-10-01T10:01:00Z"));
        assert_eq!(left, Some(Duration::from_mins(3)));
        let none_done = Round { done: 0, ..round() };
        assert_eq!(none_done.left(at("2020-10-01T10:01:00Z")), None);
    }

    #[test]
    fn the_line_shows_the_work_and_the_reason_for_waiting() {
        let now = at("2020-10-01T10:01:00Z");
        let mut picture = Snapshot {
            phase: Phase::Working,
            round: Some(round()),
            in_work: vec![InWork {
                dataset: "camera-counts".parse().unwrap(),
                day: "2020-09-30".parse().unwrap(),
                depth: Depth::Keys,
                repairing: true,
                since: now,
            }],
            ..Snapshot::default()
        };
        assert_eq!(
            picture.line(now),
            "10 of 40 dataset-days done, 3m left; repairing camera-counts 2020-09-30"
        );
        picture.paused = Some(Pause {
            reason: Service::Portal,
            why: "connection refused".into(),
            since: now,
            until: at("2020-10-01T10:01:30Z"),
        });
        assert_eq!(
            picture.line(now),
            "waiting for the portal, retrying in 30s: connection refused"
        );
        let idle = Snapshot {
            phase: Phase::Idle,
            queued: 2,
            schedules: vec![ScheduleStatus {
                dataset: "camera-counts".parse().unwrap(),
                schedule: Schedule::Survey,
                next: Some(at("2020-10-01T10:30:00Z")),
                due: None,
                succeeded: None,
                unfulfilled: None,
            }],
            ..Snapshot::default()
        };
        assert_eq!(
            idle.line(now),
            "idle until 10:30:00 UTC: survey camera-counts, 2 dataset-days not due yet"
        );
    }
}
