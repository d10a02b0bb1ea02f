//! Settings: the examples load, every key is documented, and every error names the key in full, its
//! place, what was found and what is allowed.

mod broken;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sodalake::expected::recipes;
use sodalake::model::KeyPolicy;
use sodalake::settings::{Mode, Publisher, Republish, Settings, SettingsError};

fn load(path: &Path, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let recipes: Vec<_> = recipes().iter().map(|recipe| recipe.facts()).collect();
    Settings::load(Some(path), env, &recipes)
}

/// A valid file except for its zone, which [`zoned`] adds. Every test breaks or adds something.
const RIGHT: &str = r#"
[lake]
url = "file:///srv/lake"
[catalog]
url = "sqlite:///srv/catalog.db"
[socrata]
url = "https://data.example"
[[dataset]]
name = "camera-counts"
id = "sh59-i6y9"
recipe = "gridsmart-agg15"
"#;

/// [`RIGHT`] with more lines in one of its sections, or with a further section.
fn with(section: &str, lines: &str) -> String {
    match section {
        "" => format!("{lines}\n{RIGHT}"),
        "dataset" => format!("{RIGHT}{lines}\n"),
        _ if RIGHT.contains(&format!("[{section}]")) => RIGHT.replace(
            &format!("[{section}]\n"),
            &format!("[{section}]\n{lines}\n"),
        ),
        _ => format!("[{section}]\n{lines}\n{RIGHT}"),
    }
}

/// [`RIGHT`] with one text replaced.
fn instead(old: &str, new: &str) -> String {
    assert!(RIGHT.contains(old), "{old}");
    RIGHT.replace(old, new)
}

struct Written {
    folder: tempfile::TempDir,
    file: PathBuf,
}

fn write(text: &str) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    std::fs::write(&file, text).unwrap();
    Written { folder, file }
}

/// The environment, with a zone unless the file or the environment has one.
fn zoned<'a>(text: &str, env: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    const ZONE: &str = "SODALAKE__TIMEZONE";
    let mut env = env.to_vec();
    if !text.contains("timezone") && !env.iter().any(|(name, _)| *name == ZONE) {
        env.push((ZONE, "America/Chicago"));
    }
    env
}

fn read(text: &str, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    load(&write(text).file, &zoned(text, env))
}

/// The error for `text`, without the folder's path.
fn refusal(text: &str, env: &[(&str, &str)]) -> String {
    let written = write(text);
    let error = load(&written.file, &zoned(text, env)).expect_err(text);
    let folder = format!("{}/", written.folder.path().display());
    error.to_string().replace(&folder, "")
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}

#[test]
fn every_example_loads() {
    assert!(examples().len() >= 2);
    for file in examples() {
        load(&file, &[]).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// The keys that are in `config/sodalake.toml`, commented out or not.
fn written_keys() -> BTreeSet<String> {
    let text = std::fs::read_to_string(example("sodalake.toml")).unwrap();
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = format!("{}.", line.trim_matches(['[', ']']));
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some((key, _)) = line.split_once(" = ")
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            keys.insert(format!("{section}{key}"));
        }
    }
    keys
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let settings = load(&example("sodalake.toml"), &[]).unwrap();
    let secret = |key: &str| {
        ["password", "app_token", "token", "webhook", "username"]
            .contains(&key.rsplit('.').next().unwrap())
    };
    let mut shown = BTreeSet::new();
    for line in settings.lines() {
        let key = line.key.replace("dataset.camera-counts.", "dataset.");
        if key.matches('.').count() > 1 {
            continue;
        }
        if secret(&key) && !(key.starts_with("catalog.user") || key.starts_with("ledger.user")) {
            shown.insert(format!("{key}_file"));
        }
        shown.insert(key);
    }
    // The rails and schedule of a single dataset: two keys are there as examples.
    shown.insert("dataset.settle_days".into());
    shown.insert("dataset.max_purge_rows_per_day".into());
    assert_eq!(written_keys(), shown);
}

#[test]
fn the_full_example_contains_the_defaults() {
    let full = load(&example("sodalake.toml"), &[]).unwrap().lines();
    let bare = read(RIGHT, &[]).unwrap().lines();
    let own = ["lake.url", "catalog.url", "socrata.url"];
    for line in bare {
        if !line.key.starts_with("dataset.") && !own.contains(&&*line.key) {
            let other = full.iter().find(|other| other.key == line.key).unwrap();
            assert_eq!(other.value, line.value, "{}", line.key);
        }
    }
}

#[test]
fn the_defaults_are_as_documented() {
    let settings = read(RIGHT, &[]).unwrap();
    let defaults: Vec<String> = settings
        .lines()
        .into_iter()
        .filter(|line| line.origin == "default")
        .map(|line| format!("{} = {}", line.key, line.value.unwrap()))
        .collect();
    insta::assert_snapshot!(defaults.join("\n"), @r#"
    mode = "observe"
    lake.repository = "atd-datalake-ready"
    lake.max_file_bytes = "1GiB"
    catalog.table = "api.data_lake_catalog"
    catalog.repository = "socrata"
    socrata.read_as = "anonymous"
    socrata.page_rows = 50000
    socrata.chunk_rows = 10000
    socrata.max_in_flight = 4
    socrata.requests_per_second = 20
    socrata.confirm_within = "2h"
    socrata.request_timeout = "5m"
    daemon.workers = 4
    ledger.url = "sqlite:///var/lib/sodalake/ledger.db"
    archive.url = "file:///var/lib/sodalake/archive"
    archive.keep_days = 400
    schedule.survey = "0 */30 * * * *"
    schedule.check = "0 0 10 * * *"
    schedule.audit = "0 0 3 * * SUN"
    schedule.window_days = 30
    schedule.settle_days = 2
    schedule.repair_hours = "10:30-23:00"
    rails.recheck_after = "10m"
    rails.max_purge_rows_per_day = 250000
    rails.max_purge_share_per_day = 0.6
    rails.max_orphan_rows_per_day = 500
    rails.max_purge_rows_per_24h = 1000000
    rails.min_share_of_usual = 0.8
    rails.max_repairs_per_week = 3
    republish.mode = "native"
    http.listen = "127.0.0.1:9464"
    dataset.camera-counts.keys = "accept"
    "#);
}

/// A table in another zone than the city's would be split at the wrong midnights, so no zone is
/// assumed.
#[test]
fn a_missing_zone_is_refused_with_an_example() {
    let written = write(RIGHT);
    let error = load(&written.file, &[]).expect_err("there is no zone");
    let text = error.to_string();
    assert!(text.contains("timezone: not set"), "{text}");
    assert!(text.contains("such as \"America/Chicago\""), "{text}");
}

#[test]
fn workers_and_requests_have_separate_limits() {
    let settings = read(&with("daemon", "workers = 7"), &[]).unwrap();
    assert_eq!(
        (settings.daemon.workers, settings.socrata.max_in_flight),
        (7, 4)
    );
    let settings = read(&with("socrata", "max_in_flight = 9"), &[]).unwrap();
    assert_eq!(
        (settings.daemon.workers, settings.socrata.max_in_flight),
        (4, 9)
    );
}

/// The former names of settings, which are refused.
#[test]
fn a_setting_has_one_name() {
    for old in ["max_repairs_per_day = 3", "min_files_share = 0.8"] {
        let text = refusal(&with("rails", old), &[]);
        assert!(text.contains("unknown key"), "{text}");
    }
}

#[test]
fn shown_settings_load_again_unchanged() {
    for file in examples() {
        let first = load(&file, &[]).unwrap();
        let second = read(&first.to_toml(), &[]).unwrap();
        let values = |settings: &Settings| -> Vec<_> {
            settings
                .lines()
                .into_iter()
                .map(|line| (line.key, line.value))
                .collect()
        };
        assert_eq!(values(&first), values(&second));
    }
}

#[test]
fn the_recipe_provides_what_the_dataset_omits() {
    let settings = read(
        &with("dataset", "day_column = \"read_on\"\nkeys = \"migrate\""),
        &[],
    )
    .unwrap();
    let dataset = &settings.datasets[0].dataset;
    assert_eq!((&*dataset.source, &*dataset.ext), ("gs", "agg15.json"));
    assert_eq!(
        (&*dataset.key_column, &*dataset.day_column),
        ("record_id", "read_on")
    );
    assert_eq!(dataset.keys, KeyPolicy::Migrate);
    let origin = |key: &str| {
        settings
            .origins
            .of(&format!("dataset.camera-counts.{key}"))
            .to_string()
    };
    assert_eq!(origin("ext"), "recipe gridsmart-agg15");
    assert!(
        origin("day_column").ends_with("s.toml:12"),
        "{}",
        origin("day_column")
    );
    assert_eq!(origin("settle_days"), "default");
}

#[test]
fn a_datasets_rails_and_schedule_apply_to_it_only() {
    let text = with("rails", "max_repairs_per_week = 5\nmin_share_of_usual = 1")
        + "max_repairs_per_week = 2\nrepair_hours = \"22:00-06:00\"\nsettle_days = 7\n"
        + "[[dataset]]\nname = \"radar\"\nid = \"i626-g7ub\"\nrecipe = \"wavetronix\"\n";
    let settings = read(&text, &[]).unwrap();
    let [camera, radar] = &settings.datasets[..] else {
        panic!("two datasets");
    };
    assert_eq!(camera.rails.max_repairs_per_week, 2);
    assert_eq!(radar.rails.max_repairs_per_week, 5);
    assert_eq!(
        (camera.schedule.settle_days, radar.schedule.settle_days),
        (7, 2)
    );
    assert!((camera.rails.min_share_of_usual - 1.0).abs() < f64::EPSILON);
    assert!(
        settings
            .to_toml()
            .contains("repair_hours = \"22:00-06:00\"")
    );
}

#[test]
fn the_environment_takes_precedence_over_the_file() {
    let env = [
        ("SODALAKE__MODE", "repair"),
        ("SODALAKE__SOCRATA__PAGE_ROWS", "1000"),
        ("SODALAKE__RAILS__MAX_PURGE_SHARE_PER_DAY", "0.25"),
        ("SODALAKE__LAKE__REGION", ""),
        ("SODALAKE__REPUBLISH__MODE", "command"),
        (
            "SODALAKE__REPUBLISH__COMMAND",
            "[\"publish\", \"{from}\", \"{to}\"]",
        ),
        ("SODALAKE__DATASET__CAMERA_COUNTS__KEYS", "migrate"),
        ("SODALAKE__DATASET__CAMERA_COUNTS__WINDOW_DAYS", "90"),
        ("SODALAKE_CONFIG", "ignored: no such section"),
        ("PATH", "/bin"),
    ];
    let settings = read(&with("socrata", "page_rows = 2000"), &env).unwrap();
    assert_eq!(settings.mode, Mode::Repair);
    assert_eq!(settings.socrata.page_rows, 1000);
    assert_eq!(settings.lake.region, None);
    assert!((settings.rails.max_purge_share_per_day - 0.25).abs() < f64::EPSILON);
    let command = ["publish", "{from}", "{to}"].map(String::from);
    let publisher = Publisher {
        command: command.into(),
        timeout: Duration::from_hours(2),
    };
    assert_eq!(settings.republish, Republish::Command(publisher));
    assert_eq!(settings.datasets[0].dataset.keys, KeyPolicy::Migrate);
    assert_eq!(settings.datasets[0].schedule.window_days, 90);
    assert_eq!(settings.schedule.window_days, 30);
    assert!(
        settings
            .to_toml()
            .contains("# environment SODALAKE__SOCRATA__PAGE_ROWS")
    );
}

#[test]
fn secrets_can_come_from_files_next_to_the_settings() {
    let written = write(&with(
        "socrata",
        "password_file = \"pw\"\nusername_file = \"user\"",
    ));
    std::fs::write(written.folder.path().join("pw"), "hunter2\r\n").unwrap();
    std::fs::write(written.folder.path().join("user"), "clerk\n").unwrap();
    let settings = load(&written.file, &zoned("", &[])).unwrap();
    assert_eq!(
        settings.socrata.password.as_ref().unwrap().expose_secret(),
        "hunter2"
    );
    assert_eq!(settings.socrata.username.as_deref(), Some("clerk"));
    let pw = written.folder.path().join("pw");
    let origin = settings.origins.of("socrata.password").to_string();
    assert_eq!(origin, format!("secret file {}", pw.display()));

    let env = [("SODALAKE__SOCRATA__PASSWORD", "later")];
    let settings = load(&written.file, &zoned("", &env)).unwrap();
    assert_eq!(settings.socrata.password.unwrap().expose_secret(), "later");
}

#[test]
fn a_databases_password_is_removed_from_its_url() {
    for (url, left) in [
        (
            "postgres://lake:p%40ss@db.example/atd01?sslmode=require",
            "postgres://lake@db.example/atd01?sslmode=require",
        ),
        (
            "postgres://lake@db.example/atd01?password=p%40ss&sslmode=require",
            "postgres://lake@db.example/atd01?sslmode=require",
        ),
        (
            "postgresql://lake@db.example/atd01?password=p%40ss",
            "postgresql://lake@db.example/atd01",
        ),
    ] {
        let settings = read(&instead("sqlite:///srv/catalog.db", url), &[]).unwrap();
        assert_eq!(settings.catalog.url.as_str(), left);
        assert_eq!(settings.catalog.password.unwrap().expose_secret(), "p@ss");
    }
}

#[test]
fn secrets_are_in_no_debug_output_or_shown_settings() {
    let text = instead(
        "sqlite:///srv/catalog.db",
        "postgres://lake:s3cret1@db.example/atd01",
    )
    .replace(
        "[socrata]\n",
        "[socrata]\npassword = \"s3cret2\"\napp_token = \"s3cret3\"\n",
    ) + "[ledger]\nurl = \"postgres://db.example/l?password=s3cret4\"\n"
        + "[notify]\nwebhook = \"https://hooks.example/s3cret5?sig=s3cret6\"\n[http]\ntoken = \"s3cret7\"\n";
    let settings = read(&text, &[]).unwrap();
    for shown in [
        settings.to_toml(),
        format!("{settings:?}"),
        format!("{:?}", settings.lines()),
    ] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert_eq!(settings.to_toml().matches("\"****\"").count(), 6);
    assert!(
        settings
            .notify
            .webhook
            .unwrap()
            .expose()
            .as_str()
            .contains("s3cret5")
    );
}

#[test]
fn secrets_are_in_no_error() {
    for (text, env) in [
        (with("socrata", "pasword = \"s3cret\""), None),
        (with("socrata", "password = [\"s3cret\"]"), None),
        (with("socrata", "password = \"s3cret\\n\""), None),
        (with("socrata", "password = \"s3cret"), None),
        (with("socrata", "password = s3cret"), None),
        (
            with("notify", "webhook = \"http://hooks.example/s3cret\""),
            None,
        ),
        (with("http", "token = \"s3cret\"\ntoken_file = \"x\""), None),
        (
            instead("https://data.example", "https://me:s3cret@data.example"),
            None,
        ),
        (
            instead("https://data.example", "me:s3cret@data.example"),
            None,
        ),
        (
            instead("file:///srv/lake", "https://lake.example/?sig=s3cret"),
            None,
        ),
        (
            instead("sqlite:///srv", "postgres://lake:s3/cret@db:x"),
            None,
        ),
        (
            instead("sqlite:///srv/catalog.db", "host=db password=s3cret"),
            None,
        ),
        (
            instead("sqlite:///srv/catalog.db", "mysql://lake:s3cret@db/x"),
            None,
        ),
        (RIGHT.into(), Some(("SODALAKE__SOCRATA__PASWORD", "s3cret"))),
        (
            RIGHT.into(),
            Some(("SODALAKE__SOCRATA__PASSWORD", "s3cret\u{7}")),
        ),
    ] {
        let error = read(&text, env.as_slice()).expect_err(&text);
        let error = anyhow::Error::from(error);
        let chain = format!("{error:#} {error:?}");
        assert!(
            !chain.contains("s3cret") && !chain.contains("cret@"),
            "{chain}"
        );
    }
}

#[test]
fn a_missing_settings_file_names_the_searched_paths_and_how_to_start() {
    let error = Settings::load(None, [], &[]).unwrap_err().to_string();
    for part in [
        "/etc/sodalake/sodalake.toml",
        "SODALAKE_CONFIG",
        "sodalake demo",
        "config/sodalake.toml",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = load(Path::new("/nowhere/s.toml"), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read settings file /nowhere/s.toml"
    );
}

#[test]
fn all_errors_are_reported_together_and_each_once() {
    let text = instead("file:///srv/lake", "srv/lake").replace("sh59-i6y9", "SH59")
        + "settle_days = 1\n[rails]\nmin_share_of_usual = 2\n[[dataset]]\nname = \"a\"\nid = \"i626-g7ub\"\nrecipe = \"wavetronix\"\n";
    insta::assert_snapshot!(refusal(&text, &[("SODALAKE__MOOD", "x")]), @r#"
    the settings are not valid: 4 problems
      mood (environment SODALAKE__MOOD): unknown key; did you mean mode?
      lake.url (s.toml:3): found "srv/lake"; expected a URL such as "s3://atd-datalake-ready"
      rails.min_share_of_usual (s.toml:14): found 2; expected a share from 0 to 1
      dataset.camera-counts.id (s.toml:10): found "SH59"; expected a four-by-four such as "sh59-i6y9"
    "#);
}
