//! Settings: what `sodalake.toml` and the environment may say, parsed once into types that cannot
//! be wrong, so that no later code checks again.
//!
//! Layers, later ones win: the defaults below, the file, `SODALAKE__SECTION__KEY` from the
//! environment. Secrets may also be given as `*_file` with a path. This file is only the types, and
//! its comments are the reference for every key; `keys` names the keys and their defaults, `layers`
//! lays file and environment over them, `reader` and `values` read one key, `load` and `datasets` put the whole
//! together, `show` prints it again without secrets.

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

/// Whether faults are only reported, or mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Look and report. The default: a fresh install changes nothing.
    Observe,
    /// Look, and mend inside the rails.
    Repair,
}

/// Everything `sodalake.toml` says, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether faults are only reported, or mended.
    pub mode: Mode,
    /// Zone of days, schedules and printed times.
    pub timezone: Tz,
    /// The lake.
    pub lake: LakeSettings,
    /// The catalog.
    pub catalog: CatalogSettings,
    /// The portal.
    pub socrata: SocrataSettings,
    /// Our own record.
    pub ledger: LedgerSettings,
    /// Where purged rows are kept.
    pub archive: ArchiveSettings,
    /// How missing rows come back.
    pub republish: Republish,
    /// Who is told when a state changes.
    pub notify: NotifySettings,
    /// The daemon's own pages.
    pub http: HttpSettings,
    /// `[schedule]` as it stands, before any dataset's own keys; those in force are each dataset's.
    pub schedule: ScheduleSettings,
    /// `[rails]` as they stand, before any dataset's own keys; those in force are each dataset's.
    pub rails: Rails,
    /// The datasets, each with its own schedule and rails.
    pub datasets: Vec<DatasetSettings>,
    /// Where each key came from.
    pub origins: Origins,
}

/// A URL that is a secret itself, such as a chat room's hook. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Keeps a URL from being printed.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The URL, for the one who calls it.
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
    /// Gets one message per change of state, and one on recovery.
    pub webhook: Option<SecretUrl>,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where the daemon's pages, metrics and API are served.
    pub listen: SocketAddr,
    /// Bearer token of the API's acts; without one the API only reads.
    pub token: Option<SecretString>,
}

/// One `[[dataset]]`: what it is, and the schedule and rails in force for it.
#[derive(Clone, Debug)]
pub struct DatasetSettings {
    /// What it is.
    pub dataset: Arc<Dataset>,
    /// `[schedule]` with this dataset's own keys over it.
    pub schedule: ScheduleSettings,
    /// `[rails]` with this dataset's own keys over it.
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
    /// The ready layer's name in the catalog.
    pub repository: String,
    /// Largest file that is read, in bytes. A larger one leaves its day unproven.
    pub max_file_bytes: u64,
}

/// `[catalog]`.
#[derive(Clone, Debug)]
pub struct CatalogSettings {
    /// `postgres://user@host/database?sslmode=require` or `sqlite:///path`, without password.
    pub url: Url,
    /// Password, if not in the URL's place for it.
    pub password: Option<SecretString>,
    /// PEM file with the certificate authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Table, with its schema where it has one.
    pub table: String,
    /// The name under which published files are entered.
    pub repository: String,
}

/// `[socrata]`.
#[derive(Clone, Debug)]
pub struct SocrataSettings {
    /// The portal.
    pub url: Url,
    /// User name or API key id; needed for writing only.
    pub username: Option<String>,
    /// Password or API key secret; needed for writing only.
    pub password: Option<SecretString>,
    /// App token: raises the portal's limits.
    pub app_token: Option<SecretString>,
    /// Rows per page read.
    pub page_rows: u32,
    /// Rows per upload.
    pub chunk_rows: u32,
    /// Requests under way at once, over all datasets.
    pub max_in_flight: u32,
    /// Requests begun per second, over all datasets.
    pub requests_per_second: u32,
    /// How long replicas may take to show a write before it is called unconfirmed.
    pub confirm_within: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
}

/// `[ledger]`.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// `sqlite:///path`, or `postgres://...` for several replicas.
    pub url: Url,
    /// Password, if not in the URL's place for it.
    pub password: Option<SecretString>,
    /// PEM file with the certificate authorities to trust, in place of the system's.
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

/// A daily stretch of local wall time, such as `10:30-23:00`. One that ends at or before its
/// start reaches over midnight; equal ends are the whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// First moment.
    pub from: NaiveTime,
    /// First moment after it.
    pub to: NaiveTime,
}

impl Hours {
    /// Whether the wall time lies in the stretch.
    #[must_use]
    pub fn contains(self, wall: NaiveTime) -> bool {
        if self.from < self.to {
            self.from <= wall && wall < self.to
        } else {
            self.from <= wall || wall < self.to
        }
    }
}

/// `[schedule]`. The cron keys are read by the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// When to survey: cron with seconds, in `timezone`.
    pub survey: String,
    /// When to check.
    pub check: String,
    /// When to walk on into the past.
    pub audit: String,
    /// How many days back survey and check look.
    pub window_days: u32,
    /// Days younger than this are still being written by others.
    pub settle_days: u32,
    /// Outside these hours nothing is purged or published.
    pub repair_hours: Hours,
}

/// `[rails]`: the limits of what is done without a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Rails {
    /// How long a difference must persist before anything is purged for it.
    pub recheck_after: Duration,
    /// Most rows purged from one dataset-day by one plan.
    pub max_purge_rows_per_day: u64,
    /// Largest share of a dataset-day's published rows purged by one plan: 0 to 1.
    pub max_purge_share_per_day: f64,
    /// Most orphans purged from one dataset-day by one plan.
    pub max_orphan_rows_per_day: u64,
    /// Most rows purged from one dataset in any 24 hours.
    pub max_purge_rows_per_24h: u64,
    /// Least share of the dataset's usual number of files that a day must have: 0 to 1.
    pub min_files_share: f64,
    /// Repairs of one dataset-day in 7 days before its breaker opens.
    pub max_repairs_per_day: u32,
}

/// `[republish]`: how missing rows come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Republish {
    /// Our own upserts.
    Native,
    /// Run the existing publisher with `{from}` and `{to}` in its arguments, and verify after.
    Command(Vec<String>),
    /// Purge and correct the catalog; the publisher's ordinary schedule fills the rest.
    Defer,
}
