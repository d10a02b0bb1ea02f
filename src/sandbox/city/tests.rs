//! The city against what it claims: the same files for the same seed, in the bytes and shapes of
//! the lake's Python programs, with the oddities at their rates; and breakages against a portal of
//! maps, published by a recipe small enough to be seen through.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;

use md5::{Digest, Md5};
use serde_json::{Map, Value as Json};

use super::*;
use crate::expected::{
    DeriveError, DerivedRow, Facts, FileOutcome, FileText, Line, Recipe, Variant,
};
use crate::model::{ColumnType, KeyRecipe, RowKey, Value};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn month(text: &str) -> DayRange {
    let from = day(text);
    DayRange {
        from,
        to: from.plus(30),
    }
}

fn demo() -> City {
    City::new(42, Scale::demo())
}

/// Everything a city writes in these days, as one text.
fn everything(city: &City, days: DayRange, source: Source) -> String {
    let files = days.days().flat_map(|day| city.day_files(source, day));
    files
        .map(|file| String::from_utf8(file.bytes).unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_same_seed_makes_the_same_files_and_another_seed_others() {
    for source in Source::ALL {
        let day = day("2020-10-01");
        assert_eq!(demo().day_files(source, day), demo().day_files(source, day));
        let other = City::new(43, Scale::demo());
        assert_ne!(demo().day_files(source, day), other.day_files(source, day));
        assert_ne!(
            demo().day_files(source, day)[0].bytes,
            demo().day_files(source, day.next())[0].bytes
        );
    }
}

/// Reads files named in pairs, ours and a specimen, and checks that ours is byte for byte what
/// Python writes, and has the specimen's keys in the specimen's order, all the way down.
const SHAPES: &str = r"
import json, sys
def shape(value):
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None
def fits(ours, theirs, path):
    assert type(ours) is type(theirs), (path, ours, theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), (path, list(ours), list(theirs))
        for key in ours:
            fits(ours[key], theirs[key], path + '/' + key)
    if isinstance(ours, list) and ours and theirs:
        fits(ours[0], theirs[0], path + '[]')
for ours, theirs in zip(sys.argv[1::2], sys.argv[2::2]):
    text = open(ours, encoding='ascii').read()
    assert json.dumps(json.loads(text)) == text, ours
    fits(shape(json.loads(text)), shape(json.load(open(theirs))), theirs)
";

#[test]
fn files_are_byte_for_byte_what_python_writes_and_have_the_shape_of_the_specimens() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specimens/vectors");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", SHAPES]);
    for (case, date) in [
        ("plain-day", "2019-06-05"),
        ("bt-numeric-ready", "2018-07-06"),
    ] {
        let lake = vectors.join(case).join("lake").join(READY);
        for file in Source::ALL
            .iter()
            .flat_map(|source| demo().day_files(*source, day(date)))
        {
            let camera = file.path.0.replace(&file.base, "Burnet_Richcreek");
            let specimens = [lake.join(&file.path.0), lake.join(camera)];
            let Some(specimen) = specimens.iter().find(|path| path.exists()) else {
                continue;
            };
            if file.bytes.ends_with(b"\"device\": []}") {
                continue;
            }
            let ours = folder.path().join(&file.path.0);
            write_file(&ours, &file.bytes).unwrap();
            command.arg(ours).arg(specimen);
        }
    }
    assert!(command.get_args().len() > 2 * 10);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_file_of_a_year_of_turns_is_what_python_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", SHAPES]);
    for date in ["2017-03-12", "2020-03-08", "2020-11-01", "2019-12-31"] {
        for file in Source::ALL
            .iter()
            .flat_map(|source| demo().day_files(*source, day(date)))
        {
            let path = folder.path().join(&file.path.0);
            write_file(&path, &file.bytes).unwrap();
            command.arg(&path).arg(&path);
        }
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_real_citys_oddities_come_at_their_rates_and_another_has_none() {
    let plain = demo().with_quirks(Quirks::None);
    let days = month("2020-10-10");
    for (source, oddity, least, most) in [
        (Source::Gridsmart, "AM\"}}, \"device\": []}", 30, 30),
        (Source::Gridsmart, "\"data\": []", 1, 12),
        (Source::Gridsmart, "NaN", 1, 20),
        (Source::Gridsmart, "\"speed_avg\": null", 1, 20),
        (Source::Gridsmart, "Unassigned", 60, 400),
        (
            Source::Gridsmart,
            "\"zone_approach\": \"northbound\"",
            1,
            30,
        ),
        (Source::Gridsmart, "\"turn\": \"T\"", 1, 30),
        (Source::Gridsmart, "\"primary_st\": \" ", 60, 180),
        (Source::Gridsmart, "\"cross_st\": \"\"", 30, 30),
        (Source::Gridsmart, "\"data_type\": \"gs_site\"}", 1, 20),
        (Source::Bluetooth, "\"dev_addr\": null", 1, 60),
        (Source::Bluetooth, "pe\\u00f1a_blanca", 100, 9_000),
        (Source::Wavetronix, "\"detName\": \"_out\"", 100, 900),
        (Source::Wavetronix, "\"volume\": null", 1, 30),
        (Source::Wavetronix, "{\"header\": {}}", 1, 5),
    ] {
        let found = everything(&demo(), days, source).matches(oddity).count();
        assert!((least..=most).contains(&found), "{oddity}: {found}");
        let none = everything(&plain, days, source).matches(oddity).count();
        assert_eq!(none, 0, "{oddity}");
    }
}

#[test]
fn paths_and_entries_are_those_of_the_lake() {
    let files = demo().day_files(Source::Gridsmart, day("2020-10-31"));
    let paths: Vec<&str> = files.iter().map(|file| &*file.path.0).collect();
    assert!(paths.contains(&"2020/10/31/gs/Parmer&FM 734_McNeil_gs_2020-10-31_agg15.json"));
    assert!(paths.contains(&"2020/10/31/gs/Cesar Ch\u{e1}vez_Comal_gs_2020-10-31_agg15.json"));
    let radar = demo().day_files(Source::Wavetronix, day("2020-10-31"));
    let entry = &radar[0].entry;
    assert_eq!(entry.pointer, "2020/10/31/wt/Austin_wt_2020-10-31.json");
    assert_eq!(entry.key.id_ext, "json");
    assert_eq!(
        entry.key.collection_date.to_rfc3339(),
        "2020-10-31T05:00:00+00:00"
    );
    let made = entry.processing_date.unwrap();
    assert_eq!(made.to_rfc3339(), "2020-11-01T12:30:50.459962+00:00");
}

#[test]
fn a_lake_and_its_catalog_hold_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let days = DayRange {
        from: day("2020-10-30"),
        to: day("2020-11-03"),
    };
    let entries = demo()
        .write_lake(folder.path(), days, &Source::ALL)
        .unwrap();
    let catalog = CityCatalog::open(&folder.path().join("catalog.db")).unwrap();
    catalog.insert(&entries).unwrap();
    catalog.insert(&entries).unwrap();
    let mut sorted = entries.clone();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(catalog.entries().unwrap(), sorted);
    for entry in &entries {
        assert!(
            folder.path().join(&entry.pointer).is_file(),
            "{}",
            entry.pointer
        );
    }
    assert!(catalog.remove(&entries[0].key).unwrap());
    assert!(!catalog.remove(&entries[0].key).unwrap());
    assert_eq!(catalog.entries().unwrap().len(), entries.len() - 1);
}

#[test]
fn tables_have_a_key_and_a_day_column_of_the_right_types() {
    for table in Table::ALL {
        let (spec, dataset) = (table.spec(), table.dataset());
        assert_eq!(spec.column(&dataset.key_column), Some(&ColumnType::Text));
        assert_eq!(
            spec.column(&dataset.day_column),
            Some(&ColumnType::CalendarDate)
        );
        assert!(spec.column(table.correctable_column()).is_some());
        let names: BTreeSet<_> = spec.columns.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), spec.columns.len());
    }
}

/// A portal of maps.
#[derive(Default)]
struct Maps(Mutex<BTreeMap<String, Rows>>);

type Rows = BTreeMap<String, Map<String, Json>>;

fn key_of(row: &Map<String, Json>) -> String {
    let key = row.get("record_id").or_else(|| row.get("row_id"));
    key.and_then(Json::as_str).unwrap().to_owned()
}

impl Tables for Maps {
    fn upsert(&self, id: &str, rows: Vec<Map<String, Json>>, _at: DateTime<Utc>) {
        let mut tables = self.0.lock().unwrap();
        let table = tables.entry(id.into()).or_default();
        for row in rows {
            table.entry(key_of(&row)).or_default().extend(row);
        }
    }

    fn delete(&self, id: &str, keys: &[String]) {
        let mut tables = self.0.lock().unwrap();
        let table = tables.entry(id.into()).or_default();
        for key in keys {
            assert!(table.remove(key).is_some(), "delete of an unknown row");
        }
    }

    fn rows(&self, id: &str) -> Vec<Map<String, Json>> {
        let tables = self.0.lock().unwrap();
        tables
            .get(id)
            .into_iter()
            .flat_map(|table| table.values().cloned())
            .collect()
    }
}

/// Row by row what a file's JSON says, under the published names.
struct Plain {
    facts: &'static Facts,
    /// Names in the file, in the order of the columns; the first is the time.
    names: &'static [&'static str],
}

const CAMERAS: Plain = Plain {
    facts: &Facts {
        name: "plain-cameras",
        source: "gs",
        ext: "agg15.json",
        companion: None,
        key_column: "record_id",
        day_column: "read_date",
        columns: &[
            "read_date",
            "intersection_name",
            "direction",
            "movement",
            "volume",
            "speed_average",
        ],
        identity: &["intersection_name", "read_date", "direction", "movement"],
        spill_days: 0,
        key_recipes: &[KeyRecipe::Row],
        counters: &[Counter::Shared],
    },
    names: &[
        "timestamp",
        "intersection",
        "zone_approach",
        "turn",
        "volume",
        "speed_avg",
    ],
};

const READS: Plain = Plain {
    facts: &Facts {
        name: "plain-reads",
        source: "bt",
        ext: "unmatched.json",
        companion: Some("matched.json"),
        key_column: "record_id",
        day_column: "host_read_time",
        columns: &[
            "host_read_time",
            "reader_identifier",
            "device_address",
            "field_device_read_time",
        ],
        identity: &["host_read_time", "reader_identifier", "device_address"],
        spill_days: 0,
        key_recipes: &[KeyRecipe::Row],
        counters: &[Counter::Shared, Counter::Separate],
    },
    names: &["host_timestamp", "reader_id", "dev_addr", "field_timestamp"],
};

fn parsed(bytes: &[u8]) -> Json {
    let text = std::str::from_utf8(bytes).unwrap();
    serde_json::from_str(&text.replace("NaN", "\"NaN\"")).unwrap()
}

impl Plain {
    fn value(name: &str, row: &Json, file: &Json, addresses: &mut Vec<Json>) -> Value {
        match (name, &row[name]) {
            ("intersection", _) => {
                let street = |name: &str| file["device"][name].as_str().unwrap().trim().to_owned();
                let name = format!("{} / {}", street("primary_st"), street("cross_st"));
                Value::Text(name.into())
            }
            ("dev_addr", address) => {
                let place = addresses.iter().position(|known| known == address);
                let place = place.unwrap_or_else(|| {
                    addresses.push(address.clone());
                    addresses.len() - 1
                });
                Value::Int((place + 1).to_string().into())
            }
            (_, Json::String(text)) if text == "NaN" => Value::Float(f64::NAN),
            (_, Json::String(text)) if name.ends_with("timestamp") => {
                Value::Text(text[..19].replace(' ', "T").into())
            }
            (_, Json::String(text)) => Value::Text(text.as_str().into()),
            (_, Json::Null) => Value::Null,
            (_, Json::Number(number)) => Value::Float(number.as_f64().unwrap()),
            (_, other) => panic!("{name}: {other}"),
        }
    }
}

impl Recipe for Plain {
    fn facts(&self) -> &'static Facts {
        self.facts
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let json = parsed(file.bytes);
        let mut addresses = Vec::new();
        if let (Counter::Shared, Some((_, bytes))) = (variant.counter, file.companion) {
            for row in parsed(bytes)["data"].as_array().unwrap() {
                Self::value("dev_addr", row, &json, &mut addresses);
            }
        }
        let mut outcome = FileOutcome::default();
        if json["device"].as_array().is_some() {
            outcome.passed_by = Some("no device".into());
            return Ok(outcome);
        }
        let mut chain = Md5::new();
        for (ordinal, row) in (0..).zip(json["data"].as_array().unwrap()) {
            let value = |name: &&str| Self::value(name, row, &json, &mut addresses);
            let values: Vec<Value> = self.names.iter().map(value).collect();
            let mut hash = match variant.keys {
                KeyRecipe::Chained => chain.clone(),
                KeyRecipe::Row | KeyRecipe::Kits => Md5::new(),
            };
            for name in self.facts.identity {
                let place = self.facts.columns.iter().position(|column| column == name);
                hash.update(values[place.unwrap()].text().unwrap().as_bytes());
            }
            chain = hash.clone();
            outcome.rows += 1;
            each(Line::Row(DerivedRow {
                ordinal,
                at: values[0].text().unwrap().parse().unwrap(),
                key: &RowKey::Md5(hash.finalize().into()),
                values: &values,
            }));
        }
        Ok(outcome)
    }
}

/// A published day, and the tools to break it.
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
        let recipes: Recipes<'_> = [
            (Table::CameraCounts, &CAMERAS as &dyn Recipe),
            (Table::DeviceReads, &READS),
        ]
        .into();
        for source in [Source::Gridsmart, Source::Bluetooth] {
            let to = (&tables as &dyn Tables, &catalog);
            publish_directly(&city, source, day(DATE), &recipes, to, DateTime::UNIX_EPOCH).unwrap();
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
        let (base, recipe): (_, &'static dyn Recipe) = match table {
            Table::DeviceReads => ("Austin", &READS),
            _ => ("Burnet_Richcreek", &CAMERAS),
        };
        let place = Place {
            table,
            day: day(DATE),
            base: base.into(),
        };
        (place, recipe)
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

fn promised(injected: &[Injected], finding: &str) -> u64 {
    let of_kind = injected
        .iter()
        .filter(|injected| injected.finding == finding);
    of_kind.map(|injected| injected.count).sum()
}

#[test]
fn every_breakage_changes_what_it_promises_and_nothing_else() {
    for breakage in Breakage::ALL {
        for table in [Table::CameraCounts, Table::DeviceReads] {
            let town = Town::published();
            let before = (
                town.keys(table),
                town.tables.rows(table.spec().id),
                town.entries(),
            );
            let Ok(injected) = town.apply(breakage, table) else {
                let only_cameras = breakage == Breakage::OtherSpelling;
                let only_reads = breakage == Breakage::OtherCounter;
                assert!(
                    only_cameras && table == Table::DeviceReads
                        || only_reads && table == Table::CameraCounts
                );
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
            assert_eq!(gone, promised(&injected, "missing"), "{breakage:?}");
            assert_eq!(
                changed.count() as u64,
                promised(&injected, "altered"),
                "{breakage:?}"
            );
            let orphans = match breakage {
                Breakage::FileLost => 0,
                _ => promised(&injected, "orphan"),
            };
            assert_eq!(new, promised(&injected, "twin") + orphans, "{breakage:?}");
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
fn doubling_doubles_every_row_and_the_chained_hasher_all_but_the_first() {
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
        let with = super::publisher::companion(&files, table, &place.base);
        let how = How::ordinary(town.city.counter(place.day));
        let sent = upload(recipe, &table.spec(), file.unwrap(), with, &how).unwrap();
        let injected = town.apply(breakage, table).unwrap();
        let rows = match breakage {
            Breakage::ChainedAgain => sent.rows.len(),
            _ => sent.standing().len(),
        };
        assert!(rows > 20);
        assert_eq!(promised(&injected, "twin"), (rows - left_out) as u64);
    }
}

#[test]
fn a_respelt_key_is_the_md5_of_the_respelt_row() {
    let files = demo().day_files(Source::Gridsmart, day(DATE));
    let (place, _) = Town::place(Table::CameraCounts);
    let file = files.iter().find(|file| file.base == place.base).unwrap();
    let mut how = How::ordinary(Counter::Shared);
    how.spelling = Some(Spelling::tight_slash());
    let sent = upload(&CAMERAS, &Table::CameraCounts.spec(), file, None, &how).unwrap();
    let row = &sent.rows[0].fields;
    let text = |name: &str| row[name].as_str().unwrap_or("None").to_owned();
    assert_eq!(text("intersection_name"), "BURNET RD/ RICHCREEK RD");
    let identity = ["intersection_name", "read_date", "direction", "movement"]
        .map(text)
        .concat();
    let key = RowKey::Md5(Md5::digest(identity.as_bytes()).into()).to_string();
    assert_eq!(sent.rows[0].key, key);
    assert_eq!(row["record_id"], Json::from(key));
}

#[test]
fn the_upload_takes_text_of_everything_in_text_columns_and_no_nan_in_numbers() {
    let city = City::new(
        5,
        Scale {
            camera_rows: 2_000,
            ..Scale::demo()
        },
    );
    let files = city.day_files(Source::Gridsmart, day("2020-10-02"));
    let file = files
        .iter()
        .find(|file| file.base == "Burnet_Richcreek")
        .unwrap();
    let nans = String::from_utf8_lossy(&file.bytes).matches("NaN").count();
    assert!(nans > 0);
    let mut how = How::ordinary(Counter::Shared);
    let sent = upload(&CAMERAS, &Table::CameraCounts.spec(), file, None, &how).unwrap();
    assert_eq!(sent.unpublishable, nans as u64);
    let odd = sent
        .rows
        .iter()
        .filter(|row| row.fields["movement"].is_null());
    assert!(odd.count() > 0, "empty texts and nulls become null");
    how.stop_after = Some(17);
    let cut = upload(&CAMERAS, &Table::CameraCounts.spec(), file, None, &how).unwrap();
    assert_eq!((cut.rows.len(), cut.cut_short), (17, true));
    assert_eq!(cut.rows[..], sent.rows[..17]);
}

#[test]
fn the_clock_changes_fold_some_rows_in_autumn_and_none_in_spring() {
    for (date, folds) in [("2020-11-01", true), ("2020-03-08", false)] {
        let files = demo().day_files(Source::Gridsmart, day(date));
        let (place, _) = Town::place(Table::CameraCounts);
        let file = files.iter().find(|file| file.base == place.base).unwrap();
        let how = How::ordinary(Counter::Shared);
        let sent = upload(&CAMERAS, &Table::CameraCounts.spec(), file, None, &how).unwrap();
        let (all, standing) = (sent.rows.len(), sent.standing().len());
        if folds {
            assert!(all >= standing + 4, "{all} {standing}");
        } else {
            let text = String::from_utf8_lossy(&file.bytes);
            assert!(!text.contains("T02:") && !text.contains(" 02:"));
        }
    }
}
