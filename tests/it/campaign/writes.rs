//! What the oracle asks at each write, at the moment it comes and before anything is done.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value as Json};
use sodalake::sandbox::portal::Arrival;

use super::damage::Class;
use super::oracle::{Oracle, Scene, Violation, text};
use super::record::{Pass, Record};
use crate::support::city::Rows;

impl Oracle {
    pub(super) fn write_comes(&self, request: &Arrival<'_>) {
        let id = self.scene.table.spec().id;
        let whole = request.method == "POST" && request.path == format!("/resource/{id}.json");
        let rows = request
            .body
            .and_then(|body| serde_json::from_slice::<Vec<Map<String, Json>>>(body).ok());
        let (true, Some(rows)) = (whole, rows) else {
            let (method, path) = (request.method, request.path);
            return self.accuse(
                1,
                format!("{method} {path} is no write of rows by their keys"),
            );
        };
        let (gone, come): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| row.get(":deleted") == Some(&Json::Bool(true)));
        let record = self.record();
        let pass = record.pass(&self.scene.target);
        let step = pass
            .as_ref()
            .and_then(|pass| Some((pass.id.clone(), pass.step.as_ref()?.number)));
        let (again, asked, reads) = {
            let mut seen = self.seen.lock().unwrap();
            seen.counts.writes += 1;
            let again = step.is_some() && seen.last_step == step;
            seen.last_step = step;
            let asked = std::mem::take(&mut seen.metadata);
            (again, asked, std::mem::take(&mut seen.reads))
        };
        self.hold(6, again || asked, || {
            "the row identifier was not asked for before a write".into()
        });
        self.lease_is_held(&record);
        let stands = self.stands();
        if !come.is_empty() {
            self.journal_says(pass.as_ref(), "publishing", "rows", come.len());
            self.rows_come(&come, &stands);
        }
        if !gone.is_empty() {
            let key = self.scene.table.spec().row_identifier;
            let keys: BTreeSet<String> = gone.iter().map(|row| text(row, key)).collect();
            self.journal_says(pass.as_ref(), "purging", "purged", keys.len());
            self.rows_go(&keys, &stands, &record, pass.as_ref());
            let read = |key: &&String| {
                let literal = format!("'{key}'");
                reads.iter().any(|query| query.contains(&literal))
            };
            let unread = keys.iter().find(|key| !read(key));
            self.hold(4, again || unread.is_none(), || {
                format!(
                    "row {} is purged and was not read again just before",
                    unread.unwrap()
                )
            });
        }
    }

    fn journal_says(&self, pass: Option<&Pass>, step: &str, count: &str, least: usize) {
        let says = pass
            .and_then(|pass| pass.step.as_ref())
            .is_some_and(|last| {
                let told = last.detail[count].as_u64();
                last.name == step && told.is_some_and(|told| told >= least as u64)
            });
        self.hold(2, says, || {
            format!("the journal does not say that {least} rows are {step}")
        });
    }

    fn lease_is_held(&self, record: &Record) {
        let lease = record.lease(&self.scene.target);
        let ours = |(holder, until): &(String, DateTime<Utc>)| {
            *holder == self.scene.holder && *until > self.scene.clock.now()
        };
        self.hold(8, lease.as_ref().is_some_and(ours), || {
            format!("a write without the lease: {lease:?}")
        });
    }

    fn rows_come(&self, rows: &[Map<String, Json>], stands: &Rows) {
        let Scene {
            table,
            vouched,
            start,
            ..
        } = &self.scene;
        let key = table.spec().row_identifier;
        let silent = self.seen.lock().unwrap().lake == Some(Class::Silent);
        for row in rows {
            let key = text(row, key);
            let expected = vouched.get(&key);
            self.hold(1, expected.is_some() || silent, || {
                format!("row {key} is published, and the lake has none such")
            });
            let right = expected.is_some() && stands.get(&key) == expected;
            let always = right && start.get(&key) == expected;
            let new = self.seen.lock().unwrap().uploaded.insert(key.clone());
            self.hold(3, !always || !new || self.rewrites() || silent, || {
                format!("row {key} is published, and stood as it should all the time")
            });
        }
    }

    fn rows_go(
        &self,
        keys: &BTreeSet<String>,
        stands: &Rows,
        record: &Record,
        pass: Option<&Pass>,
    ) {
        self.only_unwanted_rows(keys, stands);
        self.rows_are_archived(keys, stands, record);
        self.difference_persisted(record, pass);
        self.budgets_hold(keys, pass);
    }

    fn only_unwanted_rows(&self, keys: &BTreeSet<String>, stands: &Rows) {
        let Scene { vouched, start, .. } = &self.scene;
        let lake = self.seen.lock().unwrap().lake;
        self.hold(3, lake != Some(Class::Visible), || {
            format!("{} rows are purged while the lake is in doubt", keys.len())
        });
        if self.rewrites() {
            return;
        }
        let expected = keys.iter().filter(|key| vouched.contains_key(*key)).count();
        if expected > 0 {
            let mut seen = self.seen.lock().unwrap();
            if lake == Some(Class::Silent) {
                seen.counts.excused += expected;
            } else {
                seen.counts.wrongly_purged += expected;
                let what = format!("{expected} rows that the lake vouches for are purged");
                seen.violations.push(Violation { rule: 1, what });
            }
        }
        let seen = self.seen.lock().unwrap();
        let known = |key: &&String| {
            start.contains_key(*key) || vouched.contains_key(*key) || seen.aside.contains_key(*key)
        };
        let strange = keys.iter().find(|key| !known(key)).cloned();
        // A rival may take a row between our last look at it and the purge of others.
        let ours: BTreeSet<String> = seen.purged.values().flatten().cloned().collect();
        let stood = |key: &String| start.contains_key(key) || seen.uploaded.contains(key);
        let taken: BTreeSet<String> = (vouched.keys())
            .filter(|key| self.scene.rival && stood(key) && !ours.contains(*key))
            .cloned()
            .collect();
        drop(seen);
        self.hold(3, strange.is_none() || lake == Some(Class::Silent), || {
            format!(
                "row {} is purged and never stood",
                strange.unwrap_or_default()
            )
        });
        let hole = vouched.iter().find(|(key, row)| {
            self.of_day(row) && !stands.contains_key(*key) && !taken.contains(*key)
        });
        self.hold(1, hole.is_none() || lake == Some(Class::Silent), || {
            format!(
                "rows are purged while the expected row {} does not stand",
                hole.unwrap().0
            )
        });
    }

    fn rows_are_archived(&self, keys: &BTreeSet<String>, stands: &Rows, record: &Record) {
        let mut archived: BTreeSet<(String, String)> = BTreeSet::new();
        let runtime = tokio::runtime::Handle::current();
        for id in record.passes(&self.scene.target) {
            let days = runtime
                .block_on(self.scene.archive.load(id))
                .unwrap_or_default();
            let rows = days.into_iter().flat_map(|day| day.rows);
            archived.extend(rows.filter_map(|row| {
                let fields: Map<String, Json> = row.row.fields.into_iter().collect();
                Some((row.row.key?.to_string(), Json::Object(fields).to_string()))
            }));
        }
        let lost = keys.iter().find(|key| {
            stands.get(*key).is_some_and(|row| {
                !archived.contains(&((*key).clone(), Json::Object(row.clone()).to_string()))
            })
        });
        self.hold(2, lost.is_none(), || {
            format!(
                "row {} is purged and lies in no archive as it stands",
                lost.unwrap()
            )
        });
    }

    fn difference_persisted(&self, record: &Record, pass: Option<&Pass>) {
        let sighted = record.sighting(&self.scene.target);
        let least = TimeDelta::from_std(self.scene.rails.recheck_after).unwrap();
        let persisted = sighted.is_some_and(|(digest, first)| {
            pass.is_some_and(|pass| pass.digest == digest)
                && self.scene.clock.now() - first >= least
        });
        self.hold(4, persisted, || {
            "rows are purged for a difference just seen".into()
        });
    }

    fn budgets_hold(&self, keys: &BTreeSet<String>, pass: Option<&Pass>) {
        let Scene {
            rails,
            start,
            vouched,
            strangers,
            ..
        } = &self.scene;
        let mut seen = self.seen.lock().unwrap();
        let lake = seen.lake;
        let id = pass.map_or(String::new(), |pass| pass.id.clone());
        let purged = seen.purged.entry(id).or_default();
        purged.extend(keys.iter().cloned());
        let total = purged.len() as u64;
        // where devices are numbered, rows lost from a file give the others other keys
        let recipe = sodalake::expected::recipe(self.scene.table.recipe());
        let numbered =
            recipe.is_some_and(|recipe| recipe.facts().columns.contains(&"device_address"));
        let nobodys = |key: &&String| {
            strangers.contains(*key)
                || (lake == Some(Class::Silent) && !numbered && vouched.contains_key(*key))
        };
        let orphans = purged.iter().filter(nobodys).count() as u64;
        let stood = start.values().filter(|row| self.of_day(row)).count();
        let missing = vouched
            .iter()
            .filter(|(key, row)| self.of_day(row) && !start.contains_key(*key));
        // and rows that stand under keys which only the damaged file gives them
        let renamed: Vec<String> = (seen.uploaded.iter())
            .filter(|key| !start.contains_key(*key) && !vouched.contains_key(*key))
            .cloned()
            .collect();
        let whole = stood + missing.count();
        drop(seen);
        let stands = if renamed.is_empty() {
            Rows::default()
        } else {
            self.stands()
        };
        let renamed = renamed.iter().filter_map(|key| stands.get(key));
        let whole = (whole + renamed.filter(|row| self.of_day(row)).count()).max(1) as u64;
        let share = share(total, whole);
        self.hold(5, total <= rails.max_purge_rows_per_day, || {
            format!("{total} rows are purged in one pass")
        });
        self.hold(
            5,
            orphans <= rails.max_orphan_rows_per_day || self.rewrites(),
            || format!("{orphans} orphans are purged in one pass"),
        );
        self.hold(
            5,
            share <= rails.max_purge_share_per_day || self.rewrites(),
            || format!("a share of {share} of the day is purged in one pass"),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of rows are small")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
