//! The second derivation: the rows that turned out to matter, whole.
//!
//! The first pass over the files keeps keys only. Where sides differ, the files concerned are
//! derived once more, under the variant that was chosen, and only missing, altered and collided
//! rows are kept; all others just pass by the search for kin of the unexpected rows.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::compare::gather::{self, Misdated, Placed, Standing};
use crate::compare::keys::{Collision, KeyDifference};
use crate::compare::twins::KinSearch;
use crate::compare::{Altered, Change, Doubt, ExpectedRow, Findings};
use crate::expected::{DerivedRow, Line, Variant};
use crate::model::{Cell, Md5Key, PublishedRow, Row, RowKey};
use crate::socrata::ReadError;

use super::LookError;
use super::look::{Candidate, Looking};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Missing,
    Far,
    Altered,
}

/// Which rows of which files must be derived again, and what for.
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
        let far = far.iter().map(|row| ((row.file, row.ordinal), Role::Far));
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

    /// Collisions whose two rows really differ: a row repeated word by word is none.
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

struct Taking<'a> {
    looking: &'a Looking<'a>,
    wanted: Wanted,
    kin: KinSearch,
    altered: Vec<ExpectedRow>,
}

impl Taking<'_> {
    /// `today`: the row is of the looked-at day.
    fn take(&mut self, file: u32, row: &DerivedRow<'_>, today: bool, findings: &mut Findings) {
        let place = (file, row.ordinal);
        let role = self.wanted.roles.get(&place).copied();
        let collided = self.wanted.collided.contains_key(&place);
        let standing = today && !self.kin.is_empty() && !self.wanted.replaced.contains(&place);
        if role.is_none() && !collided && !standing {
            return;
        }
        let Ok(cells) = self.looking.columns.cells(row.values) else {
            return;
        };
        if collided {
            self.wanted
                .collided
                .insert(place, Some(gather::digest(&cells)));
        }
        if standing {
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
                Role::Far => findings.misdated_missing.push(whole),
                Role::Altered => self.altered.push(whole),
            }
        }
    }
}

impl Looking<'_> {
    /// Fills the findings with whole rows: missing, altered, twins, orphans, collisions. Returns the
    /// keys of orphans that resemble an expected row.
    pub(super) async fn fill_in(
        &self,
        files: &[Candidate],
        wanted: Wanted,
        unexpected: &[RowKey],
        findings: &mut Findings,
    ) -> Result<BTreeSet<RowKey>, LookError> {
        let strangers = self.published_rows(unexpected).await?;
        let identity = self.recipe.facts().identity;
        let spill = i64::from(self.recipe.facts().spill_days);
        let day_column = &self.target.dataset.day_column;
        let kin = KinSearch::new(&self.columns, identity, day_column, strangers);
        let mut taking = Taking {
            looking: self,
            wanted,
            kin,
            altered: Vec::new(),
        };
        for (index, file) in (0u32..).zip(files) {
            if taking.kin.is_empty() && !taking.wanted.needs(index) {
                continue;
            }
            let file_day = file.source.file.day;
            let variant = file.keys().variant;
            let derived = self
                .with_text(&file.source, |text| {
                    self.recipe.derive(text, variant, &mut |line| match line {
                        Line::Row(row) => {
                            let stands = Standing::of(row.at, file_day, self.target.day, spill);
                            taking.take(index, &row, stands == Standing::Today, findings);
                        }
                        Line::Unpublishable(_) => {}
                    })
                })
                .await;
            if let Err(error) = derived {
                findings
                    .doubts
                    .push(Doubt::Unreadable(super::chain(&error)));
            }
        }
        let Taking {
            wanted,
            kin,
            altered,
            ..
        } = taking;
        findings.collided = wanted.differing();
        let kin = kin.finish(&rekeyed_by(files, unexpected));
        (findings.twins, findings.orphans) = (kin.twins, kin.orphans);
        findings.altered = self.altered(altered).await?;
        Ok(kin.resembling)
    }

    /// The whole rows of keys that this look has seen standing. That one of them is not there is no
    /// finding: either somebody took it away meanwhile, or a replica that calls itself up to date
    /// is not. What was found before then proves nothing either.
    async fn published_rows(&self, keys: &[RowKey]) -> Result<Vec<PublishedRow>, LookError> {
        let rows = super::published_rows(self.world, &self.table, self.target.day, keys).await?;
        let found: HashSet<&RowKey> = rows.iter().filter_map(|row| row.key.as_ref()).collect();
        match keys.iter().find(|key| !found.contains(key)) {
            None => Ok(rows),
            Some(key) => Err(self.contradicted(key, "stood there and is gone")),
        }
    }

    fn contradicted(&self, key: &RowKey, why: &str) -> LookError {
        LookError::Portal(ReadError::Contradiction {
            id: self.table.id.clone(),
            what: format!("rows of {}", self.target.day),
            why: format!("row {} {why}", key.to_string().escape_debug()),
        })
    }

    async fn altered(&self, expected: Vec<ExpectedRow>) -> Result<Vec<Altered>, LookError> {
        let keys: Vec<RowKey> = expected.iter().map(|row| row.row.key.clone()).collect();
        let mut published: HashMap<RowKey, PublishedRow> =
            (self.published_rows(&keys).await?.into_iter())
                .filter_map(|row| row.key.clone().map(|key| (key, row)))
                .collect();
        let mut altered = Vec::new();
        for expected in expected {
            let key = &expected.row.key;
            let published = published.remove(key);
            let published = published.ok_or_else(|| self.contradicted(key, "is gone"))?;
            let stands = self.columns.published(&published.fields);
            let changes = changes(self.columns.names(), &stands, &expected.cells);
            if !changes.is_empty() {
                altered.push(Altered {
                    expected,
                    published,
                    changes,
                });
            } else if self.table.is_keyed() {
                return Err(
                    self.contradicted(key, "had other values than are expected, and has them")
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

/// Unexpected keys that a file's rows have under a variant that was not chosen, with that variant
/// and the key of the same row under the chosen one.
fn rekeyed_by(files: &[Candidate], unexpected: &[RowKey]) -> HashMap<RowKey, (Variant, RowKey)> {
    let mut known = HashMap::new();
    let is_unexpected = |row: &Placed| unexpected.binary_search(&row.key.into()).is_ok();
    for file in files {
        let theirs: Vec<(Variant, Placed)> = (file.tried.iter())
            .flat_map(|tried| tried.today.iter().map(|row| (tried.variant, row)))
            .filter(|(_, row)| is_unexpected(row))
            .collect();
        let ordinals: HashSet<u32> = theirs.iter().map(|(_, row)| row.ordinal).collect();
        let chosen: HashMap<u32, Md5Key> = (file.keys().today.iter())
            .filter(|row| ordinals.contains(&row.ordinal))
            .map(|row| (row.ordinal, row.key))
            .collect();
        for (variant, row) in theirs {
            if let Some(key) = chosen.get(&row.ordinal) {
                let made = || (variant, (*key).into());
                known.entry(row.key.into()).or_insert_with(made);
            }
        }
    }
    known
}
