//! The rows that the existing publisher uploads for a file. They are derived by a recipe and
//! converted by the upload library according to the column types (text columns take any value as
//! text, and empty texts become null). Keys may be current ones or those of another publisher.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use md5::{Digest, Md5};
use serde_json::{Map, Value as Json};

use super::{GeneratedFile, TableSpec};
use crate::expected::{Counter, DeriveError, DerivedRow, Facts, FileText, Line, Recipe, Variant};
use crate::model::{Cell, ColumnType, KeyScheme, Md5Key, RowKey, Value};

/// Another publisher's spelling of one column, applied before the key is made.
#[derive(Clone, Copy, Debug)]
pub struct Spelling {
    /// The column.
    pub column: &'static str,
    /// How that publisher spells a text.
    pub respell: fn(&str) -> String,
}

impl Spelling {
    /// `BURNET RD / RICHCREEK RD` as `BURNET RD/ RICHCREEK RD`, which caused duplicates on real
    /// days.
    #[must_use]
    pub fn tight_slash() -> Self {
        Self {
            column: "intersection_name",
            respell: |text| text.replace(" / ", "/ "),
        }
    }
}

/// How a publisher works.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// How it makes keys and numbers addresses.
    pub variant: Variant,
    /// The column it spells differently.
    pub spelling: Option<Spelling>,
    /// The number of rows of a file after which it stops.
    pub stop_after: Option<usize>,
}

impl How {
    /// How the city's own publisher works, with addresses numbered by this counter.
    #[must_use]
    pub fn ordinary(counter: Counter) -> Self {
        Self {
            variant: Variant {
                keys: KeyScheme::Row,
                counter,
            },
            spelling: None,
            stop_after: None,
        }
    }
}

/// A row as it is uploaded.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadRow {
    /// Its key.
    pub key: String,
    /// Wall time of its day column.
    pub at: NaiveDateTime,
    /// Its columns, including the key column.
    pub fields: Map<String, Json>,
}

/// All rows of a file, in file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Upload {
    /// The rows.
    pub rows: Vec<UploadRow>,
    /// Number of rows left out because a portal would refuse the whole upload because of them.
    pub unpublishable: u64,
    /// Whether the publisher skips the whole file.
    pub passed_by: bool,
    /// Whether the publisher stopped partway.
    pub cut_short: bool,
}

impl Upload {
    /// The rows that are published afterwards, in file order. Of rows with the same key, only the
    /// last.
    #[must_use]
    pub fn published_rows(&self) -> Vec<&UploadRow> {
        let places = self.rows.iter().enumerate();
        let last: HashMap<&str, usize> = places.map(|(place, row)| (&*row.key, place)).collect();
        let is_last = |(place, row): &(usize, &UploadRow)| last[&*row.key] == *place;
        let published = self.rows.iter().enumerate().filter(is_last);
        published.map(|(_, row)| row).collect()
    }
}

/// The rows that a publisher working this way uploads for the file.
///
/// # Errors
/// If the file cannot be derived.
pub fn upload(
    recipe: &dyn Recipe,
    table: &TableSpec,
    file: &GeneratedFile,
    companion: Option<&GeneratedFile>,
    how: &How,
) -> Result<Upload, DeriveError> {
    let text = FileText {
        path: &file.path,
        bytes: &file.bytes,
        companion: companion.map(|file| (&file.path, &*file.bytes)),
    };
    let mut upload = Upload::default();
    let mut maker = RowMaker::new(recipe.facts(), table, how);
    let outcome = recipe.derive(&text, how.variant, &mut |line| {
        let made = match line {
            Line::Row(row) => maker.make(&row),
            Line::Unpublishable(_) => None,
        };
        match made {
            Some(row) => upload.rows.push(row),
            None => upload.unpublishable += 1,
        }
    })?;
    upload.passed_by = outcome.passed_by.is_some();
    if let Some(rows) = how.stop_after {
        upload.cut_short = rows < upload.rows.len();
        upload.rows.truncate(rows);
    }
    Ok(upload)
}

/// Converts derived rows to uploaded ones.
struct RowMaker<'a> {
    facts: &'static Facts,
    table: &'a TableSpec,
    types: Vec<&'a ColumnType>,
    spelling: Option<Spelling>,
    keys: KeyScheme,
    chain: Md5,
}

impl<'a> RowMaker<'a> {
    fn new(facts: &'static Facts, table: &'a TableSpec, how: &How) -> Self {
        let kind = |name: &&'static str| table.column(name).unwrap_or(&ColumnType::Text);
        Self {
            facts,
            table,
            types: facts.columns.iter().map(kind).collect(),
            spelling: how.spelling,
            keys: how.variant.keys,
            chain: Md5::new(),
        }
    }

    /// The row as it is uploaded; `None` if a portal would refuse it.
    fn make(&mut self, row: &DerivedRow<'_>) -> Option<UploadRow> {
        let (values, key) = match self.spelling {
            None => (row.values.to_vec(), row.key.to_string()),
            Some(spelling) => {
                let values = self.respell(row.values, spelling);
                let key = self.key(&values)?;
                (values, key)
            }
        };
        let mut fields = Map::new();
        for ((column, kind), value) in self.facts.columns.iter().zip(&self.types).zip(&values) {
            fields.insert((*column).into(), sent(value, kind)?);
        }
        fields.insert(self.table.row_identifier.into(), key.clone().into());
        Some(UploadRow {
            key,
            at: row.at,
            fields,
        })
    }

    fn respell(&self, values: &[Value], spelling: Spelling) -> Vec<Value> {
        let columns = self.facts.columns.iter().zip(values);
        columns
            .map(|(column, value)| match value {
                Value::Text(text) if *column == spelling.column => {
                    Value::Text((spelling.respell)(text))
                }
                other => other.clone(),
            })
            .collect()
    }

    /// The key over the identity columns: of this row, or of all rows up to this one.
    fn key(&mut self, values: &[Value]) -> Option<String> {
        let mut hash = match self.keys {
            KeyScheme::Chained => self.chain.clone(),
            KeyScheme::Row | KeyScheme::Kits => Md5::new(),
        };
        for name in self.facts.identity {
            let place = self
                .facts
                .columns
                .iter()
                .position(|column| column == name)?;
            hash.update(values[place].text()?.as_bytes());
        }
        self.chain = hash.clone();
        Some(RowKey::Md5(Md5Key(hash.finalize().into())).to_string())
    }
}

/// The value as the upload library sends it; `None` if a portal would refuse it.
fn sent(value: &Value, column: &ColumnType) -> Option<Json> {
    Cell::stored(value, column).ok()?;
    let text = value.text()?;
    match (column, value) {
        (_, Value::Null) => Some(Json::Null),
        (ColumnType::Text, _) if text.is_empty() => Some(Json::Null),
        (ColumnType::Number, Value::Text(text)) if text.is_empty() => Some(Json::Null),
        (ColumnType::Text, _) => Some(Json::from(&*text)),
        _ => serde_json::from_str(&value.json()).ok(),
    }
}
