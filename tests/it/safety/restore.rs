//! Restoring: everything that a pass purged or overwrote comes back unchanged. From a damaged
//! archive, only verified rows come back. No archive is removed while it could still be needed.

mod retention;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::model::{Day, Entry, EntryKey};
use sodalake::plan::Approval;
use sodalake::reconcile::{Asked, Report, State};
use sodalake::repair;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{ColumnType, TableSpec};
use uuid::Uuid;

use crate::passes::findings::touched;
use crate::support::city::{Rows, TestCity, wednesday, written_at};
use crate::support::program::run;

const WIDE: &str = "rails.max_orphan_rows_per_day = 100000\nrails.max_purge_share_per_day = 1.0\n\
                    rails.max_repairs_per_week = 1000\nrails.max_purge_rows_per_24h = 10000000\n";

/// Every entry of the catalog with all columns.
fn entries(city: &TestCity) -> BTreeMap<EntryKey, Entry> {
    let all = city.stage.catalog.entries().unwrap().into_iter();
    all.map(|entry| (entry.key.clone(), entry)).collect()
}

/// Repairs, and approves the plan if a guard holds it.
async fn repaired(city: &TestCity, table: Table, day: Day, depth: Depth) -> Report {
    let report = city.repair(table, day, depth).await;
    let Some(refusal) = &report.refusal else {
        return report;
    };
    assert!(refusal.is_approvable(), "{refusal}");
    let digest = refusal.digest.clone();
    let asked = Asked {
        approval: Some(Approval { digest }),
        ..Asked::default()
    };
    city.ask(table, day, depth, &asked).await
}

async fn restore(city: &TestCity, table: Table, pass: Uuid) {
    let archive = app::archive(&city.world.settings).unwrap();
    for day in archive.load(pass).await.unwrap() {
        let target = city.target(table, day.header.day);
        let restored = repair::restore(&city.world, &city.writers, &target, day, None).await;
        assert!(restored.unwrap().is_whole());
        let (ledger, name) = (&city.world.ledger, &target.dataset.name);
        let passes = ledger.passes(name, target.day, written_at()).await.unwrap();
        let end = passes.last().and_then(|pass| pass.end.as_ref());
        assert_eq!(end.map(|end| &end.outcome[..]), Some("restored"));
    }
}

/// A restore cannot undo what the lake confirms: rows that were published because they were missing
/// stay.
#[track_caller]
fn assert_as_before(what: &str, before: &Rows, healthy: &Rows, now: &Rows) {
    for (key, row) in before {
        assert_eq!(now.get(key), Some(row), "{what}: row {key} is as it was");
    }
    for (key, row) in now.iter().filter(|(key, _)| !before.contains_key(*key)) {
        assert_eq!(healthy.get(key), Some(row), "{what}: {key} is the lake's");
    }
}

async fn every_finding_of(table: Table) {
    let city = TestCity::around(wednesday(), WIDE).await;
    let healthy = city.rows(table);
    // These two breakages leave the day different: a lost file, and addresses numbered again.
    let rank = |breakage: &Breakage| match breakage {
        Breakage::FileLost => 2,
        Breakage::OtherCounter => 1,
        _ => 0,
    };
    let mut breakages = Breakage::ALL.to_vec();
    breakages.sort_by_key(rank);
    let mut undone = 0;
    for breakage in breakages {
        let what = format!("{breakage:?} {table:?}");
        let depth = match breakage {
            Breakage::StaleValues => Depth::Content,
            _ => Depth::Keys,
        };
        let Some(injected) = city.try_damage(breakage, table, wednesday()) else {
            continue;
        };
        let (rows_before, entries_before) = (city.rows(table), entries(&city));
        let mut passes = Vec::new();
        for day in touched(&injected, wednesday()) {
            let repaired = repaired(&city, table, day, depth).await;
            let accepted = match repaired.pass {
                Some(_) => repaired.state == State::Repaired,
                None => matches!(repaired.state, State::Unproven | State::InSync),
            };
            assert!(
                accepted,
                "{what} {day}: {} {:?}",
                repaired.state, repaired.why
            );
            passes.extend(repaired.pass);
        }
        if passes.is_empty() {
            assert_eq!(city.rows(table), rows_before, "{what}");
            continue;
        }
        assert_ne!(
            (&city.rows(table), &entries(&city)),
            (&rows_before, &entries_before),
            "{what}: something was repaired"
        );
        for pass in passes.into_iter().rev() {
            restore(&city, table, pass).await;
        }
        assert_as_before(&what, &rows_before, &healthy, &city.rows(table));
        assert_eq!(entries(&city), entries_before, "{what}");
        undone += 1;
        for day in touched(&injected, wednesday()) {
            if rank(&breakage) < 2 {
                let again = repaired(&city, table, day, depth).await;
                let accepted = matches!(again.state, State::Repaired | State::InSync);
                assert!(accepted, "{what}: {:?}", again.why);
            }
        }
    }
    assert!(undone >= 7, "{table:?}: {undone} breakages were undone");
}

macro_rules! every_finding_can_be_undone {
    ($($name:ident: $table:ident),*) => {
        mod every_finding_can_be_undone {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    every_finding_of(Table::$table).await;
                }
            )*
        }
    };
}

every_finding_can_be_undone!(
    cameras: CameraCounts,
    travel_times: TravelTimes,
    trips: MatchedTrips,
    reads: DeviceReads,
    radar: RadarCounts
);

/// Unexpected rows of the day with a column of every type and unusual texts.
fn odd_rows() -> Vec<Map<String, Json>> {
    let texts = [
        json!(" two blanks before and behind  "),
        json!("tab\tline\nreturn\rbell\u{7}"),
        json!("<script>alert(1)</script>' or 1=1 --"),
        json!("\u{1b}[31mred\u{1b}[0m \u{202e}turned"),
        json!("\u{1f6a6}\u{301}\u{feff}"),
        json!("\u{0}null inside"),
        json!("x".repeat(1 << 20)),
        json!(" "),
        Json::Null,
    ];
    let volumes = ["1e-7", "-0", "123456789012345678.5", "4.50"];
    let flags = [json!(true), json!(false), Json::Null];
    let odd = |(number, text): (usize, Json)| {
        let (volume, flag) = (volumes.get(number), flags.get(number));
        json!({
            "row_id": format!("{number:032x}"),
            "curdatetime": format!("2020-10-14T0{number}:30:00.000"),
            "detname": text,
            "volume": volume,
            "flag": flag,
            "place": {"type": "Point", "coordinates": [-97.74, 30.27]},
            "link": {"url": "https://example/?a=1&b=%20"},
            "moment": "2020-10-14T05:30:00.000Z",
            "day": null,
        })
    };
    let rows = texts.into_iter().enumerate().map(odd);
    rows.map(|row| row.as_object().unwrap().clone()).collect()
}

/// Recreates the radar table with more columns, so that a row has every type.
fn widen(city: &TestCity) {
    let spec = Table::RadarCounts.spec();
    let rows = city.stage.portal.rows(spec.id);
    let typed = |(name, kind): &(&str, sodalake::model::ColumnType)| {
        let kind = ColumnType::named(&kind.to_string());
        ((*name).to_owned(), kind.unwrap_or(ColumnType::Text))
    };
    let more = [
        ("flag", ColumnType::Checkbox),
        ("place", ColumnType::Point),
        ("link", ColumnType::Url),
        ("moment", ColumnType::FixedTimestamp),
    ];
    let more = more.map(|(name, kind)| (name.to_owned(), kind));
    city.stage.portal.create(TableSpec {
        columns: spec.columns.iter().map(typed).chain(more).collect(),
        ..TableSpec::new(spec.id, &[], Some(spec.row_identifier))
    });
    let own = |mut row: Map<String, Json>| {
        row.retain(|name, _| !name.starts_with(':'));
        row
    };
    let rows = rows.into_iter().map(own).collect();
    let portal = &city.stage.portal;
    portal.upsert_directly(spec.id, rows, written_at()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_values_of_every_type_are_restored_byte_for_byte() {
    let city = TestCity::around(wednesday(), WIDE).await;
    let table = Table::RadarCounts;
    widen(&city);
    let healthy = city.rows(table);
    let portal = &city.stage.portal;
    let odd = odd_rows();
    let many = odd.len();
    portal
        .upsert_directly(table.spec().id, odd, written_at())
        .unwrap();
    let before = city.rows(table);
    assert_eq!(before.len(), healthy.len() + many);
    let repaired = repaired(&city, table, wednesday(), Depth::Content).await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(repaired.done.purged_rows, many as u64);
    assert_eq!(city.rows(table), healthy);
    restore(&city, table, repaired.pass.unwrap()).await;
    assert_eq!(city.rows(table), before);
}

/// The only archive of a pass, as a file.
fn archive_of(city: &TestCity, pass: &str) -> std::path::PathBuf {
    let folder = city.world.settings.archive.url.to_file_path().unwrap();
    let mut files = std::fs::read_dir(folder.join("passes").join(pass)).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_rows_of_a_damaged_archive_are_restored_on_request() {
    let city = TestCity::around(wednesday(), WIDE).await;
    let table = Table::RadarCounts;
    city.damage(Breakage::ChainedAgain, table, wednesday(), "Austin");
    let before = city.rows(table);
    let line = "repair radar-counts --day 2020-10-14 --format json";
    let repaired = run(&city, line).await.ends(0, "repaired").json();
    let repaired_rows = city.rows(table);
    let pass = repaired["pass"].as_str().unwrap();
    let purged = repaired["purged_rows"].as_u64().unwrap();

    let file = archive_of(&city, pass);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let refused = run(&city, &format!("restore {pass}")).await;
    refused
        .ends(7, name)
        .ends(7, "--salvage restores the verified rows");
    assert_eq!(city.rows(table), repaired_rows, "nothing was put back");
    let found = run(&city, "archive check").await.ends(1, name);
    found.ends(1, "0 archives are whole, 1 damaged");

    let entries_now = entries(&city);
    let saved = run(&city, &format!("restore {pass} --salvage --format json")).await;
    let saved = saved
        .ends(1, &format!("of {purged} rows are verified"))
        .json();
    let proven = saved["rows"].as_u64().unwrap();
    assert!(proven >= 20 && proven < purged, "{proven} of {purged}");
    let now = city.rows(table);
    assert_eq!(now.len() as u64, repaired_rows.len() as u64 + proven);
    assert!(now.iter().all(|(key, row)| before.get(key) == Some(row)));
    assert_eq!(entries(&city), entries_now, "the catalog is left alone");

    std::fs::write(&file, &whole).unwrap();
    run(&city, "archive check")
        .await
        .ends(0, "1 archives are whole, 0 damaged");
    run(&city, &format!("restore {pass}"))
        .await
        .ends(0, "restored");
    assert_eq!(city.rows(table), before);
}
