//! The structure of the catalog's table, and what in it prevents its use.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// The required columns with their PostgreSQL types.
const REQUIRED: [(&str, &[&str]); 9] = [
    ("collection_date", &["timestamp with time zone"]),
    ("repository", TEXTS),
    ("data_source", TEXTS),
    ("id_base", TEXTS),
    ("id_ext", TEXTS),
    ("pointer", TEXTS),
    ("collection_end", &["timestamp with time zone"]),
    ("processing_date", &["timestamp with time zone"]),
    ("metadata", &["jsonb", "json"]),
];

const TEXTS: &[&str] = &["text", "character varying"];

const KEY: [&str; 5] = [
    "collection_date",
    "repository",
    "data_source",
    "id_base",
    "id_ext",
];

/// The structure of the catalog's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogShape {
    /// The table's name as used in statements.
    pub table: String,
    /// Whether the table or view exists.
    pub exists: bool,
    /// Whether columns have PostgreSQL types. SQLite does not enforce column types.
    pub typed: bool,
    /// Column names and types, as the database names them.
    pub columns: BTreeMap<String, String>,
    /// The sets of columns that are unique, including the primary key. A view has none.
    pub unique: Vec<BTreeSet<String>>,
    /// Whether it is a view; a view hides the keys of its table.
    pub is_view: bool,
    /// Our privileges on it: of `select`, `insert`, `update`, `delete`.
    pub rights: BTreeSet<String>,
}

impl CatalogShape {
    /// What prevents reading the catalog, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        if !self.exists {
            return vec![format!(
                "there is no table {}; correct catalog.table",
                self.table
            )];
        }
        let mut faults: Vec<String> = REQUIRED
            .iter()
            .filter_map(|(column, types)| self.fault_of(column, types))
            .collect();
        if !self.rights.contains("select") {
            faults.push(format!(
                "permission to read {} is missing; grant select",
                self.table
            ));
        }
        faults
    }

    /// What prevents correcting the catalog, one sentence each. Reading is not affected.
    #[must_use]
    pub fn write_faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = ["insert", "update", "delete"]
            .iter()
            .filter(|right| !self.rights.contains(**right))
            .map(|right| {
                format!(
                    "permission to {right} in {} is missing; grant {right}",
                    self.table
                )
            })
            .collect();
        let key: BTreeSet<String> = KEY.iter().map(ToString::to_string).collect();
        if self.exists && !self.is_view && !self.unique.contains(&key) {
            faults.push(format!(
                "{} has no primary key of {}; add it",
                self.table,
                KEY.join(", ")
            ));
        }
        faults
    }

    fn fault_of(&self, column: &str, types: &[&str]) -> Option<String> {
        let Some(found) = self.columns.get(column) else {
            return Some(format!("{} has no column {column}", self.table));
        };
        (self.typed && !types.contains(&found.as_str())).then(|| {
            format!(
                "column {column} of {} is {found}; expected {}",
                self.table, types[0]
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> CatalogShape {
        CatalogShape {
            table: "\"api\".\"t\"".into(),
            exists: true,
            typed: true,
            columns: REQUIRED
                .iter()
                .map(|(name, types)| ((*name).into(), types[0].into()))
                .collect(),
            unique: vec![KEY.iter().map(ToString::to_string).collect()],
            is_view: false,
            rights: ["select", "insert", "update", "delete"]
                .map(Into::into)
                .into(),
        }
    }

    #[test]
    fn a_valid_table_has_no_faults() {
        assert!(valid().faults().is_empty());
        assert!(valid().write_faults().is_empty());
    }

    #[test]
    fn each_fault_is_named() {
        let mut shape = valid();
        shape.columns.remove("pointer");
        shape.columns.insert(
            "collection_date".into(),
            "timestamp without time zone".into(),
        );
        assert_eq!(shape.faults().len(), 2, "{:?}", shape.faults());
        let mut shape = valid();
        shape.unique.clear();
        shape.rights = ["select"].map(Into::into).into();
        assert!(shape.faults().is_empty());
        assert_eq!(shape.write_faults().len(), 4);
        shape.exists = false;
        assert_eq!(shape.faults().len(), 1);
    }
}
