//! `days`, `mark` and `doctor`: people read in the ledger what they wrote there, and `doctor` names
//! each problem and its solution.

use super::place::{NOBODY, Place};
use crate::sources::recipes::vectors;

fn place() -> Place {
    Place::of_case(&vectors().join("plain-day"), NOBODY)
}

#[test]
fn a_mark_is_shown_until_it_is_released() {
    let place = place();
    let ran = place.run(&["status"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("no record of these days"), "{}", ran.out);

    let day = ["camera-counts", "2019-06-05"];
    let hold = [
        "mark",
        day[0],
        day[1],
        "hold",
        "--reason",
        "a \u{1b}[2Jswap",
    ];
    let ran = place.run(&[&hold[..], &["--until", "2999-01-01"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("marked hold until 2999-01-01, by ada@"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains('\u{1b}'));

    let ran = place.run(&["status", "sh59-i6y9", "--format", "json"]);
    let lines = ran.json();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["day"], "2019-06-05");
    assert!(lines[0]["state"].is_null());
    assert_eq!(lines[0]["mark"]["kind"], "hold");
    assert_eq!(lines[0]["mark"]["until"], "2999-01-01");
    let ran = place.run(&["status"]);
    assert!(ran.out.contains("2019-06-05  -"), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'));
    assert!(
        place
            .run(&["status", "matches"])
            .out
            .contains("no record of these days")
    );

    let release = ["mark", day[0], day[1], "release", "--reason", "done"];
    let ran = place.run(&release);
    assert_eq!(
        (ran.code, ran.out.contains("released")),
        (0, true),
        "{}",
        ran.out
    );
    let ran = place.run(&release);
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.contains("there was no mark to release"),
        "{}",
        ran.out
    );
    assert!(
        place
            .run(&["status"])
            .out
            .contains("no record of these days")
    );
}

#[test]
fn invalid_arguments_are_usage_errors() {
    let place = place();
    let mark = |word, until| {
        let day = ["camera-counts", "2019-06-05"];
        place.run(&[
            "mark", day[0], day[1], word, "--reason", "x", "--until", until,
        ])
    };
    for (word, until) in [("release", "2999-01-01"), ("hold", "2019-01-01")] {
        let ran = mark(word, until);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{word} {until}");
    }
    for args in [
        &["status", "nobody"][..],
        &["derive", "nobody", "--day", "2019-06-05"],
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, &*ran.out), (2, ""));
        assert!(
            ran.err.contains("the settings have camera-counts, "),
            "{}",
            ran.err
        );
    }
}

#[test]
fn doctor_reports_an_unavailable_portal_and_checks_the_rest() {
    let place = place();
    let ran = place.run(&["doctor"]);
    assert_eq!(ran.code, 7, "{}{}", ran.out, ran.err);
    let line = |start: &str| {
        let found = ran.out.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start}: {}", ran.out))
            .to_owned()
    };
    let portal = line("fail  portal camera-counts");
    assert!(portal.contains("-> check socrata.url"), "{portal}");
    assert!(line("warn  lake gs").contains("-> check that lake.url points to the ready layer"));
    assert!(line("warn  secrets").contains("socrata.username"));
    for healthy in [
        "ok    config",
        "ok    zone",
        "ok    catalog",
        "ok    ledger",
        "ok    archive",
    ] {
        line(healthy);
    }
    let verdicts = ["ok", "warn", "fail"];
    let lines = place.run(&["doctor", "--format", "json"]).json();
    assert!(
        lines
            .iter()
            .all(|line| verdicts.contains(&line["verdict"].as_str().unwrap()))
    );
    assert!(
        lines
            .iter()
            .all(|line| (line["verdict"] == "ok") == line["do"].is_null())
    );
}

#[test]
fn doctor_reports_wrong_settings_as_usage_errors() {
    let place = place();
    place.reset("America/Chicago", "Nowhere");
    let ran = place.run(&["doctor"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.starts_with("fail  config"), "{}", ran.out);
    assert!(ran.err.contains("Nowhere"), "{}", ran.err);
}
