//! Derives the rows that should be published from the bytes of lake files, exactly as the existing
//! publisher does.
//!
//! A [`Recipe`] turns the bytes of one ready file into rows and keys, one at a time, without
//! building a tree of the file. It uses no clients and no clocks. To add a recipe, add one file
//! here and one line in [`recipes`].
//!
//! There are two kinds of failure. If a file cannot be read to its end or has the wrong structure
//! ([`DeriveError`]), nothing is known about its rows, and its day must not be purged. A single row
//! that cannot be derived ([`Line::Unpublishable`]) is reported, and the other rows are not
//! affected.

mod bluetooth;
mod gridsmart;
mod json;
mod repr;
mod rows;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod wavetronix;

use chrono::NaiveDateTime;

use crate::model::{KeyScheme, LakePath, Md5Key, Value};

/// How Bluetooth addresses were numbered. The numbering of the day's `unmatched` file either
/// continues that of `matched` or starts again. docs/data.md explains why both occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// `unmatched` continues the numbering of `matched`: the first date of a publisher's run.
    Shared,
    /// The numbering of each file starts at 1: every later date of a run.
    Separate,
}

impl Counter {
    /// Its name, as in `derive --counter`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Separate => "separate",
        }
    }
}

/// One way in which a file's rows may have been keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// How keys were made.
    pub keys: KeyScheme,
    /// How addresses were numbered.
    pub counter: Counter,
}

/// The fixed properties of a recipe.
#[derive(Debug)]
pub struct Facts {
    /// Its name in the settings, such as `gridsmart-agg15`.
    pub name: &'static str,
    /// The catalog's `data_source` of its files.
    pub source: &'static str,
    /// The catalog's `id_ext` of its files.
    pub ext: &'static str,
    /// `id_ext` of the companion: the file of the same base and day that is needed to derive this
    /// one with certainty, if it exists.
    pub companion: Option<&'static str>,
    /// Default key column.
    pub key_column: &'static str,
    /// Default column whose wall time decides on which day a row is published.
    pub day_column: &'static str,
    /// The published columns in the publisher's order, without the key column.
    pub columns: &'static [&'static str],
    /// The hashed columns, in the order of hashing. They define the identity of a row.
    pub identity: &'static [&'static str],
    /// How many days before its own day a file's rows normally begin.
    pub spill_days: u8,
    /// The key schemes its rows have been published under, the current one first.
    pub key_schemes: &'static [KeyScheme],
    /// The counters its rows may have been published under, the more likely one first.
    pub counters: &'static [Counter],
}

/// The bytes of a ready file, and of its companion if it has one.
#[derive(Clone, Copy, Debug)]
pub struct FileText<'a> {
    /// Path of the file in the lake.
    pub path: &'a LakePath,
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Path and bytes of the companion file, if the lake has it.
    pub companion: Option<(&'a LakePath, &'a [u8])>,
}

/// One published row of a file. It is valid only during the call that receives it.
#[derive(Clone, Copy, Debug)]
pub struct DerivedRow<'a> {
    /// Its position in the file's `data`, from 0.
    pub ordinal: u32,
    /// Wall time of the day column.
    pub at: NaiveDateTime,
    /// Its key under the requested variant.
    pub key: Md5Key,
    /// Its values in the order of [`Facts::columns`].
    pub values: &'a [Value],
}

/// A row that cannot be derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublishable {
    /// Its position in the file's `data`, from 0.
    pub ordinal: u32,
    /// The reason, as a phrase: `detName is null`.
    pub why: String,
}

/// One result of a derivation. Results come in file order.
#[derive(Clone, Debug)]
pub enum Line<'a> {
    /// A row that is published.
    Row(DerivedRow<'a>),
    /// A row that should be published but cannot be derived.
    Unpublishable(Unpublishable),
}

/// Totals of a whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOutcome {
    /// Number of rows that were derived.
    pub rows: u64,
    /// Number of rows the publisher leaves out on purpose.
    pub skipped: u64,
    /// Number of rows that cannot be derived.
    pub unpublishable: u64,
    /// Why the publisher skips the whole file without marking it, if it does: the file names no
    /// device.
    pub passed_by: Option<String>,
}

/// A file whose rows cannot be derived.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The file is not JSON to its end, as Python parses it.
    #[error("cannot parse lake file {path} at byte {offset}: {what}")]
    Parse {
        /// The file.
        path: LakePath,
        /// Position of the error in bytes, from 0.
        offset: usize,
        /// What was found or is missing.
        what: String,
    },
    /// The file is JSON, but its structure is wrong.
    #[error("cannot read lake file {path}: {what}")]
    Shape {
        /// The file.
        path: LakePath,
        /// What was found or is missing.
        what: String,
    },
    /// A row refers to a device that is not in the file's list of devices.
    #[error("lake file {path} has no device {device:?}, which its row {ordinal} names")]
    UnknownDevice {
        /// The file.
        path: LakePath,
        /// The device id.
        device: String,
        /// The row's position in `data`, from 0.
        ordinal: u32,
    },
}

/// How the rows of one kind of file are derived.
pub trait Recipe: Send + Sync {
    /// Its fixed properties.
    fn facts(&self) -> &'static Facts;

    /// Calls `each` with every row of the file, in file order.
    ///
    /// # Errors
    /// If the file's rows cannot be derived. The caller must then discard the rows it has received.
    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError>;
}

/// All recipes.
#[must_use]
pub fn recipes() -> &'static [&'static dyn Recipe] {
    &[
        &gridsmart::Agg15,
        &bluetooth::Summary,
        &bluetooth::Matched,
        &bluetooth::Unmatched,
        &wavetronix::Radar,
    ]
}

/// The recipe of this name.
#[must_use]
pub fn recipe(name: &str) -> Option<&'static dyn Recipe> {
    recipes()
        .iter()
        .copied()
        .find(|recipe| recipe.facts().name == name)
}
