//! What must never happen: a row is purged in doubt, or a purged row cannot be restored.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::model::Entry;
use sodalake::plan::Guard;
use sodalake::reconcile::{self, Asked, Done, State};
use sodalake::repair;
use sodalake::sandbox::city::{Breakage, Table};

use crate::support::city::{TestCity, wednesday};

const WIDE: &str = "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0";

fn rows(city: &TestCity, table: Table) -> BTreeMap<String, Map<String, Json>> {
    let spec = table.spec();
    let rows = city.stage.portal.rows(spec.id).into_iter();
    rows.map(|mut row| {
        row.retain(|field, _| !field.starts_with(':'));
        (row[spec.row_identifier].as_str().unwrap().to_owned(), row)
    })
    .collect()
}

fn entries(city: &TestCity) -> BTreeSet<String> {
    let identity = |entry: Entry| format!("{:?} {}", entry.key, entry.pointer);
    let entries = city.stage.catalog.entries().unwrap();
    entries.into_iter().map(identity).collect()
}

/// A radar day duplicated by the chained hasher, with one doubt about its lake.
async fn doubled_and(doubt: impl FnOnce(&TestCity)) -> (State, Option<String>, Done, bool) {
    let city = TestCity::around(wednesday(), WIDE).await;
    city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    doubt(&city);
    let before = rows(&city, Table::RadarCounts);
    let report = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    let kept = before
        .iter()
        .all(|(key, row)| rows(&city, Table::RadarCounts).get(key) == Some(row));
    (report.state, report.why, report.done, kept)
}

fn radar_file(city: &TestCity) -> std::path::PathBuf {
    city.stage
        .lake()
        .join("2020/10/14/wt/Austin_wt_2020-10-14.json")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_about_the_lake_prevents_any_purge_and_names_the_file() {
    type Doubting = fn(&TestCity);
    let doubts: [(&str, Doubting); 5] = [
        ("does not exist", |city| {
            std::fs::remove_file(radar_file(city)).unwrap();
        }),
        ("parse lake file", |city| {
            let bytes = std::fs::read(radar_file(city)).unwrap();
            std::fs::write(radar_file(city), &bytes[..bytes.len() * 2 / 3]).unwrap();
        }),
        ("parse lake file", |city| {
            std::fs::write(radar_file(city), b"").unwrap();
        }),
        ("parse lake file", |city| {
            std::fs::write(radar_file(city), [0xff; 300]).unwrap();
        }),
        ("not catalogued in the ready layer", |city| {
            let beside = radar_file(city).with_file_name("Dallas_wt_2020-10-14.json");
            std::fs::copy(radar_file(city), beside).unwrap();
        }),
    ];
    for (words, doubt) in doubts {
        let (state, why, done, kept) = doubled_and(doubt).await;
        let why = why.unwrap_or_default();
        assert_eq!(state, State::Unproven, "{words}: {why}");
        assert!(why.contains(words), "{words}: {why}");
        assert!(why.contains("2020-10-14.json"), "{words}: {why}");
        assert_eq!(done.purged_rows, 0, "{words}");
        assert!(kept, "{words}: every row stands as it did");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_a_third_of_its_cameras_is_unproven() {
    let city = TestCity::around(wednesday(), WIDE).await;
    let bases = [
        "Burnet_Richcreek",
        "Guadalupe_26th",
        "Lamar_Manchaca",
        "Slaughter",
    ];
    let ready = city
        .stage
        .catalog
        .entries()
        .unwrap()
        .into_iter()
        .filter(|entry| {
            entry.key.data_source == "gs"
                && entry.key.repository == sodalake::sandbox::city::READY
                && entry.day(chrono_tz::America::Chicago) == wednesday()
        });
    let mut taken = 0;
    for entry in ready.take(8) {
        city.stage.catalog.remove(&entry.key).unwrap();
        std::fs::remove_file(city.stage.lake().join(&entry.pointer)).unwrap();
        taken += 1;
    }
    assert!(taken >= bases.len());
    let before = rows(&city, Table::CameraCounts);
    let report = city
        .repair(Table::CameraCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(report.state, State::Unproven, "{:?}", report.why);
    assert_eq!(report.done, Done::default());
    assert_eq!(rows(&city, Table::CameraCounts), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_undoes_every_change_of_a_pass() {
    for (breakage, table, base) in [
        (Breakage::ChainedAgain, Table::RadarCounts, "Austin"),
        (Breakage::Strangers(5), Table::TravelTimes, "Austin"),
        (Breakage::StaleValues, Table::RadarCounts, "Austin"),
        (Breakage::GhostEntry, Table::RadarCounts, "Austin"),
        (Breakage::NotCatalogued, Table::RadarCounts, "Austin"),
        (Breakage::OtherCounter, Table::DeviceReads, "Austin"),
    ] {
        let city = TestCity::around(wednesday(), WIDE).await;
        city.damage(breakage, table, wednesday(), base);
        let (rows_before, entries_before) = (rows(&city, table), entries(&city));
        let repaired = city.repair(table, wednesday(), Depth::Content).await;
        assert_eq!(
            repaired.state,
            State::Repaired,
            "{breakage:?}: {:?}",
            repaired.why
        );
        let archive = app::archive(&city.world.settings).unwrap();
        for day in archive.load(repaired.pass.unwrap()).await.unwrap() {
            let target = city.target(table, wednesday());
            let restored = repair::restore(&city.world, &city.writers, &target, day, None).await;
            assert!(restored.unwrap().is_whole(), "{breakage:?}");
        }
        assert_eq!(
            rows(&city, table),
            rows_before,
            "{breakage:?}: the portal is as before"
        );
        assert_eq!(
            entries(&city),
            entries_before,
            "{breakage:?}: the catalog is as before"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_over_budget_is_held_until_exactly_it_is_approved() {
    let city = TestCity::around(wednesday(), "rails.max_orphan_rows_per_day = 4").await;
    city.damage(
        Breakage::Strangers(5),
        Table::TravelTimes,
        wednesday(),
        "Austin",
    );
    let held = city
        .repair(Table::TravelTimes, wednesday(), Depth::Keys)
        .await;
    let refusal = held
        .refusal
        .expect("five orphans are over the budget of four");
    assert_eq!(
        (held.state, refusal.breaches[0].guard),
        (State::Held, Guard::OrphanRows)
    );
    let target = city.target(Table::TravelTimes, wednesday());
    let approve = |digest: String| Asked {
        approval: Some(sodalake::plan::Approval { digest }),
        wait: true,
        ..Asked::default()
    };
    let pass = async |asked: Asked| {
        reconcile::repair(&city.world, &city.writers, &target, Depth::Keys, &asked).await
    };
    assert_eq!(pass(approve("0".repeat(64))).await.state, State::Held);
    city.damage(
        Breakage::Strangers(6),
        Table::TravelTimes,
        wednesday(),
        "Austin",
    );
    let changed = pass(approve(refusal.digest)).await;
    assert_eq!(
        changed.state,
        State::Held,
        "the day changed: the approval is dead"
    );
    let approved = pass(approve(changed.refusal.unwrap().digest)).await;
    assert_eq!(approved.state, State::Repaired, "{:?}", approved.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_approval_is_used_once() {
    let city = TestCity::around(wednesday(), "rails.max_orphan_rows_per_day = 4").await;
    city.damage(
        Breakage::Strangers(5),
        Table::TravelTimes,
        wednesday(),
        "Austin",
    );
    let held = city
        .repair(Table::TravelTimes, wednesday(), Depth::Keys)
        .await;
    let digest = held.refusal.unwrap().digest;
    let approval = sodalake::ledger::Approval {
        digest: digest.clone(),
        at: city.world.clock.now(),
        by: "test".into(),
        reason: "looked at".into(),
        used_at: None,
    };
    city.world.ledger.approve(&approval).await.unwrap();
    let approved = city
        .repair(Table::TravelTimes, wednesday(), Depth::Keys)
        .await;
    assert_eq!(approved.state, State::Repaired, "{:?}", approved.why);
    let used = city.world.ledger.approval(&digest).await.unwrap().unwrap();
    assert!(used.used_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_interrupted_at_any_request_is_finished_by_the_next() {
    let mut cut_short = 0;
    for requests in (1..200).step_by(3) {
        let city = TestCity::around(wednesday(), WIDE).await;
        let healthy = (rows(&city, Table::RadarCounts), entries(&city));
        city.damage(
            Breakage::TailLost,
            Table::RadarCounts,
            wednesday(),
            "Austin",
        );
        city.damage(
            Breakage::Strangers(5),
            Table::RadarCounts,
            wednesday(),
            "Austin",
        );
        city.stage.portal.clear_requests();
        let reached = async {
            while city.stage.portal.requests().len() < requests {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        let finished = tokio::select! {
            report = city.repair(Table::RadarCounts, wednesday(), Depth::Keys) => Some(report.state),
            () = reached => None,
        };
        let published = rows(&city, Table::RadarCounts);
        for (key, row) in &healthy.0 {
            let lost_before = !published.contains_key(key) && finished.is_some();
            assert!(
                !lost_before && published.get(key).is_none_or(|now| now == row),
                "{requests}: {key}"
            );
        }
        // The interrupted pass still holds its lease, as a killed one would for a while.
        let lease = "repair/radar-counts";
        city.world
            .ledger
            .release(lease, &city.writers.holder)
            .await
            .unwrap();
        let next = city
            .repair(Table::RadarCounts, wednesday(), Depth::Keys)
            .await;
        assert!(
            matches!(next.state, State::Repaired | State::InSync),
            "{requests}: {:?}",
            next.why
        );
        assert_eq!(
            (rows(&city, Table::RadarCounts), entries(&city)),
            healthy,
            "{requests}"
        );
        match finished {
            Some(_) => break,
            None => cut_short += 1,
        }
    }
    assert!(cut_short >= 4, "cut short {cut_short} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changes_after_it_was_judged_is_not_purged() {
    use sodalake::sandbox::portal::{Fault, Faults, Operation, Rule};
    let city = TestCity::around(wednesday(), WIDE).await;
    city.damage(
        Breakage::Strangers(5),
        Table::TravelTimes,
        wednesday(),
        "Austin",
    );
    // The check's read of the unexpected rows: the only read by key before the purge's own.
    let by_key = Rule {
        on: Operation::Read,
        query_contains: Some(" in (".into()),
        nth: Some(1),
        dataset: None,
        probability: None,
        times: Some(1),
        fault: Fault::TouchesAfter { rows: 2 },
    };
    city.stage.portal.set_faults(Faults {
        rules: vec![by_key],
        replicas: None,
    });
    let report = city
        .repair(Table::TravelTimes, wednesday(), Depth::Keys)
        .await;
    assert_eq!(report.done.purged_rows, 3, "{:?}", report.why);
    assert_eq!(
        report.state,
        State::Differs,
        "two orphans are still published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_published_without_the_file_that_numbers_its_devices() {
    let companion = "2020/10/14/bt/Austin_bt_2020-10-14_matched.json";
    for breakage in [Breakage::Strangers(5), Breakage::NeverPublished] {
        let city = TestCity::around(wednesday(), WIDE).await;
        city.damage(breakage, Table::DeviceReads, wednesday(), "Austin");
        std::fs::remove_file(city.stage.lake().join(companion)).unwrap();
        let before = rows(&city, Table::DeviceReads);
        let report = city
            .repair(Table::DeviceReads, wednesday(), Depth::Keys)
            .await;
        let why = report.why.unwrap_or_default();
        assert_eq!(report.state, State::Unproven, "{breakage:?}: {why}");
        assert!(why.contains(companion), "{breakage:?}: {why}");
        assert_eq!(report.done, Done::default(), "{breakage:?}");
        assert_eq!(rows(&city, Table::DeviceReads), before, "{breakage:?}");
    }
}
