//! The second derivation: the rows that matter, in full.
//!
//! The first pass over the files keeps only keys. If the sides differ, the files concerned are
//! derived a second time, under the chosen variant. Only missing, altered and collided rows are
//! kept; all others are only compared with the unexpected rows, to find the ones these duplicate.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::compare::duplicates::KinSearch;
use crate::compare::gather::{self, Misdated, Placed, RowDay};
use crate::compare::keys::{Collision, KeyDifference};
use crate::compare::{Altered, Change, ExpectedRow, Findings};
use crate::expected::{DerivedRow, Line, Variant};
use crate::model::{Cell, Md5Key, PublishedRow, Row, RowKey};
use crate::socrata::ReadError;

use super::CheckError;
use super::check::{Candidate, Checking};
use super::doubts::{take_found, unreadable};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Missing,
    MisdatedMissing,
    Altered,
}

/// The rows to derive again, by file, and why.
pub(super) struct Wanted {
    roles: HashMap<(u32, u32), Role>,
    collided: HashMap<(u32, u32), Option<u64>>,
    replaced: HashSet<(u32, u32)>,
    collisions: Vec<Collision>,
}

impl Wanted {
    pub(super) fn new(differ: &KeyDifference, altered: &[Placed], far: &[Misdated]) -> Self {
        let place = |row: &Placed| (row.file, row.ordinal);
        let missing = differ.missing.iter().map(|row| (place(row), Role::Missing));
        let far = far
            .iter()
            .map(|row| ((row.file, row.ordinal), Role::MisdatedMissing));
        let altered = altered.iter().map(|row| (place(row), Role::Altered));
        let sides = |collision: &Collision| [place(&collision.stands), place(&collision.replaced)];
        Self {
            roles: missing.chain(far).chain(altered).collect(),
            collided: (differ.collisions.iter())
                .flat_map(sides)
                .map(|at| (at, None))
                .collect(),
            replaced: (differ.collisions.iter())
                .map(|collision| place(&collision.replaced))
                .collect(),
            collisions: differ.collisions.clone(),
        }
    }

    fn needs(&self, file: u32) -> bool {
        self.roles
            .keys()
            .chain(self.collided.keys())
            .any(|(of, _)| *of == file)
    }

    /// Collisions whose two rows really differ. A row that is repeated with equal cells is no
    /// collision.
    fn differing(self) -> Vec<Collision> {
        let digest = |row: &Placed| {
            self.collided
                .get(&(row.file, row.ordinal))
                .copied()
                .flatten()
        };
        (self.collisions.iter())
            .filter(|collision| digest(&collision.stands) != digest(&collision.replaced))
            .copied()
            .collect()
    }
}

struct Collector<'a> {
    checking: &'a Checking<'a>,
    wanted: Wanted,
    kin: KinSearch,
    altered: Vec<ExpectedRow>,
}

impl Collector<'_> {
    /// `today` says whether the row belongs to the checked day.
    fn take(&mut self, file: u32, row: &DerivedRow<'_>, today: bool, findings: &mut Findings) {
        let place = (file, row.ordinal);
        let role = self.wanted.roles.get(&place).copied();
        let collided = self.wanted.collided.contains_key(&place);
        let may_be_kin = today && !self.kin.is_empty() && !self.wanted.replaced.contains(&place);
        if role.is_none() && !collided && !may_be_kin {
            return;
        }
        let Ok(cells) = self.checking.columns.cells(row.values) else {
            return;
        };
        if collided {
            self.wanted
                .collided
                .insert(place, Some(gather::digest(&cells)));
        }
        if may_be_kin {
            self.kin.offer(&row.key.into(), &cells);
        }
        if let Some(role) = role {
            let whole = Row {
                key: row.key.into(),
                values: row.values.to_vec(),
            };
            let whole = ExpectedRow {
                row: whole,
                cells,
                file,
            };
            match role {
                Role::Missing => findings.missing.push(whole),
                Role::MisdatedMissing => findings.misdated_missing.push(whole),
                Role::Altered => self.altered.push(whole),
            }
        }
    }
}

impl Checking<'_> {
    /// Fills the findings with whole rows: missing, altered, duplicates, orphans, collisions.
    /// Returns the keys of orphans that resemble an expected row.
    pub(super) async fn fill_in(
        &self,
        files: &[Candidate],
        wanted: Wanted,
        unexpected: &[RowKey],
        findings: &mut Findings,
    ) -> Result<BTreeSet<RowKey>, CheckError> {
        let unexpected_rows = self.published_rows(unexpected, findings).await?;
        let identity = self.recipe.facts().identity;
        let spill = i64::from(self.recipe.facts().spill_days);
        let day_column = &self.target.dataset.day_column;
        let kin = KinSearch::new(&self.columns, identity, day_column, unexpected_rows);
        let mut collector = Collector {
            checking: self,
            wanted,
            kin,
            altered: Vec::new(),
        };
        for (index, file) in (0u32..).zip(files) {
            if collector.kin.is_empty() && !collector.wanted.needs(index) {
                continue;
            }
            let file_day = file.source.file.day;
            let variant = file.keys().variant;
            let derived = self
                .with_text(&file.source, |text| {
                    self.recipe.derive(text, variant, &mut |line| match line {
                        Line::Row(row) => {
                            let row_day = RowDay::of(row.at, file_day, self.target.day, spill);
                            collector.take(index, &row, row_day == RowDay::Today, findings);
                        }
                        Line::Unpublishable(_) => {}
                    })
                })
                .await;
            if let Err(error) = derived {
                findings.doubts.push(unreadable(error)?);
            }
        }
        let Collector {
            wanted,
            kin,
            altered,
            ..
        } = collector;
        findings.collided = wanted.differing();
        let kin = kin.finish(&rekeyed_by(files, unexpected));
        (findings.duplicates, findings.orphans) = (kin.duplicates, kin.orphans);
        findings.altered = self.compare_values(altered, findings).await?;
        Ok(kin.resembling)
    }

    /// The whole rows for keys that this check has seen published. A row that is absent now is not
    /// a finding: either it was removed in the meantime, or a replica that claims to be up to date
    /// is not. Either way the earlier reads are inconclusive too.
    async fn published_rows(
        &self,
        keys: &[RowKey],
        findings: &mut Findings,
    ) -> Result<Vec<PublishedRow>, CheckError> {
        let rows = super::published_rows(self.world, &self.table, self.target.day, keys).await?;
        let rows = take_found(rows, findings);
        let found: HashSet<&RowKey> = rows.iter().filter_map(|row| row.key.as_ref()).collect();
        match keys.iter().find(|key| !found.contains(key)) {
            None => Ok(rows),
            Some(key) => Err(self.contradiction(key, "was published and is no longer")),
        }
    }

    fn contradiction(&self, key: &RowKey, why: &str) -> CheckError {
        CheckError::Portal(ReadError::Contradiction {
            id: self.table.id.clone(),
            what: format!("rows of {}", self.target.day),
            why: format!("row {} {why}", key.to_string().escape_debug()),
        })
    }

    async fn compare_values(
        &self,
        expected: Vec<ExpectedRow>,
        findings: &mut Findings,
    ) -> Result<Vec<Altered>, CheckError> {
        let keys: Vec<RowKey> = expected.iter().map(|row| row.row.key.clone()).collect();
        let mut published: HashMap<RowKey, PublishedRow> =
            (self.published_rows(&keys, findings).await?.into_iter())
                .filter_map(|row| row.key.clone().map(|key| (key, row)))
                .collect();
        let mut altered = Vec::new();
        for expected in expected {
            let key = &expected.row.key;
            let published = published.remove(key);
            let published =
                published.ok_or_else(|| self.contradiction(key, "is no longer published"))?;
            let published_cells = self.columns.published(&published.fields);
            let changes = changes(self.columns.names(), &published_cells, &expected.cells);
            if !changes.is_empty() {
                altered.push(Altered {
                    expected,
                    published,
                    changes,
                });
            } else if self.table.is_keyed() {
                return Err(
                    self.contradiction(key, "had unexpected values and now has the expected ones")
                );
            }
        }
        Ok(altered)
    }
}

fn changes(names: &[&'static str], published: &[Cell], expected: &[Cell]) -> Vec<Change> {
    (names.iter().zip(published).zip(expected))
        .filter(|((_, published), expected)| published != expected)
        .map(|((column, published), expected)| Change {
            column,
            published: published.clone(),
            expected: expected.clone(),
        })
        .collect()
}

/// Maps unexpected keys that belong to rows of a file under a variant that was not chosen to that
/// variant and to the key of the same row under the chosen one.
fn rekeyed_by(files: &[Candidate], unexpected: &[RowKey]) -> HashMap<RowKey, (Variant, RowKey)> {
    let mut known = HashMap::new();
    let is_unexpected = |row: &Placed| unexpected.binary_search(&row.key.into()).is_ok();
    for file in files {
        let rekeyed: Vec<(Variant, Placed)> = (file.tried.iter())
            .flat_map(|tried| tried.today.iter().map(|row| (tried.variant, row)))
            .filter(|(_, row)| is_unexpected(row))
            .collect();
        let ordinals: HashSet<u32> = rekeyed.iter().map(|(_, row)| row.ordinal).collect();
        let chosen: HashMap<u32, Md5Key> = (file.keys().today.iter())
            .filter(|row| ordinals.contains(&row.ordinal))
            .map(|row| (row.ordinal, row.key))
            .collect();
        for (variant, row) in rekeyed {
            if let Some(key) = chosen.get(&row.ordinal) {
                let value = || (variant, (*key).into());
                known.entry(row.key.into()).or_insert_with(value);
            }
        }
    }
    known
}
