//! Whole passes over a made-up city: lake, catalog and portal real, over HTTP.

use sodalake::compare::{Counts, Depth};
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};

use crate::support::city::{TestCity, wednesday};

#[tokio::test(flavor = "multi_thread")]
async fn a_city_published_in_the_honest_way_is_in_step() {
    let city = TestCity::around(wednesday(), "").await;
    for table in Table::ALL {
        for depth in [Depth::Keys, Depth::Content] {
            let report = city.check(table, wednesday(), depth).await;
            let what = format!("{table:?} {depth}: {:?} {:?}", report.why, report.cause);
            assert_eq!(report.state, State::InStep, "{what}");
            assert!(report.expected > 0, "{what}");
            assert_eq!(report.expected, report.published, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_file_is_found_mended_and_gone() {
    let city = TestCity::around(wednesday(), "").await;
    let injected = city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let found = city
        .check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    let twins = injected.iter().map(|one| one.count).sum();
    assert_eq!(
        found.counts,
        Counts {
            twins,
            ..Counts::default()
        },
        "{:?}",
        found.why
    );
    let mended = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(mended.state, State::Repaired, "{:?}", mended.why);
    assert_eq!(mended.done.purged_rows, twins);
}
