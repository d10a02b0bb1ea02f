//! What a look at a month costs when nothing changed: counted by the portal's own request log.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use sodalake::compare::Depth;
use sodalake::model::{DatasetDay, Day, DayRange};
use sodalake::reconcile::{self, State};
use sodalake::sandbox::city::Table;

use crate::support::city::{TestCity, written_at};

/// A city of a month's published days, all of them looked at and in step.
async fn a_clean_month() -> (TestCity, DayRange) {
    let from: Day = "2020-09-20".parse().unwrap();
    let month = DayRange {
        from,
        to: from.plus(30),
    };
    let city = TestCity::around(from, "").await;
    // the days before and behind hold rows of the month's files, and files of its rows
    let rest = DayRange {
        from: from.plus(3),
        to: month.to.next(),
    };
    city.stage.fill(rest).unwrap();
    for day in rest.days() {
        city.stage.publish(day, written_at()).await.unwrap();
    }
    for table in Table::ALL {
        for day in month.days() {
            let report = city.check(table, day, Depth::Keys).await;
            assert_eq!(
                report.state,
                State::InStep,
                "{table:?} {day}: {:?}",
                report.why
            );
        }
    }
    (city, month)
}

async fn survey(city: &TestCity, table: Table, range: DayRange) -> Vec<(DatasetDay, bool)> {
    let dataset = city.target(table, range.from).dataset;
    reconcile::survey(&city.world, &dataset, range)
        .await
        .unwrap()
}

/// Puts other bytes into a file, so that its size, its place and its time of writing stay.
fn garble(file: &Path) {
    let meta = file.metadata().unwrap();
    let garbage = vec![b'#'; usize::try_from(meta.len()).unwrap()];
    let mut open = File::options().write(true).open(file).unwrap();
    open.write_all(&garbage).unwrap();
    open.set_modified(meta.modified().unwrap()).unwrap();
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_month_costs_one_small_request_a_dataset_and_no_lake_object() {
    let (city, month) = a_clean_month().await;
    let files = files_below(&city.stage.lake());
    assert!(files.len() > 300, "{} files", files.len());
    for file in &files {
        garble(file);
    }
    city.stage.portal.clear_requests();
    for table in Table::ALL {
        let days = survey(&city, table, month).await;
        assert_eq!(days.len(), 30);
        // had one object been opened, its day could not be unchanged
        let suspects: Vec<_> = days.iter().filter(|(_, unchanged)| !unchanged).collect();
        assert!(suspects.is_empty(), "{suspects:?}");
    }
    let asked = city.stage.portal.requests();
    let bytes: usize = asked.iter().map(|one| one.reply_bytes).sum();
    assert_eq!(asked.len(), Table::ALL.len());
    assert!(bytes < 64 * 1024, "{bytes} bytes");
    let seen = city
        .check(Table::RadarCounts, month.from, Depth::Keys)
        .await;
    assert_eq!(seen.state, State::Unproven, "a look does open the files");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_days_that_changed_on_one_of_the_sides_are_suspects() {
    let day = crate::support::city::wednesday();
    let city = TestCity::around(day, "").await;
    let range = DayRange {
        from: day,
        to: day.plus(2),
    };
    let table = Table::RadarCounts;
    let unchanged = async || -> Vec<bool> {
        let days = survey(&city, table, range).await;
        days.into_iter().map(|(_, unchanged)| unchanged).collect()
    };
    let look = async || {
        for day in range.days() {
            city.check(table, day, Depth::Keys).await;
        }
    };
    assert_eq!(unchanged().await, [false, false], "never looked at");
    look().await;
    assert_eq!(unchanged().await, [true, true]);

    let spec = table.spec();
    let at = format!("{day}T");
    let gone = (city.stage.portal.rows(spec.id).into_iter())
        .find(|row| row[table.day_column()].as_str().unwrap().starts_with(&at))
        .unwrap();
    let key = gone[spec.row_identifier].as_str().unwrap().to_owned();
    city.stage.portal.delete_directly(spec.id, &[&key]).unwrap();
    assert_eq!(unchanged().await, [false, true], "a row went");

    let row = gone.into_iter().filter(|(name, _)| !name.starts_with(':'));
    let back = vec![row.collect()];
    city.stage
        .portal
        .upsert_directly(spec.id, back, written_at())
        .unwrap();
    look().await;
    assert_eq!(unchanged().await, [true, true], "it is back");

    let next = day.next().date().format("%Y/%m/%d/wt").to_string();
    for file in files_below(&city.stage.lake().join(next)) {
        File::options()
            .append(true)
            .open(file)
            .unwrap()
            .write_all(b"\n")
            .unwrap();
    }
    assert_eq!(unchanged().await, [true, false], "a file is longer");
    look().await;
    assert_eq!(
        unchanged().await,
        [true, true],
        "white space at its end changes no row"
    );
}
