//! What the ledger keeps for people: changes of state and whether they were notified, evidence,
//! corrections, and the totals behind the gauges.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::{
    Approval, DayRecord, HeldDays, Ledger, PassKind, PassRecord, Pause, Promise, Tell, Untold,
    VERIFIED,
};
use sodalake::model::DayRange;
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
        checked_at: when,
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
        drafted: None,
        compared: sodalake::ledger::Compared::default(),
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

on_both!(
    a_change_of_state_is_notified_once_and_only_if_requested,
    a_failed_service_is_no_change_of_a_days_state,
    an_undelivered_change_is_due_again_later,
    a_message_counts_as_known_if_it_was_sent_and_not_refused,
    a_pause_is_kept_until_it_is_ended_or_long_expired,
    a_day_is_open_from_its_first_difference_to_its_last,
    days_without_a_recent_check_are_counted_as_unknown,
    held_days_are_counted_by_guard_and_approval,
    evidence_is_kept_and_replaced,
    corrections_are_passes_that_changed_something,
    a_digest_is_sent_once_a_day,
);

async fn untold(ledger: &Ledger, now: DateTime<Utc>) -> Vec<(String, String)> {
    let untold = ledger.untold(now, 100).await.unwrap().into_iter();
    let changes = untold.map(|untold| untold.change);
    changes.map(|change| (change.was, change.state)).collect()
}

async fn recorded(ledger: &Ledger) -> Vec<(String, String)> {
    let DayRecord { dataset, day, .. } = record("x", at(NOON));
    let changes = ledger.changes(&dataset, day).await.unwrap().into_iter();
    changes.map(|change| (change.was, change.state)).collect()
}

/// Sets the state of the day. Returns the one message that is now due.
async fn becomes(ledger: &Ledger, state: &str) -> Untold {
    let now = at(NOON);
    let record = record(state, now);
    ledger.set_day(&record, Tell::Change).await.unwrap();
    let mut untold = ledger.untold(now, 9).await.unwrap();
    assert_eq!(untold.len(), 1, "one day, one message");
    untold.remove(0)
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(was, state)| ((*was).to_owned(), (*state).to_owned()))
        .collect()
}

async fn a_change_of_state_is_notified_once_and_only_if_requested(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    for state in ["unsettled", "in-sync", "in-sync", "known-lost", "in-sync"] {
        ledger
            .set_day(&record(state, now), Tell::Change)
            .await
            .unwrap();
    }
    assert!(untold(&ledger, now).await.is_empty(), "all is quiet");
    for state in ["differs", "differs", "held", "in-sync", "in-sync"] {
        ledger
            .set_day(&record(state, now), Tell::Change)
            .await
            .unwrap();
    }
    let repaired = DayRecord {
        pass: Some(Uuid::now_v7()),
        ..record("in-sync", now)
    };
    ledger.set_day(&repaired, Tell::Change).await.unwrap();
    let wanted = pairs(&[
        ("in-sync", "differs"),
        ("differs", "held"),
        ("held", "in-sync"),
        ("in-sync", "in-sync"),
    ]);
    assert_eq!(recorded(&ledger).await, wanted, "the last one by a pass");
    drop(ledger);
    let again = open(&place).await;
    assert_eq!(untold(&again, now).await, wanted[3..], "the present state");
    let last = again.untold(now, 1).await.unwrap().remove(0).change;
    assert_eq!(last.digest.as_deref(), Some("d1"));
    assert_eq!(last.pass, repaired.pass);
    assert_eq!(again.told(&last, now).await.unwrap(), 3, "are outdated");
    assert!(untold(&again, now).await.is_empty());
    let all = again.changes(&last.dataset, last.day).await.unwrap();
    assert!(all.iter().all(|change| change.told_at == Some(now)));
    let tries: Vec<u64> = all.iter().map(|change| change.tries).collect();
    assert_eq!(tries, [0, 0, 0, 1]);
}

async fn a_message_counts_as_known_if_it_was_sent_and_not_refused(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let first = becomes(&ledger, "differs").await;
    assert_eq!(first.notified, "in-sync");
    // It is sent and refused: nobody was notified.
    ledger.begin_telling(&first.change).await.unwrap();
    ledger
        .tell_later(&first.change, now, Some(&first.notified))
        .await
        .unwrap();
    // It is sent and not answered: it may have arrived, so it is sent again unchanged.
    let again = becomes(&ledger, "differs").await;
    assert_eq!(
        (&again.notified, &again.change.was),
        (&first.notified, &first.change.was)
    );
    assert_eq!(again.change.tries, 1);
    ledger.begin_telling(&again.change).await.unwrap();
    ledger.tell_later(&again.change, now, None).await.unwrap();
    let third = becomes(&ledger, "differs").await;
    assert_eq!(
        (&*third.notified, &*third.change.was),
        ("differs", "in-sync")
    );

    let held = becomes(&ledger, "held").await;
    assert_eq!((&*held.notified, &*held.change.was), ("differs", "differs"));
    assert_eq!(
        ledger.told(&held.change, now).await.unwrap(),
        1,
        "is outdated"
    );
    // A quiet state counts as notified only after its message was accepted.
    let over = becomes(&ledger, "in-sync").await;
    ledger.begin_telling(&over.change).await.unwrap();
    drop(ledger);
    let ledger = open(&place).await;
    let over = ledger.untold(now, 9).await.unwrap().remove(0);
    assert_eq!((&*over.notified, &*over.change.was), ("held", "held"));
    assert_eq!(ledger.drop_change(&over.change, now).await.unwrap(), 1);
    let back = becomes(&ledger, "differs").await;
    assert_eq!(
        back.notified, "held",
        "a dropped message is known to nobody"
    );
}

async fn a_pause_is_kept_until_it_is_ended_or_long_expired(place: Place) {
    let ledger = open(&place).await;
    let pause = |minute, failures| Pause {
        until: at(NOON) + minutes(minute),
        failures,
    };
    assert_eq!(ledger.pause("webhook/1").await.unwrap(), None);
    for (minute, failures) in [(1, 1), (3, 2)] {
        let pause = pause(minute, failures);
        ledger.set_pause("webhook/1", pause).await.unwrap();
        ledger.set_pause("webhook/2", pause).await.unwrap();
    }
    let ledger = {
        drop(ledger);
        open(&place).await
    };
    assert_eq!(ledger.pause("webhook/1").await.unwrap(), Some(pause(3, 2)));
    ledger.end_pause("webhook/1").await.unwrap();
    assert_eq!(ledger.pause("webhook/1").await.unwrap(), None);
    assert_eq!(ledger.prune(at(NOON)).await.unwrap(), 0);
    assert_eq!(ledger.prune(at(NOON) + minutes(4)).await.unwrap(), 1);
    assert_eq!(ledger.pause("webhook/2").await.unwrap(), None);
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
    assert_eq!(untold(&ledger, now).await, pairs(&[("in-sync", "differs")]));
    let day = ledger.days(None, None).await.unwrap().remove(0);
    assert_eq!(day.state, "differs");
}

async fn an_undelivered_change_is_due_again_later(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    ledger
        .set_day(&record("held", now), Tell::Change)
        .await
        .unwrap();
    let change = ledger.untold(now, 9).await.unwrap().remove(0).change;
    ledger
        .tell_later(&change, now + minutes(5), None)
        .await
        .unwrap();
    assert!(ledger.untold(now + minutes(4), 9).await.unwrap().is_empty());
    let due = ledger.untold(now + minutes(5), 9).await.unwrap();
    let due = &due[0].change;
    assert_eq!((due.number, due.tries), (change.number, 1));
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
        ("in-sync", None),
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
    let promise = Promise {
        dataset: name,
        window: DayRange::one(day),
        checked_since: now,
        audited_since: now,
    };
    let standing = ledger.standing(&[promise]).await.unwrap();
    assert_eq!(standing.len(), 1);
    let one = &standing[0];
    assert_eq!((one.state.as_str(), one.days), ("differs", 1));
    assert_eq!(one.checked_at, now + minutes(6));
    assert_eq!(one.open_since, Some(now + minutes(6)));
    assert_eq!(one.newest_published, Some(day));
}

async fn days_without_a_recent_check_are_counted_as_unknown(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let day = |text: &str| text.parse().unwrap();
    for (date, state, hours) in [
        ("2020-10-01", "in-sync", 1),
        ("2020-09-30", "in-sync", 30),
        ("2020-09-29", "differs", 900),
        ("2020-09-28", "unsettled", 1),
        ("2020-10-02", "unsettled", 1),
        ("2020-08-01", "in-sync", 30),
        ("2020-08-02", "in-sync", 900),
    ] {
        let mut record = record(state, now - minutes(60 * hours));
        record.day = day(date);
        ledger.set_day(&record, Tell::Nothing).await.unwrap();
    }
    let promise = Promise {
        dataset: record("x", now).dataset,
        window: DayRange {
            from: day("2020-09-26"),
            to: day("2020-10-02"),
        },
        checked_since: now - minutes(60 * 24),
        audited_since: now - minutes(60 * 200),
    };
    let standing = ledger.standing(std::slice::from_ref(&promise)).await;
    let by_state = promise.days_by_state(&standing.unwrap());
    let by_state: Vec<(&str, u64)> = by_state
        .iter()
        .map(|(s, days)| (s.as_str(), *days))
        .collect();
    // Stale: 09-30, 09-28 and 08-02. Never checked: 09-26 and 09-27.
    let expected = [
        ("differs", 1),
        ("in-sync", 2),
        ("unknown", 5),
        ("unsettled", 1),
    ];
    assert_eq!(by_state, expected);
}

async fn held_days_are_counted_by_guard_and_approval(place: Place) {
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
        summary: json!({"cause": "40 rows are duplicates", "published": 80}),
        end: None,
    };
    let (repaired, idle, died) = (
        begin(PassKind::Repair, 0),
        begin(PassKind::Repair, 1),
        begin(PassKind::Rewrite, 2),
    );
    for pass in [&repaired, &idle, &died] {
        ledger.begin_pass(pass).await.unwrap();
    }
    let seen = json!({"published": 40});
    ledger
        .journal(repaired.id, now, VERIFIED, &seen)
        .await
        .unwrap();
    ledger
        .end_pass(repaired.id, now + minutes(5), "in-sync", 40, 0, 1)
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
    let listed: Vec<_> = (found.iter())
        .map(|one| (one.pass, one.rows, one.before, one.after))
        .collect();
    let wanted = [
        (died.id, 7, Some(80), None),
        (repaired.id, 40, Some(80), Some(40)),
    ];
    assert_eq!(listed, wanted, "the newest first");
    assert_eq!(found[1].reason, "40 rows are duplicates");
    assert_eq!(ledger.corrections(None, None, 1).await.unwrap(), found[..1]);
    let other = "radar-counts".parse().unwrap();
    let none = ledger.corrections(Some(&other), None, 100).await.unwrap();
    assert!(none.is_empty());
}

async fn a_digest_is_sent_once_a_day(place: Place) {
    let ledger = open(&place).await;
    let day = record("x", at(NOON)).day;
    assert!(!ledger.digest_told(day).await.unwrap());
    ledger.tell_digest(day, at(NOON)).await.unwrap();
    ledger.tell_digest(day, at(NOON)).await.unwrap();
    assert!(ledger.digest_told(day).await.unwrap());
    assert!(!ledger.digest_told(day.next()).await.unwrap());
}
