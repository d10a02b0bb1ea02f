//! Missing folders on a new machine: which ones are created, and what the program reports about the
//! others.

use sodalake::compare::Depth;
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};

use crate::support::city::{TestCity, wednesday};
use crate::support::program::{run, with};

const REPAIR: &str = "repair radar-counts --partition 2020-10-14";

async fn broken_city() -> TestCity {
    let city = TestCity::around(wednesday(), "").await;
    city.damage(
        Breakage::Strangers(3),
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    city
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_repair_creates_the_archives_last_folder_and_doctor_does_not() {
    let city = broken_city().await;
    let archive = city.stage.dir().join("archive");
    std::fs::remove_dir(&archive).unwrap();
    let found = format!("{} will be created by the first repair", archive.display());
    run(&city, "doctor").await.ends(0, &found);
    assert!(!archive.exists());
    run(&city, REPAIR).await.ends(0, "repaired");
    assert!(archive.join("passes").is_dir());
    let after = city
        .check(Table::RadarCounts, wednesday(), Depth::Content)
        .await;
    assert_eq!(after.state, State::InSync, "{:?}", after.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmounted_archive_is_not_created() {
    let city = broken_city().await;
    let before = city.rows(Table::RadarCounts);
    let parent = city.stage.dir().join("not mounted");
    let archive = parent.join("archive");
    let url = url::Url::from_file_path(&archive).unwrap().to_string();
    let env = [("SODALAKE__ARCHIVE__URL", url.as_str())];
    let command = format!("mkdir -p '{}'", archive.display());
    with(&city, REPAIR, &env).await.ends(7, &command);
    with(&city, "doctor", &env).await.ends(7, &command);
    assert!(!parent.exists());
    assert_eq!(city.rows(Table::RadarCounts), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_of_the_ledger_is_named_with_the_command_that_creates_it() {
    let city = broken_city().await;
    let folder = city.stage.dir().join("nowhere");
    let url = format!("sqlite://{}/ledger.db", folder.display());
    let env = [("SODALAKE__LEDGER__URL", url.as_str())];
    let command = format!("mkdir -p {}", folder.display());
    for line in ["status", "check --last 1", "doctor"] {
        with(&city, line, &env).await.ends(7, &command);
    }
    assert!(!folder.exists());
}
