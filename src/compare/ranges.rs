//! Brings rows into the order of their keys, one range of keys at a time.
//!
//! Sorting ten million rows is slow while they are spread over more memory than a cache holds. The
//! first byte of an MD5 divides a day's rows into 256 ranges of about equal size. [`FileRows`]
//! keeps the rows of a file grouped by that byte as they are gathered. [`Ranges`] then merges one
//! range after another from all files.

use super::gather::Placed;
use crate::model::Md5Key;

/// Number of rows that are grouped together: few enough to stay in a cache while they are
/// collected.
const RUN: usize = 1 << 16;

/// Average number of rows of a range that are sorted together: few enough for an insertion sort.
const GROUP: usize = 8;

/// A row of a file: [`Placed`] without the file, which saves a sixth of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileRow {
    key: Md5Key,
    ordinal: u32,
}

/// The rows of one file. A key may occur several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRows {
    file: u32,
    /// Each run is grouped by the first byte of the key.
    runs: Vec<Vec<FileRow>>,
}

impl FileRows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Placed> + '_ {
        self.runs.iter().flatten().map(|row| row.of(self.file))
    }

    /// The keys, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = Md5Key> + '_ {
        self.runs.iter().flatten().map(|row| row.key)
    }
}

/// The rows of a file that is being read.
#[derive(Debug)]
pub struct Gathering {
    rows: FileRows,
    /// Rows that are not grouped yet.
    open: Vec<FileRow>,
    /// How many of these begin with each byte.
    counts: [usize; 256],
}

impl Gathering {
    /// Starts with no rows; `file` is the index of their file among the day's files.
    #[must_use]
    pub fn of(file: u32) -> Self {
        let rows = FileRows {
            file,
            runs: Vec::new(),
        };
        Self {
            rows,
            open: Vec::new(),
            counts: [0; 256],
        }
    }

    /// Adds a row; `ordinal` is its position in the file's `data`, from 0.
    pub fn push(&mut self, key: Md5Key, ordinal: u32) {
        self.counts[usize::from(key.0[0])] += 1;
        self.open.push(FileRow { key, ordinal });
        if self.open.len() == RUN {
            self.close();
        }
    }

    /// Ends the file.
    #[must_use]
    pub fn finish(mut self) -> FileRows {
        if !self.open.is_empty() {
            self.close();
        }
        self.rows
    }

    fn close(&mut self) {
        let Self { rows, open, counts } = self;
        let mut run = Vec::new();
        let first_byte = |row: &FileRow| usize::from(row.key.0[0]);
        group(open.drain(..), counts, first_byte, &mut run);
        rows.runs.push(run);
        counts.fill(0);
    }
}

impl FileRow {
    fn of(self, file: u32) -> Placed {
        let Self { key, ordinal } = self;
        Placed { key, file, ordinal }
    }
}

/// Writes the rows into `into`, grouped, by ascending group. `counts` holds the number of rows of
/// each group, and afterwards the position where the group ends.
fn group<T: Copy>(
    rows: impl Iterator<Item = T>,
    counts: &mut [usize],
    group: impl Fn(&T) -> usize,
    into: &mut Vec<T>,
) {
    let mut begin = 0;
    for count in counts.iter_mut() {
        begin += std::mem::replace(count, begin);
    }
    let mut rows = rows.peekable();
    let Some(any) = rows.peek().copied() else {
        into.clear();
        return;
    };
    into.resize(begin, any);
    for row in rows {
        let place = &mut counts[group(&row)];
        into[*place] = row;
        *place += 1;
    }
}

/// The rows of several files, ascending by key, file and position in the file, range by range.
pub(super) struct Ranges<'a> {
    /// The rest of each run of each file.
    rest: Vec<(u32, &'a [FileRow])>,
    /// The first bytes of the ranges that have not been returned yet.
    bytes: std::ops::RangeInclusive<u8>,
    range: Vec<Placed>,
    /// The number of rows of each group of the range, then the position where the group ends.
    groups: Vec<usize>,
}

impl<'a> Ranges<'a> {
    pub(super) fn of(files: &[&'a FileRows]) -> Self {
        let runs = |of: &&'a FileRows| {
            let &FileRows { file, ref runs } = *of;
            runs.iter().map(move |run| (file, run.as_slice()))
        };
        Self {
            rest: files.iter().flat_map(runs).collect(),
            bytes: 0..=u8::MAX,
            range: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// The rows of the next range, which may be empty. Rows with the same key are in the same
    /// range.
    pub(super) fn next(&mut self) -> Option<&[Placed]> {
        let byte = self.bytes.next()?;
        let these: Vec<(u32, &[FileRow])> = (self.rest.iter_mut())
            .map(|(file, rest)| {
                // These rows are read next anyway. A binary search would jump around beyond them.
                let count = rest.iter().take_while(|row| row.key.0[0] == byte).count();
                let (these, others) = rest.split_at(count);
                *rest = others;
                (*file, these)
            })
            .collect();
        let Self { range, groups, .. } = self;
        let rows =
            (these.iter()).flat_map(|&(file, rows)| rows.iter().map(move |row| row.of(file)));
        let count: usize = these.iter().map(|(_, rows)| rows.len()).sum();
        let bits = (count / GROUP).next_power_of_two().ilog2().max(1);
        let number = |row: &Placed| {
            let number = (row.key.first_half() << 8) >> (64 - bits);
            usize::try_from(number).expect("groups are few")
        };
        groups.clear();
        groups.resize(1 << bits, 0);
        rows.clone().for_each(|row| groups[number(&row)] += 1);
        group(rows, groups, number, range);
        let mut begin = 0;
        for &end in &*groups {
            range[begin..end].sort_unstable_by(|a, b| {
                let halves = (a.key.first_half(), b.key.first_half());
                halves.0.cmp(&halves.1).then_with(|| a.cmp(b))
            });
            begin = end;
        }
        Some(&self.range)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gathered(file: u32, keys: impl IntoIterator<Item = [u8; 16]>) -> FileRows {
        let mut rows = Gathering::of(file);
        for (ordinal, key) in (0..).zip(keys) {
            rows.push(Md5Key(key), ordinal);
        }
        rows.finish()
    }

    fn are_merged_in_order(files: &[FileRows]) -> bool {
        let mut all: Vec<Placed> = files.iter().flat_map(FileRows::iter).collect();
        all.sort();
        let files: Vec<&FileRows> = files.iter().collect();
        let (mut ranges, mut merged) = (Ranges::of(&files), Vec::new());
        while let Some(range) = ranges.next() {
            merged.extend_from_slice(range);
        }
        merged == all
    }

    proptest! {
        /// Few different values, so that keys are equal in the first byte, the second, either half,
        /// or all.
        #[test]
        fn rows_of_several_files_in_any_order_become_one_ascending_list(
            files in prop::collection::vec(prop::collection::vec((0u8..3, 0u8..3, 0u8..3), 0..40), 0..4),
        ) {
            let key = |(first, second, late): (u8, u8, u8)| {
                let mut key = [second; 16];
                key[0] = first.wrapping_mul(127);
                key[12] = late;
                key
            };
            let files: Vec<FileRows> = (0..)
                .zip(files)
                .map(|(file, keys)| gathered(file, keys.into_iter().map(key)))
                .collect();
            prop_assert!(are_merged_in_order(&files));
        }
    }

    #[test]
    fn a_file_of_several_runs_loses_no_row() {
        let count = u64::try_from(2 * RUN + 3).unwrap();
        // Multiplying by an odd factor makes all keys different, in no order.
        let spread = |n: u64| u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64;
        let many = gathered(0, (0..count).map(|n| spread(n).to_be_bytes()));
        let few = gathered(1, (0..9).map(|n| spread(n).to_be_bytes()));
        assert_eq!((many.len() as u64, few.len()), (count, 9));
        assert!(are_merged_in_order(&[many, few]));
    }
}
