//! Leases between two daemons, and between a killed daemon and the next one. The daemon that must
//! wait does no work, and it takes over from a killed one immediately.
//!
//! Work is measured as processor time of the daemons from `/proc` on both ledgers. On PostgreSQL it
//! is also measured as ledger transactions, which the server counts. SQLite counts none.

mod skew;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta, Utc};
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::ledger::{Ledger, Reason, ToCheck};
use sodalake::model::Day;
use sodalake::sandbox::city::Table;
use sodalake::sandbox::portal::{Fault, Faults, Operation, Rule};
use sodalake::settings::Settings;
use tokio_postgres::Client;

use crate::support::city::TestCity;
use crate::support::postgres;
use crate::support::program::config;
use crate::support::running::{Running, until};

/// One survey of each dataset at the start, and nothing after it.
const SCHEDULE: &str = "schedule.survey = \"0 0 0 1 1 *\"\n\
     schedule.check = \"0 0 0 1 1 *\"\n\
     schedule.audit = \"0 0 0 1 1 *\"\n\
     schedule.window_days = 6\n\
     schedule.settle_days = 3\n";

/// The portal's response time: longer than any part of a test.
const SLOW: Fault = Fault::Delay { ms: 240_000 };

/// How long the daemons' work is measured.
const COUNTED: Duration = Duration::from_secs(5);

/// What the daemons may use of one processor while they wait.
const IDLE: Duration = Duration::from_secs(1);

/// How many transactions waiting daemons may cost in [`COUNTED`]. A loop without a pause costs more
/// than 10,000. The server counts some of the start, too: it is notified of them a second late.
const FEW: i64 = 1_000;

/// Ticks of `/proc`'s processor time per second.
const TICKS: u64 = 100;

/// The database that holds the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Sqlite,
    Postgres,
}

/// The holder of a lease and its end, as the database prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    holder: String,
    until: String,
}

/// A city with a slow portal, and a ledger that several daemons share.
struct Shared {
    city: TestCity,
    env: Vec<(String, String)>,
    server: Option<Client>,
}

/// The processor time that a process has used.
fn used(daemon: &Running) -> Duration {
    let process = daemon.child.id().expect("it runs");
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u64 = [11, 12]
        .map(|at| fields[at].parse::<u64>().unwrap())
        .iter()
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS)
}

impl Shared {
    async fn new(on: On) -> Self {
        let day = Day::at(Utc::now(), chrono_tz::America::Chicago).plus(-5);
        let city = TestCity::around(day, SCHEDULE).await;
        let mut shared = Self {
            city,
            env: Vec::new(),
            server: None,
        };
        if on == On::Postgres {
            let url = postgres::database().await;
            shared.server = Some(postgres::client(&url).await);
            shared
                .env
                .push(("SODALAKE__LEDGER__URL".into(), url.to_string()));
        }
        shared.portal_answers(false);
        shared
    }

    fn portal_answers(&self, soon: bool) {
        let slow = Rule {
            on: Operation::Read,
            ..Rule::always(SLOW)
        };
        self.city.stage.portal.set_faults(Faults {
            rules: if soon { Vec::new() } else { vec![slow] },
            replicas: None,
        });
    }

    async fn ready(&self) -> Running {
        Running::ready(&self.city, &self.env()).await
    }

    fn env(&self) -> Vec<(&str, &str)> {
        let pairs = self.env.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// The ledger, opened by the test beside the daemons.
    async fn ledger(&self) -> Ledger {
        let facts: Vec<_> = sodalake::expected::recipes()
            .iter()
            .map(|one| one.facts())
            .collect();
        let file = config(&self.city);
        let settings = Settings::load(Some(&file), self.env.iter().cloned(), &facts).unwrap();
        app::ledger(&settings).await.unwrap()
    }

    fn file(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.city.stage.dir().join("ledger.db")).unwrap()
    }

    /// What the ledger's tables hold, three texts a line.
    async fn lines(&self, sql: &str) -> Vec<[String; 3]> {
        if let Some(server) = &self.server {
            let rows = server.query(sql, &[]).await.unwrap();
            let text = |row: &tokio_postgres::Row| [row.get(0), row.get(1), row.get(2)];
            return rows.iter().map(text).collect();
        }
        let file = self.file();
        let mut query = file.prepare(sql).unwrap();
        let lines = query.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
        lines.unwrap().map(Result::unwrap).collect()
    }

    async fn change(&self, sql: &str) {
        if let Some(server) = &self.server {
            return server.batch_execute(sql).await.unwrap();
        }
        self.file().execute_batch(sql).unwrap();
    }

    /// The held leases of runs, by name.
    async fn leases(&self) -> BTreeMap<String, Held> {
        let sql = "select name, holder, cast(until as text) from ledger_leases
             where holder <> '' and name like 'run/%'";
        let lines = self.lines(sql).await.into_iter();
        lines
            .map(|[name, holder, until]| (name, Held { holder, until }))
            .collect()
    }

    /// Waits until this daemon holds the lease of each dataset's survey.
    async fn surveys(&self, daemon: &Running) -> BTreeMap<String, Held> {
        let process = format!(":{}:", daemon.child.id().expect("it runs"));
        until("every survey in its hands", async || {
            let leases = self.leases().await;
            let is_its = |held: &Held| held.holder.contains(&process);
            (leases.len() == Table::ALL.len() && leases.values().all(is_its)).then_some(leases)
        })
        .await
    }

    async fn transactions(&self) -> i64 {
        let Some(server) = &self.server else {
            return 0;
        };
        let sql = "select xact_commit + xact_rollback from pg_stat_database
             where datname = current_database()";
        server.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Asserts that these daemons do almost nothing while they are measured.
    async fn idle(&self, daemons: &[&Running]) {
        let total = || daemons.iter().map(|one| used(one)).sum::<Duration>();
        let (used, transactions) = (total(), self.transactions().await);
        tokio::time::sleep(COUNTED).await;
        let used = total().saturating_sub(used);
        let transactions = self.transactions().await - transactions;
        println!("{used:?} of processor time, {transactions} transactions in {COUNTED:?}");
        assert!(
            transactions < FEW,
            "{transactions} transactions in {COUNTED:?}"
        );
        assert!(used < IDLE, "{used:?} of processor time in {COUNTED:?}");
    }
}

async fn killed(mut daemon: Running) -> String {
    let process = daemon.child.id().unwrap();
    daemon.signal("KILL").await;
    daemon.ended().await;
    format!(":{process}:")
}

async fn two_daemons(on: On) {
    let shared = Shared::new(on).await;
    let first = shared.ready().await;
    let leases = shared.surveys(&first).await;
    let second = shared.ready().await;
    shared.idle(&[&first, &second]).await;
    second
        .logs("must wait for lease run/survey/", leases.len())
        .await;

    // After the holder is killed, the other daemon takes over its leases and claims.
    let ledger = shared.ledger().await;
    let holder = leases.values().next().unwrap().holder.clone();
    let want = ToCheck {
        dataset: Table::ALL[0].dataset_name().parse().unwrap(),
        day: "2020-10-01".parse().unwrap(),
        reason: Reason::Audit,
        depth: Depth::Keys,
    };
    let (now, hour) = (Utc::now(), Duration::from_hours(1));
    ledger.enqueue(&[want], now).await.unwrap();
    assert_eq!(ledger.claim(&holder, now, hour, 9).await.unwrap().len(), 1);
    killed(first).await;
    shared.surveys(&second).await;
    until("the claim in the other's hands", async || {
        let claimants = ledger.claimants().await.unwrap();
        let is_theirs = |(name, _): &(String, _)| *name == holder;
        (!claimants.iter().any(is_theirs)).then_some(())
    })
    .await;
    let waits = second.log().matches("must wait for lease").count();
    assert_eq!(
        waits,
        leases.len(),
        "once for each lease:\n{}",
        second.log()
    );
}

async fn killed_and_started_again(on: On) {
    let shared = Shared::new(on).await;
    let first = shared.ready().await;
    shared.surveys(&first).await;
    killed(first).await;
    let started = Instant::now();
    let second = shared.ready().await;
    shared.idle(&[&second]).await;
    shared.surveys(&second).await;
    println!("taken over {:?} after the kill", started.elapsed());
    assert!(
        second.log().contains("took over lease run/survey/"),
        "{}",
        second.log()
    );
}

/// Leases of a holder on another machine, taken while its clock was a day ahead.
async fn unrenewed(on: On) {
    let shared = Shared::new(on).await;
    drop(shared.ledger().await);
    let until = (Utc::now() + TimeDelta::days(1)).to_rfc3339_opts(SecondsFormat::Micros, true);
    for table in Table::ALL {
        let name = format!("run/survey/{}", table.dataset_name());
        let sql = format!(
            "insert into ledger_leases (name, holder, since, until, lasts, fence)
             values ('{name}', 'elsewhere:1:unknown.x.1', null, '{until}', 3000000, 1)"
        );
        shared.change(&sql).await;
    }
    let daemon = shared.ready().await;
    shared.surveys(&daemon).await;
    let log = daemon.log();
    for words in [
        "must wait for lease run/survey/",
        "which no longer renews it",
    ] {
        assert_eq!(
            log.matches(words).count(),
            Table::ALL.len(),
            "{words}\n{log}"
        );
    }
}

async fn a_long_run(on: On) {
    let shared = Shared::new(on).await;
    let daemon = shared.ready().await;
    let before = shared.surveys(&daemon).await;
    until("a later end of every lease", async || {
        let after = shared.leases().await;
        let is_later = |(name, held): (&String, &Held)| after[name].until > held.until;
        before.iter().all(is_later).then_some(())
    })
    .await;
    let holders = |leases: &BTreeMap<String, Held>| -> BTreeSet<String> {
        leases.values().map(|held| held.holder.clone()).collect()
    };
    assert_eq!(holders(&shared.leases().await), holders(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_another_without_doing_work_on_sqlite() {
    two_daemons(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_another_without_doing_work_on_postgres() {
    two_daemons(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_takes_over_from_a_killed_one_immediately_on_sqlite() {
    killed_and_started_again(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_takes_over_from_a_killed_one_immediately_on_postgres() {
    killed_and_started_again(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_is_taken_over_regardless_of_its_end_on_sqlite() {
    unrenewed(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_is_taken_over_regardless_of_its_end_on_postgres() {
    unrenewed(On::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_renews_its_lease_on_sqlite() {
    a_long_run(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_renews_its_lease_on_postgres() {
    a_long_run(On::Postgres).await;
}
