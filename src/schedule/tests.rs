use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::*;

const ZONES: [Tz; 8] = [
    chrono_tz::America::Chicago,
    chrono_tz::America::Santiago,
    chrono_tz::Europe::Berlin,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Africa::Casablanca,
    chrono_tz::Asia::Tehran,
    chrono_tz::Asia::Kolkata,
    chrono_tz::UTC,
];

const TEXTS: [&str; 12] = [
    "0 */30 * * * *",
    "0 0 10 * * *",
    "0 0 3 * * SUN",
    "0 30 2 * * *",
    "0 0 2 * * *",
    "30 15 1 * * *",
    "0 0 0 * * *",
    "59 59 23 * * *",
    "0 45 0 * * *",
    "0 15,45 1-2 * * *",
    "*/20 * 2 * * *",
    "0 30 2 1-14 3,11 SUN",
];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn start_of(year: i32) -> DateTime<Utc> {
    let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
    first.and_hms_opt(0, 0, 0).unwrap().and_utc()
}

fn cron(text: &str, zone: Tz) -> Cron {
    Cron::new(text, zone).unwrap()
}

/// Every change of a zone's offset from 2010 to 2030, found by testing every quarter of an hour.
fn changes(zone: Tz) -> Vec<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| at.with_timezone(&zone).offset().fix();
    let mut changes = Vec::new();
    let (mut now, end) = (start_of(2010), start_of(2030));
    while now < end {
        let next = now + TimeDelta::minutes(15);
        if offset(now) != offset(next) {
            changes.push(next);
        }
        now = next;
    }
    changes
}

/// Every run in a period, found by testing each second against the definition.
fn by_definition(cron: &Cron, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let wall = |at: DateTime<Utc>| at.with_timezone(&cron.zone).naive_local();
    let named = |wall: chrono::NaiveDateTime| cron.cron.is_time_matching(&wall.and_utc()).unwrap();
    let fixed = cron.is_fixed();
    let (mut runs, mut now) = (Vec::new(), from);
    let mut before = wall(now - TimeDelta::seconds(1));
    while now <= to {
        let here = wall(now);
        let skipped = (here - before).num_seconds() - 1;
        let in_gap = fixed && (1..=skipped).any(|past| named(before + TimeDelta::seconds(past)));
        if in_gap || (named(here) && !(fixed && cron.is_second_pass(now))) {
            runs.push(now);
        }
        before = here;
        now += TimeDelta::seconds(1);
    }
    runs
}

fn by_after(cron: &Cron, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let first = cron.after(from - TimeDelta::seconds(1));
    std::iter::successors(first, |run| cron.after(*run))
        .take_while(|run| *run <= to)
        .collect()
}

#[test]
fn around_every_offset_change_of_twenty_years_the_runs_match_the_definition() {
    let mut compared = 0;
    for zone in ZONES {
        for change in changes(zone) {
            // The expressions take turns, and every zone begins with a different one.
            let cron = cron(TEXTS[compared % TEXTS.len()], zone);
            let (from, to) = (change - TimeDelta::hours(2), change + TimeDelta::hours(2));
            let (found, want) = (by_after(&cron, from, to), by_definition(&cron, from, to));
            let text = TEXTS[compared % TEXTS.len()];
            assert_eq!(found, want, "{text} in {zone} around {change}");
            compared += 1;
        }
        compared += 1;
    }
    assert!(compared > 200, "only {compared} changes were compared");
}

#[test]
fn a_time_of_day_runs_once_on_every_day_of_twenty_years() {
    for zone in ZONES {
        for text in [
            "0 30 2 * * *",
            "0 0 0 * * *",
            "30 15 1 * * *",
            "0 45 23 * * *",
        ] {
            let cron = cron(text, zone);
            let mut days = BTreeMap::new();
            for run in by_after(&cron, start_of(2010), start_of(2030)) {
                let day = run.with_timezone(&zone).date_naive();
                *days.entry(day).or_insert(0) += 1;
            }
            let day = |days: Option<(&NaiveDate, &i32)>| *days.unwrap().0;
            let (first, last) = (day(days.first_key_value()), day(days.last_key_value()));
            let span = usize::try_from((last - first).num_days()).unwrap() + 1;
            assert_eq!(days.len(), span, "{text} in {zone} skips a day");
            assert!(days.values().all(|runs| *runs == 1), "{text} in {zone}");
            assert!(span > 7_300);
        }
    }
}

#[test]
fn a_time_in_a_skipped_hour_runs_at_its_end_and_one_in_a_repeated_hour_runs_once() {
    let chicago = chrono_tz::America::Chicago;
    let half_past_two = cron("0 30 2 * * *", chicago);
    let run = half_past_two.after(at("2021-03-14T06:00:00Z"));
    assert_eq!(run, Some(at("2021-03-14T08:00:00Z")), "03:00 CDT");

    let half_past_one = cron("0 30 1 * * *", chicago);
    let first = half_past_one.after(at("2021-11-07T05:00:00Z")).unwrap();
    assert_eq!(first, at("2021-11-07T06:30:00Z"), "01:30 CDT");
    // The same within the second pass: the next run is tomorrow's.
    for from in [first, at("2021-11-07T07:10:00Z")] {
        assert_eq!(half_past_one.after(from), Some(at("2021-11-08T07:30:00Z")));
    }

    let every_half_hour = cron("0 */30 * * * *", chicago);
    let runs = by_after(
        &every_half_hour,
        at("2021-11-07T06:00:00Z"),
        at("2021-11-07T08:00:00Z"),
    );
    assert_eq!(runs.len(), 5, "both passes, half an hour apart: {runs:?}");
}

#[test]
fn the_next_run_is_always_in_the_future() {
    for zone in ZONES {
        for text in TEXTS {
            let cron = cron(text, zone);
            for change in changes(zone).into_iter().step_by(7) {
                for minutes in (-130..130).step_by(13) {
                    let now = change + TimeDelta::minutes(minutes) + TimeDelta::milliseconds(250);
                    let next = cron.after(now).unwrap();
                    assert!(next > now, "{text} in {zone} after {now}: {next}");
                }
            }
        }
    }
}

#[test]
fn several_missed_runs_count_as_one_the_latest() {
    let chicago = chrono_tz::America::Chicago;
    let now = at("2021-03-14T20:00:10Z");
    for (text, want) in [
        ("* * * * * *", Some("2021-03-14T20:00:10Z")),
        ("0 */30 * * * *", Some("2021-03-14T20:00:00Z")),
        ("0 30 2 * * *", Some("2021-03-14T08:00:00Z")),
        ("0 0 3 1 1 *", Some("2021-01-01T09:00:00Z")),
    ] {
        let cron = cron(text, chicago);
        let found = cron.latest(at("2019-06-01T00:00:00Z"), now);
        assert_eq!(found, want.map(at), "{text}");
        assert_eq!(cron.latest(found.unwrap(), now), None, "{text} is due once");
    }
    let leap = cron("0 0 0 29 2 *", chicago);
    assert_eq!(
        leap.latest(at("2016-01-01T00:00:00Z"), now),
        Some(at("2020-02-29T06:00:00Z"))
    );
}

#[test]
fn a_text_that_is_not_cron_or_never_occurs_is_refused() {
    for text in [
        ", 0 10 * * *",
        "0 1, 10 * * *",
        "0 0 1,,2 * * *",
        "* * * * *",
        "0 0 25 * * *",
        "",
        "@yearly x",
        "0 0 0 30 2 *",
    ] {
        assert!(Cron::new(text, chrono_tz::UTC).is_err(), "{text}");
    }
}

#[test]
fn each_dataset_always_starts_at_its_own_offset() {
    let max = Duration::from_secs(30);
    let of = |name: &str, schedule| jitter(&name.parse().unwrap(), schedule, max);
    let names = ["camera-counts", "bluetooth-summary", "radar-counts"];
    let all: Vec<Duration> = (names.iter())
        .flat_map(|name| Schedule::ALL.map(|schedule| of(name, schedule)))
        .collect();
    let apart: std::collections::BTreeSet<&Duration> = all.iter().collect();
    assert_eq!(apart.len(), all.len());
    assert!(all.iter().all(|wait| *wait <= max));
    assert_eq!(of(names[0], Schedule::Check), of(names[0], Schedule::Check));
}

#[test]
fn hours_open_at_their_first_instant_even_if_the_clock_skips_it() {
    let chicago = chrono_tz::America::Chicago;
    let hours = |from: &str, to: &str| Hours {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    };
    let day = hours("10:30:00", "23:00:00");
    for (from, opens) in [
        ("2020-10-16T15:29:59Z", "2020-10-16T15:30:00Z"),
        ("2020-10-16T15:30:00Z", "2020-10-16T15:30:00Z"),
        ("2020-10-17T03:59:59Z", "2020-10-17T03:59:59Z"),
        ("2020-10-17T04:00:00Z", "2020-10-17T15:30:00Z"),
    ] {
        assert_eq!(opening(day, chicago, at(from)), at(opens), "{from}");
    }
    let night = hours("02:30:00", "02:45:00");
    assert_eq!(
        opening(night, chicago, at("2021-03-14T06:00:00Z")),
        at("2021-03-14T08:00:00Z")
    );
}
