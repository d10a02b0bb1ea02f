//! The steps of a repair. Each is written to the journal before it starts and after it ends.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value as Json, json};

use crate::archive::{ArchiveHeader, ArchivedRow};
use crate::catalog::CatalogChange;
use crate::ledger::LedgerError;
use crate::model::{Entry, EntryKey, PublishedRow, RowKey};
use crate::plan::{Action, Plan, Strategy, WhyPurge};
use crate::reconcile::{Checked, World, published_rows};
use crate::settings::Publisher;
use crate::socrata::{ByKey, Freshness, ReadError, Writer};

use super::confirm::Confirming;
use super::{Effects, Lease, RepairError, Writers, publisher};

/// Fresh reads after which a row that is still missing counts as refused, if the portal reported
/// errors.
const FRESH_READS_OF_A_REFUSAL: u32 = 3;

/// Journal step written before a purge. If it is the last one, the purge may still be under way.
pub(super) const PURGING: &str = "purging";

/// Key under which the journal keeps the entries that did not exist before.
pub(super) const NEW_ENTRIES: &str = "new_entries";

struct Upload {
    key: RowKey,
    row: Map<String, Json>,
    before: Option<PublishedRow>,
}

struct Unwanted {
    key: RowKey,
    row: PublishedRow,
    why: WhyPurge,
    of: Option<RowKey>,
}

pub(super) struct Steps<'a> {
    world: &'a World,
    writers: &'a Writers,
    /// The portal, usable only while the lease allows it.
    portal: Writer,
    seen: &'a Checked,
    lease: &'a Lease<'a>,
    effects: &'a mut Effects,
    strategy: Strategy,
    publish: Vec<Upload>,
    purge: Vec<Unwanted>,
    enter: Vec<(Entry, Option<Entry>)>,
    withdraw: Vec<Entry>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(
        plan: Plan,
        world: &'a World,
        writers: &'a Writers,
        seen: &'a Checked,
        lease: &'a Lease<'a>,
        effects: &'a mut Effects,
    ) -> Self {
        let mut steps = Self {
            world,
            writers,
            portal: writers.portal.only_while(lease.permit()),
            seen,
            lease,
            effects,
            strategy: plan.strategy(),
            publish: Vec::new(),
            purge: Vec::new(),
            enter: Vec::new(),
            withdraw: Vec::new(),
        };
        for action in plan.into_actions() {
            match action {
                Action::Publish {
                    key,
                    row,
                    why: _,
                    before,
                } => steps.publish.push(Upload { key, row, before }),
                Action::Purge { key, row, why, of } => {
                    steps.purge.push(Unwanted { key, row, why, of });
                }
                Action::Enter {
                    entry,
                    before,
                    why: _,
                } => steps.enter.push((entry, before)),
                Action::Withdraw { entry, why: _ } => steps.withdraw.push(entry),
            }
        }
        steps
    }

    async fn journal(&self, step: &str, detail: Json) -> Result<(), RepairError> {
        let (pass, now) = (self.effects.pass, self.world.clock.now());
        match self.world.ledger.journal(pass, now, step, &detail).await {
            Err(LedgerError::NoSuchPass { .. }) => Err(RepairError::Overtaken { pass }),
            journaled => Ok(journaled?),
        }
    }

    /// Stores every row that will be purged or overwritten, and every entry that will change.
    pub(super) async fn archive(&mut self) -> Result<(), RepairError> {
        let target = &self.seen.findings.target;
        let purged = self.purge.iter().map(|row| ArchivedRow {
            why: row.why.to_string(),
            row: row.row.clone(),
        });
        let altered = self
            .publish
            .iter()
            .filter_map(|upload| upload.before.clone());
        let altered = altered.map(|row| ArchivedRow {
            why: "altered".into(),
            row,
        });
        let rows: Vec<ArchivedRow> = purged.chain(altered).collect();
        let corrected = self.enter.iter().filter_map(|(_, before)| before.clone());
        let entries: Vec<Entry> = corrected.chain(self.withdraw.iter().cloned()).collect();
        if rows.is_empty() && entries.is_empty() && self.enter.is_empty() {
            return Ok(());
        }
        let header = ArchiveHeader {
            pass: self.effects.pass,
            portal: self.world.settings.socrata.url.to_string(),
            dataset: target.dataset.name.clone(),
            id: target.dataset.id.clone(),
            day: target.day,
            key_column: target.dataset.key_column.clone(),
            recipe: target.dataset.recipe.clone(),
            made_at: self.world.clock.now(),
        };
        let receipt = self.writers.archive.store(&header, &rows, &entries).await?;
        self.effects.archived += receipt.rows;
        let detail =
            json!({ "path": receipt.path, "rows": receipt.rows, "sha256": receipt.sha256 });
        self.journal("archived", detail).await
    }

    fn chunk(&self) -> usize {
        self.world.settings.socrata.chunk_rows.max(1) as usize
    }

    /// Publishes and waits until the portal shows every row with its values.
    pub(super) async fn publish(&mut self) -> Result<(), RepairError> {
        let uploads = std::mem::take(&mut self.publish);
        let mut refused = 0;
        for chunk in uploads.chunks(self.chunk()) {
            self.lease.hold().await?;
            self.journal("publishing", json!({ "rows": chunk.len() }))
                .await?;
            let rows: Vec<Map<String, Json>> =
                chunk.iter().map(|upload| upload.row.clone()).collect();
            let summary = self.portal.upsert(&self.seen.table, &rows).await?;
            refused += summary.errors;
            self.effects.published += chunk.len() as u64;
            self.journal(
                "published",
                json!({ "rows": chunk.len(), "errors": summary.errors }),
            )
            .await?;
        }
        if uploads.is_empty() {
            return Ok(());
        }
        self.confirm_published(&uploads, refused > 0).await?;
        self.journal("seen published", json!({ "rows": uploads.len() }))
            .await
    }

    async fn confirm_published(
        &mut self,
        uploads: &[Upload],
        some_refused: bool,
    ) -> Result<(), RepairError> {
        let columns = &self.seen.columns;
        let published_cells =
            |row: &Map<String, Json>| columns.published(&row.clone().into_iter().collect());
        let mut left: HashMap<&RowKey, _> = uploads
            .iter()
            .map(|upload| (&upload.key, published_cells(&upload.row)))
            .collect();
        let mut fresh_reads = 0;
        let mut confirming = Confirming::new(self.world.settings.socrata.confirm_within);
        loop {
            let keys: Vec<RowKey> = left.keys().map(|key| (*key).clone()).collect();
            if let Some(rows) = confirming.read(self.look_up(&keys)).await? {
                // A row that is seen is there; only a fresh answer says that one is not.
                fresh_reads += u32::from(rows.freshness == Freshness::Proven);
                for row in rows.found.values() {
                    let key = row.key.as_ref();
                    let same = key
                        .and_then(|key| left.get(key))
                        .is_some_and(|cells| *cells == columns.published(&row.fields));
                    if let (true, Some(key)) = (same, key) {
                        left.remove(key);
                    }
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if some_refused && fresh_reads >= FRESH_READS_OF_A_REFUSAL {
                let first = left
                    .keys()
                    .min()
                    .map(|key| (*key).clone())
                    .expect("some are left");
                self.effects.published -= left.len() as u64;
                return Err(RepairError::Refused {
                    rows: left.len() as u64,
                    first,
                });
            }
            self.lease.hold().await?;
            self.wait(&mut confirming, "what was published", left.len() as u64)
                .await?;
        }
    }

    /// Waits before the next read of a write, unless we are shutting down; then the next pass
    /// checks it.
    async fn wait(
        &self,
        confirming: &mut Confirming,
        what: &'static str,
        left: u64,
    ) -> Result<(), RepairError> {
        tokio::select! {
            waited = confirming.wait(what, left) => waited,
            () = self.writers.stop.requested() => Err(RepairError::Stopped),
        }
    }

    /// The published rows with these keys. Keys without a row are absent from the map.
    async fn reread(&self, keys: &[RowKey]) -> Result<HashMap<RowKey, PublishedRow>, ReadError> {
        self.look_up(keys).await?.proven(&self.seen.table)
    }

    /// The published rows of these keys, as far as the portal shows them now.
    async fn look_up(
        &self,
        keys: &[RowKey],
    ) -> Result<ByKey<HashMap<RowKey, PublishedRow>>, ReadError> {
        let day = self.seen.findings.target.day;
        let rows = published_rows(self.world, &self.seen.table, day, keys).await?;
        let ByKey { found, freshness } = rows;
        let found = found.into_iter();
        let found = found.filter_map(|row| row.key.clone().map(|key| (key, row)));
        Ok(ByKey {
            found: found.collect(),
            freshness,
        })
    }

    /// Purges chunk by chunk. Each row is read again just before.
    pub(super) async fn purge(&mut self) -> Result<(), RepairError> {
        let unwanted = std::mem::take(&mut self.purge);
        let mut purged: Vec<RowKey> = Vec::new();
        for chunk in unwanted.chunks(self.chunk()) {
            let chosen = self.still_unwanted(chunk).await?;
            self.effects.dropped += (chunk.len() - chosen.len()) as u64;
            if chosen.is_empty() {
                continue;
            }
            let keys: Vec<RowKey> = chosen.iter().map(|row| row.key.clone()).collect();
            self.lease.hold().await?;
            self.journal(PURGING, json!({ "purged": keys.len() }))
                .await?;
            match self.portal.delete(&self.seen.table, &keys).await {
                Ok(done) if self.strategy == Strategy::Rewrite && !done.is_settled() => {
                    return Err(RepairError::PurgeInDoubt);
                }
                Ok(_) => {}
                Err(error) if !error.is_settled() => return Err(error.into()),
                Err(error) => {
                    self.journal("not purged", json!({})).await?;
                    return Err(error.into());
                }
            }
            for row in chosen {
                *self.effects.purged.entry(row.why).or_default() += 1;
            }
            self.journal("purged", json!({ "rows": keys.len() }))
                .await?;
            purged.extend(keys);
        }
        if purged.is_empty() {
            return Ok(());
        }
        self.confirm_purged(&purged).await?;
        self.journal(
            "seen gone",
            json!({ "rows": purged.len(), "dropped": self.effects.dropped }),
        )
        .await
    }

    /// The rows that are exactly as they were when they were judged and, for duplicates, whose
    /// expected row is published.
    async fn still_unwanted<'c>(
        &self,
        chunk: &'c [Unwanted],
    ) -> Result<Vec<&'c Unwanted>, RepairError> {
        let keys_to_read: BTreeSet<&RowKey> = chunk
            .iter()
            .flat_map(|row| std::iter::once(&row.key).chain(&row.of))
            .collect();
        let keys_to_read: Vec<RowKey> = keys_to_read.into_iter().cloned().collect();
        let now = self.reread(&keys_to_read).await?;
        let is_published = |of: &RowKey| now.contains_key(of);
        let unchanged = |row: &Unwanted| now.get(&row.key).is_some_and(|found| *found == row.row);
        let original_published = |row: &Unwanted| {
            row.of.as_ref().is_none_or(is_published) || self.strategy == Strategy::Rewrite
        };
        Ok((chunk.iter())
            .filter(|row| unchanged(row) && original_published(row))
            .collect())
    }

    async fn confirm_purged(&self, keys: &[RowKey]) -> Result<(), RepairError> {
        let mut left: HashSet<RowKey> = keys.iter().cloned().collect();
        let mut confirming = Confirming::new(self.world.settings.socrata.confirm_within);
        loop {
            let keys_to_read: Vec<RowKey> = left.iter().cloned().collect();
            if let Some(rows) = confirming.read(self.reread(&keys_to_read)).await? {
                left.retain(|key| rows.contains_key(key));
            }
            if left.is_empty() {
                return Ok(());
            }
            self.lease.hold().await?;
            self.wait(&mut confirming, "what was purged", left.len() as u64)
                .await?;
        }
    }

    /// Removes entries from the catalog.
    pub(super) async fn withdraw(&mut self) -> Result<(), RepairError> {
        let withdraw = std::mem::take(&mut self.withdraw);
        let changes = withdraw.into_iter().map(CatalogChange::Remove).collect();
        self.recatalog(changes, Vec::new(), |effects| &mut effects.withdrawn)
            .await
    }

    /// Enters files as published in the catalog.
    pub(super) async fn enter(&mut self) -> Result<(), RepairError> {
        let now = self.world.clock.now();
        let enter = std::mem::take(&mut self.enter);
        let new = enter.iter().filter(|(_, before)| before.is_none());
        let new = new.map(|(entry, _)| entry.key.clone()).collect();
        let stamped = |(entry, _)| {
            CatalogChange::Put(Entry {
                processing_date: Some(now),
                ..entry
            })
        };
        let changes = enter.into_iter().map(stamped).collect();
        self.recatalog(changes, new, |effects| &mut effects.entered)
            .await
    }

    /// `new` lists the entries that did not exist before: a restore removes them again.
    async fn recatalog(
        &mut self,
        changes: Vec<CatalogChange>,
        new: Vec<EntryKey>,
        count: fn(&mut Effects) -> &mut u64,
    ) -> Result<(), RepairError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.lease.hold().await?;
        let detail = json!({ "entries": changes.len(), NEW_ENTRIES: new });
        self.journal("recataloguing", detail).await?;
        let changed = self.writers.catalog.apply(&changes).await?;
        *count(self.effects) += changed;
        self.journal("recatalogued", json!({ "entries": changed }))
            .await
    }

    /// Runs the existing publisher over the day and waits for it, within its time limit.
    pub(super) async fn run_publisher(&mut self, publisher: &Publisher) -> Result<(), RepairError> {
        let Publisher { command, timeout } = publisher;
        let limit = *timeout;
        let day = self.seen.findings.target.day;
        let fill = |part: &String| {
            part.replace("{from}", &day.to_string())
                .replace("{to}", &day.next().to_string())
        };
        let parts: Vec<String> = command.iter().map(fill).collect();
        let Some((program, arguments)) = parts.split_first() else {
            return Ok(());
        };
        self.lease.hold().await?;
        self.journal("running the publisher", json!({ "program": program }))
            .await?;
        let failed = |what: String| RepairError::Publisher {
            program: program.clone(),
            dataset: self.seen.findings.target.dataset.name.clone(),
            from: day,
            to: day.next(),
            what,
        };
        let running = publisher::run(program, arguments, limit);
        match self.lease.hold_through(running).await {
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => return Err(failed(status.to_string())),
            Ok(None) => {
                let limit = humantime::format_duration(limit);
                let what =
                    format!("it did not end within {limit} (republish.timeout) and was terminated");
                return Err(failed(what));
            }
            Err(error) => return Err(failed(error.to_string())),
        }
        self.journal("ran the publisher", Json::Null).await
    }
}
