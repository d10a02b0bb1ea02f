//! Tests of the city: the same files for the same seed, byte for byte as the lake's Python programs
//! write them, with quirks at the specified rates. [`maps`] is a stand-in portal. Other modules
//! derive, upload and break the files.

mod broken;
mod derived;
mod maps;
mod uploads;

use std::collections::BTreeSet;
use std::process::Command;

use super::*;
use crate::model::ColumnType;

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

/// All files of these days, as one text.
fn everything(city: &City, days: DayRange, source: Source) -> String {
    let files = days.days().flat_map(|day| city.day_files(source, day));
    files
        .map(|file| String::from_utf8(file.bytes).unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_same_seed_makes_the_same_files_and_another_seed_different_ones() {
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

#[test]
fn cameras_of_a_large_city_are_at_different_intersections() {
    for quirks in [Quirks::None, Quirks::Real] {
        let scale = Scale {
            intersections: 450,
            camera_rows: 1,
            ..Scale::demo()
        };
        let city = City::new(1, scale).with_quirks(quirks);
        let mut files = city.day_files(Source::Gridsmart, day("2020-10-01"));
        files.retain(|file| file.ext == Table::CameraCounts.ext());
        let paths: BTreeSet<_> = files.iter().map(|file| &file.path).collect();
        assert_eq!((files.len(), paths.len()), (450, 450));
    }
}

/// Reads pairs of files, ours and a specimen. Checks that ours is byte for byte what Python writes,
/// and has the specimen's keys in the specimen's order, at every level.
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
fn files_match_what_python_writes_and_the_structure_of_the_specimens() {
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
fn files_around_clock_changes_match_what_python_writes() {
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
fn quirks_occur_at_their_rates_and_can_be_turned_off() {
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
fn paths_and_entries_match_those_of_the_lake() {
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

#[tokio::test]
async fn sodalake_can_read_and_correct_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let days = DayRange::one(day("2020-11-01"));
    let entries = demo()
        .write_lake(folder.path(), days, &[Source::Bluetooth])
        .unwrap();
    CityCatalog::open(&path).unwrap().insert(&entries).unwrap();
    let settings = crate::settings::CatalogSettings {
        url: format!("sqlite://{}", path.display()).parse().unwrap(),
        password: None,
        ca_file: None,
        table: "data_lake_catalog".into(),
        repository: PUBLISHED.into(),
    };
    let catalog = crate::catalog::Catalog::open(&settings, ZONE)
        .await
        .unwrap();
    let window = crate::model::Coverage::of_day(days.from, ZONE);
    let read = catalog.entries(READY, "bt", window).await.unwrap();
    assert_eq!(read, entries);
    let shape = catalog.inspect().await.unwrap();
    assert_eq!(shape.faults(), [""; 0]);
    assert_eq!(shape.write_faults(), [""; 0]);
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
