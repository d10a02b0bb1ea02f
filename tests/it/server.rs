//! The daemon's HTTP side, over real connections: what is told, who may act, what does no harm.

mod acts;
mod doors;
mod openapi;
mod running;
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

async fn doubled(more: &str) -> Running {
    let running = Running::start(more).await;
    let (table, day) = (Table::RadarCounts, wednesday());
    running
        .city
        .damage(Breakage::ChainedAgain, table, day, "Austin");
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_tells_its_findings_its_evidence_and_its_history() {
    let running = doubled("").await;
    let (table, day) = (Table::RadarCounts, wednesday());
    assert_eq!(running.get(DAY).await.status(), StatusCode::NOT_FOUND);
    running.city.check(table, day, Depth::Keys).await;
    let facts = running.json(DAY).await;
    assert_eq!(facts["state"], "differs");
    assert_eq!(facts["id"], "i626-g7ub");
    assert!(facts["twins"].as_u64().unwrap() > 0);
    let (expected, published) = (&facts["expected"], &facts["published"]);
    assert!(published.as_u64() > expected.as_u64(), "{facts}");
    let sample = &facts["evidence"]["samples"][0];
    assert_eq!(sample["finding"], "twin");
    assert_ne!(sample["key"], sample["of"]);
    let written = &facts["evidence"]["written"][0];
    assert_eq!(written["minutes"][0]["minute"], "2020-10-16T13:31:00Z");
    assert_eq!(written["minutes"][0]["rows"], facts["twins"]);
    assert_eq!(facts["changes"][0]["was"], "in-step");

    let report = running.city.repair(table, day, Depth::Keys).await;
    assert_eq!(report.state, DayState::Repaired);
    let facts = running.json(DAY).await;
    assert_eq!(facts["state"], "in-step");
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
async fn lists_tell_every_dataset_and_the_days_of_a_range() {
    let running = Running::start("").await;
    let (table, day) = (Table::RadarCounts, wednesday());
    running.city.check(table, day, Depth::Keys).await;
    let datasets = running.json("/api/v1/datasets").await;
    let of = |name: &str| {
        let mut all = datasets.as_array().unwrap().iter();
        all.find(|one| one["dataset"] == name).unwrap().clone()
    };
    assert_eq!(of("radar-counts")["days"]["in-step"], 1);
    assert_eq!(of("camera-counts")["days"], serde_json::json!({}));
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
async fn health_asks_nobody_and_readiness_asks_the_ledger() {
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
async fn metrics_are_whole_on_the_first_scrape_after_a_restart() {
    let running = doubled("").await;
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
    assert!(line("sodalake_last_in_step_timestamp_seconds{dataset=\"radar-counts\"}") > 0.0);
    let in_step = "sodalake_days{dataset=\"radar-counts\",state=\"in-step\"} 1";
    assert!(metrics.contains(in_step));
}
