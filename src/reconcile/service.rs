//! The services that checks and repairs need: which there are, where they are, and whether they
//! respond.

use std::fmt;

use serde::Serialize;

use super::World;
use crate::model::Dataset;

/// A service that may fail. The names are those of the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The portal.
    Portal,
    /// The lake.
    Lake,
    /// The catalog's database.
    Catalog,
    /// The ledger's database.
    Ledger,
    /// The archive of purged rows.
    Archive,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 5] = [
        Self::Portal,
        Self::Lake,
        Self::Catalog,
        Self::Ledger,
        Self::Archive,
    ];
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Portal => "portal",
            Self::Lake => "lake",
            Self::Catalog => "catalog",
            Self::Ledger => "ledger",
            Self::Archive => "archive",
        })
    }
}

impl World {
    /// Whether a service responds at all, even with a refusal. Tried once, with a small request
    /// unrelated to any day, after a request about a day has failed.
    pub async fn answers(&self, service: Service, dataset: &Dataset) -> bool {
        match service {
            Service::Portal => self.portal.answers(&dataset.id).await,
            Service::Lake => self.lake.answers().await,
            Service::Catalog => self.catalog.inspect().await.is_ok(),
            Service::Ledger => self.ledger.ping().await.is_ok(),
            // Only days with rows to purge need the archive.
            Service::Archive => true,
        }
    }

    /// Where a service is, without any secrets.
    #[must_use]
    pub fn address(&self, service: Service) -> String {
        match service {
            Service::Portal => self.portal.url().to_string(),
            Service::Lake => self.lake.address().to_owned(),
            Service::Catalog => self.catalog.address().to_owned(),
            Service::Ledger => self.ledger.address().to_owned(),
            Service::Archive => crate::bucket::harmless(&self.settings.archive.url),
        }
    }
}
