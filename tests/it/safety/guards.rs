//! Every guard at its limit, through whole passes, and the only thing that lifts a budget: a
//! person's approval of that exact plan, used once. The printed commands are tested in `approving`.

mod approving;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::Value as Json;
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::model::{DatasetDay, Day};
use sodalake::plan::Guard;
use sodalake::reconcile::{self, Asked, Clock, Done, Report, State, World};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{ColumnType, Fault, Faults, Operation, Rule, TableSpec};
use sodalake::settings::Settings;

use crate::support::city::{TestCity, wednesday, written_at};

const TABLE: Table = Table::RadarCounts;
/// Settings that leave room for everything except what a test is about.
const ROOMY: &str = "rails.max_orphan_rows_per_day = 100000\nrails.max_purge_share_per_day = 1.0\n\
                     rails.max_repairs_per_week = 1000\n";

/// A clock that stays where it is set.
struct Stopped(Mutex<DateTime<Utc>>);

impl Clock for Stopped {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

impl Stopped {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(text.parse().unwrap())))
    }

    fn set(&self, text: &str) {
        *self.0.lock() = text.parse().unwrap();
    }

    fn pass_by(&self, time: TimeDelta) {
        *self.0.lock() += time;
    }
}

/// The city's world with settings of its own, and optionally another clock.
async fn world(city: &TestCity, settings: &[(&str, &str)], clock: Option<Arc<Stopped>>) -> World {
    let recipes = sodalake::expected::recipes().iter();
    let recipes: Vec<_> = recipes.map(|one| one.facts()).collect();
    let named = |(key, value): &(&str, &str)| {
        let key = key.to_uppercase().replace('.', "__");
        (format!("SODALAKE__{key}"), (*value).to_owned())
    };
    let file = city.stage.dir().join("sodalake.toml");
    let settings = Settings::load(Some(&file), settings.iter().map(named), &recipes).unwrap();
    match clock {
        Some(clock) => app::world_at(Arc::new(settings), clock).await.unwrap(),
        None => app::world(Arc::new(settings)).await.unwrap(),
    }
}

async fn pass(city: &TestCity, world: &World, day: Day) -> Report {
    let target: DatasetDay = city.target(TABLE, day);
    let asked = Asked::default();
    reconcile::repair(world, &city.writers, &target, Depth::Keys, &asked).await
}

fn add_orphans(city: &TestCity, many: u32, day: Day) {
    city.damage(Breakage::Strangers(many), TABLE, day, "Austin");
}

/// Asserts that this guard alone held the pass, that the refusal contains these words, and that
/// nothing changed.
#[track_caller]
fn held_by(report: &Report, guard: Guard, words: &str) {
    assert_eq!(report.state, State::Held, "{:?}", report.why);
    let refusal = report.refusal.as_ref().unwrap();
    let guards: Vec<_> = refusal.breaches.iter().map(|breach| breach.guard).collect();
    assert_eq!(guards, [guard], "{refusal}");
    assert!(
        refusal.to_string().contains(words),
        "no {words:?} in {refusal}"
    );
    assert!(
        report.why.as_ref().unwrap().contains(words),
        "{:?}",
        report.why
    );
    assert_eq!((report.done, report.pass), (Done::default(), None));
}

#[track_caller]
fn repaired(report: &Report) {
    assert_eq!(report.state, State::Repaired, "{:?}", report.why);
}

/// Runs a pass with a setting just short of what it needs, then with what it needs.
async fn at_its_edge(
    city: &TestCity,
    key: &str,
    short: &str,
    enough: &str,
    guard: Guard,
    words: &str,
) {
    let before = city.rows(TABLE);
    let tight = world(city, &[(key, short)], None).await;
    held_by(&pass(city, &tight, wednesday()).await, guard, words);
    assert_eq!(city.rows(TABLE), before);
    let wide = world(city, &[(key, enough)], None).await;
    repaired(&pass(city, &wide, wednesday()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_per_day_are_held_at_one_too_many() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    add_orphans(&city, 7, wednesday());
    let words = "7 rows to purge, maximum 6 (rails.max_purge_rows_per_day)";
    let key = "rails.max_purge_rows_per_day";
    at_its_edge(&city, key, "6", "7", Guard::PurgeRows, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_per_day_are_held_at_one_too_many() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    add_orphans(&city, 7, wednesday());
    let words = "7 orphans to purge, maximum 6 (rails.max_orphan_rows_per_day)";
    let key = "rails.max_orphan_rows_per_day";
    at_its_edge(&city, key, "6", "7", Guard::OrphanRows, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_purge_share_is_held_just_above_its_limit() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let whole = city.check(TABLE, wednesday(), Depth::Keys).await.published;
    add_orphans(&city, 7, wednesday());
    #[expect(clippy::cast_precision_loss, reason = "a day has some hundred rows")]
    let share = 7.0 / (whole + 7) as f64;
    let (short, enough) = (share.next_down().to_string(), share.to_string());
    let words = format!("of {} rows to purge, maximum", whole + 7);
    let key = "rails.max_purge_share_per_day";
    at_its_edge(&city, key, &short, &enough, Guard::PurgeShare, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_24_hour_budget_counts_every_day_of_the_dataset_and_then_expires() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let thursday = wednesday().next();
    let clock = Stopped::at("2020-10-20T12:00:00Z");
    let key = "rails.max_purge_rows_per_24h";
    let world = world(&city, &[(key, "9")], Some(Arc::clone(&clock))).await;
    add_orphans(&city, 5, wednesday());
    add_orphans(&city, 4, thursday);
    repaired(&pass(&city, &world, wednesday()).await);
    repaired(&pass(&city, &world, thursday).await);
    add_orphans(&city, 1, wednesday());
    clock.pass_by(TimeDelta::hours(24));
    let held = pass(&city, &world, wednesday()).await;
    let words = "10 rows to purge, including those of the last 24 hours, maximum 9 (rails.max_purge_rows_per_24h)";
    held_by(&held, Guard::PurgeRows24h, words);
    clock.pass_by(TimeDelta::milliseconds(1));
    repaired(&pass(&city, &world, wednesday()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_intended_purge_of_a_dead_pass_counts_as_purged() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let key = "rails.max_purge_rows_per_24h";
    let world = world(&city, &[(key, "9")], None).await;
    add_orphans(&city, 5, wednesday());
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule {
            on: Operation::Write,
            ..Rule::always(Fault::Delay { ms: 600_000 })
        }],
        replicas: None,
    });
    city.stage.portal.clear_requests();
    let sent = async {
        let wrote = || {
            let requests = city.stage.portal.requests();
            requests.iter().any(|one| one.method != "GET")
        };
        while !wrote() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        report = pass(&city, &world, wednesday()) => panic!("{:?}", report.why),
        () = sent => {}
    }
    city.stage.portal.set_faults(Faults::default());
    // The orphans may or may not have been purged before the pass died. Publish them again.
    add_orphans(&city, 5, wednesday());
    let lease = format!("repair/{}", TABLE.dataset_name());
    let released = world.ledger.release(&lease, &city.writers.holder).await;
    released.unwrap();
    let held = pass(&city, &world, wednesday()).await;
    held_by(
        &held,
        Guard::PurgeRows24h,
        "10 rows to purge, including those of the last 24 hours, maximum 9",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn observing_changes_nothing() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    add_orphans(&city, 1, wednesday());
    let observing = world(&city, &[("mode", "observe")], None).await;
    let requests = city.stage.portal.requests().len();
    held_by(
        &pass(&city, &observing, wednesday()).await,
        Guard::Mode,
        "mode is `observe`",
    );
    let requests = city.stage.portal.requests().split_off(requests);
    assert!(requests.iter().all(|one| one.method == "GET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_held_until_the_repair_hours_begin_and_once_they_end() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let clock = Stopped::at("2020-10-20T15:29:59.999Z");
    let hours = [("schedule.repair_hours", "10:30-23:00")];
    let world = world(&city, &hours, Some(Arc::clone(&clock))).await;
    add_orphans(&city, 1, wednesday());
    let words = "it is 10:29; repairs are made 10:30-23:00 (schedule.repair_hours)";
    held_by(
        &pass(&city, &world, wednesday()).await,
        Guard::RepairHours,
        words,
    );
    clock.set("2020-10-20T15:30:00Z");
    repaired(&pass(&city, &world, wednesday()).await);
    add_orphans(&city, 1, wednesday());
    clock.set("2020-10-21T04:00:00Z");
    let words = "it is 23:00; repairs are made";
    held_by(
        &pass(&city, &world, wednesday()).await,
        Guard::RepairHours,
        words,
    );
    clock.set("2020-10-21T03:59:59.999Z");
    repaired(&pass(&city, &world, wednesday()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_when_its_last_day_begins_in_the_datasets_zone() {
    use sodalake::ledger::{Mark, MarkKind};
    let city = TestCity::around(wednesday(), ROOMY).await;
    let clock = Stopped::at("2020-10-24T04:59:59.999Z");
    let world = world(&city, &[], Some(Arc::clone(&clock))).await;
    add_orphans(&city, 1, wednesday());
    let mark = Mark {
        dataset: TABLE.dataset_name().parse().unwrap(),
        day: wednesday(),
        kind: MarkKind::Hold,
        reason: "detector swap".into(),
        until: Some("2020-10-24".parse().unwrap()),
        at: clock.now(),
        by: "ada@example".into(),
    };
    world.ledger.mark(&mark).await.unwrap();
    let words = "marked hold: detector swap";
    held_by(&pass(&city, &world, wednesday()).await, Guard::Mark, words);
    clock.pass_by(TimeDelta::milliseconds(1));
    repaired(&pass(&city, &world, wednesday()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_identifier_other_than_our_key_column_is_held() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    add_orphans(&city, 1, wednesday());
    let spec = TABLE.spec();
    let rows = city.stage.portal.rows(spec.id).into_iter();
    let rows = rows.map(|mut row| {
        row.retain(|name, _| !name.starts_with(':'));
        let key = row["row_id"].clone();
        row.insert("serial".into(), key);
        row
    });
    let rows = rows.collect();
    let typed = |(name, kind): &(&str, sodalake::model::ColumnType)| {
        let kind = ColumnType::named(&kind.to_string());
        ((*name).to_owned(), kind.unwrap_or(ColumnType::Text))
    };
    let serial = [("serial".to_owned(), ColumnType::Text)];
    city.stage.portal.create(TableSpec {
        columns: spec.columns.iter().map(typed).chain(serial).collect(),
        ..TableSpec::new(spec.id, &[], Some("serial"))
    });
    let portal = &city.stage.portal;
    portal.upsert_directly(spec.id, rows, written_at()).unwrap();
    let report = pass(&city, &city.world, wednesday()).await;
    held_by(&report, Guard::RowIdentifier, "is serial, not row_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_must_persist_for_the_full_recheck_time() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let clock = Stopped::at("2020-10-20T12:00:00Z");
    let wait = [("rails.recheck_after", "10m")];
    let world = world(&city, &wait, Some(Arc::clone(&clock))).await;
    add_orphans(&city, 1, wednesday());
    let words = "must persist for 10m (rails.recheck_after)";
    let almost = TimeDelta::minutes(10) - TimeDelta::milliseconds(1);
    for age in [TimeDelta::zero(), almost] {
        clock.pass_by(age);
        held_by(
            &pass(&city, &world, wednesday()).await,
            Guard::Recheck,
            words,
        );
    }
    add_orphans(&city, 2, wednesday());
    clock.pass_by(TimeDelta::milliseconds(1));
    let again = pass(&city, &world, wednesday()).await;
    held_by(&again, Guard::Recheck, "first seen 0s ago");
    clock.pass_by(almost);
    held_by(
        &pass(&city, &world, wednesday()).await,
        Guard::Recheck,
        words,
    );
    clock.pass_by(TimeDelta::milliseconds(1));
    repaired(&pass(&city, &world, wednesday()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_after_the_last_allowed_repair_and_closes_with_a_release() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let clock = Stopped::at("2020-10-20T12:00:00Z");
    let three = [("rails.max_repairs_per_week", "3")];
    let world = world(&city, &three, Some(Arc::clone(&clock))).await;
    for _ in 0..3 {
        add_orphans(&city, 1, wednesday());
        repaired(&pass(&city, &world, wednesday()).await);
        clock.pass_by(TimeDelta::hours(1));
    }
    add_orphans(&city, 1, wednesday());
    let words = "repaired 3 times in 7 days, maximum 3 (rails.max_repairs_per_week)";
    held_by(
        &pass(&city, &world, wednesday()).await,
        Guard::Breaker,
        words,
    );
    // The first repair began at noon: exactly one week later it still counts.
    clock.set("2020-10-27T12:00:00Z");
    held_by(
        &pass(&city, &world, wednesday()).await,
        Guard::Breaker,
        words,
    );
    clock.pass_by(TimeDelta::milliseconds(1));
    repaired(&pass(&city, &world, wednesday()).await);
    add_orphans(&city, 1, wednesday());
    held_by(
        &pass(&city, &world, wednesday()).await,
        Guard::Breaker,
        words,
    );
    let name = TABLE.dataset_name().parse().unwrap();
    let released = world
        .ledger
        .unmark(&name, wednesday(), clock.now(), "ada@example", "found it");
    released.await.unwrap();
    repaired(&pass(&city, &world, wednesday()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_orphan_beside_one_underivable_row_is_held() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let file = city
        .stage
        .lake()
        .join("2020/10/14/wt/Austin_wt_2020-10-14.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    json["data"][0]["detName"] = Json::Null;
    std::fs::write(&file, json.to_string()).unwrap();
    let report = pass(&city, &city.world, wednesday()).await;
    let counts = report.counts;
    assert_eq!((counts.unpublishable, counts.orphans), (1, 1));
    held_by(
        &report,
        Guard::Underivable,
        "1 orphans to purge while 1 rows",
    );
    assert!(report.refusal.unwrap().is_approvable());
}
