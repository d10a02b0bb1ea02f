//! Catalog and ledger through a transaction pooler: everything works, and the program leaves
//! nothing on the shared sessions that another program would notice.

use std::collections::BTreeSet;

use sodalake::sandbox::city::{Breakage, Table};
use tokio_postgres::{Client, SimpleQueryMessage};
use url::Url;

use crate::support::city::{TestCity, wednesday};
use crate::support::lake_catalog::{databases, move_catalog};
use crate::support::pgbouncer::{POOL_SIZE, PgBouncer};
use crate::support::postgres;
use crate::support::program::{Ran, with};
use crate::support::running::{Running, until};

/// A city whose catalog and ledger are reached through one PgBouncer.
struct Pooled {
    city: TestCity,
    bouncer: PgBouncer,
    catalog: Url,
    ledger: Url,
    env: Vec<(&'static str, String)>,
}

impl Pooled {
    async fn new(pool_mode: &str, city: TestCity) -> Self {
        let (catalog, ledger) = (postgres::database().await, postgres::database().await);
        let direct = postgres::client(&catalog).await;
        move_catalog(&city, &direct).await;
        let theirs = "create table theirs (n int)";
        direct.batch_execute(theirs).await.unwrap();
        let direct = postgres::client(&ledger).await;
        direct.batch_execute(theirs).await.unwrap();
        let bouncer = PgBouncer::start(&catalog, pool_mode).await;
        let env = databases(&bouncer.url(&catalog), &bouncer.url(&ledger));
        Self {
            city,
            bouncer,
            catalog,
            ledger,
            env,
        }
    }

    fn env(&self) -> Vec<(&str, &str)> {
        let env = self.env.iter();
        env.map(|(name, value)| (*name, value.as_str())).collect()
    }

    async fn run(&self, line: &str) -> Ran {
        with(&self.city, line, &self.env()).await
    }

    /// Another program inserts through the same pools, on every session of them, and finds each
    /// session like a new one.
    async fn assert_sessions_unchanged(&self) {
        for database in [&self.catalog, &self.ledger] {
            let as_new = state(&postgres::client(database).await).await;
            let clients = [
                self.bouncer.client(database).await,
                self.bouncer.client(database).await,
            ];
            let mut sessions = BTreeSet::new();
            for client in &clients {
                client.batch_execute("begin").await.unwrap();
                sessions.insert(first(client, "select pg_backend_pid()").await);
                assert_eq!(state(client).await, as_new, "{database}");
            }
            assert_eq!(sessions.len(), POOL_SIZE, "every session was seen");
            for client in &clients {
                client.batch_execute("commit").await.unwrap();
            }
            for _ in 0..3 {
                for client in &clients {
                    let insert = "insert into theirs values (1)";
                    client.batch_execute(insert).await.unwrap();
                }
            }
        }
    }
}

async fn first(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.unwrap_or_default().to_owned()
}

/// All session state that one program could leave for the next.
async fn state(client: &Client) -> String {
    let sql = "select concat_ws(' | ',
       (select string_agg(name || '=' || setting, ' ' order by name) from pg_settings
          where (source = 'session' or name in ('default_transaction_read_only',
            'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
            'synchronous_commit', 'search_path', 'TimeZone', 'DateStyle',
            'application_name'))
            and name <> 'client_encoding'),
       (select 'prepared ' || count(*) from pg_prepared_statements),
       (select 'cursors ' || count(*) from pg_cursors),
       (select 'channels ' || count(*) from pg_listening_channels()),
       (select 'temporary ' || count(*) from pg_class
          where relnamespace = pg_my_temp_schema()),
       (select 'locks ' || count(*) from pg_locks
          where locktype = 'advisory' and pid = pg_backend_pid()))";
    first(client, sql).await
}

const DAY: &str = "--day 2020-10-14 --format json";

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_and_leave_nothing_behind() {
    let city = TestCity::around(wednesday(), "").await;
    let base = "Austin";
    for (breakage, table) in [
        (Breakage::TailLost, Table::RadarCounts),
        (Breakage::NeverPublished, Table::TravelTimes),
        (Breakage::GhostEntry, Table::MatchedTrips),
    ] {
        city.damage(breakage, table, wednesday(), base);
    }
    let pooled = Pooled::new("transaction", city).await;
    pooled.assert_sessions_unchanged().await;
    for (line, code, why) in [
        ("check", 1, "differs"),
        ("plan", 1, "\"action\":\"publish\""),
        ("repair --all", 0, "repaired"),
        ("check", 0, "in-sync"),
    ] {
        let day = if line == "plan" {
            "--day 2020-10-14"
        } else {
            DAY
        };
        pooled.run(&format!("{line} {day}")).await.ends(code, why);
        pooled.assert_sessions_unchanged().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_programs_share_two_sessions() {
    let pooled = Pooled::new("transaction", TestCity::around(wednesday(), "").await).await;
    pooled.run(&format!("check {DAY}")).await.ends(0, "in-sync");
    let other = pooled.bouncer.client(&pooled.catalog).await;
    let inserting = async {
        for _ in 0..50 {
            let insert = "insert into theirs values (2)";
            other.batch_execute(insert).await.unwrap();
        }
    };
    let range = "--from 2020-10-13 --to 2020-10-15 --format json";
    let line = format!("check {range}");
    let (one, two, three, ()) = tokio::join!(
        pooled.run(&line),
        pooled.run(&line),
        pooled.run(&line),
        inserting
    );
    for ran in [one, two, three] {
        let ran = ran.ends(0, "in-sync");
        assert_eq!(ran.out.matches("\"state\":\"in-sync\"").count(), 10);
    }
    pooled.assert_sessions_unchanged().await;
}

/// A survey every two seconds over the days that the city has published.
const SCHEDULE: &str = "schedule.survey = \"*/2 * * * * *\"\n\
     schedule.check = \"0 0 0 1 1 *\"\n\
     schedule.audit = \"0 0 0 1 1 *\"\n\
     schedule.window_days = 6\n\
     schedule.settle_days = 3\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_works_and_leaves_nothing_behind() {
    let lately = sodalake::model::Day::at(chrono::Utc::now(), chrono_tz::America::Chicago);
    let city = TestCity::around(lately.plus(-5), SCHEDULE).await;
    let table = Table::RadarCounts;
    let whole = city.rows(table);
    let base = city.bases(table, lately.plus(-5)).remove(0);
    city.damage(Breakage::TailLost, table, lately.plus(-5), &base);
    assert_ne!(city.rows(table), whole);
    let pooled = Pooled::new("transaction", city).await;
    let mut daemon = Running::ready(&pooled.city, &pooled.env()).await;
    until("the repair", async || {
        (pooled.city.rows(table) == whole).then_some(())
    })
    .await;
    daemon.logs("repaired", 1).await;
    pooled.assert_sessions_unchanged().await;
    daemon.signal("TERM").await;
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    pooled.assert_sessions_unchanged().await;
}

/// The lines of `doctor` about `what`: the verdict and the details.
fn lines(ran: &Ran, what: &str) -> Vec<(String, String)> {
    let lines = ran.out.lines();
    let all = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ours = all.filter(|line| line["what"] == what);
    let text = |line: &serde_json::Value, field: &str| line[field].as_str().unwrap().to_owned();
    ours.map(|line| (text(&line, "verdict"), text(&line, "found")))
        .collect()
}

async fn recent() -> TestCity {
    let lately = sodalake::model::Day::at(chrono::Utc::now(), chrono_tz::America::Chicago);
    TestCity::around(lately.plus(-4), "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_whether_sessions_are_shared() {
    let pooled = Pooled::new("transaction", recent().await).await;
    let ran = pooled.run("doctor --format json").await.ends(0, "");
    for what in ["catalog sessions", "ledger sessions"] {
        let [(verdict, found)] = &lines(&ran, what)[..] else {
            panic!("{what}: {}", ran.out);
        };
        assert_eq!(verdict, "ok");
        assert!(found.contains("transaction pooler"), "{found}");
    }
    pooled.assert_sessions_unchanged().await;

    let direct = databases(&pooled.catalog, &pooled.ledger);
    let direct: Vec<_> = direct
        .iter()
        .map(|(name, url)| (*name, url.as_str()))
        .collect();
    let ran = with(&pooled.city, "doctor --format json", &direct).await;
    for what in ["catalog sessions", "ledger sessions"] {
        let [(verdict, found)] = &lines(&ran, what)[..] else {
            panic!("{what}: {}", ran.out);
        };
        assert_eq!(verdict, "ok");
        assert!(!found.contains("pooler"), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_without_transactions_is_refused_with_a_remedy() {
    let pooled = Pooled::new("statement", recent().await).await;
    let ran = pooled.run("doctor --format json").await.ends(7, "");
    for what in ["catalog", "ledger"] {
        let [(verdict, found)] = &lines(&ran, what)[..] else {
            panic!("{what}: {}", ran.out);
        };
        assert_eq!(verdict, "fail");
        assert!(found.contains("pool_mode = transaction"), "{found}");
    }
    let ran = pooled.run(&format!("check {DAY}")).await;
    ran.ends(7, "pool_mode = transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_parameters_that_a_pooler_refuses_are_named_with_a_remedy() {
    let mut pooled = Pooled::new("transaction", TestCity::around(wednesday(), "").await).await;
    for (name, value) in &mut pooled.env {
        if *name == "SODALAKE__CATALOG__URL" {
            value.push_str("?options=-c%20statement_timeout%3D1000");
        }
    }
    let ran = pooled.run(&format!("check {DAY}")).await;
    let ran = ran.ends(7, "unsupported startup parameter: options");
    assert!(ran.err.contains("ignore_startup_parameters"), "{}", ran.err);
}
