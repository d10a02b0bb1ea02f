//! Runs the real binary on a fictional city, and searches all of its output for passwords.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value as Json;
use tokio::process::Command;

use super::city::TestCity;

const PASSWORDS: [&str; 2] = ["writer-password", "reader-password"];

/// The result of a run.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    /// Asserts the exit code, and that the output contains `why`.
    pub fn ends(self, code: i32, why: &str) -> Self {
        let Self { code: c, out, err } = &self;
        assert_eq!(*c, code, "\n--- stdout\n{out}\n--- stderr\n{err}");
        assert!(
            self.out.contains(why) || self.err.contains(why),
            "no {why:?} in\n{out}\n{err}"
        );
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub fn json(&self) -> Json {
        assert_eq!(self.out.lines().count(), 1, "{}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }
}

pub fn command(city: &TestCity, line: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sodalake"));
    command
        .args(line.split(' '))
        .arg("--config")
        .arg(config(city));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SODALAKE") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub fn config(city: &TestCity) -> PathBuf {
    city.stage.dir().join("sodalake.toml")
}

pub async fn with(city: &TestCity, line: &str, env: &[(&str, &str)]) -> Ran {
    let output = command(city, line, env).output().await.unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    for password in PASSWORDS {
        assert!(
            !ran.out.contains(password),
            "{line}: a secret on stdout: {}",
            ran.out
        );
        assert!(
            !ran.err.contains(password),
            "{line}: a secret on stderr: {}",
            ran.err
        );
    }
    ran
}

pub async fn run(city: &TestCity, line: &str) -> Ran {
    with(city, line, &[]).await
}
