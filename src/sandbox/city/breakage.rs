//! The ways in which published days break, each as it has happened to real ones. A [`Breakage`] is
//! applied to one file's rows on a day that was published in full. It returns what a check must
//! find afterwards, so that the injected damage can be compared with the findings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, Utc};
use md5::{Digest, Md5};
use serde_json::{Map, Value as Json};

use super::catalog::published_entry;
use super::publisher::companion;
use super::{
    City, CityCatalog, CityCatalogError, GeneratedFile, How, Spelling, Table, Tables, Upload,
    UploadRow, upload,
};
use crate::expected::{Counter, DeriveError, Recipe};
use crate::model::{ColumnType, Day, KeyScheme, LakePath, Md5Key, RowKey};

/// One way in which a published file breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breakage {
    /// A publisher that spells the intersection differently wrote the file too. Every row is
    /// published twice, under two keys. Cameras only.
    OtherSpelling,
    /// A publisher from before December 2020, which did not reset its hasher between rows, wrote
    /// the file too. Every row but the first is published twice.
    ChainedAgain,
    /// The file was published again in a run that numbered the addresses differently. Single reads
    /// only.
    OtherCounter,
    /// The publisher never reached the file: it has neither rows nor a catalog entry.
    NeverPublished,
    /// The catalog says the file was published, but none of its rows is.
    OnlyCatalogued,
    /// The publisher stopped in the middle of the file. Its first half is published; the rest and
    /// the catalog entry are missing.
    TailLost,
    /// The file was corrected after it was published. In every fourth row the key is right and the
    /// values are old.
    StaleValues,
    /// This many rows that are in no file are published on the day, by hand or through an error.
    Strangers(u32),
    /// The catalog says that a file was published, but neither the lake nor the ready layer has it,
    /// and none of its rows is published.
    GhostEntry,
    /// The file was lost from the lake and from the catalog's ready layer after it was published.
    /// The portal has the last copy of its rows.
    FileLost,
    /// Every row of the file is published, but it has no catalog entry.
    NotCatalogued,
}

/// The file to break.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its table.
    pub table: Table,
    /// Its day.
    pub day: Day,
    /// First half of its identity.
    pub base: String,
}

/// The city, portal and catalog that a breakage changes.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The city whose files were published.
    pub city: &'a City,
    /// The portal's tables.
    pub tables: &'a dyn Tables,
    /// The catalog.
    pub catalog: &'a CityCatalog,
    /// The folder of the lake.
    pub lake: &'a Path,
}

/// The findings of one kind that a check must report for this table and day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Injected {
    /// The table.
    pub table: Table,
    /// The day of the rows.
    pub day: Day,
    /// The finding: `missing`, `duplicate`, `orphan`, `altered`, `miscatalogued`, `uncatalogued`.
    pub finding: &'static str,
    /// How many.
    pub count: u64,
}

/// A breakage could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum BreakageError {
    /// The city has no such file.
    #[error("there is no file for {base} on {day}")]
    NoFile {
        /// First half of its identity.
        base: String,
        /// Its day.
        day: Day,
    },
    /// The file has no rows that can break this way.
    #[error("cannot break {path} with {breakage:?}: it has nothing to which this applies")]
    NothingToBreak {
        /// The file.
        path: LakePath,
        /// The breakage that was to be applied.
        breakage: Breakage,
    },
    /// The file yields no rows.
    #[error("cannot derive rows of {path}")]
    Derive {
        /// The file.
        path: LakePath,
        /// The cause.
        source: DeriveError,
    },
    /// The catalog could not be changed.
    #[error("cannot break the catalog")]
    Catalog(#[from] CityCatalogError),
    /// The file could not be removed.
    #[error("cannot remove lake file {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Breakage {
    /// All breakages.
    pub const ALL: [Self; 11] = [
        Self::OtherSpelling,
        Self::ChainedAgain,
        Self::OtherCounter,
        Self::NeverPublished,
        Self::OnlyCatalogued,
        Self::TailLost,
        Self::StaleValues,
        Self::Strangers(5),
        Self::GhostEntry,
        Self::FileLost,
        Self::NotCatalogued,
    ];

    /// Applies it to the file at `place`, whose rows `recipe` derives. Rows that it writes are
    /// written at `at`. Returns what a check must find, by day and finding.
    ///
    /// # Errors
    /// If there is no such file, or nothing in it can break this way. Then nothing was changed.
    pub fn apply(
        self,
        place: &Place,
        site: &Site<'_>,
        recipe: &dyn Recipe,
        at: DateTime<Utc>,
    ) -> Result<Vec<Injected>, BreakageError> {
        let broken = Broken::find(self, place, site, recipe)?;
        match self {
            Self::OtherSpelling => broken.write_again(at, |how| {
                how.spelling = Some(Spelling::tight_slash());
            }),
            Self::ChainedAgain => broken.write_again(at, |how| {
                how.variant.keys = KeyScheme::Chained;
            }),
            Self::OtherCounter => broken.write_again(at, |how| {
                how.variant.counter = match how.variant.counter {
                    Counter::Shared => Counter::Separate,
                    Counter::Separate => Counter::Shared,
                };
            }),
            Self::NeverPublished => broken.lose_rows(0, true),
            Self::OnlyCatalogued => {
                let mut injected = broken.lose_rows(0, false)?;
                injected.push(broken.entry_finding("miscatalogued"));
                Ok(injected)
            }
            Self::TailLost => broken.lose_rows(broken.rows()?.len() / 2, true),
            Self::StaleValues => broken.make_stale(at),
            Self::Strangers(count) => broken.add_orphans(count, at),
            Self::GhostEntry => broken.enter_ghost(at),
            Self::FileLost => broken.lose_file(),
            Self::NotCatalogued => {
                site.catalog.remove(&broken.published_entry().key)?;
                Ok(vec![broken.entry_finding("uncatalogued")])
            }
        }
    }
}

/// The file being broken.
struct Broken<'a> {
    breakage: Breakage,
    place: &'a Place,
    site: &'a Site<'a>,
    recipe: &'a dyn Recipe,
    file: GeneratedFile,
    companion: Option<GeneratedFile>,
    /// The rows that were uploaded for it.
    sent: Upload,
}

impl<'a> Broken<'a> {
    fn find(
        breakage: Breakage,
        place: &'a Place,
        site: &'a Site<'a>,
        recipe: &'a dyn Recipe,
    ) -> Result<Self, BreakageError> {
        let Place { table, day, base } = place;
        let files = site.city.day_files(table.source(), *day);
        let wanted = |file: &&GeneratedFile| file.base == *base && file.ext == table.ext();
        let file = files.iter().find(wanted).cloned();
        let file = file.ok_or_else(|| BreakageError::NoFile {
            base: base.clone(),
            day: *day,
        })?;
        let mut broken = Self {
            breakage,
            place,
            site,
            recipe,
            companion: companion(&files, *table, base).cloned(),
            file,
            sent: Upload::default(),
        };
        broken.sent = broken.upload(&broken.how())?;
        Ok(broken)
    }

    fn how(&self) -> How {
        How::ordinary(self.site.city.counter(self.place.day))
    }

    fn upload(&self, how: &How) -> Result<Upload, BreakageError> {
        let table = self.place.table.spec();
        let rows = upload(
            self.recipe,
            &table,
            &self.file,
            self.companion.as_ref(),
            how,
        );
        rows.map_err(|source| BreakageError::Derive {
            path: self.file.path.clone(),
            source,
        })
    }

    /// The file's published rows; never empty.
    fn rows(&self) -> Result<Vec<&UploadRow>, BreakageError> {
        let rows = self.sent.published_rows();
        if rows.is_empty() {
            Err(self.nothing())
        } else {
            Ok(rows)
        }
    }

    fn nothing(&self) -> BreakageError {
        BreakageError::NothingToBreak {
            path: self.file.path.clone(),
            breakage: self.breakage,
        }
    }

    fn id(&self) -> &'static str {
        self.place.table.spec().id
    }

    /// One finding per row, by the days of the rows.
    fn findings<'r>(
        &self,
        finding: &'static str,
        rows: impl IntoIterator<Item = &'r UploadRow>,
    ) -> Vec<Injected> {
        let mut by_day: BTreeMap<Day, u64> = BTreeMap::new();
        for row in rows {
            *by_day.entry(Day::of(row.at)).or_default() += 1;
        }
        let counts = by_day.into_iter();
        counts
            .map(|(day, count)| Injected {
                table: self.place.table,
                day,
                finding,
                count,
            })
            .collect()
    }

    /// One finding about the file's entry.
    fn entry_finding(&self, finding: &'static str) -> Injected {
        Injected {
            table: self.place.table,
            day: self.place.day,
            finding,
            count: 1,
        }
    }

    fn published_entry(&self) -> crate::model::Entry {
        let Place { table, day, base } = self.place;
        published_entry(*table, base, *day, DateTime::UNIX_EPOCH)
    }

    fn write(&self, rows: &[&UploadRow], at: DateTime<Utc>) {
        let fields = rows.iter().map(|row| row.fields.clone()).collect();
        self.site.tables.upsert(self.id(), fields, at);
    }

    /// Publishes the file again, by a publisher that works differently.
    fn write_again(
        &self,
        at: DateTime<Utc>,
        otherwise: impl FnOnce(&mut How),
    ) -> Result<Vec<Injected>, BreakageError> {
        let mut how = self.how();
        otherwise(&mut how);
        let again = self.upload(&how)?;
        let known: BTreeSet<&str> = self.sent.rows.iter().map(|row| &*row.key).collect();
        let published = again.published_rows();
        let duplicates: Vec<_> = published
            .iter()
            .filter(|row| !known.contains(&*row.key))
            .copied()
            .collect();
        if duplicates.is_empty() {
            return Err(self.nothing());
        }
        self.write(&published, at);
        Ok(self.findings("duplicate", duplicates))
    }

    /// Removes all rows but the first `kept`, and the catalog entry if `uncatalogued`.
    fn lose_rows(&self, kept: usize, uncatalogued: bool) -> Result<Vec<Injected>, BreakageError> {
        let rows = self.rows()?;
        let lost = &rows[kept..];
        let keys: Vec<String> = lost.iter().map(|row| row.key.clone()).collect();
        self.site.tables.delete(self.id(), &keys);
        if uncatalogued {
            self.site.catalog.remove(&self.published_entry().key)?;
        }
        Ok(self.findings("missing", lost.iter().copied()))
    }

    fn make_stale(&self, at: DateTime<Utc>) -> Result<Vec<Injected>, BreakageError> {
        let column = self.place.table.correctable_column();
        let mut stale: Vec<UploadRow> = self.rows()?.into_iter().step_by(4).cloned().collect();
        for row in &mut stale {
            let value = row.fields.entry(column).or_insert(Json::Null);
            *value = older(value);
        }
        self.write(&stale.iter().collect::<Vec<_>>(), at);
        Ok(self.findings("altered", &stale))
    }

    fn add_orphans(&self, count: u32, at: DateTime<Utc>) -> Result<Vec<Injected>, BreakageError> {
        let pattern = self.rows()?[0].clone();
        let orphans: Vec<_> = (0..count)
            .map(|number| self.orphan(&pattern, number))
            .collect();
        self.write(&orphans.iter().collect::<Vec<_>>(), at);
        Ok(self.findings("orphan", &orphans))
    }

    /// A row on the day of `place` that matches no row of the lake: every identity column except
    /// checkboxes has a new value.
    fn orphan(&self, pattern: &UploadRow, number: u32) -> UploadRow {
        let table = self.place.table.spec();
        let wall = self.place.day.midnight()
            + Duration::seconds(4 * 3600 + 11 * 60 + 22)
            + Duration::seconds(i64::from(number));
        let mut fields: Map<String, Json> = pattern.fields.clone();
        for name in self.recipe.facts().identity {
            let value = match table.column(name) {
                Some(ColumnType::CalendarDate) => {
                    Json::from(wall.format("%Y-%m-%dT%H:%M:%S").to_string())
                }
                Some(ColumnType::Number) => Json::from(900_000 + number),
                Some(ColumnType::Text) => Json::from(format!("nowhere {number}")),
                Some(ColumnType::Checkbox | ColumnType::Other(_)) | None => continue,
            };
            fields.insert((*name).into(), value);
        }
        let name = format!("stranger {} {number}", self.file.path.0);
        let key = RowKey::Md5(Md5Key(Md5::digest(name.as_bytes()).into())).to_string();
        fields.insert(table.row_identifier.into(), key.clone().into());
        UploadRow {
            key,
            at: wall,
            fields,
        }
    }

    fn enter_ghost(&self, at: DateTime<Utc>) -> Result<Vec<Injected>, BreakageError> {
        let Place { table, day, base } = self.place;
        let ghost = published_entry(*table, &format!("{base} (gone)"), *day, at);
        self.site.catalog.insert(&[ghost])?;
        Ok(vec![self.entry_finding("miscatalogued")])
    }

    fn lose_file(&self) -> Result<Vec<Injected>, BreakageError> {
        let mut injected = self.findings("orphan", self.rows()?);
        injected.push(self.entry_finding("miscatalogued"));
        let path = self.site.lake.join(&self.file.path.0);
        fs::remove_file(&path).map_err(|source| BreakageError::Remove { path, source })?;
        self.site.catalog.remove(&self.file.entry.key)?;
        Ok(injected)
    }
}

/// The value before the correction: another number, or the time of a clock that was reset.
fn older(value: &Json) -> Json {
    let text = match value {
        Json::Null => return Json::from(999),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.parse::<f64>() {
        Ok(number) => Json::from(number + 7.0),
        Err(_) => Json::from("2000-01-01T00:00:00"),
    }
}
