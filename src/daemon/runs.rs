//! The beginning of a scheduled run: which dataset-days it puts on the queue.
//!
//! - A *survey* queues the days that are not as they were when last seen in step, to be looked at in
//!   full. Of those that the ledger knows as held or unproven, or as differing where nothing may be
//!   mended, it lets most rest: nothing new is to be learnt of them every half hour.
//! - A *check* queues every day of the window; those that a survey finds unchanged by their keys,
//!   the others in full.
//! - An *audit* walks from the youngest settled day to the oldest there is, a few days at a time, so
//!   that the queue stays short and more pressing days overtake it.
//!
//! Of several replicas one begins a run, under a lease; the ledger refuses a second beginning.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::compare::Depth;
use crate::ledger::{LeaseAnswer, LedgerError, Queued, Reason, ScheduleRecord, Walk, Want};
use crate::model::{Dataset, DatasetDay, DatasetName, Day, DayRange};
use crate::reconcile::{self, LookError, Report, Service, State, World};
use crate::schedule::{Schedule, jitter};
use crate::settings::{DatasetSettings, Mode, Settings};

use super::ended::Ended;
use super::trouble::doubled;
use super::{Daemon, TURN, chain};

/// A run that takes longer to begin has died.
const LEASE: Duration = Duration::from_mins(10);

/// How long a run waits that could not begin; doubled each time.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// The longest it waits.
const AFTER_FAILURES: Duration = Duration::from_mins(15);

/// Most that a run waits for others to begin before it.
const JITTER: Duration = Duration::from_secs(20);

/// An audit's days on the queue at once, for each dataset.
const STRETCH: i64 = 16;

/// So few of them left, and the next stretch is put there.
const SHORT: u64 = 4;

/// How long a day rests that was not found in step and that only a person or a change can mend.
const REST: TimeDelta = TimeDelta::hours(6);

/// A run that was begun, or was not.
pub(super) struct Begun {
    record: ScheduleRecord,
    outcome: Result<Queue, Failure>,
}

struct Failure {
    service: Option<Service>,
    why: String,
}

impl From<LookError> for Failure {
    fn from(error: LookError) -> Self {
        Self {
            service: error.service(),
            why: chain(&error),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self {
            service: Some(Service::Ledger),
            why: chain(&error),
        }
    }
}

/// What a run puts on the queue.
#[derive(Default)]
struct Queue {
    wants: Vec<Want>,
    skipped: Vec<DatasetDay>,
    walk: Option<Walk>,
}

/// The dataset-day that an entry names, if the settings know its dataset.
pub(super) fn target(settings: &Settings, entry: &Queued) -> Option<DatasetDay> {
    let mut all = settings.datasets.iter();
    let found = all.find(|one| one.dataset.name == entry.dataset)?;
    Some(DatasetDay {
        dataset: Arc::clone(&found.dataset),
        day: entry.day,
    })
}

/// How long a run waits that falls due so often. Where it would be less than a turn of the loop it
/// is nothing: the loop would come too late, and find it due anew.
fn wait(dataset: &DatasetName, schedule: Schedule, interval: Duration) -> Duration {
    let most = JITTER.min(interval / 10);
    if most < TURN {
        return Duration::ZERO;
    }
    jitter(dataset, schedule, most)
}

impl Daemon {
    /// Begins every run that is due and not begun yet.
    pub(super) async fn begin_runs(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        for (record, interval) in self.ticker.open() {
            let (dataset, schedule) = (record.dataset.clone(), record.schedule);
            let wait = wait(&dataset, schedule, interval);
            let place = (dataset, schedule);
            let rests = self.ticker.rests(&place, now) || now < record.due_at + wait;
            if rests || self.runs.values().any(|run| *run == place) {
                continue;
            }
            let ledger = &self.tools.world.ledger;
            let is_walking = record.walk.is_some_and(|walk| !walk.is_over());
            if is_walking && ledger.queued_for(&place.0, schedule).await? > SHORT {
                continue;
            }
            let run = begin(Arc::clone(&self.tools.world), self.holder.clone(), record);
            let task = self.work.spawn(run);
            self.runs.insert(task.id(), place);
        }
        Ok(())
    }

    /// Takes in what came of beginning a run.
    pub(super) async fn begun(&mut self, begun: Begun, now: DateTime<Utc>) {
        let Begun { record, outcome } = begun;
        let place = (record.dataset.clone(), record.schedule);
        match outcome {
            Ok(queue) => {
                self.trouble.over();
                self.ticker.rested(&place);
                for day in &queue.skipped {
                    self.observer.told(&Report::skipped(day));
                }
                let (dataset, schedule) = (&record.dataset, record.schedule);
                let (days, skipped) = (queue.wants.len(), queue.skipped.len());
                tracing::debug!(
                    %dataset, %schedule, days, skipped,
                    "{schedule} of {dataset}: {days} days to look at, {skipped} unchanged"
                );
            }
            Err(failure) => self.could_not_begin(&record, &failure, now).await,
        }
    }

    async fn could_not_begin(
        &mut self,
        record: &ScheduleRecord,
        failure: &Failure,
        now: DateTime<Utc>,
    ) {
        let (dataset, schedule, why) = (&record.dataset, record.schedule, &failure.why);
        let failures = self.ticker.rest(&(dataset.clone(), schedule), |failures| {
            let wait = doubled(AFTER_FAILURE, failures).min(AFTER_FAILURES);
            now + wait
        });
        if let Some(service) = failure.service {
            self.trouble.note(service, why, now);
        } else {
            tracing::warn!(%dataset, failures, "failed to {schedule} {dataset}: {why}");
        }
        let ledger = &self.tools.world.ledger;
        if let Err(error) = ledger.fail_run(dataset, schedule, why).await {
            self.trouble.note(Service::Ledger, &chain(&error), now);
        }
    }
}

async fn begin(world: Arc<World>, holder: String, record: ScheduleRecord) -> Ended {
    let name = format!("run/{}/{}", record.schedule, record.dataset);
    let outcome = under_lease(&world, &name, &holder, &record).await;
    if let Err(error) = world.ledger.release(&name, &holder).await {
        tracing::debug!("failed to release {name}, it runs out: {}", chain(&error));
    }
    Ended::Run(Begun { record, outcome })
}

async fn under_lease(
    world: &World,
    name: &str,
    holder: &str,
    record: &ScheduleRecord,
) -> Result<Queue, Failure> {
    let now = world.clock.now();
    let lease = world.ledger.lease(name, holder, now, LEASE).await?;
    let mut settings = world.settings.datasets.iter();
    let found = settings.find(|one| one.dataset.name == record.dataset);
    let (LeaseAnswer::Granted { .. }, Some(dataset)) = (lease, found) else {
        return Ok(Queue::default());
    };
    let queue = match record.schedule {
        Schedule::Survey => survey(world, dataset, now).await?,
        Schedule::Check => check(world, dataset, now).await?,
        Schedule::Audit => audit(world, dataset, record, now).await?,
    };
    let queued = (world.ledger)
        .queue_run(record, &queue.wants, queue.walk, now)
        .await?;
    // Another replica was quicker; it has told of the days it skipped.
    Ok(if queued { queue } else { Queue::default() })
}

/// The settled days of the window.
fn window(dataset: &DatasetSettings, now: DateTime<Utc>) -> DayRange {
    let today = Day::at(now, dataset.dataset.zone);
    let from = today.plus(-i64::from(dataset.schedule.window_days));
    DayRange {
        from,
        to: settled_before(dataset, now).min(today),
    }
}

/// The first day that is too young to be judged.
fn settled_before(dataset: &DatasetSettings, now: DateTime<Utc>) -> Day {
    let today = Day::at(now, dataset.dataset.zone);
    today.plus(1 - i64::from(dataset.schedule.settle_days))
}

fn want(target: &DatasetDay, reason: Reason, depth: Depth) -> Want {
    Want {
        dataset: target.dataset.name.clone(),
        day: target.day,
        reason,
        depth,
    }
}

async fn survey(
    world: &World,
    dataset: &DatasetSettings,
    now: DateTime<Utc>,
) -> Result<Queue, Failure> {
    let range = window(dataset, now);
    let surveyed = reconcile::survey(world, &dataset.dataset, range).await?;
    let (unchanged, suspects) = split(surveyed);
    let resting = resting(world, &dataset.dataset, range, now).await?;
    let wants = (suspects.iter())
        .filter(|target| !resting.contains(&target.day))
        .map(|target| want(target, Reason::Survey, Depth::Content));
    Ok(Queue {
        wants: wants.collect(),
        skipped: unchanged,
        walk: None,
    })
}

/// The unchanged days, and the suspects.
fn split(surveyed: Vec<(DatasetDay, bool)>) -> (Vec<DatasetDay>, Vec<DatasetDay>) {
    let (unchanged, suspects): (Vec<_>, Vec<_>) =
        surveyed.into_iter().partition(|(_, unchanged)| *unchanged);
    let days = |all: Vec<(DatasetDay, bool)>| all.into_iter().map(|(day, _)| day).collect();
    (days(unchanged), days(suspects))
}

async fn resting(
    world: &World,
    dataset: &Dataset,
    range: DayRange,
    now: DateTime<Utc>,
) -> Result<Vec<Day>, LedgerError> {
    let known = world.ledger.days(Some(&dataset.name), Some(range)).await?;
    let mut resting_states = vec![State::Held, State::Unproven];
    if world.settings.mode == Mode::Observe {
        resting_states.push(State::Differs);
    }
    let rests = known.into_iter().filter(|day| {
        let resting = (resting_states.iter()).any(|state| day.state == state.to_string());
        resting && now - day.looked_at < REST
    });
    Ok(rests.map(|day| day.day).collect())
}

async fn check(
    world: &World,
    dataset: &DatasetSettings,
    now: DateTime<Utc>,
) -> Result<Queue, Failure> {
    let surveyed = reconcile::survey(world, &dataset.dataset, window(dataset, now)).await?;
    let wants = (surveyed.iter()).map(|(target, unchanged)| {
        let depth = if *unchanged {
            Depth::Keys
        } else {
            Depth::Content
        };
        want(target, Reason::Check, depth)
    });
    Ok(Queue {
        wants: wants.collect(),
        ..Queue::default()
    })
}

async fn audit(
    world: &World,
    dataset: &DatasetSettings,
    record: &ScheduleRecord,
    now: DateTime<Utc>,
) -> Result<Queue, Failure> {
    let under_way = record.walk.filter(|walk| !walk.is_over());
    let walk = match under_way {
        Some(walk) => walk,
        None => match reconcile::oldest_day(world, &dataset.dataset).await? {
            Some(oldest) => Walk {
                next: settled_before(dataset, now).plus(-1),
                oldest,
            },
            None => return Ok(Queue::default()),
        },
    };
    let days = (0..STRETCH).map(|back| walk.next.plus(-back));
    let wants = days.filter(|day| *day >= walk.oldest).map(|day| {
        let target = DatasetDay {
            dataset: Arc::clone(&dataset.dataset),
            day,
        };
        want(&target, Reason::Audit, Depth::Content)
    });
    Ok(Queue {
        wants: wants.collect(),
        skipped: Vec::new(),
        walk: Some(Walk {
            next: walk.next.plus(-STRETCH),
            ..walk
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_begun_before_it_falls_due_anew() {
        let mut waits = 0;
        for seconds in (1..60).chain([1_800, 86_400]) {
            let interval = Duration::from_secs(seconds);
            for name in ["camera-counts", "radar-counts", "bluetooth-matched"] {
                let wait = wait(&name.parse().unwrap(), Schedule::Survey, interval);
                assert!(wait.is_zero() || wait + TURN < interval, "{name} {seconds}");
                waits += usize::from(!wait.is_zero());
            }
        }
        assert!(waits > 100, "{waits}");
    }
}
