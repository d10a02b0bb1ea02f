//! Applies writes. The body of a POST or PUT is parsed into operations and checked in full (one bad
//! field refuses the whole body), then applied to the true state in order. Rows that cannot be
//! written are reported and skipped, as on a real portal.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::store::{Change, Row, Schema, Table};

/// One element of a body.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Upsert {
        cells: Vec<(usize, Cell)>,
        target: Target,
    },
    Delete {
        target: Target,
    },
}

/// The row that an operation refers to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The row with this key.
    Key(Cell),
    /// The row with this `:id`; `None` if this portal never issued that id.
    Sid(Option<u64>),
    /// No row.
    Nothing,
}

/// Why a whole body is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is not JSON")]
    Malformed(#[source] serde_json::Error),
    #[error("the body is not CSV")]
    MalformedCsv,
    #[error("an element of the body is not a row")]
    NotAnObject,
    #[error("there is no column {0}")]
    UnknownField(String),
    #[error("field {field} is not {expected}")]
    Maltyped {
        field: String,
        expected: &'static str,
        got: String,
    },
    #[error("a delete lacks the row identifier")]
    DeleteWithoutKey,
}

/// The result of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    Insert {
        id: String,
        version: String,
    },
    Update {
        id: String,
        version: String,
    },
    Delete {
        id: String,
    },
    Error {
        error: &'static str,
        id: Option<String>,
    },
}

impl Report {
    pub(super) fn json(&self) -> Value {
        match self {
            Report::Insert { id, version } => json!({"typ": "insert", "id": id, "ver": version}),
            Report::Update { id, version } => json!({"typ": "update", "id": id, "ver": version}),
            Report::Delete { id } => json!({"typ": "delete", "id": id}),
            Report::Error { error, id } => json!({"typ": "error", "err": error, "id": id}),
        }
    }
}

/// Parses a JSON body: an array of rows, or one row.
pub(super) fn read_json(schema: &Schema, body: &[u8]) -> Result<Vec<Operation>, BodyError> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(BodyError::Malformed)?;
    if whole.get().starts_with('[') {
        let elements: Vec<&RawValue> =
            serde_json::from_str(whole.get()).map_err(BodyError::Malformed)?;
        elements
            .into_iter()
            .map(|element| read_element(schema, element))
            .collect()
    } else {
        Ok(vec![read_element(schema, whole)?])
    }
}

/// Parses one row given as a map, as a test or the demo does.
pub(super) fn read_map(schema: &Schema, map: &Map<String, Value>) -> Result<Operation, BodyError> {
    let texts: BTreeMap<String, String> = map
        .iter()
        .map(|(field, value)| (field.clone(), value.to_string()))
        .collect();
    read_fields(
        schema,
        texts
            .iter()
            .map(|(field, raw)| (field.as_str(), raw.as_str())),
    )
}

fn read_element(schema: &Schema, element: &RawValue) -> Result<Operation, BodyError> {
    let text = element.get();
    if text.starts_with('[') {
        let ids: Vec<String> = serde_json::from_str(text).map_err(|_| BodyError::NotAnObject)?;
        let [id] = ids.as_slice() else {
            return Err(BodyError::NotAnObject);
        };
        return Ok(Operation::Delete {
            target: named_row(schema, id),
        });
    }
    if !text.starts_with('{') {
        return Err(BodyError::NotAnObject);
    }
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(BodyError::Malformed)?;
    read_fields(
        schema,
        fields
            .iter()
            .map(|(field, raw)| (field.as_str(), raw.get())),
    )
}

/// The row named by a path or a one-element array: by key, or by `:id` if there is no key.
pub(super) fn named_row(schema: &Schema, id: &str) -> Target {
    match schema.key {
        Some(key) => {
            Cell::accept_text(schema.columns[key].kind, id).map_or(Target::Nothing, Target::Key)
        }
        None => Target::Sid(schema.ids.sid(id)),
    }
}

fn read_fields<'a>(
    schema: &Schema,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Operation, BodyError> {
    let mut cells = Vec::new();
    let mut target = None;
    let mut deleted = false;
    for (field, raw) in fields {
        match field.to_lowercase().as_str() {
            ":deleted" => deleted = raw == "true",
            ":id" => target = read_id(schema, raw),
            ":created_at" | ":updated_at" | ":version" => {}
            computed if computed.starts_with(":@") => {}
            _ => cells.push(read_cell(schema, field, raw)?),
        }
    }
    if let Some(key) = schema.key {
        target = cells
            .iter()
            .rev()
            .find(|(at, _)| *at == key)
            .map(|(_, cell)| match cell {
                Cell::Null => Target::Nothing,
                cell => Target::Key(cell.clone()),
            });
    }
    match (deleted, target) {
        (true, None) => Err(BodyError::DeleteWithoutKey),
        (true, Some(target)) => Ok(Operation::Delete { target }),
        (false, target) => Ok(Operation::Upsert {
            cells,
            target: target.unwrap_or(Target::Nothing),
        }),
    }
}

fn read_id(schema: &Schema, raw: &str) -> Option<Target> {
    if raw == "null" {
        return None;
    }
    let text: Option<String> = serde_json::from_str(raw).ok();
    Some(Target::Sid(text.and_then(|text| schema.ids.sid(&text))))
}

fn read_cell(schema: &Schema, field: &str, raw: &str) -> Result<(usize, Cell), BodyError> {
    let at = schema
        .position(field)
        .ok_or_else(|| BodyError::UnknownField(field.to_owned()))?;
    let kind = schema.columns[at].kind;
    let cell = Cell::accept(kind, raw).ok_or_else(|| BodyError::Maltyped {
        field: schema.columns[at].field.clone(),
        expected: kind.in_headers(),
        got: raw.to_owned(),
    })?;
    Ok((at, cell))
}

/// Parses a CSV body with a header row. An empty field is null.
pub(super) fn read_csv(schema: &Schema, body: &str) -> Result<Vec<Operation>, BodyError> {
    let mut records = csv_records(body)?.into_iter();
    let header = records.next().ok_or(BodyError::MalformedCsv)?;
    records
        .map(|record| read_record(schema, &header, &record))
        .collect()
}

fn read_record(
    schema: &Schema,
    header: &[String],
    record: &[String],
) -> Result<Operation, BodyError> {
    if header.len() != record.len() {
        return Err(BodyError::MalformedCsv);
    }
    let mut texts = Vec::new();
    for (name, field) in header.iter().zip(record) {
        let raw = match schema.position(name) {
            None if name == ":deleted" => field.to_lowercase(),
            None if field.is_empty() => "null".to_owned(),
            None => Value::from(field.as_str()).to_string(),
            Some(at) => {
                let kind = schema.columns[at].kind;
                let cell = Cell::accept_csv(kind, field).ok_or_else(|| BodyError::Maltyped {
                    field: name.clone(),
                    expected: kind.in_headers(),
                    got: field.clone(),
                })?;
                cell.json(&schema.ids)
                    .map_or("null".to_owned(), |value| value.to_string())
            }
        };
        texts.push((name.as_str(), raw));
    }
    read_fields(
        schema,
        texts.iter().map(|(name, raw)| (*name, raw.as_str())),
    )
}

fn csv_records(text: &str) -> Result<Vec<Vec<String>>, BodyError> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    if quoted {
        return Err(BodyError::MalformedCsv);
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    Ok(records)
}

/// Applies operations to the true state, in order. The caller commits the returned changes.
pub(super) fn carry_out(
    table: &mut Table,
    operations: Vec<Operation>,
    stamp: i64,
) -> (Vec<Report>, Vec<Change>) {
    let mut changes = Vec::new();
    let reports = operations
        .into_iter()
        .map(|operation| match operation {
            Operation::Delete { target } => delete(table, &target, &mut changes),
            Operation::Upsert { cells, target } => {
                upsert(table, cells, &target, stamp, &mut changes)
            }
        })
        .collect();
    (reports, changes)
}

/// Empties the table, as part of a replace or a truncate.
pub(super) fn clear(table: &mut Table, changes: &mut Vec<Change>) {
    record(table, Change::Clear, changes);
}

/// The counter of the row that a target refers to, if it exists.
pub(super) fn find(table: &Table, target: &Target) -> Option<u64> {
    match target {
        Target::Key(key) => table.truth.by_key.get(key).copied(),
        Target::Sid(sid) => sid.filter(|sid| table.truth.rows.contains_key(sid)),
        Target::Nothing => None,
    }
}

fn shown(table: &Table, target: &Target) -> Option<String> {
    match target {
        Target::Key(key) => key.plain(&table.schema.ids),
        Target::Sid(sid) => sid.map(|sid| table.schema.ids.row(sid)),
        Target::Nothing => None,
    }
}

fn delete(table: &mut Table, target: &Target, changes: &mut Vec<Change>) -> Report {
    let id = shown(table, target);
    match (find(table, target), id) {
        (Some(sid), Some(id)) => {
            record(table, Change::Remove(sid), changes);
            Report::Delete { id }
        }
        (_, id) => Report::Error {
            error: "no_such_row_to_delete",
            id,
        },
    }
}

fn upsert(
    table: &mut Table,
    cells: Vec<(usize, Cell)>,
    target: &Target,
    stamp: i64,
    changes: &mut Vec<Change>,
) -> Report {
    let known = find(table, target).and_then(|sid| table.truth.rows.get(&sid).cloned());
    if let Some(old) = known {
        let mut row = (*old).clone();
        row.updated = stamp;
        row.version += 1;
        return put(table, row, cells, changes, false);
    }
    match (table.schema.key, target) {
        (Some(_), Target::Nothing) => {
            return Report::Error {
                error: "no_primary_key",
                id: None,
            };
        }
        (None, Target::Sid(_)) => {
            return Report::Error {
                error: "no_such_row_to_update",
                id: shown(table, target),
            };
        }
        _ => {}
    }
    let blank = vec![Cell::Null; table.schema.columns.len()].into_boxed_slice();
    let sid = table.next_sid;
    table.next_sid += 1;
    let row = Row {
        sid,
        version: sid << 8,
        created: stamp,
        updated: stamp,
        cells: blank,
    };
    put(table, row, cells, changes, true)
}

fn put(
    table: &mut Table,
    mut row: Row,
    cells: Vec<(usize, Cell)>,
    changes: &mut Vec<Change>,
    new: bool,
) -> Report {
    for (at, cell) in cells {
        row.cells[at] = cell;
    }
    let ids = &table.schema.ids;
    let id = match table.schema.key {
        Some(key) => row.cells[key].plain(ids).unwrap_or_default(),
        None => ids.row(row.sid),
    };
    let version = ids.version(row.version);
    record(table, Change::Put(Arc::new(row)), changes);
    if new {
        Report::Insert { id, version }
    } else {
        Report::Update { id, version }
    }
}

fn record(table: &mut Table, change: Change, changes: &mut Vec<Change>) {
    let key = table.schema.key;
    table.truth.change(key, &change);
    changes.push(change);
}
