//! Rows in the order of their keys, which is what comparing by walking along rests on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Deref;
use std::slice;

use super::gather::Placed;
use crate::model::Md5Key;

/// The rows of one file, ascending by key, file and place. One key may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered(Vec<Placed>);

impl From<Vec<Placed>> for Ordered {
    /// Sorts by the first half of the key, which is one number and settles nearly all; rows that
    /// have it in common are then put in order.
    fn from(mut rows: Vec<Placed>) -> Self {
        rows.sort_unstable_by_key(|row| row.key.first_half());
        for alike in rows.chunk_by_mut(|a, b| a.key.first_half() == b.key.first_half()) {
            if alike.len() > 1 {
                alike.sort_unstable();
            }
        }
        Self(rows)
    }
}

impl Ordered {
    /// Whether a row has this key.
    #[must_use]
    pub fn contains(&self, key: &Md5Key) -> bool {
        self.0.binary_search_by(|row| row.key.cmp(key)).is_ok()
    }
}

impl Deref for Ordered {
    type Target = [Placed];

    fn deref(&self) -> &[Placed] {
        &self.0
    }
}

/// The rows of several files as one ascending list.
pub(super) struct Merged<'a> {
    rest: Vec<slice::Iter<'a, Placed>>,
    heads: BinaryHeap<Reverse<(Placed, usize)>>,
}

impl<'a> Merged<'a> {
    pub(super) fn of(files: &[&'a Ordered]) -> Self {
        let mut rest: Vec<_> = files.iter().map(|rows| rows.iter()).collect();
        let heads = (rest.iter_mut().enumerate())
            .filter_map(|(file, rows)| rows.next().map(|row| Reverse((*row, file))))
            .collect();
        Self { rest, heads }
    }
}

impl Iterator for Merged<'_> {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((row, file)) = *head;
        match self.rest[file].next() {
            Some(next) => *head = Reverse((*next, file)),
            None => _ = PeekMut::pop(head),
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys of few values, alike in both halves, in one, or in none.
        #[test]
        fn rows_in_any_order_of_any_files_become_one_ascending_list(
            files in prop::collection::vec(prop::collection::vec((0u8..6, 0u8..6), 0..40), 0..4),
        ) {
            let placed = |file, ordinal, (first, second): (u8, u8)| {
                let mut key = [first; 16];
                key[8..].fill(second);
                Placed { key: Md5Key(key), file, ordinal }
            };
            let files: Vec<Vec<Placed>> = (0..)
                .zip(files)
                .map(|(file, keys)| {
                    let rows = (0..).zip(keys);
                    rows.map(|(ordinal, key)| placed(file, ordinal, key)).collect()
                })
                .collect();
            let mut all = files.concat();
            all.sort();
            let files: Vec<Ordered> = files.into_iter().map(Ordered::from).collect();
            for file in &files {
                prop_assert!(file.is_sorted());
            }
            let files: Vec<&Ordered> = files.iter().collect();
            prop_assert!(Merged::of(&files).eq(all));
        }
    }
}
