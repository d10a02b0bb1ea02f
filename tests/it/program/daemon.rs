//! The daemon as operators meet it: the real binary, run on a fictional city.

mod replicas;
mod tidy;
mod week;
mod workers;

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use sodalake::compare::Depth;
use sodalake::model::Day;
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, PortalOptions, Rule};
use url::Url;

use crate::support::city::{Rows, TestCity};
use crate::support::postgres;
use crate::support::program::config;
use crate::support::running::{Running, until};

/// Often enough for a test, and limited to the days that the city has published.
const SCHEDULE: &str = "schedule.survey = \"*/2 * * * * *\"\n\
     schedule.check = \"0 0 0 1 1 *\"\n\
     schedule.audit = \"0 0 0 1 1 *\"\n\
     schedule.window_days = 6\n\
     schedule.settle_days = 3\n\
     rails.recheck_after = \"2s\"\n";

/// A day of the current window.
fn lately() -> Day {
    Day::at(Utc::now(), chrono_tz::America::Chicago).plus(-5)
}

async fn city(more: &str) -> TestCity {
    // TestCity sets rails.recheck_after itself; a second line would be a duplicate key.
    let more = format!("{SCHEDULE}{more}").replace("rails.recheck_after = \"2s\"\n", "");
    TestCity::with(
        lately(),
        &more,
        PortalOptions::default(),
        &[("SODALAKE__RAILS__RECHECK_AFTER", "2s")],
    )
    .await
}

/// The dataset that is broken.
const TABLE: Table = Table::RadarCounts;

/// A city with one day of which the last rows of a file are not published.
async fn broken_city(more: &str) -> (TestCity, Rows) {
    let city = city(more).await;
    let whole = city.rows(TABLE);
    let base = city.bases(TABLE, lately()).remove(0);
    city.damage(Breakage::TailLost, TABLE, lately(), &base);
    assert_ne!(city.rows(TABLE), whole);
    (city, whole)
}

const RECHECK: (&str, &str) = ("SODALAKE__RAILS__RECHECK_AFTER", "2s");

async fn state(city: &TestCity, table: Table, day: Day) -> Option<String> {
    let name = table.dataset_name().parse().unwrap();
    let record = city.world.ledger.day(&name, day).await.unwrap();
    record.map(|record| record.state)
}

async fn is_in_sync(city: &TestCity, table: Table, day: Day) -> Option<()> {
    (state(city, table, day).await? == "in-sync").then_some(())
}

/// Whether no work is left.
async fn is_quiet(city: &TestCity) -> Option<()> {
    let now = city.world.clock.now();
    let size = city.world.ledger.queue_size(now).await.unwrap();
    (size.ready + size.waiting + size.in_work == 0).then_some(())
}

fn change_settings(city: &TestCity, from: &str, to: &str) {
    let file = config(city);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "no {from:?} in {text}");
    std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reports_readiness_checks_automatically_and_exits_on_sigterm() {
    let city = city("").await;
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    daemon.tells("WATCHDOG=1").await;
    let day = lately();
    until("every day of the window", async || {
        let mut all = Table::ALL.iter();
        loop {
            let Some(table) = all.next() else {
                return Some(());
            };
            is_in_sync(&city, *table, day).await?;
        }
    })
    .await;
    daemon.tells("STATUS=idle until").await;
    until("an empty queue", async || is_quiet(&city).await).await;
    // From then on every request belongs to a survey: it counts rows per day and reads no row.
    let seen = |city: &TestCity| city.stage.portal.requests().len();
    let before = seen(&city);
    until("surveys", async || {
        (seen(&city) >= before + 10).then_some(())
    })
    .await;
    for request in &city.stage.portal.requests()[before..] {
        assert!(request.query.contains("sl_rows"), "{request:?}");
    }

    daemon.signal("TERM").await;
    daemon.tells("STOPPING=1").await;
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert!(is_quiet(&city).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_day_is_found_rechecked_and_repaired_automatically() {
    let (city, whole) = broken_city("").await;
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    daemon.logs("repaired radar-counts", 1).await;
    assert_eq!(city.rows(TABLE), whole);

    // A fault that purges must persist for two seconds. It waits on the queue and occupies no
    // worker.
    let camera = Table::CameraCounts;
    let whole = city.rows(camera);
    city.try_damage(Breakage::OtherSpelling, camera, lately())
        .unwrap();
    daemon.logs("must persist for 2s", 1).await;
    daemon.logs("repaired camera-counts", 1).await;
    assert_eq!(city.rows(camera), whole);
    let again = city.check(camera, lately(), Depth::Content).await;
    assert_eq!(again.state, State::InSync);
    daemon.signal("INT").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn observing_changes_nothing_until_a_reload_enables_repair() {
    let (city, whole) = broken_city("").await;
    change_settings(&city, "mode = \"repair\"", "mode = \"observe\"");
    let broken = city.rows(TABLE);
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    until("the finding", async || {
        (state(&city, TABLE, lately()).await? == "differs").then_some(())
    })
    .await;
    assert_eq!(city.rows(TABLE), broken);

    // An invalid file changes nothing, and its error is reported.
    change_settings(&city, "mode = \"observe\"", "mode = \"destroy\"");
    daemon.signal("HUP").await;
    daemon.tells("RELOADING=1").await;
    daemon
        .logs(
            "cannot reload the settings; the old ones remain in effect",
            1,
        )
        .await;
    assert!(daemon.log().contains("destroy"), "{}", daemon.log());

    change_settings(&city, "mode = \"destroy\"", "mode = \"repair\"");
    daemon.signal("HUP").await;
    daemon.logs("mode: \"observe\" is now \"repair\"", 1).await;
    daemon.logs("repaired radar-counts", 1).await;
    assert_eq!(city.rows(TABLE), whole);
    for password in ["writer-password", "reader-password"] {
        assert!(!daemon.log().contains(password));
    }
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

/// This fault for every write.
fn writes(fault: Fault) -> Faults {
    Faults {
        rules: vec![Rule {
            on: Operation::Write,
            ..Rule::always(fault)
        }],
        replicas: None,
    }
}

/// The number of writes that the portal has received since its log was cleared.
fn written(city: &TestCity) -> usize {
    let requests = city.stage.portal.requests();
    requests.iter().filter(|one| one.method != "GET").count()
}

async fn a_write(city: &TestCity) {
    until("a write", async || (written(city) > 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_during_a_repair_continues_after_its_restart() {
    let (city, whole) = broken_city("").await;
    city.stage.portal.set_faults(writes(Fault::Reset));
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    let name = TABLE.dataset_name().parse().unwrap();
    until("a repair under way", async || {
        let unfinished = city.world.ledger.unfinished(&name).await.unwrap();
        (!unfinished.is_empty()).then_some(())
    })
    .await;
    daemon.signal("KILL").await;
    assert_eq!(daemon.ended().await.code(), None);
    city.stage.portal.set_faults(Faults::default());

    // Its claim and its lease are taken over immediately: on this machine it has certainly exited.
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    daemon.logs("repaired radar-counts", 1).await;
    assert_eq!(city.rows(TABLE), whole);
    until("an empty queue", async || is_quiet(&city).await).await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_the_current_write_and_starts_no_other() {
    let (city, whole) = broken_city("socrata.chunk_rows = 2\n").await;
    let broken = city.rows(TABLE).len();
    assert!(broken + 2 < whole.len(), "more than one write is needed");
    city.stage
        .portal
        .set_faults(writes(Fault::Delay { ms: 10_000 }));
    city.stage.portal.clear_requests();
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    a_write(&city).await;
    daemon.signal("TERM").await;
    daemon.tells("STOPPING=1").await;
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert_eq!((written(&city), city.rows(TABLE).len()), (1, broken + 2));

    city.stage.portal.set_faults(Faults::default());
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    daemon.logs("repaired radar-counts", 1).await;
    assert_eq!(city.rows(TABLE), whole);
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_exits_without_waiting_for_a_write() {
    let (city, _) = broken_city("").await;
    city.stage
        .portal
        .set_faults(writes(Fault::Stall { after_bytes: 0 }));
    city.stage.portal.clear_requests();
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    a_write(&city).await;
    daemon.signal("TERM").await;
    daemon.tells("STOPPING=1").await;
    daemon.tells("STATUS=shutting down").await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(130), "{}", daemon.log());
    let name = TABLE.dataset_name().parse().unwrap();
    let unfinished = city.world.ledger.unfinished(&name).await.unwrap();
    assert_eq!(unfinished.len(), 1, "the next pass resolves it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_portal_is_waited_for() {
    let city = city("").await;
    let mut daemon = Running::ready(&city, &[RECHECK]).await;
    let table = Table::CameraCounts;
    until("a first look", async || {
        is_in_sync(&city, table, lately()).await
    })
    .await;
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule::always(Fault::Unavailable)],
        replicas: None,
    });
    daemon.tells("STATUS=waiting for the portal").await;
    let unfulfilled = async || {
        let all = city.world.ledger.schedules().await.unwrap();
        all.into_iter()
            .find(|one| one.failure.is_some() && !one.is_fulfilled())
    };
    until("an unfulfilled schedule", unfulfilled).await;
    assert!(daemon.child.try_wait().unwrap().is_none(), "it stays up");

    city.stage.portal.set_faults(Faults::default());
    daemon.logs("the portal answers again", 1).await;
    until("every schedule to be fulfilled", async || {
        unfulfilled().await.is_none().then_some(())
    })
    .await;
    daemon.tells("STATUS=idle until").await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

fn ledger_at(url: &Url) -> [(&'static str, String); 2] {
    let recheck = (RECHECK.0, RECHECK.1.to_owned());
    [("SODALAKE__LEDGER__URL", url.to_string()), recheck]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_ledger_is_waited_for_at_the_start_and_later() {
    let city = city("").await;
    let mut server = postgres::Server::start();
    let database = postgres::database_on(&server.url).await;
    server.stop();
    let env = ledger_at(&database);
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut daemon = Running::start(&city, &env);
    daemon.tells("STATUS=waiting for the ledger").await;
    server.start_again();
    daemon.tells("READY=1").await;
    daemon.tells("STATUS=idle until").await;

    server.stop();
    daemon.tells("STATUS=waiting for the ledger").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(daemon.child.try_wait().unwrap().is_none(), "it stays up");
    server.start_again();
    daemon.logs("the ledger answers again", 2).await;
    daemon.tells("STATUS=idle until").await;
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_exit_immediately_as_a_usage_error() {
    let city = city("").await;
    change_settings(&city, "mode = \"repair\"", "mode = \"destroy\"");
    let mut daemon = Running::start(&city, &[]);
    assert_eq!(daemon.ended().await.code(), Some(2), "{}", daemon.log());
    assert!(daemon.log().contains("mode"), "{}", daemon.log());
}

/// Resident memory of this process in KiB.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
