//! `sodalake run`: the loop that keeps looking, and mends what it may.
//!
//! One turn of the loop:
//!
//! ```text
//! note what is due ─▶ begin its runs ─▶ dataset-days on the queue ─▶ claim ─▶ pass ─▶ finish or give back
//!       (ticker)          (runs)               (ledger)                      (worker)      (ledger, observer)
//! ```
//!
//! Everything that must not be forgotten stands in the ledger: what is due, the queue, who has
//! claimed what. The loop itself remembers nothing it needs, so a start, a crash and another
//! replica beside it are all the same to it. It looks at the ledger every few seconds whatever
//! happens; the clock's alarms only wake it in time. It also feeds the service manager's watchdog,
//! and nobody else does: a loop that hangs is ended.
//!
//! A service that fails pauses the whole: nothing new is begun for a while that grows, then one
//! try, and only when that succeeds everything again.

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
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError, JoinSet};

use crate::app;
use crate::ledger::{LedgerError, QueueSize, Queued};
use crate::model::DatasetName;
use crate::reconcile::{Clock, Report, Service, World};
use crate::repair::{self, Stop, Writers};
use crate::schedule::Schedule;
use crate::settings::{Mode, Settings, SettingsError};
use crate::telemetry::{Activity, Phase, Round};

use self::ended::Ended;
use self::service::{Order, Orders};
use self::ticker::Ticker;
use self::trouble::Trouble;
use self::worker::Mends;

/// The loop turns at least so often.
const TURN: Duration = Duration::from_secs(2);

/// Longest that the loop waits for the ledger in one turn. The watchdog waits longer.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a claim on a dataset-day lasts without being renewed.
const CLAIM: Duration = Duration::from_mins(3);

/// How often claims are renewed.
const RENEW: Duration = Duration::from_secs(45);

/// Hears of everything the daemon finds out: where metrics and notices come from.
pub trait Observer: Send + Sync {
    /// Everything is open, or open anew by other settings. `holder` is who holds our leases.
    fn renewed(&self, world: &Arc<World>, holder: &str);

    /// A dataset-day was looked at, mended or skipped. Called once for each, in no order; quick.
    fn told(&self, report: &Report);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deaf;

impl Observer for Deaf {
    fn renewed(&self, _world: &Arc<World>, _holder: &str) {}

    fn told(&self, _report: &Report) {}
}

/// Reads the settings anew, as they are now.
pub type Reread = Box<dyn Fn() -> Result<Settings, SettingsError> + Send + Sync>;

/// What a daemon is made of before it runs.
pub struct Parts {
    /// Reads the settings.
    pub reread: Reread,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The shared picture of what is being done.
    pub activity: Activity,
    /// Who hears what is found out.
    pub observer: Arc<dyn Observer>,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Asked to end, with the step in hand finished.
    Drained,
    /// Asked twice: at once.
    Cut,
}

/// What looks and what mends, by the settings in force.
#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    /// Only in repair mode: looking needs no secret that can write.
    writers: Option<Arc<Writers>>,
}

impl Tools {
    /// Opens them. What mends goes by the name of `holder` in leases, and ends when `stop` is asked.
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

/// The daemon at work.
pub struct Daemon {
    tools: Tools,
    reread: Reread,
    observer: Arc<dyn Observer>,
    activity: Activity,
    ticker: Ticker,
    mends: Arc<Mends>,
    stop: Stop,
    /// Who we are, in claims and leases.
    holder: String,
    work: JoinSet<Ended>,
    claimed: HashMap<Id, Queued>,
    runs: HashMap<Id, (DatasetName, Schedule)>,
    /// What the ledger could not be told yet.
    untold: Vec<Queued>,
    trouble: Trouble,
    round: Option<Round>,
    size: QueueSize,
    renewed: DateTime<Utc>,
    tidied: Option<DateTime<Utc>>,
    inherited: bool,
    ready: bool,
}

impl Daemon {
    /// Opens everything. A service that is away is waited for; `orders` may end that.
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
            trouble.note(reason, &format!("failed to {error:#}"), now);
            let pause = trouble.pause();
            parts.activity.update(|picture| picture.paused = pause);
            service::tell(&parts.activity.snapshot().line(now));
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
            observer: parts.observer,
            activity: parts.activity,
            ticker,
            mends: Arc::default(),
            stop,
            holder,
            work: JoinSet::new(),
            claimed: HashMap::new(),
            runs: HashMap::new(),
            untold: Vec::new(),
            trouble,
            round: None,
            size: QueueSize::default(),
            renewed: now,
            tidied: None,
            inherited: false,
            ready: false,
        }))
    }

    /// Opens everything without waiting for anyone's orders: for one who turns the loop himself.
    ///
    /// # Errors
    /// As the daemon's start: if anything cannot be opened.
    pub async fn at_hand(parts: Parts) -> Result<Self> {
        let mut orders = Orders::none();
        let opened = Self::open(parts, &mut orders).await?;
        opened.context("open the daemon: it was asked to end")
    }

    /// One turn of the loop.
    pub async fn turn(&mut self) {
        let now = self.now();
        match tokio::time::timeout(ANSWER, self.turned(now)).await {
            Ok(Ok(())) => self.trouble.over_for(Service::Ledger),
            Ok(Err(error)) => self.trouble.note(Service::Ledger, &chain(&error), now),
            Err(_) => self
                .trouble
                .note(Service::Ledger, "it does not answer", now),
        }
        self.picture(now);
    }

    async fn turned(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        self.renew(now).await?;
        self.inherit().await?;
        self.tell_untold(now).await?;
        if self.stop.is_asked() {
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

    /// Waits until something has ended or `within` is over, and takes in what has.
    pub async fn wait(&mut self, within: Duration) {
        let ended = self.ended(within).await;
        self.take_in_all(ended).await;
    }

    /// What has ended, if anything does within this time. May be dropped without a loss.
    async fn ended(&mut self, within: Duration) -> Option<Result<(Id, Ended), JoinError>> {
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

    /// Whether anything is in work.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Ends: what only looks is dropped, what mends finishes the step in hand; then every claim and
    /// lease is given back.
    async fn drain(&mut self, orders: &mut Orders) -> Result<End> {
        self.stop.ask();
        self.activity
            .update(|picture| picture.phase = Phase::Draining);
        service::stopping();
        while self.is_at_work() {
            service::tell(&self.activity.snapshot().line(self.now()));
            let ended = tokio::select! {
                ended = self.ended(TURN) => ended,
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
        let given = async {
            ledger.give_all_back(&self.holder).await?;
            ledger.release_all(&self.holder).await
        };
        if let Err(error) = given.await {
            let error = chain(&error);
            tracing::warn!("failed to give claims and leases back, they run out: {error}");
        }
    }

    fn world(&self) -> &Arc<World> {
        &self.tools.world
    }

    fn now(&self) -> DateTime<Utc> {
        self.world().clock.now()
    }

    /// How many dataset-days may be in work at once.
    fn places(&self) -> usize {
        let most = self.world().settings.socrata.max_in_flight as usize;
        if self.trouble.is_none() { most } else { 1 }
    }

    /// Claims work for the places that are free.
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
                    Arc::clone(&self.mends),
                    self.stop.clone(),
                    self.activity.clone(),
                );
                let task = self.work.spawn(pass);
                self.claimed.insert(task.id(), entry);
            } else {
                // Its dataset has just left the settings.
                ledger.finish(&entry, &self.holder).await?;
            }
        }
        Ok(())
    }

    /// Gives back, once after the start, what programs have claimed that are certainly gone: those
    /// on this machine. The claims of others run out.
    async fn inherit(&mut self) -> Result<(), LedgerError> {
        if self.inherited {
            return Ok(());
        }
        let ledger = &self.tools.world.ledger;
        for holder in ledger.claimants().await? {
            if repair::holder_is_gone(&holder) {
                let days = ledger.give_all_back(&holder).await?;
                tracing::info!(%holder, days, "gave back {days} dataset-days of {holder}, which is gone");
            }
        }
        self.inherited = true;
        Ok(())
    }

    async fn renew(&mut self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let since = (now - self.renewed).to_std().unwrap_or(RENEW);
        if self.claimed.is_empty() || since < RENEW {
            return Ok(());
        }
        let ledger = &self.tools.world.ledger;
        let entries: Vec<Queued> = self.claimed.values().cloned().collect();
        ledger
            .renew_claims(&entries, &self.holder, now, CLAIM)
            .await?;
        self.renewed = now;
        Ok(())
    }

    /// Brings the shared picture up to date.
    fn picture(&mut self, now: DateTime<Utc>) {
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
            _ if self.stop.is_asked() => Phase::Draining,
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

/// Runs until asked to end.
///
/// # Errors
/// If the settings are wrong, or signals cannot be listened to.
pub async fn run(parts: Parts) -> Result<End> {
    let mut orders = Orders::listen().context("listen for signals")?;
    let Some(mut daemon) = Daemon::open(parts, &mut orders).await? else {
        return Ok(End::Drained);
    };
    let mut told = service::Told::default();
    loop {
        daemon.turn().await;
        if !daemon.ready && daemon.trouble.is_none() {
            daemon.ready = true;
            service::ready();
            tracing::info!("ready");
        }
        told.turned(daemon.activity.snapshot().line(daemon.now()));
        let ended = tokio::select! {
            ended = daemon.ended(service::turn_within(TURN)) => ended,
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
