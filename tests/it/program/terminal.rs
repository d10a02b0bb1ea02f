//! Snapshots of what a person reads at 80 columns: the commands' text on a broken city.

use sodalake::sandbox::city::{Breakage, Place, Table};

use crate::support::beside::run;
use crate::support::city::{TestCity, wednesday, written_at};

async fn broken_city() -> TestCity {
    let city = TestCity::around(wednesday(), "rails.max_orphan_rows_per_day = 20").await;
    for (table, breakage) in [
        (Table::CameraCounts, Breakage::OtherSpelling),
        (Table::TravelTimes, Breakage::Strangers(30)),
        (Table::RadarCounts, Breakage::TailLost),
    ] {
        let base = city.bases(table, wednesday()).swap_remove(0);
        let place = Place {
            table,
            day: wednesday(),
            base,
        };
        city.stage.damage(breakage, &place, written_at()).unwrap();
    }
    city
}

/// The output of a command, with everything that changes between runs masked: ids and current
/// times.
async fn printed(city: &TestCity, args: &[&str]) -> String {
    let ran = run(city.stage.dir(), args).await;
    assert!(!ran.out.is_empty(), "{}", ran.err);
    for line in ran.out.lines().filter(|line| !line.contains("/day.plan")) {
        assert!(sodalake::cli::style::width(line) <= 80, "too wide: {line}");
    }
    ran.out
        .lines()
        .map(|line| struck_out(line) + "\n")
        .collect()
}

fn struck_out(line: &str) -> String {
    // The city lives in 2020; any other date is today's.
    let now =
        |word: &str| word.len() == 10 && word[4..].starts_with('-') && !word.starts_with("2020");
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 0..words.len() {
        let word = words[at];
        if word.len() >= 16 && word.chars().all(|c| c.is_ascii_hexdigit()) {
            words[at] = "HASH";
        } else if word.is_ascii() && now(word) {
            words.splice(at..(at + 2).min(words.len()), ["DATE", "TIME"]);
        } else if word.contains("/day.plan") {
            words[at] = "FILE";
        }
    }
    words.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_fits_into_80_columns() {
    let city = broken_city().await;
    let range = ["--from", "2020-10-13", "--to", "2020-10-16"];
    let check = printed(&city, &[&["check"][..], &range].concat()).await;
    insta::assert_snapshot!("check", check);
    let plan = city.stage.dir().join("day.plan");
    let out = [
        "plan",
        "--day",
        "2020-10-14",
        "--out",
        plan.to_str().unwrap(),
    ];
    insta::assert_snapshot!("plan", printed(&city, &out).await);
    let explain = ["explain", "camera-counts", "2020-10-14"];
    insta::assert_snapshot!("explain", printed(&city, &explain).await);
    insta::assert_snapshot!("status", printed(&city, &["status"]).await);
}

#[test]
fn completions_and_manual_pages_contain_every_command() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_sodalake"));
    for shell in ["bash", "zsh", "fish"] {
        let output = program().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for command in ["check", "explain", "restore"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let man = program().arg("man").arg(dir.path()).output().unwrap();
    assert!(man.status.success());
    let page = std::fs::read_to_string(dir.path().join("sodalake-check.1")).unwrap();
    assert!(
        page.starts_with(".ie") && page.contains("Check datasets and report findings"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_one_page_with_the_evidence() {
    let city = broken_city().await;
    let file = city.stage.dir().join("october.html");
    let range = ["--from", "2020-10-13", "--to", "2020-10-16"];
    let out = ["--report", file.to_str().unwrap()];
    let ran = run(city.stage.dir(), &[&["check"][..], &range, &out].concat()).await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    let page = std::fs::read_to_string(&file).unwrap();
    for part in [
        "No: 3 days do not match the lake. 15 days checked.",
        "<h3>35 duplicates</h3>",
        "<del>BURNET RD/ RICHCREEK RD</del>",
        "<ins>BURNET RD / RICHCREEK RD</ins>",
        "2020/10/14/wt/Austin_wt_2020-10-14.json",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    // The report needs no other file: it may be read in a mail or from a disk.
    for outside in ["<link", "<script", "src=", "href=\"/", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}
