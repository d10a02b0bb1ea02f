//! Decides which schedule is due. The clock's alarms wake the loop; the ledger and the pure
//! [`Cron`] decide.
//!
//! The alarms are jobs of `tokio-cron-scheduler`. It would compute a job's next time with the UTC
//! offset that its zone had when the job was created, which is an hour off after every clock
//! change. Therefore the store is our own, and replaces each time by the one from [`Cron`]. An
//! alarm that is late, lost or doubled does no harm: it only means "check now", and the loop checks
//! anyway.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, MetaDataStorage, SimpleJobCode, SimpleMetadataStore,
    SimpleNotificationCode, SimpleNotificationStore,
};
use uuid::Uuid;

use crate::ledger::{LedgerError, ScheduleRecord};
use crate::model::DatasetName;
use crate::reconcile::Clock;
use crate::schedule::{Cron, Schedule};
use crate::settings::Settings;
use crate::telemetry::ScheduleStatus;

use super::Daemon;

/// Number of alarms that may fire at the same moment without one being lost.
const ALARMS: usize = 4_000;

/// How far in the future the ledger may date a run, to allow for clocks that differ slightly.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

/// A run that is not done is reported as late after this time, or later.
const LATE: TimeDelta = TimeDelta::hours(1);

/// A schedule of a dataset.
pub(super) type Place = (DatasetName, Schedule);

struct Line {
    cron: Cron,
    record: Option<ScheduleRecord>,
    /// The time of the run after the recorded one.
    next: Option<DateTime<Utc>>,
}

/// Every schedule of every dataset.
pub(super) struct Ticker {
    lines: BTreeMap<Place, Line>,
    /// Runs that could not start: how often in a row, and until when they wait.
    waiting: HashMap<Place, (u32, DateTime<Utc>)>,
    alarms: JobScheduler,
    wake: Arc<Notify>,
}

impl Ticker {
    /// Sets the alarms.
    pub(super) async fn start(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let lines = lines(settings)?;
        let wake = Arc::new(Notify::new());
        let alarms = alarms(&lines, clock, &wake).await;
        Ok(Self {
            lines,
            waiting: HashMap::new(),
            alarms: alarms.context("cannot set the schedule's alarms")?,
            wake,
        })
    }

    /// Removes the alarms.
    pub(super) async fn end(mut self) {
        if let Err(error) = self.alarms.shutdown().await {
            tracing::debug!("cannot remove the alarms: {error}");
        }
    }

    /// Waits for an alarm.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The runs that are due and not started, each with the time until the next one.
    pub(super) fn open(&self) -> Vec<(ScheduleRecord, Duration)> {
        let open = self.lines.values().filter_map(|line| {
            let record = line.record.as_ref().filter(|record| record.is_open())?;
            Some((record.clone(), line.interval(record)))
        });
        open.collect()
    }

    /// Whether a run that could not start still has to wait.
    pub(super) fn is_waiting(&self, place: &Place, now: DateTime<Utc>) -> bool {
        (self.waiting.get(place)).is_some_and(|(_, until)| now < *until)
    }

    /// Makes a run that could not start wait, and returns how often in a row it could not.
    pub(super) fn wait_after_failure(
        &mut self,
        place: &Place,
        until: impl FnOnce(u32) -> DateTime<Utc>,
    ) -> u32 {
        let failures = self.waiting.get(place).map_or(0, |(failures, _)| *failures);
        let wait = (failures + 1, until(failures));
        self.waiting.insert(place.clone(), wait);
        wait.0
    }

    /// Makes a run wait that another process is starting. This does not count as a failure.
    pub(super) fn pause(&mut self, place: &Place, until: DateTime<Utc>) {
        let failures = self.waiting.get(place).map_or(0, |(failures, _)| *failures);
        self.waiting.insert(place.clone(), (failures, until));
    }

    /// Clears the wait and the failures of a run.
    pub(super) fn clear_wait(&mut self, place: &Place) {
        self.waiting.remove(place);
    }

    /// The status of every schedule.
    pub(super) fn status(&self, now: DateTime<Utc>) -> Vec<ScheduleStatus> {
        let status = |((dataset, schedule), line): (&Place, &Line)| ScheduleStatus {
            dataset: dataset.clone(),
            schedule: *schedule,
            next: line.next,
            due: line.record.as_ref().map(|record| record.due_at),
            succeeded: line.record.as_ref().and_then(|record| record.done_at),
            unfulfilled: (line.record.as_ref())
                .and_then(|record| line.why_not_fulfilled(record, now)),
        };
        self.lines.iter().map(status).collect()
    }

    /// Whether the ledger lists a run as due in the future, which means that the clock was ahead at
    /// that time.
    fn is_ahead(&self, now: DateTime<Utc>) -> bool {
        let mut records = self.lines.values().filter_map(|line| line.record.as_ref());
        records.any(|record| record.due_at > now + AHEAD)
    }

    fn take_in(&mut self, records: Vec<ScheduleRecord>) {
        for record in records {
            let place = (record.dataset.clone(), record.schedule);
            let Some(line) = self.lines.get_mut(&place) else {
                continue;
            };
            let is_new = (line.record.as_ref()).is_none_or(|old| old.due_at != record.due_at);
            if is_new {
                line.next = line.cron.after(record.due_at);
            }
            line.record = Some(record);
        }
    }
}

impl Line {
    fn interval(&self, record: &ScheduleRecord) -> Duration {
        let next = self.next.map(|next| next - record.due_at);
        next.and_then(|until| until.to_std().ok())
            .unwrap_or_default()
    }

    /// Why the run that is due has not succeeded, if that should be reported.
    fn why_not_fulfilled(&self, record: &ScheduleRecord, now: DateTime<Utc>) -> Option<String> {
        if record.is_fulfilled() {
            return None;
        }
        if let Some(failure) = &record.failure {
            return Some(failure.clone());
        }
        let interval = TimeDelta::from_std(self.interval(record)).unwrap_or(LATE);
        // An audit may take until the next one is due.
        let late = match record.schedule {
            Schedule::Survey | Schedule::Check => LATE.max(interval / 4),
            Schedule::Audit => LATE.max(interval),
        };
        let due = self.cron.after(record.done_for)?;
        (due + late < now).then(|| format!("due since {} and not done", due.format("%F %R UTC")))
    }
}

fn lines(settings: &Settings) -> Result<BTreeMap<Place, Line>> {
    let mut lines = BTreeMap::new();
    for settings_of_dataset in &settings.datasets {
        let (name, schedule) = (
            &settings_of_dataset.dataset.name,
            &settings_of_dataset.schedule,
        );
        for (kind, text) in [
            (Schedule::Survey, &schedule.survey),
            (Schedule::Check, &schedule.check),
            (Schedule::Audit, &schedule.audit),
        ] {
            let cron = Cron::new(text, settings_of_dataset.dataset.zone)
                .with_context(|| format!("schedule.{kind} of {name} is not valid"))?;
            let line = Line {
                cron,
                record: None,
                next: None,
            };
            lines.insert((name.clone(), kind), line);
        }
    }
    Ok(lines)
}

impl Daemon {
    /// Records in the ledger which runs are due. A schedule that became due several times while no
    /// process was running counts as one run.
    pub(super) async fn note_due(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let ledger = &self.tools.world.ledger;
        self.ticker.take_in(ledger.schedules().await?);
        if self.ticker.is_ahead(now) {
            tracing::warn!(
                "the clock was set back: runs that the ledger lists as due later are due now"
            );
            ledger.bring_forward(now).await?;
            self.ticker.take_in(ledger.schedules().await?);
        }
        let mut changed = false;
        for ((dataset, schedule), line) in &self.ticker.lines {
            let Some(record) = &line.record else {
                // A dataset that was never surveyed is surveyed at once; the other schedules wait
                // for their time.
                let is_due = *schedule == Schedule::Survey;
                ledger
                    .begin_schedule(dataset, *schedule, now, is_due)
                    .await?;
                changed = true;
                continue;
            };
            if line.next.is_none_or(|next| now < next) {
                continue;
            }
            if let Some(due) = line.cron.latest(record.due_at, now) {
                ledger.note_due(record, due).await?;
                changed = true;
            }
        }
        if changed {
            self.ticker.take_in(ledger.schedules().await?);
        }
        Ok(())
    }
}

async fn alarms(
    lines: &BTreeMap<Place, Line>,
    clock: Arc<dyn Clock>,
    wake: &Arc<Notify>,
) -> Result<JobScheduler, JobSchedulerError> {
    let crons: Arc<Mutex<HashMap<Uuid, Cron>>> = Arc::default();
    let store = ZonedStore {
        inner: SimpleMetadataStore::default(),
        crons: Arc::clone(&crons),
        clock,
    };
    let alarms = JobScheduler::new_with_storage_and_code(
        Box::new(store),
        Box::<SimpleNotificationStore>::default(),
        Box::<SimpleJobCode>::default(),
        Box::<SimpleNotificationCode>::default(),
        ALARMS,
    )
    .await?;
    for line in lines.values() {
        let wake = Arc::clone(wake);
        // The store determines the times; this expression only makes the job recurring.
        let job = Job::new_async("* * * * * *", move |_, _| {
            let wake = Arc::clone(&wake);
            Box::pin(async move { wake.notify_one() })
        })?;
        crons.lock().insert(job.guid(), line.cron.clone());
        alarms.add(job).await?;
    }
    alarms.start().await?;
    Ok(alarms)
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

/// The scheduler's own in-memory store, with the next time of each job taken from its [`Cron`].
struct ZonedStore {
    inner: SimpleMetadataStore,
    crons: Arc<Mutex<HashMap<Uuid, Cron>>>,
    clock: Arc<dyn Clock>,
}

impl ZonedStore {
    fn next(&self, job: Uuid) -> Option<DateTime<Utc>> {
        self.crons.lock().get(&job)?.after(self.clock.now())
    }
}

impl DataStore<JobStoredData> for ZonedStore {
    fn get(&mut self, id: Uuid) -> Answer<Option<JobStoredData>> {
        self.inner.get(id)
    }

    fn add_or_update(&mut self, mut data: JobStoredData) -> Answer<()> {
        if let Some(id) = &data.id {
            let next = self.next(id.into());
            data.set_next_tick(next);
        }
        self.inner.add_or_update(data)
    }

    fn delete(&mut self, id: Uuid) -> Answer<()> {
        self.inner.delete(id)
    }
}

impl InitStore for ZonedStore {
    fn init(&mut self) -> Answer<()> {
        self.inner.init()
    }

    fn inited(&mut self) -> Answer<bool> {
        self.inner.inited()
    }
}

impl MetaDataStorage for ZonedStore {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        self.inner.list_next_ticks()
    }

    fn set_next_and_last_tick(
        &mut self,
        id: Uuid,
        _next: Option<DateTime<Utc>>,
        last: Option<DateTime<Utc>>,
    ) -> Answer<()> {
        let next = self.next(id);
        self.inner.set_next_and_last_tick(id, next, last)
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        self.inner.time_till_next_job()
    }
}
