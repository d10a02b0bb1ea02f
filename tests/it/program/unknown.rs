//! A day that was never checked, or not for longer than the schedules promise, is unknown
//! everywhere: in the sentence, the numbers, the metric, the digest and the command line.

use chrono::{DateTime, TimeDelta, Utc};
use sodalake::compare::Depth;
use sodalake::ledger::Promise;
use sodalake::model::Day;
use sodalake::reconcile::{State, promises};
use sodalake::sandbox::city::Table;
use sodalake::sandbox::portal::{Fault, Faults, PortalOptions, Rule};
use sodalake::server::pages::{self, DatasetDays, Overview};
use sodalake::settings::Mode;
use sodalake::telemetry::Snapshot;
use sodalake::telemetry::metrics::{Durable, Metrics};
use sodalake::telemetry::notify::Digest;

use crate::support::city::TestCity;
use crate::support::program::run;

/// The dataset that the portal refuses.
const REFUSED: Table = Table::RadarCounts;

/// The settled days of the window: three, all published by the city.
const SETTLED: u64 = 3;

fn lately() -> Day {
    Day::at(Utc::now(), chrono_tz::America::Chicago).plus(-5)
}

/// A city in which every settled day of the window is in sync, except for the refused dataset.
async fn city() -> TestCity {
    let more = "schedule.window_days = 6\nschedule.settle_days = 4\n";
    let city = TestCity::with(lately(), more, PortalOptions::default(), &[]).await;
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule {
            dataset: Some(REFUSED.spec().id.to_owned()),
            ..Rule::always(Fault::Gateway { status: 403 })
        }],
        replicas: None,
    });
    for table in Table::ALL.into_iter().filter(|table| *table != REFUSED) {
        for day in (-1..2).map(|days| lately().plus(days)) {
            let report = city.check(table, day, Depth::Keys).await;
            assert_eq!(
                report.state,
                State::InSync,
                "{table:?} {day}: {:?}",
                report.why
            );
        }
    }
    city
}

fn promise(city: &TestCity, table: Table, now: DateTime<Utc>) -> Promise {
    let mut all = promises(&city.world.settings, now).into_iter();
    all.find(|one| one.dataset.as_str() == table.dataset_name())
        .unwrap()
}

/// The number of days of a dataset in a state, by the metric as scraped at `now`.
async fn metric(city: &TestCity, table: Table, state: State, now: DateTime<Utc>) -> u64 {
    let settings = &city.world.settings;
    let metrics = Metrics::new(settings.datasets.iter().map(|one| &one.dataset.name));
    let promises = promises(settings, now);
    let durable = Durable::read(&city.world.ledger, "host:1:test", promises, now).await;
    let zones = settings.datasets.iter();
    let zones: Vec<_> = zones
        .map(|one| (one.dataset.name.clone(), one.dataset.zone))
        .collect();
    metrics.refresh(Some(&durable.unwrap()), &zones);
    let name = table.dataset_name();
    let series = format!("sodalake_days{{dataset=\"{name}\",state=\"{state}\"}} ");
    let text = metrics.text().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value
        .unwrap_or_else(|| panic!("no {series}"))
        .parse()
        .unwrap()
}

/// The status page's headline at `now`.
async fn headline(city: &TestCity, now: DateTime<Utc>) -> String {
    let mut datasets = Vec::new();
    for one in &city.world.settings.datasets {
        let days = city.world.ledger.days(Some(&one.dataset.name), None).await;
        let promise = one.promise(now);
        datasets.push(DatasetDays::of(&one.dataset, days.unwrap(), &promise));
    }
    let activity = Snapshot::default();
    let page = pages::overview(&Overview {
        now,
        zone: chrono_tz::America::Chicago,
        mode: Mode::Observe,
        activity: &activity,
        datasets,
    });
    let page = page.into_string();
    let (_, heading) = page.split_once("<h1").unwrap();
    let (heading, _) = heading.split_once("</h1>").unwrap();
    let plain = heading
        .rsplit_once("</i>")
        .map_or(heading, |(_, text)| text);
    plain.rsplit('>').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_dataset_is_unknown_and_the_others_keep_their_states() {
    let city = city().await;
    let now = city.world.clock.now();
    assert_eq!(metric(&city, REFUSED, State::Unknown, now).await, SETTLED);
    for table in Table::ALL.into_iter().filter(|table| *table != REFUSED) {
        assert_eq!(metric(&city, table, State::Unknown, now).await, 0);
        assert_eq!(metric(&city, table, State::InSync, now).await, SETTLED);
    }
    let said = headline(&city, now).await;
    assert_eq!(
        said,
        "As far as is known, yes: 12 days match the lake. 3 days were never checked, or not recently."
    );

    // One of its days is checked by hand, without success.
    let report = city.check(REFUSED, lately(), Depth::Keys).await;
    assert_eq!(report.state, State::Unproven);
    assert_eq!(
        metric(&city, REFUSED, State::Unknown, now).await,
        SETTLED - 1
    );
    assert_eq!(
        headline(&city, now).await,
        "Partly unproven: 1 day could not be read reliably, 12 others match the \
         lake. 2 days were never checked, or not recently."
    );

    let digest = Digest::read(&city.world, lately(), now).await.unwrap();
    let of_it = &digest.days[&promise(&city, REFUSED, now).dataset];
    assert_eq!(of_it["unknown"], SETTLED - 1);
    assert!(digest.text.contains("2 unknown"), "{}", digest.text);

    let ran = run(&city, "status").await;
    assert!(
        ran.out.contains("radar-counts  1 unproven, 2 unknown"),
        "{}",
        ran.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_sync_is_unknown_after_two_missed_runs() {
    let city = city().await;
    let (table, now) = (Table::CameraCounts, city.world.clock.now());
    assert_eq!(metric(&city, table, State::Unknown, now).await, 0);
    // The check is due daily, the audit weekly. After three days one of the days is still in the
    // window, which then has two days that were never checked.
    let later = now + TimeDelta::days(2) + TimeDelta::hours(1);
    assert_eq!(metric(&city, table, State::Unknown, later).await, SETTLED);
    assert_eq!(
        metric(&city, table, State::InSync, later).await,
        SETTLED - 1
    );
    let later = now + TimeDelta::days(30);
    assert_eq!(
        metric(&city, table, State::Unknown, later).await,
        2 * SETTLED
    );
    assert_eq!(metric(&city, table, State::InSync, later).await, 0);
    let said = headline(&city, later).await;
    assert!(said.starts_with("Not known yet"), "{said}");
    // What was found wrong stays known.
    let name = promise(&city, table, now).dataset;
    let mut wrong = city
        .world
        .ledger
        .day(&name, lately())
        .await
        .unwrap()
        .unwrap();
    wrong.state = State::Differs.to_string();
    assert!(!promise(&city, table, later).is_stale(&wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledgers_totals_match_the_judgement_of_each_record() {
    let city = city().await;
    let ledger = &city.world.ledger;
    let name = promise(&city, Table::CameraCounts, Utc::now()).dataset;
    let mut record = ledger.day(&name, lately()).await.unwrap().unwrap();
    for (back, state) in [
        (400, State::InSync),
        (401, State::Unsettled),
        (402, State::Differs),
        (1, State::Unsettled),
        (3, State::Unsettled),
        (2, State::InSync),
    ] {
        record.day = lately().plus(5 - back);
        record.state = state.to_string();
        ledger
            .set_day(&record, sodalake::ledger::Tell::Nothing)
            .await
            .unwrap();
    }
    let now = city.world.clock.now();
    for hours in [0, 30, 50, 100, 200, 400, 9_000] {
        let promise = promise(&city, Table::CameraCounts, now + TimeDelta::hours(hours));
        let records = ledger.days(Some(&name), None).await.unwrap();
        let stale = records.iter().filter(|one| promise.is_stale(one)).count() as u64;
        let standing = ledger
            .standing(std::slice::from_ref(&promise))
            .await
            .unwrap();
        let by_state = promise.days_by_state(&standing);
        let unknown = by_state.get("unknown").copied().unwrap_or(0);
        assert_eq!(unknown, stale + promise.never_checked(&records), "{hours}");
        let total: u64 = by_state.values().sum();
        assert_eq!(
            total,
            records.len() as u64 + promise.never_checked(&records)
        );
    }
}
