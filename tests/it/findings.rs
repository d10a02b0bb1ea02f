//! Start from a healthy city, break one thing, expect exactly that finding; mend it, and expect the
//! portal and the catalog to be what they were.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};
use sodalake::compare::{Counts, Depth};
use sodalake::model::{Day, Entry};
use sodalake::reconcile::{Done, State};
use sodalake::sandbox::city::{Breakage, BreakageError, Injected, Place, Table};

use crate::support::city::{TestCity, written_at};

/// An ordinary day, both clock changes, and a day whose devices were numbered anew.
const DAYS: [&str; 3] = ["2020-10-14", "2020-11-01", "2020-03-08"];

/// What a table holds, without what the portal adds of itself.
fn rows(city: &TestCity, table: Table) -> BTreeMap<String, Map<String, Json>> {
    let id = table.spec();
    let rows = city.stage.portal.rows(id.id).into_iter();
    rows.map(|mut row| {
        row.retain(|field, _| !field.starts_with(':'));
        let key = row[id.row_identifier].as_str().unwrap().to_owned();
        (key, row)
    })
    .collect()
}

/// The catalog without the times at which entries were made.
fn entries(city: &TestCity) -> BTreeSet<String> {
    let identity = |entry: Entry| {
        format!(
            "{:?} {} {:?}",
            entry.key, entry.pointer, entry.collection_end
        )
    };
    city.stage
        .catalog
        .entries()
        .unwrap()
        .into_iter()
        .map(identity)
        .collect()
}

/// The counts of a healthy day with what was injected on it added.
fn promised(healthy: Counts, injected: &[Injected], table: Table, day: Day) -> Counts {
    let mut counts = healthy;
    for one in injected
        .iter()
        .filter(|one| one.table == table && one.day == day)
    {
        let field = match one.finding {
            "missing" => &mut counts.missing,
            "twin" => &mut counts.twins,
            "orphan" => &mut counts.orphans,
            "altered" => &mut counts.altered,
            "miscatalogued" => &mut counts.miscatalogued,
            "uncatalogued" => &mut counts.uncatalogued,
            other => panic!("a breakage promises {other}"),
        };
        *field += one.count;
    }
    counts
}

/// The first file of the day that breaks this way.
fn damage(city: &TestCity, breakage: Breakage, table: Table, day: Day) -> Option<Vec<Injected>> {
    let files = city.stage.city.day_files(table.source(), day).into_iter();
    for file in files.filter(|file| file.ext == table.ext()) {
        let place = Place {
            table,
            day,
            base: file.base,
        };
        match city.stage.damage(breakage, &place, written_at()) {
            Ok(injected) => return Some(injected),
            Err(BreakageError::NothingToBreak { .. }) => {}
            Err(error) => panic!("{breakage:?} {table:?} {day}: {error}"),
        }
    }
    None
}

/// Breaks one thing and mends it; `None` if nothing in the table breaks this way.
async fn break_and_mend(breakage: Breakage, table: Table, day: Day) -> Option<()> {
    let what = format!("{breakage:?} {table:?} {day}");
    let city = TestCity::around(
        day,
        "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0",
    )
    .await;
    let healthy = city.check(table, day, Depth::Content).await;
    assert_eq!(healthy.state, State::InStep, "{what}: {:?}", healthy.why);
    let (rows_before, entries_before) = (rows(&city, table), entries(&city));
    let injected = damage(&city, breakage, table, day)?;
    let days: BTreeSet<Day> = injected.iter().map(|one| one.day).collect();
    for &day in &days {
        let found = city.check(table, day, Depth::Content).await;
        let healthy = if found.target.day == healthy.target.day {
            healthy.counts
        } else {
            Counts::default()
        };
        let promised = promised(healthy, &injected, table, day);
        let found_in = Counts {
            collided: promised.collided,
            misdated: promised.misdated,
            unpublishable: promised.unpublishable,
            ..found.counts
        };
        assert_eq!(
            found_in, promised,
            "{what} on {day}: {:?} {:?}",
            found.why, found.cause
        );
    }
    for &day in &days {
        let mended = city.repair(table, day, Depth::Content).await;
        if breakage == Breakage::FileLost && table != Table::CameraCounts {
            assert_eq!(
                mended.state,
                State::Unproven,
                "{what} on {day}: {:?}",
                mended.why
            );
            assert_eq!(
                rows(&city, table),
                rows_before,
                "{what}: doubt keeps the last copy"
            );
            return Some(());
        }
        let why = mended.why;
        assert_eq!(mended.state, State::Repaired, "{what} on {day}: {why:?}");
    }
    if breakage != Breakage::FileLost {
        assert_eq!(
            rows(&city, table),
            rows_before,
            "{what}: the portal is what it was"
        );
        if breakage != Breakage::GhostEntry {
            assert_eq!(
                entries(&city),
                entries_before,
                "{what}: the catalog is what it was"
            );
        }
    }
    for &day in &days {
        let again = city.repair(table, day, Depth::Content).await;
        assert_eq!(
            (again.state, again.done),
            (State::InStep, Done::default()),
            "{what} on {day}"
        );
    }
    Some(())
}

/// Every breakage on the ordinary day; on the days of clock changes those in which rows move.
fn breakages(day: &str) -> Vec<Breakage> {
    let moving = [
        Breakage::ChainedAgain,
        Breakage::TailLost,
        Breakage::StaleValues,
        Breakage::NeverPublished,
    ];
    if day == DAYS[0] {
        Breakage::ALL.to_vec()
    } else {
        moving.to_vec()
    }
}

async fn every_breakage_of(table: Table) {
    let mut tried = 0;
    for day in DAYS {
        for breakage in breakages(day) {
            tried += i32::from(
                break_and_mend(breakage, table, day.parse().unwrap())
                    .await
                    .is_some(),
            );
        }
    }
    assert!(tried >= 14, "{table:?}: {tried} breakages could be tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_camera_counts_is_found_alone_and_mended() {
    every_breakage_of(Table::CameraCounts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_travel_times_is_found_alone_and_mended() {
    every_breakage_of(Table::TravelTimes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_matched_trips_is_found_alone_and_mended() {
    every_breakage_of(Table::MatchedTrips).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_device_reads_is_found_alone_and_mended() {
    every_breakage_of(Table::DeviceReads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_radar_counts_is_found_alone_and_mended() {
    every_breakage_of(Table::RadarCounts).await;
}
