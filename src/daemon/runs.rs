//! The start of a scheduled run: which dataset-days it puts on the queue.
//!
//! - A *survey* queues the days that are not as they were when last found in sync, for a full
//!   check. Days that the ledger lists as held or unproven, or as differing in observe mode, are
//!   not checked again for some hours while their sides are unchanged since the last check.
//! - A *check* queues every day of the window: those that a survey finds unchanged by keys only,
//!   the others in full.
//! - An *audit* goes from the youngest settled day to the oldest existing one, a few days at a
//!   time, so that the queue stays short and more urgent days overtake it. Before the first
//!   catalogued day it visits only days with published rows.
//!
//! If there are several replicas, one of them starts a run, under a lease; the ledger refuses a
//! second start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::compare::Depth;
use crate::lease;
use crate::ledger::{
    DayRecord, Held, LeaseAnswer, LedgerError, Queued, Reason, ScheduleRecord, ToCheck, Walk,
};
use crate::model::{DatasetDay, DatasetName, Day, DayRange};
use crate::reconcile::{self, CheckError, Report, Service, State, Surveyed, World};
use crate::schedule::{Schedule, jitter};
use crate::settings::{DatasetSettings, Mode, Settings};

use super::ended::Ended;
use super::trouble::doubled;
use super::{Daemon, TURN, chain};

/// How long a run's lease lasts unless renewed.
const LEASE: Duration = Duration::from_mins(10);

/// How long a run waits after it could not start; doubled each time.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// Longest such wait.
const AFTER_FAILURES: Duration = Duration::from_mins(15);

/// How long to wait before trying again if another process is starting the run.
const AFTER_HELD: Duration = Duration::from_secs(10);

/// Longest random delay of a run's start, so that replicas and datasets do not start together.
const JITTER: Duration = Duration::from_secs(20);

/// Number of an audit's days on the queue at once, for each dataset.
const STRETCH: usize = 16;

/// The next days of an audit are queued once no more than this many are left.
const SHORT: u64 = 4;

/// How long a day that was not found in sync is left alone, if only a person or a change can repair
/// it and its sides are unchanged.
const REST: TimeDelta = TimeDelta::hours(6);

/// A run that was to be started, and the outcome.
pub(super) struct Beginning {
    record: ScheduleRecord,
    outcome: Outcome,
}

/// The outcome of starting a run.
enum Outcome {
    /// Its days are on the queue.
    Begun(Queue),
    /// Another process was faster and has put the run's days on the queue.
    Overtaken,
    /// Another process is starting it.
    HeldByOther(Held),
    /// Its dataset was just removed from the settings.
    Forgotten,
    /// It could not be started.
    Failed(Failure),
}

struct Failure {
    /// The service that is down, if one is.
    outage: Option<Service>,
    why: String,
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        Self {
            outage: error.outage(),
            why: chain(&error),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self {
            outage: Some(Service::Ledger),
            why: chain(&error),
        }
    }
}

/// What a run puts on the queue.
#[derive(Default)]
struct Queue {
    to_check: Vec<ToCheck>,
    skipped: Vec<DatasetDay>,
    walk: Option<Walk>,
}

/// The dataset-day of a queue entry, if its dataset is in the settings.
pub(super) fn target(settings: &Settings, entry: &Queued) -> Option<DatasetDay> {
    let mut all = settings.datasets.iter();
    let found = all.find(|one| one.dataset.name == entry.dataset)?;
    Some(DatasetDay {
        dataset: Arc::clone(&found.dataset),
        day: entry.day,
    })
}

/// The delay of a run with this interval. Zero if the delay would be shorter than an iteration of
/// the loop: the loop would come too late and find the run due again.
fn wait(dataset: &DatasetName, schedule: Schedule, interval: Duration) -> Duration {
    let longest = JITTER.min(interval / 10);
    if longest < TURN {
        return Duration::ZERO;
    }
    jitter(dataset, schedule, longest)
}

impl Daemon {
    /// Starts every run that is due and not started yet.
    pub(super) async fn begin_runs(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        for (record, interval) in self.ticker.open() {
            let (dataset, schedule) = (record.dataset.clone(), record.schedule);
            let wait = wait(&dataset, schedule, interval);
            let place = (dataset, schedule);
            let must_wait = self.ticker.is_waiting(&place, now) || now < record.due_at + wait;
            if must_wait || self.runs.values().any(|run| *run == place) {
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

    /// Handles the outcome of starting a run.
    pub(super) async fn finish_begin(&mut self, beginning: Beginning, now: DateTime<Utc>) {
        let Beginning { record, outcome } = beginning;
        let place = (record.dataset.clone(), record.schedule);
        match outcome {
            Outcome::Begun(queue) => {
                self.trouble.over();
                self.ticker.clear_wait(&place);
                for day in &queue.skipped {
                    self.observer.told(&Report::skipped(day));
                }
                let (dataset, schedule) = (&record.dataset, record.schedule);
                let (days, skipped) = (queue.to_check.len(), queue.skipped.len());
                tracing::debug!(
                    %dataset, %schedule, days, skipped,
                    "{schedule} of {dataset}: {days} days to check, {skipped} unchanged"
                );
            }
            Outcome::Overtaken => {
                self.trouble.over();
                self.ticker.clear_wait(&place);
            }
            Outcome::HeldByOther(held) => {
                let (dataset, schedule) = place.clone();
                tracing::debug!(%dataset, %schedule, "{schedule} of {dataset} waits: {held}");
                self.ticker.pause(&place, now + AFTER_HELD);
            }
            Outcome::Forgotten => self.ticker.clear_wait(&place),
            Outcome::Failed(failure) => self.handle_failure(&record, &failure, now).await,
        }
    }

    async fn handle_failure(
        &mut self,
        record: &ScheduleRecord,
        failure: &Failure,
        now: DateTime<Utc>,
    ) {
        let (dataset, schedule, why) = (&record.dataset, record.schedule, &failure.why);
        let failures = self
            .ticker
            .wait_after_failure(&(dataset.clone(), schedule), |failures| {
                let wait = doubled(AFTER_FAILURE, failures).min(AFTER_FAILURES);
                now + wait
            });
        tracing::warn!(%dataset, %schedule, failures, "cannot {schedule} {dataset}: {why}");
        if let Some(service) = failure.outage {
            self.trouble.note(service, why, now);
        }
        let ledger = &self.tools.world.ledger;
        if let Err(error) = ledger.fail_run(dataset, schedule, why).await {
            self.trouble.note(Service::Ledger, &chain(&error), now);
        }
    }
}

async fn begin(world: Arc<World>, holder: String, record: ScheduleRecord) -> Ended {
    let name = format!("run/{}/{}", record.schedule, record.dataset);
    let outcome = match lease::take(&world, &name, &holder, LEASE).await {
        Ok(LeaseAnswer::Granted { .. }) => queue_under_lease(&world, &name, &holder, &record).await,
        Ok(LeaseAnswer::HeldBy(held)) => Outcome::HeldByOther(held),
        Err(error) => Outcome::Failed(error.into()),
    };
    Ended::Run(Beginning { record, outcome })
}

/// Starts a run under its lease, and releases the lease.
async fn queue_under_lease(
    world: &World,
    name: &str,
    holder: &str,
    record: &ScheduleRecord,
) -> Outcome {
    // If the lease is lost in the meantime, the ledger refuses a second start.
    let renew = || async move {
        match lease::renew(world, name, holder, LEASE).await {
            Ok(LeaseAnswer::Granted { .. }) => Ok(()),
            Ok(LeaseAnswer::HeldBy(held)) => Err(held.to_string()),
            Err(error) => Err(chain(&error)),
        }
    };
    let begun = lease::hold_through(name, queue_days(world, record), renew).await;
    if let Err(error) = world.ledger.release(name, holder).await {
        tracing::debug!("cannot release {name}; it expires: {}", chain(&error));
    }
    begun.unwrap_or_else(Outcome::Failed)
}

/// Puts a run's days on the queue.
async fn queue_days(world: &World, record: &ScheduleRecord) -> Result<Outcome, Failure> {
    let now = world.clock.now();
    let mut settings = world.settings.datasets.iter();
    let found = settings.find(|one| one.dataset.name == record.dataset);
    let Some(dataset) = found else {
        return Ok(Outcome::Forgotten);
    };
    let queue = match record.schedule {
        Schedule::Survey => survey(world, dataset, now).await?,
        Schedule::Check => check(world, dataset, now).await?,
        Schedule::Audit => audit(world, dataset, record, now).await?,
    };
    let queued = (world.ledger)
        .queue_run(record, &queue.to_check, queue.walk, now)
        .await?;
    // If several processes start a run, only the fastest reports the skipped days.
    Ok(if queued {
        Outcome::Begun(queue)
    } else {
        Outcome::Overtaken
    })
}

fn day_to_check(target: &DatasetDay, reason: Reason, depth: Depth) -> ToCheck {
    ToCheck {
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
    let range = dataset.window(now);
    let surveyed = reconcile::survey(world, &dataset.dataset, range).await?;
    let (unchanged, suspects): (Vec<_>, Vec<_>) =
        surveyed.into_iter().partition(|seen| seen.unchanged);
    let name = &dataset.dataset.name;
    let known = world.ledger.days(Some(name), Some(range)).await?;
    let without_sides = days_without_sides(&known, &suspects);
    if !without_sides.is_empty() {
        world.ledger.set_outside(name, &without_sides).await?;
    }
    let mode = world.settings.mode;
    let known: BTreeMap<Day, DayRecord> = known.into_iter().map(|day| (day.day, day)).collect();
    let is_left_alone = |seen: &&Surveyed| {
        let known = known.get(&seen.target.day);
        known.is_some_and(|known| may_be_left_alone(known, seen.outside.as_deref(), mode, now))
    };
    let to_check = (suspects.iter())
        .filter(|seen| !is_left_alone(seen))
        .map(|seen| day_to_check(&seen.target, Reason::Survey, Depth::Content));
    Ok(Queue {
        to_check: to_check.collect(),
        skipped: unchanged.into_iter().map(|seen| seen.target).collect(),
        walk: None,
    })
}

/// The days whose last check recorded no sides to compare with, and the sides as this survey sees
/// them. Later surveys compare the days with these.
fn days_without_sides(known: &[DayRecord], suspects: &[Surveyed]) -> Vec<(Day, String)> {
    let lacking = known.iter().filter(|day| day.compared.outside.is_none());
    let lacking: BTreeSet<Day> = lacking.map(|day| day.day).collect();
    (suspects.iter())
        .filter(|seen| lacking.contains(&seen.target.day))
        .filter_map(|seen| Some((seen.target.day, seen.outside.clone()?)))
        .collect()
}

/// Whether a suspect day need not be checked yet: only a person or a change can help it, its last
/// check was not long ago, and its sides are unchanged since.
fn may_be_left_alone(
    known: &DayRecord,
    outside: Option<&str>,
    mode: Mode,
    now: DateTime<Utc>,
) -> bool {
    let mut resting_states = vec![State::Held, State::Unproven];
    if mode == Mode::Observe {
        resting_states.push(State::Differs);
    }
    let in_resting_state = (resting_states.iter()).any(|state| known.state == state.to_string());
    let altered = known.compared.altered.as_ref();
    let checked_at = altered.map_or(known.checked_at, |altered| altered.found_at);
    let then = known.compared.outside.as_deref();
    let is_same = then.zip(outside).is_none_or(|(then, now)| then == now);
    in_resting_state && is_same && now - checked_at < REST
}

async fn check(
    world: &World,
    dataset: &DatasetSettings,
    now: DateTime<Utc>,
) -> Result<Queue, Failure> {
    let surveyed = reconcile::survey(world, &dataset.dataset, dataset.window(now)).await?;
    let to_check = surveyed.iter().map(|seen| {
        let depth = if seen.unchanged {
            Depth::Keys
        } else {
            Depth::Content
        };
        day_to_check(&seen.target, Reason::Check, depth)
    });
    Ok(Queue {
        to_check: to_check.collect(),
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
                next: dataset.settled_before(now).plus(-1),
                oldest,
            },
            None => return Ok(Queue::default()),
        },
    };
    let (days, walk) = stretch(world, dataset, walk).await?;
    let to_check = days.into_iter().map(|day| {
        let target = DatasetDay {
            dataset: Arc::clone(&dataset.dataset),
            day,
        };
        day_to_check(&target, Reason::Audit, Depth::Content)
    });
    Ok(Queue {
        to_check: to_check.collect(),
        skipped: Vec::new(),
        walk: Some(walk),
    })
}

/// The next days of a walk, and where it continues. Days for which neither the catalog nor the
/// portal has anything are skipped.
async fn stretch(
    world: &World,
    dataset: &DatasetSettings,
    walk: Walk,
) -> Result<(Vec<Day>, Walk), Failure> {
    let left = DayRange {
        from: walk.oldest,
        to: walk.next.next(),
    };
    let days = reconcile::days_with_anything(world, &dataset.dataset, left).await?;
    let mut days = days.into_iter().rev();
    let now: Vec<Day> = days.by_ref().take(STRETCH).collect();
    let next = days.next().unwrap_or(walk.oldest.plus(-1));
    Ok((now, Walk { next, ..walk }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_starts_before_it_is_due_again() {
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
