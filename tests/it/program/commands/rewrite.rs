//! A rewrite deletes whole days, so it asks for confirmation. A rewrite of every dataset must be
//! requested explicitly.

use std::process::Stdio;

use sodalake::sandbox::city::Table;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::city::{TestCity, wednesday};
use crate::support::program::{config, run};

const REWRITE: &str = "repair radar-counts --partition 2020-10-14 --rewrite";

/// Runs a command on a terminal and types one answer.
async fn on_a_terminal(city: &TestCity, answer: &str) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_sodalake");
    let line = format!("{program} {REWRITE} --config {}", config(city).display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script of util-linux makes a terminal");
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(format!("{answer}\n").as_bytes())
        .await
        .unwrap();
    let output = child.wait_with_output().await.unwrap();
    drop(stdin);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_without_a_terminal_needs_the_yes_flag() {
    let city = TestCity::around(wednesday(), "").await;
    let (before, requests) = (
        city.rows(Table::RadarCounts),
        city.stage.portal.requests().len(),
    );
    run(&city, REWRITE).await.ends(2, "--yes");
    assert_eq!(city.stage.portal.requests().len(), requests);
    assert_eq!(city.rows(Table::RadarCounts), before);
    run(&city, &format!("{REWRITE} --yes"))
        .await
        .ends(0, "repaired");
    assert_eq!(city.rows(Table::RadarCounts), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_on_a_terminal_names_what_it_deletes_and_asks() {
    let city = TestCity::around(wednesday(), "").await;
    let rows = city.rows(Table::RadarCounts);
    let writes = || {
        let requests = city.stage.portal.requests();
        requests.iter().filter(|one| one.method != "GET").count()
    };
    let before = writes();
    let (code, said) = on_a_terminal(&city, "n").await;
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("radar-counts 2020-10-14: "), "{said}");
    assert!(said.contains(" published rows"), "{said}");
    assert_eq!(writes(), before);
    let (code, said) = on_a_terminal(&city, "y").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(writes() > before);
    assert_eq!(city.rows(Table::RadarCounts), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_a_plan() {
    let city = TestCity::around(wednesday(), "").await;
    let range = "radar-counts --partition 2020-10-14 --rewrite";
    let head = |out: &str| {
        let first = out.lines().next().unwrap().to_owned();
        let head: serde_json::Value = serde_json::from_str(&first).unwrap();
        head["plan"]["digest"].as_str().unwrap().to_owned()
    };
    let planned = run(&city, &format!("plan {range}")).await;
    let dry = run(&city, &format!("repair {range} --dry-run")).await;
    assert_eq!(
        (dry.code, head(&dry.out)),
        (planned.code, head(&planned.out))
    );
    run(&city, "repair --last 3").await.ends(2, "DATASET");
}
