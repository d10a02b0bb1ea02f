//! Which command lines are accepted, and which are usage errors.

use super::*;

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' ')).and_then(checked)
}

#[test]
fn the_command_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_documented_form_is_accepted() {
    for line in [
        "sodalake run --config sodalake.toml",
        "sodalake healthcheck",
        "sodalake demo --exit --seed 3 --listen 127.0.0.1:0",
        "sodalake check",
        "sodalake check camera-counts radar-counts --day 2020-10-01",
        "sodalake check --from 2020-10-01 --to 2020-10-02 --depth content",
        "sodalake check --last 30 --report october.html",
        "sodalake check --format json --last 7 -vv",
        "sodalake plan --out october.plan camera-counts",
        "sodalake plan camera-counts --day 2020-10-01 --rewrite",
        "sodalake apply october.plan --approve 9f86d081",
        "sodalake repair camera-counts --partition 2020-10-01 --rewrite --yes",
        "sodalake repair --all --last 3",
        "sodalake repair camera-counts --dry-run --depth content",
        "sodalake check --depth survey",
        "sodalake explain camera-counts 2020-10-01 --depth keys --format json",
        "sodalake plan --out october.plan --format json",
        "sodalake derive camera-counts --day 2020-10-01 --keys --key-scheme kits --counter separate",
        "sodalake derive camera-counts --partition 2020-10-01",
        "sodalake explain camera-counts 2020-10-01 5e7c8b1f",
        "sodalake restore 0189 --day 2020-10-01 --key 5e7c8b1f",
        "sodalake restore 0189 --salvage",
        "sodalake archive check --format json",
        "sodalake archive expire --dry-run",
        "sodalake status --color never",
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
fn wrong_command_lines_are_usage_errors() {
    for line in [
        "sodalake",
        "sodalake chekc",
        "sodalake check --day 2020-10-01 --last 3",
        "sodalake check --day 2020-10-01 --from 2020-10-01 --to 2020-10-02",
        "sodalake check --from 2020-10-01",
        "sodalake check --to 2020-10-01",
        "sodalake check --from 2020-10-02 --to 2020-10-02",
        "sodalake check --from 2020-10-03 --to 2020-10-02",
        "sodalake status --from 2020-10-03 --to 2020-10-02",
        "sodalake check --day 2020-02-30",
        "sodalake check --day 01.10.2020",
        "sodalake check --last 0",
        "sodalake check --last -1",
        "sodalake check --depth deep",
        "sodalake check -v -q",
        "sodalake derive camera-counts",
        "sodalake mark camera-counts 2020-10-01 hold",
        "sodalake mark camera-counts 2020-10-01 forget --reason x",
        "sodalake repair",
        "sodalake repair --all camera-counts",
        "sodalake repair --all --yes",
        "sodalake repair --dry-run",
        "sodalake repair --all --depth survey",
        "sodalake repair --all --dry-run --format json",
        "sodalake plan --depth survey",
        "sodalake plan --format json",
        "sodalake days",
        "sodalake derive camera-counts --partition 2020-10-01 --recipe kits",
        "sodalake demo --seed -1",
        "sodalake sandbox --listen localhost",
    ] {
        let error = read(line).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
    }
}

/// `--depth` and `--format` are accepted only where they have an effect.
#[test]
fn a_command_accepts_no_flag_that_it_would_ignore() {
    for (flag, lines) in [
        (
            "--depth keys",
            &[
                "apply f",
                "derive d --partition 2020-10-01",
                "restore 0189",
                "status",
                "doctor",
                "config show",
                "archive check",
                "mark d 2020-10-01 hold --reason r",
                "run",
                "demo",
                "sandbox",
                "healthcheck",
                "completions bash",
                "man m",
            ][..],
        ),
        (
            "--format json",
            &[
                "derive d --partition 2020-10-01",
                "run",
                "sandbox",
                "healthcheck",
                "completions bash",
                "man m",
            ],
        ),
    ] {
        for line in lines {
            for line in [
                format!("sodalake {line} {flag}"),
                format!("sodalake {flag} {line}"),
            ] {
                let error = read(&line).expect_err(&line);
                assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
            }
        }
    }
}

#[test]
fn the_short_help_leaves_out_commands_for_packages_and_containers() {
    let short = Cli::command().render_help().to_string();
    let long = Cli::command().render_long_help().to_string();
    for name in ["healthcheck", "completions", "man"] {
        assert!(!short.contains(&format!("  {name} ")), "{name}: {short}");
        assert!(long.contains(&format!("sodalake {name}")), "{name}: {long}");
    }
}
