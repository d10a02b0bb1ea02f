//! Metrics: every promised series exists from the start, real passes are counted, and gauges are
//! correct after a restart.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sodalake::compare::Depth;
use sodalake::ledger::{Approval, LeaseAnswer};
use sodalake::model::DatasetName;
use sodalake::reconcile::{State, promises};
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::telemetry::metrics::{Durable, Metrics};

use crate::support::city::{TestCity, wednesday};

const HOLDER: &str = "host:1:test";

/// `name{labels}` of every promised metric, including `_total` and units.
const PROMISED: [&str; 35] = [
    "build_info",
    "days",
    "rows_found_total",
    "rows_published_total",
    "rows_purged_total",
    "rows_restored_total",
    "rows_archived_total",
    "catalog_changes_total",
    "checks_total",
    "check_failures_total",
    "days_skipped_total",
    "repairs_total",
    "repair_failures_total",
    "held_total",
    "check_duration_seconds",
    "repair_duration_seconds",
    "last_check_success_timestamp_seconds",
    "last_in_sync_timestamp_seconds",
    "oldest_finding_timestamp_seconds",
    "newest_published_day_timestamp_seconds",
    "schedule_unfulfilled",
    "breaker_open",
    "approvals_pending",
    "lease_held",
    "paused",
    "portal_requests_total",
    "portal_request_duration_seconds",
    "portal_retries_total",
    "portal_throttled_seconds_total",
    "portal_bytes_total",
    "lake_bytes_total",
    "lake_files_total",
    "archive_bytes",
    "ledger_up",
    "notifications_total",
];

fn names() -> Vec<DatasetName> {
    let names = ["camera-counts", "radar-counts"];
    names.map(|name| name.parse().unwrap()).to_vec()
}

/// The integer value of one series, by its name and labels as printed.
fn value(text: &str, series: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("sodalake_{series} ")));
    let line = line.unwrap_or_else(|| panic!("no series {series} in\n{text}"));
    line.parse().unwrap()
}

fn series(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| line.starts_with("sodalake_"));
    lines.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

/// As the daemon does after a restart: new metrics, with gauges from the ledger.
async fn started(city: &TestCity) -> Arc<Metrics> {
    let datasets = &city.world.settings.datasets;
    let metrics = Metrics::new(datasets.iter().map(|one| &one.dataset.name));
    refresh(&metrics, city).await;
    metrics
}

async fn refresh(metrics: &Metrics, city: &TestCity) {
    let now = city.world.clock.now();
    let promises = promises(&city.world.settings, now);
    let durable = Durable::read(&city.world.ledger, HOLDER, promises, now).await;
    let datasets = city.world.settings.datasets.iter();
    let datasets: Vec<_> = datasets
        .map(|one| (one.dataset.name.clone(), one.dataset.zone))
        .collect();
    metrics.refresh(Some(&durable.unwrap()), &datasets);
}

#[test]
fn every_promised_metric_starts_at_zero() {
    let names = names();
    let text = Metrics::new(&names).text().unwrap();
    let described: BTreeSet<&str> = (text.lines())
        .filter_map(|line| line.strip_prefix("# HELP sodalake_"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(described, BTreeSet::from(PROMISED));
    for (series, value) in series(&text) {
        let one = series.starts_with("sodalake_build_info");
        assert_eq!(value, if one { "1" } else { "0" }, "{series}");
    }
    for name in &names {
        let of = format!("dataset=\"{name}\"");
        let with = |metric: &str| {
            let start = format!("sodalake_{metric}{{");
            let mut all = text.lines();
            all.any(|line| line.starts_with(&start) && line.contains(&of))
        };
        assert!(with("days") && with("held_total") && with("lake_files_total"));
    }
}

#[test]
fn new_settings_add_series_and_remove_old_gauges() {
    let names = names();
    let metrics = Metrics::new(&names[..1]);
    let before = metrics.text().unwrap();
    assert!(!before.contains("radar-counts"));
    metrics.fill(&names[1..]);
    metrics.forget(&names[0]);
    let text = metrics.text().unwrap();
    value(&text, "breaker_open{dataset=\"radar-counts\"}");
    assert!(!text.contains("sodalake_breaker_open{dataset=\"camera-counts\"}"));
    assert!(text.contains("sodalake_repairs_total{dataset=\"camera-counts\"}"));
}

/// The complaints of promtool about the metrics, except about "days", which it takes for a unit:
/// here days are counted, and are no duration.
fn complaints(text: &str) -> Option<String> {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let noun = "use base unit \"seconds\" instead of \"days\"";
    let counted = ["sodalake_days ", "sodalake_days_skipped_total "];
    let (of_days, others): (Vec<&str>, Vec<&str>) = (said.lines())
        .filter(|line| !line.is_empty())
        .partition(|line| {
            counted
                .iter()
                .any(|name| line.strip_prefix(name) == Some(noun))
        });
    assert_eq!(of_days.len(), counted.len(), "{said}");
    Some(others.join("\n"))
}

#[test]
fn promtool_accepts_the_metrics() {
    let text = Metrics::new(&names()).text().unwrap();
    match complaints(&text) {
        Some(said) => assert_eq!(said, ""),
        None => assert!(
            std::env::var_os("SODALAKE_TESTS_RUN").is_none(),
            "tests/run installs promtool, and it does not start"
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_counted_once_and_gauges_are_correct_after_a_restart() {
    let city = TestCity::around(wednesday(), "").await;
    let metrics = started(&city).await;
    city.world.portal.observe(Arc::clone(&metrics) as _);
    let (table, day) = (Table::RadarCounts, wednesday());
    city.damage(Breakage::ChainedAgain, table, day, "Austin");

    let report = city.check(table, day, Depth::Keys).await;
    assert_eq!(report.state, State::Differs);
    metrics.record(&report);
    refresh(&metrics, &city).await;
    let text = metrics.text().unwrap();
    let duplicates = value(
        &text,
        "rows_found_total{dataset=\"radar-counts\",finding=\"duplicate\"}",
    );
    assert!(duplicates > 0);
    assert_eq!(
        value(&text, "days{dataset=\"radar-counts\",state=\"differs\"}"),
        1
    );
    let since = value(
        &text,
        "oldest_finding_timestamp_seconds{dataset=\"radar-counts\"}",
    );
    assert!(since > 1_600_000_000);
    assert_eq!(
        value(
            &text,
            "last_in_sync_timestamp_seconds{dataset=\"radar-counts\"}"
        ),
        0
    );
    assert_eq!(
        value(
            &text,
            "newest_published_day_timestamp_seconds{dataset=\"radar-counts\"}"
        ),
        1_602_651_600,
        "2020-10-14 in Chicago"
    );

    let report = city.repair(table, day, Depth::Keys).await;
    assert_eq!(report.state, State::Repaired);
    metrics.record(&report);
    refresh(&metrics, &city).await;
    let text = metrics.text().unwrap();
    for (series, wanted) in [
        (
            "rows_purged_total{dataset=\"radar-counts\",finding=\"duplicate\"}",
            duplicates,
        ),
        ("rows_archived_total{dataset=\"radar-counts\"}", duplicates),
        ("repairs_total{dataset=\"radar-counts\"}", 1),
        ("repair_duration_seconds_count{dataset=\"radar-counts\"}", 1),
        (
            "check_duration_seconds_count{dataset=\"radar-counts\",depth=\"keys\"}",
            1,
        ),
        ("checks_total{dataset=\"radar-counts\",depth=\"keys\"}", 2),
        ("days{dataset=\"radar-counts\",state=\"in-sync\"}", 1),
        ("days{dataset=\"radar-counts\",state=\"differs\"}", 0),
        (
            "oldest_finding_timestamp_seconds{dataset=\"radar-counts\"}",
            0,
        ),
        (
            "portal_requests_total{code=\"200\",operation=\"delete\"}",
            1,
        ),
    ] {
        assert_eq!(value(&text, series), wanted, "{series}");
    }
    assert!(value(&text, "lake_bytes_total{dataset=\"radar-counts\"}") > 0);
    assert!(value(&text, "portal_bytes_total{direction=\"received\"}") > 0);

    let again = started(&city).await.text().unwrap();
    let durable = |(series, _): &(&str, &str)| {
        ["sodalake_days{", "sodalake_last_", "sodalake_newest_"]
            .iter()
            .any(|start| series.starts_with(start))
    };
    let before: Vec<_> = series(&text).into_iter().filter(durable).collect();
    let after: Vec<_> = series(&again).into_iter().filter(durable).collect();
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_days_open_breakers_and_leases_are_shown_until_they_end() {
    let limit = "rails.max_purge_rows_per_day = 1\n";
    let city = TestCity::around(wednesday(), limit).await;
    let (table, day) = (Table::RadarCounts, wednesday());
    city.damage(Breakage::ChainedAgain, table, day, "Austin");
    let metrics = started(&city).await;
    let report = city.repair(table, day, Depth::Keys).await;
    assert_eq!(report.state, State::Held);
    metrics.record(&report);
    refresh(&metrics, &city).await;
    let text = metrics.text().unwrap();
    let held = "held_total{dataset=\"radar-counts\",guard=\"purge-rows\"}";
    assert_eq!(value(&text, held), 1);
    let pending = "approvals_pending{dataset=\"radar-counts\"}";
    assert_eq!(value(&text, pending), 1);
    assert_eq!(value(&text, "breaker_open{dataset=\"radar-counts\"}"), 0);

    let ledger = &city.world.ledger;
    let now = city.world.clock.now();
    let approval = Approval {
        digest: report.refusal.unwrap().digest,
        at: now,
        by: "test".into(),
        reason: "seen".into(),
        used_at: None,
    };
    ledger.approve(&approval).await.unwrap();
    let ttl = std::time::Duration::from_mins(1);
    let lease = ledger.lease("repair/radar-counts", HOLDER, now, ttl).await;
    assert!(matches!(lease.unwrap(), LeaseAnswer::Granted { .. }));
    refresh(&metrics, &city).await;
    let text = metrics.text().unwrap();
    assert_eq!(value(&text, pending), 0);
    assert_eq!(value(&text, "lease_held{dataset=\"radar-counts\"}"), 1);
    assert_eq!(value(&text, "lease_held{dataset=\"camera-counts\"}"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_ledger_leaves_the_gauges_unchanged() {
    let city = TestCity::around(wednesday(), "").await;
    city.check(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    let metrics = started(&city).await;
    let in_sync = "days{dataset=\"radar-counts\",state=\"in-sync\"}";
    assert_eq!(value(&metrics.text().unwrap(), in_sync), 1);
    metrics.refresh(None, &[]);
    let text = metrics.text().unwrap();
    assert_eq!(value(&text, in_sync), 1);
    assert_eq!(value(&text, "ledger_up"), 0);
}
