//! A week of operation in a minute: the daemon's own loop on a simulated clock, through the night
//! in which an hour repeats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use sodalake::compare::Depth;
use sodalake::daemon::{Daemon, Observer, Parts};
use sodalake::model::{Day, DayRange};
use sodalake::reconcile::{Clock, Report, State, World};
use sodalake::schedule::Cron;
use sodalake::settings::Settings;
use sodalake::telemetry::Activity;

use crate::support::city::{TestCity, written_at};
use crate::support::program::config;

use super::own_memory;

const SCHEDULE: &str = "schedule.survey = \"0 0 * * * *\"\n\
     schedule.check = \"0 30 1 * * *\"\n\
     schedule.audit = \"0 0 3 * * SUN\"\n\
     schedule.window_days = 6\n\
     schedule.settle_days = 2\n";

const STEP: TimeDelta = TimeDelta::minutes(10);

/// A clock that stays where it is set.
#[derive(Clone)]
pub(super) struct Fast(pub(super) Arc<Mutex<DateTime<Utc>>>);

impl Clock for Fast {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// Time, dataset, day, depth of the check, and state.
type Checked = (DateTime<Utc>, String, Day, Depth, State);

/// The reports, with their times.
struct Recorder {
    clock: Fast,
    recorded: Mutex<Vec<Checked>>,
}

impl Observer for Recorder {
    fn renewed(&self, _world: &Arc<World>, _holder: &str) {}

    fn told(&self, report: &Report) {
        let name = report.target.dataset.name.to_string();
        let check = (
            self.clock.now(),
            name,
            report.target.day,
            report.depth,
            report.state,
        );
        self.recorded.lock().push(check);
    }
}

pub(super) fn parts(city: &TestCity, clock: &Fast, observer: Arc<dyn Observer>) -> Parts {
    let file = config(city);
    let facts: Vec<_> = sodalake::expected::recipes()
        .iter()
        .map(|one| one.facts())
        .collect();
    Parts {
        reread: Box::new(move || Settings::load(Some(&file), [], &facts)),
        clock: Arc::new(clock.clone()),
        activity: Activity::default(),
        observer,
    }
}

fn runs(text: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let cron = Cron::new(text, chrono_tz::America::Chicago).unwrap();
    std::iter::successors(cron.after(from), |run| cron.after(*run))
        .take_while(|run| *run <= to)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_due_check_happens_once_and_memory_stays_flat() {
    let city = TestCity::around("2020-10-27".parse().unwrap(), SCHEDULE).await;
    // TestCity has published the four days around the 27th.
    for (from, to) in [("2020-10-21", "2020-10-26"), ("2020-10-30", "2020-11-06")] {
        let days = DayRange {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        city.stage.fill(days).unwrap();
        for day in days.days() {
            city.stage.publish(day, written_at()).await.unwrap();
        }
    }
    let begin: DateTime<Utc> = "2020-10-30T12:00:00Z".parse().unwrap();
    let end = begin + TimeDelta::days(7);
    let clock = Fast(Arc::new(Mutex::new(begin)));
    let recorder = Arc::new(Recorder {
        clock: clock.clone(),
        recorded: Mutex::default(),
    });
    let mut daemon = Daemon::at_hand(parts(&city, &clock, recorder.clone()))
        .await
        .unwrap();
    let mut memory = Vec::new();
    let mut now = begin;
    while now < end {
        *clock.0.lock() = now;
        daemon.turn().await;
        while daemon.is_at_work() {
            daemon.wait(Duration::from_secs(5)).await;
            daemon.turn().await;
        }
        now += STEP;
        if (now - begin).num_minutes() % (24 * 60) == 0 {
            city.stage.portal.clear_requests();
            memory.push(own_memory());
        }
    }
    println!("resident memory in KiB at the end of each day: {memory:?}");
    let (first, last) = (memory[1], memory[6]);
    assert!(last < first + first / 5, "memory grows: {memory:?}");

    let recorded = recorder.recorded.lock().clone();
    let settled: Day = "2020-10-24".parse().unwrap();
    let is_wrong =
        |check: &&Checked| check.2 >= settled && !matches!(check.4, State::InSync | State::Skipped);
    assert!(recorded.iter().find(is_wrong).is_none());

    // A day that was published before the week and stays in the window until the third of it.
    let day: Day = "2020-10-28".parse().unwrap();
    let until: DateTime<Utc> = "2020-11-03T05:59:00Z".parse().unwrap();
    for table in ["camera-counts", "radar-counts"] {
        let of = |depth: Depth| {
            let of_day = recorded
                .iter()
                .filter(move |check| check.1 == table && check.2 == day);
            of_day.filter(move |check| check.3 == depth && check.0 <= until)
        };
        // The first survey checks the day completely; each later one finds it unchanged.
        let surveys = runs("0 0 * * * *", begin, until).len();
        assert_eq!(of(Depth::Survey).count(), surveys, "surveys of {table}");
        assert!(surveys > 80);
        // Checks run at 01:30, once a day, even on the day that has 01:30 twice.
        let mut checks: BTreeMap<_, u32> = BTreeMap::new();
        for check in of(Depth::Keys) {
            let wall = check.0.with_timezone(&chrono_tz::America::Chicago);
            *checks.entry(wall.date_naive()).or_default() += 1;
        }
        let due = runs("0 30 1 * * *", begin, until);
        assert_eq!(checks.len(), due.len(), "checks of {table}: {checks:?}");
        assert!(checks.values().all(|times| *times == 1), "{checks:?}");
        // Complete checks: the first one, and the audit on Sunday.
        assert_eq!(of(Depth::Content).count(), 2, "complete checks of {table}");
    }
}
