//! What the oracle checks at each write, when it arrives and before anything is done.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value as Json};
use sodalake::sandbox::portal::Arrival;

use super::damage::Class;
use super::oracle::{Oracle, Scene, Violation, text};
use super::record::{Pass, Record};
use crate::support::city::Rows;

impl Oracle {
    pub(super) fn check_write(&self, request: &Arrival<'_>) {
        let id = self.scene.table.spec().id;
        let whole = request.method == "POST" && request.path == format!("/resource/{id}.json");
        let rows = request
            .body
            .and_then(|body| serde_json::from_slice::<Vec<Map<String, Json>>>(body).ok());
        let (true, Some(rows)) = (whole, rows) else {
            let (method, path) = (request.method, request.path);
            return self
                .report_violation(1, format!("{method} {path} is not a write of rows by key"));
        };
        let (purged, upserted): (Vec<_>, Vec<_>) = rows
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
        self.require(6, again || asked, || {
            "the row identifier was not read before a write".into()
        });
        self.check_lease(&record);
        let published = self.published();
        if !upserted.is_empty() {
            self.check_journal(pass.as_ref(), "publishing", "rows", upserted.len());
            self.check_published(&upserted, &published);
        }
        if !purged.is_empty() {
            let key = self.scene.table.spec().row_identifier;
            let keys: BTreeSet<String> = purged.iter().map(|row| text(row, key)).collect();
            self.check_journal(pass.as_ref(), "purging", "purged", keys.len());
            self.check_purge(&keys, &published, &record, pass.as_ref());
            let read = |key: &&String| {
                let literal = format!("'{key}'");
                reads.iter().any(|query| query.contains(&literal))
            };
            let unread = keys.iter().find(|key| !read(key));
            self.require(4, again || unread.is_none(), || {
                format!(
                    "row {} is purged but was not read again just before",
                    unread.unwrap()
                )
            });
        }
    }

    fn check_journal(&self, pass: Option<&Pass>, step: &str, count: &str, min: usize) {
        let is_recorded = pass
            .and_then(|pass| pass.step.as_ref())
            .is_some_and(|last| {
                let recorded = last.detail[count].as_u64();
                last.name == step && recorded.is_some_and(|recorded| recorded >= min as u64)
            });
        self.require(2, is_recorded, || {
            format!("the journal has no step {step} of {min} rows")
        });
    }

    fn check_lease(&self, record: &Record) {
        let lease = record.lease(&self.scene.target);
        let ours = |(holder, until): &(String, DateTime<Utc>)| {
            *holder == self.scene.holder && *until > self.scene.clock.now()
        };
        self.require(8, lease.as_ref().is_some_and(ours), || {
            format!("a write without the lease: {lease:?}")
        });
    }

    fn check_published(&self, rows: &[Map<String, Json>], published: &Rows) {
        let Scene {
            table,
            confirmed,
            start,
            ..
        } = &self.scene;
        let key = table.spec().row_identifier;
        let silent = self.seen.lock().unwrap().lake == Some(Class::Silent);
        for row in rows {
            let key = text(row, key);
            let expected = confirmed.get(&key);
            self.require(1, expected.is_some() || silent, || {
                format!("row {key} is published but not in the lake")
            });
            let right = expected.is_some() && published.get(&key) == expected;
            let always = right && start.get(&key) == expected;
            let new = self.seen.lock().unwrap().uploaded.insert(key.clone());
            self.require(3, !always || !new || self.rewrites() || silent, || {
                format!("row {key} is published again although it was right all the time")
            });
        }
    }

    fn check_purge(
        &self,
        keys: &BTreeSet<String>,
        published: &Rows,
        record: &Record,
        pass: Option<&Pass>,
    ) {
        self.check_purged_rows(keys, published);
        self.check_archived(keys, published, record);
        self.check_persistence(record, pass);
        self.check_budgets(keys, pass);
        self.check_24h_budget(record, pass);
    }

    fn check_purged_rows(&self, keys: &BTreeSet<String>, published: &Rows) {
        let Scene {
            confirmed, start, ..
        } = &self.scene;
        let lake = self.seen.lock().unwrap().lake;
        self.require(3, lake != Some(Class::Visible), || {
            format!("{} rows are purged while the lake is in doubt", keys.len())
        });
        if self.rewrites() {
            return;
        }
        let expected = keys
            .iter()
            .filter(|key| confirmed.contains_key(*key))
            .count();
        if expected > 0 {
            let mut seen = self.seen.lock().unwrap();
            if lake == Some(Class::Silent) {
                seen.counts.excused += expected;
            } else {
                seen.counts.wrongly_purged += expected;
                let what = format!("{expected} rows that the lake confirms are purged");
                seen.violations.push(Violation { rule: 1, what });
            }
        }
        let seen = self.seen.lock().unwrap();
        let known = |key: &&String| {
            start.contains_key(*key)
                || confirmed.contains_key(*key)
                || seen.left_by_silent_damage.contains_key(*key)
        };
        let unknown = keys.iter().find(|key| !known(key)).cloned();
        // A rival may remove a row between the program's last check of it and the purge of others.
        let ours: BTreeSet<String> = seen.purged.values().flatten().cloned().collect();
        let was_published = |key: &String| start.contains_key(key) || seen.uploaded.contains(key);
        let taken: BTreeSet<String> = (confirmed.keys())
            .filter(|key| self.scene.rival && was_published(key) && !ours.contains(*key))
            .cloned()
            .collect();
        drop(seen);
        self.require(3, unknown.is_none() || lake == Some(Class::Silent), || {
            format!(
                "row {} is purged but was never published",
                unknown.unwrap_or_default()
            )
        });
        let missing = confirmed.iter().find(|(key, row)| {
            self.of_day(row) && !published.contains_key(*key) && !taken.contains(*key)
        });
        self.require(1, missing.is_none() || lake == Some(Class::Silent), || {
            format!(
                "rows are purged while the expected row {} is missing",
                missing.unwrap().0
            )
        });
    }

    fn check_archived(&self, keys: &BTreeSet<String>, published: &Rows, record: &Record) {
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
            published.get(*key).is_some_and(|row| {
                !archived.contains(&((*key).clone(), Json::Object(row.clone()).to_string()))
            })
        });
        self.require(2, lost.is_none(), || {
            format!(
                "row {} is purged but its values are in no archive",
                lost.unwrap()
            )
        });
    }

    fn check_persistence(&self, record: &Record, pass: Option<&Pass>) {
        let sighted = record.sighting(&self.scene.target);
        let least = TimeDelta::from_std(self.scene.rails.recheck_after).unwrap();
        let persisted = sighted.is_some_and(|(digest, first)| {
            pass.is_some_and(|pass| pass.digest == digest)
                && self.scene.clock.now() - first >= least
        });
        self.require(4, persisted, || {
            "rows are purged for a new difference".into()
        });
    }

    fn check_budgets(&self, keys: &BTreeSet<String>, pass: Option<&Pass>) {
        let Scene {
            rails,
            start,
            confirmed,
            orphan_keys,
            ..
        } = &self.scene;
        let mut seen = self.seen.lock().unwrap();
        let lake = seen.lake;
        let id = pass.map_or(String::new(), |pass| pass.id.clone());
        seen.purged_at.insert(id.clone(), self.scene.clock.now());
        let purged = seen.purged.entry(id).or_default();
        purged.extend(keys.iter().cloned());
        let total = purged.len() as u64;
        // If devices are numbered, rows lost from a file change the keys of the others.
        let recipe = sodalake::expected::recipe(self.scene.table.recipe());
        let numbered =
            recipe.is_some_and(|recipe| recipe.facts().columns.contains(&"device_address"));
        let is_orphan = |key: &&String| {
            orphan_keys.contains(*key)
                || (lake == Some(Class::Silent) && !numbered && confirmed.contains_key(*key))
        };
        let orphans = purged.iter().filter(is_orphan).count() as u64;
        let present = start.values().filter(|row| self.of_day(row)).count();
        let missing = confirmed
            .iter()
            .filter(|(key, row)| self.of_day(row) && !start.contains_key(*key));
        // Count rows published under keys that only the damaged file produces.
        let renamed: Vec<String> = (seen.uploaded.iter())
            .filter(|key| !start.contains_key(*key) && !confirmed.contains_key(*key))
            .cloned()
            .collect();
        let whole = present + missing.count();
        drop(seen);
        let published = if renamed.is_empty() {
            Rows::default()
        } else {
            self.published()
        };
        let renamed = renamed.iter().filter_map(|key| published.get(key));
        let whole = (whole + renamed.filter(|row| self.of_day(row)).count()).max(1) as u64;
        let share = share(total, whole);
        self.require(5, total <= rails.max_purge_rows_per_day, || {
            format!("{total} rows are purged in one pass")
        });
        self.require(
            5,
            orphans <= rails.max_orphan_rows_per_day || self.rewrites(),
            || format!("{orphans} orphans are purged in one pass"),
        );
        self.require(
            5,
            share <= rails.max_purge_share_per_day || self.rewrites(),
            || format!("a share of {share} of the day is purged in one pass"),
        );
    }
}

impl Oracle {
    /// All passes of the last 24 hours together purge no more than the budget, unless a person has
    /// approved the plan.
    fn check_24h_budget(&self, record: &Record, pass: Option<&Pass>) {
        let day_ago = self.scene.clock.now() - TimeDelta::hours(24);
        let seen = self.seen.lock().unwrap();
        let recent = seen.purged_at.iter().filter(|(_, at)| **at > day_ago);
        let total: usize = recent.map(|(id, _)| seen.purged[id].len()).sum();
        drop(seen);
        let most = self.scene.rails.max_purge_rows_per_24h;
        let is_approved = pass.is_some_and(|pass| record.is_approved(&pass.digest));
        self.require(5, total as u64 <= most || is_approved, || {
            format!("{total} rows are purged in 24 hours")
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of rows are small")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
