//! Runs the real program with the settings file of a folder while the test serves the services it
//! needs.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value as Json;

/// The result of a run of the program.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Each line of stdout, parsed as JSON.
    pub fn json(&self) -> Vec<Json> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.out.lines().map(read).collect()
    }
}

/// Runs the program with the settings file in `dir` while this process continues to serve.
pub async fn run(dir: &Path, args: &[&str]) -> Ran {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sodalake"))
        .args(args)
        .env_clear()
        .env("USER", "ada")
        .env("SODALAKE_CONFIG", dir.join("sodalake.toml"))
        .env("SODALAKE_LOG_FORMAT", "text")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}
