//! A shallower check never discards what a deeper one found, whether a command, the daemon's pass
//! or an API act runs it. A day that is changed by others is checked again soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::{Map, Value as Json};
use sodalake::compare::Depth;
use sodalake::daemon::{Daemon, Observer, Parts};
use sodalake::ledger::{DayRecord, Finished, Mark, MarkKind, Queued, Reason, ToCheck};
use sodalake::model::{DatasetName, Day, DayRange};
use sodalake::reconcile::{self, Clock, Evidence, Report, State, World};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::settings::Settings;
use sodalake::telemetry::Activity;

use crate::support::city::{TestCity, wednesday};
use crate::support::program::{config, run};

const TABLE: Table = Table::CameraCounts;
const DAY: &str = "camera-counts --day 2020-10-14";

fn name() -> DatasetName {
    TABLE.dataset_name().parse().unwrap()
}

async fn record(city: &TestCity) -> DayRecord {
    let found = city.world.ledger.day(&name(), wednesday()).await.unwrap();
    found.expect("the day was checked")
}

fn altered(record: &DayRecord) -> u64 {
    record.counts["altered"].as_u64().unwrap()
}

/// The number of sample rows that the ledger keeps for each finding.
async fn samples(city: &TestCity) -> BTreeMap<String, usize> {
    let kept = city.world.ledger.evidence(&name(), wednesday()).await;
    let kept: Evidence = serde_json::from_value(kept.unwrap().unwrap()).unwrap();
    let mut samples = BTreeMap::new();
    for sample in kept.samples {
        *samples.entry(sample.finding.to_string()).or_default() += 1;
    }
    samples
}

/// Whether a survey would skip the day.
async fn is_skipped(city: &TestCity) -> bool {
    let dataset = city.target(TABLE, wednesday()).dataset;
    let surveyed = reconcile::survey(&city.world, &dataset, DayRange::one(wednesday())).await;
    surveyed.unwrap()[0].unchanged
}

fn published(city: &TestCity) -> Vec<Map<String, Json>> {
    let rows = city.stage.portal.rows(TABLE.spec().id).into_iter();
    rows.map(|mut row| {
        row.retain(|field, _| !field.starts_with(':'));
        row
    })
    .collect()
}

/// Publishes these rows as another program would.
fn publish(city: &TestCity, rows: Vec<Map<String, Json>>) {
    let (portal, now) = (&city.stage.portal, Utc::now());
    portal.upsert_directly(TABLE.spec().id, rows, now).unwrap();
}

/// A city with altered rows on a day, their number, and the rows as they were before.
async fn stale(more: &str) -> (TestCity, u64, Vec<Map<String, Json>>) {
    let city = TestCity::around(wednesday(), more).await;
    let before = published(&city);
    let base = city.bases(TABLE, wednesday()).remove(0);
    let injected = city.damage(Breakage::StaleValues, TABLE, wednesday(), &base);
    let count = injected.iter().map(|one| one.count).sum();
    (city, count, before)
}

/// The same, after a content check has found them.
async fn found(more: &str) -> (TestCity, u64, Vec<Map<String, Json>>) {
    let (city, count, before) = stale(more).await;
    let report = city.check(TABLE, wednesday(), Depth::Content).await;
    assert_eq!(
        (report.state, report.counts.altered),
        (State::Differs, count)
    );
    (city, count, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_check_leaves_altered_rows_open_and_a_content_check_closes_them() {
    let (city, count, right) = found("").await;
    let before = record(&city).await;
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!((report.depth, report.state), (Depth::Keys, State::Differs));
    assert_eq!(report.counts.altered, count);
    let after = record(&city).await;
    assert_eq!((&*after.state, altered(&after)), ("differs", count));
    assert_eq!(
        (&after.cause, after.open_since),
        (&before.cause, before.open_since)
    );
    assert_eq!(after.since, before.since);
    assert_eq!(samples(&city).await.get("altered"), Some(&3));
    assert!(!is_skipped(&city).await);
    // One notification of the difference was sent, and none of a recovery.
    let changes = city.world.ledger.changes(&name(), wednesday()).await;
    assert_eq!(changes.unwrap().len(), 1);

    // An explicit depth is kept and reported. Without one the check is deep enough.
    let line = |more: &str| format!("check {DAY} --format json{more}");
    let keys = run(&city, &line(" --depth keys")).await;
    assert_eq!((keys.code, &keys.json()["depth"]), (1, &"keys".into()));
    assert_eq!(keys.json()["altered"], count);
    let deepened = run(&city, &line("")).await;
    assert_eq!(
        (deepened.code, &deepened.json()["depth"]),
        (1, &"content".into())
    );
    let surveyed = run(&city, &line(" --depth survey")).await;
    assert_eq!(
        (surveyed.code, &surveyed.json()["depth"]),
        (1, &"content".into())
    );

    // Another program corrects the rows. Only a check that compares values can find this out.
    publish(&city, right);
    let keys = run(&city, &line(" --depth keys")).await;
    assert_eq!((keys.code, &keys.json()["state"]), (1, &"differs".into()));
    let deepened = run(&city, &line("")).await;
    assert_eq!(
        (deepened.code, &deepened.json()["state"]),
        (0, &"in-sync".into())
    );
    let closed = record(&city).await;
    assert_eq!((closed.open_since, altered(&closed)), (None, 0));
    assert!(is_skipped(&city).await);
    let keys = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(keys.state, State::InSync, "keys say nothing against it");
    assert!(is_skipped(&city).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_repair_of_other_findings_neither_loses_nor_hides_the_altered_rows() {
    let (city, count, right) = found("").await;
    let other = city.bases(TABLE, wednesday()).remove(1);
    city.damage(Breakage::TailLost, TABLE, wednesday(), &other);
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    let missing = report.counts.missing;
    assert!(missing > 0);
    assert_eq!(report.counts.altered, count);
    let kept = samples(&city).await;
    assert_eq!((kept["missing"], kept["altered"]), (3, 3));

    let repaired = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(repaired.done.published_rows, missing);
    assert_eq!(repaired.state, State::Differs, "{:?}", repaired.why);
    assert_eq!(altered(&record(&city).await), count);
    let pass = repaired.pass.unwrap();
    let (pass, _) = city.world.ledger.pass(pass).await.unwrap().unwrap();
    assert_eq!(pass.end.unwrap().outcome, "differs");
    assert!(!is_skipped(&city).await);

    // Without an explicit depth the repair compares values, and so does its verification.
    run(&city, &format!("repair {DAY}"))
        .await
        .ends(0, "repaired");
    let after = record(&city).await;
    assert_eq!(
        (&*after.state, after.compared.depth),
        ("in-sync", Some(Depth::Content))
    );
    assert_eq!(
        (after.compared.altered, published(&city).len()),
        (None, right.len())
    );
    assert!(is_skipped(&city).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_plan_stays_held_and_approvable_after_keys_checks_and_plans() {
    let (city, count, _) = stale("rails.max_orphan_rows_per_day = 4\n").await;
    let base = city.bases(TABLE, wednesday()).remove(0);
    city.damage(Breakage::Strangers(5), TABLE, wednesday(), &base);
    let held = city.repair(TABLE, wednesday(), Depth::Content).await;
    assert_eq!(held.state, State::Held);
    let digest = held.refusal.unwrap().digest;
    for line in ["check", "plan"] {
        let ran = run(&city, &format!("{line} {DAY} --depth keys")).await;
        assert_eq!(ran.code, 1, "{line}: {}", ran.err);
        let after = record(&city).await;
        assert_eq!((&*after.state, altered(&after)), ("held", count), "{line}");
        assert_eq!(after.digest.as_ref(), Some(&digest), "{line}");
        assert_eq!(after.guards, ["orphan-rows"], "{line}");
        let kept = city.world.ledger.evidence(&name(), wednesday()).await;
        let kept: Evidence = serde_json::from_value(kept.unwrap().unwrap()).unwrap();
        assert!(kept.approvable && kept.breaches.len() == 1, "{line}");
    }
    // A plan without an explicit depth is exactly the held plan.
    let plan = run(&city, &format!("plan {DAY}")).await;
    assert!(plan.out.contains(&digest), "{}", plan.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_rows_stay_known_after_a_mark_and_a_failed_check() {
    let (city, count, _) = found("").await;
    let mark = Mark {
        dataset: name(),
        day: wednesday(),
        kind: MarkKind::KnownLost,
        reason: "for a while".into(),
        until: None,
        at: Utc::now(),
        by: "ada@example".into(),
    };
    let ledger = &city.world.ledger;
    ledger.mark(&mark).await.unwrap();
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::KnownLost);
    let (now, name) = (Utc::now(), name());
    let released = ledger
        .unmark(&name, wednesday(), now, "ada", "it is not")
        .await;
    assert!(released.unwrap());
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(
        (report.state, report.counts.altered),
        (State::Differs, count)
    );

    let base = city.bases(TABLE, wednesday()).remove(1);
    let lost = city.damage(Breakage::FileLost, TABLE, wednesday(), &base);
    assert!(!lost.is_empty());
    let report = city.check(TABLE, wednesday(), Depth::Content).await;
    assert_ne!(report.state, State::InSync);
    city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(altered(&record(&city).await), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_check_hides_no_changed_values_from_the_survey() {
    let city = TestCity::around(wednesday(), "").await;
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::InSync);
    assert!(!is_skipped(&city).await, "its values were never compared");
    city.check(TABLE, wednesday(), Depth::Content).await;
    assert!(is_skipped(&city).await);
    let base = city.bases(TABLE, wednesday()).remove(0);
    let now = Utc::now();
    city.damage_at(Breakage::StaleValues, TABLE, wednesday(), &base, now);
    for _ in 0..2 {
        let report = city.check(TABLE, wednesday(), Depth::Keys).await;
        assert_eq!(report.state, State::InSync, "keys alone do not differ");
        assert!(!is_skipped(&city).await, "its new values were not compared");
    }
}

fn to_check(reason: Reason, depth: Depth) -> ToCheck {
    ToCheck {
        dataset: name(),
        day: wednesday(),
        reason,
        depth,
    }
}

async fn claim(city: &TestCity, now: DateTime<Utc>) -> Queued {
    let ledger = &city.world.ledger;
    let claimed = ledger.claim("me", now, Duration::from_mins(1), 1).await;
    claimed.unwrap().pop().expect("an entry that is due")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deeper_request_is_kept_while_a_shallower_check_runs() {
    let city = TestCity::around(wednesday(), "").await;
    let (ledger, now) = (&city.world.ledger, Utc::now());
    let request = |depth| [to_check(Reason::Survey, depth)];
    ledger.enqueue(&request(Depth::Keys), now).await.unwrap();
    let claimed = claim(&city, now).await;
    ledger.enqueue(&request(Depth::Content), now).await.unwrap();
    let finished = ledger.finish(&claimed, "me").await.unwrap();
    assert_eq!(finished, Finished::RequestedAgain);
    let again = claim(&city, now).await;
    assert_eq!(again.depth, Depth::Content);
    assert_eq!(ledger.finish(&again, "me").await.unwrap(), Finished::Done);

    // A day that waits for its repair is repaired at the same depth, at its own time, and delays no
    // run.
    ledger.enqueue(&request(Depth::Keys), now).await.unwrap();
    let claimed = claim(&city, now).await;
    let later = now + TimeDelta::minutes(10);
    ledger
        .give_back_checked(&claimed, "me", later)
        .await
        .unwrap();
    ledger.enqueue(&request(Depth::Content), now).await.unwrap();
    let waiting = ledger.pending(9).await.unwrap();
    assert_eq!(
        (waiting[0].depth, &waiting[0].reasons[..]),
        (Depth::Content, &[Reason::Again][..])
    );
    assert_eq!(
        (waiting.len(), claim(&city, later).await.depth),
        (1, Depth::Content)
    );
}

/// A clock that is set by hand.
#[derive(Clone)]
struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// The days that were checked or skipped, with their states.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, Day, State)>>);

impl Observer for Recorder {
    fn renewed(&self, _world: &Arc<World>, _holder: &str) {}

    fn told(&self, report: &Report) {
        let target = &report.target;
        let recorded = (target.dataset.name.to_string(), target.day, report.state);
        self.0.lock().push(recorded);
    }
}

struct TestDaemon {
    daemon: Daemon,
    clock: ManualClock,
    recorded: Arc<Recorder>,
}

impl TestDaemon {
    async fn begin(city: &TestCity, now: &str) -> Self {
        let (file, recorded) = (config(city), Arc::new(Recorder::default()));
        let clock = ManualClock(Arc::new(Mutex::new(now.parse().unwrap())));
        let recipes = sodalake::expected::recipes();
        let facts: Vec<_> = recipes.iter().map(|one| one.facts()).collect();
        let parts = Parts {
            reread: Box::new(move || Settings::load(Some(&file), [], &facts)),
            clock: Arc::new(clock.clone()),
            activity: Activity::default(),
            observer: Arc::<Recorder>::clone(&recorded),
        };
        let mut daemon = Daemon::at_hand(parts).await.unwrap();
        daemon.turn().await; // the schedules start
        Self {
            daemon,
            clock,
            recorded,
        }
    }

    /// Advances the clock by half an hour, does everything that is due, and returns the resulting
    /// states of the day.
    async fn after_half_an_hour(&mut self) -> Vec<State> {
        *self.clock.0.lock() += TimeDelta::minutes(30);
        self.recorded.0.lock().clear();
        self.daemon.turn().await;
        while self.daemon.is_at_work() {
            self.daemon.wait(Duration::from_secs(5)).await;
            self.daemon.turn().await;
        }
        let recorded = self.recorded.0.lock().clone();
        (recorded.into_iter())
            .filter(|(dataset, day, _)| dataset == TABLE.dataset_name() && *day == wednesday())
            .map(|(_, _, state)| state)
            .collect()
    }
}

/// Half-hourly surveys of the 13th and the 14th.
const SURVEYS: &str = "schedule.survey = \"0 */30 * * * *\"\n\
     schedule.check = \"0 0 0 1 1 *\"\n\
     schedule.audit = \"0 0 0 1 1 *\"\n\
     schedule.window_days = 3\n\
     schedule.settle_days = 2\n";

/// Thirty seconds past the hour, so that jitter delays no run.
const NOON: &str = "2020-10-16T17:00:30Z";

fn observe(city: &TestCity) {
    let file = config(city);
    let text = std::fs::read_to_string(&file).unwrap();
    let observing = text.replacen("mode = \"repair\"", "mode = \"observe\"", 1);
    assert_ne!(text, observing);
    std::fs::write(&file, observing).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_differing_day_is_checked_within_half_an_hour_of_an_outside_correction() {
    let (city, count, right) = stale(SURVEYS).await;
    observe(&city);
    let mut daemon = TestDaemon::begin(&city, NOON).await;
    assert_eq!(daemon.after_half_an_hour().await, [State::Differs]);
    assert_eq!(altered(&record(&city).await), count);
    for _ in 0..3 {
        assert_eq!(daemon.after_half_an_hour().await, [], "nothing has changed");
    }
    publish(&city, right);
    // A keys check in between compares no values and delays nothing.
    city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(daemon.after_half_an_hour().await, [State::InSync]);
    assert_eq!(daemon.after_half_an_hour().await, [State::Skipped]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_day_is_checked_within_half_an_hour_of_an_outside_correction() {
    let more = format!("{SURVEYS}rails.max_orphan_rows_per_day = 4\n");
    let city = TestCity::around(wednesday(), &more).await;
    let base = city.bases(TABLE, wednesday()).remove(0);
    let before: Vec<String> = city.rows(TABLE).into_keys().collect();
    city.damage(Breakage::Strangers(5), TABLE, wednesday(), &base);
    let mut daemon = TestDaemon::begin(&city, NOON).await;
    assert_eq!(daemon.after_half_an_hour().await, [State::Held]);
    for _ in 0..2 {
        assert_eq!(daemon.after_half_an_hour().await, [], "nothing has changed");
    }
    let rows = city.rows(TABLE);
    let wrong = rows.keys().filter(|key| !before.contains(key));
    let wrong: Vec<&str> = wrong.map(String::as_str).collect();
    let portal = &city.stage.portal;
    assert_eq!(portal.delete_directly(TABLE.spec().id, &wrong).unwrap(), 5);
    assert_eq!(daemon.after_half_an_hour().await, [State::InSync]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unproven_day_is_checked_within_half_an_hour_of_a_change_of_its_files() {
    let city = TestCity::around(wednesday(), SURVEYS).await;
    let path = city.stage.lake().join("2020/10/14/gs");
    let mut files = std::fs::read_dir(&path).unwrap();
    let file = files.find_map(|file| {
        let path = file.unwrap().path();
        path.to_string_lossy()
            .ends_with("agg15.json")
            .then_some(path)
    });
    let file = file.unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, b"{").unwrap();
    let mut daemon = TestDaemon::begin(&city, NOON).await;
    assert_eq!(daemon.after_half_an_hour().await, [State::Unproven]);
    for _ in 0..2 {
        assert_eq!(daemon.after_half_an_hour().await, [], "nothing has changed");
    }
    std::fs::write(&file, whole).unwrap();
    assert_eq!(daemon.after_half_an_hour().await, [State::InSync]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_skips_the_empty_years_before_the_table_and_misses_no_row() {
    let audit = "schedule.survey = \"0 0 0 1 1 *\"\n\
         schedule.check = \"0 0 0 1 1 *\"\n\
         schedule.audit = \"0 0 12 * * *\"\n\
         schedule.window_days = 3\n";
    let city = TestCity::around(wednesday(), audit).await;
    let old: Day = "2003-05-01".parse().unwrap();
    let spec = TABLE.spec();
    let mut row = published(&city).remove(0);
    row.insert(TABLE.day_column().into(), "2003-05-01T10:00:00.000".into());
    row.insert(
        spec.row_identifier.into(),
        "0123456789abcdef0123456789abcdef".into(),
    );
    publish(&city, vec![row]);
    let mut daemon = TestDaemon::begin(&city, "2020-10-16T16:45:30Z").await;
    daemon.after_half_an_hour().await;
    // Its days are queued a few at a time.
    let mut days: BTreeMap<Day, State> = BTreeMap::new();
    for _ in 0..4 {
        let recorded = daemon.recorded.0.lock().clone();
        let of_table = recorded
            .into_iter()
            .filter(|recorded| recorded.0 == TABLE.dataset_name());
        days.extend(of_table.map(|(_, day, state)| (day, state)));
        daemon.after_half_an_hour().await;
    }
    let first: Day = "2020-10-13".parse().unwrap();
    for day in [first, wednesday(), old] {
        assert!(days.contains_key(&day), "{day} was not checked: {days:?}");
    }
    assert_ne!(days[&old], State::InSync, "it has a row without a file");
    let between = days
        .keys()
        .filter(|day| old < **day && **day < first.plus(-3));
    assert_eq!(between.count(), 0, "{days:?}");
    let schedules = city.world.ledger.schedules().await.unwrap();
    let walks = schedules.iter().filter(|one| one.dataset == name());
    assert!(walks.filter_map(|one| one.walk).all(|walk| walk.is_over()));
}
