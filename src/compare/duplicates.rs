//! Finds out which unexpected rows are duplicates.
//!
//! A published row whose key is not expected is a *duplicate* if an expected row is the same line
//! under another key, and an *orphan* otherwise. The difference matters: an orphan may be the last
//! copy of something, a duplicate is not. So a match must be proved, in one of three ways:
//!
//! 1. its key is the key of a lake row under another key scheme or counter;
//! 2. every identity column equals that of an expected row (*rekeyed*);
//! 3. every column but one equals that of an expected row, and that one is a text column of the
//!    identity (*renamed*). Once enough rows prove that a name was spelled differently, other rows
//!    with that spelling are duplicates even if their measures are out of date.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::expected::Variant;
use crate::model::{Cell, PublishedRow, RowKey};

use super::gather::{Columns, digest};

/// How a duplicate matches its expected row.
#[derive(Clone, Debug, PartialEq)]
pub enum Kinship {
    /// The same identity under another key, with the variant that made the key, if it is known.
    Rekeyed(Option<Variant>),
    /// The same line with one name spelled differently.
    Renamed {
        /// The column.
        column: &'static str,
        /// The value of the unexpected row.
        from: Cell,
        /// The value of the expected row.
        to: Cell,
    },
}

/// A published row that is an expected row under another key.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicate {
    /// The unexpected row.
    pub published: PublishedRow,
    /// The key of the expected row that it duplicates.
    pub of: RowKey,
    /// How the two rows match.
    pub how: Kinship,
}

/// A renaming is accepted once this many rows agree with it in every other column.
const PROOFS_OF_A_RENAMING: usize = 2;

/// Maximum candidates kept per row while looking for a renaming that other rows prove.
const CANDIDATES_KEPT: usize = 64;

struct Candidate {
    slot: usize,
    to: Cell,
    of: RowKey,
    proved: bool,
}

struct UnexpectedRow {
    row: PublishedRow,
    cells: Vec<Cell>,
    rekeyed: Option<RowKey>,
    renamed: Vec<Candidate>,
    resembles: bool,
}

/// The unexpected rows, sorted into duplicates and orphans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kin {
    /// Those that duplicate an expected row.
    pub duplicates: Vec<Duplicate>,
    /// Those that do not.
    pub orphans: Vec<PublishedRow>,
    /// Keys of the orphans that equal an expected row in every identity column but one. This is
    /// inconclusive: the rows may or may not be copies.
    pub resembling: BTreeSet<RowKey>,
}

/// The unexpected rows of a day, while expected rows are matched against them.
pub struct KinSearch {
    names: &'static [&'static str],
    identity: Vec<usize>,
    /// Identity columns in which a row may differ from its match: all but the day column.
    varying: Vec<usize>,
    renameable: HashSet<usize>,
    unexpected: Vec<UnexpectedRow>,
    by_identity: HashMap<u64, Vec<usize>>,
    by_rest: HashMap<(usize, u64), Vec<usize>>,
}

fn without(cells: &[Cell], identity: &[usize], left_out: usize) -> u64 {
    let rest: Vec<Cell> = (identity.iter())
        .filter(|index| **index != left_out)
        .map(|&index| cells[index].clone())
        .collect();
    digest(&rest)
}

fn picked(cells: &[Cell], identity: &[usize]) -> u64 {
    without(cells, identity, usize::MAX)
}

impl KinSearch {
    /// Begins the search. `identity` names the hashed columns. Those that hold text may be spelled
    /// differently, except the `day_column`.
    #[must_use]
    pub fn new(
        columns: &Columns,
        identity: &[&str],
        day_column: &str,
        unexpected: Vec<PublishedRow>,
    ) -> Self {
        let identity: Vec<usize> = identity
            .iter()
            .filter_map(|name| columns.index(name))
            .collect();
        let varying: Vec<usize> = (identity.iter().copied())
            .filter(|&index| columns.names()[index] != day_column)
            .collect();
        let renameable = (varying.iter().copied())
            .filter(|&index| columns.is_text(index))
            .collect();
        let mut search = Self {
            names: columns.names(),
            identity,
            varying,
            renameable,
            unexpected: Vec::with_capacity(unexpected.len()),
            by_identity: HashMap::new(),
            by_rest: HashMap::new(),
        };
        for row in unexpected {
            let cells = columns.published(&row.fields);
            search.remember(row, cells);
        }
        search
    }

    fn remember(&mut self, row: PublishedRow, cells: Vec<Cell>) {
        let slot = self.unexpected.len();
        self.by_identity
            .entry(picked(&cells, &self.identity))
            .or_default()
            .push(slot);
        for &column in &self.varying {
            let rest = (column, without(&cells, &self.identity, column));
            self.by_rest.entry(rest).or_default().push(slot);
        }
        self.unexpected.push(UnexpectedRow {
            row,
            cells,
            rekeyed: None,
            renamed: Vec::new(),
            resembles: false,
        });
    }

    /// Whether there are no rows to match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unexpected.is_empty()
    }

    /// Matches one expected row against the unexpected rows.
    pub fn offer(&mut self, key: &RowKey, cells: &[Cell]) {
        for &slot in self
            .by_identity
            .get(&picked(cells, &self.identity))
            .into_iter()
            .flatten()
        {
            let unexpected = &mut self.unexpected[slot];
            if self
                .identity
                .iter()
                .all(|&index| unexpected.cells[index] == cells[index])
            {
                unexpected.rekeyed.get_or_insert_with(|| key.clone());
            }
        }
        for &column in &self.varying {
            let rest = (column, without(cells, &self.identity, column));
            for &slot in self.by_rest.get(&rest).into_iter().flatten() {
                let unexpected = &mut self.unexpected[slot];
                if !unexpected.is_like(column, cells, &self.identity) {
                    continue;
                }
                unexpected.resembles = true;
                if self.renameable.contains(&column) {
                    unexpected.consider(column, key, cells);
                }
            }
        }
    }

    /// Ends the search. `rekeyed_by` maps each key that another variant makes to that variant and
    /// the expected key.
    #[must_use]
    pub fn finish(self, rekeyed_by: &HashMap<RowKey, (Variant, RowKey)>) -> Kin {
        let proven = self.proven_renamings();
        let (names, mut kin) = (self.names, Kin::default());
        for unexpected in self.unexpected {
            let known = unexpected
                .row
                .key
                .as_ref()
                .and_then(|key| rekeyed_by.get(key));
            let resembles = unexpected.resembles;
            match unexpected.classify(known, &proven, names) {
                Ok(duplicate) => kin.duplicates.push(duplicate),
                Err(orphan) => {
                    kin.resembling
                        .extend(orphan.key.clone().filter(|_| resembles));
                    kin.orphans.push(orphan);
                }
            }
        }
        kin
    }

    fn proven_renamings(&self) -> HashSet<(usize, Cell, Cell)> {
        let mut proofs: HashMap<(usize, &Cell, &Cell), usize> = HashMap::new();
        for unexpected in self
            .unexpected
            .iter()
            .filter(|unexpected| unexpected.rekeyed.is_none())
        {
            for candidate in unexpected
                .renamed
                .iter()
                .filter(|candidate| candidate.proved)
            {
                let from = &unexpected.cells[candidate.slot];
                *proofs
                    .entry((candidate.slot, from, &candidate.to))
                    .or_default() += 1;
            }
        }
        (proofs.into_iter())
            .filter(|(_, count)| *count >= PROOFS_OF_A_RENAMING)
            .map(|((slot, from, to), _)| (slot, from.clone(), to.clone()))
            .collect()
    }
}

impl UnexpectedRow {
    /// Whether `column` is the only identity column that differs.
    fn is_like(&self, column: usize, cells: &[Cell], identity: &[usize]) -> bool {
        let same = |index: usize| self.cells[index] == cells[index];
        !same(column) && identity.iter().all(|&index| index == column || same(index))
    }

    fn consider(&mut self, column: usize, key: &RowKey, cells: &[Cell]) {
        let same = |index: usize| self.cells[index] == cells[index];
        let proved = (0..cells.len()).all(|index| index == column || same(index));
        if proved || self.renamed.len() < CANDIDATES_KEPT {
            let to = cells[column].clone();
            self.renamed.push(Candidate {
                slot: column,
                to,
                of: key.clone(),
                proved,
            });
        }
    }

    fn classify(
        self,
        known: Option<&(Variant, RowKey)>,
        proven: &HashSet<(usize, Cell, Cell)>,
        names: &'static [&'static str],
    ) -> Result<Duplicate, PublishedRow> {
        if let Some((variant, of)) = known {
            let how = Kinship::Rekeyed(Some(*variant));
            return Ok(Duplicate {
                published: self.row,
                of: of.clone(),
                how,
            });
        }
        if let Some(of) = self.rekeyed {
            return Ok(Duplicate {
                published: self.row,
                of,
                how: Kinship::Rekeyed(None),
            });
        }
        let cells = &self.cells;
        let is_proven = |candidate: &&Candidate| {
            let from = cells[candidate.slot].clone();
            proven.contains(&(candidate.slot, from, candidate.to.clone()))
        };
        let renamed = (self.renamed.iter().filter(|candidate| candidate.proved))
            .chain(self.renamed.iter().filter(|candidate| !candidate.proved))
            .find(is_proven);
        match renamed {
            Some(candidate) => Ok(Duplicate {
                of: candidate.of.clone(),
                how: Kinship::Renamed {
                    column: names[candidate.slot],
                    from: cells[candidate.slot].clone(),
                    to: candidate.to.clone(),
                },
                published: self.row,
            }),
            None => Err(self.row),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::expected::recipe;
    use crate::model::{ColumnType, TableShape};

    const KEYS: [&str; 2] = ["a", "b"];

    fn columns() -> Columns {
        let recipe = recipe("bluetooth-unmatched").expect("it is registered");
        let kind = |name: &&str| match *name {
            "host_read_time" | "field_device_read_time" => ColumnType::CalendarDate,
            _ => ColumnType::Text,
        };
        let names = recipe.facts().columns;
        let shape = TableShape {
            title: "reads".into(),
            row_identifier: None,
            columns: names
                .iter()
                .map(|name| ((*name).to_owned(), kind(name)))
                .collect(),
            rows_updated_at: 0,
        };
        Columns::of(recipe, &shape).expect("the table has every column")
    }

    fn published(
        key: &str,
        second: u32,
        reader: &str,
        address: u32,
        field_second: u32,
    ) -> PublishedRow {
        let fields: BTreeMap<String, serde_json::Value> = [
            (
                "host_read_time",
                json!(format!("2020-01-01T00:00:{second:02}.000")),
            ),
            (
                "field_device_read_time",
                json!(format!("2020-01-01T00:00:{field_second:02}.000")),
            ),
            ("reader_identifier", json!(reader)),
            ("device_address", json!(address.to_string())),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        PublishedRow {
            key: Some(RowKey::new(key)),
            sid: format!("row-{key}"),
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::UNIX_EPOCH,
            fields,
        }
    }

    fn sorted(
        unexpected: Vec<PublishedRow>,
        expected: &[PublishedRow],
        known: &HashMap<RowKey, (Variant, RowKey)>,
    ) -> Kin {
        let columns = columns();
        let identity = ["host_read_time", "reader_identifier", "device_address"];
        let mut search = KinSearch::new(&columns, &identity, "host_read_time", unexpected);
        for row in expected {
            search.offer(row.key.as_ref().unwrap(), &columns.published(&row.fields));
        }
        search.finish(known)
    }

    #[test]
    fn equal_identity_under_another_key_is_rekeyed() {
        let Kin {
            duplicates,
            orphans,
            ..
        } = sorted(
            vec![published("x", 1, "lamar", 7, 2)],
            &[published("a", 1, "lamar", 7, 9)],
            &HashMap::new(),
        );
        assert!(orphans.is_empty());
        assert_eq!(duplicates[0].how, Kinship::Rekeyed(None));
        assert_eq!(duplicates[0].of, RowKey::new("a"));
    }

    #[test]
    fn a_name_spelled_differently_in_several_rows_is_renamed() {
        let Kin {
            duplicates,
            orphans,
            ..
        } = sorted(
            vec![
                published("x", 1, "LAMAR", 7, 2),
                published("y", 3, "LAMAR", 8, 4),
                published("z", 5, "LAMAR", 9, 59),
            ],
            &[
                published("a", 1, "lamar", 7, 2),
                published("b", 3, "lamar", 8, 4),
                published("c", 5, "lamar", 9, 6),
            ],
            &HashMap::new(),
        );
        assert!(
            orphans.is_empty(),
            "the third has an old measure and is renamed like the others"
        );
        for duplicate in &duplicates {
            let Kinship::Renamed { column, from, to } = &duplicate.how else {
                panic!("{duplicate:?} is not renamed");
            };
            assert_eq!(
                (*column, from.to_string(), to.to_string()),
                (
                    "reader_identifier",
                    "'LAMAR'".to_owned(),
                    "'lamar'".to_owned(),
                )
            );
        }
    }

    #[test]
    fn one_similar_row_does_not_prove_a_renaming() {
        let Kin {
            duplicates,
            orphans,
            resembling,
        } = sorted(
            vec![published("x", 1, "LAMAR", 7, 2)],
            &[published("a", 1, "lamar", 7, 2)],
            &HashMap::new(),
        );
        assert_eq!((duplicates.len(), orphans.len()), (0, 1));
        assert_eq!(resembling, BTreeSet::from([RowKey::new("x")]));
    }

    #[test]
    fn a_row_at_another_time_is_not_a_duplicate() {
        let Kin {
            duplicates,
            orphans,
            resembling,
        } = sorted(
            (0..4)
                .map(|n| published(&format!("x{n}"), 30 + n, "lamar", n, 2))
                .collect(),
            &(0..4)
                .map(|n| published(KEYS[n as usize % 2], n, "lamar", n, 2))
                .collect::<Vec<_>>(),
            &HashMap::new(),
        );
        assert_eq!(
            (duplicates.len(), orphans.len(), resembling.len()),
            (0, 4, 0)
        );
    }

    #[test]
    fn a_key_of_another_variant_is_sufficient_proof() {
        use crate::expected::Counter;
        use crate::model::KeyScheme;
        let variant = Variant {
            keys: KeyScheme::Chained,
            counter: Counter::Shared,
        };
        let known = HashMap::from([(RowKey::new("x"), (variant, RowKey::new("a")))]);
        let Kin { duplicates, .. } = sorted(vec![published("x", 9, "other", 1, 1)], &[], &known);
        assert_eq!(duplicates[0].how, Kinship::Rekeyed(Some(variant)));
    }
}
