//! A table of settings with one error each, and the complete message about it.

use super::{RIGHT, instead, refusal, with};

/// A section, lines added to it, and the message.
const ADDED: &[(&str, &str, &str)] = &[
    (
        "",
        r#"timezone = "Texas""#,
        r#"timezone (s.toml:1): found "Texas"; expected a time zone of the IANA database such as "America/Chicago""#,
    ),
    (
        "",
        r#"timezone = "america/chicgo""#,
        r#"timezone (s.toml:1): found "america/chicgo"; expected a time zone of the IANA database; did you mean "America/Chicago"?"#,
    ),
    (
        "",
        "timezone = 6",
        r#"timezone (s.toml:1): found 6; expected a time zone of the IANA database such as "America/Chicago""#,
    ),
    (
        "",
        r#"mode = "fix""#,
        r#"mode (s.toml:1): found "fix"; expected "observe" or "repair""#,
    ),
    (
        "",
        "mode = true",
        r#"mode (s.toml:1): found true; expected "observe" or "repair""#,
    ),
    (
        "",
        "page_rows = 10",
        "page_rows (s.toml:1): unknown key; did you mean socrata.page_rows?",
    ),
    (
        "",
        r#""lake.url" = "file:///x""#,
        r#""lake.url" (s.toml:1): unknown key; did you mean lake.url?"#,
    ),
    (
        "",
        "catalgo = {}",
        "catalgo (s.toml:1): unknown key; did you mean [catalog]?",
    ),
    (
        "",
        "rails = 5",
        "rails (s.toml:1): found a value; expected a section [rails]",
    ),
    (
        "lake",
        r#"regoin = "x""#,
        "lake.regoin (s.toml:3): unknown key; did you mean lake.region?",
    ),
    (
        "lake",
        r#"region = "us east""#,
        r#"lake.region (s.toml:3): found "us east"; expected a word of letters, digits and . _ - : in quotes"#,
    ),
    (
        "lake",
        r#"endpoint = "http://s3.example""#,
        r#"lake.endpoint (s.toml:3): found "http://s3.example"; expected https; http is allowed only to this machine"#,
    ),
    (
        "lake",
        r#"max_file_bytes = "1 PB""#,
        r#"lake.max_file_bytes (s.toml:3): found "1 PB"; expected a size from 1 to 1TiB, such as 1073741824, "1GiB" or "500MB""#,
    ),
    (
        "lake",
        "max_file_bytes = -1",
        r#"lake.max_file_bytes (s.toml:3): found -1; expected a size from 1 to 1TiB, such as 1073741824, "1GiB" or "500MB""#,
    ),
    (
        "lake",
        "url2.x = 1",
        "lake.url2 (s.toml:3): unknown key; did you mean lake.url?",
    ),
    (
        "catalog",
        r#"table = "a; drop table b""#,
        r#"catalog.table (s.toml:5): found "a; drop table b"; expected a table name such as "api.data_lake_catalog""#,
    ),
    (
        "catalog",
        r#"repository = """#,
        r#"catalog.repository (s.toml:5): found ""; expected a word of letters, digits and . _ - : in quotes"#,
    ),
    (
        "socrata",
        "page_rows = 0",
        "socrata.page_rows (s.toml:7): found 0; expected a whole number from 1 to 50000",
    ),
    (
        "socrata",
        "page_rows = 50001",
        "socrata.page_rows (s.toml:7): found 50001; expected a whole number from 1 to 50000",
    ),
    (
        "socrata",
        r#"chunk_rows = "many""#,
        r#"socrata.chunk_rows (s.toml:7): found "many"; expected a whole number from 1 to 50000"#,
    ),
    (
        "socrata",
        "chunk_rows = 1.5",
        "socrata.chunk_rows (s.toml:7): found 1.5; expected a whole number from 1 to 50000",
    ),
    (
        "socrata",
        "chunk_rows = 99999999999999999999",
        "socrata.chunk_rows (s.toml:7): found a number too large to read",
    ),
    (
        "socrata",
        "max_in_flight = [4]",
        "socrata.max_in_flight (s.toml:7): found a list; expected a whole number from 1 to 64",
    ),
    (
        "socrata",
        "confirm_within = 7200",
        r#"socrata.confirm_within (s.toml:7): found 7200; expected a duration such as "90s", "10m" or "2h", from 1s to 7days"#,
    ),
    (
        "socrata",
        r#"confirm_within = "2 fortnights""#,
        r#"socrata.confirm_within (s.toml:7): found "2 fortnights"; expected a duration such as "90s", "10m" or "2h", from 1s to 7days"#,
    ),
    (
        "socrata",
        r#"request_timeout = "0s""#,
        r#"socrata.request_timeout (s.toml:7): found "0s"; expected a duration such as "90s", "10m" or "2h", from 1s to 1h"#,
    ),
    (
        "socrata",
        r#"password_file = "/nowhere/pw""#,
        "socrata.password_file (s.toml:7): cannot read /nowhere/pw: No such file or directory (os error 2)",
    ),
    (
        "socrata",
        "password = \"a\"\npassword_file = \"b\"",
        "socrata.password (s.toml:7): given twice; expected either socrata.password or socrata.password_file",
    ),
    (
        "socrata",
        r#"password = "****""#,
        "socrata.password (s.toml:7): found ****; expected the secret itself, a text on one line",
    ),
    (
        "schedule",
        r#"survey = "*/30 * * * *""#,
        r#"schedule.survey (s.toml:2): found "*/30 * * * *"; expected six cron fields, seconds first, such as "0 */30 * * * *" (Invalid pattern: Pattern must have 6 fields when seconds are required and years are disallowed.)"#,
    ),
    (
        "schedule",
        r#"check = "0 0 25 * * *""#,
        r#"schedule.check (s.toml:2): found "0 0 25 * * *"; expected six cron fields, seconds first, such as "0 */30 * * * *" (Component error: Number out of bounds.)"#,
    ),
    (
        "schedule",
        r#"audit = "0 0 0 30 2 *""#,
        r#"schedule.audit (s.toml:2): found "0 0 0 30 2 *"; expected six cron fields, seconds first, such as "0 */30 * * * *" (it never occurs)"#,
    ),
    (
        "schedule",
        r#"repair_hours = "10:30""#,
        r#"schedule.repair_hours (s.toml:2): found "10:30"; expected hours of the day such as "10:30-23:00""#,
    ),
    (
        "schedule",
        r#"repair_hours = "10:30-25:00""#,
        r#"schedule.repair_hours (s.toml:2): found "10:30-25:00"; expected hours of the day such as "10:30-23:00""#,
    ),
    (
        "schedule",
        "settle_days = 30",
        "schedule.settle_days (s.toml:2): found 30; expected less than window_days, 30",
    ),
    (
        "rails",
        "max_purge_share_per_day = 60",
        "rails.max_purge_share_per_day (s.toml:2): found 60; expected a share from 0 to 1",
    ),
    (
        "rails",
        "min_share_of_usual = nan",
        "rails.min_share_of_usual (s.toml:2): found NaN; expected a share from 0 to 1",
    ),
    (
        "rails",
        "max_purge_rows_per_day = -1",
        "rails.max_purge_rows_per_day (s.toml:2): found -1; expected a whole number from 0 to 1000000000",
    ),
    (
        "rails",
        "window_days = 3",
        "rails.window_days (s.toml:2): unknown key; did you mean schedule.window_days?",
    ),
    (
        "republish",
        r#"mode = "sometimes""#,
        r#"republish.mode (s.toml:2): found "sometimes"; expected "native", "command" or "defer""#,
    ),
    (
        "republish",
        r#"mode = "command""#,
        r#"republish.command: not set; republish.mode "command" needs it"#,
    ),
    (
        "republish",
        "mode = \"command\"\ncommand = [\"publish\"]",
        "republish.command (s.toml:3): has no range; expected {from} and {to} among the arguments",
    ),
    (
        "notify",
        r#"webhook = "http://hooks.example""#,
        "notify.webhook (s.toml:2): found ****; expected an https URL, or http to this machine",
    ),
    (
        "http",
        r#"listen = "localhost""#,
        r#"http.listen (s.toml:2): found "localhost"; expected an IP address and port such as "127.0.0.1:9464""#,
    ),
    (
        "dataset",
        r#"keys = "keep""#,
        r#"dataset.camera-counts.keys (s.toml:12): found "keep"; expected "accept" or "migrate""#,
    ),
    (
        "dataset",
        "window = 3",
        "dataset.camera-counts.window (s.toml:12): unknown key; config/sodalake.toml lists all keys",
    ),
    (
        "dataset",
        "min_share_of_usual = 2",
        "dataset.camera-counts.min_share_of_usual (s.toml:12): found 2; expected a share from 0 to 1",
    ),
    (
        "lake",
        "region = \"a\"\nregion = \"b\"",
        "cannot parse settings file s.toml, line 4: duplicate key",
    ),
    (
        "lake",
        "region = ",
        "cannot parse settings file s.toml, line 3: string values must be quoted, expected literal string",
    ),
    (
        "",
        "timezone = \"\\u001b[2J\\u202e\"",
        r#"timezone (s.toml:1): found "\u{1b}[2J\u{202e}"; expected a time zone of the IANA database such as "America/Chicago""#,
    ),
    (
        "rails",
        "max_purge_share_per_day = 1.01",
        "rails.max_purge_share_per_day (s.toml:2): found 1.01; expected a share from 0 to 1",
    ),
    (
        "schedule",
        r#"repair_hours = "9:30-23:00""#,
        r#"schedule.repair_hours (s.toml:2): found "9:30-23:00"; expected hours of the day such as "10:30-23:00""#,
    ),
    (
        "republish",
        "mode = \"command\"\ncommand = [\"publish\", \"{from}\"]",
        "republish.command (s.toml:3): has no range; expected {from} and {to} among the arguments",
    ),
];

/// A text, its replacement, and the message.
const REPLACED: &[(&str, &str, &str)] = &[
    (
        r#"url = "file:///srv/lake""#,
        "# url",
        r#"lake.url: not set; expected a URL such as "s3://atd-datalake-ready""#,
    ),
    (
        "file:///srv/lake",
        "file://srv/lake",
        r#"lake.url (s.toml:3): found "file://srv/lake"; expected a URL such as "s3://atd-datalake-ready", with three slashes before the path"#,
    ),
    (
        "file:///srv/lake",
        "ftp://srv/lake",
        r#"lake.url (s.toml:3): found "ftp://srv/lake"; expected a URL such as "s3://atd-datalake-ready", of s3, s3a, gs, az, azure, abfs, abfss, adl, https, http, file, memory"#,
    ),
    (
        "sqlite:///srv/catalog.db",
        "sqlite://srv/catalog.db",
        r#"catalog.url (s.toml:5): found "sqlite://srv/catalog.db"; expected a URL such as "postgres://lake@db.example/atd01?sslmode=require", with three slashes before the path"#,
    ),
    (
        "https://data.example",
        "http://data.example",
        r#"socrata.url (s.toml:7): found "http://data.example"; expected https; http is allowed only to this machine"#,
    ),
    (
        "https://data.example",
        "http://127.0.0.1.example",
        r#"socrata.url (s.toml:7): found "http://127.0.0.1.example"; expected https; http is allowed only to this machine"#,
    ),
    (
        "gridsmart-agg15",
        "gridsmart",
        r#"dataset.camera-counts.recipe (s.toml:11): found "gridsmart"; expected one of gridsmart-agg15, bluetooth-summary, bluetooth-matched, bluetooth-unmatched, wavetronix"#,
    ),
    (
        "camera-counts",
        "Camera Counts",
        r#"dataset.Camera Counts.name (s.toml:9): found "Camera Counts"; expected 1 to 63 of a-z, 0-9 and '-', starting with a letter"#,
    ),
    (
        "sh59-i6y9",
        "sh59i6y9",
        r#"dataset.camera-counts.id (s.toml:10): found "sh59i6y9"; expected a four-by-four such as "sh59-i6y9""#,
    ),
];

/// A second dataset, and the message.
const SECOND: &[(&str, &str)] = &[
    (
        "name = \"camera-counts\"\nid = \"i626-g7ub\"\nrecipe = \"wavetronix\"",
        r#"dataset.camera-counts.name (s.toml:12): found "camera-counts" twice; expected each name once"#,
    ),
    (
        "name = \"radar\"\nid = \"sh59-i6y9\"\nrecipe = \"wavetronix\"",
        r#"dataset.radar.id (s.toml:12): found "sh59-i6y9", which is also the id of camera-counts; expected each id once"#,
    ),
    (
        "name = \"sh59-i6y9\"\nid = \"i626-g7ub\"\nrecipe = \"wavetronix\"",
        "dataset.sh59-i6y9.name (s.toml:12): name and id are swapped with those of camera-counts; expected a name that is not an id",
    ),
    (
        "name = \"again\"\nid = \"i626-g7ub\"\nrecipe = \"gridsmart-agg15\"",
        "dataset.again.ext (s.toml:12): its files, gs agg15.json, are those of camera-counts; expected one dataset per kind of file, since the catalog has one entry per file",
    ),
];

/// Whole files, and the messages.
fn whole() -> Vec<(String, &'static str)> {
    vec![
        (
            with("", "dataset = \"x\"").replace("[[dataset]]", "[nothing]"),
            "2 problems
  dataset (s.toml:1): found something else; expected a [[dataset]] section for each dataset
  nothing (s.toml:9): unknown key; config/sodalake.toml lists all keys",
        ),
        (
            RIGHT[..RIGHT.find("[[dataset]]").unwrap()].into(),
            "dataset: not set; expected at least one [[dataset]] with name, id and recipe",
        ),
    ]
}

fn all() -> Vec<(String, &'static str)> {
    let added = ADDED
        .iter()
        .map(|(section, lines, told)| (with(section, lines), *told));
    let replaced = REPLACED
        .iter()
        .map(|(old, new, told)| (instead(old, new), *told));
    let second = SECOND
        .iter()
        .map(|(lines, told)| (format!("{RIGHT}[[dataset]]\n{lines}\n"), *told));
    added.chain(replaced).chain(second).chain(whole()).collect()
}

#[test]
fn each_error_names_key_place_found_and_allowed() {
    for (text, told) in all() {
        let refusal = refusal(&text, &[]);
        let refusal = refusal
            .strip_prefix("the settings are not valid: ")
            .unwrap_or(&refusal);
        assert_eq!(refusal, told, "\n{text}");
    }
}

#[test]
fn errors_of_the_environment_name_the_variable() {
    for (name, value, told) in [
        (
            "SODALAKE__SOCRATA__PAGE_ROW",
            "5",
            "socrata.page_row (environment SODALAKE__SOCRATA__PAGE_ROW): unknown key; did you mean socrata.page_rows?",
        ),
        (
            "SODALAKE__SOCRATA__PAGE_ROWS",
            "many",
            r#"socrata.page_rows (environment SODALAKE__SOCRATA__PAGE_ROWS): found "many"; expected a whole number from 1 to 50000"#,
        ),
        (
            "SODALAKE__SOCRATA",
            "5",
            "socrata (environment SODALAKE__SOCRATA): names a section; expected SODALAKE__SOCRATA__KEY",
        ),
        (
            "SODALAKE__",
            "5",
            "SODALAKE__ (environment SODALAKE__): unknown key; config/sodalake.toml lists all keys",
        ),
        (
            "SODALAKE__MODE",
            "REPAIR",
            r#"mode (environment SODALAKE__MODE): found "REPAIR"; expected "observe" or "repair""#,
        ),
        (
            "SODALAKE__DATASET__CAMERA__KEYS",
            "migrate",
            r#"dataset.camera.keys (environment SODALAKE__DATASET__CAMERA__KEYS): no [[dataset]] is named "camera""#,
        ),
        (
            "SODALAKE__DATASET__CAMERA_COUNTS__KEY",
            "migrate",
            "dataset.camera_counts.key (environment SODALAKE__DATASET__CAMERA_COUNTS__KEY): unknown key; did you mean dataset.keys?",
        ),
        (
            "SODALAKE__REPUBLISH__COMMAND",
            "docker run",
            r#"republish.command (environment SODALAKE__REPUBLISH__COMMAND): found "docker run"; expected a list of strings such as ["docker", "run"]"#,
        ),
        (
            "SODALAKE__RAILS__MIN_SHARE_OF_USUAL",
            "80%",
            r#"rails.min_share_of_usual (environment SODALAKE__RAILS__MIN_SHARE_OF_USUAL): found "80%"; expected a share from 0 to 1"#,
        ),
    ] {
        let refusal = refusal(RIGHT, &[(name, value)]);
        let refusal = refusal
            .strip_prefix("the settings are not valid: ")
            .unwrap_or(&refusal);
        assert_eq!(refusal, told, "{name}={value}");
    }
}
