//! A fictional city: lake files of all three kinds of sensors with the quirks of real ones, the
//! publisher that uploads them, and the ways in which published days break.
//!
//! A [`City`] is a seed and a [`Scale`]; its files are the same every time they are generated. They
//! have the structure of cityofaustin/atd-data-lake's ready layer (docs/data.md). [`Publisher`]
//! uploads them as the existing publisher does. A [`Breakage`] does to a published day what has
//! happened to real days, and returns what a check must find. This module does not decide which
//! rows a file yields: recipes from `expected` are passed in.

mod bluetooth;
mod breakage;
mod catalog;
mod chance;
mod clock;
mod gridsmart;
mod publisher;
mod tables;
mod text;
mod upload;
mod wavetronix;

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveTime, Utc};

pub use breakage::{Breakage, BreakageError, Injected, Place, Site};
pub use catalog::{CityCatalog, CityCatalogError};
pub use clock::ZONE;
pub use publisher::{PublishError, Published, Publisher, Recipes, publish_directly, recipes};
pub use tables::{Table, TableSpec, Tables, datasets};
pub use upload::{How, Spelling, Upload, UploadRow, upload};

use crate::expected::Counter;
use crate::model::{Day, DayRange, Entry, EntryKey, LakePath};
use chance::Chance;
use clock::Stamp;
use text::Text;

/// The ready layer's name in the catalog.
pub const READY: &str = "atd-datalake-ready";
/// The catalog's name for published files.
pub const PUBLISHED: &str = "socrata";

/// A kind of sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// GRIDSMART cameras: a file per intersection and day.
    Gridsmart,
    /// Bluetooth readers: three files a day.
    Bluetooth,
    /// Wavetronix radar: a file a day.
    Wavetronix,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 3] = [Self::Gridsmart, Self::Bluetooth, Self::Wavetronix];

    /// Its name in the catalog's `data_source`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Gridsmart => "gs",
            Self::Bluetooth => "bt",
            Self::Wavetronix => "wt",
        }
    }

    /// Local wall time at which its ready files are created, on the following day.
    fn made_at(self) -> NaiveTime {
        let (hour, minute, micro) = match self {
            Self::Gridsmart => (6, 0, 45_297_516),
            Self::Bluetooth => (5, 0, 5_805_464),
            Self::Wavetronix => (6, 30, 50_459_962),
        };
        NaiveTime::MIN
            + chrono::Duration::minutes(hour * 60 + minute)
            + chrono::Duration::microseconds(micro)
    }
}

/// Whether a city's files have the quirks of real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirks {
    /// Plain names, whole numbers, nothing odd.
    None,
    /// All quirks, at the rates of real files.
    Real,
}

/// How much a city's sensors see per day. Row counts are targets that are reached approximately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Intersections with a camera.
    pub intersections: u32,
    /// Rows of one camera's file.
    pub camera_rows: u32,
    /// Bluetooth readers.
    pub readers: u32,
    /// Rows of `unmatched.json`.
    pub unmatched_rows: u32,
    /// Rows of `matched.json`.
    pub matched_rows: u32,
    /// Rows of `traf_match_summary.json`.
    pub summary_rows: u32,
    /// Radar detectors.
    pub detectors: u32,
    /// Rows of the radar's file.
    pub radar_rows: u32,
}

impl Scale {
    /// Small: a month of it is published in seconds.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            intersections: 6,
            camera_rows: 40,
            readers: 8,
            unmatched_rows: 120,
            matched_rows: 40,
            summary_rows: 60,
            detectors: 6,
            radar_rows: 60,
        }
    }

    /// As large as a real city, for benchmarks: 123,000 camera rows and 300,000 Bluetooth reads per
    /// day.
    #[must_use]
    pub fn city() -> Self {
        Self {
            intersections: 60,
            camera_rows: 2_050,
            readers: 60,
            unmatched_rows: 300_000,
            matched_rows: 60_000,
            summary_rows: 28_000,
            detectors: 36,
            radar_rows: 3_500,
        }
    }
}

/// A city whose sensors fill a lake.
#[derive(Clone, Debug)]
pub struct City {
    seed: u64,
    scale: Scale,
    quirks: Quirks,
}

/// A generated file of the ready layer.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedFile {
    /// Its path in the lake, which is the catalog's `pointer`.
    pub path: LakePath,
    /// First half of its identity.
    pub base: String,
    /// Second half.
    pub ext: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its catalog entry in the ready layer.
    pub entry: Entry,
}

/// A file of the lake could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write lake file {path}")]
pub struct WriteLakeError {
    /// The file or its folder.
    path: PathBuf,
    source: std::io::Error,
}

impl City {
    /// The city of this seed, with real quirks.
    #[must_use]
    pub fn new(seed: u64, scale: Scale) -> Self {
        Self {
            seed,
            scale,
            quirks: Quirks::Real,
        }
    }

    /// The same city with these quirks.
    #[must_use]
    pub fn with_quirks(self, quirks: Quirks) -> Self {
        Self { quirks, ..self }
    }

    /// The source's files of the day, by base and ext, including those that no publisher reads.
    #[must_use]
    pub fn day_files(&self, source: Source, day: Day) -> Vec<GeneratedFile> {
        let mut files = match source {
            Source::Gridsmart => gridsmart::day_files(self, day),
            Source::Bluetooth => bluetooth::day_files(self, day),
            Source::Wavetronix => wavetronix::day_files(self, day),
        };
        files.sort_by(|a, b| (&a.base, &a.ext).cmp(&(&b.base, &b.ext)));
        files
    }

    /// Writes the files of these days and sources under `root`, each at its catalog pointer, and
    /// returns their entries in the ready layer.
    ///
    /// # Errors
    /// If a folder or file cannot be written.
    pub fn write_lake(
        &self,
        root: &Path,
        days: DayRange,
        sources: &[Source],
    ) -> Result<Vec<Entry>, WriteLakeError> {
        let mut entries = Vec::new();
        for day in days.days() {
            for source in sources {
                for file in self.day_files(*source, day) {
                    write_file(&root.join(&file.path.0), &file.bytes)?;
                    entries.push(file.entry);
                }
            }
        }
        Ok(entries)
    }

    /// The shapes of the five published tables.
    #[must_use]
    pub fn tables(&self) -> Vec<TableSpec> {
        Table::ALL.map(Table::spec).into()
    }

    /// How the day's Bluetooth addresses were numbered when the day was published. Usually it was
    /// the first day of its publisher's run. Sometimes it was published after an older one.
    #[must_use]
    pub fn counter(&self, day: Day) -> Counter {
        let caught_up = self.chance("counter", day).happens(1_200);
        if self.quirks == Quirks::Real && caught_up {
            Counter::Separate
        } else {
            Counter::Shared
        }
    }

    fn chance(&self, label: &str, day: Day) -> Chance {
        Chance::new(self.seed, &format!("{label} {day}"))
    }

    /// Draws whether a quirk that happens `rate` times in 10,000 happens. Never, in a city without
    /// quirks.
    fn odd(&self, chance: &mut Chance, rate: u32) -> bool {
        let happens = chance.happens(rate);
        self.quirks == Quirks::Real && happens
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), WriteLakeError> {
    let failed = |source| WriteLakeError {
        path: path.into(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}

/// When the source's ready files of the day are created (UTC).
fn made_at(source: Source, day: Day) -> DateTime<Utc> {
    let wall = (day.date() + Days::new(1)).and_time(source.made_at());
    wall.and_local_timezone(ZONE)
        .earliest()
        .map_or_else(|| wall.and_utc(), |made| made.with_timezone(&Utc))
}

/// The file's name without its folder: `Austin_bt_2019-06-05_matched.json`.
fn file_name(source: Source, base: &str, ext: &str, day: Day) -> String {
    let joint = if ext.contains('.') { '_' } else { '.' };
    format!("{base}_{}_{day}{joint}{ext}", source.code())
}

fn generated(source: Source, base: &str, ext: &str, day: Day, text: Text) -> GeneratedFile {
    let folder = day.date().format("%Y/%m/%d");
    let name = file_name(source, base, ext, day);
    let path = format!("{folder}/{}/{name}", source.code());
    GeneratedFile {
        base: base.into(),
        ext: ext.into(),
        bytes: text.into_bytes(),
        entry: Entry {
            key: entry_key(READY, source, base, ext, day),
            pointer: path.clone(),
            collection_end: None,
            processing_date: Some(made_at(source, day)),
            metadata: None,
        },
        path: LakePath(path),
    }
}

fn entry_key(repository: &str, source: Source, base: &str, ext: &str, day: Day) -> EntryKey {
    EntryKey {
        collection_date: day.start(ZONE),
        repository: repository.into(),
        data_source: source.code().into(),
        id_base: base.into(),
        id_ext: ext.into(),
    }
}

/// Writes the two times of every header, `"collection_date"` and `"processing_date"`.
fn put_header_times(text: &mut Text, source: Source, day: Day) {
    let made = Stamp::of(made_at(source, day));
    let micros = made.wall.format("%Y-%m-%d %H:%M:%S%.6f");
    text.raw("\"collection_date\": ")
        .time(Stamp::of(day.start(ZONE)))
        .raw(&format!(
            ", \"processing_date\": \"{micros}-0{}:00\"",
            made.west
        ));
}

/// A small file of the ready layer that no publisher reads.
fn stray(source: Source, base: &str, ext: &str, day: Day, json: &str) -> GeneratedFile {
    let mut text = Text::default();
    text.raw(json);
    generated(source, base, ext, day, text)
}

#[cfg(test)]
mod tests;
