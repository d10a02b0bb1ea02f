//! A file whose rows are published on two days under two key schemes: it is completely published,
//! and is entered in the catalog.

use sodalake::compare::Depth;
use sodalake::expected::{Counter, FileText, Line, Variant};
use sodalake::model::{Day, KeyScheme};
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::PortalOptions;

use crate::support::city::{TestCity, wednesday, written_at};

const TABLE: Table = Table::MatchedTrips;

/// The keys of the rows that the day's file has on the day before, in order.
fn spilled(city: &TestCity, keys: KeyScheme) -> Vec<String> {
    let files = city.stage.city.day_files(TABLE.source(), wednesday());
    let file = files.iter().find(|file| file.ext == TABLE.ext()).unwrap();
    let text = FileText {
        path: &file.path,
        bytes: &file.bytes,
        companion: None,
    };
    let variant = Variant {
        keys,
        counter: Counter::Shared,
    };
    let mut found = Vec::new();
    let each = &mut |line: Line<'_>| match line {
        Line::Row(row) if Day::of(row.at) < wednesday() => found.push(row.key.to_string()),
        _ => {}
    };
    let recipe = sodalake::expected::recipe(TABLE.recipe()).unwrap();
    recipe.derive(&text, variant, each).unwrap();
    found
}

/// A city whose file of the day has no entry, and whose rows of the day before are published under
/// chained keys. Also returns those keys.
async fn city(environment: &[(&str, &str)]) -> (TestCity, Vec<String>) {
    let options = PortalOptions::default();
    let city = TestCity::with(wednesday(), "", options, environment).await;
    let todays = spilled(&city, KeyScheme::Row);
    let chained = spilled(&city, KeyScheme::Chained);
    assert!(todays.len() > 1 && todays != chained);
    let rows = city.rows(TABLE);
    let rekeyed = todays.iter().zip(&chained).map(|(was, is)| {
        let mut row = rows[was].clone();
        row.insert("record_id".into(), is.as_str().into());
        row
    });
    let (portal, id) = (&city.stage.portal, TABLE.spec().id);
    let gone: Vec<&str> = todays.iter().map(String::as_str).collect();
    let rekeyed = rekeyed.collect();
    portal.delete_directly(id, &gone).unwrap();
    portal.upsert_directly(id, rekeyed, written_at()).unwrap();
    let damaged = city.try_damage(Breakage::NotCatalogued, TABLE, wednesday());
    assert!(damaged.is_some());
    (city, chained)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_published_under_two_key_schemes_is_entered() {
    let (city, _) = city(&[]).await;
    let rows = city.rows(TABLE);
    let before = city
        .check(TABLE, wednesday().plus(-1), Depth::Content)
        .await;
    assert_eq!(before.state, State::InSync, "{:?}", before.cause);
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Differs, "{:?}", report.why);
    assert_eq!(report.counts.uncatalogued, 1);
    let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::Repaired, "{:?}", report.why);
    let done = (
        report.done.published_rows,
        report.done.purged_rows,
        report.done.catalog_changes,
    );
    assert_eq!(done, (0, 0, 1));
    assert!(city.rows(TABLE) == rows);
    let report = city.check(TABLE, wednesday(), Depth::Content).await;
    assert_eq!(report.state, State::InSync, "{:?}", report.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_an_unpublished_row_is_not_entered() {
    let (city, chained) = city(&[]).await;
    let last = chained.last().unwrap().as_str();
    let id = TABLE.spec().id;
    assert_eq!(city.stage.portal.delete_directly(id, &[last]).unwrap(), 1);
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(
        (report.state, report.counts.uncatalogued),
        (State::InSync, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrating_dataset_enters_a_file_once_all_its_rows_are_migrated() {
    let migrate = [("SODALAKE__DATASET__BLUETOOTH_MATCHED__KEYS", "migrate")];
    let (city, _) = city(&migrate).await;
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.counts.uncatalogued, 0, "{:?}", report.cause);
}
