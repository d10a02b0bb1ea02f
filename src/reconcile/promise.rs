//! What the schedules promise: which days are checked, and how recent a check must be to count.
//!
//! A scheduled check covers every settled day of the window, an audit all older days. A run may
//! take until the next one is due, so a check counts if it is no older than the run before the
//! last. A day whose last check is older, or that was never checked, is unknown.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ledger::Promise;
use crate::model::{Day, DayRange};
use crate::schedule::Cron;
use crate::settings::{DatasetSettings, Settings};

/// How far back to search for runs. A schedule that runs less often promises nothing more.
const SEARCH_BACK: TimeDelta = TimeDelta::days(800);

impl DatasetSettings {
    /// The first day that is too young to be judged.
    #[must_use]
    pub fn settled_before(&self, now: DateTime<Utc>) -> Day {
        let today = Day::at(now, self.dataset.zone);
        today.plus(1 - i64::from(self.schedule.settle_days))
    }

    /// The settled days of the window.
    #[must_use]
    pub fn window(&self, now: DateTime<Utc>) -> DayRange {
        let today = Day::at(now, self.dataset.zone);
        DayRange {
            from: today.plus(-i64::from(self.schedule.window_days)),
            to: self.settled_before(now).min(today),
        }
    }

    /// What the schedules of this dataset promise.
    #[must_use]
    pub fn promise(&self, now: DateTime<Utc>) -> Promise {
        let since = |text: &str| run_before_last(text, self, now).unwrap_or(now - SEARCH_BACK);
        Promise {
            dataset: self.dataset.name.clone(),
            window: self.window(now),
            checked_since: since(&self.schedule.check),
            audited_since: since(&self.schedule.audit),
        }
    }
}

/// What the schedules of every dataset promise.
#[must_use]
pub fn promises(settings: &Settings, now: DateTime<Utc>) -> Vec<Promise> {
    let datasets = settings.datasets.iter();
    datasets.map(|one| one.promise(now)).collect()
}

fn run_before_last(
    cron: &str,
    dataset: &DatasetSettings,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let cron = Cron::new(cron, dataset.dataset.zone).ok()?;
    let last = cron.latest(now - SEARCH_BACK, now)?;
    cron.latest(now - SEARCH_BACK, last - TimeDelta::seconds(1))
}
