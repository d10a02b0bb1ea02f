//! Settings: `sodalake.toml` and the environment, parsed once into types that are always valid, so
//! that no later code checks again.
//!
//! Layers, later ones win: the defaults, the file, `SODALAKE__SECTION__KEY` from the environment.
//! Secrets may also be given as `*_file` with a path. This file has only the types; their comments
//! describe every key. `keys` lists the keys and their defaults, `layers` merges file and
//! environment, `reader` and `values` read single keys, `load` and `datasets` assemble everything,
//! `show` prints the settings without secrets.

mod datasets;
mod fingerprint;
mod keys;
mod layers;
mod load;
mod problem;
mod reader;
mod show;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveTime;
use chrono_tz::Tz;
use secrecy::SecretString;
use url::Url;

use crate::model::Dataset;

pub use fingerprint::{DERIVATION, fingerprint};
pub use load::{DEFAULT_PATH, environment};
pub use problem::{Origin, Origins, Problem, SettingsError};
pub use show::Line;

/// Whether findings are only reported, or also repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Check and report. The default: a fresh install changes nothing.
    Observe,
    /// Check, and repair within the rails.
    Repair,
}

/// All settings, validated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether findings are only reported, or also repaired.
    pub mode: Mode,
    /// Time zone of days, schedules and printed times.
    pub timezone: Tz,
    /// The lake.
    pub lake: LakeSettings,
    /// The catalog.
    pub catalog: CatalogSettings,
    /// The portal.
    pub socrata: SocrataSettings,
    /// How much work is done in parallel.
    pub daemon: DaemonSettings,
    /// Our own record of states and passes.
    pub ledger: LedgerSettings,
    /// Where purged rows are archived.
    pub archive: ArchiveSettings,
    /// How missing rows are published again.
    pub republish: Republish,
    /// Where changes of state are reported.
    pub notify: NotifySettings,
    /// The daemon's HTTP server.
    pub http: HttpSettings,
    /// `[schedule]` in general; each dataset has the schedule in force for it.
    pub schedule: ScheduleSettings,
    /// `[rails]` in general; each dataset has the rails in force for it.
    pub rails: Rails,
    /// The datasets, each with its own schedule and rails.
    pub datasets: Vec<DatasetSettings>,
    /// Where each key came from.
    pub origins: Origins,
}

/// A URL that is itself a secret, such as the webhook of a chat room. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Wraps a URL so that it is not printed.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The URL itself, to send a request to it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretUrl(****)")
    }
}

/// `[notify]`.
#[derive(Clone, Debug)]
pub struct NotifySettings {
    /// Receives a message for every change of state and every recovery.
    pub webhook: Option<SecretUrl>,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Address on which pages, metrics and API are served.
    pub listen: SocketAddr,
    /// Bearer token for the writing requests of the API; without one, the API is read-only.
    pub token: Option<SecretString>,
}

/// One `[[dataset]]`: what it is, and the schedule and rails in force for it.
#[derive(Clone, Debug)]
pub struct DatasetSettings {
    /// The dataset itself.
    pub dataset: Arc<Dataset>,
    /// `[schedule]` with this dataset's own keys applied.
    pub schedule: ScheduleSettings,
    /// `[rails]` with this dataset's own keys applied.
    pub rails: Rails,
}

/// `[lake]`.
#[derive(Clone, Debug)]
pub struct LakeSettings {
    /// Any object store URL; `file:///srv/lake` for a folder.
    pub url: Url,
    /// Address of an S3-compatible store other than Amazon's.
    pub endpoint: Option<Url>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Name of the ready layer in the catalog.
    pub repository: String,
    /// Maximum size of a file, in bytes. A larger one leaves its day unproven.
    pub max_file_bytes: u64,
}

/// `[catalog]`.
#[derive(Clone, Debug)]
pub struct CatalogSettings {
    /// `postgres://user@host/database?sslmode=require` or `sqlite:///path`, without a password.
    pub url: Url,
    /// Password, from the URL or from its own key.
    pub password: Option<SecretString>,
    /// PEM file with the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Table, optionally with its schema.
    pub table: String,
    /// Repository name under which published files are entered in the catalog.
    pub repository: String,
}

/// How tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// Without a login; with the app token, if there is one.
    Anonymous,
    /// With `socrata.username` and `socrata.password`, for private tables.
    Login,
}

/// `[socrata]`.
#[derive(Clone, Debug)]
pub struct SocrataSettings {
    /// The portal.
    pub url: Url,
    /// How tables are read.
    pub read_as: ReadAs,
    /// Username or API key id; needed to write, and to read with [`ReadAs::Login`].
    pub username: Option<String>,
    /// Password or API key secret; needed whenever the username is.
    pub password: Option<SecretString>,
    /// App token, which raises the portal's request limits.
    pub app_token: Option<SecretString>,
    /// Rows per page when reading.
    pub page_rows: u32,
    /// Rows per upload.
    pub chunk_rows: u32,
    /// Maximum concurrent requests to the portal, over all datasets. For the number of dataset-days
    /// processed at once, see [`DaemonSettings::workers`].
    pub max_in_flight: u32,
    /// Maximum requests started per second, over all datasets.
    pub requests_per_second: u32,
    /// How long replicas may take to show a write before it counts as unconfirmed.
    pub confirm_within: Duration,
    /// Timeout of a single request.
    pub request_timeout: Duration,
}

/// `[daemon]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// Dataset-days processed in parallel, by the daemon and by commands that check many.
    pub workers: u32,
}

/// `[ledger]`.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// `sqlite:///path`, or `postgres://...` to run several replicas.
    pub url: Url,
    /// Password, from the URL or from its own key.
    pub password: Option<SecretString>,
    /// PEM file with the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[archive]`.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    /// Any object store URL.
    pub url: Url,
    /// How many days archives are kept.
    pub keep_days: u32,
}

/// A daily period of local wall time, such as `10:30-23:00`. A period that ends at or before its
/// start spans midnight; equal ends mean the whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Start, inclusive.
    pub from: NaiveTime,
    /// End, exclusive.
    pub to: NaiveTime,
}

impl Hours {
    /// Whether the wall time is within the period.
    #[must_use]
    pub fn contains(self, wall: NaiveTime) -> bool {
        if self.from < self.to {
            self.from <= wall && wall < self.to
        } else {
            self.from <= wall || wall < self.to
        }
    }
}

/// `[schedule]`. The cron keys apply to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// When to survey: six cron fields, seconds first, in `timezone`.
    pub survey: String,
    /// When to check, in the same format.
    pub check: String,
    /// When to audit days before the window, in the same format.
    pub audit: String,
    /// How many days back survey and check go.
    pub window_days: u32,
    /// Days younger than this are not judged: they are still being written.
    pub settle_days: u32,
    /// Outside these hours, nothing is purged or published.
    pub repair_hours: Hours,
}

/// `[rails]`: the limits of what is done without approval.
#[derive(Clone, Debug, PartialEq)]
pub struct Rails {
    /// How long a difference must persist before rows are purged for it.
    pub recheck_after: Duration,
    /// Maximum rows that one plan may purge from one dataset-day.
    pub max_purge_rows_per_day: u64,
    /// Maximum share of a dataset-day's published rows that one plan may purge: 0 to 1.
    pub max_purge_share_per_day: f64,
    /// Maximum orphans that one plan may purge from one dataset-day.
    pub max_orphan_rows_per_day: u64,
    /// Maximum rows purged from one dataset in any 24 hours.
    pub max_purge_rows_per_24h: u64,
    /// Minimum share of the dataset's usual number of files and of rows that a day must have: 0 to 1.
    pub min_share_of_usual: f64,
    /// Maximum repairs of one dataset-day in any 7 days, before its breaker opens.
    pub max_repairs_per_week: u32,
}

/// `[republish]`: how missing rows are published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Republish {
    /// With our own upserts.
    Native,
    /// By running the existing publisher; the result is verified.
    Command(Publisher),
    /// Only purge and correct the catalog; the publisher's regular schedule publishes the rows.
    Defer,
}

/// How to run the existing publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The program and its arguments, which must contain `{from}` and `{to}`.
    pub command: Vec<String>,
    /// Timeout of one run.
    pub timeout: Duration,
}
