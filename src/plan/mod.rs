//! Findings to plan: choosing is done here, and nowhere after.
//!
//! A [`Draft`] is what we would do. [`Draft::vet`] holds it against the rails and is the only way
//! to a [`Plan`]; what it refuses comes back as a [`Refusal`] with its numbers. Carrying a plan
//! out is `repair`'s business, and there nothing is left to choose.
//!
//! Doubt is settled while drafting: a look that cannot be trusted yields no purge and no change of
//! the catalog, at most rows to add.

mod draft;
mod guards;
mod render;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::model::{DatasetDay, Entry, PublishedRow, RowKey};

pub use draft::{Draft, Drafting, Size};
pub use guards::{Approval, Breach, Circumstances, Guard, Refusal};
pub use render::{PlanFile, PlanFileError, PlanHeader};

/// Why a row is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhyPublish {
    /// It is expected and not there.
    Missing,
    /// It is there with old values.
    Altered,
    /// The whole day is written new.
    Rewrite,
}

/// Why a row is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhyPurge {
    /// An expected row doubles it.
    Twin,
    /// The lake has nothing like it.
    Orphan,
    /// The whole day is wiped.
    Rewrite,
}

impl WhyPurge {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Twin, Self::Orphan, Self::Rewrite];
}

impl std::fmt::Display for WhyPurge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Twin => "twin",
            Self::Orphan => "orphan",
            Self::Rewrite => "rewrite",
        })
    }
}

/// Why a catalog entry is made, corrected or taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyRecatalog {
    /// All rows of the file stand, or will by this plan.
    Published,
    /// The entry named another dataset.
    WrongPointer,
    /// The file is gone.
    Gone,
    /// The existing publisher shall fill the day again.
    Republish,
    /// The whole day is written new.
    Rewrite,
}

/// One step of a plan, with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// Add a row, or write its values new.
    Publish {
        /// Its key.
        key: RowKey,
        /// The row as it is uploaded, key column included.
        row: Map<String, Json>,
        /// The reason.
        why: WhyPublish,
        /// The row as it stood, if it did.
        before: Option<PublishedRow>,
    },
    /// Remove a row.
    Purge {
        /// Its key. A row without one cannot be removed by this program.
        key: RowKey,
        /// The row as it stood when it was judged.
        row: PublishedRow,
        /// The reason.
        why: WhyPurge,
        /// For a twin: the expected row that must be seen before this one goes.
        of: Option<RowKey>,
    },
    /// Enter a file as published, or correct its entry.
    Enter {
        /// The entry as it shall be. Its processing date is set when it is written.
        entry: Entry,
        /// The entry as it is, if there is one.
        before: Option<Entry>,
        /// The reason.
        why: WhyRecatalog,
    },
    /// Take an entry out.
    Withdraw {
        /// The entry as it was seen.
        entry: Entry,
        /// The reason.
        why: WhyRecatalog,
    },
}

impl Action {
    /// Whether only a look at contents can find it again.
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
    /// Publish, see, purge, correct the catalog: readers never see a hole.
    Mend,
    /// The by-hand procedure: take the entries out, wipe the day, write it new.
    Rewrite,
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

    /// Names exactly this plan: SHA-256 over portal, dataset, day and every action.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The budgets it exceeds, lifted by an approval. Where there are any, the approval must be used
    /// up before the first effect.
    #[must_use]
    pub fn lifted(&self) -> &[Breach] {
        &self.lifted
    }

    /// The refusal of a plan whose approval turns out to be used up.
    #[must_use]
    pub fn unapproved(self) -> Refusal {
        Refusal {
            digest: self.digest,
            strategy: self.draft.strategy,
            breaches: self.lifted,
        }
    }

    /// When the look behind it began (UTC).
    #[must_use]
    pub fn looked_at(&self) -> DateTime<Utc> {
        self.draft.looked_at
    }

    /// How much it touches.
    #[must_use]
    pub fn size(&self) -> Size {
        self.draft.size()
    }

    /// Its steps, for whoever carries it out.
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
