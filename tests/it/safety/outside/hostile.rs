//! Hostile text: markup, SoQL quotes, terminal escape sequences, bidirectional controls, paths that
//! climb. It must affect nothing but the one value that contains it, and it must reach no terminal,
//! log or JSON line unescaped.

use serde_json::{Map, Value as Json, json};
use sodalake::compare::Depth;
use sodalake::model::Entry;
use sodalake::reconcile::{Done, State};
use sodalake::sandbox::city::{READY, Table};
use tokio::process::Command;

use crate::support::city::{TestCity, wednesday, written_at};
use crate::support::program::{Ran, command, config, run};

const TABLE: Table = Table::RadarCounts;
const ROOMY: &str = "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0\n";
/// Clears the screen, sets a title, closes a tag and a quote, reverses the line, starts a new one.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}</td><script>alert(1)</script>' OR '1'='1 -- \
                    \u{202e}\u{9b}31m\r\nERROR all is lost\u{2028}{from}{to}%s${HOME}\u{feff}";

/// Characters that a terminal would act on instead of displaying.
fn is_order(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}')
}

#[track_caller]
fn assert_shown(what: &str, text: &str) {
    let order = text.chars().find(|c| is_order(*c));
    assert_eq!(order, None, "{what}:\n{}", text.escape_debug());
    let forged = text
        .lines()
        .find(|line| line.starts_with("ERROR all is lost"));
    assert_eq!(forged, None, "{what}: a line of our own making\n{text}");
}

async fn shown(city: &TestCity, line: &str) -> Ran {
    let ran = run(city, line).await;
    assert_shown(&format!("{line}, stdout"), &ran.out);
    assert_shown(&format!("{line}, stderr"), &ran.err);
    if line.contains("--format json") {
        for line in ran.out.lines() {
            let read: Result<Json, _> = serde_json::from_str(line);
            assert!(read.is_ok(), "{line}");
        }
    }
    ran
}

/// Rows of the day that contain the hostile text in every text column and in their keys.
fn hostile_rows() -> Vec<Map<String, Json>> {
    let keys = [
        "' OR '1'='1",
        "x') or row_id is not null --",
        HOSTILE,
        "%27%20or%201=1",
        "a,b",
        "\\",
    ];
    let row = |(number, key): (usize, &&str)| {
        json!({
            "row_id": key,
            "curdatetime": format!("2020-10-14T0{number}:07:00.000"),
            "detname": HOSTILE,
            "intname": format!("{HOSTILE}{}", "x".repeat(1 << 20)),
            "volume": "1",
        })
    };
    let rows = keys.iter().enumerate().map(row);
    rows.map(|row| row.as_object().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_rows_are_purged_and_restored_and_no_other_row_changes() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let healthy = city.rows(TABLE);
    let hostile = hostile_rows();
    let many = hostile.len();
    let portal = &city.stage.portal;
    portal
        .upsert_directly(TABLE.spec().id, hostile, written_at())
        .unwrap();
    let broken = city.rows(TABLE);
    assert_eq!(broken.len(), healthy.len() + many);

    let day = "radar-counts --day 2020-10-14";
    let plan = city.stage.dir().join("day.plan");
    for (line, code) in [
        (format!("check {day}"), 1),
        (format!("check {day} --depth content -vv"), 1),
        (format!("check {day} --format json"), 1),
        (format!("plan {day}"), 1),
        (format!("plan {day} --out {}", plan.display()), 1),
        ("explain radar-counts 2020-10-14".into(), 0),
        ("explain radar-counts 2020-10-14 --format json".into(), 0),
        ("explain radar-counts 2020-10-14 a,b".into(), 0),
        ("status".into(), 0),
        ("status --format json".into(), 0),
    ] {
        let ran = shown(&city, &line).await;
        let explains = line.starts_with("explain");
        assert!(
            ran.code == code || explains,
            "{line}: {}\n{}{}",
            ran.code,
            ran.out,
            ran.err
        );
    }
    assert_shown("the plan file", &std::fs::read_to_string(&plan).unwrap());
    let applied = shown(&city, &format!("apply {} --format json", plan.display())).await;
    let applied = applied.ends(0, "repaired").json();
    assert_eq!(applied["purged_rows"].as_u64(), Some(many as u64));
    assert_eq!(city.rows(TABLE), healthy);
    let pass = applied["pass"].as_str().unwrap();
    shown(&city, &format!("restore {pass} -vv"))
        .await
        .ends(0, "restored");
    assert_eq!(city.rows(TABLE), broken);
}

/// Puts the value into the texts of the first rows of the lake's file.
fn poison(city: &TestCity, value: &str) {
    let file = city
        .stage
        .lake()
        .join("2020/10/14/wt/Austin_wt_2020-10-14.json");
    let mut json: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for row in json["data"].as_array_mut().unwrap().iter_mut().take(3) {
        row["detName"] = json!("PLACEHOLDER");
        row["status"] = json!("PLACEHOLDER");
    }
    let text = json.to_string().replace("\"PLACEHOLDER\"", value);
    std::fs::write(file, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_of_a_lake_file_are_published_unchanged() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    poison(&city, &json!(HOSTILE).to_string());
    let day = "radar-counts --day 2020-10-14";
    for line in [
        format!("check {day} --depth content"),
        format!("plan {day} --depth content"),
        "explain radar-counts 2020-10-14".into(),
        "explain radar-counts 2020-10-14 --format json".into(),
        "derive radar-counts --day 2020-10-14".into(),
    ] {
        shown(&city, &line).await;
    }
    let repaired = shown(&city, &format!("repair {day} --depth content -vv")).await;
    repaired.ends(0, "repaired");
    let rows = city.rows(TABLE);
    let hostile = rows
        .values()
        .filter(|row| row["detname"] == HOSTILE)
        .count();
    assert_eq!(hostile, 3);
    shown(&city, &format!("check {day} --depth content"))
        .await
        .ends(0, "in-sync");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_surrogate_makes_only_its_own_row_unpublishable() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    poison(&city, "\"\\ud83d\"");
    let before = city.rows(TABLE);
    let ran = shown(&city, "check radar-counts --day 2020-10-14 --format json").await;
    let unpublishable = ran.json()["unpublishable"].as_u64();
    assert_eq!(unpublishable, Some(3), "{}", ran.out);
    shown(&city, "explain radar-counts 2020-10-14").await;
    shown(&city, "repair radar-counts --day 2020-10-14").await;
    let now = city.rows(TABLE);
    let stays = |key: &&String| now.contains_key(*key);
    assert!(before.keys().filter(stays).count() >= before.len() - 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_with_dots_or_control_characters_reads_no_file() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let before = city.rows(TABLE);
    let zone = city.target(TABLE, wednesday()).dataset.zone;
    let ours = |entry: &Entry| {
        entry.key.repository == READY
            && entry.key.data_source == "wt"
            && entry.key.id_ext == TABLE.ext()
            && entry.day(zone) == wednesday()
    };
    let healthy = city
        .stage
        .catalog
        .entries()
        .unwrap()
        .into_iter()
        .find(ours)
        .unwrap();
    std::fs::write(city.stage.dir().join("secret.json"), "{\"data\":[]}").unwrap();
    let link = city.stage.lake().join("link.json");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    let long = "x/".repeat(1 << 19);
    for pointer in [
        "../secret.json",
        "2020/../../secret.json",
        "/etc/passwd",
        "link.json",
        "https://example.org/x.json",
        HOSTILE,
        "",
        &long,
    ] {
        let pointer = pointer.to_owned();
        let entry = Entry {
            pointer,
            ..healthy.clone()
        };
        city.stage
            .catalog
            .insert(std::slice::from_ref(&entry))
            .unwrap();
        let report = city.repair(TABLE, wednesday(), Depth::Keys).await;
        let what = format!(
            "{:?}: {:?}",
            &entry.pointer[..entry.pointer.len().min(40)],
            report.why
        );
        assert_eq!(report.state, State::Unproven, "{what}");
        assert_eq!(report.done, Done::default(), "{what}");
        let ran = shown(&city, "repair radar-counts --day 2020-10-14").await;
        assert_eq!(ran.code, 4, "{what}");
        assert!(
            ran.out.len() < 20_000,
            "a long pointer is not shown whole: {}",
            ran.out.len()
        );
        shown(&city, "explain radar-counts 2020-10-14").await;
        shown(&city, "status --format json").await;
    }
    assert_eq!(city.rows(TABLE), before);
    city.stage.catalog.insert(&[healthy]).unwrap();
    let report = city.check(TABLE, wednesday(), Depth::Keys).await;
    assert_eq!(report.state, State::InSync, "{:?}", report.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_and_arguments_are_shown_escaped() {
    let city = TestCity::around(wednesday(), ROOMY).await;
    let hostile = HOSTILE.replace('\0', "");
    let typed = |args: &[&str]| {
        let mut program: Command = command(&city, "--color=never", &[]);
        program.args(args);
        program
    };
    let file = config(&city);
    for args in [
        &[
            "mark",
            "radar-counts",
            "2020-10-13",
            "hold",
            "--reason",
            &hostile,
        ][..],
        &["status"],
        &["status", "--format", "json"],
        &["check", &hostile, "--day", "2020-10-14"],
        &["check", "--day", &hostile],
        &["explain", "radar-counts", "2020-10-14", &hostile],
        &["restore", &hostile],
        &["apply", &hostile],
        &["repair", "radar-counts", "--day", "2020-10-13"],
    ] {
        let output = typed(args).output().await.unwrap();
        // Errors in the command line itself are reported by clap in its own format.
        let own_words = args[0] == "check" && args[1] == "--day";
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8(stream).unwrap();
            if !own_words {
                assert_shown(&format!("{args:?}"), &text);
            }
        }
    }
    assert!(file.exists());
}
