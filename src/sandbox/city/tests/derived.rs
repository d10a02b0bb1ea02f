//! Tests the city's files with the real recipes. A month around each clock change is derived in
//! full, and must yield the generated rows.

use std::collections::BTreeSet;

use chrono::{DateTime, Timelike};

use super::{day, demo, month};
use crate::expected::Counter;
use crate::model::{Day, DayRange};
use crate::sandbox::city::publisher::companion;
use crate::sandbox::city::{
    City, GeneratedFile, How, Quirks, Scale, Source, Table, Upload, recipes, upload,
};

/// The rows uploaded for the table's files of the day.
fn sent(city: &City, table: Table, day: Day, counter: Counter) -> Vec<Upload> {
    let files = city.day_files(table.source(), day);
    let due = files.iter().filter(|file| file.ext == table.ext());
    let derive = |file: &GeneratedFile| {
        let companion = companion(&files, table, &file.base);
        let how = How::ordinary(counter);
        upload(recipes()[&table], &table.spec(), file, companion, &how).unwrap()
    };
    due.map(derive).collect()
}

/// Number of rows uploaded in the range, and number of those that are published.
fn count(city: &City, table: Table, days: DayRange) -> (usize, usize) {
    let uploads = days
        .days()
        .flat_map(|day| sent(city, table, day, Counter::Shared));
    uploads.fold((0, 0), |(rows, published), upload| {
        (
            rows + upload.rows.len(),
            published + upload.published_rows().len(),
        )
    })
}

#[test]
fn tables_and_recipes_use_the_same_names() {
    for (table, recipe) in recipes() {
        let (facts, spec) = (recipe.facts(), table.spec());
        assert_eq!(facts.source, table.source().code());
        assert_eq!(facts.ext, table.ext());
        assert_eq!(facts.companion, table.companion_ext());
        assert_eq!(facts.key_column, spec.row_identifier);
        assert_eq!(facts.day_column, table.day_column());
        let of_recipe: BTreeSet<_> = facts.columns.iter().chain([&facts.key_column]).collect();
        let of_table: BTreeSet<_> = spec.columns.iter().map(|(name, _)| name).collect();
        assert_eq!(of_recipe, of_table);
    }
}

#[test]
fn a_month_yields_about_the_rows_of_its_scale() {
    let days = month("2020-10-10");
    for (table, a_day) in [
        (Table::CameraCounts, 5 * 40),
        (Table::TravelTimes, 60),
        (Table::MatchedTrips, 40),
        (Table::DeviceReads, 120),
        (Table::RadarCounts, 60),
    ] {
        let (rows, published) = count(&demo(), table, days);
        assert!(
            (a_day * 26..=a_day * 40).contains(&rows),
            "{table:?}: {rows}"
        );
        assert!(
            published <= rows && published > rows * 98 / 100,
            "{table:?}: {published}"
        );
    }
}

#[test]
fn keys_repeat_on_the_day_with_a_repeated_hour_but_not_without_quirks() {
    let autumn = DayRange::one(day("2020-11-01"));
    let plain = demo().with_quirks(Quirks::None);
    for table in Table::ALL {
        let big = City::new(
            42,
            Scale {
                matched_rows: 400,
                ..Scale::demo()
            },
        );
        let (rows, published) = count(&big, table, autumn);
        assert!(published < rows, "{table:?}: {rows}");
        for date in ["2020-11-01", "2020-03-08", "2020-06-01"] {
            let (rows, published) = count(&plain, table, DayRange::one(day(date)));
            assert_eq!(rows, published, "{table:?} on {date}");
        }
    }
}

#[test]
fn the_day_with_a_skipped_hour_has_no_rows_in_it() {
    for table in Table::ALL {
        let rows = sent(&demo(), table, day("2020-03-08"), Counter::Shared);
        let mut rows = rows.iter().flat_map(|upload| &upload.rows);
        let midnight = day("2020-03-08").midnight();
        assert!(
            rows.all(|row| row.at < midnight || row.at.hour() != 2),
            "{table:?}"
        );
    }
}

#[test]
fn only_trips_begin_before_their_day_and_some_end_before_it() {
    let (mut begun, mut ended) = (0, 0);
    for date in month("2020-05-01").days() {
        for table in Table::ALL {
            let uploads = sent(&demo(), table, date, Counter::Shared);
            for row in uploads.iter().flat_map(|upload| &upload.rows) {
                let stands_on = Day::of(row.at);
                if table == Table::MatchedTrips && stands_on == date.plus(-1) {
                    begun += 1;
                    let end = row.fields["end_time"].as_str().unwrap();
                    ended += i32::from(end < &*date.to_string());
                } else {
                    assert_eq!(stands_on, date, "{table:?}");
                }
            }
        }
    }
    assert_eq!(begun, 30 * 2);
    assert!((5..55).contains(&ended), "{ended}");
}

#[test]
fn the_counter_affects_only_the_keys_of_single_reads() {
    let date = day("2020-10-01");
    for table in Table::ALL {
        let keys = |counter| -> BTreeSet<String> {
            let uploads = sent(&demo(), table, date, counter);
            let rows = uploads.into_iter().flat_map(|upload| upload.rows);
            rows.map(|row| row.key).collect()
        };
        let (shared, separate) = (keys(Counter::Shared), keys(Counter::Separate));
        let both = shared.intersection(&separate).count();
        match table {
            Table::DeviceReads => assert!(both < shared.len() / 10, "{both}"),
            _ => assert_eq!(shared, separate),
        }
    }
    let odd = month("2020-10-01")
        .days()
        .filter(|day| demo().counter(*day) == Counter::Separate);
    assert!((1..10).contains(&odd.count()));
}

#[test]
fn radar_readings_are_off_the_quarter_hour_and_doubled_at_half_past_three() {
    let days = month("2020-10-01");
    let uploads = days
        .days()
        .flat_map(|day| sent(&demo(), Table::RadarCounts, day, Counter::Shared));
    let rows: Vec<_> = uploads.flat_map(|upload| upload.rows).collect();
    let text = |row: &crate::sandbox::city::UploadRow, name: &str| {
        row.fields[name].as_str().unwrap_or_default().to_owned()
    };
    let off = rows.iter().filter(|row| row.at.second() != 0).count();
    assert!(off > rows.len() / 3);
    assert!(rows.iter().any(|row| text(row, "timebin").ends_with(":60")));
    assert!(rows.iter().any(|row| row.fields["direction"].is_null()));
    assert!(rows.iter().any(|row| text(row, "detname") == "SB"));
    let first = DateTime::from_timestamp(0, 0).unwrap().time();
    let around = |row: &&crate::sandbox::city::UploadRow| {
        let minute = (row.at.time() - first).num_minutes();
        (205..=212).contains(&minute)
    };
    assert!(rows.iter().filter(around).count() >= 30 * 2 * 6);
}

#[test]
fn before_2019_numbers_are_json_numbers() {
    for (date, strings) in [("2018-12-31", false), ("2019-01-01", true)] {
        let uploads = sent(&demo(), Table::TravelTimes, day(date), Counter::Shared);
        let value = &uploads[0].rows[0].fields["segment_length_miles"];
        assert_eq!(value.is_string(), strings);
    }
}

#[test]
fn a_camera_without_a_device_is_skipped() {
    let passed = sent(
        &demo(),
        Table::CameraCounts,
        day("2020-10-01"),
        Counter::Shared,
    );
    let passed = passed.iter().filter(|upload| upload.passed_by);
    assert_eq!(passed.count(), 1);
    assert_eq!(Table::of(Source::Gridsmart, "counts.json"), None);
}
