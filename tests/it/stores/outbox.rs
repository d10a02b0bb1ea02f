//! What the ledger keeps for people: changes of state and whether they were told, evidence,
//! corrections, and the sums that gauges are made of.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::{
    Approval, DayRecord, HeldDays, Ledger, PassKind, PassRecord, Tell, VERIFIED,
};
use uuid::Uuid;

use super::{Place, at, on_both};

const NOON: &str = "2020-10-03T12:00:00Z";

async fn open(place: &Place) -> Ledger {
    Ledger::open(&place.ledger()).await.unwrap()
}

fn record(state: &str, when: DateTime<Utc>) -> DayRecord {
    DayRecord {
        dataset: "camera-counts".parse().unwrap(),
        day: "2020-10-01".parse().unwrap(),
        state: state.into(),
        since: when,
        looked_at: when,
        why: Some("over a limit".into()),
        cause: None,
        counts: json!({}),
        fingerprint: None,
        digest: Some("d1".into()),
        expected: Some(3),
        published: Some(6),
        guards: Vec::new(),
        open_since: matches!(state, "differs" | "held").then_some(when),
        pass: None,
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

on_both!(
    a_change_of_state_is_told_once_and_only_if_somebody_waits_for_it,
    a_failed_service_is_no_change_of_a_days_state,
    a_change_that_could_not_be_told_comes_again_when_it_is_due,
    a_day_is_open_from_its_first_difference_to_its_last,
    held_days_are_summed_up_by_guards_and_approvals,
    evidence_is_kept_and_replaced,
    corrections_are_passes_that_changed_something,
    a_digest_is_told_once_a_day,
);

async fn untold(ledger: &Ledger, now: DateTime<Utc>) -> Vec<(String, String)> {
    let changes = ledger.untold(now, 100).await.unwrap().into_iter();
    changes.map(|change| (change.was, change.state)).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(was, state)| ((*was).to_owned(), (*state).to_owned()))
        .collect()
}

async fn a_change_of_state_is_told_once_and_only_if_somebody_waits_for_it(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    for state in ["unsettled", "in-step", "in-step", "known-lost", "in-step"] {
        ledger
            .set_day(&record(state, now), Tell::Change)
            .await
            .unwrap();
    }
    assert!(untold(&ledger, now).await.is_empty(), "all is quiet");
    for state in ["differs", "differs", "held", "in-step", "in-step"] {
        ledger
            .set_day(&record(state, now), Tell::Change)
            .await
            .unwrap();
    }
    let mended = DayRecord {
        pass: Some(Uuid::now_v7()),
        ..record("in-step", now)
    };
    ledger.set_day(&mended, Tell::Change).await.unwrap();
    let wanted = pairs(&[
        ("in-step", "differs"),
        ("differs", "held"),
        ("held", "in-step"),
        ("in-step", "in-step"),
    ]);
    assert_eq!(untold(&ledger, now).await, wanted, "the last one by a pass");
    let first = ledger.untold(now, 1).await.unwrap().remove(0);
    assert_eq!(first.digest.as_deref(), Some("d1"));
    ledger.told(first.number, now).await.unwrap();
    drop(ledger);
    let again = open(&place).await;
    assert_eq!(untold(&again, now).await, wanted[1..]);
    let all = again.changes(&first.dataset, first.day).await.unwrap();
    assert_eq!(all.len(), wanted.len());
    assert_eq!(all[0].told_at, Some(now));
    assert_eq!(all[3].pass, mended.pass);
}

async fn a_failed_service_is_no_change_of_a_days_state(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    ledger
        .set_day(&record("differs", now), Tell::Change)
        .await
        .unwrap();
    ledger
        .set_day(&record("unproven", now), Tell::Nothing)
        .await
        .unwrap();
    ledger
        .set_day(&record("differs", now), Tell::Change)
        .await
        .unwrap();
    assert_eq!(untold(&ledger, now).await, pairs(&[("in-step", "differs")]));
    let day = ledger.days(None, None).await.unwrap().remove(0);
    assert_eq!(day.state, "differs");
}

async fn a_change_that_could_not_be_told_comes_again_when_it_is_due(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    ledger
        .set_day(&record("held", now), Tell::Change)
        .await
        .unwrap();
    let change = ledger.untold(now, 9).await.unwrap().remove(0);
    ledger
        .tell_later(change.number, now + minutes(5))
        .await
        .unwrap();
    assert!(ledger.untold(now + minutes(4), 9).await.unwrap().is_empty());
    let due = ledger.untold(now + minutes(5), 9).await.unwrap();
    assert_eq!((due[0].number, due[0].tries), (change.number, 1));
}

async fn a_day_is_open_from_its_first_difference_to_its_last(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let (name, day) = (record("x", now).dataset, record("x", now).day);
    for (index, (state, open_since)) in [
        ("unproven", None),
        ("differs", Some(1)),
        ("held", Some(1)),
        ("unproven", Some(1)),
        ("differs", Some(1)),
        ("in-step", None),
        ("differs", Some(6)),
    ]
    .into_iter()
    .enumerate()
    {
        let when = now + minutes(index as u64);
        ledger
            .set_day(&record(state, when), Tell::Change)
            .await
            .unwrap();
        let found = ledger.day(&name, day).await.unwrap().unwrap();
        let wanted = open_since.map(|since| now + minutes(since));
        assert_eq!(found.open_since, wanted, "{index} {state}");
    }
    let standing = ledger.standing().await.unwrap();
    assert_eq!(standing.len(), 1);
    let one = &standing[0];
    assert_eq!((one.state.as_str(), one.days), ("differs", 1));
    assert_eq!(one.looked_at, now + minutes(6));
    assert_eq!(one.open_since, Some(now + minutes(6)));
    assert_eq!(one.newest_published, Some(day));
}

async fn held_days_are_summed_up_by_guards_and_approvals(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let guards = vec!["purge-rows".to_owned(), "breaker".to_owned()];
    for (day, digest) in [
        ("2020-10-01", "d1"),
        ("2020-10-02", "d2"),
        ("2020-10-03", "d3"),
    ] {
        let held = DayRecord {
            day: day.parse().unwrap(),
            guards: guards.clone(),
            digest: Some(digest.into()),
            ..record("held", now)
        };
        ledger.set_day(&held, Tell::Change).await.unwrap();
    }
    let approval = Approval {
        digest: "d2".into(),
        at: now,
        by: "a person".into(),
        reason: "seen".into(),
        used_at: None,
    };
    ledger.approve(&approval).await.unwrap();
    let sum = |approved, days| HeldDays {
        dataset: record("held", now).dataset,
        guards: guards.clone(),
        approved,
        days,
    };
    assert_eq!(ledger.held().await.unwrap(), [sum(false, 2), sum(true, 1)]);
    ledger.use_approval("d2", now).await.unwrap();
    assert_eq!(ledger.held().await.unwrap(), [sum(false, 3)]);
}

async fn evidence_is_kept_and_replaced(place: Place) {
    let ledger = open(&place).await;
    let one = record("differs", at(NOON));
    let kept = ledger.evidence(&one.dataset, one.day).await.unwrap();
    assert_eq!(kept, None);
    for evidence in [json!({"samples": [1]}), json!({"odd": "a\u{1}<b>'\""})] {
        ledger
            .set_evidence(&one.dataset, one.day, &evidence)
            .await
            .unwrap();
        let kept = ledger.evidence(&one.dataset, one.day).await.unwrap();
        assert_eq!(kept, Some(evidence));
    }
}

async fn corrections_are_passes_that_changed_something(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let dataset = record("x", now).dataset;
    let begin = |kind, minute: u64| PassRecord {
        id: Uuid::now_v7(),
        dataset: dataset.clone(),
        day: "2020-10-01".parse().unwrap(),
        kind,
        started_at: now + minutes(minute),
        digest: "d".into(),
        summary: json!({"cause": "40 rows are twins", "published": 80}),
        end: None,
    };
    let (mended, idle, died) = (
        begin(PassKind::Repair, 0),
        begin(PassKind::Repair, 1),
        begin(PassKind::Rewrite, 2),
    );
    for pass in [&mended, &idle, &died] {
        ledger.begin_pass(pass).await.unwrap();
    }
    let seen = json!({"published": 40});
    ledger
        .journal(mended.id, now, VERIFIED, &seen)
        .await
        .unwrap();
    ledger
        .end_pass(mended.id, now + minutes(5), "in-step", 40, 0, 1)
        .await
        .unwrap();
    ledger
        .end_pass(idle.id, now + minutes(6), "differs", 0, 0, 9)
        .await
        .unwrap();
    let purging = json!({"purged": 7});
    ledger
        .journal(died.id, now, "purging", &purging)
        .await
        .unwrap();
    ledger
        .end_pass(died.id, now + minutes(7), "interrupted", 0, 0, 0)
        .await
        .unwrap();

    let found = ledger.corrections(None, None, 100).await.unwrap();
    let told: Vec<_> = (found.iter())
        .map(|one| (one.pass, one.rows, one.before, one.after))
        .collect();
    let wanted = [
        (died.id, 7, Some(80), None),
        (mended.id, 40, Some(80), Some(40)),
    ];
    assert_eq!(told, wanted, "the newest first");
    assert_eq!(found[1].reason, "40 rows are twins");
    assert_eq!(ledger.corrections(None, None, 1).await.unwrap(), found[..1]);
    let other = "radar-counts".parse().unwrap();
    let none = ledger.corrections(Some(&other), None, 100).await.unwrap();
    assert!(none.is_empty());
}

async fn a_digest_is_told_once_a_day(place: Place) {
    let ledger = open(&place).await;
    let day = record("x", at(NOON)).day;
    assert!(!ledger.digest_told(day).await.unwrap());
    ledger.tell_digest(day, at(NOON)).await.unwrap();
    ledger.tell_digest(day, at(NOON)).await.unwrap();
    assert!(ledger.digest_told(day).await.unwrap());
    assert!(!ledger.digest_told(day.next()).await.unwrap());
}
