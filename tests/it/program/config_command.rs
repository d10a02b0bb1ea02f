//! `config check` and `config show` as people run them: the real binary.

use std::path::PathBuf;
use std::process::{Command, Output};

fn example(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "config", name]
        .iter()
        .collect()
}

/// Runs the program without variables of this process's environment that could change what it does.
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
fn correct_settings_are_confirmed_on_stdout() {
    let (code, out, err) = ran(&["config", "check", "--config", &small()], &[]);
    assert_eq!((code, &*err), (0, ""));
    insta::assert_snapshot!(out, @r#"
    The settings are valid.
    mode observe: nothing is changed
    datasets camera-counts
    "#);
}

#[test]
fn wrong_settings_are_usage_errors_on_stderr_only() {
    let env = [
        ("SODALAKE__TIMEZONE", "Nowhere"),
        ("SODALAKE__SOCRATA__PAGE_ROWS", "0"),
    ];
    for command in ["check", "show"] {
        let (code, out, err) = ran(&["config", command, "--config", &small()], &env);
        assert_eq!((code, &*out), (2, ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @r#"
    error: the settings are not valid: 2 problems
      timezone (environment SODALAKE__TIMEZONE): found "Nowhere"; expected a time zone of the IANA database such as "America/Chicago"
      socrata.page_rows (environment SODALAKE__SOCRATA__PAGE_ROWS): found "0"; expected a whole number from 1 to 50000
    "#);
        }
    }
}

#[test]
fn a_missing_file_is_a_usage_error_with_its_cause() {
    let (code, out, err) = ran(&["config", "check", "--config", "/nowhere.toml"], &[]);
    assert_eq!((code, &*out), (2, ""));
    insta::assert_snapshot!(err, @"error: cannot read settings file /nowhere.toml: No such file or directory (os error 2)");
}

#[test]
fn the_flag_takes_precedence_over_the_environments_settings_file() {
    let (small, full) = (small(), example("sodalake.toml"));
    let env = [("SODALAKE_CONFIG", full.to_str().unwrap())];
    let (code, out, _) = ran(&["config", "check"], &env);
    assert_eq!(code, 0);
    assert!(out.contains("radar-counts"), "{out}");
    let (_, out, _) = ran(&["--config", &small, "config", "check"], &env);
    assert!(!out.contains("radar-counts"), "{out}");
}

#[test]
fn show_prints_the_origin_of_each_key_and_no_secret() {
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
fn show_as_json_prints_one_object_per_line() {
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
fn colours_are_printed_only_on_request() {
    let small = small();
    let args = |color| ["config", "check", "--color", color, "--config", &*small];
    let coloured = |color, env| ran(&args(color), env).1.contains('\u{1b}');
    assert!(coloured("always", &[]));
    assert!(!coloured("auto", &[]));
    assert!(!coloured("never", &[]));
    assert!(!coloured("auto", &[("NO_COLOR", "1")]));
}

#[test]
fn wrong_arguments_are_usage_errors() {
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
fn help_and_version_exit_with_0() {
    for args in [&["--help"][..], &["check", "--help"], &["--version"]] {
        let (code, out, err) = ran(args, &[]);
        assert_eq!((code, &*err), (0, ""), "{args:?}");
        assert!(!out.is_empty());
    }
}
