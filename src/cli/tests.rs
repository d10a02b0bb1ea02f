//! Which lines are understood, and which are wrong usage.

use super::*;

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' ')).and_then(checked)
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_form_of_the_contract_is_understood() {
    for line in [
        "sodalake run --config sodalake.toml",
        "sodalake healthcheck",
        "sodalake demo --exit --seed 3 --listen 127.0.0.1:0",
        "sodalake check",
        "sodalake check camera-counts radar-counts --day 2020-10-01",
        "sodalake check --from 2020-10-01 --to 2020-10-02 --depth content",
        "sodalake check --last 30 --report october.html",
        "sodalake --format json check --last 7 -vv",
        "sodalake plan --out october.plan camera-counts",
        "sodalake plan camera-counts --day 2020-10-01 --rewrite",
        "sodalake apply october.plan --approve 9f86d081",
        "sodalake repair camera-counts --day 2020-10-01 --rewrite",
        "sodalake derive camera-counts --day 2020-10-01 --keys --recipe kits --counter separate",
        "sodalake explain camera-counts 2020-10-01 5e7c8b1f",
        "sodalake restore 0189 --day 2020-10-01 --key 5e7c8b1f",
        "sodalake restore 0189 --salvage",
        "sodalake archive check --format json",
        "sodalake archive expire --dry-run",
        "sodalake days --color never",
        "sodalake mark camera-counts 2020-10-01 known-lost --reason gone --until 2020-11-01",
        "sodalake doctor -q",
        "sodalake config check --config sodalake.toml",
        "sodalake config show",
        "sodalake sandbox --listen 127.0.0.1:0 --data city --faults faults.toml",
        "sodalake completions zsh",
        "sodalake man target/man",
    ] {
        assert!(read(line).is_ok(), "{line}: {}", read(line).unwrap_err());
    }
}

#[test]
fn wrong_lines_are_usage() {
    for line in [
        "sodalake",
        "sodalake chekc",
        "sodalake check --day 2020-10-01 --last 3",
        "sodalake check --day 2020-10-01 --from 2020-10-01 --to 2020-10-02",
        "sodalake check --from 2020-10-01",
        "sodalake check --to 2020-10-01",
        "sodalake check --from 2020-10-02 --to 2020-10-02",
        "sodalake check --from 2020-10-03 --to 2020-10-02",
        "sodalake days --from 2020-10-03 --to 2020-10-02",
        "sodalake check --day 2020-02-30",
        "sodalake check --day 01.10.2020",
        "sodalake check --last 0",
        "sodalake check --last -1",
        "sodalake check --depth deep",
        "sodalake check -v -q",
        "sodalake derive camera-counts",
        "sodalake mark camera-counts 2020-10-01 hold",
        "sodalake mark camera-counts 2020-10-01 forget --reason x",
        "sodalake demo --seed -1",
        "sodalake sandbox --listen localhost",
    ] {
        let error = read(line).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
    }
}
