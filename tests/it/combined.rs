//! Two and three faults at once on one dataset-day: mended in one pass or two, with nothing left
//! and nothing lost.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sodalake::compare::Depth;
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::PortalOptions;

use crate::support::city::{TestCity, difference, wednesday};

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

/// What a rewrite leaves that was cut off behind its purge: devices are numbered by what the file
/// says, since nothing that stands is like a row of it.
#[tokio::test(flavor = "multi_thread")]
async fn single_reads_of_which_only_strangers_are_left_are_published_again() {
    let table = Table::DeviceReads;
    let city = TestCity::around(wednesday(), WIDE).await;
    let before = city.rows(table);
    city.try_damage(Breakage::Strangers(5), table, wednesday());
    let day = wednesday().to_string();
    let of_day = |row: &serde_json::Map<String, serde_json::Value>| {
        (row.get("host_read_time").and_then(|time| time.as_str()))
            .is_some_and(|time| time.starts_with(&day))
    };
    let wiped: Vec<&str> = (before.iter())
        .filter(|(_, row)| of_day(row))
        .map(|(key, _)| key.as_str())
        .collect();
    assert!(wiped.len() > 20, "the day has {} rows", wiped.len());
    let portal = &city.stage.portal;
    portal.delete_directly(table.spec().id, &wiped).unwrap();
    let mended = city.repair(table, wednesday(), Depth::Content).await;
    assert_eq!(mended.state, State::Repaired, "{:?}", mended.why);
    let after = city.rows(table);
    assert!(after == before, "{:?}", difference(&before, &after));
}
