//! Whole passes over a fictional city: real lake, catalog and portal, over HTTP.

use sodalake::compare::{Counts, Depth};
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};

use crate::support::city::{TestCity, wednesday};

#[tokio::test(flavor = "multi_thread")]
async fn a_correctly_published_city_is_in_sync() {
    let city = TestCity::around(wednesday(), "").await;
    for table in Table::ALL {
        for depth in [Depth::Keys, Depth::Content] {
            let report = city.check(table, wednesday(), depth).await;
            let what = format!("{table:?} {depth}: {:?} {:?}", report.why, report.cause);
            assert_eq!(report.state, State::InSync, "{what}");
            assert!(report.expected > 0, "{what}");
            assert_eq!(report.expected, report.published, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicated_file_is_found_and_repaired() {
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
    let duplicates = injected.iter().map(|one| one.count).sum();
    assert_eq!(
        found.counts,
        Counts {
            duplicates,
            ..Counts::default()
        },
        "{:?}",
        found.why
    );
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(repaired.done.purged_rows, duplicates);
}
