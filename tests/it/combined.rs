//! Two and three faults at once on one dataset-day: mended in one pass or two, with nothing left
//! and nothing lost.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value};
use sodalake::compare::Depth;
use sodalake::reconcile::{Done, State};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::PortalOptions;

use crate::support::city::{Rows, TestCity, difference, wednesday, written_at};

const WIDE: &str = "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0";

/// Faults that a repair undoes wholly, so that the day must be what it was.
const MENDABLE: [Breakage; 7] = [
    Breakage::ChainedAgain,
    Breakage::NeverPublished,
    Breakage::OnlyCatalogued,
    Breakage::TailLost,
    Breakage::StaleValues,
    Breakage::Strangers(5),
    Breakage::NotCatalogued,
];

async fn mends(table: Table, seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    let count = chance.random_range(2..=3);
    let chosen: Vec<Breakage> = MENDABLE
        .choose_multiple(&mut chance, count)
        .copied()
        .collect();
    let what = format!("{table:?}, seed {seed}: {chosen:?}");
    // Rows that stand under the chained hasher alone would be in step; here they must go.
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
    let mended = city.repair(table, wednesday(), Depth::Content).await;
    assert_eq!(mended.state, State::Repaired, "{what}: {:?}", mended.why);
    let after = city.rows(table);
    assert!(
        after == before.0,
        "{what}: {:?}",
        difference(&before.0, &after)
    );
    assert_eq!(city.published_entries(), before.1, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_faults_of_a_radar_day_are_mended_together() {
    for seed in 0..6 {
        mends(Table::RadarCounts, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_faults_of_a_camera_day_are_mended_together() {
    for seed in 10..16 {
        mends(Table::CameraCounts, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_faults_of_a_summary_day_are_mended_together() {
    for seed in 20..26 {
        mends(Table::TravelTimes, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_faults_of_a_day_of_single_reads_are_mended_together() {
    for seed in 30..36 {
        mends(Table::DeviceReads, seed).await;
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

/// What a rewrite leaves that was cut off behind its purge: devices are numbered by what the file
/// says, since nothing that stands is like a row of it.
#[tokio::test(flavor = "multi_thread")]
async fn single_reads_of_which_only_strangers_are_left_are_published_again() {
    let table = Table::DeviceReads;
    let city = TestCity::around(wednesday(), WIDE).await;
    let before = city.rows(table);
    let day = rows_of_day(&city, table);
    assert!(day.len() > 20, "the day has {} rows", day.len());
    city.try_damage(Breakage::Strangers(5), table, wednesday());
    let wiped: Vec<&str> = day.keys().map(String::as_str).collect();
    let portal = &city.stage.portal;
    portal.delete_directly(table.spec().id, &wiped).unwrap();
    let mended = city.repair(table, wednesday(), Depth::Content).await;
    assert_eq!(mended.state, State::Repaired, "{:?}", mended.why);
    let after = city.rows(table);
    assert!(after == before, "{:?}", difference(&before, &after));
}

/// One row stands under another number than the file gives it, all others as they should: it may be
/// the file that counts wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_under_a_number_that_no_file_gives_keeps_the_day_unproven() {
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
