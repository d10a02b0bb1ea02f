//! The other repair strategies: rewriting a day, leaving rows to the existing publisher, older key
//! schemes.

use serde_json::Value as Json;
use sodalake::compare::Depth;
use sodalake::expected::{Counter, FileText, Line, Variant};
use sodalake::ledger::{PassKind, PassRecord};
use sodalake::model::{KeyScheme, LakePath};
use sodalake::reconcile::{self, Asked, Report, State};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, PortalOptions, Rule};

use crate::support::city::{TestCity, wednesday, written_at};

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

/// Leaves only the rows that the chained hasher made on the table's day.
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
    let duplicates: Vec<String> = (plan.0.findings.unwrap().duplicates.iter())
        .map(|duplicate| duplicate.of.to_string())
        .collect();
    let id = Table::RadarCounts.spec().id;
    let duplicate_keys: Vec<&str> = duplicates.iter().map(String::as_str).collect();
    city.stage
        .portal
        .delete_directly(id, &duplicate_keys)
        .unwrap();
    let chained = keys(&city, Table::RadarCounts);
    (city, current, chained)
}

/// Rewrites the radar day.
async fn rewrite(city: &TestCity) -> Report {
    let target = city.target(Table::RadarCounts, wednesday());
    let asked = Asked {
        rewrite: true,
        wait: true,
        ..Asked::default()
    };
    reconcile::repair(&city.world, &city.writers, &target, Depth::Keys, &asked).await
}

async fn is_half_rewritten(city: &TestCity) -> bool {
    let dataset = Table::RadarCounts.dataset_name().parse().unwrap();
    let half = city.world.ledger.is_half_rewritten(&dataset, wednesday());
    half.await.unwrap()
}

/// Removes half of the day's radar rows. Returns their number.
fn lose_half(city: &TestCity) -> u64 {
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
    lost.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_complete_under_the_older_key_scheme_is_in_sync_and_reported() {
    let (city, _, chained) = chained_city(&[]).await;
    let report = city
        .check(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(
        (report.state, report.keys),
        (State::InSync, Some(KeyScheme::Chained))
    );
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(repaired.state, State::InSync);
    assert_eq!(
        keys(&city, Table::RadarCounts),
        chained,
        "rewriting it would be vandalism"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rows_of_an_older_day_are_published_under_the_older_key_scheme() {
    let (city, _, chained) = chained_city(&[]).await;
    let report = city
        .check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    let day = report.findings.unwrap();
    assert_eq!(day.missing.len(), 0);
    let lost = lose_half(&city);
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(repaired.done.published_rows, lost);
    assert_eq!(keys(&city, Table::RadarCounts), chained);
}

/// The same missing rows, but left by a rewrite.
#[tokio::test(flavor = "multi_thread")]
async fn missing_rows_after_a_failed_rewrite_are_not_published_under_the_older_key_scheme() {
    let soon = ("SODALAKE__SOCRATA__CONFIRM_WITHIN", "1s");
    let (city, current, chained) = chained_city(&[soon]).await;
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule {
            on: Operation::Write,
            ..Rule::always(Fault::RowsRefused { rows: 20 })
        }],
        replicas: None,
    });
    let failed = rewrite(&city).await;
    assert_eq!(failed.state, State::Unconfirmed, "{:?}", failed.why);
    city.stage.portal.set_faults(Faults::default());
    assert!(is_half_rewritten(&city).await);
    let left = keys(&city, Table::RadarCounts);
    assert!((1..chained.len()).contains(&left.len()));
    assert!(left.iter().all(|key| chained.contains(key)));

    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(keys(&city, Table::RadarCounts), current);
    assert!(!is_half_rewritten(&city).await);
}

/// A rewrite that failed before it purged anything has left the day unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_older_day_stays_in_sync_after_a_failed_rewrite() {
    let (city, _, chained) = chained_city(&[]).await;
    let pass = PassRecord {
        id: uuid::Uuid::now_v7(),
        dataset: Table::RadarCounts.dataset_name().parse().unwrap(),
        day: wednesday(),
        kind: PassKind::Rewrite,
        started_at: city.world.clock.now(),
        digest: String::new(),
        summary: Json::Null,
        end: None,
    };
    city.world.ledger.begin_pass(&pass).await.unwrap();
    assert!(is_half_rewritten(&city).await);
    let report = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(report.state, State::InSync, "{:?}", report.why);
    assert_eq!(keys(&city, Table::RadarCounts), chained);
}

/// The chained keys after a row that cannot be derived are unknown.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_day_with_an_underivable_row_is_changed_only_by_a_rewrite() {
    let (city, current, chained) = chained_city(&[]).await;
    let path = "2020/10/14/wt/Austin_wt_2020-10-14.json";
    let file = city.stage.lake().join(path);
    let mut json: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    json["data"][9]["detName"] = Json::Null;
    std::fs::write(&file, json.to_string()).unwrap();
    for lost in [false, true] {
        let gap = if lost { lose_half(&city) } else { 0 };
        let report = city
            .repair(Table::RadarCounts, wednesday(), Depth::Keys)
            .await;
        let why = report.why.unwrap_or_default();
        assert_eq!(report.state, State::Unproven, "{why}");
        assert!(why.contains(path) && why.contains("chained keys"), "{why}");
        let stand = keys(&city, Table::RadarCounts).len() as u64;
        assert_eq!(stand, chained.len() as u64 - gap);
    }
    let rewritten = rewrite(&city).await;
    assert_eq!(rewritten.state, State::Repaired, "{:?}", rewritten.why);
    let rows = keys(&city, Table::RadarCounts);
    // All but the row that cannot be derived. Of the chained keys, only the first row's, which is
    // the same in today's scheme.
    assert_eq!(rows.len(), current.len() - 1);
    assert!(rows.iter().all(|key| current.contains(key)));
}

/// The key of the tenth entry of a radar file.
fn tenth_key(path: &str, bytes: &[u8], keys: KeyScheme) -> String {
    let text = FileText {
        path: &LakePath(path.into()),
        bytes,
        companion: None,
    };
    let variant = Variant {
        keys,
        counter: Counter::Shared,
    };
    let mut tenth = None;
    let each = &mut |line: Line<'_>| match line {
        Line::Row(row) if row.ordinal == 9 => tenth = Some(row.key.to_string()),
        _ => {}
    };
    let recipe = sodalake::expected::recipe(Table::RadarCounts.recipe()).unwrap();
    recipe.derive(&text, variant, each).unwrap();
    tenth.unwrap()
}

/// A row of the file is published on a distant day, under an older key. The lake confirms it until
/// the row is published there under today's key.
#[tokio::test(flavor = "multi_thread")]
async fn a_misdated_row_under_an_older_key_is_kept_until_todays_is_published() {
    let city = TestCity::around(wednesday(), WIDE).await;
    let (table, far) = (Table::RadarCounts, wednesday().plus(2));
    let path = "2020/10/14/wt/Austin_wt_2020-10-14.json";
    let file = city.stage.lake().join(path);
    let before = std::fs::read(&file).unwrap();
    let mut json: Json = serde_json::from_slice(&before).unwrap();
    json["data"][9]["curDateTime"] = "2020-10-16 12:07:00-05:00".into();
    let bytes = json.to_string().into_bytes();
    std::fs::write(&file, &bytes).unwrap();
    let was = tenth_key(path, &before, KeyScheme::Row);
    let misdated = tenth_key(path, &bytes, KeyScheme::Chained);
    let id = table.spec().id;
    let some = city.stage.portal.rows(id).swap_remove(0);
    let row = some.into_iter().chain([
        ("row_id".to_owned(), Json::from(misdated.as_str())),
        ("curdatetime".to_owned(), "2020-10-16T12:07:00".into()),
    ]);
    let published = city
        .stage
        .portal
        .upsert_directly(id, vec![row.collect()], written_at());
    published.unwrap();

    let id_of_was = [was.as_str()];
    let changes: [&dyn Fn(); 3] = [
        &|| {},
        // Now every row of the file's own day is published, and no other.
        &|| _ = city.stage.portal.delete_directly(id, &id_of_was).unwrap(),
        &|| std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
    ];
    for change in changes {
        change();
        city.check(table, wednesday(), Depth::Keys).await;
        let report = city.repair(table, far, Depth::Keys).await;
        assert_eq!(report.state, State::InSync, "{:?}", report.counts);
        assert!(keys(&city, table).contains(&misdated));
    }
    std::fs::write(&file, &bytes).unwrap();

    let repaired = city.repair(table, wednesday(), Depth::Keys).await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    city.check(table, wednesday(), Depth::Keys).await;
    let report = city.repair(table, far, Depth::Keys).await;
    assert_eq!(report.done.purged_rows, 1, "{:?}", report.why);
    assert!(!keys(&city, table).contains(&misdated));
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_moves_an_older_day_to_todays_keys() {
    let (city, current, _) =
        chained_city(&[("SODALAKE__DATASET__RADAR_COUNTS__KEYS", "migrate")]).await;
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    assert_eq!(keys(&city, Table::RadarCounts), current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_purges_the_day_and_publishes_it_again() {
    let city = TestCity::around(wednesday(), WIDE).await;
    let healthy = keys(&city, Table::RadarCounts);
    let catalogued = city.stage.catalog.entries().unwrap().len();
    city.damage(
        Breakage::Strangers(5),
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let report = rewrite(&city).await;
    assert_eq!(report.state, State::Repaired, "{:?}", report.why);
    assert_eq!(report.done.purged_rows, report.done.published_rows + 5);
    assert_eq!(keys(&city, Table::RadarCounts), healthy);
    assert_eq!(city.stage.catalog.entries().unwrap().len(), catalogued);
    let again = city
        .check(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(again.state, State::InSync, "{:?}", again.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_repair_leaves_the_rows_to_the_publisher() {
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
    assert_eq!(after.state, State::InSync, "{:?}", after.cause);
    assert_eq!(keys(&city, Table::RadarCounts), healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publishers_command_gets_the_range_and_its_result_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = folder.path().join("arguments");
    let command = format!(
        "{WIDE}republish.mode = \"command\"\nrepublish.command = [\"sh\", \"-c\", \"echo $0 $1 > {}\", \"{{from}}\", \"{{to}}\"]",
        arguments.display()
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
        std::fs::read_to_string(arguments).unwrap().trim(),
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
async fn a_deferred_rewrite_purges_the_day_and_leaves_it_to_the_publisher() {
    let more = format!("{WIDE}republish.mode = \"defer\"");
    let city = TestCity::around(wednesday(), &more).await;
    let healthy = keys(&city, Table::RadarCounts);
    let report = rewrite(&city).await;
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
    assert_eq!(after.state, State::InSync, "{:?}", after.cause);
    assert_eq!(keys(&city, Table::RadarCounts), healthy);
}
