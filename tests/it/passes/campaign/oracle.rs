//! The oracle knows what the lake confirms, sees every request to the stand-in portal, and checks
//! each write against rules 1 to 9 of docs/safety.md when it arrives, before anything is done.
//!
//! It does not rely on the program. It reads published rows from the portal, the lease, journal,
//! passes and sightings from the ledger's file, and archived rows from the archive's folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};
use sodalake::archive::Archive;
use sodalake::model::DatasetDay;
use sodalake::reconcile::Clock;
use sodalake::sandbox::city::Table;
use sodalake::sandbox::portal::{Arrival, Fault, Portal, RequestRecord, Witness};
use sodalake::settings::Rails;

use super::damage::Class;
use super::record::Record;
use crate::support::city::Rows;

/// A violation of a safety rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Number of the rule.
    pub rule: u8,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.what)
    }
}

/// What the oracle knows about a case.
pub struct Scene {
    pub portal: Portal,
    pub table: Table,
    pub target: DatasetDay,
    /// The rows that the lake confirms.
    pub confirmed: Rows,
    /// The rows that were published at the start.
    pub start: Rows,
    /// The rows at the start that match nothing in the lake.
    pub orphan_keys: BTreeSet<String>,
    /// Whether another client deletes rows too.
    pub rival: bool,
    pub rails: Rails,
    pub ledger: PathBuf,
    pub archive: Archive,
    pub holder: String,
    pub clock: Arc<dyn Clock>,
}

/// Counts that are not violations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Writes seen.
    pub writes: usize,
    /// Confirmed rows that a repair purged.
    pub wrongly_purged: usize,
    /// Confirmed rows that a repair purged because of a silent damage of the lake.
    pub excused: usize,
}

/// The published rows when a read arrived.
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) keys: BTreeSet<String>,
    /// Whether the read asked for all rows of the day, or for their number.
    all: bool,
    /// Whether it did, and an honest replica answered in full.
    pub(super) is_complete: bool,
    thread: ThreadId,
}

/// Whether a query asks for all of a day's rows, or for their number.
fn asks_for_all(query: &str, rows: usize) -> bool {
    let limit = query.split_once("$limit=").map(|(_, rest)| rest);
    let limit = limit.and_then(|rest| rest.split('&').next()?.parse::<usize>().ok());
    let first = limit > Some(rows) && !query.contains(" > '");
    !query.contains(" in (") && (first || query.contains("count(*)"))
}

/// Whether the reply is complete and comes from a replica that neither lies nor declares itself out
/// of date. The client discards all other replies.
pub(super) fn is_reliable(request: &RequestRecord, liars: &BTreeSet<usize>) -> bool {
    let honest = (request.replica).is_some_and(|replica| !liars.contains(&replica));
    let whole = matches!(
        request.fault,
        None | Some(Fault::DeletesAfter { .. } | Fault::TouchesAfter { .. } | Fault::Drip { .. })
    );
    honest && whole && !request.is_marked_stale
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) violations: Vec<Violation>,
    pub(super) counts: Counts,
    /// The rows that were published when a silent damage of the lake ended. They may be unknown.
    pub(super) left_by_silent_damage: Rows,
    /// Whether the current pass was requested as a rewrite.
    pub(super) rewrite: bool,
    /// The current damage of the lake.
    pub(super) lake: Option<Class>,
    /// Replicas that claim to be up to date even if they are not.
    pub(super) liars: BTreeSet<usize>,
    /// Queries since the last write.
    pub(super) reads: Vec<String>,
    pub(super) metadata: bool,
    /// If there is a rival: the published rows at each read.
    pub(super) snapshots: Vec<Snapshot>,
    /// The pass and journal step of the last write. One step may make several writes, in parts or
    /// as retries.
    pub(super) last_step: Option<(String, i64)>,
    /// Keys that were purged, by pass.
    pub(super) purged: BTreeMap<String, BTreeSet<String>>,
    /// When each of these passes purged last.
    pub(super) purged_at: BTreeMap<String, DateTime<Utc>>,
    pub(super) uploaded: BTreeSet<String>,
    pub(super) under_way: HashMap<ThreadId, bool>,
}

impl Seen {
    /// Marks this thread's read as answered correctly and in full.
    fn mark_complete(&mut self, thread: ThreadId) {
        let mut reads = self.snapshots.iter_mut().rev();
        if let Some(read) = reads.find(|read| read.thread == thread) {
            read.is_complete = read.all;
        }
    }
}

pub struct Oracle {
    pub(super) scene: Scene,
    pub(super) seen: Mutex<Seen>,
    pub(super) open: AtomicUsize,
}

impl Oracle {
    pub fn new(scene: Scene) -> Self {
        Self {
            scene,
            seen: Mutex::default(),
            open: AtomicUsize::new(0),
        }
    }

    /// Sets the current damage of the lake.
    pub fn set_lake(&self, lake: Option<Class>) {
        let published = self.published();
        let mut seen = self.seen.lock().unwrap();
        if seen.lake == Some(Class::Silent) {
            seen.left_by_silent_damage = published;
        }
        seen.lake = lake;
    }

    /// Sets whether the next pass is a rewrite, which by design purges rows that the lake confirms.
    pub fn set_rewrite(&self, rewrite: bool) {
        self.seen.lock().unwrap().rewrite = rewrite;
    }

    pub fn set_liars(&self, liars: BTreeSet<usize>) {
        self.seen.lock().unwrap().liars = liars;
    }

    /// From now on no replica lies and no rival removes rows.
    pub fn end_faults(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.liars.clear();
        seen.snapshots.clear();
    }

    pub(super) fn rewrites(&self) -> bool {
        self.seen.lock().unwrap().rewrite
    }

    pub fn violations(&self) -> Vec<Violation> {
        self.seen.lock().unwrap().violations.clone()
    }

    pub fn counts(&self) -> Counts {
        self.seen.lock().unwrap().counts
    }

    /// Requests that arrived and are not answered. A late write may still be applied.
    pub fn under_way(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub fn report_violation(&self, rule: u8, what: impl Into<String>) {
        let what = what.into();
        let mut seen = self.seen.lock().unwrap();
        seen.violations.push(Violation { rule, what });
    }

    pub(super) fn require(&self, rule: u8, fine: bool, what: impl FnOnce() -> String) {
        if !fine {
            self.report_violation(rule, what());
        }
    }

    /// The rows that are published now.
    pub fn published(&self) -> Rows {
        let spec = self.scene.table.spec();
        let rows = self.scene.portal.rows(spec.id).into_iter();
        let plain = rows.map(|mut row| {
            row.retain(|field, _| !field.starts_with(':'));
            (text(&row, spec.row_identifier), row)
        });
        plain.collect()
    }

    pub(super) fn of_day(&self, row: &Map<String, Json>) -> bool {
        let day = self.scene.target.day.to_string();
        text(row, self.scene.table.day_column()).starts_with(&day)
    }

    pub(super) fn record(&self) -> Record {
        Record::open(&self.scene.ledger)
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
            self.check_write(request);
            return;
        }
        let published = self.scene.rival.then(|| self.published());
        let mut seen = self.seen.lock().unwrap();
        if let Some(published) = published {
            let of_day = published.values().filter(|row| self.of_day(row)).count();
            seen.snapshots.push(Snapshot {
                at: Instant::now(),
                all: asks_for_all(request.query, of_day),
                keys: published.into_keys().collect(),
                is_complete: false,
                thread: thread::current().id(),
            });
        }
        if request.path.starts_with("/api/views/") {
            seen.metadata = true;
        } else {
            seen.reads.push(request.query.to_owned());
        }
    }

    fn answered(&self, request: &RequestRecord) {
        let thread = thread::current().id();
        let mut seen = self.seen.lock().unwrap();
        let wrote = seen.under_way.remove(&thread);
        if is_reliable(request, &seen.liars) {
            seen.mark_complete(thread);
        }
        drop(seen);
        if wrote == Some(true) && request.effects.is_some() {
            self.check_values();
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn text(row: &Map<String, Json>, field: &str) -> String {
    row.get(field)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}
