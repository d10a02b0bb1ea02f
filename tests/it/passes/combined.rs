//! Two or three breakages at once on one dataset-day. One or two passes repair them completely, and
//! no row is lost.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value};
use sodalake::compare::Depth;
use sodalake::reconcile::{Done, State};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::PortalOptions;

use crate::support::city::{Rows, TestCity, difference, wednesday, written_at};

const WIDE: &str = "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0";

/// Breakages that a repair undoes completely, so that the day must return to its original state.
const REPAIRABLE: [Breakage; 7] = [
    Breakage::ChainedAgain,
    Breakage::NeverPublished,
    Breakage::OnlyCatalogued,
    Breakage::TailLost,
    Breakage::StaleValues,
    Breakage::Strangers(5),
    Breakage::NotCatalogued,
];

async fn repairs(table: Table, seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    let count = chance.random_range(2..=3);
    let chosen: Vec<Breakage> = REPAIRABLE
        .choose_multiple(&mut chance, count)
        .copied()
        .collect();
    let what = format!("{table:?}, seed {seed}: {chosen:?}");
    // Rows published only under the chained hasher would be in sync; here they must be purged.
    let name = table.dataset_name().to_uppercase().replace('-', "_");
    let migrate = (format!("SODALAKE__DATASET__{name}__KEYS"), "migrate");
    let environment = [(migrate.0.as_str(), migrate.1)];
    let options = PortalOptions::default();
    let city = TestCity::with(wednesday(), WIDE, options, &environment).await;
    let before = (city.rows(table), city.published_entries());
    for breakage in chosen {
        city.try_damage(breakage, table, wednesday());
    }
    let broken = city.check(table, wednesday(), Depth::Content).await;
    assert_eq!(broken.state, State::Differs, "{what}: {:?}", broken.why);
    let repaired = city.repair(table, wednesday(), Depth::Content).await;
    assert_eq!(
        repaired.state,
        State::Repaired,
        "{what}: {:?}",
        repaired.why
    );
    let after = city.rows(table);
    assert!(
        after == before.0,
        "{what}: {:?}",
        difference(&before.0, &after)
    );
    assert_eq!(city.published_entries(), before.1, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_breakages_of_a_radar_day_are_repaired_together() {
    for seed in 0..6 {
        repairs(Table::RadarCounts, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_breakages_of_a_camera_day_are_repaired_together() {
    for seed in 10..16 {
        repairs(Table::CameraCounts, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_breakages_of_a_summary_day_are_repaired_together() {
    for seed in 20..26 {
        repairs(Table::TravelTimes, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_breakages_of_a_day_of_single_reads_are_repaired_together() {
    for seed in 30..36 {
        repairs(Table::DeviceReads, seed).await;
    }
}

/// The table's rows of the day.
fn rows_of_day(city: &TestCity, table: Table) -> Rows {
    let day = wednesday().to_string();
    let of_day = |row: &Map<String, Value>| {
        (row.get(table.day_column()).and_then(Value::as_str))
            .is_some_and(|time| time.starts_with(&day))
    };
    let rows = city.rows(table).into_iter();
    rows.filter(|(_, row)| of_day(row)).collect()
}

/// A rewrite was interrupted after its purge. Devices are numbered as the file says, since no
/// published row matches a row of the file.
#[tokio::test(flavor = "multi_thread")]
async fn single_reads_are_published_again_when_only_orphans_are_left() {
    let table = Table::DeviceReads;
    let city = TestCity::around(wednesday(), WIDE).await;
    let before = city.rows(table);
    let day = rows_of_day(&city, table);
    assert!(day.len() > 20, "the day has {} rows", day.len());
    city.try_damage(Breakage::Strangers(5), table, wednesday());
    let wiped: Vec<&str> = day.keys().map(String::as_str).collect();
    let portal = &city.stage.portal;
    portal.delete_directly(table.spec().id, &wiped).unwrap();
    let repaired = city.repair(table, wednesday(), Depth::Content).await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    let after = city.rows(table);
    assert!(after == before, "{:?}", difference(&before, &after));
}

/// One row is published under a number that the file does not give it, and all others under the
/// right one. The error may be in the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_under_a_number_that_no_file_has_leaves_the_day_unproven() {
    let table = Table::DeviceReads;
    let spec = table.spec();
    let city = TestCity::around(wednesday(), WIDE).await;
    let (key, mut row) = rows_of_day(&city, table).pop_first().unwrap();
    row.insert("device_address".into(), "900001".into());
    row.insert(spec.row_identifier.into(), "0".repeat(32).into());
    let portal = &city.stage.portal;
    portal.delete_directly(spec.id, &[&key]).unwrap();
    portal
        .upsert_directly(spec.id, vec![row], written_at())
        .unwrap();
    let stands = city.rows(table);
    let left = city.repair(table, wednesday(), Depth::Content).await;
    assert_eq!((left.state, left.done), (State::Unproven, Done::default()));
    let why = left.why.unwrap_or_default();
    assert!(why.starts_with("no numbering of the devices"), "{why}");
    assert!(city.rows(table) == stands);
}
