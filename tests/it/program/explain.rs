//! `explain` as people run it, with a running portal: each finding is reported with its evidence,
//! one row is shown from all sides, and hostile text does no harm.

use serde_json::{Map, Value as Json, json};
use sodalake::sandbox::city::{Breakage, Injected, Table};

use crate::support::beside::{Ran, run};
use crate::support::city::{TestCity, wednesday, written_at};

const TABLE: Table = Table::CameraCounts;
/// The column that is corrected after publication.
const CORRECTED: &str = "volume";

/// Breaks the first file of the day that can break this way. Returns its base and the injected
/// findings.
fn broken(city: &TestCity, breakage: Breakage) -> (String, Vec<Injected>) {
    broken_in(city, breakage, TABLE)
}

fn broken_in(city: &TestCity, breakage: Breakage, table: Table) -> (String, Vec<Injected>) {
    let files = city.stage.city.day_files(table.source(), wednesday());
    for file in files.into_iter().filter(|file| file.ext == table.ext()) {
        let place = sodalake::sandbox::city::Place {
            table,
            day: wednesday(),
            base: file.base,
        };
        if let Ok(injected) = city.stage.damage(breakage, &place, written_at()) {
            return (file.path.0, injected);
        }
    }
    panic!("nothing breaks by {breakage:?}");
}

async fn city() -> TestCity {
    let more = "rails.max_orphan_rows_per_day = 1000\nrails.max_purge_share_per_day = 1.0";
    TestCity::around(wednesday(), more).await
}

async fn explain(city: &TestCity, more: &[&str]) -> Ran {
    let day = wednesday().to_string();
    let head = ["explain", TABLE.dataset_name(), day.as_str()];
    run(city.stage.dir(), &[&head[..], more].concat()).await
}

/// The explanation as JSON and as text. Asserts that the text is harmless and narrow.
async fn both(city: &TestCity, more: &[&str]) -> (Json, String, i32) {
    let text = explain(city, more).await;
    harmless(&text.out);
    narrow(&text.out);
    let json = explain(city, &[more, &["--format", "json"]].concat()).await;
    harmless(&json.out);
    assert_eq!(json.code, text.code, "{}{}", json.err, text.err);
    let lines = json.json();
    assert_eq!(lines.len(), 1, "{}", json.out);
    (lines[0].clone(), text.out, text.code)
}

fn harmless(text: &str) {
    let bad = |c: char| {
        let unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
        unseen || (c.is_control() && c != '\n')
    };
    assert!(!text.contains(bad), "{text:?}");
}

fn narrow(text: &str) {
    let wide = |line: &&str| sodalake::cli::style::width(line) > 80;
    assert_eq!(text.lines().find(wide), None, "{text}");
}

fn count(injected: &[Injected], finding: &str) -> u64 {
    let ours = injected.iter().filter(|one| one.finding == finding);
    ours.map(|one| one.count).sum()
}

fn says(text: &str, words: &[&str]) {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "no {word:?} in:\n{text}");
    }
}

/// The published row with this key.
fn standing(city: &TestCity, key: &str) -> Option<Map<String, Json>> {
    let spec = TABLE.spec();
    let mut rows = city.stage.portal.rows(spec.id).into_iter();
    rows.find(|row| row[spec.row_identifier] == key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_spelled_differently_is_shown_side_by_side() {
    let city = city().await;
    let (path, injected) = broken(&city, Breakage::OtherSpelling);
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!((code, &json["state"]), (1, &json!("differs")));
    let duplicates = count(&injected, "duplicate");
    assert_eq!(json["duplicates"], duplicates);
    let samples = json["samples"]["duplicates"].as_array().unwrap();
    assert_eq!(samples.len(), 5);
    let sample = &samples[0];
    let change = &sample["changes"][0];
    assert_ne!(change["published"], change["expected"]);
    let spelled = change["published"].as_str().unwrap();
    assert_eq!(sample["row"][change["column"].as_str().unwrap()], spelled);
    let files = json["files"].as_array().unwrap();
    let ours = files.iter().find(|file| file["path"] == *path).unwrap();
    assert_eq!(
        (&ours["entry"], &ours["keys"]),
        (&json!(true), &json!("row"))
    );
    assert_eq!(json["repair"]["purge"], duplicates);
    assert_eq!(json["breaches"], json!([]));
    let minute = &json["written"]["duplicates"]["minutes"][0];
    assert_eq!(
        (&minute["minute"], &minute["rows"]),
        (&json!(written_at()), &json!(duplicates))
    );
    says(
        &text,
        &[
            &format!("{duplicates} duplicates"),
            "is spelled differently",
            "column published expected",
            &format!("2020-10-16 08:31 x{duplicates} (America/Chicago)"),
            &format!("publish 0 rows, purge {duplicates}"),
            "Next sodalake repair camera-counts --partition 2020-10-14",
        ],
    );

    let (key, of) = (
        sample["key"].as_str().unwrap(),
        sample["of"].as_str().unwrap(),
    );
    let (json, text, code) = both(&city, &[key]).await;
    assert_eq!((code, &json["row"]["verdict"]), (1, &json!("duplicate")));
    assert_eq!(json["row"]["lake"], json!([]));
    assert_eq!(json["row"]["portal"][0]["key"], key);
    says(
        &text,
        &[
            &format!("duplicate of {of}"),
            "no file of this day or of a neighboring day yields",
        ],
    );

    let (json, text, _) = both(&city, &[of]).await;
    assert_eq!(json["row"]["verdict"], "in-sync");
    assert_eq!(json["row"]["duplicates"], json!([key]));
    let seen = json["row"]["lake"].as_array().unwrap();
    let chosen = seen.iter().find(|one| one["chosen"] == true).unwrap();
    assert_eq!(
        (&chosen["path"], &chosen["keys"]),
        (&json!(path), &json!("row"))
    );
    says(
        &text,
        &["expected and published", &format!("its duplicate: {key}")],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_day_shows_old_values_beside_new_ones() {
    let city = city().await;
    let (_, injected) = broken(&city, Breakage::StaleValues);
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!(code, 1);
    assert_eq!(json["altered"], count(&injected, "altered"));
    let sample = &json["samples"]["altered"][0];
    assert_eq!(sample["changes"][0]["column"], CORRECTED);
    assert_ne!(
        sample["changes"][0]["published"],
        sample["changes"][0]["expected"]
    );
    says(&text, &["keep old values", "--depth content"]);

    let (json, text, _) = both(&city, &[sample["key"].as_str().unwrap()]).await;
    assert_eq!(json["row"]["verdict"], "altered");
    says(&text, &["with different values", CORRECTED]);

    let keys = explain(&city, &["--depth", "keys"]).await;
    assert_eq!(keys.code, 1, "keys are right, values are not: {}", keys.out);
    says(&keys.out, &["9 altered rows are still open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_named_with_its_rows() {
    let city = city().await;
    let (path, injected) = broken(&city, Breakage::NeverPublished);
    let (json, text, code) = both(&city, &[]).await;
    let missing = count(&injected, "missing");
    assert_eq!((code, &json["missing"]), (1, &json!(missing)));
    assert_eq!(json["repair"]["publish"], missing);
    assert_eq!(json["samples"]["missing"][0]["file"], path);
    let files = json["files"].as_array().unwrap();
    let ours = files.iter().find(|file| file["path"] == *path).unwrap();
    assert_eq!(ours["entry"], false);
    says(
        &text,
        &["was never published", &format!("{missing} missing"), " no "],
    );

    let key = json["samples"]["missing"][0]["key"].as_str().unwrap();
    let (json, text, _) = both(&city, &[key]).await;
    assert_eq!(json["row"]["verdict"], "missing");
    assert_eq!(json["row"]["portal"], json!([]));
    says(
        &text,
        &["but not published", "no published row has this key"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_shown_with_the_time_they_were_written() {
    let city = city().await;
    broken(&city, Breakage::Strangers(12));
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!((code, &json["orphans"]), (1, &json!(12)));
    assert_eq!(json["samples"]["orphans"].as_array().unwrap().len(), 5);
    says(
        &text,
        &["12 orphans", "10-16 08:31:00 CDT", "2020-10-16 08:31 x12"],
    );

    let key = json["samples"]["orphans"][0]["key"].as_str().unwrap();
    assert!(standing(&city, key).is_some());
    let (json, text, _) = both(&city, &[key]).await;
    assert_eq!(json["row"]["verdict"], "orphan");
    says(&text, &["nothing in the lake matches it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_is_a_doubt_and_the_guards_that_hold_a_repair_are_named() {
    let more = "rails.max_orphan_rows_per_day = 3";
    let city = TestCity::around(wednesday(), more).await;
    broken(&city, Breakage::Strangers(5));
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!(code, 1);
    assert_eq!(json["breaches"][0]["guard"], "orphan-rows");
    let digest = json["digest"].as_str().unwrap();
    says(
        &text,
        &["held by orphan-rows", &format!("--approve {digest}")],
    );

    let path = city.stage.lake().join(
        &city.stage.city.day_files(TABLE.source(), wednesday())[0]
            .path
            .0,
    );
    std::fs::remove_file(path).unwrap();
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!((code, &json["state"]), (4, &json!("unproven")));
    assert!(!json["doubts"].as_array().unwrap().is_empty());
    says(&text, &["Doubts", "does not exist", "known-lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_day_needs_no_repair_and_no_password() {
    let city = city().await;
    let file = city.stage.dir().join("sodalake.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let kept = settings.lines().filter(|line| {
        !line.starts_with("socrata.username") && !line.starts_with("socrata.password")
    });
    let kept = kept.map(|line| line.replace("\"repair\"", "\"observe\"") + "\n");
    std::fs::write(&file, kept.collect::<String>()).unwrap();
    let before = city.stage.portal.rows(TABLE.spec().id);
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!((code, &json["state"]), (0, &json!("in-sync")), "{text}");
    assert_eq!(json["repair"], Json::Null);
    assert_eq!(json["next"], json!([]));
    assert!(!json["files"].as_array().unwrap().is_empty());
    says(&text, &["in-sync", "181 rows expected, 181 published"]);
    assert!(!text.contains("Next"), "{text}");

    let (json, text, code) = both(&city, &["0123456789abcdef0123456789abcdef"]).await;
    assert_eq!((code, &json["row"]["verdict"]), (0, &json!("unknown")));
    says(&text, &["neither in the lake nor published"]);

    let key = before[0][TABLE.spec().row_identifier].as_str().unwrap();
    let elsewhere = before.iter().find(|row| {
        let at = row[TABLE.day_column()].as_str().unwrap();
        at.starts_with("2020-10-16")
    });
    let elsewhere = elsewhere.unwrap()[TABLE.spec().row_identifier]
        .as_str()
        .unwrap();
    let (json, text, _) = both(&city, &[elsewhere]).await;
    assert_eq!(json["row"]["verdict"], "stranger");
    says(&text, &["sodalake explain camera-counts 2020-10-16"]);
    assert!(standing(&city, key).is_some());
    assert_eq!(
        city.stage.portal.rows(TABLE.spec().id),
        before,
        "nothing is touched"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_does_no_harm() {
    let city = city().await;
    let spec = TABLE.spec();
    let mut rows = city.stage.portal.rows(spec.id).into_iter();
    let today = |row: &Map<String, Json>| {
        row[TABLE.day_column()]
            .as_str()
            .unwrap()
            .starts_with("2020-10-14")
    };
    let mut row = rows.find(today).unwrap();
    row.retain(|field, _| !field.starts_with(':'));
    let hostile = format!("\u{1b}[2J\u{202e}gone\u{200f}\r\n\u{9b}{}", "x".repeat(300));
    let column = (spec.columns.iter())
        .find(|(name, kind)| {
            *kind == sodalake::model::ColumnType::Text && *name != spec.row_identifier
        })
        .map(|(name, _)| *name)
        .unwrap();
    let known = row[spec.row_identifier].as_str().unwrap().to_owned();
    row.insert(column.into(), hostile.clone().into());
    let altered = row.clone();
    for (key, name) in [("\u{1b}[31mred\u{202e}", "one"), ("plain", "two")] {
        row.insert(spec.row_identifier.into(), key.into());
        row.insert(column.into(), format!("{hostile}{name}").into());
        let written = vec![row.clone()];
        city.stage
            .portal
            .upsert_directly(spec.id, written, written_at())
            .unwrap();
    }
    city.stage
        .portal
        .upsert_directly(spec.id, vec![altered], written_at())
        .unwrap();
    let (json, text, code) = both(&city, &[]).await;
    assert_eq!(code, 1);
    says(&text, &["\\u{1b}[2J\\u{202e}gone"]);
    assert!(json.to_string().contains("gone"));
    for key in [known.as_str(), "plain", "\u{1b}[31mred\u{202e}"] {
        let (json, _, _) = both(&city, &[key]).await;
        assert_eq!(json["row"]["key"], key);
        assert_ne!(json["row"]["verdict"], "unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_usage_errors_and_an_unavailable_portal_is_a_failure() {
    let city = city().await;
    let day = "2020-10-14";
    let ran = run(city.stage.dir(), &["explain", "camera\u{1b}[2J", day]).await;
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);

    let dir = tempfile::tempdir().unwrap();
    let settings = city.stage.settings("");
    let settings = settings.replace(city.stage.url(), "http://127.0.0.1:9");
    std::fs::write(dir.path().join("sodalake.toml"), settings).unwrap();
    let known = ["explain", "camera-counts", day, "--depth", "keys"];
    let mark = [
        "mark",
        "camera-counts",
        day,
        "known-lost",
        "--reason",
        "gone",
    ];
    assert_eq!(run(dir.path(), &mark).await.code, 0);
    let ran = run(dir.path(), &known).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    says(
        &ran.out,
        &[
            "known-lost: gone",
            "sodalake mark camera-counts 2020-10-14 release",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renumbered_day_shows_a_row_under_both_key_schemes() {
    let city = city().await;
    let (path, injected) = broken_in(&city, Breakage::OtherCounter, Table::DeviceReads);
    let day = wednesday().to_string();
    let name = Table::DeviceReads.dataset_name();
    let args = ["explain", name, &day, "--format", "json"];
    let day_of = run(city.stage.dir(), &args).await.json().remove(0);
    let duplicates: u64 = (injected.iter())
        .filter(|one| one.day == wednesday())
        .map(|one| one.count)
        .sum();
    assert_eq!(day_of["duplicates"], duplicates);
    let duplicate = &day_of["samples"]["duplicates"][0];
    let key = duplicate["key"].as_str().unwrap();
    let row = run(city.stage.dir(), &["explain", name, &day, key]).await;
    harmless(&row.out);
    narrow(&row.out);
    says(
        &row.out,
        &[
            "duplicate of",
            "keyed by row/",
            "(the file is published under another key scheme)",
            &path,
        ],
    );
    let args = ["explain", name, &day, key, "--format", "json"];
    let row = run(city.stage.dir(), &args).await.json().remove(0);
    assert_eq!(row["row"]["verdict"], "duplicate");
    assert_eq!(row["row"]["lake"][0]["chosen"], false);
    let text = run(city.stage.dir(), &["explain", name, &day]).await;
    harmless(&text.out);
    narrow(&text.out);
    says(&text.out, &["keyed by row/", "row/shared"]);
}
