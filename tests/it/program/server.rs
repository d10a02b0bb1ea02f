//! The daemon's HTTP side over real connections: what it reports, who may act, and which requests
//! do no harm.

mod acts;
mod malformed;
mod openapi;
pub mod running;
mod site;

use reqwest::StatusCode;
use serde_json::Value as Json;
use sodalake::compare::Depth;
use sodalake::reconcile::State as DayState;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::telemetry::Phase;

use self::running::Running;
use crate::support::city::wednesday;

const DAY: &str = "/api/v1/days/radar-counts/2020-10-14";

async fn with_duplicates(more: &str) -> Running {
    let running = Running::start(more).await;
    let (table, day) = (Table::RadarCounts, wednesday());
    running
        .city
        .damage(Breakage::ChainedAgain, table, day, "Austin");
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_its_findings_evidence_and_history() {
    let running = with_duplicates("").await;
    let (table, day) = (Table::RadarCounts, wednesday());
    assert_eq!(running.get(DAY).await.status(), StatusCode::NOT_FOUND);
    running.city.check(table, day, Depth::Keys).await;
    let facts = running.json(DAY).await;
    assert_eq!(facts["state"], "differs");
    assert_eq!(facts["id"], "i626-g7ub");
    assert!(facts["duplicates"].as_u64().unwrap() > 0);
    let (expected, published) = (&facts["expected"], &facts["published"]);
    assert!(published.as_u64() > expected.as_u64(), "{facts}");
    let sample = &facts["evidence"]["samples"][0];
    assert_eq!(sample["finding"], "duplicate");
    assert_ne!(sample["key"], sample["of"]);
    let written = &facts["evidence"]["written"][0];
    assert_eq!(written["minutes"][0]["minute"], "2020-10-16T13:31:00Z");
    assert_eq!(written["minutes"][0]["rows"], facts["duplicates"]);
    assert_eq!(facts["changes"][0]["was"], "in-sync");

    let report = running.city.repair(table, day, Depth::Keys).await;
    assert_eq!(report.state, DayState::Repaired);
    let facts = running.json(DAY).await;
    assert_eq!(facts["state"], "in-sync");
    let pass = report.pass.unwrap().to_string();
    assert_eq!(facts["passes"][0]["id"], pass);
    let facts = running.json(&format!("/api/v1/passes/{pass}")).await;
    let steps: Vec<&str> = (facts["journal"].as_array().unwrap().iter())
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert!(
        steps.contains(&"archived") && steps.contains(&"purged"),
        "{steps:?}"
    );

    let lines = running
        .get("/api/v1/corrections")
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(lines.lines().count(), 1);
    let line: Json = serde_json::from_str(&lines).unwrap();
    assert_eq!(line["pass"], pass);
    assert_eq!((&line["before"], &line["after"]), (published, expected));
    assert!(
        line["reason"].as_str().unwrap().contains("chained"),
        "{line}"
    );
    let none = running
        .get("/api/v1/corrections?dataset=camera-counts")
        .await;
    assert_eq!(none.text().await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_contain_every_dataset_and_the_days_of_a_range() {
    let running = Running::start("").await;
    let (table, day) = (Table::RadarCounts, wednesday());
    running.city.check(table, day, Depth::Keys).await;
    let datasets = running.json("/api/v1/datasets").await;
    let of = |name: &str| {
        let mut all = datasets.as_array().unwrap().iter();
        all.find(|one| one["dataset"] == name).unwrap().clone()
    };
    assert_eq!(of("radar-counts")["days"]["in-sync"], 1);
    let days = &of("camera-counts")["days"];
    assert_eq!(days.as_object().unwrap().len(), 1, "{days}");
    assert!(days["unknown"].as_u64() > Some(0), "{days}");
    for (query, found) in [
        ("?from=2020-10-01&to=2020-10-15", 1),
        ("?from=2020-10-01&to=2020-10-14", 0),
        ("?dataset=radar-counts&from=2020-10-14", 1),
        ("?dataset=camera-counts&from=2020-10-14", 0),
        ("?from=2020-10-15&to=2020-10-01", 0),
        ("", 0),
    ] {
        let days = running.json(&format!("/api/v1/days{query}")).await;
        assert_eq!(days.as_array().unwrap().len(), found, "{query}");
    }
    for (query, status) in [
        ("?from=yesterday", StatusCode::BAD_REQUEST),
        ("?colour=red", StatusCode::BAD_REQUEST),
        ("?dataset=nobody", StatusCode::NOT_FOUND),
    ] {
        let answer = running.get(&format!("/api/v1/days{query}")).await;
        running::problem(answer, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_service_and_readiness_needs_the_ledger() {
    let running = Running::closed("").await;
    assert_eq!(running.get("/healthz").await.status(), StatusCode::OK);
    for path in ["/readyz", "/api/v1/datasets", DAY] {
        running::problem(running.get(path).await, StatusCode::SERVICE_UNAVAILABLE).await;
    }
    let metrics = running.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("sodalake_build_info"), "{metrics}");
    running.open().await;
    assert_eq!(running.get("/readyz").await.status(), StatusCode::OK);

    let now = running.city.world.clock.now();
    let turned = |ago| {
        running.activity.update(|picture| {
            picture.phase = Phase::Idle;
            picture.turned = Some(now - chrono::TimeDelta::seconds(ago));
        });
    };
    turned(1);
    assert_eq!(running.get("/healthz").await.status(), StatusCode::OK);
    turned(120);
    let answer = running.get("/healthz").await;
    running::problem(answer, StatusCode::SERVICE_UNAVAILABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_complete_on_the_first_scrape_after_a_restart() {
    let running = with_duplicates("").await;
    let (table, day) = (Table::RadarCounts, wednesday());
    running.city.repair(table, day, Depth::Keys).await;
    let again = running.restarted().await;
    let metrics = again.get("/metrics").await.text().await.unwrap();
    let line = |start: &str| {
        let found = metrics.lines().find_map(|line| line.strip_prefix(start));
        let value = found.unwrap_or_else(|| panic!("no {start} in {metrics}"));
        value.trim().parse::<f64>().unwrap()
    };
    assert!(line("sodalake_archive_bytes ") > 0.0);
    assert!(line("sodalake_last_in_sync_timestamp_seconds{dataset=\"radar-counts\"}") > 0.0);
    let in_sync = "sodalake_days{dataset=\"radar-counts\",state=\"in-sync\"} 1";
    assert!(metrics.contains(in_sync));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_was_never_checked_is_unknown_on_every_endpoint() {
    let running = Running::start("").await;
    let datasets = running.json("/api/v1/datasets").await;
    let first = &datasets[0];
    let unknown = first["days"]["unknown"].as_u64().unwrap();
    assert!(unknown > 0, "{first}");
    let metrics = running.get("/metrics").await.text().await.unwrap();
    let name = first["dataset"].as_str().unwrap();
    let line = format!("sodalake_days{{dataset=\"{name}\",state=\"unknown\"}} {unknown}\n");
    assert!(metrics.contains(&line), "no {line} in {metrics}");
    let page = running.get("/").await.text().await.unwrap();
    let all = unknown * datasets.as_array().unwrap().len() as u64;
    assert!(
        page.contains(&format!("{all} days were never checked")),
        "{page}"
    );
}
