//! The services that looking and mending cannot do without.

use std::fmt;

use serde::Serialize;

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
    /// Where purged rows are kept.
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
