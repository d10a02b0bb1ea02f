//! Sets of keys: which variant a file was published under, what is missing, what is unexpected.

use crate::expected::{Counter, Variant};
use crate::model::{KeyPolicy, KeyRecipe, RowKey};

use super::gather::{FileKeys, Placed};

/// Two different places in the lake whose rows have one key. The later one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The row that stands.
    pub stands: Placed,
    /// The row it replaced.
    pub replaced: Placed,
}

/// The expected keys of a day: each once, ascending.
#[derive(Clone, Debug, Default)]
pub struct ExpectedKeys {
    /// The rows that should stand, by key.
    pub standing: Vec<Placed>,
    /// Rows that a later row of the same key replaced.
    pub collisions: Vec<Collision>,
}

impl ExpectedKeys {
    /// Merges the files' rows. Of equal keys the one that is uploaded last stands: later files
    /// replace earlier ones, later rows of a file replace earlier ones.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = Vec<Placed>>) -> Self {
        let mut rows: Vec<Placed> = files.into_iter().flatten().collect();
        rows.sort_unstable();
        let mut merged = Self::default();
        for row in rows {
            match merged.standing.last_mut() {
                Some(last) if last.key == row.key => {
                    let replaced = std::mem::replace(last, row.clone());
                    merged.collisions.push(Collision {
                        stands: row,
                        replaced,
                    });
                }
                _ => merged.standing.push(row),
            }
        }
        merged
    }
}

/// What stands on one side only, and (where contents are compared) rows of equal key whose
/// contents differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDifference {
    /// Expected and not published.
    pub missing: Vec<Placed>,
    /// Published and not expected.
    pub unexpected: Vec<RowKey>,
}

/// Compares two ascending lists of keys.
#[must_use]
pub fn difference(expected: &[Placed], published: &[RowKey]) -> KeyDifference {
    let mut found = KeyDifference::default();
    let mut left = expected.iter().peekable();
    let mut right = published.iter().peekable();
    loop {
        match (left.peek(), right.peek()) {
            (Some(row), Some(key)) => match row.key.cmp(key) {
                std::cmp::Ordering::Less => found.missing.extend(left.next().cloned()),
                std::cmp::Ordering::Greater => found.unexpected.extend(right.next().cloned()),
                std::cmp::Ordering::Equal => {
                    left.next();
                    right.next();
                }
            },
            (Some(_), None) => found.missing.extend(left.next().cloned()),
            (None, Some(_)) => found.unexpected.extend(right.next().cloned()),
            (None, None) => return found,
        }
    }
}

/// Every variant a recipe's rows may have been published under, today's likeliest first.
#[must_use]
pub fn variants(recipes: &[KeyRecipe], counters: &[Counter]) -> Vec<Variant> {
    (recipes.iter())
        .flat_map(|&keys| {
            counters
                .iter()
                .map(move |&counter| Variant { keys, counter })
        })
        .collect()
}

fn held(published: &[RowKey], key: &RowKey) -> bool {
    published.binary_search(key).is_ok()
}

/// How much of a file stands on the portal under one variant and not under today's as well.
fn own_hits(candidate: &FileKeys, todays: &[RowKey], published: &[RowKey]) -> usize {
    (candidate.today.iter())
        .filter(|row| held(published, &row.key) && !held(todays, &row.key))
        .count()
}

fn hits(candidate: &FileKeys, published: &[RowKey]) -> usize {
    (candidate.today.iter())
        .filter(|row| held(published, &row.key))
        .count()
}

fn sorted_keys(file: &FileKeys) -> Vec<RowKey> {
    let mut keys: Vec<RowKey> = file.today.iter().map(|row| row.key.clone()).collect();
    keys.sort_unstable();
    keys
}

/// Chooses among the candidates of one file the variant its rows stand under; `candidates` is not
/// empty and begins with today's likeliest. `published` ascends.
///
/// Today's recipe is chosen as soon as any row stands under it alone: a file present under two
/// recipes has twins, and the older go. An older recipe is chosen only if it alone explains what
/// stands, and only if it is accepted. A file of which nothing stands is expected under today's.
#[must_use]
pub fn choose(candidates: &[FileKeys], published: &[RowKey], policy: KeyPolicy) -> usize {
    let best = |picked: &mut dyn Iterator<Item = (usize, usize)>| {
        picked.fold(
            None,
            |best: Option<(usize, usize)>, (index, hits)| match best {
                Some((_, most)) if most >= hits => best,
                _ => Some((index, hits)),
            },
        )
    };
    let todays = |file: &FileKeys| file.variant.keys == KeyRecipe::Row;
    let mut current = (candidates.iter().enumerate())
        .filter(|(_, file)| todays(file))
        .map(|(index, file)| (index, hits(file, published)));
    let Some((current, current_hits)) = best(&mut current) else {
        return 0;
    };
    let current_keys = sorted_keys(&candidates[current]);
    let mut older = (candidates.iter().enumerate())
        .filter(|(_, file)| !todays(file))
        .map(|(index, file)| (index, own_hits(file, &current_keys, published)));
    let Some((older, older_hits)) = best(&mut older) else {
        return current;
    };
    let shared = (candidates[older].today.iter())
        .filter(|row| held(&current_keys, &row.key) && held(published, &row.key))
        .count();
    let only_older = older_hits > 0 && current_hits <= shared;
    if only_older && policy == KeyPolicy::Accept {
        older
    } else {
        current
    }
}

/// Whether every row of the file stands under the variant, so that nothing about it is a guess.
#[must_use]
pub fn stands_whole(file: &FileKeys, published: &[RowKey]) -> bool {
    hits(file, published) == file.today.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::expected::FileOutcome;

    fn key(n: u32) -> RowKey {
        RowKey::new(&format!("{n:032x}"))
    }

    fn placed(n: u32, ordinal: u32) -> Placed {
        Placed {
            key: key(n),
            file: 0,
            ordinal,
            digest: 0,
        }
    }

    fn file(keys: KeyRecipe, counter: Counter, rows: &[u32]) -> FileKeys {
        FileKeys {
            variant: Variant { keys, counter },
            today: (0..)
                .zip(rows)
                .map(|(ordinal, &n)| placed(n, ordinal))
                .collect(),
            spilled: Vec::new(),
            misdated: Vec::new(),
            unfit: Vec::new(),
            outcome: FileOutcome::default(),
        }
    }

    fn published(rows: &[u32]) -> Vec<RowKey> {
        let mut keys: Vec<RowKey> = rows.iter().map(|&n| key(n)).collect();
        keys.sort_unstable();
        keys
    }

    const ROW: &[u32] = &[1, 2, 3];
    const CHAINED: &[u32] = &[1, 12, 13];

    fn chosen(rows: &[u32], policy: KeyPolicy) -> KeyRecipe {
        let candidates = [
            file(KeyRecipe::Row, Counter::Shared, ROW),
            file(KeyRecipe::Chained, Counter::Shared, CHAINED),
        ];
        candidates[choose(&candidates, &published(rows), policy)]
            .variant
            .keys
    }

    #[test]
    fn a_file_standing_under_the_older_recipe_alone_stays_there() {
        assert_eq!(chosen(&[1, 12, 13], KeyPolicy::Accept), KeyRecipe::Chained);
        assert_eq!(chosen(&[1, 12], KeyPolicy::Accept), KeyRecipe::Chained);
        assert_eq!(chosen(&[1, 12, 13], KeyPolicy::Migrate), KeyRecipe::Row);
    }

    #[test]
    fn a_file_standing_under_both_or_neither_is_expected_under_todays() {
        for rows in [&[1, 2, 3, 12, 13][..], &[2, 12, 13], &[], &[1], &[7, 8]] {
            assert_eq!(chosen(rows, KeyPolicy::Accept), KeyRecipe::Row, "{rows:?}");
        }
    }

    #[test]
    fn the_counter_that_reproduces_more_is_chosen() {
        let candidates = [
            file(KeyRecipe::Row, Counter::Shared, &[1, 2, 3]),
            file(KeyRecipe::Row, Counter::Separate, &[1, 22, 23]),
        ];
        let pick = |rows: &[u32]| choose(&candidates, &published(rows), KeyPolicy::Accept);
        assert_eq!(pick(&[1, 22, 23]), 1);
        assert_eq!(pick(&[1, 2, 3, 22, 23]), 0);
        assert_eq!(pick(&[]), 0);
    }

    #[test]
    fn the_row_uploaded_last_stands() {
        let merged = ExpectedKeys::of([vec![placed(1, 0), placed(2, 1), placed(1, 2)]]);
        assert_eq!(merged.standing, [placed(1, 2), placed(2, 1)]);
        assert_eq!(
            merged.collisions,
            [Collision {
                stands: placed(1, 2),
                replaced: placed(1, 0)
            }]
        );
    }

    proptest! {
        #[test]
        fn the_difference_is_that_of_sets(left in prop::collection::btree_set(0u32..60, 0..40), right in prop::collection::btree_set(0u32..60, 0..40)) {
            let expected: Vec<Placed> = left.iter().map(|&n| placed(n, n)).collect();
            let held: Vec<RowKey> = right.iter().map(|&n| key(n)).collect();
            let found = difference(&expected, &held);
            let missing: BTreeSet<u32> = found.missing.iter().map(|row| row.ordinal).collect();
            prop_assert_eq!(missing, left.difference(&right).copied().collect::<BTreeSet<_>>());
            let unexpected: BTreeSet<RowKey> = found.unexpected.into_iter().collect();
            prop_assert_eq!(unexpected, right.difference(&left).map(|&n| key(n)).collect::<BTreeSet<_>>());
        }
    }
}
