//! `doctor` against a living portal: quiet where all is well, and what to do about each fault.

use chrono::Utc;
use sodalake::model::Day;
use sodalake::sandbox::city::{Table, ZONE};
use sodalake::sandbox::portal::{ColumnType, TableSpec};

use crate::support::beside::{Ran, run};
use crate::support::city::TestCity;

/// A city whose newest settled days are published in full.
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

/// Puts an empty table in place of radar counts.
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

/// The lines that are no `ok`.
fn faults(ran: &Ran) -> Vec<&str> {
    let lines = ran.out.lines().filter(|line| !line.starts_with("ok "));
    lines.collect()
}

/// The one fault there is.
fn only_fault(ran: &Ran) -> &str {
    let faults = faults(ran);
    assert_eq!(faults.len(), 1, "{}{}", ran.out, ran.err);
    faults[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_with_a_city_that_works() {
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
async fn a_missing_row_identifier_bars_repairs_and_not_looks() {
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
async fn a_column_that_is_missing_is_named() {
    let city = city().await;
    replace(&city, |table| {
        table.columns.retain(|(name, _)| name != "volume");
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.starts_with("fail  portal radar-counts"), "{fault}");
    assert!(fault.contains("find column volume"), "{fault}");
    assert!(
        fault.contains("-> is it the dataset of this recipe?"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_a_type_that_holds_no_value_of_ours_is_named() {
    let city = city().await;
    replace(&city, |table| {
        let volume = table.columns.iter_mut().find(|(name, _)| name == "volume");
        volume.unwrap().1 = ColumnType::Url;
    });
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let fault = only_fault(&ran);
    assert!(fault.contains("column volume is url"), "{fault}");
    assert!(
        fault.contains("-> give it the type text, number"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_dataset_id_is_told_whether_it_exists_or_not() {
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
async fn a_portal_that_is_away_hides_nothing_else() {
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
        assert!(fault.contains("-> is the portal up?"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repairs_without_secrets_are_wrong_settings() {
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
    assert!(fault.contains("-> give socrata.username"), "{fault}");
}
