//! What the daemon is doing right now, and why it waits: one shared picture that the status page,
//! the API, the metrics and the service manager's status line all read.
//!
//! The daemon writes it, everyone else only takes a [`Snapshot`]. Nothing here decides anything, and
//! nothing of it outlives the program: what must, is in the ledger.

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

/// What the daemon as a whole is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Opening ledger, lake, catalog and portal.
    #[default]
    Starting,
    /// Nothing is due.
    Idle,
    /// Dataset-days are looked at or mended.
    Working,
    /// A service does not answer; what is due waits.
    Paused,
    /// Asked to end: finishing the step in hand.
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

/// Why nothing new is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// The service that failed.
    pub reason: Service,
    /// How it failed, in a sentence.
    pub why: String,
    /// Since when (UTC).
    pub since: DateTime<Utc>,
    /// When it is tried again (UTC).
    pub until: DateTime<Utc>,
}

/// A dataset-day in work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InWork {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local day.
    pub day: Day,
    /// How closely it is looked at.
    pub depth: Depth,
    /// Whether it is being mended, as against looked at.
    pub mending: bool,
    /// Since when (UTC).
    pub since: DateTime<Utc>,
}

/// How far the present stretch of work is: from an empty queue to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Round {
    /// Dataset-days done.
    pub done: u64,
    /// Dataset-days done, in work and ready to be done.
    pub total: u64,
    /// When it began (UTC).
    pub began: DateTime<Utc>,
}

impl Round {
    /// How long the rest will take at the pace so far; `None` until a day is done.
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
    /// When it is due next (UTC).
    pub next: Option<DateTime<Utc>>,
    /// When it was due last (UTC).
    pub due: Option<DateTime<Utc>>,
    /// When it last succeeded: its days were all looked at (UTC).
    pub succeeded: Option<DateTime<Utc>>,
    /// Why the run that is due has not succeeded: one failed, or it takes too long.
    pub unfulfilled: Option<String>,
}

/// What the daemon is doing at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// What it is at.
    pub phase: Phase,
    /// Why nothing new is begun, if so.
    pub paused: Option<Pause>,
    /// The dataset-days in work, the longest first.
    pub in_work: Vec<InWork>,
    /// How far the present stretch of work is, if there is one.
    pub round: Option<Round>,
    /// Dataset-days on the queue, those in work and those that wait for their hour included.
    pub queued: u64,
    /// When the next waiting dataset-day is due (UTC).
    pub next_due: Option<DateTime<Utc>>,
    /// The schedules, by dataset.
    pub schedules: Vec<ScheduleStatus>,
    /// When the loop turned last (UTC). It turns every few seconds, whatever happens.
    pub turned: Option<DateTime<Utc>>,
}

impl Snapshot {
    /// One line for a person: what is done, how far it is, and why it waits.
    #[must_use]
    pub fn line(&self, now: DateTime<Utc>) -> String {
        match (self.phase, &self.paused) {
            (Phase::Starting, None) => "starting".into(),
            (Phase::Starting | Phase::Idle | Phase::Working | Phase::Paused, Some(pause)) => {
                let left = spell((pause.until - now).to_std().unwrap_or_default());
                format!(
                    "waits for the {}, tries again in {left}: {}",
                    pause.reason, pause.why
                )
            }
            (Phase::Idle | Phase::Paused, None) => self.idle(),
            (Phase::Working, None) => self.working(now),
            (Phase::Draining, _) => match self.in_work.len() {
                0 => "ending".into(),
                days => format!("ending: finishing the step in hand on {days} dataset-days"),
            },
        }
    }

    fn idle(&self) -> String {
        let next = (self.schedules.iter())
            .filter_map(|one| Some((one.next?, one)))
            .min_by_key(|(at, _)| *at);
        let waiting = match self.queued {
            0 => String::new(),
            days => format!(", {days} dataset-days wait for their hour"),
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
                let left = round.left(now).map(spell);
                let left = left.map_or(String::new(), |left| format!(", {left} left"));
                format!("{} of {} dataset-days done{left}", round.done, round.total)
            }
            None => "at work".into(),
        };
        if let Some(longest) = self.in_work.first() {
            let act = if longest.mending { "mends" } else { "looks at" };
            line = format!("{line}; {act} {} {}", longest.dataset, longest.day);
        }
        line
    }
}

/// Whole seconds, for people.
fn spell(length: Duration) -> String {
    humantime::format_duration(Duration::from_secs(length.as_secs())).to_string()
}

/// The shared picture.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    now: Arc<Mutex<Snapshot>>,
}

impl Activity {
    /// The picture at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.now.lock().clone()
    }

    /// Changes it. `change` is quick and calls nobody.
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
    fn the_rest_of_a_round_takes_as_long_as_its_pace_says() {
        let left = round().left(at("2020-10-01T10:01:00Z"));
        assert_eq!(left, Some(Duration::from_mins(3)));
        let none_done = Round { done: 0, ..round() };
        assert_eq!(none_done.left(at("2020-10-01T10:01:00Z")), None);
    }

    #[test]
    fn the_line_says_what_is_done_and_why_it_waits() {
        let now = at("2020-10-01T10:01:00Z");
        let mut picture = Snapshot {
            phase: Phase::Working,
            round: Some(round()),
            in_work: vec![InWork {
                dataset: "camera-counts".parse().unwrap(),
                day: "2020-09-30".parse().unwrap(),
                depth: Depth::Keys,
                mending: true,
                since: now,
            }],
            ..Snapshot::default()
        };
        assert_eq!(
            picture.line(now),
            "10 of 40 dataset-days done, 3m left; mends camera-counts 2020-09-30"
        );
        picture.paused = Some(Pause {
            reason: Service::Portal,
            why: "connection refused".into(),
            since: now,
            until: at("2020-10-01T10:01:30Z"),
        });
        assert_eq!(
            picture.line(now),
            "waits for the portal, tries again in 30s: connection refused"
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
            "idle until 10:30:00 UTC: survey camera-counts, 2 dataset-days wait for their hour"
        );
    }
}
