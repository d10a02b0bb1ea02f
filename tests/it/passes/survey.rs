//! What a check of an unchanged month costs, counted in the portal's own request log.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use sodalake::compare::Depth;
use sodalake::model::{DatasetDay, Day, DayRange};
use sodalake::reconcile::{self, State};
use sodalake::sandbox::city::Table;

use crate::support::city::{TestCity, written_at};

/// A city with a month of published days, all of them checked and in sync.
async fn a_clean_month() -> (TestCity, DayRange) {
    let from: Day = "2020-09-20".parse().unwrap();
    let month = DayRange {
        from,
        to: from.plus(30),
    };
    let city = TestCity::around(from, "").await;
    // the days before and after contain rows of the month's files, and files of its rows
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
            let report = city.check(table, day, Depth::Content).await;
            assert_eq!(
                report.state,
                State::InSync,
                "{table:?} {day}: {:?}",
                report.why
            );
        }
    }
    (city, month)
}

async fn survey(city: &TestCity, table: Table, range: DayRange) -> Vec<(DatasetDay, bool)> {
    let dataset = city.target(table, range.from).dataset;
    let surveyed = reconcile::survey(&city.world, &dataset, range).await;
    let days = surveyed.unwrap().into_iter();
    days.map(|seen| (seen.target, seen.unchanged)).collect()
}

/// Replaces the bytes of a file and keeps its size, path and modification time.
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
async fn an_unchanged_month_costs_one_small_request_per_dataset_and_reads_no_lake_object() {
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
        // if one object had been opened, its day would not count as unchanged
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
async fn only_days_that_changed_on_one_side_are_checked() {
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
    let check_days = async || {
        for day in range.days() {
            city.check(table, day, Depth::Content).await;
        }
    };
    assert_eq!(unchanged().await, [false, false], "never looked at");
    check_days().await;
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
    check_days().await;
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
    check_days().await;
    assert_eq!(
        unchanged().await,
        [true, true],
        "white space at its end changes no row"
    );
}
