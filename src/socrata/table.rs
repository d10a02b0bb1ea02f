//! A published table: its metadata, checked against the settings.
//!
//! Metadata name the row identifier by the number of a column instead of its name, and omit the
//! number if none is set. They also list computed regions (`:@...`), which are not part of the
//! data.

use std::collections::BTreeMap;

use chrono::NaiveTime;
use serde::Deserialize;
use serde_json::Value;

use super::failure::{ReadError, RequestError, TableError};
use super::portal::{Frame, Portal};
use super::soql;
use crate::model::{Cell, CellError, ColumnType, DatasetId, Day, DayRange, TableShape};

/// A table that can be read by key and day: its columns exist, and their names are safe in a query.
/// Only [`Table::new`] creates one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its dataset id, a four-by-four.
    pub id: DatasetId,
    /// The column with the row key, a text column.
    pub key_column: String,
    /// The column whose wall time determines the day of a row: a date or text.
    pub day_column: String,
    /// Its metadata.
    pub shape: TableShape,
    checked: Checked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checked;

impl Table {
    /// Checks that the table can be read by these two columns.
    ///
    /// # Errors
    /// If a column is missing or of the wrong type, or any column has a name that is not safe in
    /// a query.
    pub fn new(
        id: DatasetId,
        key_column: &str,
        day_column: &str,
        shape: TableShape,
    ) -> Result<Self, TableError> {
        if let Some(column) = shape.columns.keys().find(|name| !soql::is_identifier(name)) {
            let column = column.clone();
            return Err(TableError::Name { id, column });
        }
        let key = [ColumnType::Text];
        check_type(&id, &shape, key_column, &key, "text")?;
        let day = [ColumnType::CalendarDate, ColumnType::Text];
        check_type(&id, &shape, day_column, &day, "calendar_date or text")?;
        Ok(Self {
            id,
            key_column: key_column.to_owned(),
            day_column: day_column.to_owned(),
            shape,
            checked: Checked,
        })
    }

    /// Whether the portal ensures that no key occurs twice.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.shape.row_identifier.as_ref() == Some(&self.key_column)
    }

    pub(super) fn day_filter(&self, day: Day) -> String {
        self.day_column().within(DayRange::one(day))
    }

    pub(super) fn day_column(&self) -> DayColumn<'_> {
        DayColumn {
            name: &self.day_column,
            kind: &self.shape.columns[&self.day_column],
        }
    }

    pub(super) fn key(&self) -> String {
        soql::column(&self.key_column).into_owned()
    }

    /// All columns of a row, including the system columns.
    pub(super) fn whole_row(&self) -> String {
        let columns = self.shape.columns.keys().map(|name| soql::column(name));
        let system = [":id", ":created_at", ":updated_at"].map(Into::into);
        system
            .into_iter()
            .chain(columns)
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// A column by which rows are selected and counted by day. Its name is safe in a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct DayColumn<'a> {
    name: &'a str,
    kind: &'a ColumnType,
}

impl<'a> DayColumn<'a> {
    /// The column with this name, assumed to be a date. `None` if the name cannot be used in a
    /// query.
    pub(super) fn assumed(name: &'a str) -> Option<Self> {
        let kind = &ColumnType::CalendarDate;
        soql::is_identifier(name).then_some(Self { name, kind })
    }

    pub(super) fn within(self, range: DayRange) -> String {
        soql::in_range(self.name, self.kind, range)
    }

    pub(super) fn date(self) -> String {
        soql::date_of(self.name, self.kind)
    }

    /// Parses a result of [`DayColumn::date`]; `None` if a text column does not contain a date.
    ///
    /// # Errors
    /// If it cannot be the result for a date column.
    pub(super) fn day_of(self, date: Option<&str>) -> Result<Option<Day>, CellError> {
        let Some(text) = date else {
            return Ok(None);
        };
        if *self.kind == ColumnType::Text {
            return Ok(text.get(..10).and_then(|date| date.parse().ok()));
        }
        let json = Value::from(text);
        match Cell::published(Some(&json), self.kind) {
            Cell::Time(at) if at.time() == NaiveTime::MIN => Ok(Some(Day::of(at))),
            _ => Err(CellError::new(&json.to_string(), self.kind.clone())),
        }
    }
}

fn check_type(
    id: &DatasetId,
    shape: &TableShape,
    column: &str,
    allowed: &[ColumnType],
    wanted: &'static str,
) -> Result<(), TableError> {
    let column_of = || (id.clone(), column.to_owned());
    let Some(found) = shape.columns.get(column) else {
        let (id, column) = column_of();
        return Err(TableError::NoColumn { id, column });
    };
    if allowed.contains(found) {
        return Ok(());
    }
    let (id, column) = column_of();
    Err(TableError::Type {
        id,
        column,
        found: found.to_string(),
        wanted,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ViewWire {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    rows_updated_at: i64,
    row_identifier_column_id: Option<Value>,
    columns: Vec<ColumnWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ColumnWire {
    id: Value,
    field_name: String,
    data_type_name: String,
}

/// Reads a table's metadata, and returns how many requests that took.
pub(super) async fn shape(portal: &Portal, id: &DatasetId) -> Result<(TableShape, u64), ReadError> {
    let what = || "metadata".to_owned();
    let failed = |source: RequestError| ReadError::Request {
        id: id.clone(),
        what: what(),
        source,
    };
    let answer = portal.read("metadata", portal.metadata_url(id), Frame::Object);
    let answer = answer.await.map_err(failed)?;
    let shape = parse(&answer.body, id).map_err(|why| ReadError::Contradiction {
        id: id.clone(),
        what: what(),
        why: why.to_owned(),
    })?;
    Ok((shape, answer.requests))
}

pub(super) fn parse(body: &[u8], id: &DatasetId) -> Result<TableShape, &'static str> {
    let view: ViewWire =
        serde_json::from_slice(body).map_err(|_| "they are not the metadata of a table")?;
    if view.id != id.as_str() {
        return Err("they belong to another table");
    }
    let row_identifier = match view.row_identifier_column_id {
        None | Some(Value::Null) => None,
        Some(number) => Some(named(&view.columns, &number)?),
    };
    let shown = view
        .columns
        .into_iter()
        .filter(|column| !column.field_name.starts_with(":@"));
    let typed = |column: ColumnWire| {
        let kind = ColumnType::new(&column.data_type_name);
        (column.field_name, kind)
    };
    Ok(TableShape {
        title: view.name,
        row_identifier,
        columns: shown.map(typed).collect::<BTreeMap<_, _>>(),
        rows_updated_at: view.rows_updated_at,
    })
}

fn named(columns: &[ColumnWire], number: &Value) -> Result<String, &'static str> {
    let column = columns.iter().find(|column| column.id == *number);
    let column = column.ok_or("the row identifier is not one of the columns")?;
    Ok(column.field_name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> DatasetId {
        "sh59-i6y9".parse().unwrap()
    }

    fn view() -> Value {
        json!({
            "id": "sh59-i6y9", "name": "Camera Traffic Counts", "rowsUpdatedAt": 1_601_560_000,
            "rowIdentifierColumnId": 12,
            "columns": [
                {"id": 12, "fieldName": "record_id", "dataTypeName": "text"},
                {"id": 13, "fieldName": "read_date", "dataTypeName": "calendar_date"},
                {"id": 14, "fieldName": "volume", "dataTypeName": "number"},
                {"id": 15, "fieldName": ":@computed_region_x", "dataTypeName": "number"},
            ],
        })
    }

    fn read(view: &Value) -> Result<TableShape, &'static str> {
        parse(view.to_string().as_bytes(), &id())
    }

    #[test]
    fn the_row_identifier_is_found_by_number_and_computed_regions_are_left_out() {
        let shape = read(&view()).unwrap();
        assert_eq!(shape.row_identifier.as_deref(), Some("record_id"));
        assert_eq!(
            shape.columns.keys().collect::<Vec<_>>(),
            ["read_date", "record_id", "volume"]
        );
    }

    #[test]
    fn without_a_number_there_is_no_row_identifier_and_an_unknown_one_is_an_error() {
        let mut none = view();
        none.as_object_mut()
            .unwrap()
            .remove("rowIdentifierColumnId");
        assert_eq!(read(&none).unwrap().row_identifier, None);
        let mut unknown = view();
        unknown["rowIdentifierColumnId"] = json!(99);
        assert!(read(&unknown).is_err());
        let mut other = view();
        other["id"] = json!("abcd-1234");
        assert!(read(&other).is_err());
    }

    #[test]
    fn a_table_needs_its_columns_with_matching_types_and_safe_names() {
        let table =
            |key, day, shape| Table::new(id(), key, day, shape).map(|table| table.is_keyed());
        let shape = || read(&view()).unwrap();
        assert!(matches!(table("record_id", "read_date", shape()), Ok(true)));
        let missing = table("row_id", "read_date", shape());
        assert!(matches!(missing, Err(TableError::NoColumn { .. })));
        let number = table("record_id", "volume", shape());
        assert!(matches!(number, Err(TableError::Type { .. })));
        let mut hostile = shape();
        hostile.columns.insert("x),(y".into(), ColumnType::Text);
        let hostile = table("record_id", "read_date", hostile);
        assert!(matches!(hostile, Err(TableError::Name { .. })));
    }
}
