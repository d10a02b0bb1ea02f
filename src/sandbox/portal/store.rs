//! One table: its schema, its true state, and the state that its replicas still show.
//!
//! A state is a map of shared rows, with an index by key and indexes by column that are built on
//! demand. Copying a state copies only pointers. Every accepted write is a [`Mutation`]: a list of
//! changes with a version. A replica that lags owns a state and the mutations it has not applied. A
//! replica that does not lag owns nothing and shows the true state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::cell::{Cell, ColumnType};
use super::replicas::{ReplicaOptions, Replicas};
use super::rowid::RowIds;

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub field: String,
    pub kind: ColumnType,
}

/// What does not change while a table exists.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub id: String,
    pub name: String,
    pub columns: Vec<Column>,
    pub key: Option<usize>,
    pub ids: RowIds,
    pub computed_region: bool,
    pub private: bool,
    pub created_at: i64,
}

impl Schema {
    /// The position of the column with that name. The name is nearly always spelled as when the
    /// column was created.
    pub(super) fn position(&self, field: &str) -> Option<usize> {
        let exact = self.columns.iter().position(|column| column.field == field);
        exact.or_else(|| {
            let folded = fold(field);
            self.columns
                .iter()
                .position(|column| fold(&column.field) == folded)
        })
    }
}

/// The form of a name that ignores case and treats `-` as `_`.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// One stored row. Times are milliseconds since the epoch, in UTC.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub sid: u64,
    pub version: u64,
    pub created: i64,
    pub updated: i64,
    pub cells: Box<[Cell]>,
}

/// One step of a mutation.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Arc<Row>),
    Remove(u64),
    Clear,
}

/// One accepted write. All its changes become visible together.
#[derive(Debug)]
pub(super) struct Mutation {
    pub version: u64,
    pub at: i64,
    /// Whether every replica that is not stuck shows it at once.
    pub settled: bool,
    pub changes: Vec<Change>,
}

/// The rows as of one version.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub rows: BTreeMap<u64, Arc<Row>>,
    pub by_key: BTreeMap<Cell, u64>,
    indexes: BTreeMap<usize, BTreeSet<(Cell, u64)>>,
    pub version: u64,
    pub modified: i64,
}

impl State {
    pub(super) fn change(&mut self, key: Option<usize>, change: &Change) {
        match change {
            Change::Put(row) => {
                self.forget(key, row.sid);
                if let Some(key) = key {
                    self.by_key.insert(row.cells[key].clone(), row.sid);
                }
                for (column, index) in &mut self.indexes {
                    index.insert((row.cells[*column].clone(), row.sid));
                }
                self.rows.insert(row.sid, Arc::clone(row));
            }
            Change::Remove(sid) => self.forget(key, *sid),
            Change::Clear => {
                self.rows.clear();
                self.by_key.clear();
                self.indexes.values_mut().for_each(BTreeSet::clear);
            }
        }
    }

    fn forget(&mut self, key: Option<usize>, sid: u64) {
        let Some(old) = self.rows.remove(&sid) else {
            return;
        };
        if let Some(key) = key {
            self.by_key.remove(&old.cells[key]);
        }
        for (column, index) in &mut self.indexes {
            index.remove(&(old.cells[*column].clone(), sid));
        }
    }

    fn apply(&mut self, key: Option<usize>, mutation: &Mutation) {
        for change in &mutation.changes {
            self.change(key, change);
        }
        self.version = mutation.version;
        self.modified = mutation.at;
    }

    /// Keeps a sorted index of that column from now on.
    pub(super) fn keep_index(&mut self, column: usize) {
        let rows = &self.rows;
        self.indexes.entry(column).or_insert_with(|| {
            rows.values()
                .map(|row| (row.cells[column].clone(), row.sid))
                .collect()
        });
    }

    pub(super) fn has_index(&self, column: usize) -> bool {
        self.indexes.contains_key(&column)
    }

    pub(super) fn index(&self, column: usize) -> Option<&BTreeSet<(Cell, u64)>> {
        self.indexes.get(&column)
    }
}

/// A lagging replica's own copy.
#[derive(Debug)]
struct LaggingCopy {
    state: State,
    pending: VecDeque<Arc<Mutation>>,
}

/// A table with all its replicas.
#[derive(Debug)]
pub(super) struct Table {
    pub schema: Arc<Schema>,
    pub truth: State,
    pub next_sid: u64,
    copies: Vec<Option<LaggingCopy>>,
    /// Times and versions of recent commits, from which the out-of-date flag is computed.
    commits: VecDeque<(i64, u64)>,
}

const COMMITS_KEPT: usize = 1000;

impl Table {
    pub(super) fn new(schema: Schema, replicas: &Replicas) -> Table {
        let truth = State {
            modified: schema.created_at,
            version: 1,
            ..State::default()
        };
        let mut table = Table {
            schema: Arc::new(schema),
            truth,
            next_sid: 1,
            copies: Vec::new(),
            commits: VecDeque::new(),
        };
        table.set_replicas(replicas);
        table
    }

    /// Replicas that begin to lag start from the true state. Replicas that stop lagging catch up.
    pub(super) fn set_replicas(&mut self, replicas: &Replicas) {
        let mut old = std::mem::take(&mut self.copies).into_iter();
        for options in &replicas.each {
            let kept = old.next().flatten();
            let lagging = options.delays(&self.schema.id).then(|| {
                kept.unwrap_or_else(|| LaggingCopy {
                    state: self.truth.clone(),
                    pending: VecDeque::new(),
                })
            });
            self.copies.push(lagging);
        }
    }

    /// Records changes that were already made to the true state as one mutation.
    pub(super) fn commit(&mut self, at: i64, settled: bool, changes: Vec<Change>) {
        self.truth.version += 1;
        self.truth.modified = at.max(self.truth.modified);
        self.commits.push_back((at, self.truth.version));
        if self.commits.len() > COMMITS_KEPT {
            self.commits.pop_front();
        }
        if self.copies.iter().any(Option::is_some) {
            let modified = self.truth.modified;
            let mutation = Arc::new(Mutation {
                version: self.truth.version,
                at: modified,
                settled,
                changes,
            });
            for lagging in self.copies.iter_mut().flatten() {
                lagging.pending.push_back(Arc::clone(&mutation));
            }
        }
    }

    /// Lets a replica apply what has reached it by `now`, and builds the index that the query
    /// needs.
    pub(super) fn prepare(
        &mut self,
        replica: usize,
        options: &ReplicaOptions,
        now: i64,
        indexes: &[usize],
    ) {
        let key = self.schema.key;
        let state = match self.copies.get_mut(replica) {
            Some(Some(lagging)) => {
                while let Some(next) = lagging.pending.front() {
                    if !options.has_reached(next, now) {
                        break;
                    }
                    lagging.state.apply(key, next);
                    lagging.pending.pop_front();
                }
                &mut lagging.state
            }
            _ => &mut self.truth,
        };
        for column in indexes {
            state.keep_index(*column);
        }
    }

    /// The state that a replica shows.
    pub(super) fn seen_by(&self, replica: usize) -> &State {
        match self.copies.get(replica) {
            Some(Some(lagging)) => &lagging.state,
            _ => &self.truth,
        }
    }

    /// The version that the portal's front end considered current at `when`.
    pub(super) fn reported_version(&self, when: i64) -> u64 {
        self.commits
            .iter()
            .rev()
            .find(|(at, _)| *at <= when)
            .map_or(0, |(_, version)| *version)
    }
}
