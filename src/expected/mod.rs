//! Lake bytes to rows: what should stand on the portal, exactly as the existing publisher made it.
//!
//! A [`Recipe`] turns the bytes of one ready file into rows and keys, one at a time, without ever
//! building a tree of the file. It knows nothing of clients or clocks. The next recipe needs one
//! new file here and one line in [`recipes`].
//!
//! Two doubts are kept apart. A file that cannot be read to its end, or whose frame is wrong
//! ([`DeriveError`]), proves nothing: its day must not be purged. A single row that cannot be made
//! ([`Line::Unpublishable`]) is reported and stops no other row.

mod bluetooth;
mod gridsmart;
mod json;
mod rows;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod wavetronix;

use chrono::NaiveDateTime;

use crate::model::{KeyRecipe, LakePath, Md5Key, Value};

/// How a Bluetooth address became a number: the counter's table of the day's `unmatched` file
/// went on from `matched`, or began anew (docs/data.md tells why both occur).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// `unmatched` goes on with the table of `matched`: the first date of a publisher's run.
    Shared,
    /// Each file begins at 1: every later date of a run.
    Separate,
}

impl Counter {
    /// Its name, as `derive --counter` has it.
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
    /// How keys were hashed.
    pub keys: KeyRecipe,
    /// How addresses were numbered.
    pub counter: Counter,
}

/// What is fixed about a recipe.
#[derive(Debug)]
pub struct Facts {
    /// Its name in the settings, such as `gridsmart-agg15`.
    pub name: &'static str,
    /// The catalog's `data_source` of its files.
    pub source: &'static str,
    /// The catalog's `id_ext` of its files.
    pub ext: &'static str,
    /// `id_ext` of the file of the same base and day without which it cannot be derived with
    /// certainty, if it exists.
    pub companion: Option<&'static str>,
    /// Usual key column.
    pub key_column: &'static str,
    /// Usual column whose wall time says on which day a row stands.
    pub day_column: &'static str,
    /// The published columns in the publisher's order, the key column left out.
    pub columns: &'static [&'static str],
    /// The hashed columns, in the order of hashing: what makes two rows the same row.
    pub identity: &'static [&'static str],
    /// How many days before its own day a file's rows ordinarily begin.
    pub spill_days: u8,
    /// The key recipes its rows were ever published under, the current one first.
    pub key_recipes: &'static [KeyRecipe],
    /// The counters its rows may have been published under, the likelier one first.
    pub counters: &'static [Counter],
}

/// The text of a ready file, and of its companion if it has one.
#[derive(Clone, Copy, Debug)]
pub struct FileText<'a> {
    /// Where the file lies.
    pub path: &'a LakePath,
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Path and bytes of the companion file, if the lake has it.
    pub companion: Option<(&'a LakePath, &'a [u8])>,
}

/// One published row of a file, valid for the call it is handed to.
#[derive(Clone, Copy, Debug)]
pub struct DerivedRow<'a> {
    /// Its place among the entries of the file's `data`, from 0.
    pub ordinal: u32,
    /// Wall time of the day column.
    pub at: NaiveDateTime,
    /// Its key under the variant asked for.
    pub key: Md5Key,
    /// Its values in the order of [`Facts::columns`].
    pub values: &'a [Value],
}

/// A row that cannot be made, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublishable {
    /// Its place among the entries of the file's `data`, from 0.
    pub ordinal: u32,
    /// Why, as a phrase: `detName is null`.
    pub why: String,
}

/// What a file yields, in file order.
#[derive(Clone, Debug)]
pub enum Line<'a> {
    /// A row that is published.
    Row(DerivedRow<'a>),
    /// A row that should be and cannot.
    Unpublishable(Unpublishable),
}

/// How a whole file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOutcome {
    /// Rows handed over.
    pub rows: u64,
    /// Rows the publisher leaves out on purpose.
    pub skipped: u64,
    /// Rows that cannot be made.
    pub unpublishable: u64,
    /// Why the publisher passes the whole file by without marking it, if it does: no device.
    pub passed_by: Option<String>,
}

/// A file that proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// Not JSON to its end, as Python reads it.
    #[error("parse lake file {path} at byte {offset}: {what}")]
    Parse {
        /// The file.
        path: LakePath,
        /// Where, from 0.
        offset: usize,
        /// What was found or missing.
        what: String,
    },
    /// JSON, and not of the shape of such a file.
    #[error("read lake file {path}: {what}")]
    Shape {
        /// The file.
        path: LakePath,
        /// What was found or missing.
        what: String,
    },
    /// A row names a device that the file's list of devices does not have.
    #[error("find device {device:?} of row {ordinal} in lake file {path}")]
    UnknownDevice {
        /// The file.
        path: LakePath,
        /// The device id.
        device: String,
        /// The row's place in `data`, from 0.
        ordinal: u32,
    },
}

/// How the rows of one kind of file are derived.
pub trait Recipe: Send + Sync {
    /// What is fixed about it.
    fn facts(&self) -> &'static Facts;

    /// Hands every row of the file to `each`, in file order.
    ///
    /// # Errors
    /// If the file proves nothing. Rows handed over before must then be thrown away.
    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError>;
}

/// Every recipe there is.
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
