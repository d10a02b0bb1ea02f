//! The world, and one pass through it from start to end.
//!
//! A pass checks, drafts, runs the guards, has the plan carried out, and checks again with the same
//! code. It takes no hint of what changed and needs no memory, so that restart, retry and schedule
//! are one path.

mod catalogued;
mod check;
mod clock;
mod detail;
mod doubts;
mod drafting;
mod evidence;
mod lakeside;
mod note;
mod pass;
mod past;
mod promise;
mod report;
mod service;
mod spilled;
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
use crate::lease::Waits;
use crate::ledger::{Ledger, LedgerError};
use crate::model::{Dataset, Day, PublishedRow, RowKey};
use crate::settings::{DatasetSettings, Rails, Settings};
use crate::socrata::{ByKey, Portal, ReadError, Reader, Table, TableError};

pub use check::{Checked, check_sides};
pub use clock::{Clock, SharedClock};
pub use drafting::draft;
pub use evidence::{Changed, Evidence, FileEvidence, Minute, Sample, WrittenWhen};
pub use lakeside::{LakeReads, LakeSide, ReadyLayer, Source};
pub use note::at_least;
pub use pass::{Asked, check, check_before_repair, repair};
pub use past::{days_with_anything, oldest_day};
pub use promise::promises;
pub use report::{CheckFailure, Done, RepairFailure, Report, State};
pub use service::Service;
pub use survey::{Surveyed, published_count, survey};

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Everything a pass can read, and the ledger. Nothing here can change the portal or the catalog.
pub struct World {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The lake.
    pub lake: Lake,
    /// The catalog, read only.
    pub catalog: Catalog,
    /// The connection to the portal, shared so that one throttle applies to all requests. It knows
    /// no password unless `socrata.read_as` is `"login"`.
    pub portal: Arc<Portal>,
    /// The portal, read only.
    pub socrata: Reader,
    /// The program's own record.
    pub ledger: Ledger,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Leases that other processes hold and this one waits for.
    pub waits: Waits,
}

/// A side could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The lake could not be read.
    #[error("cannot read the lake")]
    Lake(#[source] LakeError),
    /// A lake file could not be derived.
    #[error("cannot derive rows")]
    Derive(#[source] DeriveError),
    /// The catalog could not be read.
    #[error("cannot read the catalog")]
    Catalog(#[source] CatalogError),
    /// The portal could not be read.
    #[error("cannot read the portal")]
    Portal(#[from] ReadError),
    /// The ledger could not be read or written.
    #[error("cannot use the ledger")]
    Ledger(#[source] LedgerError),
    /// The published table lacks the key or the day column.
    #[error("the published table does not match the settings")]
    Table(#[from] TableError),
    /// The published table does not have the recipe's columns.
    #[error("the published table does not match the recipe")]
    Columns(#[from] ColumnMissing),
    /// The second read for a rewrite raised a doubt that the check did not.
    #[error("cannot read the complete day for the rewrite")]
    Doubtful(#[source] Doubt),
    /// There is no recipe with this name.
    #[error("there is no recipe {0}")]
    Recipe(String),
}

impl CheckError {
    fn lake(error: LakeError) -> Self {
        Self::Lake(error)
    }

    fn catalog(error: CatalogError) -> Self {
        Self::Catalog(error)
    }

    fn ledger(error: LedgerError) -> Self {
        Self::Ledger(error)
    }

    /// Whether a service failed, as opposed to giving answers that cannot be trusted.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.service().is_some()
    }

    /// The service that failed, if one did, as opposed to giving answers that cannot be trusted.
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

    /// The service that seems to be down entirely, as opposed to refusing one request: then every
    /// other request would fail too.
    #[must_use]
    pub fn outage(&self) -> Option<Service> {
        match self {
            Self::Portal(ReadError::Request { source, .. }) if !source.is_outage() => None,
            _ => self.service(),
        }
    }
}

/// An error and all its causes, in one line.
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
    /// The settings of a dataset.
    #[must_use]
    pub fn of(&self, dataset: &Dataset) -> &DatasetSettings {
        (self.settings.datasets.iter())
            .find(|settings| settings.dataset.name == dataset.name)
            .expect("every dataset we check comes from these settings")
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

    /// The published table of a dataset, according to the portal's current metadata.
    ///
    /// # Errors
    /// If the metadata cannot be read, or the table lacks the key or day column.
    pub async fn table(&self, dataset: &Dataset) -> Result<Table, CheckError> {
        let shape = self.socrata.shape(&dataset.id).await?;
        Ok(Table::new(
            dataset.id.clone(),
            &dataset.key_column,
            &dataset.day_column,
            shape,
        )?)
    }
}

/// With more keys than this, a day is read whole instead of looking up each key.
const FEW_KEYS: usize = 1_000;

/// Published rows by key: looked up by their keys if these are few, otherwise by reading the whole
/// day. Rows on another day are then looked up by key, unless most of the day is missing.
pub(crate) async fn published_rows(
    world: &World,
    table: &Table,
    day: Day,
    keys: &[RowKey],
) -> Result<ByKey<Vec<PublishedRow>>, ReadError> {
    if keys.len() <= FEW_KEYS {
        return world.socrata.rows_by_key(table, keys).await;
    }
    let wanted: BTreeSet<&RowKey> = keys.iter().collect();
    let is_wanted = |key: &RowKey| wanted.contains(key);
    let keep = |row: PublishedRow| row.key.as_ref().is_some_and(is_wanted).then_some(row);
    let read = world.socrata.rows(table, day, &keep).await?;
    let (mut rows, mut freshness) = (read.kept, read.freshness);
    let found: BTreeSet<&RowKey> = rows.iter().filter_map(|row| row.key.as_ref()).collect();
    let elsewhere: Vec<RowKey> = keys
        .iter()
        .filter(|key| !found.contains(key))
        .cloned()
        .collect();
    if elsewhere.len() <= FEW_KEYS {
        let looked_up = world.socrata.rows_by_key(table, &elsewhere).await?;
        rows.extend(looked_up.found);
        freshness = freshness.max(looked_up.freshness);
    }
    let found = rows;
    Ok(ByKey { found, freshness })
}
