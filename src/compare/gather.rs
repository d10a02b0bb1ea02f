//! Sorts a file's derived rows into the groups that a check of one day needs.
//!
//! Only the keys are kept, with their position in the file and, if contents are compared, a digest
//! of the stored cells, because a day of ten million rows must fit in memory. Whole rows are
//! derived a second time, and only those with findings.

use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::NaiveDateTime;

use super::{FileRows, Gathering};
use crate::expected::{DeriveError, DerivedRow, FileOutcome, FileText, Line, Recipe, Variant};
use crate::model::{Cell, CellError, ColumnType, Day, Md5Key, RowKey, TableShape, Value};

/// The types of a recipe's columns on the portal, in the recipe's order.
#[derive(Clone, Debug)]
pub struct Columns {
    names: &'static [&'static str],
    types: Vec<ColumnType>,
}

/// A table that lacks a column the recipe publishes.
#[derive(Debug, thiserror::Error)]
#[error("the published table {table:?} has no column {column}; it has {present}")]
pub struct ColumnMissing {
    column: &'static str,
    table: String,
    present: String,
}

impl Columns {
    /// Looks up the recipe's columns in the table.
    ///
    /// # Errors
    /// If the table lacks one of them.
    pub fn of(recipe: &dyn Recipe, shape: &TableShape) -> Result<Self, ColumnMissing> {
        let names = recipe.facts().columns;
        let kind = |&column: &&'static str| {
            shape
                .columns
                .get(column)
                .cloned()
                .ok_or_else(|| ColumnMissing {
                    column,
                    table: shape.title.clone(),
                    present: shape
                        .columns
                        .keys()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(", "),
                })
        };
        let types = names.iter().map(kind).collect::<Result<_, _>>()?;
        Ok(Self { names, types })
    }

    /// The names of the columns.
    #[must_use]
    pub fn names(&self) -> &'static [&'static str] {
        self.names
    }

    /// Position of the column of this name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| *column == name)
    }

    /// Whether the column at this position holds text.
    #[must_use]
    pub fn is_text(&self, index: usize) -> bool {
        self.types[index] == ColumnType::Text
    }

    /// The cells the portal stores for a row's values.
    ///
    /// # Errors
    /// The name of the first column that cannot hold its value, and why.
    pub fn cells(&self, values: &[Value]) -> Result<Vec<Cell>, (&'static str, CellError)> {
        (self.names.iter().zip(&self.types).zip(values))
            .map(|((name, kind), value)| {
                Cell::stored(value, kind).map_err(|misfit| (*name, misfit))
            })
            .collect()
    }

    /// The first column that cannot hold its value, and why.
    #[must_use]
    pub fn misfit(&self, values: &[Value]) -> Option<(&'static str, CellError)> {
        let mut fields = self.names.iter().zip(&self.types).zip(values);
        let unfit = |((_, kind), value): &((_, &ColumnType), &Value)| !Cell::fits(value, kind);
        let ((name, kind), value) = fields.find(unfit)?;
        Cell::stored(value, kind)
            .err()
            .map(|misfit| (*name, misfit))
    }

    /// The cells of a published row, in the recipe's order.
    #[must_use]
    pub fn published(
        &self,
        fields: &std::collections::BTreeMap<String, serde_json::Value>,
    ) -> Vec<Cell> {
        (self.names.iter().zip(&self.types))
            .map(|(name, kind)| Cell::published(fields.get(*name), kind))
            .collect()
    }
}

/// A digest of a row's cells. Equal rows have equal digests within one process.
#[must_use]
pub fn digest(cells: &[Cell]) -> u64 {
    let mut hasher = DefaultHasher::new();
    cells.hash(&mut hasher);
    hasher.finish()
}

/// The day of one of a file's rows, relative to the checked day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowDay {
    /// On the checked day.
    Today,
    /// On another day within the file's normal spill.
    Near,
    /// On this day, far from the file's own: the row is misdated.
    Far(Day),
}

impl RowDay {
    /// The day of a row with wall time `at`, in a file of `file_day` whose rows normally begin up
    /// to `spill` days early.
    #[must_use]
    pub fn of(at: NaiveDateTime, file_day: Day, day: Day, spill: i64) -> Self {
        let stands_on = Day::of(at);
        let early = stands_on.days_until(file_day);
        if early < 0 || early > spill {
            Self::Far(stands_on)
        } else if stands_on == day {
            Self::Today
        } else {
            Self::Near
        }
    }
}

/// An expected row, without its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Its key.
    pub key: Md5Key,
    /// Index of its file among the day's files.
    pub file: u32,
    /// Its position in the file's `data`, from 0.
    pub ordinal: u32,
}

/// An expected row that is published far from its file's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdated {
    /// Its key.
    pub key: RowKey,
    /// The day it belongs to.
    pub day: Day,
    /// Index of its file among the day's files.
    pub file: u32,
    /// Its position in the file's `data`, from 0.
    pub ordinal: u32,
}

/// An expected row that cannot be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its key, if it has one.
    pub key: Option<RowKey>,
    /// Index of its file among the day's files.
    pub file: u32,
    /// Its position in the file's `data`, from 0.
    pub ordinal: u32,
    /// The reason, as a phrase.
    pub why: String,
}

/// The rows one file has for the checked day, under one variant.
#[derive(Clone, Debug)]
pub struct FileKeys {
    /// The variant.
    pub variant: Variant,
    /// Rows of the checked day.
    pub today: FileRows,
    /// Digests of the cells of the checked day's rows, indexed by their position in the file's
    /// `data`; empty if contents are not compared.
    pub digests: Vec<u64>,
    /// Rows that ordinarily are on a neighbouring day.
    pub spilled: Vec<Placed>,
    /// Rows that are far from the file's day.
    pub misdated: Vec<Misdated>,
    /// Rows that cannot be published.
    pub unfit: Vec<Unfit>,
    /// How the derivation of the file ended.
    pub outcome: FileOutcome,
}

/// Which file to gather, and for which day.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The file's index among the day's files.
    pub file: u32,
    /// The day the file belongs to.
    pub file_day: Day,
    /// The day that is checked.
    pub day: Day,
    /// The columns' types on the portal.
    pub columns: &'a Columns,
    /// Whether contents are compared.
    pub contents: bool,
}

/// Derives a file and sorts its rows into groups.
///
/// # Errors
/// If the file cannot be derived.
pub fn gather(
    recipe: &dyn Recipe,
    text: &FileText<'_>,
    variant: Variant,
    asked: Asked<'_>,
) -> Result<FileKeys, DeriveError> {
    let mut keys = FileKeys {
        variant,
        today: Gathering::of(asked.file).finish(),
        digests: Vec::new(),
        spilled: Vec::new(),
        misdated: Vec::new(),
        unfit: Vec::new(),
        outcome: FileOutcome::default(),
    };
    let spill = i64::from(recipe.facts().spill_days);
    let mut today = Gathering::of(asked.file);
    let outcome = recipe.derive(text, variant, &mut |line| match line {
        Line::Row(row) => keys.put(&row, spill, asked, &mut today),
        Line::Unpublishable(row) => keys.unfit.push(Unfit {
            key: None,
            file: asked.file,
            ordinal: row.ordinal,
            why: row.why,
        }),
    })?;
    keys.outcome = outcome;
    keys.today = today.finish();
    Ok(keys)
}

impl FileKeys {
    /// Digest of the cells of a row of the checked day.
    #[must_use]
    pub fn digest(&self, row: &Placed) -> Option<u64> {
        self.digests.get(row.ordinal as usize).copied()
    }

    /// Every key the file has, on any day.
    pub fn every_key(&self) -> impl Iterator<Item = RowKey> {
        let today = self.today.keys().map(RowKey::from);
        let near = self.spilled.iter().map(|row| row.key.into());
        let far = self.misdated.iter().map(|row| row.key.clone());
        let unfit = self.unfit.iter().filter_map(|row| row.key.clone());
        today.chain(near).chain(far).chain(unfit)
    }

    /// Puts a row into its group: into `today` if it is on the checked day.
    fn put(&mut self, row: &DerivedRow<'_>, spill: i64, asked: Asked<'_>, today: &mut Gathering) {
        let Asked {
            file,
            file_day,
            day,
            columns,
            contents,
        } = asked;
        let ordinal = row.ordinal;
        let key = row.key;
        if let Some((column, misfit)) = columns.misfit(row.values) {
            self.unfit.push(Unfit {
                key: Some(key.into()),
                file,
                ordinal,
                why: format!("{column}: {misfit}"),
            });
            return;
        }
        match RowDay::of(row.at, file_day, day, spill) {
            RowDay::Far(day) => self.misdated.push(Misdated {
                key: key.into(),
                day,
                file,
                ordinal,
            }),
            RowDay::Today => {
                if contents {
                    let cells = columns.cells(row.values).ok();
                    self.digests.resize(ordinal as usize, 0);
                    self.digests.push(cells.map_or(0, |cells| digest(&cells)));
                }
                today.push(key, ordinal);
            }
            RowDay::Near => self.spilled.push(Placed { key, file, ordinal }),
        }
    }
}
