//! The metadata document of a table, `/api/views/{id}.json`, with the parts that clients use.
//! Clients find the row identifier in `rowIdentifierColumnId`, which is absent if none is set.

use serde_json::{Map, Value, json};

use super::store::{State, Table};

/// The field that some portals add automatically. `*` leaves it out as soon as there is an order.
pub(super) const COMPUTED_REGION: &str = ":@computed_region_a3c5_e2fg";

const FIRST_COLUMN_ID: usize = 500_001;

/// The document for `state`.
pub(super) fn document(table: &Table, state: &State) -> Value {
    let schema = &table.schema;
    let mut columns: Vec<Value> = schema
        .columns
        .iter()
        .enumerate()
        .map(|(at, found)| column(at, &found.field, found.kind.in_metadata(), state.rows.len()))
        .collect();
    if schema.computed_region {
        columns.push(column(
            columns.len(),
            COMPUTED_REGION,
            "number",
            state.rows.len(),
        ));
    }
    let mut document = Map::new();
    let created = schema.created_at / 1000;
    let owner = json!({"id": "aaaa-bbbb", "displayName": "Open Data", "screenName": "Open Data"});
    for (name, value) in [
        ("id", json!(schema.id)),
        ("name", json!(schema.name)),
        ("createdAt", json!(created)),
        ("publicationDate", json!(created)),
        ("rowsUpdatedAt", json!(state.modified / 1000)),
        ("viewLastModified", json!(created)),
        ("rowsUpdatedBy", json!("aaaa-bbbb")),
        ("publicationStage", json!("published")),
        ("newBackend", json!(true)),
        ("tableId", json!(1_234_567)),
        ("viewType", json!("tabular")),
        ("displayType", json!("table")),
        ("rights", json!(["read"])),
        ("flags", json!(["default"])),
        ("owner", owner.clone()),
        ("tableAuthor", owner),
        ("columns", json!(columns)),
    ] {
        document.insert(name.to_owned(), value);
    }
    if let Some(key) = schema.key {
        document.insert(
            "rowIdentifierColumnId".to_owned(),
            json!(FIRST_COLUMN_ID + key),
        );
        let metadata = json!({"rowIdentifier": (FIRST_COLUMN_ID + key).to_string()});
        document.insert("metadata".to_owned(), metadata);
    }
    Value::Object(document)
}

fn column(at: usize, field: &str, kind: &str, rows: usize) -> Value {
    json!({
        "id": FIRST_COLUMN_ID + at,
        "name": field,
        "fieldName": field,
        "dataTypeName": kind,
        "renderTypeName": kind,
        "position": at + 1,
        "tableColumnId": 9_000 + at,
        "width": 100,
        "format": {},
        "cachedContents": {"count": rows.to_string()},
    })
}
