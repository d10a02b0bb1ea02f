//! The files under deploy/, checked with the tools that read them and against the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sodalake::settings::Settings;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// Runs a tool that `tests/run` installs. Returns its output on both streams, and whether it
/// succeeded.
fn tool(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}, see tests/run: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// The values of `key=` in a unit file, line by line.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

/// The unit and the drop-in as they would be installed, for this build's program.
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
fn systemd_accepts_every_line_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = installed(folder.path());
    // The tool succeeds on an unknown key and only prints a warning.
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

#[test]
fn the_image_matches_the_manifest() {
    let dockerfile = read("Dockerfile");
    let manifest = read("Cargo.toml");
    let field = |key: &str| {
        let start = format!("{key} = \"");
        let value = manifest.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap().trim_end_matches('"').to_owned()
    };
    for line in [
        format!("FROM rust:{}-bookworm AS build", field("rust-version")),
        format!("ARG VERSION={}", field("version")),
    ] {
        assert!(dockerfile.lines().any(|one| one == line), "{line}");
    }
    for text in [field("license"), field("description")] {
        let label = format!("=\"{text}\"");
        assert!(dockerfile.contains(&label), "{label}");
    }
}

/// The settings of the complete example, with the path of its secret in this repository.
#[test]
fn the_example_deployments_settings_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sodalake.toml");
    let secret = file("deploy/docker/socrata-password");
    let text = read("deploy/docker/sodalake.toml");
    let text = text.replace("/run/secrets/socrata-password", secret.to_str().unwrap());
    fs::write(&path, text).unwrap();
    let recipes: Vec<_> = (sodalake::expected::recipes().iter())
        .map(|one| one.facts())
        .collect();
    let settings = Settings::load(Some(&path), [], &recipes).unwrap();
    assert_eq!(settings.datasets.len(), 5);
}

#[test]
fn the_example_deployment_mounts_existing_files() {
    let compose = read("deploy/docker/compose.yml");
    let paths = compose.split(|c: char| c.is_whitespace() || "\"[]{}".contains(c));
    let mounted = paths.filter_map(|word| word.split_once(':'));
    let mounted: BTreeSet<&str> = mounted
        .map(|(from, _)| from)
        .filter(|from| from.starts_with('.'))
        .collect();
    assert!(mounted.len() >= 7, "{mounted:?}");
    for from in mounted {
        let path = file("deploy/docker").join(from);
        assert!(path.is_file(), "{}", path.display());
    }
    let alertmanager = file("deploy/docker/alertmanager.yml");
    let (content, said) = tool("amtool", &["check-config", alertmanager.to_str().unwrap()]);
    assert!(content, "{said}");
}
