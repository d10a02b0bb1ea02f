//! Portal answers that cannot be understood, in whole passes. The day is unproven, the reason names
//! the cell, and nothing is changed. A valid answer ends that state.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use sodalake::compare::{Depth, Doubt};
use sodalake::reconcile::{Done, Report, State};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{
    Arrival, Fault, Faults, Operation, Portal, PortalOptions, RequestRecord, Rule, Witness,
};
use sodalake::socrata::{self, Patience, Reader};

use crate::support::city::{TestCity, wednesday};

const TABLE: Table = Table::RadarCounts;

/// Puts this value into one row of every answer that has the column.
fn odd(column: &str, value: Json) -> Faults {
    let fault = Fault::OddCell {
        column: column.to_owned(),
        value,
    };
    Faults {
        rules: vec![Rule {
            on: Operation::Read,
            ..Rule::always(fault)
        }],
        replicas: None,
    }
}

/// A city whose reader waits only briefly before it retries.
async fn city() -> TestCity {
    let soon = [("SODALAKE__SOCRATA__CONFIRM_WITHIN", "1s")];
    let mut city = TestCity::with(wednesday(), "", PortalOptions::default(), &soon).await;
    let brief = Duration::from_millis(1);
    let patience = Patience {
        stale_pause: brief,
        ..Patience::default()
    };
    let portal = socrata::Portal::open_with(&city.world.settings.socrata, patience).unwrap();
    city.world.socrata = Reader::new(Arc::clone(&portal));
    city.world.portal = portal;
    city
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_an_invalid_cell_is_never_overwritten() {
    let city = city().await;
    let before = city.stage.portal.rows(TABLE.spec().id);
    for (column, value) in [
        ("volume", json!("12,000")),
        ("curdatetime", json!("2020-10-14T00:15:00.000Z")),
        ("row_id", json!(7)),
    ] {
        city.stage.portal.set_faults(odd(column, value.clone()));
        let report = city.repair(TABLE, wednesday(), Depth::Content).await;
        assert_eq!(report.state, State::Unproven, "{column}: {:?}", report.why);
        assert_eq!(report.done, Done::default(), "{column}");
        let why = report.why.unwrap();
        for part in [TABLE.spec().id, column, &value.to_string()] {
            assert!(why.contains(part), "{part}: {why}");
        }
        let now = city.stage.portal.rows(TABLE.spec().id);
        assert!(now == before, "{column}: not a stamp has moved");
    }
    city.stage.portal.set_faults(Faults::default());
    let report = city.repair(TABLE, wednesday(), Depth::Content).await;
    assert_eq!(report.state, State::InSync, "{:?}", report.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_an_invalid_cell_are_not_purged() {
    let city = city().await;
    let damaged = city.try_damage(Breakage::Strangers(3), TABLE, wednesday());
    assert!(damaged.is_some());
    let before = city.stage.portal.rows(TABLE.spec().id);
    city.stage
        .portal
        .set_faults(odd("volume", json!({"amount": 5})));
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Unproven, "{:?}", report.why);
    assert_eq!(report.done, Done::default());
    assert!(city.stage.portal.rows(TABLE.spec().id) == before);
    city.stage.portal.set_faults(Faults::default());
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Repaired, "{:?}", report.why);
}

/// Removes from every answer to such a query the information whether it is up to date.
fn unmarked(query: &str) -> Faults {
    Faults {
        rules: vec![Rule {
            on: Operation::Read,
            query_contains: Some(query.to_owned()),
            ..Rule::always(Fault::NoSodaHeaders)
        }],
        replicas: None,
    }
}

fn is_doubted(report: &Report) -> bool {
    let findings = report.findings.as_ref().unwrap();
    report.state == State::Unproven && findings.doubts.contains(&Doubt::FreshnessUnknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misdated_row_is_missing_only_if_the_answer_is_up_to_date() {
    let city = city().await;
    let file = city
        .stage
        .lake()
        .join("2020/10/14/wt/Austin_wt_2020-10-14.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    json["data"][9]["curDateTime"] = "2020-10-16 12:07:00-05:00".into();
    std::fs::write(&file, json.to_string()).unwrap();
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Differs, "{:?}", report.why);
    assert_eq!((report.counts.misdated, report.counts.missing), (1, 1));
    let faults = unmarked("$select=row_id&$where=row_id in (");
    city.stage.portal.set_faults(faults);
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert!(is_doubted(&report), "{}: {:?}", report.state, report.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_entered_only_if_the_answer_about_its_other_day_is_up_to_date() {
    let city = city().await;
    let table = Table::MatchedTrips;
    let damaged = city.try_damage(Breakage::NotCatalogued, table, wednesday());
    assert!(damaged.is_some());
    city.stage.portal.set_faults(unmarked(" in ("));
    let report = city.repair(table, wednesday(), Depth::Keys).await;
    assert!(is_doubted(&report), "{}: {:?}", report.state, report.why);
    assert_eq!(report.done, Done::default());
    city.stage.portal.set_faults(Faults::default());
    let report = city.repair(table, wednesday(), Depth::Keys).await;
    assert_eq!(
        (report.state, report.done.catalog_changes),
        (State::Repaired, 1)
    );
}

/// Turns on faults when the first purge arrives.
struct AtThePurge(Mutex<Option<(Portal, Faults)>>);

impl Witness for AtThePurge {
    fn arrives(&self, request: &Arrival<'_>) {
        let purges = request
            .body
            .is_some_and(|body| body.windows(8).any(|part| part == b":deleted"));
        if let Some((portal, faults)) = self.0.lock().unwrap().take_if(|_| purges) {
            portal.set_faults(faults);
        }
    }

    fn answered(&self, _: &RequestRecord) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_verified_only_by_answers_that_are_up_to_date() {
    let city = city().await;
    let damaged = city.try_damage(Breakage::Strangers(3), TABLE, wednesday());
    assert!(damaged.is_some());
    let portal = city.stage.portal.clone();
    let witness = AtThePurge(Mutex::new(Some((portal.clone(), unmarked(" in (")))));
    portal.set_witness(Some(Arc::new(witness)));
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    portal.set_witness(None);
    assert_eq!(report.state, State::Unconfirmed, "{:?}", report.why);
    portal.set_faults(Faults::default());
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::InSync, "{:?}", report.why);
}
