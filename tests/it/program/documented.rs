//! Runs every command in the documentation, in the order in which a reader types them, on a city
//! whose first of October is broken as the documentation describes.

use std::path::Path;

use sodalake::sandbox::city::{Breakage, Place, Table};

use crate::program::docs::{pages, shell_commands, words};
use crate::support::beside::run;
use crate::support::city::{TestCity, written_at};

/// These end only when interrupted; each has its own tests.
const LASTING: [&str; 4] = ["run", "demo", "sandbox", "healthcheck"];

/// The allowed exit codes: findings may remain, be held, unproven or unconfirmed, but usage must be
/// correct and services must be available.
const RIGHT: [i32; 5] = [0, 1, 3, 4, 5];

async fn city() -> TestCity {
    let city = TestCity::around("2020-10-01".parse().unwrap(), "").await;
    break_the_first_of_october(&city, 0);
    city
}

/// Duplicates the rows of one camera, a different one each time.
fn break_the_first_of_october(city: &TestCity, time: usize) {
    let (table, day) = (Table::CameraCounts, "2020-10-01".parse().unwrap());
    let base = city.bases(table, day).swap_remove(time);
    let place = Place { table, day, base };
    let broken = city
        .stage
        .damage(Breakage::OtherSpelling, &place, written_at());
    broken.unwrap();
}

/// The digests, passes and future days in the documentation are made up: this replaces them with
/// real ones.
fn real(word: &str, before: &str, dir: &Path, pass: &str) -> String {
    let file = dir.join(word);
    match before {
        "--approve" => {
            let plan = std::fs::read_to_string(dir.join("held.plan")).unwrap();
            let header: serde_json::Value =
                serde_json::from_str(plan.lines().next().unwrap()).unwrap();
            header["plan"]["digest"].as_str().unwrap().to_owned()
        }
        "restore" => pass.to_owned(),
        "--until" => "2999-01-01".to_owned(), // the documentation's day is in the past
        "--out" | "apply" | "--report" => file.to_str().unwrap().to_owned(),
        _ => word.to_owned(),
    }
}

/// The pass that a repair printed, however the line was wrapped.
fn pass_in(out: &str) -> Option<String> {
    let flat = out.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, after) = flat.split_once("(pass ")?;
    Some(after.split(')').next()?.replace(' ', ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_runs() {
    let mut seen = 0;
    for (page, text) in pages() {
        let commands = shell_commands(&text);
        if commands.is_empty() {
            continue;
        }
        let city = city().await;
        let dir = city.stage.dir().to_owned();
        let (mut pass, mut broken) = (String::new(), 0);
        for command in commands {
            let typed = words(&command);
            if LASTING.contains(&typed[1].as_str()) {
                continue;
            }
            if typed[1] == "plan" {
                broken += 1;
                break_the_first_of_october(&city, broken);
            }
            let args: Vec<String> = (1..typed.len())
                .map(|at| real(&typed[at], &typed[at - 1], &dir, &pass))
                .collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let ran = run(&dir, &args).await;
            let page = page.display();
            assert!(RIGHT.contains(&ran.code), "{page}: {command}: {}", ran.err);
            if typed[1] == "plan" {
                let plan = std::fs::read_to_string(args.last().unwrap()).unwrap();
                assert!(!plan.is_empty(), "{page}: {command}: {}", ran.out);
            }
            pass = pass_in(&ran.out).unwrap_or(pass);
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} commands");
}
