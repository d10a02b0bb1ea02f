//! The whole chain of an alert: the real daemon on a fictional city, a real Prometheus with our
//! rules that scrapes it, and a real Alertmanager that sends messages. Each fault fires exactly its
//! own alert, which clears once the fault is repaired.
//!
//! All tests share one city and one Prometheus: faults of different datasets are injected together,
//! and the complete set of firing alerts is compared.

mod watch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sodalake::model::Day;
use sodalake::reconcile::{Clock as _, SystemClock};
use sodalake::sandbox::city::{self, Breakage, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, Rule};
use tokio::process::{Child, Command};

use crate::support::city::TestCity;
use crate::support::program;
use watch::{Alert, SURGE, Watch, alerts, bound, free};

/// Schedules of seconds, so that every fault is found soon.
const SETTINGS: &str = "\
    schedule.survey = \"*/2 * * * * *\"\n\
    schedule.check = \"*/15 * * * * *\"\n\
    schedule.audit = \"0 0 0 1 1 *\"\n\
    schedule.window_days = 5\n\
    schedule.settle_days = 3\n\
    rails.max_orphan_rows_per_day = 20\n";
const BREAKER: (&str, &str) = (
    "SODALAKE__DATASET__BLUETOOTH_UNMATCHED__MAX_REPAIRS_PER_WEEK",
    "1",
);

/// A city, the daemon that repairs it, and the monitoring of the daemon.
struct Scene {
    city: TestCity,
    daemon: Child,
    watch: Watch,
    /// The checked days, from oldest to newest. The day after them is published too.
    days: [Day; 3],
}

fn start(city: &TestCity) -> Child {
    bound(env!("CARGO_BIN_EXE_sodalake"))
        .args(["run", "--config"])
        .arg(program::config(city))
        .env(BREAKER.0, BREAKER.1)
        .spawn()
        .unwrap()
}

impl Scene {
    async fn set() -> Self {
        let today = Day::at(SystemClock.now(), city::ZONE);
        let listen = free();
        let settings = format!("{SETTINGS}http.listen = \"{listen}\"\n");
        let city = TestCity::around(today.plus(-4), &settings).await;
        let daemon = start(&city);
        let folder = city.stage.dir().join("watch");
        fs::create_dir(&folder).unwrap();
        let watch = Watch::start(&folder, listen).await;
        let scene = Self {
            city,
            daemon,
            watch,
            days: [-5, -4, -3].map(|days| today.plus(days)),
        };
        scene.all_in_sync().await;
        scene
    }

    /// Waits until all days of all datasets are in sync.
    async fn all_in_sync(&self) {
        self.count("sum(sodalake_days{state=\"in-sync\"})", 15)
            .await;
    }

    async fn count(&self, expression: &str, wanted: u32) {
        let wanted = wanted.to_string();
        self.watch
            .until(&format!("{expression} is {wanted}"), async || {
                let found = self.watch.query(expression).await.unwrap();
                found
                    .first()
                    .is_some_and(|one| one["value"][1] == wanted.as_str())
            })
            .await;
    }

    /// Breaks every file of the day for which the breakage is possible. Returns the number of wrong
    /// rows.
    fn damage(&self, breakage: Breakage, table: Table, day: Day) -> u64 {
        let broken = self.city.bases(table, day).into_iter().filter_map(|base| {
            let place = city::Place { table, day, base };
            let at = SystemClock.now();
            self.city.stage.damage(breakage, &place, at).ok()
        });
        let rows = broken.flatten().map(|one| one.count).sum();
        assert!(rows > 0, "nothing of {day} breaks by {breakage:?}");
        rows
    }

    async fn command(&self, line: &str) {
        let ran = program::run(&self.city, line).await;
        assert_eq!(ran.code, 0, "{line}: {}{}", ran.out, ran.err);
    }

    /// Reloads the daemon's settings with another mode.
    async fn mode(&self, old: &str, new: &str) {
        let file = program::config(&self.city);
        let text = fs::read_to_string(&file).unwrap();
        let (old, new) = (format!("mode = \"{old}\""), format!("mode = \"{new}\""));
        assert!(text.contains(&old));
        fs::write(&file, text.replace(&old, &new)).unwrap();
        self.signal("HUP").await;
    }

    async fn signal(&self, name: &str) {
        let process = self.daemon.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &process])
            .status()
            .await;
        assert!(sent.unwrap().success());
    }

    async fn fires<const N: usize>(&self, wanted: [(&str, &str); N], going: &BTreeSet<Alert>) {
        self.watch.fires(&alerts(wanted), going).await;
    }

    /// Waits until no alert is firing and all messages about it have been received.
    async fn clears(&self, fired: &BTreeSet<Alert>) {
        self.watch.fires(&alerts([]), fired).await;
        self.watch.notified(fired).await;
    }

    /// The same, while `others` may be firing or about to fire.
    async fn clear_beside(&self, fired: &BTreeSet<Alert>, others: &BTreeSet<Alert>) {
        let overdue = "sum(sodalake_schedule_unfulfilled{schedule!=\"audit\"})";
        self.count(overdue, 0).await;
        self.all_in_sync().await;
        self.watch.fires(&alerts([]), &(fired | others)).await;
        self.watch.notified(fired).await;
    }
}

/// The file of a table's day in the lake.
fn lake_file(scene: &Scene, table: Table, day: Day) -> PathBuf {
    let files = scene.city.stage.city.day_files(table.source(), day);
    let file = files
        .into_iter()
        .find(|file| file.ext == table.ext())
        .unwrap();
    scene.city.stage.lake().join(&file.path.0)
}

/// Five faults on five datasets at once, each for a different kind of alert.
async fn faults_of_days(scene: &Scene) {
    let [first, second, ..] = scene.days;
    let held = format!("radar-counts {first}");
    scene
        .command(&format!("mark {held} hold --reason rehearsal"))
        .await;
    scene.damage(Breakage::ChainedAgain, Table::RadarCounts, first);
    scene.damage(Breakage::Strangers(25), Table::MatchedTrips, first);
    let file = lake_file(scene, Table::TravelTimes, second);
    let away = file.with_extension("away");
    fs::rename(&file, &away).unwrap();
    let duplicated = scene.damage(Breakage::OtherSpelling, Table::CameraCounts, first);
    assert!(duplicated > SURGE, "{duplicated} rows");
    scene.damage(Breakage::Strangers(5), Table::DeviceReads, first);
    let repaired = "sum(sodalake_rows_purged_total{dataset=\"bluetooth-unmatched\"}) > bool 0";
    scene.count(repaired, 1).await;
    scene.damage(Breakage::Strangers(5), Table::DeviceReads, first);

    let surge = alerts([("SodalakePurgeSurge", "camera-counts")]);
    let rest = [
        ("SodalakeDayHeld", "radar-counts"),
        ("SodalakeApprovalPending", "bluetooth-matched"),
        ("SodalakeUnproven", "bluetooth-summary"),
        ("SodalakeBreakerOpen", "bluetooth-unmatched"),
    ];
    scene.fires(rest, &surge).await;

    scene
        .command(&format!("mark {held} release --reason rehearsed"))
        .await;
    let rival = format!("mark bluetooth-unmatched {first} release --reason stopped");
    scene.command(&rival).await;
    fs::rename(&away, &file).unwrap();
    approve(scene, first).await;
    scene.clears(&alerts(rest)).await;
    scene.watch.notified(&surge).await;
    scene.all_in_sync().await;
}

/// As in the runbook: writes the plan to a file, reads it, approves exactly that plan.
async fn approve(scene: &Scene, day: Day) {
    let plan = scene.city.stage.dir().join("held.plan");
    let line = format!(
        "plan bluetooth-matched --day {day} --out {}",
        plan.display()
    );
    program::run(&scene.city, &line).await.ends(1, "orphan");
    let text = fs::read_to_string(&plan).unwrap();
    let header: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let digest = header["plan"]["digest"].as_str().unwrap();
    let line = format!("apply {} --approve {digest}", plan.display());
    repaired(scene, &line).await;
}

/// Runs a repair command, and retries while the daemon holds the dataset's lease.
async fn repaired(scene: &Scene, line: &str) {
    scene
        .watch
        .until(line, async || {
            program::run(&scene.city, line).await.code == 0
        })
        .await;
}

/// Rows that cannot be archived are not purged. Three days at once, since a failed service is
/// retried only after a while.
async fn an_archive_that_cannot_be_written(scene: &Scene) {
    let archive = scene.city.stage.dir().join("archive");
    let away = archive.with_extension("away");
    fs::rename(&archive, &away).unwrap();
    fs::write(&archive, "not a folder").unwrap();
    for day in &scene.days {
        scene.damage(Breakage::Strangers(5), Table::TravelTimes, *day);
    }
    let failing = alerts([("SodalakeRepairFailing", "bluetooth-summary")]);
    // The failed check is repeated by the next one only, which here comes later than the time an
    // alert waits.
    let undone = alerts([("SodalakeScheduleUnfulfilled", "bluetooth-summary")]);
    scene.watch.fires_beside(&failing, &undone).await;
    fs::remove_file(&archive).unwrap();
    fs::rename(&away, &archive).unwrap();
    // By hand, as an operator would: the daemon waits before it retries a failed service.
    let (from, to) = (scene.days[0], scene.days[2].plus(1));
    let line = format!("repair bluetooth-summary --from {from} --to {to}");
    repaired(scene, &line).await;
    scene.clear_beside(&failing, &undone).await;
}

/// Nothing is repaired, and the newest days are missing.
async fn observing_a_stalled_publisher(scene: &Scene) {
    scene.mode("repair", "observe").await;
    for day in &scene.days[1..] {
        scene.damage(Breakage::NeverPublished, Table::RadarCounts, *day);
    }
    let (late, wrong) = (
        ("SodalakeNoNewData", "radar-counts"),
        ("SodalakeDaysDiffer", "radar-counts"),
    );
    scene.fires([late], &alerts([])).await;
    scene.fires([late, wrong], &alerts([])).await;
    scene.mode("observe", "repair").await;
    scene.clears(&alerts([late, wrong])).await;
    scene.all_in_sync().await;
}

async fn a_portal_that_refuses_every_third_request(scene: &Scene) {
    let refusal = Rule {
        on: Operation::Read,
        probability: Some(0.35),
        ..Rule::always(Fault::Unavailable)
    };
    scene.city.stage.portal.set_faults(Faults {
        rules: vec![refusal],
        replicas: None,
    });
    let refused = [("SodalakePortalErrors", "")];
    scene.fires(refused, &alerts([])).await;
    scene.city.stage.portal.set_faults(Faults::default());
    scene.clears(&alerts(refused)).await;
}

/// The table is missing, as in the middle of a migration.
async fn a_catalog_that_does_not_answer(scene: &Scene) {
    let catalog = rusqlite::Connection::open(scene.city.stage.dir().join("catalog.db")).unwrap();
    catalog
        .execute_batch("alter table data_lake_catalog rename to away")
        .unwrap();
    let datasets = [
        "camera-counts",
        "bluetooth-summary",
        "bluetooth-matched",
        "bluetooth-unmatched",
        "radar-counts",
    ];
    let late = alerts(datasets.map(|dataset| ("SodalakeScheduleUnfulfilled", dataset)));
    // The days whose check failed because of it.
    let unproven = alerts(datasets.map(|dataset| ("SodalakeUnproven", dataset)));
    scene.watch.fires_beside(&late, &unproven).await;
    catalog
        .execute_batch("alter table away rename to data_lake_catalog")
        .unwrap();
    scene.clear_beside(&late, &unproven).await;
}

async fn a_stopped_daemon(scene: &mut Scene) {
    scene.daemon.kill().await.unwrap();
    let down = [("SodalakeDown", "")];
    scene.fires(down, &alerts([])).await;
    scene.daemon = start(&scene.city);
    scene.clears(&alerts(down)).await;
}

/// Every expression of the dashboard, with its variables as Grafana sets them.
fn expressions() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/sodalake.json");
    let board: Json = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let targets = (board["panels"].as_array().unwrap().iter())
        .flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let annotations = board["annotations"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .cloned();
    let expressions = targets.chain(annotations).map(|query| {
        let expression = query["expr"].as_str().unwrap();
        let expression = expression.replace("$dataset", ".*");
        expression
            .replace("$__rate_interval", "30s")
            .replace("$__interval", "30s")
    });
    let expressions: Vec<String> = expressions.collect();
    assert!(expressions.len() > 40, "{} expressions", expressions.len());
    expressions
}

/// The metrics that an expression uses.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sodalake_") || word.starts_with("process_"))
}

/// Asserts that every query of the dashboard yields data, or would once there is something to show.
async fn the_dashboard_shows_data(scene: &Scene) {
    let names = scene.watch.names().await;
    for expression in expressions() {
        for metric in metrics(&expression) {
            assert!(names.contains(metric), "no metric {metric}: {expression}");
        }
        let found = scene.watch.query(&expression).await;
        let found = found.unwrap_or_else(|error| panic!("{expression}: {error}"));
        let only_at_times = expression.contains("> 0") || expression.contains("ALERTS");
        assert!(!found.is_empty() || only_at_times, "{expression}: nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_fires_exactly_its_alert_and_clears_once_it_is_repaired() {
    let mut scene = Scene::set().await;
    // Prometheus scrapes its targets only after some seconds, and reports them as missing until
    // then.
    scene.fires([], &alerts([("SodalakeDown", "")])).await;
    faults_of_days(&scene).await;
    the_dashboard_shows_data(&scene).await;
    an_archive_that_cannot_be_written(&scene).await;
    observing_a_stalled_publisher(&scene).await;
    a_portal_that_refuses_every_third_request(&scene).await;
    a_catalog_that_does_not_answer(&scene).await;
    a_stopped_daemon(&mut scene).await;
}
