//! The other ways to mend: rewriting a day, leaving rows to the existing publisher, older keys.

use sodalake::compare::Depth;
use sodalake::model::KeyRecipe;
use sodalake::reconcile::{self, Asked, State};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::PortalOptions;

use crate::support::city::{TestCity, wednesday};

const WIDE: &str = "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0\n";

fn keys(city: &TestCity, table: Table) -> Vec<String> {
    let spec = table.spec();
    let rows = city.stage.portal.rows(spec.id);
    let mut keys: Vec<String> = rows
        .iter()
        .map(|row| row[spec.row_identifier].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys
}

/// Leaves of a table's day only the rows that the chained hasher made.
async fn chained_city(environment: &[(&str, &str)]) -> (TestCity, Vec<String>, Vec<String>) {
    let options = PortalOptions::default();
    let city = TestCity::with(wednesday(), WIDE, options, environment).await;
    let current = keys(&city, Table::RadarCounts);
    city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let target = city.target(Table::RadarCounts, wednesday());
    let accepting = reconcile::draft(&city.world, &target, Depth::Keys, false).await;
    let plan = accepting.unwrap();
    let twins: Vec<String> = (plan.0.findings.unwrap().twins.iter())
        .map(|twin| twin.of.to_string())
        .collect();
    let id = Table::RadarCounts.spec().id;
    let doomed: Vec<&str> = twins.iter().map(String::as_str).collect();
    city.stage.portal.delete_directly(id, &doomed).unwrap();
    let chained = keys(&city, Table::RadarCounts);
    (city, current, chained)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whole_under_the_older_recipe_is_in_step_and_says_so() {
    let (city, _, chained) = chained_city(&[]).await;
    let report = city
        .check(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(
        (report.state, report.keys),
        (State::InStep, Some(KeyRecipe::Chained))
    );
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(repaired.state, State::InStep);
    assert_eq!(
        keys(&city, Table::RadarCounts),
        chained,
        "rewriting it would be vandalism"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_an_older_day_is_filled_under_the_older_recipe() {
    let (city, _, chained) = chained_city(&[]).await;
    let report = city
        .check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    let day = report.findings.unwrap();
    assert_eq!(day.missing.len(), 0);
    let id = Table::RadarCounts.spec().id;
    let rows = city.stage.portal.rows(id).into_iter();
    let of_day: Vec<String> = rows
        .filter(|row| {
            row["curdatetime"]
                .as_str()
                .unwrap()
                .starts_with("2020-10-14")
        })
        .map(|row| row["row_id"].as_str().unwrap().to_owned())
        .collect();
    let lost: Vec<&str> = of_day
        .iter()
        .skip(of_day.len() / 2)
        .map(String::as_str)
        .collect();
    city.stage.portal.delete_directly(id, &lost).unwrap();
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(repaired.done.published_rows, lost.len() as u64);
    assert_eq!(keys(&city, Table::RadarCounts), chained);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_moves_an_older_day_to_todays_keys() {
    let (city, current, _) =
        chained_city(&[("SODALAKE__DATASET__RADAR_COUNTS__KEYS", "migrate")]).await;
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(keys(&city, Table::RadarCounts), current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_wipes_the_day_and_writes_it_new() {
    let city = TestCity::around(wednesday(), WIDE).await;
    let healthy = keys(&city, Table::RadarCounts);
    let catalogued = city.stage.catalog.entries().unwrap().len();
    city.damage(
        Breakage::Strangers(5),
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let target = city.target(Table::RadarCounts, wednesday());
    let asked = Asked {
        rewrite: true,
        wait: true,
        ..Asked::default()
    };
    let report = reconcile::repair(&city.world, &city.writers, &target, Depth::Keys, &asked).await;
    assert_eq!(report.state, State::Repaired, "{:?}", report.why);
    assert_eq!(report.done.purged_rows, report.done.published_rows + 5);
    assert_eq!(keys(&city, Table::RadarCounts), healthy);
    assert_eq!(city.stage.catalog.entries().unwrap().len(), catalogued);
    let again = city
        .check(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(again.state, State::InStep, "{:?}", again.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn deferring_leaves_the_rows_to_the_publisher() {
    let more = format!("{WIDE}republish.mode = \"defer\"");
    let city = TestCity::around(wednesday(), &more).await;
    let healthy = keys(&city, Table::RadarCounts);
    city.damage(
        Breakage::OnlyCatalogued,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let report = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(report.done.published_rows, 0);
    assert_eq!(
        (report.state, report.done.catalog_changes),
        (State::Differs, 1),
        "{:?}",
        report.why
    );
    let at = crate::support::city::written_at();
    city.stage.publish(wednesday(), at).await.unwrap();
    let after = city
        .check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(after.state, State::InStep, "{:?}", after.cause);
    assert_eq!(keys(&city, Table::RadarCounts), healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publishers_command_gets_the_range_and_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let command = format!(
        "{WIDE}republish.mode = \"command\"\nrepublish.command = [\"sh\", \"-c\", \"echo $0 $1 > {}\", \"{{from}}\", \"{{to}}\"]",
        told.display()
    );
    let city = TestCity::around(wednesday(), &command).await;
    city.damage(
        Breakage::OnlyCatalogued,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let report = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(
        std::fs::read_to_string(told).unwrap().trim(),
        "2020-10-14 2020-10-15"
    );
    assert_eq!(
        report.state,
        State::Differs,
        "a publisher that did nothing shows: {:?}",
        report.why
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_rewrite_wipes_the_day_and_leaves_it_to_the_publisher() {
    let more = format!("{WIDE}republish.mode = \"defer\"");
    let city = TestCity::around(wednesday(), &more).await;
    let healthy = keys(&city, Table::RadarCounts);
    let target = city.target(Table::RadarCounts, wednesday());
    let asked = Asked {
        rewrite: true,
        wait: true,
        ..Asked::default()
    };
    let report = reconcile::repair(&city.world, &city.writers, &target, Depth::Keys, &asked).await;
    let done = report.done;
    assert_eq!(done.published_rows, 0, "{:?}", report.why);
    assert_eq!(
        (done.purged_rows, done.catalog_changes),
        (report.published, 1)
    );
    let at = crate::support::city::written_at();
    city.stage.publish(wednesday(), at).await.unwrap();
    let after = city
        .check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(after.state, State::InStep, "{:?}", after.cause);
    assert_eq!(keys(&city, Table::RadarCounts), healthy);
}
