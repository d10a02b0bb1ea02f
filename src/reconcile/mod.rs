//! The world, and one pass through it, top to bottom.
//!
//! A pass looks, drafts, asks the guards, has the plan carried out, and looks again with the same
//! code. It takes no hint of what changed and keeps no memory it needs, so that restart, retry and
//! schedule are one path.

mod detail;
mod doubts;
mod evidence;
mod lakeside;
mod look;
mod note;
mod pass;
mod past;
mod report;
mod service;
mod survey;
mod whole;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::catalog::{Catalog, CatalogError};
use crate::compare::Doubt;
use crate::compare::gather::ColumnMissing;
use crate::expected::DeriveError;
use crate::lake::{Lake, LakeError};
use crate::ledger::{Ledger, LedgerError};
use crate::model::{Dataset, Day, PublishedRow, RowKey};
use crate::settings::{DatasetSettings, Rails, Settings};
use crate::socrata::{Portal, ReadError, Reader, Table, TableError};

pub use evidence::{Changed, Evidence, FileEvidence, Minute, Sample, WrittenWhen};
pub use lakeside::{LakeReads, LakeSide, ReadyLayer, Source};
pub use look::{Look, look};
pub use pass::{Asked, check, check_before_repair, draft, repair};
pub use past::oldest_day;
pub use report::{CheckFailure, Done, RepairFailure, Report, State};
pub use service::Service;
pub use survey::survey;

/// The one source of time. Tests bring their own.
pub trait Clock: Send + Sync {
    /// The instant now.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Everything a pass can see, and the ledger. Nothing here can change a portal or a catalog.
pub struct World {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The lake.
    pub lake: Lake,
    /// The catalog, read only.
    pub catalog: Catalog,
    /// The way to the portal, shared so that one throttle holds for all. It knows no password.
    pub portal: Arc<Portal>,
    /// The portal, read only.
    pub socrata: Reader,
    /// Our own record.
    pub ledger: Ledger,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A side that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The lake.
    #[error("read the lake")]
    Lake(#[source] LakeError),
    /// A lake file.
    #[error("derive rows")]
    Derive(#[source] DeriveError),
    /// The catalog.
    #[error("read the catalog")]
    Catalog(#[source] CatalogError),
    /// The portal.
    #[error("read the portal")]
    Portal(#[from] ReadError),
    /// The ledger.
    #[error("use the ledger")]
    Ledger(#[source] LedgerError),
    /// The published table lacks the key or the day column.
    #[error("match the published table with the settings")]
    Table(#[from] TableError),
    /// The published table is not of the recipe's shape.
    #[error("match the published table with the recipe")]
    Columns(#[from] ColumnMissing),
    /// The second read for a rewrite found what the first did not.
    #[error("read the day whole for its rewrite")]
    Doubtful(#[source] Doubt),
    /// A recipe nobody registered.
    #[error("find recipe {0}")]
    Recipe(String),
}

impl LookError {
    fn lake(error: LakeError) -> Self {
        Self::Lake(error)
    }

    fn catalog(error: CatalogError) -> Self {
        Self::Catalog(error)
    }

    fn ledger(error: LedgerError) -> Self {
        Self::Ledger(error)
    }

    /// Whether a service failed, as against answers that could not be trusted.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.service().is_some()
    }

    /// The service that failed, if one did, as against answers that could not be trusted.
    #[must_use]
    pub fn service(&self) -> Option<Service> {
        match self {
            Self::Lake(LakeError::Unreachable { .. }) => Some(Service::Lake),
            Self::Portal(ReadError::Request { .. }) => Some(Service::Portal),
            Self::Catalog(_) => Some(Service::Catalog),
            Self::Ledger(_) => Some(Service::Ledger),
            Self::Lake(_)
            | Self::Portal(_)
            | Self::Derive(_)
            | Self::Table(_)
            | Self::Columns(_)
            | Self::Doubtful(_)
            | Self::Recipe(_) => None,
        }
    }
}

/// An error and everything beneath it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl World {
    /// What the settings say of a dataset.
    #[must_use]
    pub fn of(&self, dataset: &Dataset) -> &DatasetSettings {
        (self.settings.datasets.iter())
            .find(|settings| settings.dataset.name == dataset.name)
            .expect("every dataset we look at comes from these settings")
    }

    /// The lake's side of this world.
    #[must_use]
    pub fn ready(&self) -> ReadyLayer<'_> {
        ReadyLayer {
            lake: &self.lake,
            catalog: &self.catalog,
            repository: &self.settings.lake.repository,
        }
    }

    fn rails(&self, dataset: &Dataset) -> &Rails {
        &self.of(dataset).rails
    }

    /// The published table of a dataset, by the portal's metadata as they are now.
    ///
    /// # Errors
    /// If they cannot be read, or the table lacks the key or day column.
    pub async fn table(&self, dataset: &Dataset) -> Result<Table, LookError> {
        let shape = self.socrata.shape(&dataset.id).await?;
        Ok(Table::new(
            dataset.id.clone(),
            &dataset.key_column,
            &dataset.day_column,
            shape,
        )?)
    }
}

/// Above this many keys a day is read whole rather than asked for key by key.
const FEW_KEYS: usize = 1_000;

/// Published rows by key: by their keys where they are few, by reading the day where not. Rows that
/// stand on another day are then asked for by key, unless most of the day is missing.
pub(crate) async fn published_rows(
    world: &World,
    table: &Table,
    day: Day,
    keys: &[RowKey],
) -> Result<Vec<PublishedRow>, ReadError> {
    if keys.len() <= FEW_KEYS {
        return world.socrata.rows_by_key(table, keys).await;
    }
    let wanted: BTreeSet<&RowKey> = keys.iter().collect();
    let is_wanted = |key: &RowKey| wanted.contains(key);
    let keep = |row: PublishedRow| row.key.as_ref().is_some_and(is_wanted).then_some(row);
    let mut rows = world.socrata.rows(table, day, &keep).await?.kept;
    let found: BTreeSet<&RowKey> = rows.iter().filter_map(|row| row.key.as_ref()).collect();
    let elsewhere: Vec<RowKey> = keys
        .iter()
        .filter(|key| !found.contains(key))
        .cloned()
        .collect();
    if elsewhere.len() <= FEW_KEYS {
        rows.extend(world.socrata.rows_by_key(table, &elsewhere).await?);
    }
    Ok(rows)
}
