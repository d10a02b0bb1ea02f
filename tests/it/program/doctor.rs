//! `doctor` with a running portal: it reports no problem on a healthy setup, and gives a solution
//! for each problem.

use chrono::Utc;
use sodalake::model::Day;
use sodalake::sandbox::city::{Table, ZONE};
use sodalake::sandbox::portal::{ColumnType, TableSpec};

use crate::support::beside::{Ran, run};
use crate::support::city::TestCity;

/// A city whose newest settled days are fully published.
async fn city() -> TestCity {
    TestCity::around(Day::at(Utc::now(), ZONE).plus(-4), "").await
}

async fn doctor(city: &TestCity) -> Ran {
    run(city.stage.dir(), &["doctor"]).await
}

/// Changes the settings file.
fn set(city: &TestCity, change: impl Fn(&str) -> String) {
    let file = city.stage.dir().join("sodalake.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "the settings have what is changed");
    std::fs::write(file, after).unwrap();
}

/// Replaces radar counts with an empty table.
fn replace(city: &TestCity, change: impl Fn(&mut TableSpec)) {
    let spec = Table::RadarCounts.spec();
    let kind = |kind: &sodalake::model::ColumnType| match kind {
        sodalake::model::ColumnType::Number => ColumnType::Number,
        sodalake::model::ColumnType::Checkbox => ColumnType::Checkbox,
        sodalake::model::ColumnType::CalendarDate => ColumnType::CalendarDate,
        sodalake::model::ColumnType::Text | sodalake::model::ColumnType::Other(_) => {
            ColumnType::Text
        }
    };
    let mut made = TableSpec {
        id: spec.id.to_owned(),
        name: spec.name.to_owned(),
        columns: (spec.columns.iter())
            .map(|(field, of)| ((*field).to_owned(), kind(of)))
            .collect(),
        row_identifier: Some(spec.row_identifier.to_owned()),
        computed_region: false,
        private: false,
    };
    change(&mut made);
    city.stage.portal.create(made);
}

/// The lines that are not `ok`.
fn faults(ran: &Ran) -> Vec<&str> {
    let lines = ran.out.lines().filter(|line| !line.starts_with("ok "));
    lines.collect()
}

/// The only problem. Asserts that there is exactly one.
fn only_fault(ran: &Ran) -> &str {
    let faults = faults(ran);
    assert_eq!(faults.len(), 1, "{}{}", ran.out, ran.err);
    faults[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_no_problem_for_a_healthy_city() {
    let city = city().await;
    let ran = doctor(&city).await;
    assert_eq!(faults(&ran), Vec::<&str>::new(), "{}", ran.err);
    assert_eq!(ran.code, 0);
    for table in Table::ALL {
        let line = format!("portal {}", table.dataset_name());
        let line = ran.out.lines().find(|one| one.contains(&line));
        let line = line.unwrap_or_else(|| panic!("{table:?}: {}", ran.out));
        assert!(!line.contains("  0 rows"), "{line}");
    }
    let json = run(city.stage.dir(), &["doctor", "--format", "json"]).await;
    assert!(json.json().iter().all(|line| line["verdict"] == "ok"));
    assert!(!ran.out.contains("writer-password"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_row_identifier_prevents_repairs_but_not_checks() {
    let city = city().await;
    replace(&city, |table| table.row_identifier = None);
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.starts_with("fail  portal radar-counts"), "{fault}");
    assert!(fault.contains("no row identifier"), "{fault}");
    assert!(
        fault.ends_with("-> set it to row_id on the portal"),
        "{fault}"
    );

    set(&city, |text| {
        text.replace("mode = \"repair\"", "mode = \"observe\"")
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(only_fault(&ran).starts_with("warn  portal radar-counts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_column_is_named() {
    let city = city().await;
    replace(&city, |table| {
        table.columns.retain(|(name, _)| name != "volume");
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.starts_with("fail  portal radar-counts"), "{fault}");
    assert!(fault.contains("has no column volume"), "{fault}");
    assert!(
        fault.contains("-> check that the recipe fits this dataset"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_an_incompatible_type_is_named() {
    let city = city().await;
    replace(&city, |table| {
        let volume = table.columns.iter_mut().find(|(name, _)| name == "volume");
        volume.unwrap().1 = ColumnType::Url;
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.contains("column volume has type url"), "{fault}");
    assert!(
        fault.contains("-> change its type to text, number"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_dataset_id_is_reported_whether_it_exists_or_not() {
    let city = city().await;
    let id = Table::RadarCounts.spec().id;
    set(&city, |text| text.replace(id, "zzzz-zzzz"));
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.contains("zzzz-zzzz"), "{fault}");
    assert!(fault.contains("the dataset's id"), "{fault}");

    replace(&city, |table| {
        table.id = "zzzz-zzzz".into();
        table.columns.retain(|(name, _)| name == "row_id");
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.contains("correct its id or recipe"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_portal_hides_no_other_problem() {
    let city = city().await;
    set(&city, |text| {
        text.replace(city.stage.url(), "http://127.0.0.1:9")
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let faults = faults(&ran);
    assert_eq!(faults.len(), Table::ALL.len(), "{}", ran.out);
    for fault in faults {
        assert!(fault.starts_with("fail  portal "), "{fault}");
        assert!(fault.contains("-> check socrata.url"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repairs_without_secrets_are_a_settings_error() {
    let city = city().await;
    set(&city, |text| {
        text.replace("socrata.password = \"writer-password\"", "")
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("socrata.password"), "{said}");

    set(&city, |text| {
        text.replace("mode = \"repair\"", "mode = \"observe\"")
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let fault = only_fault(&ran);
    assert!(fault.starts_with("warn  secrets"), "{fault}");
    assert!(fault.contains("-> set socrata.username"), "{fault}");
}
