//! Tests that each breakage of a published day changes what it reports, and nothing else.

use std::collections::BTreeSet;

use chrono::DateTime;

use super::maps::{Maps, key_of};
use super::{day, demo};
use crate::expected::{Recipe, recipe};
use crate::model::{DayRange, EntryKey};
use crate::sandbox::city::publisher::companion;
use crate::sandbox::city::{
    Breakage, BreakageError, City, CityCatalog, How, Injected, Place, Site, Source, Table, Tables,
    publish_directly, recipes, upload,
};

/// A published day, and what is needed to break it.
struct Town {
    city: City,
    folder: tempfile::TempDir,
    tables: Maps,
    catalog: CityCatalog,
}

const DATE: &str = "2020-10-01";

impl Town {
    fn published() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (city, tables) = (demo(), Maps::default());
        let catalog = CityCatalog::open(&folder.path().join("catalog.db")).unwrap();
        let days = DayRange::one(day(DATE));
        catalog
            .insert(&city.write_lake(folder.path(), days, &Source::ALL).unwrap())
            .unwrap();
        for source in Source::ALL {
            let to = (&tables as &dyn Tables, &catalog);
            let at = DateTime::UNIX_EPOCH;
            publish_directly(&city, source, day(DATE), &recipes(), to, at).unwrap();
        }
        Self {
            city,
            folder,
            tables,
            catalog,
        }
    }

    fn keys(&self, table: Table) -> BTreeSet<String> {
        self.tables
            .rows(table.spec().id)
            .iter()
            .map(key_of)
            .collect()
    }

    fn entries(&self) -> BTreeSet<EntryKey> {
        let entries = self.catalog.entries().unwrap();
        entries.into_iter().map(|entry| entry.key).collect()
    }

    fn place(table: Table) -> (Place, &'static dyn Recipe) {
        let base = match table {
            Table::CameraCounts => "Burnet_Richcreek",
            _ => "Austin",
        };
        let place = Place {
            table,
            day: day(DATE),
            base: base.into(),
        };
        (place, recipe(table.recipe()).unwrap())
    }

    fn apply(&self, breakage: Breakage, table: Table) -> Result<Vec<Injected>, BreakageError> {
        let (place, recipe) = Self::place(table);
        let site = Site {
            city: &self.city,
            tables: &self.tables,
            catalog: &self.catalog,
            lake: self.folder.path(),
        };
        breakage.apply(&place, &site, recipe, DateTime::UNIX_EPOCH)
    }
}

fn reported(injected: &[Injected], finding: &str) -> u64 {
    let of_kind = injected
        .iter()
        .filter(|injected| injected.finding == finding);
    of_kind.map(|injected| injected.count).sum()
}

#[test]
fn every_breakage_changes_what_it_reports_and_nothing_else() {
    for breakage in Breakage::ALL {
        for table in Table::ALL {
            let town = Town::published();
            let before = (
                town.keys(table),
                town.tables.rows(table.spec().id),
                town.entries(),
            );
            let Ok(injected) = town.apply(breakage, table) else {
                let breaks = match breakage {
                    Breakage::OtherSpelling => Table::CameraCounts,
                    Breakage::OtherCounter => Table::DeviceReads,
                    other => panic!("{other:?} does not apply to {table:?}"),
                };
                assert_ne!(breaks, table);
                assert_eq!(before.0, town.keys(table));
                continue;
            };
            assert!(!injected.is_empty());
            let (keys, rows) = (town.keys(table), town.tables.rows(table.spec().id));
            let gone = before.0.difference(&keys).count() as u64;
            let new = keys.difference(&before.0).count() as u64;
            let changed = rows.iter().filter(|row| {
                let key = key_of(row);
                before.0.contains(&key) && !before.1.contains(row)
            });
            assert_eq!(gone, reported(&injected, "missing"), "{breakage:?}");
            assert_eq!(
                changed.count() as u64,
                reported(&injected, "altered"),
                "{breakage:?}"
            );
            let orphans = match breakage {
                Breakage::FileLost => 0,
                _ => reported(&injected, "orphan"),
            };
            assert_eq!(
                new,
                reported(&injected, "duplicate") + orphans,
                "{breakage:?}"
            );
            let entries = town.entries();
            let lost = before.2.difference(&entries).count();
            let (uncatalogued, made) = match breakage {
                Breakage::NeverPublished
                | Breakage::TailLost
                | Breakage::NotCatalogued
                | Breakage::FileLost => (1, 0),
                Breakage::GhostEntry => (0, 1),
                _ => (0, 0),
            };
            assert_eq!(
                (lost, entries.difference(&before.2).count()),
                (uncatalogued, made)
            );
        }
    }
}

#[test]
fn another_spelling_doubles_every_row_and_the_chained_hasher_all_but_the_first() {
    for (breakage, table, left_out) in [
        (Breakage::OtherSpelling, Table::CameraCounts, 0),
        (Breakage::ChainedAgain, Table::DeviceReads, 1),
    ] {
        let town = Town::published();
        let (place, recipe) = Town::place(table);
        let files = town.city.day_files(table.source(), place.day);
        let file = files
            .iter()
            .find(|file| file.base == place.base && file.ext == table.ext());
        let with = companion(&files, table, &place.base);
        let how = How::ordinary(town.city.counter(place.day));
        let sent = upload(recipe, &table.spec(), file.unwrap(), with, &how).unwrap();
        let injected = town.apply(breakage, table).unwrap();
        let rows = match breakage {
            Breakage::ChainedAgain => sent.rows.len(),
            _ => sent.published_rows().len(),
        };
        assert!(rows > 20);
        assert_eq!(reported(&injected, "duplicate"), (rows - left_out) as u64);
    }
}
