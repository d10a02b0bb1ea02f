//! Two years of five datasets as in a real ledger: nearly all days in sync, one in twenty not.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::DayRecord;
use sodalake::model::{Dataset, Day};
use sodalake::server::pages::{DatasetDays, Overview};
use sodalake::settings::Mode;
use sodalake::telemetry::Snapshot;

const STATES: [&str; 6] = [
    "differs",
    "held",
    "unproven",
    "unconfirmed",
    "known-lost",
    "unsettled",
];

pub fn now() -> DateTime<Utc> {
    "2021-01-01T12:00:00Z".parse().unwrap()
}

/// The five tables of the fictional city.
pub fn datasets() -> Vec<Arc<Dataset>> {
    use sodalake::sandbox::city::Table;
    let tables = [
        Table::CameraCounts,
        Table::TravelTimes,
        Table::MatchedTrips,
        Table::DeviceReads,
        Table::RadarCounts,
    ];
    (tables.into_iter())
        .map(|table| Arc::new(table.dataset()))
        .collect()
}

pub fn record(dataset: &Dataset, day: Day, state: &str) -> DayRecord {
    let wrong = state != "in-sync";
    DayRecord {
        dataset: dataset.name.clone(),
        day,
        state: state.into(),
        since: now(),
        checked_at: now(),
        why: None,
        cause: wrong.then(|| "1,248 rows were written twice by another publisher".into()),
        counts: json!(sodalake::compare::Counts {
            duplicates: if wrong { 1_248 } else { 0 },
            ..Default::default()
        }),
        fingerprint: None,
        digest: None,
        expected: Some(240_322),
        published: Some(if wrong { 241_570 } else { 240_322 }),
        guards: Vec::new(),
        open_since: None,
        pass: None,
        drafted: None,
        compared: sodalake::ledger::Compared::default(),
    }
}

fn days(dataset: &Dataset) -> Vec<DayRecord> {
    let first: Day = "2019-01-01".parse().unwrap();
    let state = |number: usize| match number % 20 {
        7 => STATES[number / 20 % STATES.len()],
        _ => "in-sync",
    };
    (0..731)
        .zip(0_usize..)
        .map(|(offset, number)| record(dataset, first.plus(offset), state(number)))
        .collect()
}

/// The complete view of these days.
pub fn overview<'a>(datasets: &'a [Arc<Dataset>], activity: &'a Snapshot) -> Overview<'a> {
    Overview {
        now: now(),
        zone: chrono_tz::America::Chicago,
        mode: Mode::Repair,
        activity,
        datasets: (datasets.iter())
            .map(|dataset| DatasetDays {
                dataset,
                days: days(dataset),
                never_checked: 0,
            })
            .collect(),
    }
}
