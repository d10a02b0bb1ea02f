//! One look at one dataset-day from all three sides.
//!
//! In order: the table's shape, the lake's files, their keys, the published keys, and only where
//! these differ the rows themselves: the files are derived a second time for the rows that matter,
//! and the unexpected published rows are read whole, since they must be archived before they can
//! be purged. Nothing is kept from one look to the next.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::compare::gather::{self, Asked, Columns, FileKeys, Misdated, Placed};
use crate::compare::keys::{self, KeyDifference};
use crate::compare::{Depth, Doubt, FileRows, FileSeen, Findings, MisdatedRow, Repeated, catalog};
use crate::expected::{DeriveError, FileText, Recipe, Variant};
use crate::model::{Dataset, DatasetDay, Day, Entry, KeyPolicy, KeySet, PublishedRow, RowKey};
use crate::socrata::{Freshness, Table};

use super::detail::Wanted;
use super::doubts::doubt_chain;
use super::lakeside::{LakeReads, LakeSide, Source};
use super::window;
use super::{LookError, World};

/// A look's findings, and the table they were found in.
#[derive(Clone, Debug)]
pub struct Look {
    /// What was found.
    pub findings: Findings,
    /// The table.
    pub table: Table,
    /// Its columns in the recipe's order.
    pub columns: Columns,
    /// What was read from the lake for them.
    pub reads: LakeReads,
}

/// One file of the day while it is looked at.
pub(super) struct Candidate {
    pub(super) source: Source,
    /// Its keys under each variant that was tried; the chosen one is `chosen`.
    pub(super) tried: Vec<FileKeys>,
    chosen: usize,
    pub(super) certain: bool,
}

impl Candidate {
    pub(super) fn keys(&self) -> &FileKeys {
        &self.tried[self.chosen]
    }

    /// Whether it is a file of this day.
    fn is_of(&self, day: Day) -> bool {
        self.source.file.day == day
    }
}

/// The portal's side: every key, and whole rows where they were read anyway.
#[derive(Default)]
struct Published {
    freshness: Option<Freshness>,
    keys: KeySet,
    /// Digests of the cells of the rows whose keys are MD5s, in their order; empty where contents
    /// are not compared.
    digests: Vec<u64>,
    repeated: Vec<Repeated>,
    newest: Option<chrono::DateTime<chrono::Utc>>,
    count: u64,
}

pub(super) struct Looking<'a> {
    pub(super) world: &'a World,
    pub(super) target: &'a DatasetDay,
    pub(super) recipe: &'static dyn Recipe,
    pub(super) table: Table,
    pub(super) columns: Columns,
    pub(super) depth: Depth,
    pub(super) reads: Mutex<LakeReads>,
}

/// The recipe a dataset names.
///
/// # Errors
/// If there is none of that name; the settings see to it that there is.
pub(super) fn recipe_of(dataset: &Dataset) -> Result<&'static dyn Recipe, LookError> {
    crate::expected::recipe(&dataset.recipe)
        .ok_or_else(|| LookError::Recipe(dataset.recipe.clone()))
}

/// Looks at one dataset-day and says where the three sides disagree.
///
/// # Errors
/// If a side could not be read at all. Doubts about what was read are in the findings.
pub async fn look(world: &World, target: &DatasetDay, depth: Depth) -> Result<Look, LookError> {
    let recipe = recipe_of(&target.dataset)?;
    let looked_at = world.clock.now();
    let table = world.table(&target.dataset).await?;
    let columns = Columns::of(recipe, &table.shape)?;
    let looking = Looking {
        world,
        target,
        recipe,
        table,
        columns,
        depth,
        reads: Mutex::default(),
    };
    let findings = looking.findings(looked_at).await?;
    Ok(Look {
        findings,
        table: looking.table,
        columns: looking.columns,
        reads: looking.reads.into_inner(),
    })
}

impl Looking<'_> {
    async fn findings(
        &self,
        looked_at: chrono::DateTime<chrono::Utc>,
    ) -> Result<Findings, LookError> {
        let facts = self.recipe.facts();
        let mut side = LakeSide::read(self.world.ready(), self.target, facts).await?;
        let mut files = self.derive_all(&mut side).await;
        let published = self.published().await?;
        let (mut differ, mut altered) = difference(&files, &published);
        let is_whole = differ.missing.is_empty() && differ.unexpected.is_empty();
        let day = self.target.day;
        let has_strays = |file: &Candidate| file.is_of(day) && !file.keys().misdated.is_empty();
        let is_open = |file: &Candidate| !is_whole || has_strays(file);
        if files.iter().any(is_open) {
            self.choose_variants(&mut files, &mut side, &published.keys, is_open)
                .await?;
            (differ, altered) = difference(&files, &published);
        }
        let spill = facts.spill_days;
        let entries = window::published_entries(self.world, self.target, spill).await?;
        let ours = |entry: &&Entry| entry.key.id_ext == self.target.dataset.ext;
        let something_stands = published.count > 0 || entries.iter().any(|entry| ours(&entry));
        side.doubt_number(self.target, self.rails().min_files_share, something_stands);

        let mut findings = Findings {
            target: self.target.clone(),
            depth: self.depth,
            looked_at,
            files: Vec::new(),
            doubts: Vec::new(),
            lake: outside(&side, &entries),
            expected: differ.expected,
            published: published.count,
            newest: published.newest,
            missing: Vec::new(),
            twins: Vec::new(),
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
        let vouched = self.vouched(&files).await?;
        differ.unexpected.retain(|key| !vouched.contains(key));
        let far = self.misdated(&files, &mut findings).await?;
        let wanted = Wanted::new(&differ, &altered, &far);
        let resembling = self
            .fill_in(&files, wanted, &differ.unexpected, &mut findings)
            .await?;
        self.drop_vouched_elsewhere(&mut findings).await?;
        self.doubt_numbering(
            &mut files,
            &published.keys,
            &side,
            &resembling,
            &mut findings,
        );
        doubt_chain(&mut files, &mut findings);
        self.catalogued(&files, &side, &entries, &mut findings)
            .await?;
        side.doubt_changes(self.world.ready(), self.target).await?;
        self.doubt_rows(&mut findings).await?;
        if published.freshness != Some(Freshness::Proven) {
            findings.doubts.push(Doubt::Unvouched);
        }
        findings.doubts.splice(0..0, side.doubts);
        self.note_strays(&files, &findings).await?;
        Ok(findings)
    }

    pub(super) fn rails(&self) -> &crate::settings::Rails {
        self.world.rails(&self.target.dataset)
    }

    /// Reads a file and its companion and hands their text to `work`.
    pub(super) async fn with_text<T>(
        &self,
        source: &Source,
        work: impl FnOnce(&FileText<'_>) -> Result<T, DeriveError>,
    ) -> Result<T, LookError> {
        let result = self.world.ready().with_text(source, work).await;
        self.reads.lock().note(source, &result);
        result
    }

    pub(super) fn asked(&self, index: usize, source: &Source) -> Asked<'_> {
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
        keys::variants(facts.key_recipes, facts.counters)
    }

    /// Every file under today's likeliest variant. A file that proves nothing becomes a doubt.
    pub(super) async fn derive_all(&self, side: &mut LakeSide) -> Vec<Candidate> {
        let likeliest = self.variants()[0];
        let mut files: Vec<Candidate> = Vec::new();
        for source in side.sources.clone() {
            let asked = self.asked(files.len(), &source);
            let gathered = self
                .with_text(&source, |text| {
                    gather::gather(self.recipe, text, likeliest, asked)
                })
                .await;
            match gathered {
                Ok(keys) => files.push(Candidate {
                    source,
                    tried: vec![keys],
                    chosen: 0,
                    certain: true,
                }),
                Err(error) => side.doubts.push(Doubt::Unreadable(super::chain(&error))),
            }
        }
        files
    }

    /// Tries the other variants of every file that is open, and chooses the one it stands under.
    async fn choose_variants(
        &self,
        files: &mut [Candidate],
        side: &mut LakeSide,
        published: &KeySet,
        is_open: impl Fn(&Candidate) -> bool,
    ) -> Result<(), LookError> {
        let variants = self.variants();
        let (ledger, dataset) = (&self.world.ledger, &self.target.dataset);
        let half_rewritten = ledger.is_half_rewritten(&dataset.name, self.target.day);
        let half_rewritten = half_rewritten.await.map_err(LookError::ledger)?;
        for (index, file) in files.iter_mut().enumerate() {
            if !is_open(file) {
                continue;
            }
            for &variant in variants.iter().skip(1) {
                let asked = self.asked(index, &file.source);
                let gathered = self
                    .with_text(&file.source, |text| {
                        gather::gather(self.recipe, text, variant, asked)
                    })
                    .await;
                match gathered {
                    Ok(keys) => file.tried.push(keys),
                    Err(error) => side.doubts.push(Doubt::Unreadable(super::chain(&error))),
                }
            }
            file.chosen = keys::choose(&file.tried, published, dataset.keys);
            // A rewrite writes today's keys. What one has left that failed is no file of old.
            if half_rewritten && !keys::stands_whole(file.keys(), published) {
                file.chosen = keys::choose(&file.tried, published, KeyPolicy::Migrate);
            }
        }
        Ok(())
    }

    async fn published(&self) -> Result<Published, LookError> {
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

impl Looking<'_> {
    /// Looks up the day's misdated rows by key. Returns those that are missing.
    async fn misdated(
        &self,
        files: &[Candidate],
        findings: &mut Findings,
    ) -> Result<Vec<Misdated>, LookError> {
        let own = files.iter().filter(|file| file.is_of(self.target.day));
        let rows: Vec<Misdated> = own.flat_map(|file| file.keys().misdated.clone()).collect();
        if rows.is_empty() {
            return Ok(rows);
        }
        let keys: Vec<RowKey> = rows.iter().map(|row| row.key.clone()).collect();
        let present = self.world.socrata.keys_present(&self.table, &keys).await?;
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

    /// Remembers on which days the day's misdated rows stand, so that they are vouched for there:
    /// under every recipe, until the row stands under the one it is expected under. What was
    /// remembered before is forgotten only if there is no doubt: a file that could not be read has
    /// such rows still.
    async fn note_strays(&self, files: &[Candidate], findings: &Findings) -> Result<(), LookError> {
        let place = |row: &Misdated| (row.file, row.ordinal);
        let stand: BTreeSet<(u32, u32)> = (findings.misdated.iter())
            .filter(|found| found.published)
            .map(|found| place(&found.row))
            .collect();
        let tried = (files.iter().filter(|file| file.is_of(self.target.day)))
            .flat_map(|file| &file.tried)
            .flat_map(|keys| &keys.misdated);
        let strays: BTreeSet<(RowKey, Day)> = (findings.misdated.iter().map(|found| &found.row))
            .chain(tried.filter(|row| !stand.contains(&place(row))))
            .map(|row| (row.key.clone(), row.day))
            .collect();
        let strays: Vec<(RowKey, Day)> = strays.into_iter().collect();
        let (ledger, dataset) = (&self.world.ledger, &self.target.dataset.name);
        let noted = if findings.doubts.is_empty() {
            ledger.set_strays(dataset, self.target.day, &strays).await
        } else {
            ledger.add_strays(dataset, self.target.day, &strays).await
        };
        noted.map_err(LookError::ledger)
    }

    async fn catalogued(
        &self,
        files: &[Candidate],
        side: &LakeSide,
        entries: &[Entry],
        findings: &mut Findings,
    ) -> Result<(), LookError> {
        let dataset = &self.target.dataset;
        let ours: Vec<Entry> = entries
            .iter()
            .filter(|entry| entry.key.id_ext == dataset.ext)
            .cloned()
            .collect();
        for file in files {
            let seen = self.seen(file, entries, &ours).await?;
            findings.files.push(seen);
        }
        let missing = |file: u32| {
            let day = findings
                .missing
                .iter()
                .filter(|row| row.file == file)
                .count();
            let far = findings
                .misdated_missing
                .iter()
                .filter(|row| row.file == file)
                .count();
            (day + far) as u64
        };
        let zone = dataset.zone;
        let day = self.target.day;
        let id = dataset.id.as_str();
        findings.catalog =
            catalog::compare(day, zone, id, &findings.files, &missing, &side.bases, &ours);
        Ok(())
    }

    async fn seen(
        &self,
        file: &Candidate,
        entries: &[Entry],
        ours: &[Entry],
    ) -> Result<FileSeen, LookError> {
        let zone = self.target.dataset.zone;
        let keys = file.keys();
        let ready = &file.source.file;
        let own_day = ready.day == self.target.day;
        let entry = catalog::entry_of(ready, ours, zone).cloned();
        let spilled_missing = match (&entry, own_day) {
            (None, true) if keys.spilled.is_empty() => Some(0),
            (None, true) => {
                let present = self
                    .world
                    .socrata
                    .keys_present(&self.table, &keys.spilled)
                    .await?;
                let absent = keys.spilled.iter().filter(|key| !present.contains(key));
                Some(absent.count() as u64)
            }
            (Some(_), _) | (None, false) => None,
        };
        let base = |entry: &&Entry| {
            entry.key.id_base == ready.entry.key.id_base && entry.day(zone) == ready.day
        };
        Ok(FileSeen {
            file: ready.clone(),
            variant: keys.variant,
            certain: file.certain,
            outcome: keys.outcome.clone(),
            rows: keys.today.len() as u64,
            own_day,
            entry,
            covered_by: entries.iter().filter(base).cloned().collect(),
            spilled_missing,
        })
    }
}

/// Lake files and published entries of a day, as one text: equal texts, equal sides.
pub(super) fn outside(side: &LakeSide, entries: &[Entry]) -> String {
    let line = |entry: &Entry| format!("{:?} {:?}\n", entry.key, entry.pointer);
    let entries: String = entries.iter().map(line).collect();
    format!("{}{entries}", side.fingerprint())
}

/// The rows of the looked-at day, by file.
pub(super) fn rows_of(files: &[Candidate]) -> Vec<&FileRows> {
    files.iter().map(|file| &file.keys().today).collect()
}

/// Where keys differ, and the rows that stand on both sides with different cells.
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
