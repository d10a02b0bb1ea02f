//! What the catalog's table is like, and what of it keeps us from using it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Column, and its type in PostgreSQL.
const WANTED: [(&str, &[&str]); 9] = [
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

/// What the catalog's table is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogShape {
    /// The table as it is named in statements.
    pub table: String,
    /// Whether there is such a table or view.
    pub exists: bool,
    /// Whether types are PostgreSQL's. SQLite has none to speak of.
    pub typed: bool,
    /// Column to type, as the database names it.
    pub columns: BTreeMap<String, String>,
    /// The sets of columns by which lines are unique, the primary key among them. A view has none.
    pub unique: Vec<BTreeSet<String>>,
    /// Whether it is a view, which hides the keys of its table.
    pub is_view: bool,
    /// What we may do with it: of `select`, `insert`, `update`, `delete`.
    pub rights: BTreeSet<String>,
}

impl CatalogShape {
    /// What keeps us from reading the catalog, a sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        if !self.exists {
            return vec![format!(
                "there is no table {}: correct catalog.table",
                self.table
            )];
        }
        let mut faults: Vec<String> = WANTED
            .iter()
            .filter_map(|(column, types)| self.fault_of(column, types))
            .collect();
        if !self.rights.contains("select") {
            faults.push(format!("we may not read {}: grant select", self.table));
        }
        faults
    }

    /// What keeps us from correcting the catalog, a sentence each. Reading is not affected.
    #[must_use]
    pub fn write_faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = ["insert", "update", "delete"]
            .iter()
            .filter(|right| !self.rights.contains(**right))
            .map(|right| {
                format!(
                    "we have no right to {right} in {}: grant {right}",
                    self.table
                )
            })
            .collect();
        let key: BTreeSet<String> = KEY.iter().map(ToString::to_string).collect();
        if self.exists && !self.is_view && !self.unique.contains(&key) {
            faults.push(format!(
                "{} has no primary key of {}: add it",
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
                "column {column} of {} is {found}, want {}",
                self.table, types[0]
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> CatalogShape {
        CatalogShape {
            table: "\"api\".\"t\"".into(),
            exists: true,
            typed: true,
            columns: WANTED
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
    fn a_sound_table_has_no_faults() {
        assert!(sound().faults().is_empty());
        assert!(sound().write_faults().is_empty());
    }

    #[test]
    fn each_fault_is_named() {
        let mut shape = sound();
        shape.columns.remove("pointer");
        shape.columns.insert(
            "collection_date".into(),
            "timestamp without time zone".into(),
        );
        assert_eq!(shape.faults().len(), 2, "{:?}", shape.faults());
        let mut shape = sound();
        shape.unique.clear();
        shape.rights = ["select"].map(Into::into).into();
        assert!(shape.faults().is_empty());
        assert_eq!(shape.write_faults().len(), 4);
        shape.exists = false;
        assert_eq!(shape.faults().len(), 1);
    }
}
