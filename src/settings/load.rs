//! Builds [`Settings`] from the layers: every key is read, and all problems are reported at once.
//!
//! The allowed values of single keys are in `values`, and `[[dataset]]` is read in `datasets`. This
//! file has the limits of numbers and the rules between keys (`command` needs its arguments).

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::datasets::datasets;
use super::layers::Layers;
use super::problem::SettingsError;
use super::reader::{Noted, Read, Reader};
use super::values::{self as v, Raw};
use super::{
    ArchiveSettings, CatalogSettings, DaemonSettings, HttpSettings, LakeSettings, LedgerSettings,
    NotifySettings, Publisher, Rails, ReadAs, Republish, ScheduleSettings, SecretUrl, Settings,
    SocrataSettings,
};
use crate::expected::Facts;
use crate::limits::{SETTINGS_BYTES, read_text};

/// The settings file if none is named.
pub const DEFAULT_PATH: &str = "/etc/sodalake/sodalake.toml";

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

const STORES: &[&str] = &[
    "s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "https", "http", "file", "memory",
];
const DATABASES: &[&str] = &["postgres", "postgresql", "sqlite"];
const WEB: &[&str] = &["https", "http"];

/// The environment variables that are meant for the settings.
///
/// # Errors
/// If one of them is not UTF-8.
pub fn environment() -> Result<Vec<(String, String)>, SettingsError> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with("SODALAKE__").then_some((name, value))
        })
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(SettingsError::NotText { name }),
        })
        .collect()
}

impl Settings {
    /// Reads the settings file (`path`, or [`DEFAULT_PATH`]) and applies `env` to it. `recipes` are
    /// the recipes a dataset may name.
    ///
    /// # Errors
    /// If there is no file, or it cannot be read or is not TOML, or any key is invalid. The error lists
    /// every invalid key.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        recipes: &[&'static Facts],
    ) -> Result<Self, SettingsError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = read_text(file, SETTINGS_BYTES).map_err(|source| {
            let is_default = path.is_none();
            let path = PathBuf::from(file);
            if is_default && source.kind() == std::io::ErrorKind::NotFound {
                SettingsError::Missing { path }
            } else {
                SettingsError::Read { path, source }
            }
        })?;
        Self::read(file, &text, env, recipes)
    }

    /// Reads the settings from `text`, the contents of `file`; the file itself is not opened.
    pub(crate) fn read(
        file: &Path,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
        recipes: &[&'static Facts],
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(Layers::new(file, text, env)?, file);
        let settings = all(&mut reader, recipes);
        let (problems, origins) = reader.finish();
        match settings {
            Ok(settings) if problems.is_empty() => Ok(Self {
                origins,
                ..settings
            }),
            _ => Err(SettingsError::Refused(problems)),
        }
    }
}

fn all(r: &mut Reader, recipes: &[&'static Facts]) -> Read<Settings> {
    let mode = r.required("mode", v::mode);
    let timezone = r.required("timezone", v::zone);
    let lake = lake(r);
    let catalog = catalog(r);
    let socrata = socrata(r);
    let daemon = daemon(r);
    let ledger = ledger(r);
    let archive = archive(r);
    let republish = republish(r);
    let notify = notify(r);
    let http = http(r);
    let schedule = schedule(r, "schedule.");
    let rails = rails(r, "rails.");
    let zone = timezone.unwrap_or(chrono_tz::UTC);
    let datasets = datasets(r, recipes, zone);
    Ok(Settings {
        mode: mode?,
        timezone: timezone?,
        lake: lake?,
        catalog: catalog?,
        socrata: socrata?,
        daemon: daemon?,
        ledger: ledger?,
        archive: archive?,
        republish: republish?,
        notify: notify?,
        http: http?,
        schedule: schedule?,
        rails: rails?,
        datasets: datasets?,
        origins: super::Origins::default(),
    })
}

fn lake(r: &mut Reader) -> Read<LakeSettings> {
    let url = r.required("lake.url", v::url(STORES, "s3://atd-datalake-ready"));
    let endpoint = r.optional("lake.endpoint", v::url(WEB, "https://s3.example:9000"));
    let region = r.optional("lake.region", v::word);
    let repository = r.required("lake.repository", v::word);
    let max_file_bytes = r.required("lake.max_file_bytes", v::bytes);
    Ok(LakeSettings {
        url: url?,
        endpoint: endpoint?,
        region: region?,
        repository: repository?,
        max_file_bytes: max_file_bytes?,
    })
}

fn catalog(r: &mut Reader) -> Read<CatalogSettings> {
    let database = database(r, "catalog");
    let ca_file = r.path("catalog.ca_file");
    let table = r.required("catalog.table", v::table);
    let repository = r.required("catalog.repository", v::word);
    let (url, password) = database?;
    Ok(CatalogSettings {
        url,
        password,
        ca_file: ca_file?,
        table: table?,
        repository: repository?,
    })
}

fn ledger(r: &mut Reader) -> Read<LedgerSettings> {
    let database = database(r, "ledger");
    let ca_file = r.path("ledger.ca_file");
    let (url, password) = database?;
    Ok(LedgerSettings {
        url,
        password,
        ca_file: ca_file?,
    })
}

/// The URL of a database without its password, and the password, from the URL or its own key.
fn database(r: &mut Reader, section: &str) -> Read<(Url, Option<SecretString>)> {
    let (url_key, password_key) = (format!("{section}.url"), format!("{section}.password"));
    let example = "postgres://lake@db.example/atd01?sslmode=require";
    let url = r.required(&url_key, v::url(DATABASES, example));
    let password = r.secret(&password_key);
    let (url, inside) = without_password(url?);
    let password = password?;
    if inside.is_some() && password.is_some() {
        let what =
            format!("contains a password, but {section}.password is set too; expected only one");
        r.refuse(&url_key, what);
        return Err(Noted);
    }
    if inside.is_some()
        && let Some(origin) = r.origin(&url_key)
    {
        r.record_origin(&password_key, origin);
    }
    Ok((url, password.or(inside)))
}

fn without_password(mut url: Url) -> (Url, Option<SecretString>) {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let in_place = url.password().map(decoded);
    // Cannot fail: only a URL with a host has a password.
    let _ = url.set_password(None);
    let query = url.query().unwrap_or_default().to_owned();
    let mut in_query = None;
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| match pair.strip_prefix("password=") {
            Some(text) => {
                in_query = Some(decoded(text));
                false
            }
            None => !pair.is_empty(),
        })
        .collect();
    let kept = kept.join("&");
    url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
    (url, in_place.or(in_query).map(SecretString::from))
}

fn socrata(r: &mut Reader) -> Read<SocrataSettings> {
    let url = r.required("socrata.url", v::url(WEB, "https://data.austintexas.gov"));
    let read_as = r.required("socrata.read_as", v::read_as);
    let username = r.secret("socrata.username");
    let password = r.secret("socrata.password");
    let app_token = r.secret("socrata.app_token");
    let page_rows = r.required("socrata.page_rows", v::whole(1, 50_000));
    let chunk_rows = r.required("socrata.chunk_rows", v::whole(1, 50_000));
    let max_in_flight = r.required("socrata.max_in_flight", v::whole(1, 64));
    let per_second = r.required("socrata.requests_per_second", v::whole(1, 1_000));
    let confirm = r.required("socrata.confirm_within", v::duration(SECOND, WEEK));
    let timeout = r.required("socrata.request_timeout", v::duration(SECOND, HOUR));
    let username = username?.map(|name| secrecy::ExposeSecret::expose_secret(&name).to_owned());
    let (read_as, password) = (read_as?, password?);
    let is_named = username.as_ref().is_some_and(|name| !name.is_empty());
    let has_login = is_named && password.is_some();
    if read_as == ReadAs::Login && !has_login {
        let what = "found \"login\"; it needs socrata.username and socrata.password";
        r.refuse("socrata.read_as", what);
        return Err(Noted);
    }
    Ok(SocrataSettings {
        url: url?,
        read_as,
        username,
        password,
        app_token: app_token?,
        page_rows: page_rows?,
        chunk_rows: chunk_rows?,
        max_in_flight: max_in_flight?,
        requests_per_second: per_second?,
        confirm_within: confirm?,
        request_timeout: timeout?,
    })
}

fn daemon(r: &mut Reader) -> Read<DaemonSettings> {
    let workers = r.required("daemon.workers", v::whole(1, 64));
    Ok(DaemonSettings { workers: workers? })
}

fn archive(r: &mut Reader) -> Read<ArchiveSettings> {
    let example = "file:///var/lib/sodalake/archive";
    let url = r.required("archive.url", v::url(STORES, example));
    let keep_days = r.required("archive.keep_days", v::whole(1, 36_500));
    Ok(ArchiveSettings {
        url: url?,
        keep_days: keep_days?,
    })
}

fn republish(r: &mut Reader) -> Read<Republish> {
    let command = r.optional("republish.command", v::list);
    let timeout = r.required("republish.timeout", v::duration(SECOND, WEEK));
    let mode = r.required("republish.mode", |raw: &Raw| {
        match v::line(raw).as_deref() {
            Ok(mode @ ("native" | "command" | "defer")) => Ok(mode.to_owned()),
            _ => Err("\"native\", \"command\" or \"defer\"".into()),
        }
    })?;
    let (command, timeout) = (command?, timeout?);
    match (mode.as_str(), command) {
        ("native", _) => Ok(Republish::Native),
        ("defer", _) => Ok(Republish::Defer),
        (_, None) => {
            r.refuse(
                "republish.command",
                "not set; republish.mode \"command\" needs it",
            );
            Err(Noted)
        }
        (_, Some(command)) => {
            let has = |mark: &str| command.iter().any(|part| part.contains(mark));
            if has("{from}") && has("{to}") {
                return Ok(Republish::Command(Publisher { command, timeout }));
            }
            let what = "has no range; expected {from} and {to} among the arguments";
            r.refuse("republish.command", what);
            Err(Noted)
        }
    }
}

fn notify(r: &mut Reader) -> Read<NotifySettings> {
    let Some(text) = r.secret("notify.webhook")? else {
        return Ok(NotifySettings { webhook: None });
    };
    let raw = Raw::Text(secrecy::ExposeSecret::expose_secret(&text).to_owned());
    match v::hook(&raw) {
        Ok(url) => Ok(NotifySettings {
            webhook: Some(SecretUrl::new(url)),
        }),
        Err(want) => {
            let at_file = r.origin("notify.webhook").is_none();
            let key = if at_file {
                "notify.webhook_file"
            } else {
                "notify.webhook"
            };
            r.refuse(key, format!("found ****; expected {want}"));
            Err(Noted)
        }
    }
}

fn http(r: &mut Reader) -> Read<HttpSettings> {
    let listen = r.required(
        "http.listen",
        v::parsed("an IP address and port such as \"127.0.0.1:9464\""),
    );
    let token = r.secret("http.token");
    Ok(HttpSettings {
        listen: listen?,
        token: token?,
    })
}

/// The key in a dataset's own section if it is set there, otherwise in the general one.
fn place(r: &Reader, own: &str, section: &str, key: &str) -> String {
    let mine = format!("{own}{key}");
    if r.origin(&mine).is_some() {
        mine
    } else {
        format!("{section}.{key}")
    }
}

/// `[schedule]`, overridden by keys of the section `own`.
pub(super) fn schedule(r: &mut Reader, own: &str) -> Read<ScheduleSettings> {
    let at = |r: &Reader, key| place(r, own, "schedule", key);
    let survey = r.required(&at(r, "survey"), v::cron);
    let check = r.required(&at(r, "check"), v::cron);
    let audit = r.required(&at(r, "audit"), v::cron);
    let window_days = r.required(&at(r, "window_days"), v::whole(1, 36_500));
    let settle_at = at(r, "settle_days");
    let settle_days = r.required(&settle_at, v::whole(0, 365));
    let repair_hours = r.required(&at(r, "repair_hours"), v::hours);
    let (window_days, settle_days) = (window_days?, settle_days?);
    if settle_days >= window_days {
        let what = format!("found {settle_days}; expected less than window_days, {window_days}");
        r.refuse(&settle_at, what);
        return Err(Noted);
    }
    Ok(ScheduleSettings {
        survey: survey?,
        check: check?,
        audit: audit?,
        window_days,
        settle_days,
        repair_hours: repair_hours?,
    })
}

/// `[rails]`, overridden by keys of the section `own`.
pub(super) fn rails(r: &mut Reader, own: &str) -> Read<Rails> {
    const ROWS: i64 = 1_000_000_000;
    let at = |r: &Reader, key| place(r, own, "rails", key);
    let rows = || v::whole(0, ROWS.unsigned_abs());
    let recheck_after = r.required(&at(r, "recheck_after"), v::duration(Duration::ZERO, WEEK));
    let per_day = r.required(&at(r, "max_purge_rows_per_day"), rows());
    let share = r.required(&at(r, "max_purge_share_per_day"), v::share);
    let orphans = r.required(&at(r, "max_orphan_rows_per_day"), rows());
    let per_24h = r.required(&at(r, "max_purge_rows_per_24h"), rows());
    let files = r.required(&at(r, "min_share_of_usual"), v::share);
    let repairs = r.required(&at(r, "max_repairs_per_week"), v::whole(1, 1_000));
    Ok(Rails {
        recheck_after: recheck_after?,
        max_purge_rows_per_day: per_day?,
        max_purge_share_per_day: share?,
        max_orphan_rows_per_day: orphans?,
        max_purge_rows_per_24h: per_24h?,
        min_share_of_usual: files?,
        max_repairs_per_week: repairs?,
    })
}
