//! `sodalake run`: the loop that keeps checking, and repairs what it is allowed to.
//!
//! One iteration of the loop:
//!
//! ```text
//! note what is due ─▶ start its runs ─▶ dataset-days on the queue ─▶ claim ─▶ pass ─▶ finish or give back
//!       (ticker)          (runs)               (ledger)                      (worker)      (ledger, observer)
//! ```
//!
//! Everything that must not be lost is in the ledger: what is due, the queue, and who has claimed
//! what. The loop itself keeps no state it needs, so it does not matter whether it was just
//! started, has crashed, or runs next to other replicas. It checks the ledger every few seconds in
//! any case; the clock's alarms only wake it on time. Only the loop feeds the service manager's
//! watchdog, so that a loop that hangs is terminated.
//!
//! If a service fails, everything pauses: nothing new is started for a while, which grows with each
//! failure. Then one attempt is made, and only if it succeeds does everything continue.

mod ended;
mod reload;
mod runs;
mod service;
mod ticker;
mod tidy;
mod trouble;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError, JoinSet};

use crate::app;
use crate::lease;
use crate::ledger::{LedgerError, QueueSize, Queued};
use crate::model::DatasetName;
use crate::reconcile::{Clock, Report, Service, World};
use crate::repair::{Stop, Writers};
use crate::schedule::Schedule;
use crate::settings::{Mode, Settings, SettingsError};
use crate::telemetry::{Activity, Phase, Round};

use self::ended::Ended;
use self::service::{Order, Orders};
use self::ticker::Ticker;
use self::trouble::Trouble;
use self::worker::Repairs;

/// Longest time between two iterations of the loop.
const TURN: Duration = Duration::from_secs(2);

/// Longest time to wait for the ledger in one iteration. The watchdog waits longer.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a claim on a dataset-day lasts unless renewed.
const CLAIM: Duration = Duration::from_mins(3);

/// How often claims are renewed.
const RENEW: Duration = Duration::from_secs(45);

/// Receives everything the daemon finds out. Metrics and notifications are based on it.
pub trait Observer: Send + Sync {
    /// Everything has been opened, at the start or after a reload. `holder` is the name under which
    /// we hold leases.
    fn renewed(&self, world: &Arc<World>, holder: &str);

    /// A dataset-day was checked, repaired or skipped. Called once for each, in no particular
    /// order. Must return quickly.
    fn told(&self, report: &Report);
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn renewed(&self, _world: &Arc<World>, _holder: &str) {}

    fn told(&self, _report: &Report) {}
}

/// Reads the current settings again.
pub type Reread = Box<dyn Fn() -> Result<Settings, SettingsError> + Send + Sync>;

/// What a daemon is made of.
pub struct Parts {
    /// Reads the settings.
    pub reread: Reread,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The shared state of current work, for display.
    pub activity: Activity,
    /// Receives what is found out.
    pub observer: Arc<dyn Observer>,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was shut down, and the step in progress was completed.
    Drained,
    /// A second request made it stop at once.
    Cut,
}

/// What checks, and what repairs, under the current settings.
#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    /// Present only in repair mode: checking needs no secret that can write.
    writers: Option<Arc<Writers>>,
}

impl Tools {
    /// Opens them. Repairs hold leases as `holder` and end when `stop` is requested.
    async fn open(
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        holder: &str,
        stop: &Stop,
    ) -> Result<Self> {
        let mode = settings.mode;
        let world = Arc::new(app::world_at(settings, clock).await?);
        let writers = match mode {
            Mode::Observe => None,
            Mode::Repair => Some(Arc::new(Writers {
                holder: holder.to_owned(),
                stop: stop.clone(),
                ..app::writers(&world).await?
            })),
        };
        Ok(Self { world, writers })
    }
}

/// A running daemon.
pub struct Daemon {
    tools: Tools,
    reread: Reread,
    /// This machine's clock, or a test's.
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    activity: Activity,
    ticker: Ticker,
    repairs: Arc<Repairs>,
    stop: Stop,
    /// Our name as the holder of claims and leases.
    holder: String,
    work: JoinSet<Ended>,
    claimed: HashMap<Id, Queued>,
    runs: HashMap<Id, (DatasetName, Schedule)>,
    /// Entries to give back to the ledger.
    unfinished: Vec<Queued>,
    trouble: Trouble,
    round: Option<Round>,
    size: QueueSize,
    claims_renewed_at: DateTime<Utc>,
    tidied_at: Option<DateTime<Utc>>,
    ready: bool,
}

impl Daemon {
    /// Opens everything. Waits for a service that is down, unless `orders` ends the wait.
    ///
    /// # Errors
    /// If the settings are wrong, or the clock's alarms cannot be set.
    async fn open(parts: Parts, orders: &mut Orders) -> Result<Option<Self>> {
        let settings = Arc::new((parts.reread)()?);
        log_settings(&settings);
        let (holder, stop) = (app::holder(), Stop::default());
        let mut trouble = Trouble::default();
        let tools = loop {
            let clock = Arc::clone(&parts.clock);
            let opened = Tools::open(Arc::clone(&settings), clock, &holder, &stop);
            let error = match opened.await {
                Ok(tools) => break tools,
                Err(error) => error,
            };
            let Some(reason) = trouble::away(&error) else {
                return Err(error);
            };
            let now = parts.clock.now();
            trouble.note(reason, &format!("{error:#}"), now);
            let pause = trouble.pause();
            parts.activity.update(|picture| picture.paused = pause);
            service::extend_timeout(&parts.activity.snapshot().line(now));
            if orders.ended_within(trouble.wait(now)).await? {
                return Ok(None);
            }
        };
        trouble.over();
        parts.observer.renewed(&tools.world, &holder);
        let ticker = Ticker::start(&settings, Arc::clone(&parts.clock)).await?;
        let now = parts.clock.now();
        Ok(Some(Self {
            tools,
            reread: parts.reread,
            clock: parts.clock,
            observer: parts.observer,
            activity: parts.activity,
            ticker,
            repairs: Arc::default(),
            stop,
            holder,
            work: JoinSet::new(),
            claimed: HashMap::new(),
            runs: HashMap::new(),
            unfinished: Vec::new(),
            trouble,
            round: None,
            size: QueueSize::default(),
            claims_renewed_at: now,
            tidied_at: None,
            ready: false,
        }))
    }

    /// Opens everything without listening for signals, for a caller that runs the loop itself.
    ///
    /// # Errors
    /// If anything cannot be opened.
    pub async fn at_hand(parts: Parts) -> Result<Self> {
        let mut orders = Orders::none();
        let opened = Self::open(parts, &mut orders).await?;
        opened.context("the daemon was interrupted before it had started")
    }

    /// One iteration of the loop.
    pub async fn turn(&mut self) {
        let now = self.now();
        match tokio::time::timeout(ANSWER, self.run_turn()).await {
            Ok(Ok(())) => self.trouble.over_for(Service::Ledger),
            Ok(Err(error)) => self.trouble.note(Service::Ledger, &chain(&error), now),
            Err(_) => self
                .trouble
                .note(Service::Ledger, "it does not respond", now),
        }
        self.update_picture(now);
    }

    async fn run_turn(&mut self) -> Result<(), LedgerError> {
        let now = self.world().time().await?;
        self.renew(now).await?;
        self.give_back_stale_claims().await?;
        self.give_back_unfinished(now).await?;
        if self.stop.is_requested() {
            return Ok(());
        }
        self.note_due(now).await?;
        if self.trouble.allows_one(now) {
            self.begin_runs(now).await?;
            self.claim(now).await?;
            self.tidy(now);
        }
        self.world().ledger.settle_runs(now).await?;
        self.size = self.world().ledger.queue_size(now).await?;
        Ok(())
    }

    /// Waits until some work has ended or `within` is over, and handles what has ended.
    pub async fn wait(&mut self, within: Duration) {
        let ended = self.next_ended(within).await;
        self.take_in_all(ended).await;
    }

    /// Work that has ended, if any ends within this time. Cancel-safe.
    async fn next_ended(&mut self, within: Duration) -> Option<Result<(Id, Ended), JoinError>> {
        tokio::select! {
            ended = self.work.join_next_with_id(), if !self.work.is_empty() => ended,
            () = self.ticker.woken() => None,
            () = tokio::time::sleep(within) => None,
        }
    }

    async fn take_in_all(&mut self, mut ended: Option<Result<(Id, Ended), JoinError>>) {
        while let Some(one) = ended {
            self.take_in(one).await;
            ended = self.work.try_join_next_with_id();
        }
    }

    /// Whether any work is in progress.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Shuts down: checks are dropped, repairs finish the current step, and then every claim and
    /// lease is released.
    async fn drain(&mut self, orders: &mut Orders) -> Result<End> {
        self.stop.request();
        self.activity
            .update(|picture| picture.phase = Phase::Draining);
        service::stopping();
        while self.is_at_work() {
            service::extend_timeout(&self.activity.snapshot().line(self.now()));
            let ended = tokio::select! {
                ended = self.next_ended(TURN) => ended,
                order = orders.next() => match order? {
                    Order::End => return Ok(End::Cut),
                    Order::Reload => None,
                },
            };
            self.take_in_all(ended).await;
            self.turn().await;
        }
        self.give_back_everything().await;
        Ok(End::Drained)
    }

    async fn give_back_everything(&self) {
        let ledger = &self.world().ledger;
        let released = async {
            ledger.give_all_back(&self.holder).await?;
            ledger.release_all(&self.holder).await
        };
        if let Err(error) = released.await {
            let error = chain(&error);
            tracing::warn!("cannot release claims and leases; they expire: {error}");
        }
    }

    fn world(&self) -> &Arc<World> {
        &self.tools.world
    }

    fn now(&self) -> DateTime<Utc> {
        self.world().clock.now()
    }

    /// Maximum number of dataset-days in progress at once.
    fn places(&self) -> usize {
        let workers = self.world().settings.daemon.workers as usize;
        if self.trouble.is_none() { workers } else { 1 }
    }

    /// Claims work for the free places.
    async fn claim(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let free = self.places().saturating_sub(self.claimed.len());
        if free == 0 || (!self.trouble.is_none() && self.is_at_work()) {
            return Ok(());
        }
        let ledger = &self.tools.world.ledger;
        let claimed = ledger.claim(&self.holder, now, CLAIM, free as u64).await?;
        for entry in claimed {
            if let Some(target) = runs::target(&self.tools.world.settings, &entry) {
                let pass = worker::pass(
                    self.tools.clone(),
                    target,
                    entry.clone(),
                    Arc::clone(&self.repairs),
                    self.stop.clone(),
                    self.activity.clone(),
                );
                let task = self.work.spawn(pass);
                self.claimed.insert(task.id(), entry);
            } else {
                // Its dataset was just removed from the settings.
                ledger.finish(&entry, &self.holder).await?;
            }
        }
        Ok(())
    }

    /// Gives back the claims of processes that have certainly exited, and of those that have not
    /// renewed them for the duration of a claim.
    async fn give_back_stale_claims(&self) -> Result<(), LedgerError> {
        if self.size.in_work <= self.claimed.len() as u64 {
            return Ok(());
        }
        let world = self.world();
        for (holder, until) in world.ledger.claimants().await? {
            let place = format!("claims of {holder}");
            let (_, unrenewed) = world.waits.note(&place, &holder, until, Instant::now());
            let has_exited = lease::holder_has_exited(&holder);
            if holder != self.holder && (has_exited || unrenewed >= CLAIM) {
                let days = world.ledger.give_back_until(&holder, until).await?;
                world.waits.end(&place);
                let why = if has_exited {
                    "has exited"
                } else {
                    "no longer renews its claims"
                };
                tracing::info!(%holder, days, "returned {days} dataset-days of {holder} to the queue, because it {why}");
            }
        }
        Ok(())
    }

    async fn renew(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let since = (now - self.claims_renewed_at).to_std().unwrap_or(RENEW);
        if self.claimed.is_empty() || since < RENEW {
            return Ok(());
        }
        let ledger = &self.tools.world.ledger;
        let entries: Vec<Queued> = self.claimed.values().cloned().collect();
        ledger
            .renew_claims(&entries, &self.holder, now, CLAIM)
            .await?;
        self.claims_renewed_at = now;
        Ok(())
    }

    /// Updates the shared state of current work.
    fn update_picture(&mut self, now: DateTime<Utc>) {
        let is_over = self.claimed.is_empty() && self.size.ready == 0;
        let left = self.size.ready + self.claimed.len() as u64;
        self.round = match self.round.take() {
            _ if is_over => None,
            Some(round) => Some(Round {
                total: round.done + left,
                ..round
            }),
            None => Some(Round {
                done: 0,
                total: left,
                began: now,
            }),
        };
        let paused = self.trouble.pause();
        let phase = match &paused {
            _ if self.stop.is_requested() => Phase::Draining,
            Some(_) => Phase::Paused,
            None if self.is_at_work() => Phase::Working,
            None => Phase::Idle,
        };
        let (round, size, schedules) = (self.round, self.size, self.ticker.status(now));
        self.activity.update(|picture| {
            picture.phase = phase;
            picture.paused = paused;
            picture.round = round;
            picture.queued = size.ready + size.waiting + size.in_work;
            picture.next_due = size.next_due;
            picture.schedules = schedules;
            picture.turned = Some(now);
        });
    }
}

/// Runs until shut down.
///
/// # Errors
/// If the settings are not valid, or signals cannot be listened for.
pub async fn run(parts: Parts) -> Result<End> {
    let mut orders = Orders::listen().context("cannot listen for signals")?;
    let Some(mut daemon) = Daemon::open(parts, &mut orders).await? else {
        return Ok(End::Drained);
    };
    let mut reported = service::Reported::default();
    loop {
        daemon.turn().await;
        if !daemon.ready && daemon.trouble.is_none() {
            daemon.ready = true;
            service::ready();
            tracing::info!("ready");
        }
        reported.report_turn(daemon.activity.snapshot().line(daemon.now()));
        let ended = tokio::select! {
            ended = daemon.next_ended(service::turn_within(TURN)) => ended,
            order = orders.next() => match order? {
                Order::End => return daemon.drain(&mut orders).await,
                Order::Reload => {
                    daemon.reload().await;
                    None
                }
            },
        };
        daemon.take_in_all(ended).await;
    }
}

fn log_settings(settings: &Settings) {
    for line in settings.lines() {
        if let Some(value) = line.value {
            tracing::info!(origin = line.origin, "{} = {value}", line.key);
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    crate::reconcile::chain(error)
}
