//! Compares sets of keys: which variant a file was published under, which keys are missing, and
//! which are unexpected.

use crate::expected::{Counter, Variant};
use crate::model::{KeyPolicy, KeyScheme, KeySet, RowKey};

use super::FileRows;
use super::gather::{FileKeys, Placed};
use super::ranges::Ranges;

/// Two rows of the lake with the same key. The later one is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The row that is published.
    pub stands: Placed,
    /// The row it replaced.
    pub replaced: Placed,
}

/// The differences between the keys of the lake and those of the portal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDifference {
    /// Number of rows that should be published.
    pub expected: u64,
    /// Rows that were replaced by another row with the same key.
    pub collisions: Vec<Collision>,
    /// Expected and not published, ascending.
    pub missing: Vec<Placed>,
    /// Published and not expected, ascending.
    pub unexpected: Vec<RowKey>,
}

/// Compares the rows of the day's files with the published keys. Calls `both` for each row that
/// both sides have, with its index among the published MD5s.
///
/// Both sides are walked once, in parallel, so that memory is needed only for the differences. If
/// several rows have the same key, the one uploaded last counts: later files replace earlier ones,
/// and later rows of a file replace earlier ones.
pub fn difference(
    files: &[&FileRows],
    published: &KeySet,
    both: &mut dyn FnMut(&Placed, usize),
) -> KeyDifference {
    let mut found = KeyDifference::default();
    let mut right = published.md5().iter().enumerate().peekable();
    let mut ranges = Ranges::of(files);
    while let Some(range) = ranges.next() {
        for same_key in range.chunk_by(|a, b| a.key == b.key) {
            let stands = same_key[same_key.len() - 1];
            let pairs = same_key.array_windows();
            found
                .collisions
                .extend(pairs.map(|&[replaced, stands]| Collision { stands, replaced }));
            found.expected += 1;
            while let Some((_, key)) = right.next_if(|(_, key)| **key < stands.key) {
                found.unexpected.push((*key).into());
            }
            match right.next_if(|(_, key)| **key == stands.key) {
                Some((place, _)) => both(&stands, place),
                None => found.missing.push(stands),
            }
        }
    }
    found.unexpected.extend(right.map(|(_, key)| (*key).into()));
    let texts = published.texts().iter().cloned().map(RowKey::Text);
    found.unexpected.extend(texts);
    found.unexpected.sort_unstable();
    found
}

/// Every variant a recipe's rows may have been published under, the most likely current one first.
#[must_use]
pub fn variants(schemes: &[KeyScheme], counters: &[Counter]) -> Vec<Variant> {
    (schemes.iter())
        .flat_map(|&keys| {
            counters
                .iter()
                .map(move |&counter| Variant { keys, counter })
        })
        .collect()
}

fn hits(candidate: &FileKeys, published: &KeySet) -> usize {
    (candidate.today.keys())
        .filter(|key| published.contains(key))
        .count()
}

/// How many of the file's rows are published under keys that are not among the `others`. The first
/// row of a file may have the same key under two schemes, so it is evidence for neither.
fn own_hits(candidate: &FileKeys, others: &KeySet, published: &KeySet) -> usize {
    (candidate.today.keys())
        .filter(|key| published.contains(key) && !others.contains(key))
        .count()
}

/// Chooses the variant that a file's rows are published under. `candidates` must not be empty, and
/// begins with the most likely current variant.
///
/// The current scheme is chosen as soon as any row is published under it alone: a file published
/// under two schemes has duplicates, and the older ones are purged. An older scheme is chosen only
/// if it alone explains the published rows and the policy accepts it. A file with no published rows
/// is expected under the current scheme.
#[must_use]
pub fn choose(candidates: &[FileKeys], published: &KeySet, policy: KeyPolicy) -> usize {
    let best = |picked: &mut dyn Iterator<Item = (usize, usize)>| {
        picked.fold(
            None,
            |best: Option<(usize, usize)>, (index, hits)| match best {
                Some((_, most)) if most >= hits => best,
                _ => Some((index, hits)),
            },
        )
    };
    let keys = |file: &FileKeys| KeySet::of(file.today.keys().collect(), Vec::new());
    let is_current = |file: &FileKeys| file.variant.keys == KeyScheme::Row;
    let mut current = (candidates.iter().enumerate())
        .filter(|(_, file)| is_current(file))
        .map(|(index, file)| (index, hits(file, published)));
    let Some((current, _)) = best(&mut current) else {
        return 0;
    };
    let current_keys = keys(&candidates[current]);
    let mut older = (candidates.iter().enumerate())
        .filter(|(_, file)| !is_current(file))
        .map(|(index, file)| (index, own_hits(file, &current_keys, published)));
    let Some((older, older_hits)) = best(&mut older) else {
        return current;
    };
    let (current_file, older_keys) = (&candidates[current], keys(&candidates[older]));
    let only_older = older_hits > 0 && own_hits(current_file, &older_keys, published) == 0;
    if only_older && policy == KeyPolicy::Accept {
        older
    } else {
        current
    }
}

/// Whether every row of the file is published under the variant, so that the choice is not a guess.
#[must_use]
pub fn stands_whole(file: &FileKeys, published: &KeySet) -> bool {
    hits(file, published) == file.today.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::compare::Gathering;
    use crate::expected::FileOutcome;
    use crate::model::Md5Key;

    fn key(n: u32) -> RowKey {
        RowKey::new(&format!("{n:032x}"))
    }

    fn placed(n: u32, ordinal: u32) -> Placed {
        let mut key = [0; 16];
        key[12..].copy_from_slice(&n.to_be_bytes());
        Placed {
            key: Md5Key(key),
            file: 0,
            ordinal,
        }
    }

    fn gathered(rows: &[Placed]) -> FileRows {
        let mut gathering = Gathering::of(rows.first().map_or(0, |row| row.file));
        for row in rows {
            gathering.push(row.key, row.ordinal);
        }
        gathering.finish()
    }

    fn file(keys: KeyScheme, counter: Counter, rows: &[u32]) -> FileKeys {
        FileKeys {
            variant: Variant { keys, counter },
            today: gathered(
                &(0..)
                    .zip(rows)
                    .map(|(ordinal, &n)| placed(n, ordinal))
                    .collect::<Vec<_>>(),
            ),
            digests: Vec::new(),
            spilled: Vec::new(),
            misdated: Vec::new(),
            unfit: Vec::new(),
            outcome: FileOutcome::default(),
        }
    }

    fn published(rows: &[u32]) -> KeySet {
        rows.iter().map(|&n| key(n)).collect()
    }

    fn compared(files: &[&[Placed]], published: &KeySet) -> (KeyDifference, Vec<(u32, usize)>) {
        let files: Vec<FileRows> = files.iter().map(|rows| gathered(rows)).collect();
        let files: Vec<&FileRows> = files.iter().collect();
        let mut both = Vec::new();
        let found = difference(&files, published, &mut |row, place| {
            both.push((row.ordinal, place));
        });
        (found, both)
    }

    const ROW: &[u32] = &[1, 2, 3];
    const CHAINED: &[u32] = &[1, 12, 13];

    fn chosen(rows: &[u32], policy: KeyPolicy) -> KeyScheme {
        let candidates = [
            file(KeyScheme::Row, Counter::Shared, ROW),
            file(KeyScheme::Chained, Counter::Shared, CHAINED),
        ];
        candidates[choose(&candidates, &published(rows), policy)]
            .variant
            .keys
    }

    #[test]
    fn a_file_published_only_under_the_older_scheme_keeps_it() {
        assert_eq!(chosen(&[1, 12, 13], KeyPolicy::Accept), KeyScheme::Chained);
        assert_eq!(chosen(&[1, 12], KeyPolicy::Accept), KeyScheme::Chained);
        assert_eq!(chosen(&[1, 12, 13], KeyPolicy::Migrate), KeyScheme::Row);
    }

    #[test]
    fn a_file_published_under_both_schemes_or_neither_is_expected_under_the_current_one() {
        for rows in [&[1, 2, 3, 12, 13][..], &[2, 12, 13], &[], &[1], &[7, 8]] {
            assert_eq!(chosen(rows, KeyPolicy::Accept), KeyScheme::Row, "{rows:?}");
        }
    }

    #[test]
    fn a_repeated_line_is_no_evidence_for_the_current_scheme() {
        let candidates = [
            file(KeyScheme::Row, Counter::Shared, &[1, 2, 1]),
            file(KeyScheme::Chained, Counter::Shared, &[1, 12, 13]),
        ];
        let chosen = choose(&candidates, &published(&[1, 12, 13]), KeyPolicy::Accept);
        assert_eq!(chosen, 1);
    }

    #[test]
    fn the_counter_that_reproduces_more_keys_is_chosen() {
        let candidates = [
            file(KeyScheme::Row, Counter::Shared, &[1, 2, 3]),
            file(KeyScheme::Row, Counter::Separate, &[1, 22, 23]),
        ];
        let pick = |rows: &[u32]| choose(&candidates, &published(rows), KeyPolicy::Accept);
        assert_eq!(pick(&[1, 22, 23]), 1);
        assert_eq!(pick(&[1, 2, 3, 22, 23]), 0);
        assert_eq!(pick(&[]), 0);
    }

    #[test]
    fn of_rows_with_one_key_the_last_uploaded_counts() {
        let later = |n, ordinal| Placed {
            file: 1,
            ..placed(n, ordinal)
        };
        let files = [
            &[placed(1, 0), placed(1, 2), placed(2, 1)][..],
            &[later(1, 0)],
        ];
        let (found, both) = compared(&files, &published(&[2]));
        assert_eq!(found.expected, 2);
        assert_eq!(found.missing, [later(1, 0)]);
        assert_eq!(both, [(1, 0)]);
        let pairs = [(placed(1, 2), placed(1, 0)), (later(1, 0), placed(1, 2))];
        assert_eq!(
            found.collisions,
            pairs.map(|(stands, replaced)| Collision { stands, replaced })
        );
    }

    #[test]
    fn keys_that_are_not_md5s_are_unexpected_and_sorted() {
        let mut keys: Vec<RowKey> =
            vec![key(1), key(2), RowKey::new("000 first"), RowKey::new("zz")];
        let published = keys.iter().cloned().collect();
        let (found, _) = compared(&[&[placed(2, 0)]], &published);
        keys.retain(|one| *one != key(2));
        keys.sort_unstable();
        assert_eq!(found.unexpected, keys);
        assert_eq!((found.expected, found.missing), (1, vec![]));
    }

    proptest! {
        #[test]
        fn the_difference_is_the_set_difference(
            one in prop::collection::btree_set(0u32..60, 0..40),
            other in prop::collection::btree_set(0u32..60, 0..40),
            right in prop::collection::btree_set(0u32..60, 0..40),
        ) {
            let left: BTreeSet<u32> = one.union(&other).copied().collect();
            let rows = |of: &BTreeSet<u32>| of.iter().map(|&n| placed(n, n)).collect::<Vec<_>>();
            let (one, other) = (rows(&one), rows(&other));
            let present: Vec<u32> = right.iter().copied().collect();
            let (found, both) = compared(&[&one, &other], &published(&present));
            prop_assert_eq!(found.expected, left.len() as u64);
            prop_assert_eq!(found.collisions.len(), one.len() + other.len() - left.len());
            let missing: Vec<u32> = found.missing.iter().map(|row| row.ordinal).collect();
            prop_assert_eq!(missing, left.difference(&right).copied().collect::<Vec<_>>());
            let unexpected: Vec<RowKey> = right.difference(&left).map(|&n| key(n)).collect();
            prop_assert_eq!(found.unexpected, unexpected);
            let common: Vec<u32> = left.intersection(&right).copied().collect();
            prop_assert_eq!(both.iter().map(|(n, _)| *n).collect::<Vec<_>>(), common);
            prop_assert!(both.iter().all(|(n, place)| present[*place] == *n));
        }
    }
}
