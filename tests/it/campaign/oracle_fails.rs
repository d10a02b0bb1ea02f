//! The oracle can fail: each rule is broken on purpose, by a writer that does wrong or by spoiling
//! what the rule asks for at the moment of a purge, and the oracle must say so.

use std::fs;
use std::sync::{Arc, Mutex};

use chrono::Utc;
use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use sodalake::ledger::{PassKind, PassRecord};
use sodalake::model::RowKey;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Arrival, Replicas, RequestRecord, Witness};

use super::bench::Bench;
use super::damage::Class;
use super::oracle::Oracle;
use super::play::Case;
use super::script::Script;

const TABLE: Table = Table::RadarCounts;

fn script(strangers: u32) -> Script {
    Script {
        seed: 3,
        table: TABLE,
        rewrite: false,
        breakages: vec![Breakage::Strangers(strangers)],
        wound: None,
        rules: Vec::new(),
        replicas: Replicas::default(),
    }
}

/// Spoils something when the first purge comes, before the oracle looks.
struct Saboteur {
    oracle: Arc<Oracle>,
    spoil: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Witness for Saboteur {
    fn arrives(&self, request: &Arrival<'_>) {
        let purges = request
            .body
            .is_some_and(|body| body.windows(8).any(|part| part == b":deleted"));
        let spoil = self.spoil.lock().unwrap().take_if(|_| purges);
        if let Some(spoil) = spoil {
            spoil();
        }
        self.oracle.arrives(request);
    }

    fn answered(&self, request: &RequestRecord) {
        self.oracle.answered(request);
    }
}

/// The rules that the oracle sees broken in an honest pass whose purge is spoilt so.
async fn spoilt(
    bench: &Bench,
    make: impl FnOnce(&Case<'_>) -> Box<dyn FnOnce() + Send>,
) -> Vec<u8> {
    let script = script(9);
    let mut case = Case::begin(bench, &script).await;
    let saboteur = Saboteur {
        oracle: case.oracle.clone(),
        spoil: Mutex::new(Some(make(&case))),
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
    let mut rows = bench.vouched(TABLE).iter().filter(|(_, row)| of_day(row));
    rows.next()
        .map(|(key, row)| (key.clone(), row.clone()))
        .unwrap()
}

/// Changes the ledger's file behind the program's back.
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
async fn an_honest_pass_breaks_no_rule_and_a_spoilt_one_does() {
    let bench = Bench::set_up().await;
    let honest = spoilt(&bench, |_| Box::new(|| ())).await;
    assert!(honest.is_empty(), "{honest:?}");

    let hole = spoilt(&bench, |_| {
        let (portal, (key, _)) = (bench.city.stage.portal.clone(), expected(&bench));
        Box::new(move || {
            portal.delete_directly(TABLE.spec().id, &[&key]).unwrap();
        })
    });
    assert!(hole.await.contains(&1), "an expected row does not stand");

    let unarchived = spoilt(&bench, |case| {
        let passes = case.place.dir.path().join("archive/passes");
        Box::new(move || fs::remove_dir_all(passes).unwrap())
    });
    assert!(unarchived.await.contains(&2), "the archive is gone");

    let unsaid = spoilt(&bench, |case| in_ledger(case, "delete from ledger_journal"));
    assert!(unsaid.await.contains(&2), "the journal is silent");

    let doubtful = spoilt(&bench, |case| {
        let oracle = case.oracle.clone();
        Box::new(move || oracle.set_lake(Some(Class::Visible)))
    });
    assert!(doubtful.await.contains(&3), "the lake is in doubt");

    let not_yet = "update ledger_sightings set first_seen = '2999-01-01T00:00:00.000000Z'";
    let hasty = spoilt(&bench, |case| in_ledger(case, not_yet));
    assert!(hasty.await.contains(&4), "the difference is new");

    let unleased = spoilt(&bench, |case| {
        in_ledger(case, "update ledger_leases set holder = ''")
    });
    assert!(unleased.await.contains(&8), "the lease is another's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_does_wrong_is_caught_at_every_turn() {
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
    case.oracle.vet_end(0);
    assert!(rules(&case).contains(&9), "the day is not in step");

    let strangers = case.oracle.stands().into_keys();
    let strangers = strangers.filter(|key| !bench.vouched(TABLE).contains_key(key));
    let strangers: Vec<RowKey> = strangers.map(|key| RowKey::new(&key)).collect();
    writer.delete(&table, &strangers).await.unwrap();
    assert!(rules(&case).contains(&5), "70 orphans are over the budget");

    let before = case.oracle.violations().len();
    let mut wrong = row.clone();
    wrong.insert("volume".into(), json!("4711"));
    writer.upsert(&table, &[wrong]).await.unwrap();
    let says = case.oracle.violations().split_off(before);
    assert!(
        says.iter()
            .any(|one| one.rule == 1 && one.what.contains("values")),
        "{says:?}"
    );

    let (again, _) = bench.vouched(TABLE).iter().last().unwrap();
    let stood = bench.vouched(TABLE)[again].clone();
    writer.upsert(&table, &[stood]).await.unwrap();
    assert!(rules(&case).contains(&3), "a row is published that stood");

    let address = format!(
        "{}/resource/{}.json",
        bench.city.stage.url(),
        TABLE.spec().id
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let login =
        |request: reqwest::RequestBuilder| request.basic_auth("writer", Some("writer-password"));
    let bare = login(client.post(&address))
        .json(&[&row])
        .send()
        .await
        .unwrap();
    assert!(bare.status().is_success());
    assert!(
        rules(&case).contains(&6),
        "nobody asked for the row identifier"
    );

    let before = case.oracle.violations().len();
    login(client.delete(&address)).send().await.unwrap();
    let says = case.oracle.violations().split_off(before);
    assert!(
        says.iter()
            .any(|one| one.what.starts_with("DELETE /resource/")),
        "{says:?}"
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
    for _ in 0..=rails.max_repairs_per_day {
        let pass = PassRecord {
            id: uuid::Uuid::now_v7(),
            dataset: case.place.target.dataset.name.clone(),
            day: Bench::day(),
            kind: PassKind::Repair,
            started_at: Utc::now(),
            digest: String::new(),
            summary: Json::Null,
            end: None,
        };
        case.place.world.ledger.begin_pass(&pass).await.unwrap();
    }
    case.oracle.vet_end(0);
    assert!(rules(&case).contains(&7));
}
