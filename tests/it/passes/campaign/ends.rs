//! What the oracle checks at the end of a pass: the day is in sync, and nothing is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use super::damage::Class;
use super::oracle::{Oracle, Scene, is_reliable};
use crate::support::city::{Rows, difference};

/// Maximum time for which a replica's out-of-date flag may be wrong.
const FLAGS_LAG: Duration = Duration::from_millis(20);

impl Oracle {
    /// Whether all usable answers to the last check came from lying replicas, between the two
    /// metadata reads that enclose it and after them. Such answers cannot be distinguished from
    /// correct ones.
    fn only_liars_answered(&self) -> bool {
        let liars = self.seen.lock().unwrap().liars.clone();
        let (mut brackets, mut lies) = (0, 0);
        for request in self.scene.portal.requests().iter().rev() {
            match request.replica {
                None if request.path.starts_with("/api/views/") => brackets += 1,
                Some(replica) if liars.contains(&replica) => lies += 1,
                _ if is_reliable(request, &liars) => return false,
                _ => {}
            }
            if brackets == 2 {
                return lies > 0;
            }
        }
        false
    }

    /// Every published row must be unchanged from the start, or be one that the lake confirms.
    pub(super) fn check_values(&self) {
        let Scene {
            confirmed, start, ..
        } = &self.scene;
        let published = self.published();
        let (silent, left_by_silent_damage) = {
            let seen = self.seen.lock().unwrap();
            (
                seen.lake == Some(Class::Silent),
                seen.left_by_silent_damage.clone(),
            )
        };
        if silent {
            return;
        }
        for (key, row) in published {
            let known = [confirmed, start, &left_by_silent_damage]
                .iter()
                .any(|rows| rows.get(&key) == Some(&row));
            self.require(1, known, || {
                format!("row {key} is published with values that are not confirmed")
            });
        }
    }

    /// The number of confirmed rows that were published at the start and are not published now.
    pub fn lost(&self) -> usize {
        self.scene.start.keys().filter(self.has_lost()).count()
    }

    /// A test for keys of confirmed rows that are no longer published, except those that a rival
    /// removed.
    fn has_lost(&self) -> impl Fn(&&String) -> bool {
        let (now, confirmed) = (self.published(), &self.scene.confirmed);
        let ours: BTreeSet<String> = {
            let seen = self.seen.lock().unwrap();
            seen.purged.values().flatten().cloned().collect()
        };
        move |key| {
            let gone = confirmed.contains_key(*key) && !now.contains_key(*key);
            gone && (!self.scene.rival || ours.contains(*key))
        }
    }

    /// The confirmed rows that the check must have found or reported missing. Not included are rows
    /// that a rival removed after an honest replica had last returned all rows.
    fn must_be_found(&self, now: &Rows) -> Rows {
        let mut expected = self.scene.confirmed.clone();
        let seen = self.seen.lock().unwrap();
        let complete = seen.snapshots.iter().rev().find(|read| read.is_complete);
        let until = complete.and_then(|read| read.at.checked_sub(FLAGS_LAG));
        let before = seen
            .snapshots
            .partition_point(|read| Some(read.at) <= until);
        // A row may have been put back and removed again, so any read since then that found it
        // counts.
        let since = &seen.snapshots[before.saturating_sub(1)..];
        let was_published = |key: &String| since.iter().any(|read| read.keys.contains(key));
        let ours: BTreeSet<&String> = seen.purged.values().flatten().collect();
        expected
            .retain(|key, _| now.contains_key(key) || !was_published(key) || ours.contains(key));
        expected
    }

    /// Checks the end of a pass that reports the day in sync against rule 9. Rows of other days
    /// must still be published if they were and the lake confirms them.
    pub fn check_end(&self, wrong_entries: usize) {
        let passes = self.record().passes(&self.scene.target).len();
        let most = self.scene.rails.max_repairs_per_week as usize;
        self.require(7, passes <= most, || format!("{passes} repairs of one day"));
        if self.only_liars_answered() {
            return;
        }
        let (now, start) = (self.published(), &self.scene.start);
        let of_day = |rows: &Rows| -> Rows {
            let rows = rows.iter().filter(|(_, row)| self.of_day(row));
            rows.map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        let (lost, more, other) = difference(&of_day(&self.must_be_found(&now)), &of_day(&now));
        self.require(9, (lost, more, other) == (0, 0, 0), || {
            format!("in sync, but {lost} rows are missing, {more} unexpected, {other} wrong")
        });
        let gone = start.keys().filter(self.has_lost()).count();
        self.require(9, gone == 0, || {
            format!("in sync, but {gone} rows of other days are missing")
        });
        // If the rows of a file are published on two days, a rival may have removed those of the
        // other day. The file has no entry until they are back.
        let recipe = sodalake::expected::recipe(self.scene.table.recipe()).unwrap();
        let elsewhere = |(key, row): (&String, &_)| !self.of_day(row) && !now.contains_key(key);
        let waits = self.scene.rival
            && recipe.facts().spill_days > 0
            && self.scene.confirmed.iter().any(elsewhere);
        self.require(9, wrong_entries == 0 || waits, || {
            format!("in sync, but {wrong_entries} entries are wrong")
        });
    }
}
