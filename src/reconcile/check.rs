//! One check of one dataset-day, from all three sides.
//!
//! A check reads the table's shape, the lake's files, their keys and the published keys. Only if
//! the keys differ does it read the rows themselves: it derives the files a second time to get the
//! rows that matter, and reads the unexpected published rows in full, since they must be archived
//! before they can be purged. Nothing is kept from one check to the next.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::compare::gather::{self, Asked, Columns, FileKeys, Misdated, Placed};
use crate::compare::keys::{self, KeyDifference};
use crate::compare::{Depth, FileRows, Findings, MisdatedRow, Repeated};
use crate::expected::{DeriveError, FileText, Recipe, Variant};
use crate::model::{Dataset, DatasetDay, Day, Entry, KeyPolicy, KeySet, PublishedRow, RowKey};
use crate::socrata::{Freshness, Table};

use super::detail::Wanted;
use super::doubts::{doubt_chain, doubt_freshness, take_found, unreadable};
use super::lakeside::{LakeReads, LakeSide, Source};
use super::window::{self, PublishedSide};
use super::{CheckError, World};

/// A check's findings, and the table they were found in.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What was found.
    pub findings: Findings,
    /// The table.
    pub table: Table,
    /// Its columns in the recipe's order.
    pub columns: Columns,
    /// What was read from the lake for the check.
    pub reads: LakeReads,
}

/// One file of the day during the check.
pub(super) struct Candidate {
    pub(super) source: Source,
    /// Its keys under each variant tried so far; `chosen` is the index of the chosen one.
    pub(super) tried: Vec<FileKeys>,
    chosen: usize,
    pub(super) certain: bool,
}

impl Candidate {
    pub(super) fn keys(&self) -> &FileKeys {
        &self.tried[self.chosen]
    }

    /// Whether the file belongs to this day.
    fn is_of(&self, day: Day) -> bool {
        self.source.file.day == day
    }
}

/// The portal's side: every key, and whole rows if they were read anyway.
#[derive(Default)]
struct Published {
    freshness: Option<Freshness>,
    keys: KeySet,
    /// Digests of the cells of the rows with MD5 keys, in the order of the keys; empty if contents
    /// are not compared.
    digests: Vec<u64>,
    repeated: Vec<Repeated>,
    newest: Option<chrono::DateTime<chrono::Utc>>,
    count: u64,
}

pub(super) struct Checking<'a> {
    pub(super) world: &'a World,
    pub(super) target: &'a DatasetDay,
    pub(super) recipe: &'static dyn Recipe,
    pub(super) table: Table,
    pub(super) columns: Columns,
    pub(super) depth: Depth,
    pub(super) reads: Mutex<LakeReads>,
}

/// The recipe that a dataset names.
///
/// # Errors
/// If no recipe has that name; the settings are validated, so this does not happen in practice.
pub(super) fn recipe_of(dataset: &Dataset) -> Result<&'static dyn Recipe, CheckError> {
    crate::expected::recipe(&dataset.recipe)
        .ok_or_else(|| CheckError::Recipe(dataset.recipe.clone()))
}

/// Checks one dataset-day and reports where the three sides disagree.
///
/// # Errors
/// If a side could not be read at all. Doubts about what was read are part of the findings.
pub async fn check_sides(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
) -> Result<Checked, CheckError> {
    let recipe = recipe_of(&target.dataset)?;
    let checked_at = world.clock.now();
    let table = world.table(&target.dataset).await?;
    let columns = Columns::of(recipe, &table.shape)?;
    let checking = Checking {
        world,
        target,
        recipe,
        table,
        columns,
        depth,
        reads: Mutex::default(),
    };
    let findings = checking.findings(checked_at).await?;
    Ok(Checked {
        findings,
        table: checking.table,
        columns: checking.columns,
        reads: checking.reads.into_inner(),
    })
}

impl Checking<'_> {
    async fn findings(
        &self,
        checked_at: chrono::DateTime<chrono::Utc>,
    ) -> Result<Findings, CheckError> {
        let facts = self.recipe.facts();
        let mut side = LakeSide::read(self.world.ready(), self.target, facts).await?;
        // Taken before the files are read: a survey opens no files and so has no doubts about their
        // contents. Both must yield the same text.
        let lake = side.fingerprint();
        let mut files = self.derive_all(&mut side).await?;
        let published = self.read_published().await?;
        let (mut differ, mut altered) = difference(&files, &published);
        let is_whole = differ.missing.is_empty() && differ.unexpected.is_empty();
        let day = self.target.day;
        let has_misdated = |file: &Candidate| file.is_of(day) && !file.keys().misdated.is_empty();
        let is_open = |file: &Candidate| !is_whole || has_misdated(file);
        if files.iter().any(is_open) {
            self.choose_variants(&mut files, &mut side, &published.keys, is_open)
                .await?;
            (differ, altered) = difference(&files, &published);
        }
        let spill = facts.spill_days;
        let catalogued = window::published_entries(self.world, self.target, spill).await?;
        let entries = &catalogued.entries;
        let of_dataset = |entry: &&Entry| entry.key.id_ext == self.target.dataset.ext;
        let has_rows_or_entries =
            published.count > 0 || entries.iter().any(|entry| of_dataset(&entry));
        side.doubt_number(
            self.target,
            self.rails().min_share_of_usual,
            has_rows_or_entries,
        );

        let mut findings = Findings {
            target: self.target.clone(),
            depth: self.depth,
            checked_at,
            files: Vec::new(),
            doubts: Vec::new(),
            lake: outside(&lake, &catalogued),
            expected: differ.expected,
            published: published.count,
            newest: published.newest,
            missing: Vec::new(),
            duplicates: Vec::new(),
            orphans: Vec::new(),
            altered: Vec::new(),
            repeated: published.repeated.clone(),
            collided: Vec::new(),
            misdated: Vec::new(),
            misdated_missing: Vec::new(),
            unpublishable: files
                .iter()
                .flat_map(|file| file.keys().unfit.clone())
                .collect(),
            catalog: Vec::new(),
        };
        let explained = self.explained_keys(&files).await?;
        differ.unexpected.retain(|key| !explained.contains(key));
        let misdated_missing = self.find_misdated(&files, &mut findings).await?;
        let wanted = Wanted::new(&differ, &altered, &misdated_missing);
        let resembling = self
            .fill_in(&files, wanted, &differ.unexpected, &mut findings)
            .await?;
        self.drop_orphans_of_nearby_files(&mut findings).await?;
        self.doubt_numbering(
            &mut files,
            &published.keys,
            &side,
            &resembling,
            &mut findings,
        );
        doubt_chain(&mut files, &mut findings);
        self.compare_catalog(&files, &side, entries, &mut findings)
            .await?;
        side.doubt_changes(self.world.ready(), self.target).await?;
        self.doubt_rows(&mut findings).await?;
        let freshness = published.freshness.unwrap_or(Freshness::Assumed);
        doubt_freshness(freshness, &mut findings);
        let doubts = side.doubts.into_iter().chain(catalogued.doubts);
        findings.doubts.splice(0..0, doubts);
        self.record_misdated(&files, &findings).await?;
        Ok(findings)
    }

    pub(super) fn rails(&self) -> &crate::settings::Rails {
        self.world.rails(&self.target.dataset)
    }

    /// Reads a file and its companion and passes their text to `work`.
    pub(super) async fn with_text<T>(
        &self,
        source: &Source,
        work: impl FnOnce(&FileText<'_>) -> Result<T, DeriveError>,
    ) -> Result<T, CheckError> {
        let result = self.world.ready().with_text(source, work).await;
        self.reads.lock().note(source, &result);
        result
    }

    pub(super) fn gather_request(&self, index: usize, source: &Source) -> Asked<'_> {
        Asked {
            file: u32::try_from(index).unwrap_or(u32::MAX),
            file_day: source.file.day,
            day: self.target.day,
            columns: &self.columns,
            contents: self.depth == Depth::Content,
        }
    }

    pub(super) fn variants(&self) -> Vec<Variant> {
        let facts = self.recipe.facts();
        keys::variants(facts.key_schemes, facts.counters)
    }

    /// Derives a file under a variant.
    pub(super) async fn gather(
        &self,
        index: usize,
        source: &Source,
        variant: Variant,
    ) -> Result<FileKeys, CheckError> {
        let request = self.gather_request(index, source);
        self.with_text(source, |text| {
            gather::gather(self.recipe, text, variant, request)
        })
        .await
    }

    /// Derives every file under the likeliest variant for today. A file that cannot be derived
    /// becomes a doubt.
    ///
    /// # Errors
    /// If the lake stops responding.
    pub(super) async fn derive_all(
        &self,
        side: &mut LakeSide,
    ) -> Result<Vec<Candidate>, CheckError> {
        let likeliest = self.variants()[0];
        let mut files: Vec<Candidate> = Vec::new();
        for source in side.sources.clone() {
            match self.gather(files.len(), &source, likeliest).await {
                Ok(keys) => files.push(Candidate {
                    source,
                    tried: vec![keys],
                    chosen: 0,
                    certain: true,
                }),
                Err(error) => side.doubts.push(unreadable(error)?),
            }
        }
        Ok(files)
    }

    /// Tries the other variants of every open file, and chooses the one under which it is
    /// published.
    async fn choose_variants(
        &self,
        files: &mut [Candidate],
        side: &mut LakeSide,
        published: &KeySet,
        is_open: impl Fn(&Candidate) -> bool,
    ) -> Result<(), CheckError> {
        let variants = self.variants();
        let (ledger, dataset) = (&self.world.ledger, &self.target.dataset);
        let half_rewritten = ledger.is_half_rewritten(&dataset.name, self.target.day);
        let half_rewritten = half_rewritten.await.map_err(CheckError::ledger)?;
        for (index, file) in files.iter_mut().enumerate() {
            if !is_open(file) {
                continue;
            }
            for &variant in variants.iter().skip(1) {
                match self.gather(index, &file.source, variant).await {
                    Ok(keys) => file.tried.push(keys),
                    Err(error) => side.doubts.push(unreadable(error)?),
                }
            }
            file.chosen = keys::choose(&file.tried, published, dataset.keys);
            // A rewrite publishes today's keys. The rows left by a failed rewrite do not mean that
            // the file was published under an older variant.
            if half_rewritten && !keys::stands_whole(file.keys(), published) {
                file.chosen = keys::choose(&file.tried, published, KeyPolicy::Migrate);
            }
        }
        Ok(())
    }

    async fn read_published(&self) -> Result<Published, CheckError> {
        let day = self.target.day;
        if self.depth != Depth::Content {
            let read = self.world.socrata.keys(&self.table, day).await?;
            let repeated = repeated(read.repeated);
            return Ok(Published {
                keys: read.keys,
                digests: Vec::new(),
                repeated,
                newest: read.newest,
                count: read.count,
                freshness: Some(read.freshness),
            });
        }
        let digest = |row: PublishedRow| {
            let cells = self.columns.published(&row.fields);
            Some((row.key?, gather::digest(&cells)))
        };
        let read = self.world.socrata.rows(&self.table, day, &digest).await?;
        let (mut rows, mut texts) = (Vec::with_capacity(read.kept.len()), Vec::new());
        for (key, digest) in read.kept {
            match key {
                RowKey::Md5(key) => rows.push((key, digest)),
                RowKey::Text(text) => texts.push(text),
            }
        }
        rows.sort_unstable();
        rows.dedup_by_key(|(key, _)| *key);
        let (md5, digests) = rows.into_iter().unzip();
        Ok(Published {
            keys: KeySet::of(md5, texts),
            digests,
            repeated: repeated(read.repeated),
            newest: read.newest,
            count: read.rows,
            freshness: Some(read.freshness),
        })
    }
}

impl Checking<'_> {
    /// Looks up the day's misdated rows by key. Returns those that are missing.
    async fn find_misdated(
        &self,
        files: &[Candidate],
        findings: &mut Findings,
    ) -> Result<Vec<Misdated>, CheckError> {
        let own = files.iter().filter(|file| file.is_of(self.target.day));
        let rows: Vec<Misdated> = own.flat_map(|file| file.keys().misdated.clone()).collect();
        if rows.is_empty() {
            return Ok(rows);
        }
        let keys: Vec<RowKey> = rows.iter().map(|row| row.key.clone()).collect();
        let present = self.world.socrata.keys_present(&self.table, &keys).await?;
        let present = take_found(present, findings);
        findings.misdated = (rows.iter())
            .map(|row| MisdatedRow {
                row: row.clone(),
                published: present.contains(&row.key),
            })
            .collect();
        Ok(rows
            .into_iter()
            .filter(|row| !present.contains(&row.key))
            .collect())
    }

    /// Records on which days the day's misdated rows are published, so that they are not orphans
    /// there: under every variant, until a row is published under the expected one. Earlier records
    /// are dropped only if there is no doubt, since a file that could not be read may still have
    /// such rows.
    async fn record_misdated(
        &self,
        files: &[Candidate],
        findings: &Findings,
    ) -> Result<(), CheckError> {
        let place = |row: &Misdated| (row.file, row.ordinal);
        let published: BTreeSet<(u32, u32)> = (findings.misdated.iter())
            .filter(|found| found.published)
            .map(|found| place(&found.row))
            .collect();
        let tried = (files.iter().filter(|file| file.is_of(self.target.day)))
            .flat_map(|file| &file.tried)
            .flat_map(|keys| &keys.misdated);
        let misdated: BTreeSet<(RowKey, Day)> = (findings.misdated.iter().map(|found| &found.row))
            .chain(tried.filter(|row| !published.contains(&place(row))))
            .map(|row| (row.key.clone(), row.day))
            .collect();
        let misdated: Vec<(RowKey, Day)> = misdated.into_iter().collect();
        let (ledger, dataset) = (&self.world.ledger, &self.target.dataset.name);
        let recorded = if findings.doubts.is_empty() {
            ledger
                .set_misdated(dataset, self.target.day, &misdated)
                .await
        } else {
            ledger
                .add_misdated(dataset, self.target.day, &misdated)
                .await
        };
        recorded.map_err(CheckError::ledger)
    }
}

/// Lake files and published entries of a day as one text, which is equal if both sides are
/// unchanged.
pub(super) fn outside(lake: &str, catalogued: &PublishedSide) -> String {
    let line = |entry: &Entry| format!("{:?} {:?}\n", entry.key, entry.pointer);
    let entries: String = catalogued.entries.iter().map(line).collect();
    let doubts = catalogued.doubts.iter().map(|doubt| format!("{doubt}\n"));
    let doubts: String = doubts.collect();
    format!("{lake}{entries}{doubts}")
}

/// The rows of the checked day, by file.
pub(super) fn rows_of(files: &[Candidate]) -> Vec<&FileRows> {
    files.iter().map(|file| &file.keys().today).collect()
}

/// The keys that differ, and the rows published with cells other than the expected ones.
fn difference(files: &[Candidate], published: &Published) -> (KeyDifference, Vec<Placed>) {
    let mut altered = Vec::new();
    let differ = keys::difference(&rows_of(files), &published.keys, &mut |row, place| {
        let expected = files[row.file as usize].keys().digest(row);
        if published.digests.get(place).copied() != expected {
            altered.push(*row);
        }
    });
    (differ, altered)
}

fn repeated(groups: Vec<(Option<RowKey>, Vec<String>)>) -> Vec<Repeated> {
    (groups.into_iter())
        .map(|(key, sids)| Repeated { key, sids })
        .collect()
}
