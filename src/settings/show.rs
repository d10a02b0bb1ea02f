//! Prints the effective settings with the origin of each; secrets are redacted.
//!
//! Every field of every type is bound here, so a new field does not compile until it is shown.

use std::fmt::Write as _;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;

use super::values::bytes_text;
use super::{
    ArchiveSettings, CatalogSettings, DaemonSettings, DatasetSettings, HttpSettings, LakeSettings,
    LedgerSettings, Mode, NotifySettings, Origin, Rails, ReadAs, Republish, ScheduleSettings,
    Settings, SocrataSettings,
};
use crate::model::{Dataset, KeyPolicy};

/// One effective key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its full name; keys of a dataset start with `dataset.NAME.`.
    pub key: String,
    /// Its value as TOML; `None` if it is not set. A secret is `"****"`.
    pub value: Option<String>,
    /// Its origin.
    pub origin: String,
}

/// Text as a TOML string.
fn quoted(text: impl AsRef<str>) -> String {
    toml::Value::from(text.as_ref()).to_string()
}

fn length(length: Duration) -> String {
    quoted(humantime::format_duration(length).to_string())
}

fn redacted(secret: Option<&SecretString>) -> Option<String> {
    secret.map(|_| quoted("****"))
}

type Values = Vec<(&'static str, Option<String>)>;

impl Settings {
    /// Every effective key, in the order of `config/sodalake.toml`; of a dataset, only its own keys.
    /// Safe to log and to serve.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let Self {
            mode,
            timezone,
            lake,
            catalog,
            socrata,
            daemon,
            ledger,
            archive,
            republish,
            notify,
            http,
            schedule,
            rails,
            datasets,
            origins: _,
        } = self;
        let mode = match mode {
            Mode::Observe => "observe",
            Mode::Repair => "repair",
        };
        let sections: [(&str, Values); 12] = [
            (
                "",
                vec![
                    ("timezone", Some(quoted(timezone.name()))),
                    ("mode", Some(quoted(mode))),
                ],
            ),
            ("lake.", lake_values(lake)),
            ("catalog.", catalog_values(catalog)),
            ("socrata.", socrata_values(socrata)),
            ("daemon.", daemon_values(*daemon)),
            ("ledger.", ledger_values(ledger)),
            ("archive.", archive_values(archive)),
            ("schedule.", schedule_values(schedule)),
            ("rails.", rails_values(rails)),
            ("republish.", republish_values(republish)),
            ("notify.", notify_values(notify)),
            ("http.", http_values(http)),
        ];
        let general = sections.into_iter().flat_map(|(prefix, values)| {
            values
                .into_iter()
                .map(move |(key, value)| (format!("{prefix}{key}"), value))
        });
        let own = datasets.iter().flat_map(|one| self.dataset_values(one));
        general
            .chain(own)
            .map(|(key, value)| self.line(key, value))
            .collect()
    }

    fn line(&self, key: String, value: Option<String>) -> Line {
        let origin = match &value {
            Some(_) => self.origins.of(&key).to_string(),
            None => "not set".into(),
        };
        Line { key, value, origin }
    }

    fn dataset_values(&self, one: &DatasetSettings) -> Vec<(String, Option<String>)> {
        let DatasetSettings {
            dataset,
            schedule,
            rails,
        } = one;
        let prefix = format!("dataset.{}.", dataset.name);
        let overrides = schedule_values(schedule)
            .into_iter()
            .chain(rails_values(rails))
            .filter(|(key, _)| self.origins.of(&format!("{prefix}{key}")) != Origin::Default);
        dataset_values(dataset)
            .into_iter()
            .chain(overrides)
            .map(|(key, value)| (format!("{prefix}{key}"), value))
            .collect()
    }

    /// The effective settings as a TOML file, with the origin of each line.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = String::new();
        for Line { key, value, origin } in self.lines() {
            let (of, last) = key.rsplit_once('.').unwrap_or(("", &key));
            if of != section {
                let head = if of.starts_with("dataset.") {
                    "\n[[dataset]]".into()
                } else {
                    format!("\n[{of}]")
                };
                let _ = writeln!(text, "{head}");
                section = of.into();
            }
            let line = match value {
                Some(value) => format!("{last} = {value}"),
                None => format!("# {last} ="),
            };
            let _ = writeln!(text, "{line:<46}  # {origin}");
        }
        text
    }
}

fn lake_values(lake: &LakeSettings) -> Values {
    let LakeSettings {
        url,
        endpoint,
        region,
        repository,
        max_file_bytes,
    } = lake;
    vec![
        ("url", Some(quoted(url))),
        ("endpoint", endpoint.as_ref().map(quoted)),
        ("region", region.as_ref().map(quoted)),
        ("repository", Some(quoted(repository))),
        ("max_file_bytes", Some(bytes_text(*max_file_bytes))),
    ]
}

fn catalog_values(catalog: &CatalogSettings) -> Values {
    let CatalogSettings {
        url,
        password,
        ca_file,
        table,
        repository,
    } = catalog;
    let ca_file = ca_file.as_ref().map(|path| path.to_string_lossy());
    vec![
        ("url", Some(quoted(url))),
        ("password", redacted(password.as_ref())),
        ("ca_file", ca_file.map(quoted)),
        ("table", Some(quoted(table))),
        ("repository", Some(quoted(repository))),
    ]
}

fn socrata_values(socrata: &SocrataSettings) -> Values {
    let SocrataSettings {
        url,
        read_as,
        username,
        password,
        app_token,
        page_rows,
        chunk_rows,
        max_in_flight,
        requests_per_second,
        confirm_within,
        request_timeout,
    } = socrata;
    let read_as = match read_as {
        ReadAs::Anonymous => "anonymous",
        ReadAs::Login => "login",
    };
    vec![
        ("url", Some(quoted(url))),
        ("read_as", Some(quoted(read_as))),
        ("username", username.as_ref().map(quoted)),
        ("password", redacted(password.as_ref())),
        ("app_token", redacted(app_token.as_ref())),
        ("page_rows", Some(page_rows.to_string())),
        ("chunk_rows", Some(chunk_rows.to_string())),
        ("max_in_flight", Some(max_in_flight.to_string())),
        ("requests_per_second", Some(requests_per_second.to_string())),
        ("confirm_within", Some(length(*confirm_within))),
        ("request_timeout", Some(length(*request_timeout))),
    ]
}

fn daemon_values(daemon: DaemonSettings) -> Values {
    let DaemonSettings { workers } = daemon;
    vec![("workers", Some(workers.to_string()))]
}

fn ledger_values(ledger: &LedgerSettings) -> Values {
    let LedgerSettings {
        url,
        password,
        ca_file,
    } = ledger;
    let ca_file = ca_file.as_ref().map(|path| path.to_string_lossy());
    vec![
        ("url", Some(quoted(url))),
        ("password", redacted(password.as_ref())),
        ("ca_file", ca_file.map(quoted)),
    ]
}

fn archive_values(archive: &ArchiveSettings) -> Values {
    let ArchiveSettings { url, keep_days } = archive;
    vec![
        ("url", Some(quoted(url))),
        ("keep_days", Some(keep_days.to_string())),
    ]
}

fn schedule_values(schedule: &ScheduleSettings) -> Values {
    let ScheduleSettings {
        survey,
        check,
        audit,
        window_days,
        settle_days,
        repair_hours,
    } = schedule;
    let (from, to) = (repair_hours.from, repair_hours.to);
    let hours = format!("{}-{}", from.format("%H:%M"), to.format("%H:%M"));
    vec![
        ("survey", Some(quoted(survey))),
        ("check", Some(quoted(check))),
        ("audit", Some(quoted(audit))),
        ("window_days", Some(window_days.to_string())),
        ("settle_days", Some(settle_days.to_string())),
        ("repair_hours", Some(quoted(hours))),
    ]
}

fn rails_values(rails: &Rails) -> Values {
    let Rails {
        recheck_after,
        max_purge_rows_per_day,
        max_purge_share_per_day,
        max_orphan_rows_per_day,
        max_purge_rows_per_24h,
        min_share_of_usual,
        max_repairs_per_week,
    } = rails;
    vec![
        ("recheck_after", Some(length(*recheck_after))),
        (
            "max_purge_rows_per_day",
            Some(max_purge_rows_per_day.to_string()),
        ),
        (
            "max_purge_share_per_day",
            Some(share(*max_purge_share_per_day)),
        ),
        (
            "max_orphan_rows_per_day",
            Some(max_orphan_rows_per_day.to_string()),
        ),
        (
            "max_purge_rows_per_24h",
            Some(max_purge_rows_per_24h.to_string()),
        ),
        ("min_share_of_usual", Some(share(*min_share_of_usual))),
        (
            "max_repairs_per_week",
            Some(max_repairs_per_week.to_string()),
        ),
    ]
}

fn share(share: f64) -> String {
    format!("{share:?}")
}

fn republish_values(republish: &Republish) -> Values {
    let (mode, publisher) = match republish {
        Republish::Native => ("native", None),
        Republish::Defer => ("defer", None),
        Republish::Command(publisher) => ("command", Some(publisher)),
    };
    let command = publisher.map(|publisher| toml::Value::from(publisher.command.clone()));
    vec![
        ("mode", Some(quoted(mode))),
        ("command", command.map(|command| command.to_string())),
        (
            "timeout",
            publisher.map(|publisher| length(publisher.timeout)),
        ),
    ]
}

fn notify_values(notify: &NotifySettings) -> Values {
    let NotifySettings { webhook } = notify;
    let webhook = webhook.as_ref().map(|_| quoted("****"));
    vec![("webhook", webhook)]
}

fn http_values(http: &HttpSettings) -> Values {
    let HttpSettings { listen, token } = http;
    vec![
        ("listen", Some(quoted(listen.to_string()))),
        ("token", redacted(token.as_ref())),
    ]
}

fn dataset_values(dataset: &Dataset) -> Values {
    let Dataset {
        name,
        id,
        recipe,
        source,
        ext,
        key_column,
        day_column,
        zone: _,
        keys,
    } = dataset;
    let keys = match keys {
        KeyPolicy::Accept => "accept",
        KeyPolicy::Migrate => "migrate",
    };
    vec![
        ("name", Some(quoted(name.as_str()))),
        ("id", Some(quoted(id.as_str()))),
        ("recipe", Some(quoted(recipe))),
        ("keys", Some(quoted(keys))),
        ("source", Some(quoted(source))),
        ("ext", Some(quoted(ext))),
        ("key_column", Some(quoted(key_column))),
        ("day_column", Some(quoted(day_column))),
    ]
}
