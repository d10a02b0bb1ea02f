//! Whose twin is an unexpected row?
//!
//! A published row that no lake row's key explains is a *twin* if an expected row is the same
//! line under another key, and an *orphan* otherwise. The difference matters: an orphan may be the
//! last copy of something, a twin is not. So kinship must be proved, in one of three ways:
//!
//! 1. its key is the key of a lake row under another key recipe or counter;
//! 2. every identity column equals an expected row's (*rekeyed*);
//! 3. every identity column but one text column does, and so does every other column (*renamed*).
//!    Once enough rows prove that a name was spelled otherwise, rows under that same spelling are
//!    twins even where their measures are old.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::expected::Variant;
use crate::model::{Cell, PublishedRow, RowKey};

use super::gather::{Columns, digest};

/// How a twin is kin to its expected row.
#[derive(Clone, Debug, PartialEq)]
pub enum Kinship {
    /// The same identity under another key; the variant that made it, where it is known.
    Rekeyed(Option<Variant>),
    /// The same line with one name spelled otherwise.
    Renamed {
        /// The column.
        column: &'static str,
        /// What the unexpected row says.
        from: Cell,
        /// What the expected row says.
        to: Cell,
    },
}

/// A published row that is an expected row under another key.
#[derive(Clone, Debug, PartialEq)]
pub struct Twin {
    /// The unexpected row.
    pub published: PublishedRow,
    /// The key of the expected row it doubles.
    pub of: RowKey,
    /// How we know.
    pub how: Kinship,
}

/// A renaming is believed once this many rows agree with it in every other column.
const PROOFS_OF_A_RENAMING: usize = 2;

/// Candidates kept per row while looking for a renaming that others prove.
const CANDIDATES_KEPT: usize = 64;

struct Candidate {
    slot: usize,
    to: Cell,
    of: RowKey,
    proved: bool,
}

struct Stranger {
    row: PublishedRow,
    cells: Vec<Cell>,
    rekeyed: Option<RowKey>,
    renamed: Vec<Candidate>,
    resembles: bool,
}

/// What became of the unexpected rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kin {
    /// Those with an expected row that they double.
    pub twins: Vec<Twin>,
    /// The others.
    pub orphans: Vec<PublishedRow>,
    /// Keys of those orphans that are like an expected row in every identity column but one. That
    /// proves no kinship, and is no proof that there is none.
    pub resembling: BTreeSet<RowKey>,
}

/// The unexpected rows of a day while their kin are looked for.
pub struct KinSearch {
    names: &'static [&'static str],
    identity: Vec<usize>,
    /// Identity columns in which alone a row may be unlike its kin: all but the day's.
    varying: Vec<usize>,
    renameable: HashSet<usize>,
    strangers: Vec<Stranger>,
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
    /// Begins the search. `identity` names the hashed columns; of these, columns of text may be
    /// spelled otherwise, the `day_column` may not.
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
            strangers: Vec::with_capacity(unexpected.len()),
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
        let slot = self.strangers.len();
        self.by_identity
            .entry(picked(&cells, &self.identity))
            .or_default()
            .push(slot);
        for &column in &self.varying {
            let rest = (column, without(&cells, &self.identity, column));
            self.by_rest.entry(rest).or_default().push(slot);
        }
        self.strangers.push(Stranger {
            row,
            cells,
            rekeyed: None,
            renamed: Vec::new(),
            resembles: false,
        });
    }

    /// Whether there is anyone to find kin for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.strangers.is_empty()
    }

    /// Shows the search one expected row.
    pub fn offer(&mut self, key: &RowKey, cells: &[Cell]) {
        for &slot in self
            .by_identity
            .get(&picked(cells, &self.identity))
            .into_iter()
            .flatten()
        {
            let stranger = &mut self.strangers[slot];
            if self
                .identity
                .iter()
                .all(|&index| stranger.cells[index] == cells[index])
            {
                stranger.rekeyed.get_or_insert_with(|| key.clone());
            }
        }
        for &column in &self.varying {
            let rest = (column, without(cells, &self.identity, column));
            for &slot in self.by_rest.get(&rest).into_iter().flatten() {
                let stranger = &mut self.strangers[slot];
                if !stranger.is_like(column, cells, &self.identity) {
                    continue;
                }
                stranger.resembles = true;
                if self.renameable.contains(&column) {
                    stranger.consider(column, key, cells);
                }
            }
        }
    }

    /// Ends the search. `rekeyed_by` tells the variant and expected key of a key that another
    /// variant makes.
    #[must_use]
    pub fn finish(self, rekeyed_by: &HashMap<RowKey, (Variant, RowKey)>) -> Kin {
        let believed = self.believed();
        let (names, mut kin) = (self.names, Kin::default());
        for stranger in self.strangers {
            let known = stranger
                .row
                .key
                .as_ref()
                .and_then(|key| rekeyed_by.get(key));
            let resembles = stranger.resembles;
            match stranger.kin(known, &believed, names) {
                Ok(twin) => kin.twins.push(twin),
                Err(orphan) => {
                    kin.resembling
                        .extend(orphan.key.clone().filter(|_| resembles));
                    kin.orphans.push(orphan);
                }
            }
        }
        kin
    }

    fn believed(&self) -> HashSet<(usize, Cell, Cell)> {
        let mut proofs: HashMap<(usize, &Cell, &Cell), usize> = HashMap::new();
        for stranger in self
            .strangers
            .iter()
            .filter(|stranger| stranger.rekeyed.is_none())
        {
            for candidate in stranger.renamed.iter().filter(|candidate| candidate.proved) {
                let from = &stranger.cells[candidate.slot];
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

impl Stranger {
    /// Whether `column` is the one identity column in which it differs.
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

    fn kin(
        self,
        known: Option<&(Variant, RowKey)>,
        believed: &HashSet<(usize, Cell, Cell)>,
        names: &'static [&'static str],
    ) -> Result<Twin, PublishedRow> {
        if let Some((variant, of)) = known {
            let how = Kinship::Rekeyed(Some(*variant));
            return Ok(Twin {
                published: self.row,
                of: of.clone(),
                how,
            });
        }
        if let Some(of) = self.rekeyed {
            return Ok(Twin {
                published: self.row,
                of,
                how: Kinship::Rekeyed(None),
            });
        }
        let cells = &self.cells;
        let believable = |candidate: &&Candidate| {
            let from = cells[candidate.slot].clone();
            believed.contains(&(candidate.slot, from, candidate.to.clone()))
        };
        let renamed = (self.renamed.iter().filter(|candidate| candidate.proved))
            .chain(self.renamed.iter().filter(|candidate| !candidate.proved))
            .find(believable);
        match renamed {
            Some(candidate) => Ok(Twin {
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
        strangers: Vec<PublishedRow>,
        expected: &[PublishedRow],
        known: &HashMap<RowKey, (Variant, RowKey)>,
    ) -> Kin {
        let columns = columns();
        let identity = ["host_read_time", "reader_identifier", "device_address"];
        let mut search = KinSearch::new(&columns, &identity, "host_read_time", strangers);
        for row in expected {
            search.offer(row.key.as_ref().unwrap(), &columns.published(&row.fields));
        }
        search.finish(known)
    }

    #[test]
    fn equal_identity_under_another_key_is_rekeyed() {
        let Kin { twins, orphans, .. } = sorted(
            vec![published("x", 1, "lamar", 7, 2)],
            &[published("a", 1, "lamar", 7, 9)],
            &HashMap::new(),
        );
        assert!(orphans.is_empty());
        assert_eq!(twins[0].how, Kinship::Rekeyed(None));
        assert_eq!(twins[0].of, RowKey::new("a"));
    }

    #[test]
    fn a_name_spelled_otherwise_in_several_rows_is_renamed() {
        let Kin { twins, orphans, .. } = sorted(
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
            "the third is old in a measure and renamed like the others"
        );
        for twin in &twins {
            let Kinship::Renamed { column, from, to } = &twin.how else {
                panic!("{twin:?} is renamed");
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
    fn one_likeness_alone_proves_no_renaming() {
        let Kin {
            twins,
            orphans,
            resembling,
        } = sorted(
            vec![published("x", 1, "LAMAR", 7, 2)],
            &[published("a", 1, "lamar", 7, 2)],
            &HashMap::new(),
        );
        assert_eq!((twins.len(), orphans.len()), (0, 1));
        assert_eq!(resembling, BTreeSet::from([RowKey::new("x")]));
    }

    #[test]
    fn a_row_at_another_time_is_nobodys_twin() {
        let Kin {
            twins,
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
        assert_eq!((twins.len(), orphans.len(), resembling.len()), (0, 4, 0));
    }

    #[test]
    fn a_key_of_another_variant_is_proof_by_itself() {
        use crate::expected::Counter;
        use crate::model::KeyRecipe;
        let variant = Variant {
            keys: KeyRecipe::Chained,
            counter: Counter::Shared,
        };
        let known = HashMap::from([(RowKey::new("x"), (variant, RowKey::new("a")))]);
        let Kin { twins, .. } = sorted(vec![published("x", 9, "other", 1, 1)], &[], &known);
        assert_eq!(twins[0].how, Kinship::Rekeyed(Some(variant)));
    }
}
