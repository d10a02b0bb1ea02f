//! What a repair would do about a day's findings, before the guards and a person have agreed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::compare::gather::Columns;
use crate::compare::{CatalogFinding, Depth, Doubt, ExpectedRow, FileSeen, Findings};
use crate::model::{DatasetDay, DatasetId, Day, Entry, EntryKey, PublishedRow, RowKey};

use super::{Action, Strategy, WhyPublish, WhyPurge, WhyRecatalog};

/// What drafting needs besides the findings.
#[derive(Clone, Copy, Debug)]
pub struct Drafting<'a> {
    /// The portal's URL, as in the settings.
    pub portal: &'a str,
    /// The columns of the table.
    pub columns: &'a Columns,
    /// The name under which published files are entered in the catalog.
    pub repository: &'a str,
    /// Whether Sodalake publishes rows itself, instead of the existing publisher.
    pub native: bool,
    /// Whether Sodalake runs the existing publisher right away, as a command.
    pub command: bool,
}

/// How many rows and entries a draft touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows to publish.
    pub publish: u64,
    /// Rows to purge.
    pub purge: u64,
    /// Orphans among them.
    pub orphans: u64,
    /// Catalog entries to change.
    pub catalog: u64,
}

/// What a repair would do, before the guards have approved it.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) target: DatasetDay,
    pub(super) portal: String,
    /// How closely the day was checked. Not part of the digest: a plan is identified by what it
    /// does.
    pub(super) depth: Depth,
    pub(super) strategy: Strategy,
    pub(super) checked_at: DateTime<Utc>,
    pub(super) actions: Vec<Action>,
    pub(super) published: u64,
    pub(super) repeated: u64,
    /// Lake rows and files for which it is unknown what is published.
    pub(super) underivable: u64,
}

fn upload(row: &ExpectedRow, key_column: &str, columns: &Columns) -> Map<String, Json> {
    let mut json: Map<String, Json> = (columns.names().iter().zip(&row.cells))
        .map(|(name, cell)| ((*name).to_owned(), cell.to_json()))
        .collect();
    json.insert(key_column.to_owned(), Json::from(row.row.key.to_string()));
    json
}

/// Rows and files for which it is unknown what is published: rows without a key, and files that the
/// publisher would skip today although an entry says they were published.
fn underivable(findings: &Findings) -> u64 {
    let rows = findings
        .unpublishable
        .iter()
        .filter(|row| row.key.is_none());
    let passed_by = (findings.files.iter())
        .filter(|seen| seen.outcome.passed_by.is_some() && seen.entry.is_some());
    (rows.count() + passed_by.count()) as u64
}

fn published_entry(seen: &FileSeen, repository: &str, pointer: &str) -> Entry {
    Entry {
        key: EntryKey {
            repository: repository.to_owned(),
            ..seen.file.entry.key.clone()
        },
        pointer: pointer.to_owned(),
        collection_end: seen.file.entry.collection_end,
        processing_date: None,
        metadata: None,
    }
}

fn publish(
    rows: &[ExpectedRow],
    why: WhyPublish,
    target: &DatasetDay,
    with: Drafting<'_>,
) -> Vec<Action> {
    let action = |row: &ExpectedRow| Action::Publish {
        key: row.row.key.clone(),
        row: upload(row, &target.dataset.key_column, with.columns),
        why,
        before: None,
    };
    rows.iter().map(action).collect()
}

impl Draft {
    /// What would repair the findings. If there is a doubt, nothing is purged and the catalog is
    /// left as it is.
    #[must_use]
    pub fn of(findings: &Findings, with: Drafting<'_>) -> Self {
        let mut draft = Self::empty(findings, with, Strategy::Repair);
        if with.native {
            draft.publish_missing(findings, with);
        }
        if findings.doubts.is_empty() {
            draft.purge_unwanted(findings, with);
            draft.recatalog(findings, with);
        }
        draft.settle_order();
        draft
    }

    /// What would wipe the day and write it again. If there is a doubt, the draft is empty; only
    /// unknown chained keys do not matter, since a rewrite publishes others.
    #[must_use]
    pub fn rewrite(
        findings: &Findings,
        published: Vec<PublishedRow>,
        expected: &[ExpectedRow],
        with: Drafting<'_>,
    ) -> Self {
        let mut draft = Self::empty(findings, with, Strategy::Rewrite);
        let is_chain = |doubt: &Doubt| matches!(doubt, Doubt::Chain(_));
        if findings.doubts.iter().all(is_chain) {
            if with.native {
                draft.actions = publish(expected, WhyPublish::Rewrite, &findings.target, with);
            }
            for row in published {
                draft.purge(row, WhyPurge::Rewrite, None);
            }
            draft.reenter(findings, with);
        }
        draft.settle_order();
        draft
    }

    fn empty(findings: &Findings, with: Drafting<'_>, strategy: Strategy) -> Self {
        Self {
            target: findings.target.clone(),
            portal: with.portal.to_owned(),
            depth: findings.depth,
            strategy,
            checked_at: findings.checked_at,
            actions: Vec::new(),
            published: findings.published,
            repeated: findings.counts().repeated,
            underivable: underivable(findings),
        }
    }

    fn publish_missing(&mut self, findings: &Findings, with: Drafting<'_>) {
        let target = &findings.target;
        let certain = |row: &&ExpectedRow| findings.files[row.file as usize].certain;
        let missing: Vec<ExpectedRow> = findings.missing.iter().filter(certain).cloned().collect();
        let missing = publish(&missing, WhyPublish::Missing, target, with);
        let misdated = findings.misdated_missing.iter();
        let misdated: Vec<ExpectedRow> = misdated.filter(certain).cloned().collect();
        let misdated = publish(&misdated, WhyPublish::Missing, target, with);
        let altered = (findings.altered.iter())
            .filter(|altered| findings.files[altered.expected.file as usize].certain)
            .map(|altered| Action::Publish {
                key: altered.expected.row.key.clone(),
                row: upload(&altered.expected, &target.dataset.key_column, with.columns),
                why: WhyPublish::Altered,
                before: Some(altered.published.clone()),
            });
        self.actions
            .extend(missing.into_iter().chain(misdated).chain(altered));
    }

    fn purge_unwanted(&mut self, findings: &Findings, with: Drafting<'_>) {
        let missing: BTreeSet<&RowKey> = findings.missing.iter().map(|row| &row.row.key).collect();
        let returns = with.native || with.command;
        for duplicate in &findings.duplicates {
            if returns || !missing.contains(&duplicate.of) {
                self.purge(
                    duplicate.published.clone(),
                    WhyPurge::Duplicate,
                    Some(duplicate.of.clone()),
                );
            }
        }
        for orphan in &findings.orphans {
            self.purge(orphan.clone(), WhyPurge::Orphan, None);
        }
    }

    fn purge(&mut self, row: PublishedRow, why: WhyPurge, of: Option<RowKey>) {
        if let Some(key) = row.key.clone() {
            self.actions.push(Action::Purge { key, row, why, of });
        }
    }

    fn recatalog(&mut self, findings: &Findings, with: Drafting<'_>) {
        let mut withdrawn = BTreeMap::new();
        for finding in &findings.catalog {
            match finding {
                CatalogFinding::Gone(entry) => {
                    withdrawn.insert(entry.key.clone(), (entry.clone(), WhyRecatalog::Gone));
                }
                CatalogFinding::WrongPointer { file, .. }
                | CatalogFinding::Uncatalogued { file } => self.enter(findings, *file, with),
                CatalogFinding::RowsMissing { file, .. } if with.native => {
                    self.enter(findings, *file, with);
                }
                CatalogFinding::RowsMissing { file, .. } => {
                    for entry in &findings.files[*file as usize].covered_by {
                        let why = WhyRecatalog::Republish;
                        withdrawn
                            .entry(entry.key.clone())
                            .or_insert((entry.clone(), why));
                    }
                }
            }
        }
        if with.native {
            self.enter_completed(findings, with);
        }
        let withdraw = |(entry, why)| Action::Withdraw { entry, why };
        self.actions.extend(withdrawn.into_values().map(withdraw));
    }

    /// Enters files without an entry whose missing rows are all published by this draft.
    fn enter_completed(&mut self, findings: &Findings, with: Drafting<'_>) {
        let has_finding = |file: u32| {
            (findings.catalog.iter()).any(|finding| match finding {
                CatalogFinding::Gone(_) => false,
                CatalogFinding::RowsMissing { file: other, .. }
                | CatalogFinding::WrongPointer { file: other, .. }
                | CatalogFinding::Uncatalogued { file: other } => *other == file,
            })
        };
        for (file, seen) in (0u32..).zip(&findings.files) {
            let complete = seen.spilled_missing == Some(0) && seen.outcome.passed_by.is_none();
            if seen.own_day && seen.entry.is_none() && complete && !has_finding(file) {
                self.enter(findings, file, with);
            }
        }
    }

    fn enter(&mut self, findings: &Findings, file: u32, with: Drafting<'_>) {
        let seen = &findings.files[file as usize];
        let pointer = findings.target.dataset.id.as_str();
        let why = match &seen.entry {
            Some(entry) if entry.pointer != pointer => WhyRecatalog::WrongPointer,
            Some(_) | None => WhyRecatalog::Published,
        };
        let fresh = published_entry(seen, with.repository, pointer);
        let entry = match &seen.entry {
            Some(entry) => Entry {
                pointer: fresh.pointer,
                ..entry.clone()
            },
            None => fresh,
        };
        self.actions.push(Action::Enter {
            entry,
            before: seen.entry.clone(),
            why,
        });
    }

    /// For a rewrite: every entry of the day is withdrawn first and entered again once its rows are
    /// published.
    fn reenter(&mut self, findings: &Findings, with: Drafting<'_>) {
        let why = WhyRecatalog::Rewrite;
        let mut withdrawn: BTreeMap<EntryKey, Entry> = BTreeMap::new();
        for seen in findings.files.iter().filter(|seen| seen.own_day) {
            withdrawn.extend(
                seen.entry
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.clone())),
            );
            if with.native && seen.outcome.passed_by.is_none() {
                let entry =
                    published_entry(seen, with.repository, findings.target.dataset.id.as_str());
                self.actions.push(Action::Enter {
                    entry,
                    before: None,
                    why,
                });
            }
        }
        for finding in &findings.catalog {
            if let CatalogFinding::Gone(entry) = finding {
                withdrawn.insert(entry.key.clone(), entry.clone());
            }
        }
        let withdraw = |entry| Action::Withdraw { entry, why };
        self.actions.extend(withdrawn.into_values().map(withdraw));
    }

    /// Sorts the actions, so that equal drafts have equal digests.
    fn settle_order(&mut self) {
        self.actions.sort_by_cached_key(|action| match action {
            Action::Publish { key, .. } => (0, key.to_string()),
            Action::Purge { key, .. } => (1, key.to_string()),
            Action::Enter { entry, .. } => (2, format!("{:?}", entry.key)),
            Action::Withdraw { entry, .. } => (3, format!("{:?}", entry.key)),
        });
    }

    /// The dataset-day it is for.
    #[must_use]
    pub fn target(&self) -> &DatasetDay {
        &self.target
    }

    /// How closely the day was checked.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The order of its steps.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Its steps.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// How much it touches.
    #[must_use]
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for action in &self.actions {
            match action {
                Action::Publish { .. } => size.publish += 1,
                Action::Purge { why, .. } => {
                    size.purge += 1;
                    size.orphans += u64::from(*why == WhyPurge::Orphan);
                }
                Action::Enter { .. } | Action::Withdraw { .. } => size.catalog += 1,
            }
        }
        size
    }

    /// Identifies exactly this draft: SHA-256 over portal, dataset, day, strategy and every action.
    /// The time of the check is not included, so that a second check can arrive at the same draft.
    #[must_use]
    pub fn digest(&self) -> String {
        let Self {
            target,
            portal,
            strategy,
            actions,
            ..
        } = self;
        digest(portal, &target.dataset.id, target.day, *strategy, actions)
    }
}

pub(super) fn digest(
    portal: &str,
    id: &DatasetId,
    day: Day,
    strategy: Strategy,
    actions: &[Action],
) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::json!([portal, id, day, strategy]).to_string());
    for action in actions {
        hash.update(b"\n");
        hash.update(serde_json::to_vec(action).expect("an action is plain data"));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
