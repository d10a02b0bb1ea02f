//! The alert rules: each is tested by Prometheus' own tool, and each has its section in the
//! runbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The alert names that people use in routes and silences.
const PROMISED: [&str; 11] = [
    "SodalakeDown",
    "SodalakeScheduleUnfulfilled",
    "SodalakeDaysDiffer",
    "SodalakeDayHeld",
    "SodalakeBreakerOpen",
    "SodalakeUnproven",
    "SodalakeRepairFailing",
    "SodalakePurgeSurge",
    "SodalakePortalErrors",
    "SodalakeNoNewData",
    "SodalakeApprovalPending",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

#[track_caller]
fn promtool(args: &[&str]) {
    let output = Command::new("promtool")
        .args(args)
        .current_dir(folder())
        .output()
        .expect("promtool runs, see tests/run");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
}

/// The rules of alerts.yml, one text each, without the comments between them.
fn rules() -> Vec<String> {
    let text = read("alerts.yml");
    let rules = text.split("      - alert: ").skip(1);
    let rules: Vec<String> = rules.map(str::to_owned).collect();
    assert!(rules.len() >= PROMISED.len(), "{} rules", rules.len());
    rules
}

fn name(rule: &str) -> &str {
    rule.lines().next().unwrap()
}

/// The value after `key:` in a rule or a test.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let start = format!("{key}: ");
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix(&start))
}

#[test]
fn prometheus_takes_the_rules_and_the_configuration() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["check", "config", "prometheus.yml"]);
}

#[test]
fn every_alert_fires_at_its_threshold_and_not_below_it() {
    promtool(&["test", "rules", "alerts_test.yml", "alerts_days_test.yml"]);
    let tests = read("alerts_test.yml") + &read("alerts_days_test.yml");
    for alert in PROMISED {
        let quiet = format!("alertname: {alert}, exp_alerts: []");
        let loud = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&quiet), "{alert} is never expected quiet");
        assert!(tests.contains(&loud), "{alert} is never expected to fire");
    }
}

#[test]
fn every_alert_has_a_summary_a_severity_and_a_runbook_link() {
    let rules = rules();
    let names: BTreeSet<&str> = rules.iter().map(|rule| name(rule)).collect();
    assert_eq!(names, BTreeSet::from(PROMISED));
    let page = fs::read_to_string(folder().join("../../docs/operations.md")).unwrap();
    for rule in &rules {
        let alert = name(rule);
        let severity = field(rule, "severity").unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{alert}");
        for key in ["summary", "description"] {
            assert!(field(rule, key).is_some(), "{alert} has no {key}");
        }
        let section = format!("docs/operations.md#{}", alert.to_lowercase());
        assert_eq!(field(rule, "runbook_url"), Some(section.as_str()));
        assert!(page.contains(&format!("\n### {alert}\n")), "{alert}");
    }
}
