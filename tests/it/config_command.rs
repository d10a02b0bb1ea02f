//! `config check` and `config show` as people run them: the real binary.

use std::path::PathBuf;
use std::process::{Command, Output};

fn example(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "config", name]
        .iter()
        .collect()
}

/// Runs the program with nothing of our own environment that could change what it does.
fn sodalake(args: &[&str], env: &[(&str, &str)]) -> Output {
    let ours = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !name.starts_with("SODALAKE") && name != "RUST_LOG" && name != "NO_COLOR"
    });
    Command::new(env!("CARGO_BIN_EXE_sodalake"))
        .args(args)
        .env_clear()
        .envs(ours)
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, stdout and stderr.
fn ran(args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let output = sodalake(args, env);
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

fn small() -> String {
    example("small.toml").to_str().unwrap().to_owned()
}

#[test]
fn right_settings_are_called_right_on_stdout() {
    let (code, out, err) = ran(&["config", "check", "--config", &small()], &[]);
    assert_eq!((code, &*err), (0, ""));
    insta::assert_snapshot!(out, @r#"
    The settings are right.
    mode observe: nothing will be changed
    datasets camera-counts
    "#);
}

#[test]
fn wrong_settings_are_usage_and_told_on_stderr_alone() {
    let env = [
        ("SODALAKE__TIMEZONE", "Nowhere"),
        ("SODALAKE__SOCRATA__PAGE_ROWS", "0"),
    ];
    for command in ["check", "show"] {
        let (code, out, err) = ran(&["config", command, "--config", &small()], &env);
        assert_eq!((code, &*out), (2, ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @r#"
    sodalake: failed to accept the settings: 2 problems
      timezone (environment SODALAKE__TIMEZONE): found "Nowhere"; want a zone of the IANA database such as "America/Chicago"
      socrata.page_rows (environment SODALAKE__SOCRATA__PAGE_ROWS): found "0"; want a whole number from 1 to 50000
    "#);
        }
    }
}

#[test]
fn a_missing_file_is_usage_with_its_cause() {
    let (code, out, err) = ran(&["config", "check", "--config", "/nowhere.toml"], &[]);
    assert_eq!((code, &*out), (2, ""));
    insta::assert_snapshot!(err, @"sodalake: failed to read settings file /nowhere.toml: No such file or directory (os error 2)");
}

#[test]
fn the_file_may_be_named_by_the_environment_and_the_flag_wins() {
    let (small, full) = (small(), example("sodalake.toml"));
    let env = [("SODALAKE_CONFIG", full.to_str().unwrap())];
    let (code, out, _) = ran(&["config", "check"], &env);
    assert_eq!(code, 0);
    assert!(out.contains("radar-counts"), "{out}");
    let (_, out, _) = ran(&["--config", &small, "config", "check"], &env);
    assert!(!out.contains("radar-counts"), "{out}");
}

#[test]
fn show_says_where_each_key_came_from_and_keeps_secrets() {
    let env = [
        ("SODALAKE__SOCRATA__PASSWORD", "hunter2"),
        (
            "SODALAKE__CATALOG__URL",
            "postgres://lake:hunter2@db.example/atd01",
        ),
    ];
    let (code, out, err) = ran(&["config", "show", "--config", &small()], &env);
    assert_eq!(code, 0);
    assert!(
        !out.contains("hunter2") && !err.contains("hunter2"),
        "{out}{err}"
    );
    let line = |key: &str| out.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("password").contains("\"****\"  "), "{out}");
    assert!(out.contains("# environment SODALAKE__SOCRATA__PASSWORD"));
    assert!(line("page_rows").ends_with("# default"));
    assert!(line("timezone").ends_with("small.toml:4"));
}

#[test]
fn show_as_json_is_one_object_a_line() {
    let args = ["config", "show", "--format", "json", "--config", &small()];
    let (code, out, _) = ran(&args, &[]);
    assert_eq!(code, 0);
    for line in out.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["key"].is_string() && line["origin"].is_string(),
            "{line}"
        );
    }
    insta::assert_snapshot!(out.lines().next().unwrap().replace(&small(), "small.toml"), @r#"
    {"key":"timezone","value":"\"America/Chicago\"","origin":"small.toml:4"}
    "#);
}

#[test]
fn colours_come_only_when_asked_for() {
    let small = small();
    let args = |color| ["config", "check", "--color", color, "--config", &*small];
    let coloured = |color, env| ran(&args(color), env).1.contains('\u{1b}');
    assert!(coloured("always", &[]));
    assert!(!coloured("auto", &[]));
    assert!(!coloured("never", &[]));
    assert!(!coloured("auto", &[("NO_COLOR", "1")]));
}

#[test]
fn wrong_arguments_are_usage() {
    for args in [
        &["config"][..],
        &["config", "chekc"],
        &["check", "--from", "2020-10-02", "--to", "2020-10-01"],
        &["config", "check", "--color", "pink"],
    ] {
        let (code, out, err) = ran(args, &[]);
        assert_eq!((code, &*out), (2, ""), "{args:?}");
        assert!(!err.is_empty());
    }
    for env in [("SODALAKE_LOG_FORMAT", "xml"), ("RUST_LOG", "===")] {
        let (code, _, err) = ran(&["config", "check", "--config", &small()], &[env]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("xml") || err.contains("RUST_LOG"), "{err}");
    }
}

#[test]
fn help_and_version_are_no_error() {
    for args in [&["--help"][..], &["check", "--help"], &["--version"]] {
        let (code, out, err) = ran(args, &[]);
        assert_eq!((code, &*err), (0, ""), "{args:?}");
        assert!(!out.is_empty());
    }
}
