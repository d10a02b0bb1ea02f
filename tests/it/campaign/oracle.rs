//! Knows what the lake vouches for, sees every request that the stand-in portal receives, and holds
//! each write to rules 1 to 9 of docs/safety.md at the moment it comes, before anything is done.
//!
//! It asks the program nothing: what stands it reads off the portal, lease, journal, passes and
//! sightings off the ledger's file, and archived rows out of the archive's folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value as Json};
use sodalake::archive::Archive;
use sodalake::model::DatasetDay;
use sodalake::reconcile::Clock;
use sodalake::sandbox::city::Table;
use sodalake::sandbox::portal::{Arrival, Portal, RequestRecord, Witness};
use sodalake::settings::Rails;

use super::damage::Class;
use super::record::{Pass, Record};
use crate::support::city::{Rows, difference};

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which of the rules.
    pub rule: u8,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.what)
    }
}

/// How long a replica may call itself up to date that is not, at most.
const FLAGS_LAG: Duration = Duration::from_millis(20);

/// What the oracle knows of a case.
pub struct Scene {
    pub portal: Portal,
    pub table: Table,
    pub target: DatasetDay,
    /// The rows that the lake vouches for.
    pub vouched: Rows,
    /// The rows that stood in the beginning.
    pub start: Rows,
    /// Those of them that nothing in the lake is like.
    pub strangers: BTreeSet<String>,
    /// Whether somebody else deletes rows too.
    pub rival: bool,
    pub rails: Rails,
    pub ledger: PathBuf,
    pub archive: Archive,
    pub holder: String,
    pub clock: Arc<dyn Clock>,
}

/// Counts that are no faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Writes seen.
    pub writes: usize,
    /// Vouched rows whose delete came, though it was a mend.
    pub wrongly_purged: usize,
    /// Those that a silent damage of the lake excuses.
    pub excused: usize,
}

#[derive(Default)]
struct Seen {
    violations: Vec<Violation>,
    counts: Counts,
    /// What stood when a silent damage of the lake ended: its rows are nobody's any more.
    aside: Rows,
    /// Whether the pass under way was asked for as a rewrite.
    rewrite: bool,
    /// What the lake suffers from now.
    lake: Option<Class>,
    /// Replicas that say they are up to date whatever they hold.
    liars: BTreeSet<usize>,
    /// Queries since the last write.
    reads: Vec<String>,
    metadata: bool,
    /// Where there is a rival: the keys that stood whenever a read came, and whether it counted the
    /// rows of a day.
    stood: Vec<(Instant, BTreeSet<String>, bool)>,
    /// The pass and the journal's step of the last write: one step's writes may be several, in
    /// parts or again.
    last_step: Option<(String, i64)>,
    /// Keys that were purged, by pass.
    purged: BTreeMap<String, BTreeSet<String>>,
    uploaded: BTreeSet<String>,
    under_way: HashMap<ThreadId, bool>,
}

pub struct Oracle {
    scene: Scene,
    seen: Mutex<Seen>,
    open: AtomicUsize,
}

impl Oracle {
    pub fn new(scene: Scene) -> Self {
        Self {
            scene,
            seen: Mutex::default(),
            open: AtomicUsize::new(0),
        }
    }

    /// What the lake suffers from, from now on.
    pub fn set_lake(&self, lake: Option<Class>) {
        let stands = self.stands();
        let mut seen = self.seen.lock().unwrap();
        if seen.lake == Some(Class::Silent) {
            seen.aside = stands;
        }
        seen.lake = lake;
    }

    /// Whether the next pass is a rewrite, which wipes what the lake vouches for by its nature.
    pub fn set_rewrite(&self, rewrite: bool) {
        self.seen.lock().unwrap().rewrite = rewrite;
    }

    pub fn set_liars(&self, liars: BTreeSet<usize>) {
        self.seen.lock().unwrap().liars = liars;
    }

    /// Whether liars alone answered the last look: between the metadata it begins and ends with,
    /// and after. Nothing tells what they say from the truth.
    fn heard_only_liars(&self) -> bool {
        let liars = self.seen.lock().unwrap().liars.clone();
        let (mut brackets, mut lies) = (0, 0);
        for request in self.scene.portal.requests().iter().rev() {
            match request.replica {
                Some(replica) if !liars.contains(&replica) => return false,
                None if request.path.starts_with("/api/views/") => brackets += 1,
                Some(_) => lies += 1,
                None => {}
            }
            if brackets == 2 {
                return lies > 0;
            }
        }
        false
    }

    fn rewrites(&self) -> bool {
        self.seen.lock().unwrap().rewrite
    }

    pub fn violations(&self) -> Vec<Violation> {
        self.seen.lock().unwrap().violations.clone()
    }

    pub fn counts(&self) -> Counts {
        self.seen.lock().unwrap().counts
    }

    /// Requests that came and are not answered: a late write may still be carried out.
    pub fn under_way(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub fn accuse(&self, rule: u8, what: impl Into<String>) {
        let what = what.into();
        let mut seen = self.seen.lock().unwrap();
        seen.violations.push(Violation { rule, what });
    }

    fn hold(&self, rule: u8, fine: bool, what: impl FnOnce() -> String) {
        if !fine {
            self.accuse(rule, what());
        }
    }

    /// The rows that stand now.
    pub fn stands(&self) -> Rows {
        let spec = self.scene.table.spec();
        let rows = self.scene.portal.rows(spec.id).into_iter();
        let plain = rows.map(|mut row| {
            row.retain(|field, _| !field.starts_with(':'));
            (text(&row, spec.row_identifier), row)
        });
        plain.collect()
    }

    fn of_day(&self, row: &Map<String, Json>) -> bool {
        let day = self.scene.target.day.to_string();
        text(row, self.scene.table.day_column()).starts_with(&day)
    }

    fn record(&self) -> Record {
        Record::open(&self.scene.ledger)
    }

    fn write_comes(&self, request: &Arrival<'_>) {
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

    /// Every row that stands is one that stood before or one that the lake vouches for, unchanged.
    fn values_are_right(&self) {
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
    /// the day's rows were counted for the last time.
    fn owed(&self, now: &Rows) -> Rows {
        let mut owed = self.scene.vouched.clone();
        let seen = self.seen.lock().unwrap();
        let counted = seen.stood.iter().rev().find(|(_, _, counts)| *counts);
        let until = counted.and_then(|(at, _, _)| at.checked_sub(FLAGS_LAG));
        let stood = seen
            .stood
            .iter()
            .rev()
            .find(|(at, _, _)| Some(*at) <= until);
        let ours: BTreeSet<&String> = seen.purged.values().flatten().collect();
        if let Some((_, stood, _)) = stood {
            let taken = |key: &String| stood.contains(key) && !now.contains_key(key);
            owed.retain(|key, _| !taken(key) || ours.contains(key));
        }
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
        self.hold(9, wrong_entries == 0, || {
            format!("in step, and {wrong_entries} entries are wrong")
        });
    }
}

impl Witness for Oracle {
    fn arrives(&self, request: &Arrival<'_>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let writes = !matches!(request.method, "GET" | "HEAD");
        self.seen
            .lock()
            .unwrap()
            .under_way
            .insert(thread::current().id(), writes);
        if writes {
            self.write_comes(request);
            return;
        }
        let stands = self.scene.rival.then(|| self.stands());
        let mut seen = self.seen.lock().unwrap();
        if let Some(stands) = stands {
            let counts = request.query.contains("count(*)") && !request.query.contains(" in (");
            let keys = stands.into_keys().collect();
            seen.stood.push((Instant::now(), keys, counts));
        }
        if request.path.starts_with("/api/views/") {
            seen.metadata = true;
        } else {
            seen.reads.push(request.query.to_owned());
        }
    }

    fn answered(&self, request: &RequestRecord) {
        let wrote = self
            .seen
            .lock()
            .unwrap()
            .under_way
            .remove(&thread::current().id());
        if wrote == Some(true) && request.effects.is_some() {
            self.values_are_right();
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn text(row: &Map<String, Json>, field: &str) -> String {
    row.get(field)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of rows are small")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
