//! A stand-in portal made of maps: the rows of each table by key.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use crate::sandbox::city::Tables;

/// A stand-in portal made of maps.
#[derive(Default)]
pub(super) struct Maps(Mutex<BTreeMap<String, Rows>>);

pub(super) type Rows = BTreeMap<String, Map<String, Json>>;

pub(super) fn key_of(row: &Map<String, Json>) -> String {
    let key = row.get("record_id").or_else(|| row.get("row_id"));
    key.and_then(Json::as_str).unwrap().to_owned()
}

impl Tables for Maps {
    fn upsert(&self, id: &str, rows: Vec<Map<String, Json>>, _at: DateTime<Utc>) {
        let mut tables = self.0.lock().unwrap();
        let table = tables.entry(id.into()).or_default();
        for row in rows {
            table.entry(key_of(&row)).or_default().extend(row);
        }
    }

    fn delete(&self, id: &str, keys: &[String]) {
        let mut tables = self.0.lock().unwrap();
        let table = tables.entry(id.into()).or_default();
        for key in keys {
            assert!(table.remove(key).is_some(), "delete of an unknown row");
        }
    }

    fn rows(&self, id: &str) -> Vec<Map<String, Json>> {
        let tables = self.0.lock().unwrap();
        tables
            .get(id)
            .into_iter()
            .flat_map(|table| table.values().cloned())
            .collect()
    }
}
