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
use std::time::Instant;

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

/// What stood when a read came.
pub(super) struct Stood {
    pub(super) at: Instant,
    pub(super) keys: BTreeSet<String>,
    /// Whether it asked for all rows of the day, or their number.
    all: bool,
    /// Whether it did, and a replica that does not lie answered in full.
    pub(super) told: bool,
    thread: ThreadId,
}

/// Whether a query asks for all of a day's rows, or for their number.
fn asks_for_all(query: &str, rows: usize) -> bool {
    let limit = query.split_once("$limit=").map(|(_, rest)| rest);
    let limit = limit.and_then(|rest| rest.split('&').next()?.parse::<usize>().ok());
    let first = limit > Some(rows) && !query.contains(" > '");
    !query.contains(" in (") && (first || query.contains("count(*)"))
}

/// Whether the reply is whole, and that of a replica which neither lies nor says that it is out of
/// date: what is cut off or out of date is thrown away by whoever hears it.
pub(super) fn tells_the_truth(request: &RequestRecord, liars: &BTreeSet<usize>) -> bool {
    let honest = (request.replica).is_some_and(|replica| !liars.contains(&replica));
    let whole = matches!(
        request.fault,
        None | Some(Fault::DeletesAfter { .. } | Fault::TouchesAfter { .. } | Fault::Drip { .. })
    );
    honest && whole && !request.says_stale
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) violations: Vec<Violation>,
    pub(super) counts: Counts,
    /// What stood when a silent damage of the lake ended: its rows are nobody's any more.
    pub(super) aside: Rows,
    /// Whether the pass under way was asked for as a rewrite.
    pub(super) rewrite: bool,
    /// What the lake suffers from now.
    pub(super) lake: Option<Class>,
    /// Replicas that say they are up to date whatever they hold.
    pub(super) liars: BTreeSet<usize>,
    /// Queries since the last write.
    pub(super) reads: Vec<String>,
    pub(super) metadata: bool,
    /// Where there is a rival: what stood whenever a read came.
    pub(super) stood: Vec<Stood>,
    /// The pass and the journal's step of the last write: one step's writes may be several, in
    /// parts or again.
    pub(super) last_step: Option<(String, i64)>,
    /// Keys that were purged, by pass.
    pub(super) purged: BTreeMap<String, BTreeSet<String>>,
    pub(super) uploaded: BTreeSet<String>,
    pub(super) under_way: HashMap<ThreadId, bool>,
}

impl Seen {
    /// The read that this thread answers got the truth, and all of it.
    fn answered_truly(&mut self, thread: ThreadId) {
        let mut reads = self.stood.iter_mut().rev();
        if let Some(read) = reads.find(|read| read.thread == thread) {
            read.told = read.all;
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

    /// From now on no replica lies and no rival takes rows.
    pub fn faults_end(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.liars.clear();
        seen.stood.clear();
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

    /// Requests that came and are not answered: a late write may still be carried out.
    pub fn under_way(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub fn accuse(&self, rule: u8, what: impl Into<String>) {
        let what = what.into();
        let mut seen = self.seen.lock().unwrap();
        seen.violations.push(Violation { rule, what });
    }

    pub(super) fn hold(&self, rule: u8, fine: bool, what: impl FnOnce() -> String) {
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
            self.write_comes(request);
            return;
        }
        let stands = self.scene.rival.then(|| self.stands());
        let mut seen = self.seen.lock().unwrap();
        if let Some(stands) = stands {
            let of_day = stands.values().filter(|row| self.of_day(row)).count();
            seen.stood.push(Stood {
                at: Instant::now(),
                all: asks_for_all(request.query, of_day),
                keys: stands.into_keys().collect(),
                told: false,
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
        if tells_the_truth(request, &seen.liars) {
            seen.answered_truly(thread);
        }
        drop(seen);
        if wrote == Some(true) && request.effects.is_some() {
            self.values_are_right();
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
