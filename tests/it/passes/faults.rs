//! Passes that are interrupted, or that meet portal errors or doubts about the lake. No expected
//! row is ever lost, only archived rows are purged, and the next pass ends correctly.

use std::collections::BTreeSet;
use std::time::Duration;

use sodalake::app;
use sodalake::compare::Depth;
use sodalake::ledger;
use sodalake::reconcile::{Asked, Done, State};
use sodalake::repair;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, Rule};

use crate::passes::findings::PATIENT;
use crate::support::city::{Rows, TestCity, difference, wednesday, written_at};

const TABLE: Table = Table::CameraCounts;

/// The last of the day's files that have a published catalog entry.
fn published_base(city: &TestCity) -> String {
    let zone = city.target(TABLE, wednesday()).dataset.zone;
    let entries = city.published_entries().into_keys();
    let mut ours = entries
        .filter(|key| key.id_ext == TABLE.ext() && key.collection_date == wednesday().start(zone));
    ours.next_back().unwrap().id_base
}

/// Duplicates one file of the day, and removes another one with its entry.
fn break_two(city: &TestCity) -> Rows {
    let duplicates = city.try_damage(Breakage::OtherSpelling, TABLE, wednesday());
    assert!(duplicates.is_some());
    let gone = published_base(city);
    city.damage(Breakage::NeverPublished, TABLE, wednesday(), &gone);
    city.rows(TABLE)
}

fn assert_nothing_expected_was_lost(what: &str, healthy: &Rows, broken: &Rows, now: &Rows) {
    for key in healthy.keys().filter(|key| broken.contains_key(*key)) {
        assert_eq!(now.get(key), healthy.get(key), "{what}: expected row {key}");
    }
}

async fn archived_keys(city: &TestCity) -> BTreeSet<String> {
    let archive = app::archive(&city.world.settings).unwrap();
    let name = city.target(TABLE, wednesday()).dataset.name.clone();
    let mut keys = BTreeSet::new();
    for pass in city.world.ledger.unfinished(&name).await.unwrap() {
        for day in archive.load(pass.id).await.unwrap() {
            keys.extend(
                day.rows
                    .iter()
                    .filter_map(|row| row.row.key.as_ref().map(ToString::to_string)),
            );
        }
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_interrupted_anywhere_is_finished_by_the_next() {
    let city = TestCity::around(wednesday(), PATIENT).await;
    let (healthy, entries) = (city.rows(TABLE), city.published_entries());
    for cut in 1.. {
        let what = format!("cut after {cut} requests");
        let broken = break_two(&city);
        city.stage.portal.clear_requests();
        let enough = async {
            while city.stage.portal.requests().len() < cut {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        let asked = Asked::default();
        let finished = tokio::select! {
            report = city.ask(TABLE, wednesday(), Depth::Keys, &asked) => {
                assert_eq!(report.state, State::Repaired, "{what}: {:?}", report.why);
                true
            }
            () = enough => false,
        };
        // the portal may still process a request that was already sent
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = city.rows(TABLE);
        assert_nothing_expected_was_lost(&what, &healthy, &broken, &now);
        if !finished {
            let archived = archived_keys(&city).await;
            let mut purged = broken.keys().filter(|key| !now.contains_key(*key));
            assert!(
                purged.all(|key| archived.contains(key)),
                "{what}: purged and not archived"
            );
        }
        let next = city.repair(TABLE, wednesday(), Depth::Keys).await;
        assert!(
            matches!(next.state, State::Repaired | State::InSync),
            "{what}: {:?}",
            next.why
        );
        let after = city.rows(TABLE);
        assert!(
            after == healthy,
            "{what}: {:?}",
            difference(&healthy, &after)
        );
        assert_eq!(city.published_entries(), entries, "{what}");
        if finished {
            assert!(cut > 5, "the pass was really cut");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_write_error_the_next_pass_ends_correctly() {
    let city = TestCity::around(wednesday(), &format!("{PATIENT}socrata.chunk_rows = 20\n")).await;
    let healthy = city.rows(TABLE);
    let faults = [
        Fault::AppliedThenReset,
        Fault::AppliedThenGateway { status: 502 },
        Fault::Gateway { status: 502 },
        Fault::LockConflict,
        Fault::Throttled {
            retry_after_seconds: Some(1),
        },
        Fault::RowsRefused { rows: 2 },
        Fault::DeliveredTwice,
        Fault::WrongCounts,
        Fault::SavedButRefused,
        Fault::Reset,
    ];
    for fault in faults {
        for nth in [1, 3] {
            let what = format!("{fault:?} at write {nth}");
            let broken = break_two(&city);
            let rule = Rule {
                on: Operation::Write,
                nth: Some(nth),
                ..Rule::always(fault.clone())
            };
            city.stage.portal.set_faults(Faults {
                rules: vec![rule],
                replicas: None,
            });
            city.repair(TABLE, wednesday(), Depth::Keys).await;
            assert_nothing_expected_was_lost(&what, &healthy, &broken, &city.rows(TABLE));
            city.stage.portal.set_faults(Faults::default());
            let next = city.repair(TABLE, wednesday(), Depth::Keys).await;
            assert!(
                matches!(next.state, State::Repaired | State::InSync),
                "{what}: {:?}",
                next.why
            );
            assert!(city.rows(TABLE) == healthy, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_purged_while_the_portal_sends_no_freshness_headers() {
    let city = TestCity::around(wednesday(), PATIENT).await;
    let broken = break_two(&city);
    let rule = Rule {
        on: Operation::Read,
        ..Rule::always(Fault::NoSodaHeaders)
    };
    city.stage.portal.set_faults(Faults {
        rules: vec![rule],
        replicas: None,
    });
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Unproven, "{:?}", report.why);
    assert_eq!(report.done.purged_rows, 0);
    let now = city.rows(TABLE);
    assert!(broken.keys().all(|key| now.contains_key(key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_purged_while_the_lake_is_in_doubt() {
    let city = TestCity::around(wednesday(), PATIENT).await;
    city.try_damage(Breakage::OtherSpelling, TABLE, wednesday())
        .unwrap();
    let broken = city.rows(TABLE);
    let files = city.stage.city.day_files(TABLE.source(), wednesday());
    let file = files.iter().rfind(|file| file.ext == TABLE.ext()).unwrap();
    let path = city.stage.lake().join(&file.path.0);
    let beside = path.with_file_name(format!("Nowhere_gs_{}_agg15.json", wednesday()));
    let half = &file.bytes[..file.bytes.len() / 2];
    for (what, place, bytes) in [
        ("gone", &path, None),
        ("truncated", &path, Some(half)),
        ("garbage", &path, Some(&b"\xff\xfe no JSON"[..])),
        ("empty", &path, Some(&b""[..])),
        ("beside", &beside, Some(&b"{}"[..])),
    ] {
        match bytes {
            Some(bytes) => std::fs::write(place, bytes).unwrap(),
            None => std::fs::remove_file(place).unwrap(),
        }
        let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
        assert_eq!(report.state, State::Unproven, "{what}: {:?}", report.why);
        let name = place.file_name().unwrap().to_str().unwrap();
        assert!(
            report.why.as_ref().unwrap().contains(name),
            "{what}: {:?}",
            report.why
        );
        assert_eq!(report.done, Done::default(), "{what}");
        assert!(city.rows(TABLE) == broken, "{what}");
        std::fs::write(&path, &file.bytes).unwrap();
        let _ = std::fs::remove_file(&beside);
    }
    let repaired = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_restores_portal_and_catalog() {
    let city = TestCity::around(wednesday(), PATIENT).await;
    city.try_damage(Breakage::OtherSpelling, TABLE, wednesday())
        .unwrap();
    let other = published_base(&city);
    city.damage(Breakage::NotCatalogued, TABLE, wednesday(), &other);
    city.try_damage(Breakage::GhostEntry, TABLE, wednesday())
        .unwrap();
    let (rows, entries) = (city.rows(TABLE), city.published_entries());
    let repaired = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert!(city.rows(TABLE) != rows && city.published_entries() != entries);
    let archive = app::archive(&city.world.settings).unwrap();
    let archived = archive.load(repaired.pass.unwrap()).await.unwrap();
    let target = city.target(TABLE, wednesday());
    let day = archived.into_iter().next().unwrap();
    let restored = repair::restore(&city.world, &city.writers, &target, day, None).await;
    assert!(restored.unwrap().is_whole());
    assert!(
        city.rows(TABLE) == rows,
        "{:?}",
        difference(&rows, &city.rows(TABLE))
    );
    assert_eq!(city.published_entries(), entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_approval_lifts_a_budget_once() {
    let more = format!("{PATIENT}rails.max_purge_rows_per_day = 5\n");
    let city = TestCity::around(wednesday(), &more).await;
    for used in [false, true] {
        city.try_damage(Breakage::OtherSpelling, TABLE, wednesday())
            .unwrap();
        let held = city.repair(TABLE, wednesday(), Depth::Keys).await;
        assert_eq!(
            (held.state, held.done),
            (State::Held, Done::default()),
            "used before: {used}"
        );
        let digest = held.refusal.unwrap().digest;
        let approval = ledger::Approval {
            digest: digest.clone(),
            at: written_at(),
            by: "test".into(),
            reason: "looked at".into(),
            used_at: None,
        };
        city.world.ledger.approve(&approval).await.unwrap();
        let repaired = city.repair(TABLE, wednesday(), Depth::Keys).await;
        assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
        let noted = city.world.ledger.approval(&digest).await.unwrap().unwrap();
        assert!(noted.used_at.is_some());
    }
}
