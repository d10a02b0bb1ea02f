//! The lake's side of one dataset-day: which files hold its rows, and the doubts about them.
//!
//! The catalog says which ready files exist; the lake's listing says which objects exist. Only if
//! both agree is the lake's side proven. A catalogued file that does not exist, an object that is
//! not catalogued, or far fewer files than usual leave the day unproven.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::catalog::Catalog;
use crate::compare::Doubt;
use crate::expected::{DeriveError, Facts, FileText};
use crate::lake::{self, Lake};
use crate::model::{DatasetDay, Day, Entry, LakePath, ReadyFile};

use super::CheckError;
use super::window::{self, Listing, Window};

/// What is needed to read the lake's side: the files and the entries of the ready layer.
#[derive(Clone, Copy, Debug)]
pub struct ReadyLayer<'a> {
    /// The files.
    pub lake: &'a Lake,
    /// Their entries.
    pub catalog: &'a Catalog,
    /// The layer's name in the catalog.
    pub repository: &'a str,
}

impl ReadyLayer<'_> {
    async fn bytes(&self, file: &ReadyFile) -> Result<Bytes, CheckError> {
        let bytes = self.lake.read(&file.path, &file.stamp).await;
        bytes.map_err(CheckError::lake)
    }

    /// Reads a file and its companion and passes their text to `work`.
    ///
    /// # Errors
    /// If one of them cannot be read, or `work` fails.
    pub async fn with_text<T>(
        &self,
        source: &Source,
        work: impl FnOnce(&FileText<'_>) -> Result<T, DeriveError>,
    ) -> Result<T, CheckError> {
        let bytes = self.bytes(&source.file).await?;
        let companion = match &source.companion {
            Some(companion) => Some((&companion.path, self.bytes(companion).await?)),
            None => None,
        };
        let text = FileText {
            path: &source.file.path,
            bytes: &bytes,
            companion: companion
                .as_ref()
                .map(|(path, bytes)| (*path, bytes.as_ref())),
        };
        tokio::task::block_in_place(|| work(&text)).map_err(CheckError::Derive)
    }
}

/// A file of the day, with its companion. Some files cannot be derived with certainty without it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub file: ReadyFile,
    /// Its companion, if the ready layer has it.
    pub companion: Option<ReadyFile>,
}

/// What checks have read from the lake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LakeReads {
    /// Files that were read and parsed completely.
    pub read: u64,
    /// Files that were read but could not be parsed: not JSON, or not of the recipe's shape.
    pub unparsed: u64,
    /// Files that could not be read completely.
    pub unread: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
}

impl std::ops::AddAssign for LakeReads {
    fn add_assign(&mut self, more: Self) {
        let Self {
            read,
            unparsed,
            unread,
            bytes,
        } = more;
        self.read += read;
        self.unparsed += unparsed;
        self.unread += unread;
        self.bytes += bytes;
    }
}

impl LakeReads {
    /// Counts a file and its companion's bytes, by the result of reading it.
    pub(super) fn note<T>(&mut self, source: &Source, result: &Result<T, CheckError>) {
        match result {
            Ok(_) => self.read += 1,
            Err(CheckError::Derive(_)) => self.unparsed += 1,
            Err(_) => {
                self.unread += 1;
                return;
            }
        }
        let companion = source.companion.as_ref();
        self.bytes += source.file.stamp.size + companion.map_or(0, |file| file.stamp.size);
    }
}

/// What the lake has for a dataset-day.
#[derive(Clone, Debug)]
pub struct LakeSide {
    /// The files, in the publisher's order.
    pub sources: Vec<Source>,
    /// Doubts about them.
    pub doubts: Vec<Doubt>,
    /// Base names of the day's own files that the ready layer or the lake has.
    pub bases: BTreeSet<String>,
    /// Usual number of files per day.
    pub usual: u64,
    listing: Listing,
    days: (Day, Day),
}

/// The base name, if the path is that of a ready file of this source, day and extension.
fn base_of<'a>(path: &'a LakePath, source: &str, day: Day, ext: &str) -> Option<&'a str> {
    let name = path.0.rsplit('/').next().unwrap_or(&path.0);
    let joint = if ext.contains('.') { '_' } else { '.' };
    name.strip_suffix(&format!("_{source}_{day}{joint}{ext}"))
}

impl LakeSide {
    /// Lists the lake and reads the ready layer's entries for the days whose files can hold rows of
    /// `target`: its own day and, if rows can start early, the days after it.
    ///
    /// # Errors
    /// If the lake cannot be listed or the catalog cannot be read.
    pub async fn read(
        ready: ReadyLayer<'_>,
        target: &DatasetDay,
        facts: &Facts,
    ) -> Result<Self, CheckError> {
        let last = target.day.plus(i64::from(facts.spill_days));
        Self::between(ready, target, facts, (target.day, last)).await
    }

    /// The same for a dataset-day and any range of days, both ends included.
    ///
    /// # Errors
    /// If the lake cannot be listed or the catalog cannot be read.
    pub async fn between(
        ready: ReadyLayer<'_>,
        target: &DatasetDay,
        facts: &Facts,
        days: (Day, Day),
    ) -> Result<Self, CheckError> {
        let window = Window::read(ready, &target.dataset, target.day, days).await?;
        Self::within(ready, &window, target, facts, days).await
    }

    /// The same from a window that was read before and includes these days. The lake is only
    /// queried for entries whose file is not in the listing of its folder.
    pub(super) async fn within(
        ready: ReadyLayer<'_>,
        window: &Window,
        target: &DatasetDay,
        facts: &Facts,
        days: (Day, Day),
    ) -> Result<Self, CheckError> {
        let dataset = &target.dataset;
        let entries: Vec<Entry> = window.entries(days).cloned().collect();
        let exts: Vec<&str> = (std::iter::once(dataset.ext.as_str()))
            .chain(facts.companion)
            .collect();
        let mut side = Self {
            sources: Vec::new(),
            doubts: [
                window.unaddressable(days),
                window.entries.doubts(dataset, days, &exts),
            ]
            .concat(),
            bases: BTreeSet::new(),
            usual: window.usual(target),
            listing: window.listing(days),
            days,
        };
        let mut files = Vec::new();
        for entry in &entries {
            let ours = entry.key.id_ext == dataset.ext;
            if ours && entry.day(dataset.zone) == target.day {
                side.bases.insert(entry.key.id_base.clone());
            }
            if ours || Some(entry.key.id_ext.as_str()) == facts.companion {
                files.extend(side.find(ready, target, entry).await?);
            }
        }
        side.pair(files, &dataset.ext);
        side.doubt_misplaced(target, facts, &entries);
        Ok(side)
    }

    async fn find(
        &mut self,
        ready: ReadyLayer<'_>,
        target: &DatasetDay,
        entry: &Entry,
    ) -> Result<Option<ReadyFile>, CheckError> {
        let path = LakePath(entry.pointer.clone());
        let day = entry.day(target.dataset.zone);
        let listed = self.listing.get(&path).cloned();
        let is_listed = listed.is_some();
        let stamp = match listed {
            Some(stamp) => Some(stamp),
            None => ready.lake.stat(&path).await.map_err(CheckError::lake)?,
        };
        let Some(stamp) = stamp else {
            self.doubts.push(Doubt::Gone(path));
            return Ok(None);
        };
        let folder = path.0.rsplit_once('/').map(|(folder, _)| folder);
        if !is_listed && folder == Some(&lake::folder(&target.dataset.source, day).0) {
            self.doubts.push(Doubt::Hidden(path.clone()));
        }
        let entry = entry.clone();
        Ok(Some(ReadyFile {
            entry,
            path,
            day,
            stamp,
        }))
    }

    fn pair(&mut self, files: Vec<ReadyFile>, ext: &str) {
        let (ours, companions): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| file.entry.key.id_ext == ext);
        self.sources = (ours.into_iter())
            .map(|file| {
                let same = |other: &&ReadyFile| {
                    other.day == file.day && other.entry.key.id_base == file.entry.key.id_base
                };
                let companion = companions.iter().find(same).cloned();
                Source { file, companion }
            })
            .collect();
    }

    /// Whether the file's companion is catalogued but does not exist, or exists but is not
    /// catalogued. In either case the file cannot be derived as it was with the companion.
    pub(super) fn doubts_companion(&self, file: &ReadyFile, facts: &Facts) -> bool {
        let Some(ext) = facts.companion else {
            return false;
        };
        let key = &file.entry.key;
        let of_file = |path| base_of(path, &key.data_source, file.day, ext) == Some(&key.id_base);
        self.doubts.iter().any(|doubt| match doubt {
            Doubt::Gone(path) | Doubt::Unlisted(path) => of_file(path),
            _ => false,
        })
    }

    fn doubt_misplaced(&mut self, target: &DatasetDay, facts: &Facts, ready: &[Entry]) {
        let dataset = &target.dataset;
        let pointers: BTreeSet<&str> = ready.iter().map(|entry| entry.pointer.as_str()).collect();
        let exts = [Some(dataset.ext.as_str()), facts.companion];
        let mut day = self.days.0;
        while day <= self.days.1 {
            for path in self
                .listing
                .keys()
                .filter(|path| !pointers.contains(path.0.as_str()))
            {
                let named = |ext| base_of(path, &dataset.source, day, ext);
                let Some(base) = exts.iter().flatten().find_map(|ext| named(ext)) else {
                    continue;
                };
                self.doubts.push(Doubt::Unlisted(path.clone()));
                if day == target.day {
                    self.bases.insert(base.to_owned());
                }
            }
            day = day.next();
        }
    }

    /// Adds doubts if the day itself, or a day whose files can hold its rows, has no files or far
    /// fewer than usual. `has_rows_or_entries` says whether rows or entries of the day exist.
    pub fn doubt_number(&mut self, target: &DatasetDay, min_share: f64, has_rows_or_entries: bool) {
        let count = |side: &Self, day: Day| {
            let of_day = side.sources.iter().filter(|source| source.file.day == day);
            of_day.count() as u64
        };
        let own = count(self, target.day);
        let (mut day, last) = self.days;
        while day <= last {
            let found = count(self, day);
            // If the past days give no usual number, a neighboring day is compared with the day
            // itself.
            let usual = if self.usual == 0 && day != target.day {
                own
            } else {
                self.usual
            };
            #[expect(clippy::cast_precision_loss, reason = "numbers of files are small")]
            let few = (found as f64) < min_share * usual as f64;
            let expects_files = day == target.day && has_rows_or_entries;
            if found == 0 && (usual > 0 || expects_files) {
                self.doubts.push(Doubt::NoFiles(day));
            } else if few {
                self.doubts.push(Doubt::FewFiles { day, found, usual });
            }
            day = day.next();
        }
    }

    /// Lists the folders again, and adds a doubt for every file that was added, removed or changed
    /// since.
    ///
    /// # Errors
    /// If the lake cannot be listed.
    pub async fn doubt_changes(
        &mut self,
        ready: ReadyLayer<'_>,
        target: &DatasetDay,
    ) -> Result<(), CheckError> {
        let mut now = Listing::new();
        for listed in window::listings(ready, &target.dataset.source, self.days)
            .await
            .into_values()
        {
            now.extend(listed?.files);
        }
        let paths: BTreeSet<&LakePath> = self.listing.keys().chain(now.keys()).collect();
        let changed = |path: &&&LakePath| self.listing.get(**path) != now.get(**path);
        let changed: Vec<Doubt> = paths
            .iter()
            .filter(changed)
            .map(|path| Doubt::Changed((*path).clone()))
            .collect();
        self.doubts.extend(changed);
        Ok(())
    }

    /// Path, size and stamp of every file as one text, which is equal if the files are unchanged.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let files = self
            .sources
            .iter()
            .flat_map(|source| std::iter::once(&source.file).chain(&source.companion));
        let line = |file: &ReadyFile| {
            let stamp = &file.stamp;
            format!(
                "{}\t{}\t{:?}\t{}\n",
                file.path, stamp.size, stamp.etag, stamp.modified
            )
        };
        let doubts = self.doubts.iter().map(|doubt| format!("{doubt}\n"));
        files.map(line).chain(doubts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_files_are_recognized_by_their_names() {
        let day: Day = "2019-06-05".parse().unwrap();
        let base = |path: &str, source, ext| {
            base_of(&LakePath(path.to_owned()), source, day, ext).map(str::to_owned)
        };
        let gs = "2019/06/05/gs/Parmer&FM 734_McNeil_gs_2019-06-05_agg15.json";
        assert_eq!(
            base(gs, "gs", "agg15.json").as_deref(),
            Some("Parmer&FM 734_McNeil")
        );
        assert_eq!(base(gs, "gs", "agg60.json"), None);
        let wt = "2019/06/05/wt/Austin_wt_2019-06-05.json";
        assert_eq!(base(wt, "wt", "json").as_deref(), Some("Austin"));
        let stray = "2019/06/05/wt/Austin_wt_2019-06-05_unit_data.json";
        assert_eq!(base(stray, "wt", "json"), None);
    }
}
