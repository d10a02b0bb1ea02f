//! A folder to run the program in, with its own settings, catalog, ledger and archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::{Connection, params};
use serde_json::Value as Json;
use tempfile::TempDir;

/// Name, four-by-four and recipe of every dataset.
pub const DATASETS: [(&str, &str, &str); 5] = [
    ("camera-counts", "sh59-i6y9", "gridsmart-agg15"),
    ("travel-times", "v7zg-5jg9", "bluetooth-summary"),
    ("matches", "x44q-icha", "bluetooth-matched"),
    ("sightings", "qnpj-zrb9", "bluetooth-unmatched"),
    ("radar-counts", "i626-g7ub", "wavetronix"),
];

/// A portal address on which nothing listens.
pub const NOBODY: &str = "http://127.0.0.1:9";

/// The result of a run of the program.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Each line of stdout, as JSON.
    pub fn json(&self) -> Vec<Json> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.out.lines().map(read).collect()
    }
}

pub struct Place {
    dir: TempDir,
}

impl Place {
    /// Settings for this lake and portal, and an empty catalog.
    pub fn new(lake: &Path, portal: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let at = dir.path().to_str().unwrap().to_owned();
        let lake = url::Url::from_file_path(lake).unwrap();
        let mut toml = format!(
            "timezone = \"America/Chicago\"\n\
             [lake]\nurl = \"{lake}\"\n\
             [catalog]\nurl = \"sqlite://{at}/catalog.db\"\ntable = \"data_lake_catalog\"\n\
             [socrata]\nurl = \"{portal}\"\n\
             [ledger]\nurl = \"sqlite://{at}/ledger.db\"\n\
             [archive]\nurl = \"file://{at}/archive\"\n\
             [rails]\nmin_share_of_usual = 0.0\n"
        );
        for (name, id, recipe) in DATASETS {
            let one =
                format!("[[dataset]]\nname = \"{name}\"\nid = \"{id}\"\nrecipe = \"{recipe}\"\n");
            toml += &one;
        }
        fs::write(dir.path().join("sodalake.toml"), toml).unwrap();
        fs::create_dir(dir.path().join("archive")).unwrap();
        let place = Self { dir };
        let create = "create table data_lake_catalog (
               id integer primary key, repository text not null, data_source text not null,
               id_base text not null, id_ext text not null, pointer text,
               collection_date text not null, collection_end text, processing_date text,
               metadata text,
               unique (collection_date, repository, data_source, id_base, id_ext))";
        place.catalog().execute(create, []).unwrap();
        place
    }

    /// The lake and the catalog of a golden vector.
    pub fn of_case(case: &Path, portal: &str) -> Self {
        let place = Self::new(&case.join("lake/atd-datalake-ready"), portal);
        let entries = fs::read(case.join("catalog.json")).unwrap();
        let entries: Vec<Json> = serde_json::from_slice(&entries).unwrap();
        for entry in &entries {
            place.enter(entry);
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn catalog(&self) -> Connection {
        Connection::open(self.path("catalog.db")).unwrap()
    }

    /// Adds an entry to the catalog.
    pub fn enter(&self, entry: &Json) {
        let text = |name: &str| entry[name].as_str();
        let metadata = (!entry["metadata"].is_null()).then(|| entry["metadata"].to_string());
        self.catalog()
            .execute(
                "insert into data_lake_catalog (repository, data_source, id_base, id_ext, pointer,
                   collection_date, collection_end, processing_date, metadata)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    text("repository"),
                    text("data_source"),
                    text("id_base"),
                    text("id_ext"),
                    text("pointer"),
                    text("collection_date"),
                    text("collection_end"),
                    text("processing_date"),
                    metadata,
                ],
            )
            .unwrap();
    }

    /// Changes the settings.
    pub fn reset(&self, from: &str, to: &str) {
        let path = self.path("sodalake.toml");
        let toml = fs::read_to_string(&path).unwrap();
        assert!(toml.contains(from), "{from}");
        fs::write(path, toml.replace(from, to)).unwrap();
    }

    /// The program, without variables of this process's environment that could change what it does.
    pub fn command(&self, args: &[&str]) -> Command {
        let ours = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with("SODALAKE") && name != "RUST_LOG" && name != "NO_COLOR"
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_sodalake"));
        command
            .args(args)
            .env_clear()
            .envs(ours)
            .env("USER", "ada")
            .env("SODALAKE_CONFIG", self.path("sodalake.toml"))
            .env("SODALAKE_LOG_FORMAT", "text")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }
}
