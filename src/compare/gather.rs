//! A file's derived rows, parted into what a look at one day needs of them.
//!
//! Only keys are kept, with where they stand in the file and, if contents are compared, a digest
//! of the stored cells: a day of ten million rows must fit in memory. Whole rows are derived a
//! second time, and only those that turned out to matter.

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
#[error("find column {column} in the published table {table:?}: it has {present}")]
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

    /// The columns' names.
    #[must_use]
    pub fn names(&self) -> &'static [&'static str] {
        self.names
    }

    /// Place of the column of this name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| *column == name)
    }

    /// Whether the column at this place holds text.
    #[must_use]
    pub fn is_text(&self, index: usize) -> bool {
        self.types[index] == ColumnType::Text
    }

    /// What the portal stores of a row's values.
    ///
    /// # Errors
    /// With the column's name, if one cannot hold its value.
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

    /// What a published row's columns mean, in the recipe's order.
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

/// A digest of a row's cells, equal for equal rows within one run of the program.
#[must_use]
pub fn digest(cells: &[Cell]) -> u64 {
    let mut hasher = DefaultHasher::new();
    cells.hash(&mut hasher);
    hasher.finish()
}

/// On which day a file's row stands, as seen from the looked-at day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On the looked-at day.
    Today,
    /// On another day, on which rows of the file ordinarily stand.
    Near,
    /// On this day, far from the file's own: it is misdated.
    Far(Day),
}

impl Standing {
    /// Where a row of wall time `at` stands, of a file of `file_day` whose rows ordinarily begin
    /// up to `spill` days early.
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

/// An expected row on the looked-at day, without its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Its key.
    pub key: Md5Key,
    /// Which of the day's files it is from.
    pub file: u32,
    /// Its place in the file's `data`, from 0.
    pub ordinal: u32,
}

/// An expected row that stands far from its file's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdated {
    /// Its key.
    pub key: RowKey,
    /// The day it stands on.
    pub day: Day,
    /// Which of the day's files it is from.
    pub file: u32,
    /// Its place in the file's `data`, from 0.
    pub ordinal: u32,
}

/// An expected row that cannot be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its key, if it has one.
    pub key: Option<RowKey>,
    /// Which of the day's files it is from.
    pub file: u32,
    /// Its place in the file's `data`, from 0.
    pub ordinal: u32,
    /// Why, as a phrase.
    pub why: String,
}

/// What one file holds for the looked-at day, under one variant.
#[derive(Clone, Debug)]
pub struct FileKeys {
    /// The variant.
    pub variant: Variant,
    /// Rows of the looked-at day.
    pub today: FileRows,
    /// Digests of the cells of the looked-at day's rows, by their place in the file's `data`; empty
    /// where contents are not compared.
    pub digests: Vec<u64>,
    /// Keys of rows that ordinarily stand on a neighbouring day.
    pub spilled: Vec<RowKey>,
    /// Rows that stand far from the file's day.
    pub misdated: Vec<Misdated>,
    /// Rows that cannot be published.
    pub unfit: Vec<Unfit>,
    /// How the file ended.
    pub outcome: FileOutcome,
}

/// Which file is gathered, for which day.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The file's index among the day's files.
    pub file: u32,
    /// The day the file belongs to.
    pub file_day: Day,
    /// The day that is looked at.
    pub day: Day,
    /// The columns' types on the portal.
    pub columns: &'a Columns,
    /// Whether contents are compared.
    pub contents: bool,
}

/// Derives a file and parts its rows.
///
/// # Errors
/// If the file proves nothing.
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
    /// Digest of the cells of a row of the looked-at day.
    #[must_use]
    pub fn digest(&self, row: &Placed) -> Option<u64> {
        self.digests.get(row.ordinal as usize).copied()
    }

    /// Every key the file has, on whatever day.
    pub fn every_key(&self) -> impl Iterator<Item = RowKey> {
        let today = self.today.keys().map(RowKey::from);
        let near = self.spilled.iter().cloned();
        let far = self.misdated.iter().map(|row| row.key.clone());
        let unfit = self.unfit.iter().filter_map(|row| row.key.clone());
        today.chain(near).chain(far).chain(unfit)
    }

    /// Puts a row where it belongs: into `today` if it stands on the looked-at day.
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
        match Standing::of(row.at, file_day, day, spill) {
            Standing::Far(day) => self.misdated.push(Misdated {
                key: key.into(),
                day,
                file,
                ordinal,
            }),
            Standing::Today => {
                if contents {
                    let cells = columns.cells(row.values).ok();
                    self.digests.resize(ordinal as usize, 0);
                    self.digests.push(cells.map_or(0, |cells| digest(&cells)));
                }
                today.push(key, ordinal);
            }
            Standing::Near => self.spilled.push(key.into()),
        }
    }
}
