//! The existing publisher as a command that does not end. Its time limit terminates it with all of
//! its child processes, and what it published counts.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sodalake::compare::Depth;
use sodalake::ledger::LeaseAnswer;
use sodalake::reconcile::{Asked, RepairFailure, Report, State};
use sodalake::sandbox::city::{Breakage, Table};

use crate::support::city::{TestCity, wednesday, written_at};
use crate::support::program;
use crate::support::running::until;

const TABLE: Table = Table::RadarCounts;

/// Settings with a publisher that runs this script. `$0` is its folder.
fn publisher(folder: &Path, script: &str, timeout: &str) -> String {
    format!(
        "republish.mode = \"command\"\n\
         republish.timeout = \"{timeout}\"\n\
         republish.command = [\"sh\", \"-c\", \"{script}\", \"{}\", \"{{from}}\", \"{{to}}\"]\n",
        folder.display()
    )
}

async fn city(more: &str) -> TestCity {
    let city = TestCity::around(wednesday(), more).await;
    city.damage(Breakage::OnlyCatalogued, TABLE, wednesday(), "Austin");
    city
}

fn process(file: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

fn says_everything(report: &Report) {
    let why = report.why.clone().unwrap();
    for part in [
        "publisher \"sh\"",
        "radar-counts",
        "2020-10-14 to 2020-10-15",
        "within 1s (republish.timeout)",
    ] {
        assert!(why.contains(part), "no {part:?} in {why}");
    }
    assert_eq!(report.repair_failure, Some(RepairFailure::Publisher));
    assert!(report.service_failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_over_its_time_limit_is_killed_with_its_children_and_the_day_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    // Neither the shell nor its child exits on SIGTERM. The child records it.
    let stubborn = "trap 'touch $0/asked' TERM; (trap '' TERM; sleep 1000) & \
                echo $! > $0/child; echo $$ > $0/shell; \
                while [ -e $0/child ]; do sleep 0.1; done";
    let city = city(&publisher(folder.path(), stubborn, "1s")).await;
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Differs, "{:?}", report.why);
    says_everything(&report);
    assert!(folder.path().join("asked").exists(), "SIGTERM came first");
    for name in ["shell", "child"] {
        let id = process(&folder.path().join(name)).unwrap();
        until("its end", async || {
            test_kill_process(id).is_err().then_some(())
        })
        .await;
    }
    // The dataset is free, and the ledger has the same result.
    let name = format!("repair/{}", TABLE.dataset_name());
    let now = city.world.clock.now();
    let lease = city
        .world
        .ledger
        .lease(&name, "next", now, Duration::from_secs(1));
    assert!(matches!(lease.await.unwrap(), LeaseAnswer::Granted { .. }));
    let target = city.target(TABLE, wednesday());
    let kept = city
        .world
        .ledger
        .day(&target.dataset.name, target.day)
        .await;
    assert_eq!(kept.unwrap().unwrap().state, "differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_published_before_the_time_limit_count() {
    let folder = tempfile::tempdir().unwrap();
    let slow = "touch $0/begun; sleep 1000";
    let city = city(&publisher(folder.path(), slow, "3s")).await;
    let asked = Asked::default();
    let publishes = async {
        until("its start", async || {
            folder.path().join("begun").exists().then_some(())
        })
        .await;
        city.stage.publish(wednesday(), written_at()).await.unwrap();
    };
    let repair = city.ask(TABLE, wednesday(), Depth::Keys, &asked);
    let (report, ()) = tokio::join!(repair, publishes);
    assert_eq!(report.state, State::Repaired, "{:?}", report.why);
    assert_eq!(report.repair_failure, Some(RepairFailure::Publisher));
    assert!(
        report
            .why
            .unwrap()
            .contains("within 3s (republish.timeout)")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_within_its_time_limit_finishes_and_its_failure_names_the_days() {
    let folder = tempfile::tempdir().unwrap();
    let city = city(&publisher(folder.path(), "exit 3", "1m")).await;
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Differs);
    let why = report.why.unwrap();
    assert!(
        why.contains("radar-counts, 2020-10-14 to 2020-10-15: exit status: 3"),
        "{why}"
    );
}

const LINE: &str = "repair radar-counts --day 2020-10-14";

#[tokio::test(flavor = "multi_thread")]
async fn the_program_says_that_its_publisher_failed() {
    let folder = tempfile::tempdir().unwrap();
    let city = city(&publisher(folder.path(), "sleep 1000", "1s")).await;
    let ran = program::run(&city, LINE).await;
    let said = format!("{}{}", ran.out, ran.err);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(ran.code, 7, "{said}");
    assert!(said.contains("within 1s (republish.timeout)"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_program_takes_its_publisher_along() {
    let folder = tempfile::tempdir().unwrap();
    let hangs = "echo $$ > $0/shell; sleep 1000";
    let city = city(&publisher(folder.path(), hangs, "1h")).await;
    let mut child = program::command(&city, LINE, &[]).spawn().unwrap();
    let shell = folder.path().join("shell");
    let id = until("its start", async || process(&shell)).await;
    let ours = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(ours, Signal::INT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    until("its end", async || {
        test_kill_process(id).is_err().then_some(())
    })
    .await;
}
