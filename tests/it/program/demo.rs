//! The demo as a person runs it: every fault is found and repaired or held, and the exit code says
//! so.

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sodalake"));
    command.args(["demo", "--exit"]).args(arguments);
    command
        .output()
        .expect("the binary was built with this test")
}

#[test]
fn the_demo_repairs_what_it_announces() {
    for seed in ["1", "12"] {
        let output = demo(&["--seed", seed]);
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(0),
            "seed {seed}:\n{text}\n{errors}"
        );
        for part in [
            "in another publisher's spelling, such as",
            "chained hasher",
            "was never published",
            "keep old values of volume",
            "--approve",
            "10 broken days repaired and verified, 2 held for approval.",
        ] {
            assert!(text.contains(part), "seed {seed} says {part}:\n{text}");
        }
    }
}

#[test]
fn the_demo_can_print_json() {
    let output = demo(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |state: &str| lines.iter().filter(|line| line["state"] == state).count();
    assert_eq!((of("repaired"), of("held")), (10, 2));
}
