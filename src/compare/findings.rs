//! What a look found: every disagreement of one dataset-day, with its evidence.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::expected::{FileOutcome, Variant};
use crate::model::{
    Cell, DatasetDay, Day, Entry, KeyRecipe, LakePath, PublishedRow, ReadyFile, Row, RowKey,
};

use super::gather::{Misdated, Unfit};
use super::keys::Collision;
use super::twins::Twin;

/// How closely a day is looked at.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Counts and times of whole days, to find the suspects.
    Survey,
    /// Every key.
    Keys,
    /// Every column of every row.
    Content,
}

impl Depth {
    /// Every depth, the shallowest first.
    pub const ALL: [Self; 3] = [Self::Survey, Self::Keys, Self::Content];
}

impl std::fmt::Display for Depth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Survey => "survey",
            Self::Keys => "keys",
            Self::Content => "content",
        })
    }
}

/// An expected row with what the portal stores of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedRow {
    /// The row.
    pub row: Row,
    /// What the portal stores of its values, in the recipe's order.
    pub cells: Vec<Cell>,
    /// Which of the day's files it is from.
    pub file: u32,
}

/// One column whose published value is old.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The column.
    pub column: &'static str,
    /// What stands there.
    pub published: Cell,
    /// What should.
    pub expected: Cell,
}

/// A row whose key is right and whose values are not.
#[derive(Clone, Debug, PartialEq)]
pub struct Altered {
    /// What should stand.
    pub expected: ExpectedRow,
    /// What stands.
    pub published: PublishedRow,
    /// Where they differ.
    pub changes: Vec<Change>,
}

/// One key on several rows, or rows without a key. Possible only where the portal has no row
/// identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The key; `None`: the rows have none.
    pub key: Option<RowKey>,
    /// The portal's `:id` of each row.
    pub sids: Vec<String>,
}

/// A row that stands, or should, far from its file's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisdatedRow {
    /// Where it stands and where it is from.
    pub row: Misdated,
    /// Whether it was seen published.
    pub published: bool,
}

/// A disagreement between the catalog and the other two sides.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogFinding {
    /// The catalog says published, and neither the ready layer nor the lake has such a file.
    Gone(Entry),
    /// The catalog says published, and rows of the file do not stand.
    RowsMissing {
        /// The entry.
        entry: Entry,
        /// Rows of the looked-at day that are missing.
        missing: u64,
        /// Which of the day's files it is.
        file: u32,
    },
    /// The entry names another dataset than ours.
    WrongPointer {
        /// The entry.
        entry: Entry,
        /// Which of the day's files it is.
        file: u32,
    },
    /// Every row of the file stands, and the catalog does not say so.
    Uncatalogued {
        /// Which of the day's files it is.
        file: u32,
    },
}

/// A reason not to trust the look: nothing is purged while there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Doubt {
    /// A catalogued file is not in the lake.
    #[error("catalogued lake file {0} is gone")]
    Gone(LakePath),
    /// A file could not be read to its end, or not parsed.
    #[error("{0}")]
    Unreadable(String),
    /// An object that looks like a file of this dataset is not catalogued.
    #[error("lake file {0} is not catalogued in the ready layer")]
    Unlisted(LakePath),
    /// A catalogued file is there, though the listing of its folder lacks it: who knows what else
    /// that listing lacks.
    #[error("lake file {0} is there, and the listing of its folder lacks it")]
    Hidden(LakePath),
    /// A day has fewer files than it usually has.
    #[error("the lake has {found} files for {day}, usually {usual}")]
    FewFiles {
        /// The day.
        day: Day,
        /// Files of the day.
        found: u64,
        /// The usual number.
        usual: u64,
    },
    /// The files yield far fewer rows than those of any day nearby.
    #[error("the lake has {found} rows for the day, at least {usual} on every day nearby")]
    FewRows {
        /// Rows of the day.
        found: u64,
        /// The least of the days nearby.
        usual: u64,
    },
    /// The lake's listing changed while it was read.
    #[error("lake file {0} changed while the day was read")]
    Changed(LakePath),
    /// The lake has no file for a day at all.
    #[error("the lake has no file for {0}")]
    NoFiles(Day),
    /// The portal did not say that its answers were up to date.
    #[error("the portal does not vouch that its answers are up to date")]
    Unvouched,
    /// No variant of a file's device counter reproduces what stands.
    #[error("no numbering of the devices in {0} reproduces the published keys")]
    Numbering(LakePath),
    /// A file stands under chained keys, and one of its rows cannot be made.
    #[error(
        "{0} stands under chained keys, and those behind a row that cannot be made are unknown"
    )]
    Chain(LakePath),
}

/// One of the files that hold rows of the day.
#[derive(Clone, Debug)]
pub struct FileSeen {
    /// The file.
    pub file: ReadyFile,
    /// The variant its rows are expected under.
    pub variant: Variant,
    /// Whether its rows are known for certain. If not, none of them is published.
    pub certain: bool,
    /// How its derivation ended.
    pub outcome: FileOutcome,
    /// Rows it has on the looked-at day.
    pub rows: u64,
    /// Whether the looked-at day is its own.
    pub own_day: bool,
    /// The entry that says it is published, if there is one.
    pub entry: Option<Entry>,
    /// Every published entry of its source and base that starts on its day, whatever the ext: the
    /// existing publisher passes a file by if there is any.
    pub covered_by: Vec<Entry>,
    /// Rows it has on neighbouring days that were looked up and do not stand; `None`: not asked.
    pub spilled_missing: Option<u64>,
}

/// Everything a look at one dataset-day found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The dataset-day.
    pub target: DatasetDay,
    /// How closely it was looked at.
    pub depth: Depth,
    /// When the look began (UTC).
    pub looked_at: DateTime<Utc>,
    /// The files that hold rows of the day, in the publisher's order.
    pub files: Vec<FileSeen>,
    /// Why the look cannot be trusted, if it cannot.
    pub doubts: Vec<Doubt>,
    /// The lake's side as one text: equal texts, equal files.
    pub lake: String,
    /// Rows that should stand on the day.
    pub expected: u64,
    /// Rows that stand on the day.
    pub published: u64,
    /// Newest `:updated_at` of the day.
    pub newest: Option<DateTime<Utc>>,
    /// Expected and not published.
    pub missing: Vec<ExpectedRow>,
    /// Published under a key nobody expects, and an expected row doubles them.
    pub twins: Vec<Twin>,
    /// Published, and the lake has nothing like them.
    pub orphans: Vec<PublishedRow>,
    /// Key right, values old. Found at content depth.
    pub altered: Vec<Altered>,
    /// One key on several rows, or none.
    pub repeated: Vec<Repeated>,
    /// Two different expected rows with one key.
    pub collided: Vec<Collision>,
    /// Expected rows far from their file's day; each is looked up by key.
    pub misdated: Vec<MisdatedRow>,
    /// Misdated rows that are missing, whole.
    pub misdated_missing: Vec<ExpectedRow>,
    /// Expected rows that cannot be published.
    pub unpublishable: Vec<Unfit>,
    /// Disagreements of the catalog.
    pub catalog: Vec<CatalogFinding>,
}

/// What can be wrong with a row or an entry. The names are those of the metric's label.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is the finding of that name")]
pub enum Finding {
    Missing,
    Twin,
    Orphan,
    Altered,
    Repeated,
    Collided,
    Misdated,
    Unpublishable,
    Miscatalogued,
    Uncatalogued,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Self; 10] = [
        Self::Missing,
        Self::Twin,
        Self::Orphan,
        Self::Altered,
        Self::Repeated,
        Self::Collided,
        Self::Misdated,
        Self::Unpublishable,
        Self::Miscatalogued,
        Self::Uncatalogued,
    ];
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Twin => "twin",
            Self::Orphan => "orphan",
            Self::Altered => "altered",
            Self::Repeated => "repeated",
            Self::Collided => "collided",
            Self::Misdated => "misdated",
            Self::Unpublishable => "unpublishable",
            Self::Miscatalogued => "miscatalogued",
            Self::Uncatalogued => "uncatalogued",
        })
    }
}

/// How many of each finding a day has. Names as in reports and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each field is the finding of that name")]
pub struct Counts {
    pub missing: u64,
    pub twins: u64,
    pub orphans: u64,
    pub altered: u64,
    pub repeated: u64,
    pub collided: u64,
    pub misdated: u64,
    pub unpublishable: u64,
    pub miscatalogued: u64,
    pub uncatalogued: u64,
}

impl Counts {
    /// How many of this finding.
    #[must_use]
    pub fn of(&self, finding: Finding) -> u64 {
        match finding {
            Finding::Missing => self.missing,
            Finding::Twin => self.twins,
            Finding::Orphan => self.orphans,
            Finding::Altered => self.altered,
            Finding::Repeated => self.repeated,
            Finding::Collided => self.collided,
            Finding::Misdated => self.misdated,
            Finding::Unpublishable => self.unpublishable,
            Finding::Miscatalogued => self.miscatalogued,
            Finding::Uncatalogued => self.uncatalogued,
        }
    }
}

fn count<T>(items: &[T]) -> u64 {
    items.len() as u64
}

impl Findings {
    /// How many of each finding.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let uncatalogued = (self.catalog.iter())
            .filter(|finding| matches!(finding, CatalogFinding::Uncatalogued { .. }))
            .count() as u64;
        let extra = |repeated: &Repeated| {
            let kept = usize::from(repeated.key.is_some());
            (repeated.sids.len() - kept.min(repeated.sids.len())) as u64
        };
        Counts {
            missing: count(&self.missing) + count(&self.misdated_missing),
            twins: count(&self.twins),
            orphans: count(&self.orphans),
            altered: count(&self.altered),
            repeated: self.repeated.iter().map(extra).sum(),
            collided: count(&self.collided),
            misdated: count(&self.misdated),
            unpublishable: count(&self.unpublishable),
            miscatalogued: count(&self.catalog) - uncatalogued,
            uncatalogued,
        }
    }

    /// Whether there is nothing to mend. Collided, unpublishable and misdated rows are reported
    /// and are nothing that a repair could mend.
    #[must_use]
    pub fn in_step(&self) -> bool {
        let Counts {
            missing,
            twins,
            orphans,
            altered,
            repeated,
            miscatalogued,
            uncatalogued,
            collided: _,
            misdated: _,
            unpublishable: _,
        } = self.counts();
        missing + twins + orphans + altered + repeated + miscatalogued + uncatalogued == 0
    }

    /// The key recipe most of the day's rows are expected under; `None` for a day without files.
    #[must_use]
    pub fn keys(&self) -> Option<KeyRecipe> {
        (self.files.iter().filter(|seen| seen.rows > 0))
            .max_by_key(|seen| seen.rows)
            .or(self.files.first())
            .map(|seen| seen.variant.keys)
    }
}
