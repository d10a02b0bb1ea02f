//! The layers of the crate, as described in `src/lib.rs` and docs/architecture.md, enforced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules without a client, a clock or a runtime.
const PURE: [&str; 5] = ["model", "expected", "compare", "plan", "schedule"];
const IMPURE: [&str; 14] = [
    "tokio::",
    "reqwest::",
    "object_store::",
    "rusqlite::",
    "tokio_postgres::",
    "deadpool_postgres::",
    "axum::",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "std::fs",
    "std::net",
    "std::env",
];
/// The clients that a pass uses. One may use another only through what is listed here.
const CLIENTS: [&str; 7] = [
    "lake", "archive", "catalog", "socrata", "ledger", "bucket", "database",
];
const SHARED: [(&str, &str); 4] = [
    ("catalog", "database"),
    ("ledger", "database"),
    ("lake", "bucket"),
    ("archive", "bucket"),
];
/// The types that can change something outside, and the modules that may name them.
const WRITERS: [&str; 3] = ["Writer", "CatalogWriter", "ArchiveWriter"];
const WRITING: [&str; 2] = ["repair", "app"];
/// Maximum lines of a file. A longer file must give its reason in [`LONG_FILES`].
const LONG: usize = 500;
const LONG_FILES: [(&str, &str); 3] = [
    (
        "bucket/mod.rs",
        "one way to every object store, with its tests",
    ),
    (
        "sandbox/portal/soql/bind.rs",
        "every rule of the SoQL subset's names and types",
    ),
    (
        "sandbox/portal/soql/evaluate.rs",
        "every function of the SoQL subset",
    ),
];

struct Source {
    /// Path below src/.
    path: String,
    /// Its text without comments and unit tests.
    code: String,
    lines: usize,
}

impl Source {
    /// `lake` for lake.rs, lake/mod.rs and lake/error.rs.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the code names this module of the crate, as a path or in a `use crate::{..}`.
    fn names(&self, module: &str) -> bool {
        let path = format!("crate::{module}");
        let ends = |at: usize| {
            let next = self.code[at + path.len()..].chars().next();
            next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        };
        let grouped = self.code.split("crate::{").skip(1).any(|group| {
            let group = group.split(';').next().unwrap_or_default();
            words(group).any(|word| word == module)
        });
        grouped || self.code.match_indices(&path).any(|(at, _)| ends(at))
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let path = file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let own = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let code = own
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        Source {
            path,
            code: code.collect::<Vec<_>>().join("\n"),
            lines: text.lines().count(),
        }
    };
    let sources: Vec<Source> = files.into_iter().map(read).collect();
    assert!(sources.len() > 50, "src/ was not found whole");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs")
            && name != "tests.rs"
            && !name.ends_with("_tests.rs")
        {
            files.push(path);
        }
    }
}

#[track_caller]
fn none(faults: &[String], what_to_do: &str) {
    assert!(faults.is_empty(), "{}\n{what_to_do}", faults.join("\n"));
}

#[test]
fn pure_modules_use_no_client_clock_or_runtime() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| PURE.contains(&source.module()))
    {
        let names = IMPURE.iter().filter(|name| source.code.contains(**name));
        faults.extend(names.map(|name| format!("src/{} names {name}", source.path)));
        let others = CLIENTS
            .into_iter()
            .chain(["sandbox", "repair", "reconcile", "app", "cli"]);
        let named = others.filter(|other| source.names(other));
        faults.extend(named.map(|other| format!("src/{} names crate::{other}", source.path)));
    }
    none(
        &faults,
        "Take the value in as a parameter, and let reconcile fetch it.",
    );
}

#[test]
fn clients_do_not_use_each_other() {
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| CLIENTS.contains(&source.module()))
    {
        let module = source.module();
        for other in CLIENTS
            .into_iter()
            .chain(["reconcile", "repair", "app", "cli"])
        {
            let fine = module == other || SHARED.contains(&(module, other));
            if !fine && source.names(other) {
                faults.push(format!("src/{} names crate::{other}", source.path));
            }
        }
    }
    none(
        &faults,
        "Put what both need into model, or bring them together in reconcile.",
    );
}

#[test]
fn the_sandbox_and_the_program_share_no_code() {
    let mut faults = Vec::new();
    for source in sources() {
        match source.module() {
            "cli" => {}
            "sandbox" => {
                let ours = ["socrata", "reconcile", "repair", "ledger", "cli", "app"];
                let named = ours.into_iter().filter(|other| source.names(other));
                faults
                    .extend(named.map(|other| format!("src/{} names crate::{other}", source.path)));
            }
            _ if source.names("sandbox") => {
                faults.push(format!("src/{} names crate::sandbox", source.path));
            }
            _ => {}
        }
    }
    none(
        &faults,
        "A stand-in that shares code with its user hides that code's faults; keep them apart.",
    );
}

#[test]
fn only_repair_names_the_writers() {
    let mut faults = Vec::new();
    for source in sources() {
        let own = ["socrata", "catalog", "archive"].contains(&source.module());
        let may = WRITING.contains(&source.module()) || source.path == "cli/doctor.rs";
        if own || may || source.module() == "sandbox" {
            continue;
        }
        // Other crates have a type named Writer too, such as tracing's subscribers.
        let ours =
            |word: &&str| WRITERS.contains(word) && (*word != "Writer" || source.names("socrata"));
        let named = words(&source.code).filter(ours);
        faults.extend(named.map(|word| format!("src/{} names {word}", source.path)));
    }
    none(
        &faults,
        "Reading needs nothing that can write: let repair do it, by an action of a plan.",
    );
}

#[test]
fn the_clock_is_read_in_one_place() {
    let mut faults = Vec::new();
    for source in sources() {
        let may = source.module() == "sandbox";
        let asks = source.code.matches("Utc::now").count();
        let allowed = usize::from(source.path == "reconcile/mod.rs");
        if !may && asks > allowed {
            faults.push(format!("src/{} asks Utc::now {asks} times", source.path));
        }
    }
    none(&faults, "Take `now` as a parameter, from World::clock.");
}

#[test]
fn http_clients_are_created_in_one_place() {
    let mut faults = Vec::new();
    for source in sources() {
        let may = source.path == "outgoing.rs";
        let makes = [
            "Client::builder()",
            "Client::new()",
            "ClientBuilder::",
            "reqwest::get(",
        ];
        let made = makes.into_iter().filter(|how| source.code.contains(how));
        let made: Vec<&str> = made.collect();
        if !may && !made.is_empty() {
            faults.push(format!("src/{} has {made:?}", source.path));
        }
    }
    none(
        &faults,
        "Take outgoing::client: it hands no plain request to a proxy.",
    );
}

#[test]
fn every_long_file_has_a_reason() {
    let reasons: BTreeMap<&str, &str> = LONG_FILES.into();
    let long: BTreeMap<String, usize> = (sources().into_iter())
        .filter(|source| source.lines > LONG)
        .map(|source| (source.path, source.lines))
        .collect();
    let unlisted: Vec<String> = (long.iter())
        .filter(|(path, _)| !reasons.contains_key(path.as_str()))
        .map(|(path, lines)| format!("src/{path} has {lines} lines"))
        .collect();
    none(
        &unlisted,
        "Split it where a part wants a name, or list it in LONG_FILES with its reason.",
    );
    let short: Vec<String> = (reasons.keys())
        .filter(|path| !long.contains_key(**path))
        .map(|path| format!("src/{path} is no longer over {LONG} lines"))
        .collect();
    none(&short, "Take it off LONG_FILES.");
}
