//! What a check found: every disagreement of one dataset-day, with its evidence.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::expected::{FileOutcome, Variant};
use crate::model::{
    Cell, DatasetDay, Day, Entry, KeyScheme, LakePath, PublishedRow, ReadyFile, Row, RowKey,
};

use super::duplicates::Duplicate;
use super::gather::{Misdated, Unfit};
use super::keys::Collision;

/// How closely a day is checked.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Counts and times of whole days, to find suspect days.
    Survey,
    /// Every key.
    Keys,
    /// Every column of every row.
    Content,
}

impl Depth {
    /// Every depth, shallowest first.
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

/// An expected row, with the cells the portal stores for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedRow {
    /// The row.
    pub row: Row,
    /// The cells the portal stores for its values, in the recipe's order.
    pub cells: Vec<Cell>,
    /// Index of its file among the day's files.
    pub file: u32,
}

/// One column whose published value is out of date.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The column.
    pub column: &'static str,
    /// The value that is published.
    pub published: Cell,
    /// The value that should be published.
    pub expected: Cell,
}

/// A row whose key is right and whose values are wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Altered {
    /// The row that should be published.
    pub expected: ExpectedRow,
    /// The row that is published.
    pub published: PublishedRow,
    /// The columns that differ.
    pub changes: Vec<Change>,
}

/// One key on several rows, or rows without a key. Possible only if the table has no row identifier
/// on the portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The key; `None` if the rows have none.
    pub key: Option<RowKey>,
    /// The portal's `:id` of each row.
    pub sids: Vec<String>,
}

/// A row that is published, or should be, far from its file's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisdatedRow {
    /// Its key, its file, and the day it belongs to.
    pub row: Misdated,
    /// Whether it is published.
    pub published: bool,
}

/// A disagreement between the catalog and the other two sides.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogFinding {
    /// The catalog says the file is published, but neither the ready layer nor the lake has it.
    Gone(Entry),
    /// The catalog says the file is published, but some of its rows are not.
    RowsMissing {
        /// The entry.
        entry: Entry,
        /// Rows of the checked day that are missing.
        missing: u64,
        /// Index of the file among the day's files.
        file: u32,
    },
    /// The entry points to another dataset.
    WrongPointer {
        /// The entry.
        entry: Entry,
        /// Index of the file among the day's files.
        file: u32,
    },
    /// Every row of the file is published, but the file has no entry.
    Uncatalogued {
        /// Index of the file among the day's files.
        file: u32,
    },
}

impl CatalogFinding {
    /// Which finding it counts as.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Gone(_) | Self::RowsMissing { .. } | Self::WrongPointer { .. } => {
                Finding::Miscatalogued
            }
            Self::Uncatalogued { .. } => Finding::Uncatalogued,
        }
    }
}

/// A reason not to trust the check: nothing is purged while there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Doubt {
    /// A catalogued file is not in the lake.
    #[error("catalogued lake file {0} does not exist")]
    Gone(LakePath),
    /// A file could not be read to its end, or could not be parsed.
    #[error("{0}")]
    Unreadable(String),
    /// A line of the catalog that could belong to the day cannot be read.
    #[error("{0}")]
    UnreadLine(String),
    /// An object that looks like a file of this dataset is not catalogued.
    #[error("lake file {0} is not catalogued in the ready layer")]
    Unlisted(LakePath),
    /// A catalogued file exists, but the listing of its folder lacks it. The listing may lack other
    /// files too.
    #[error("lake file {0} exists, but is missing from the listing of its folder")]
    Hidden(LakePath),
    /// The folder of a day holds an object whose name no client can address, so that what is in it
    /// is unknown.
    #[error("the lake has an object {0:?}, whose name clients cannot address; rename or remove it")]
    Unaddressable(String),
    /// A day has fewer files than it usually has.
    #[error("the lake has {found} files for {day}, but usually {usual}")]
    FewFiles {
        /// The day.
        day: Day,
        /// Files of the day.
        found: u64,
        /// The usual number.
        usual: u64,
    },
    /// The files yield far fewer rows than those of any nearby day.
    #[error("the lake has {found} rows for the day; every nearby day has at least {usual}")]
    FewRows {
        /// Rows of the day.
        found: u64,
        /// The smallest number of rows of any nearby day.
        usual: u64,
    },
    /// The lake's listing changed while it was read.
    #[error("lake file {0} changed while the day was read")]
    Changed(LakePath),
    /// The lake has no files at all for a day.
    #[error("the lake has no file for {0}")]
    NoFiles(Day),
    /// The portal did not say that its answers were up to date.
    #[error("the portal does not confirm that its answers are up to date")]
    FreshnessUnknown,
    /// No variant of a file's device counter reproduces the published keys.
    #[error("no numbering of the devices in {0} reproduces the published keys")]
    Numbering(LakePath),
    /// A file is published under chained keys, and one of its rows cannot be derived.
    #[error(
        "{0} is published under chained keys, and a row that cannot be derived leaves the keys after it unknown"
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
    /// Whether its rows are known for certain. If not, none of its rows is published.
    pub certain: bool,
    /// How its derivation ended.
    pub outcome: FileOutcome,
    /// Number of its rows on the checked day.
    pub rows: u64,
    /// Whether the checked day is its own.
    pub own_day: bool,
    /// The entry that says it is published, if there is one.
    pub entry: Option<Entry>,
    /// Every published entry of its source and base that starts on its day, of any ext. If there is
    /// one, the existing publisher skips the file.
    pub covered_by: Vec<Entry>,
    /// Rows on neighbouring days that were looked up and are not published; `None` if they were not
    /// looked up.
    pub spilled_missing: Option<u64>,
}

/// Everything a check of one dataset-day found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The dataset-day.
    pub target: DatasetDay,
    /// How closely it was checked.
    pub depth: Depth,
    /// When the check began (UTC).
    pub checked_at: DateTime<Utc>,
    /// The files that hold rows of the day, in the publisher's order.
    pub files: Vec<FileSeen>,
    /// Reasons not to trust the check.
    pub doubts: Vec<Doubt>,
    /// Identifies the state of the lake's files: the text is equal exactly if the files are.
    pub lake: String,
    /// Number of rows that should be published on the day.
    pub expected: u64,
    /// Number of rows that are published on the day.
    pub published: u64,
    /// Newest `:updated_at` of the day.
    pub newest: Option<DateTime<Utc>>,
    /// Rows that are expected and not published.
    pub missing: Vec<ExpectedRow>,
    /// Published rows under an unexpected key that are copies of an expected row.
    pub duplicates: Vec<Duplicate>,
    /// Published rows that match nothing in the lake.
    pub orphans: Vec<PublishedRow>,
    /// Rows with the right key and wrong values. Found only at content depth.
    pub altered: Vec<Altered>,
    /// Keys that several rows share, and rows without a key.
    pub repeated: Vec<Repeated>,
    /// Pairs of different expected rows with the same key.
    pub collided: Vec<Collision>,
    /// Expected rows far from their file's day; each was looked up by its key.
    pub misdated: Vec<MisdatedRow>,
    /// Misdated rows that are missing, with their values.
    pub misdated_missing: Vec<ExpectedRow>,
    /// Expected rows that cannot be published.
    pub unpublishable: Vec<Unfit>,
    /// Disagreements between the catalog and the other two sides.
    pub catalog: Vec<CatalogFinding>,
}

/// The kinds of findings. The names are those of the metric's label.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is the finding of that name")]
pub enum Finding {
    Missing,
    Duplicate,
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
        Self::Duplicate,
        Self::Orphan,
        Self::Altered,
        Self::Repeated,
        Self::Collided,
        Self::Misdated,
        Self::Unpublishable,
        Self::Miscatalogued,
        Self::Uncatalogued,
    ];

    /// What it means, for the status page, `explain` and docs/data.md.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Missing => "in the lake, but not published",
            Self::Duplicate => "published under another key, beside the right row",
            Self::Orphan => "published, and nothing in the lake matches them",
            Self::Altered => "the right key with other values",
            Self::Repeated => "several rows with one key, or with none",
            Self::Collided => "two rows of the lake with one key; the later one counts",
            Self::Misdated => "rows far from the day of their file",
            Self::Unpublishable => "rows of the lake that the portal cannot hold",
            Self::Miscatalogued => "entries that say published, and it is not so",
            Self::Uncatalogued => "files that are published whole and have no entry",
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
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

/// Number of findings of each kind on a day. The names are those in reports and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each field is the finding of that name")]
pub struct Counts {
    pub missing: u64,
    pub duplicates: u64,
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
    /// The number of findings of this kind.
    #[must_use]
    pub fn of(&self, finding: Finding) -> u64 {
        match finding {
            Finding::Missing => self.missing,
            Finding::Duplicate => self.duplicates,
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
    /// The number of findings of each kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let uncatalogued = (self.catalog.iter())
            .filter(|one| one.finding() == Finding::Uncatalogued)
            .count() as u64;
        let extra = |repeated: &Repeated| {
            let kept = usize::from(repeated.key.is_some());
            (repeated.sids.len() - kept.min(repeated.sids.len())) as u64
        };
        Counts {
            missing: count(&self.missing) + count(&self.misdated_missing),
            duplicates: count(&self.duplicates),
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

    /// Whether there is nothing to repair. Collided, unpublishable and misdated rows are reported,
    /// but a repair can do nothing about them.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        let Counts {
            missing,
            duplicates,
            orphans,
            altered,
            repeated,
            miscatalogued,
            uncatalogued,
            collided: _,
            misdated: _,
            unpublishable: _,
        } = self.counts();
        missing + duplicates + orphans + altered + repeated + miscatalogued + uncatalogued == 0
    }

    /// The key scheme that most of the day's rows are expected under; `None` for a day without
    /// files.
    #[must_use]
    pub fn keys(&self) -> Option<KeyScheme> {
        (self.files.iter().filter(|seen| seen.rows > 0))
            .max_by_key(|seen| seen.rows)
            .or(self.files.first())
            .map(|seen| seen.variant.keys)
    }
}
