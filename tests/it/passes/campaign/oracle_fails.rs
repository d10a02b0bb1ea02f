//! Shows that the oracle can fail: each rule is broken on purpose, by a faulty writer or by
//! sabotaging a purge, and the oracle must report it.

use std::fs;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use sodalake::ledger::{Approval, PassKind, PassRecord};
use sodalake::model::RowKey;
use sodalake::reconcile::Clock as _;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Arrival, Replicas, RequestRecord, Witness};

use super::bench::Bench;
use super::damage::Class;
use super::oracle::Oracle;
use super::play::Case;
use super::script::Script;

const TABLE: Table = Table::RadarCounts;

fn script(orphans: u32) -> Script {
    Script {
        seed: 3,
        table: TABLE,
        rewrite: false,
        breakages: vec![Breakage::Strangers(orphans)],
        damage_plan: None,
        rules: Vec::new(),
        replicas: Replicas::default(),
    }
}

/// Sabotages the first purge when it arrives, before the oracle checks it.
struct Saboteur {
    oracle: Arc<Oracle>,
    sabotage: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Witness for Saboteur {
    fn arrives(&self, request: &Arrival<'_>) {
        let purges = request
            .body
            .is_some_and(|body| body.windows(8).any(|part| part == b":deleted"));
        let sabotage = self.sabotage.lock().unwrap().take_if(|_| purges);
        if let Some(sabotage) = sabotage {
            sabotage();
        }
        self.oracle.arrives(request);
    }

    fn answered(&self, request: &RequestRecord) {
        self.oracle.answered(request);
    }
}

/// The rules that the oracle reports as broken in a correct pass whose purge is sabotaged.
async fn sabotaged(
    bench: &Bench,
    make: impl FnOnce(&Case<'_>) -> Box<dyn FnOnce() + Send>,
) -> Vec<u8> {
    let script = script(9);
    let mut case = Case::begin(bench, &script).await;
    let saboteur = Saboteur {
        oracle: case.oracle.clone(),
        sabotage: Mutex::new(Some(make(&case))),
    };
    bench
        .city
        .stage
        .portal
        .set_witness(Some(Arc::new(saboteur)));
    case.pass(false).await;
    bench.city.stage.portal.set_witness(None);
    rules(&case)
}

fn rules(case: &Case<'_>) -> Vec<u8> {
    let mut rules: Vec<u8> = case
        .oracle
        .violations()
        .iter()
        .map(|found| found.rule)
        .collect();
    rules.dedup();
    rules
}

/// An expected row of the day.
fn expected(bench: &Bench) -> (String, Map<String, Json>) {
    let day = Bench::day().to_string();
    let column = TABLE.day_column();
    let of_day =
        |row: &Map<String, Json>| row[column].as_str().is_some_and(|at| at.starts_with(&day));
    let mut rows = bench.confirmed(TABLE).iter().filter(|(_, row)| of_day(row));
    rows.next()
        .map(|(key, row)| (key.clone(), row.clone()))
        .unwrap()
}

/// Changes the ledger's file directly.
fn in_ledger(case: &Case<'_>, sql: &'static str) -> Box<dyn FnOnce() + Send> {
    let ledger = case.place.dir.path().join("ledger.db");
    Box::new(move || {
        let ledger = Connection::open(ledger).unwrap();
        ledger
            .busy_timeout(std::time::Duration::from_secs(10))
            .unwrap();
        assert!(ledger.execute_batch(sql).is_ok());
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_pass_breaks_no_rule_and_a_sabotaged_one_does() {
    let bench = Bench::set_up().await;
    let honest = sabotaged(&bench, |_| Box::new(|| ())).await;
    assert!(honest.is_empty(), "{honest:?}");

    let missing = sabotaged(&bench, |_| {
        let (portal, (key, _)) = (bench.city.stage.portal.clone(), expected(&bench));
        Box::new(move || {
            portal.delete_directly(TABLE.spec().id, &[&key]).unwrap();
        })
    });
    assert!(
        missing.await.contains(&1),
        "an expected row is not published"
    );

    let unarchived = sabotaged(&bench, |case| {
        let passes = case.place.dir.path().join("archive/passes");
        Box::new(move || fs::remove_dir_all(passes).unwrap())
    });
    assert!(unarchived.await.contains(&2), "the archive was removed");

    let unjournaled = sabotaged(&bench, |case| in_ledger(case, "delete from ledger_journal"));
    assert!(unjournaled.await.contains(&2), "the journal has no entry");

    let doubtful = sabotaged(&bench, |case| {
        let oracle = case.oracle.clone();
        Box::new(move || oracle.set_lake(Some(Class::Visible)))
    });
    assert!(doubtful.await.contains(&3), "the lake is in doubt");

    let not_yet = "update ledger_sightings set first_seen = '2999-01-01T00:00:00.000000Z'";
    let hasty = sabotaged(&bench, |case| in_ledger(case, not_yet));
    assert!(hasty.await.contains(&4), "the difference is new");

    let unleased = sabotaged(&bench, |case| {
        in_ledger(case, "update ledger_leases set holder = ''")
    });
    assert!(
        unleased.await.contains(&8),
        "another process holds the lease"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_breaks_rules_is_caught_each_time() {
    let bench = Bench::set_up().await;
    let many = script(70);
    let case = Case::begin(&bench, &many).await;
    let portal = &bench.city.stage.portal;
    portal.set_witness(Some(case.oracle.clone()));
    let (world, writer) = (&case.place.world, &case.place.writers.portal);
    let table = world.table(&case.place.target.dataset).await.unwrap();
    let (key, row) = expected(&bench);

    writer.delete(&table, &[RowKey::new(&key)]).await.unwrap();
    let broken = rules(&case);
    for rule in [1, 2, 4, 8] {
        assert!(
            broken.contains(&rule),
            "purges an expected row: rule {rule}"
        );
    }
    assert_eq!(case.oracle.counts().wrongly_purged, 1);
    assert_eq!(case.oracle.lost(), 1);
    case.oracle.check_end(0);
    assert!(rules(&case).contains(&9), "the day is not in sync");

    let orphan_keys = case.oracle.published().into_keys();
    let orphan_keys = orphan_keys.filter(|key| !bench.confirmed(TABLE).contains_key(key));
    let orphan_keys: Vec<RowKey> = orphan_keys.map(|key| RowKey::new(&key)).collect();
    writer.delete(&table, &orphan_keys).await.unwrap();
    assert!(rules(&case).contains(&5), "70 orphans are over the budget");

    let before = case.oracle.violations().len();
    let mut wrong = row.clone();
    wrong.insert("volume".into(), json!("4711"));
    writer.upsert(&table, &[wrong]).await.unwrap();
    let reported = case.oracle.violations().split_off(before);
    assert!(
        reported
            .iter()
            .any(|one| one.rule == 1 && one.what.contains("values")),
        "{reported:?}"
    );

    let (again, _) = bench.confirmed(TABLE).iter().last().unwrap();
    let unchanged = bench.confirmed(TABLE)[again].clone();
    writer.upsert(&table, &[unchanged]).await.unwrap();
    assert!(rules(&case).contains(&3), "a row is published again");

    let address = format!(
        "{}/resource/{}.json",
        bench.city.stage.url(),
        TABLE.spec().id
    );
    let client = crate::support::http::client();
    let login =
        |request: reqwest::RequestBuilder| request.basic_auth("writer", Some("writer-password"));
    let bare = login(client.post(&address))
        .json(&[&row])
        .send()
        .await
        .unwrap();
    assert!(bare.status().is_success());
    assert!(rules(&case).contains(&6), "the row identifier was not read");

    let before = case.oracle.violations().len();
    login(client.delete(&address)).send().await.unwrap();
    let reported = case.oracle.violations().split_off(before);
    assert!(
        reported
            .iter()
            .any(|one| one.what.starts_with("DELETE /resource/")),
        "{reported:?}"
    );
    portal.set_witness(None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_repairs_is_caught() {
    let bench = Bench::set_up().await;
    let script = script(1);
    let case = Case::begin(&bench, &script).await;
    let rails = case
        .place
        .world
        .of(&case.place.target.dataset)
        .rails
        .clone();
    for _ in 0..=rails.max_repairs_per_week {
        begin_pass(&case, "").await;
    }
    case.oracle.check_end(0);
    assert!(rules(&case).contains(&7));
}

/// Enters a repair in the ledger that carries out the plan of this digest.
async fn begin_pass(case: &Case<'_>, digest: &str) -> uuid::Uuid {
    let pass = PassRecord {
        id: uuid::Uuid::now_v7(),
        dataset: case.place.target.dataset.name.clone(),
        day: Bench::day(),
        kind: PassKind::Repair,
        started_at: case.place.clock.now(),
        digest: digest.to_owned(),
        summary: Json::Null,
        end: None,
    };
    case.place.world.ledger.begin_pass(&pass).await.unwrap();
    pass.id
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_over_the_budget_of_24_hours_are_caught_unless_approved() {
    let bench = Bench::set_up().await;
    let script = script(40);
    let mut case = Case::begin(&bench, &script).await;
    let oracle = Arc::get_mut(&mut case.oracle).unwrap();
    oracle.scene.rails.max_purge_rows_per_24h = 30;
    let portal = &bench.city.stage.portal;
    portal.set_witness(Some(case.oracle.clone()));
    let (world, writer) = (&case.place.world, &case.place.writers.portal);
    let table = world.table(&case.place.target.dataset).await.unwrap();
    let wrong = case.oracle.published().into_keys();
    let wrong = wrong.filter(|key| !bench.confirmed(TABLE).contains_key(key));
    let wrong: Vec<RowKey> = wrong.map(|key| RowKey::new(&key)).collect();
    let approval = Approval {
        digest: "approved".into(),
        at: case.place.clock.now(),
        by: "test".into(),
        reason: "checked".into(),
        used_at: None,
    };
    world.ledger.approve(&approval).await.unwrap();

    let a_day_later = 24 * 60 + 1;
    for (digest, rows, minutes, is_over) in [
        ("first", 0..20, 0, false),
        ("second", 20..30, 0, false),
        ("third", 30..31, 0, true),
        ("approved", 31..32, 0, false),
        ("fourth", 32..40, a_day_later, false),
    ] {
        case.place.clock.advance(minutes);
        let pass = begin_pass(&case, digest).await;
        let before = case.oracle.violations().len();
        writer.delete(&table, &wrong[rows]).await.unwrap();
        let says = case.oracle.violations().split_off(before);
        let over = says
            .iter()
            .any(|one| one.rule == 5 && one.what.contains("24 hours"));
        assert_eq!(over, is_over, "{digest}: {says:?}");
        let now = case.place.clock.now();
        let ended = world.ledger.end_pass(pass, now, "repaired", 0, 0, 0);
        ended.await.unwrap();
    }
    portal.set_witness(None);
}
