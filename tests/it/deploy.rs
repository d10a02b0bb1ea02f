//! What lies under deploy/, held to the tools that will read it and to the program it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// Runs a tool that `tests/run` installs; what it says, on both streams, and whether it is content.
fn tool(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}, see tests/run: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// What stands after `key=` in a unit file, line by line.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

/// The unit and the drop-in as they would be installed, for the program of this build.
fn installed(folder: &Path) -> String {
    let unit = read("deploy/systemd/sodalake.service");
    let program = "/usr/local/bin/sodalake";
    assert!(values(&unit, "ExecStart")[0].starts_with(&format!("{program} run ")));
    let path = folder.join("sodalake.service");
    fs::write(&path, unit.replace(program, env!("CARGO_BIN_EXE_sodalake"))).unwrap();
    let drop_ins = folder.join("sodalake.service.d");
    fs::create_dir(&drop_ins).unwrap();
    let drop_in = read("deploy/systemd/drop-in.conf");
    fs::write(drop_ins.join("local.conf"), drop_in).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = installed(folder.path());
    // It ends well on an unknown key, and only says so.
    assert_eq!(
        tool("systemd-analyze", &["verify", &unit]),
        (true, String::new())
    );
}

#[test]
fn the_unit_exposes_little_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let unit = installed(folder.path());
    let args = [
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold=20",
        &unit,
    ];
    let (content, said) = tool("systemd-analyze", &args);
    assert!(content, "{said}");
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn every_secret_of_the_settings_has_its_credential() {
    let folder = "\"/run/credentials/sodalake.service/";
    let settings = read("config/sodalake.toml");
    let named = settings.split(folder).skip(1);
    let named: BTreeSet<&str> = named.map(|rest| rest.split('"').next().unwrap()).collect();
    let filed = settings.lines().filter(|line| line.contains("_file = "));
    assert_eq!(
        filed.filter(|line| !line.contains("ca_file")).count(),
        named.len()
    );

    let unit = read("deploy/systemd/sodalake.service");
    let ids = |key| -> BTreeSet<&str> {
        let values = values(&unit, key).into_iter();
        values
            .map(|value| value.split(':').next().unwrap())
            .collect()
    };
    assert_eq!(ids("LoadCredential"), named);
    assert_eq!(ids("SetCredential"), named, "so that each may be missing");
}
