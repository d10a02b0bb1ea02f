//! What the oracle asks in the end: done means done, and nothing is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use super::damage::Class;
use super::oracle::{Oracle, Scene, tells_the_truth};
use crate::support::city::{Rows, difference};

/// How long a replica may call itself up to date that is not, at most.
const FLAGS_LAG: Duration = Duration::from_millis(20);

impl Oracle {
    /// Whether of the answers to the last look only liars' could be believed: between the metadata it
    /// begins and ends with, and after. Nothing tells what they say from the truth.
    fn heard_only_liars(&self) -> bool {
        let liars = self.seen.lock().unwrap().liars.clone();
        let (mut brackets, mut lies) = (0, 0);
        for request in self.scene.portal.requests().iter().rev() {
            match request.replica {
                None if request.path.starts_with("/api/views/") => brackets += 1,
                Some(replica) if liars.contains(&replica) => lies += 1,
                _ if tells_the_truth(request, &liars) => return false,
                _ => {}
            }
            if brackets == 2 {
                return lies > 0;
            }
        }
        false
    }

    /// Every row that stands is one that stood before or one that the lake vouches for, unchanged.
    pub(super) fn values_are_right(&self) {
        let Scene { vouched, start, .. } = &self.scene;
        let stands = self.stands();
        let (silent, aside) = {
            let seen = self.seen.lock().unwrap();
            (seen.lake == Some(Class::Silent), seen.aside.clone())
        };
        if silent {
            return;
        }
        for (key, row) in stands {
            let known = [vouched, start, &aside]
                .iter()
                .any(|rows| rows.get(&key) == Some(&row));
            self.hold(1, known, || {
                format!("row {key} stands with values that nobody vouches for")
            });
        }
    }

    /// Vouched rows that stood in the beginning and do not stand now.
    pub fn lost(&self) -> usize {
        self.scene.start.keys().filter(self.has_lost()).count()
    }

    /// Tells keys of vouched rows that stand no more, those aside that a rival took away.
    fn has_lost(&self) -> impl Fn(&&String) -> bool {
        let (now, vouched) = (self.stands(), &self.scene.vouched);
        let ours: BTreeSet<String> = {
            let seen = self.seen.lock().unwrap();
            seen.purged.values().flatten().cloned().collect()
        };
        move |key| {
            let gone = vouched.contains_key(*key) && !now.contains_key(*key);
            gone && (!self.scene.rival || ours.contains(*key))
        }
    }

    /// The vouched rows that a look must have found or missed: all but those that a rival took after
    /// a replica that does not lie had told of all rows for the last time.
    fn owed(&self, now: &Rows) -> Rows {
        let mut owed = self.scene.vouched.clone();
        let seen = self.seen.lock().unwrap();
        let told = seen.stood.iter().rev().find(|read| read.told);
        let until = told.and_then(|read| read.at.checked_sub(FLAGS_LAG));
        let before = seen.stood.partition_point(|read| Some(read.at) <= until);
        // A row may have been put back and taken again, so any read since that found it will do.
        let since = &seen.stood[before.saturating_sub(1)..];
        let stood = |key: &String| since.iter().any(|read| read.keys.contains(key));
        let ours: BTreeSet<&String> = seen.purged.values().flatten().collect();
        owed.retain(|key, _| now.contains_key(key) || !stood(key) || ours.contains(key));
        owed
    }

    /// Holds the end of a pass that says all is in step to rule 9: done means done. Of other days
    /// only this much: what stood there and is vouched for still does.
    pub fn vet_end(&self, wrong_entries: usize) {
        let passes = self.record().passes(&self.scene.target).len();
        let most = self.scene.rails.max_repairs_per_day as usize;
        self.hold(7, passes <= most, || format!("{passes} repairs of one day"));
        if self.heard_only_liars() {
            return;
        }
        let (now, start) = (self.stands(), &self.scene.start);
        let of_day = |rows: &Rows| -> Rows {
            let rows = rows.iter().filter(|(_, row)| self.of_day(row));
            rows.map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        let (lost, more, other) = difference(&of_day(&self.owed(&now)), &of_day(&now));
        self.hold(9, (lost, more, other) == (0, 0, 0), || {
            format!("in step, and {lost} rows are missing, {more} too many, {other} wrong")
        });
        let gone = start.keys().filter(self.has_lost()).count();
        self.hold(9, gone == 0, || {
            format!("in step, and {gone} rows of other days are gone")
        });
        // Where a file's rows stand on two days a rival may have taken the other day's: no entry says
        // that the file is published until they are back.
        let recipe = sodalake::expected::recipe(self.scene.table.recipe()).unwrap();
        let elsewhere = |(key, row): (&String, &_)| !self.of_day(row) && !now.contains_key(key);
        let waits = self.scene.rival
            && recipe.facts().spill_days > 0
            && self.scene.vouched.iter().any(elsewhere);
        self.hold(9, wrong_entries == 0 || waits, || {
            format!("in step, and {wrong_entries} entries are wrong")
        });
    }
}
