//! From findings to a plan. All decisions are made here, and none later.
//!
//! A [`Draft`] is what a repair would do. [`Draft::vet`] checks it against the rails and is the
//! only way to a [`Plan`]; a refused draft yields a [`Refusal`] with its numbers. `repair` carries
//! plans out and decides nothing.
//!
//! Doubts are resolved while drafting: a check that cannot be trusted yields no purge and no
//! catalog change, at most rows to publish.

mod approving;
mod draft;
mod guards;
pub mod remedy;
mod render;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::model::{DatasetDay, Entry, PublishedRow, RowKey};

pub use approving::Drafted;
pub use draft::{Draft, Drafting, Size};
pub use guards::{Approval, Breach, Circumstances, Guard, Refusal};
pub use render::{PlanFile, PlanFileError, PlanHeader};

/// Why a row is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhyPublish {
    /// It is expected and not published.
    Missing,
    /// It is published with other values.
    Altered,
    /// The whole day is written again.
    Rewrite,
}

/// Why a row is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhyPurge {
    /// It duplicates an expected row.
    #[serde(alias = "twin")]
    Duplicate,
    /// Nothing in the lake explains it.
    Orphan,
    /// The whole day is wiped.
    Rewrite,
}

impl WhyPurge {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Duplicate, Self::Orphan, Self::Rewrite];
}

impl std::fmt::Display for WhyPurge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Duplicate => "duplicate",
            Self::Orphan => "orphan",
            Self::Rewrite => "rewrite",
        })
    }
}

/// Why a catalog entry is made, corrected or taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyRecatalog {
    /// All rows of the file are published, or will be by this plan.
    Published,
    /// The entry named another dataset.
    WrongPointer,
    /// The file is gone.
    Gone,
    /// The existing publisher is to fill the day again.
    Republish,
    /// The whole day is written again.
    Rewrite,
}

/// One step of a plan, with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// Add a row, or overwrite its values.
    Publish {
        /// Its key.
        key: RowKey,
        /// The row as it is uploaded, key column included.
        row: Map<String, Json>,
        /// The reason.
        why: WhyPublish,
        /// The published row to overwrite, if there is one.
        before: Option<PublishedRow>,
    },
    /// Remove a row.
    Purge {
        /// Its key. A row without one cannot be removed by this program.
        key: RowKey,
        /// The row as it was at the check.
        row: PublishedRow,
        /// The reason.
        why: WhyPurge,
        /// For a duplicate: the expected row, which must be published before this one is purged.
        of: Option<RowKey>,
    },
    /// Enter a file in the catalog as published, or correct its entry.
    Enter {
        /// The new entry. Its processing date is set when it is written.
        entry: Entry,
        /// The current entry, if there is one.
        before: Option<Entry>,
        /// The reason.
        why: WhyRecatalog,
    },
    /// Remove an entry from the catalog.
    Withdraw {
        /// The entry as it was at the check.
        entry: Entry,
        /// The reason.
        why: WhyRecatalog,
    },
}

impl Action {
    /// Whether only a content check can find the difference again.
    #[must_use]
    pub fn needs_content(&self) -> bool {
        matches!(
            self,
            Self::Publish {
                why: WhyPublish::Altered,
                ..
            }
        )
    }
}

/// The order in which a plan's actions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Publish, confirm, purge, correct the catalog: readers never see missing rows.
    #[serde(alias = "mend")]
    Repair,
    /// The manual procedure: remove the entries, wipe the day, publish it again.
    Rewrite,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 2] = [Self::Repair, Self::Rewrite];
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Repair => "repair",
            Self::Rewrite => "rewrite",
        })
    }
}

/// A draft that every guard has passed. Only [`Draft::vet`] makes one, and it is used once.
#[derive(Debug)]
pub struct Plan {
    draft: Draft,
    digest: String,
    lifted: Vec<Breach>,
}

impl Plan {
    /// The dataset-day it is for.
    #[must_use]
    pub fn target(&self) -> &DatasetDay {
        &self.draft.target
    }

    /// The order of its steps.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.draft.strategy
    }

    /// Identifies exactly this plan: SHA-256 over portal, dataset, day, strategy and every action.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The budgets it exceeds that an approval lifts. If there are any, the approval must be marked
    /// used before the first effect.
    #[must_use]
    pub fn lifted(&self) -> &[Breach] {
        &self.lifted
    }

    /// The refusal to report if the approval has already been used.
    #[must_use]
    pub fn unapproved(self) -> Refusal {
        Refusal {
            digest: self.digest,
            depth: self.draft.depth,
            strategy: self.draft.strategy,
            breaches: self.lifted,
        }
    }

    /// When the check behind it began (UTC).
    #[must_use]
    pub fn checked_at(&self) -> DateTime<Utc> {
        self.draft.checked_at
    }

    /// How much it touches.
    #[must_use]
    pub fn size(&self) -> Size {
        self.draft.size()
    }

    /// Its steps, for the writers.
    #[must_use]
    pub fn into_actions(self) -> Vec<Action> {
        self.draft.actions
    }

    /// Its steps.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.draft.actions
    }
}
