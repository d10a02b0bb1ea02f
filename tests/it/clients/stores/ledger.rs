//! The ledger: leases, days, marks, approvals, and how it is opened.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::{
    Act, Approval, DayRecord, Held, LeaseAnswer, Ledger, Mark, MarkKind, Tell, Usual,
};
use sodalake::model::{DatasetName, Day, DayRange, RowKey};

use super::{Place, at, on_both};
use crate::support::postgres;

pub(super) const NOON: &str = "2020-10-03T12:00:00Z";

pub(super) async fn open(place: &Place) -> Ledger {
    Ledger::open(&place.ledger()).await.unwrap()
}

pub(super) fn name(text: &str) -> DatasetName {
    text.parse().unwrap()
}

pub(super) fn day(text: &str) -> Day {
    text.parse().unwrap()
}

pub(super) fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

on_both!(
    a_lease_has_one_holder,
    one_of_many_competitors_gets_the_lease,
    an_expired_lease_is_taken_over_with_a_higher_fence,
    a_lease_is_ended_for_its_holder_unless_it_was_renewed,
    the_server_has_a_clock_and_a_file_has_none,
    a_day_keeps_its_since_while_its_state_stays,
    a_difference_is_identified_by_its_digest,
    marks_and_acts_are_kept,
    an_approval_is_used_once,
    usual_sizes_and_misdated_rows_are_kept,
    many_can_open_the_ledger_concurrently_and_repeatedly,
    a_ledger_of_a_newer_program_is_refused,
);

fn fence(answer: &LeaseAnswer) -> Option<u64> {
    match answer {
        LeaseAnswer::Granted { fence, .. } => Some(*fence),
        LeaseAnswer::HeldBy(_) => None,
    }
}

async fn a_lease_has_one_holder(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let first = ledger.lease("camera-counts", "a", now, minutes(5)).await;
    assert_eq!(fence(&first.unwrap()), Some(1));
    let other = ledger.lease("camera-counts", "b", now, minutes(5)).await;
    let held = LeaseAnswer::HeldBy(Held {
        holder: "a".into(),
        since: Some(now),
        until: now + minutes(5),
        lasts: Some(minutes(5)),
    });
    assert_eq!(other.unwrap(), held);
    let elsewhere = ledger.lease("radar-counts", "b", now, minutes(5)).await;
    assert_eq!(fence(&elsewhere.unwrap()), Some(1));
    let renewed = ledger
        .lease("camera-counts", "a", now + minutes(4), minutes(5))
        .await;
    let until = now + minutes(9);
    assert_eq!(renewed.unwrap(), LeaseAnswer::Granted { fence: 1, until });
    ledger.release("camera-counts", "b").await.unwrap();
    let still = ledger
        .lease("camera-counts", "b", now, minutes(5))
        .await
        .unwrap();
    assert_eq!(fence(&still), None, "only the holder lets go");
    ledger.release("camera-counts", "a").await.unwrap();
    let next = ledger
        .lease("camera-counts", "b", now, minutes(5))
        .await
        .unwrap();
    assert_eq!(fence(&next), Some(2));
}

async fn a_lease_is_ended_for_its_holder_unless_it_was_renewed(place: Place) {
    let ledger = open(&place).await;
    let (now, later) = (at(NOON), at(NOON) + minutes(1));
    let seen = async |when| match ledger.lease("x", "b", when, minutes(5)).await.unwrap() {
        LeaseAnswer::HeldBy(held) => held,
        granted @ LeaseAnswer::Granted { .. } => panic!("{granted:?}"),
    };
    ledger.lease("x", "a", now, minutes(5)).await.unwrap();
    let before = seen(now).await;
    ledger.lease("x", "a", later, minutes(5)).await.unwrap();
    ledger.end_lease("x", &before).await.unwrap();
    let renewed = seen(later).await;
    assert_eq!(
        (renewed.since, renewed.until),
        (Some(now), later + minutes(5))
    );
    ledger.end_lease("x", &renewed).await.unwrap();
    let next = ledger.lease("x", "b", later, minutes(5)).await;
    assert_eq!(fence(&next.unwrap()), Some(2));
}

async fn the_server_has_a_clock_and_a_file_has_none(place: Place) {
    let ledger = open(&place).await;
    let time = ledger.time().await.unwrap();
    assert_eq!(time.is_some(), place.is_postgres());
    if let Some(time) = time {
        assert!((Utc::now() - time).num_minutes().abs() < 5, "{time}");
    }
}

async fn one_of_many_competitors_gets_the_lease(place: Place) {
    open(&place).await;
    for round in 0..5 {
        let racers = (0..6).map(|racer| {
            let settings = place.ledger();
            tokio::spawn(async move {
                let ledger = Ledger::open(&settings).await.unwrap();
                let holder = format!("racer-{racer}");
                let lease = format!("round-{round}");
                ledger
                    .lease(&lease, &holder, at(NOON), minutes(5))
                    .await
                    .unwrap()
            })
        });
        let answers = futures::future::join_all(racers.collect::<Vec<_>>()).await;
        let granted = answers
            .into_iter()
            .filter_map(|answer| fence(&answer.unwrap()));
        assert_eq!(granted.count(), 1);
    }
}

async fn an_expired_lease_is_taken_over_with_a_higher_fence(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    ledger.lease("x", "dead", now, minutes(5)).await.unwrap();
    let early = ledger.lease(
        "x",
        "b",
        now + minutes(5) - Duration::from_millis(1),
        minutes(5),
    );
    assert_eq!(fence(&early.await.unwrap()), None);
    let late = ledger
        .lease("x", "b", now + minutes(5), minutes(5))
        .await
        .unwrap();
    assert_eq!(fence(&late), Some(2));
    let back = ledger
        .lease("x", "dead", now + minutes(6), minutes(5))
        .await
        .unwrap();
    assert_eq!(
        fence(&back),
        None,
        "who lost it does not get it back by asking"
    );
}

fn record(dataset: &str, day_text: &str, state: &str, when: DateTime<Utc>) -> DayRecord {
    DayRecord {
        dataset: name(dataset),
        day: day(day_text),
        state: state.into(),
        since: when,
        checked_at: when,
        why: None,
        cause: Some("another publisher's spelling".into()),
        counts: json!({"duplicates": 40322}),
        fingerprint: Some("f".into()),
        digest: None,
        expected: Some(40322),
        published: Some(80644),
        guards: Vec::new(),
        open_since: None,
        pass: None,
        drafted: None,
        compared: sodalake::ledger::Compared::default(),
    }
}

async fn a_day_keeps_its_since_while_its_state_stays(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let first = record("camera-counts", "2020-10-01", "differs", now);
    ledger.set_day(&first, Tell::Change).await.unwrap();
    assert_eq!(
        ledger.day(&first.dataset, first.day).await.unwrap(),
        Some(first.clone())
    );
    let mut second = record("camera-counts", "2020-10-01", "differs", now + minutes(9));
    (second.digest, second.fingerprint) = (Some("d".into()), None);
    ledger.set_day(&second, Tell::Change).await.unwrap();
    second.since = now;
    assert_eq!(
        ledger.day(&first.dataset, first.day).await.unwrap(),
        Some(second)
    );
    let third = record("camera-counts", "2020-10-01", "held", now + minutes(10));
    ledger.set_day(&third, Tell::Change).await.unwrap();
    assert_eq!(
        ledger.day(&first.dataset, first.day).await.unwrap(),
        Some(third.clone())
    );

    let other = record("radar-counts", "2019-12-31", "in-sync", now);
    ledger.set_day(&other, Tell::Change).await.unwrap();
    let all = ledger.days(None, None).await.unwrap();
    assert_eq!(all, [third.clone(), other]);
    let range = DayRange {
        from: day("2020-09-01"),
        to: day("2020-10-01"),
    };
    assert!(ledger.days(None, Some(range)).await.unwrap().is_empty());
    let one = ledger
        .days(Some(&third.dataset), Some(DayRange::one(third.day)))
        .await;
    assert_eq!(one.unwrap(), [third]);
}

async fn a_difference_is_identified_by_its_digest(place: Place) {
    let ledger = open(&place).await;
    let (dataset, on, now) = (name("camera-counts"), day("2020-10-01"), at(NOON));
    let later = now + minutes(10);
    assert_eq!(
        ledger
            .record_sighting(&dataset, on, Some("x"), now)
            .await
            .unwrap(),
        Some(now)
    );
    assert_eq!(
        ledger
            .record_sighting(&dataset, on, Some("x"), later)
            .await
            .unwrap(),
        Some(now)
    );
    assert_eq!(
        ledger
            .record_sighting(&dataset, on, Some("y"), later)
            .await
            .unwrap(),
        Some(later)
    );
    assert_eq!(
        ledger
            .record_sighting(&dataset, on, None, later)
            .await
            .unwrap(),
        None
    );
    let again = later + minutes(1);
    assert_eq!(
        ledger
            .record_sighting(&dataset, on, Some("y"), again)
            .await
            .unwrap(),
        Some(again)
    );
}

async fn marks_and_acts_are_kept(place: Place) {
    let ledger = open(&place).await;
    let (dataset, on, now) = (name("camera-counts"), day("2020-10-01"), at(NOON));
    let mut mark = Mark {
        dataset: dataset.clone(),
        day: on,
        kind: MarkKind::Hold,
        reason: "checking into it".into(),
        until: Some(day("2020-11-01")),
        at: now,
        by: "ada@10.0.0.1".into(),
    };
    ledger.mark(&mark).await.unwrap();
    (mark.kind, mark.until) = (MarkKind::KnownLost, None);
    ledger.mark(&mark).await.unwrap();
    assert_eq!(ledger.marks(None).await.unwrap(), [mark.clone()]);
    assert!(ledger.marks(Some(&name("other"))).await.unwrap().is_empty());
    assert!(
        ledger
            .unmark(&dataset, on, now, "bob", "found it")
            .await
            .unwrap()
    );
    assert!(
        !ledger
            .unmark(&dataset, on, now, "bob", "again")
            .await
            .unwrap()
    );
    assert!(ledger.marks(Some(&dataset)).await.unwrap().is_empty());
    let check = Act {
        at: now,
        origin: "bob".into(),
        act: "check".into(),
        subject: "camera-counts 2020-10-01".into(),
        reason: "curious".into(),
    };
    ledger.record_act(&check).await.unwrap();
    let acts = ledger.acts(&dataset, on).await.unwrap();
    let names: Vec<_> = acts.iter().map(|act| &*act.act).collect();
    assert_eq!(names, ["hold", "known-lost", "release", "release", "check"]);
    assert_eq!(acts[0].reason, "checking into it");
    assert_eq!(acts[4], check);
}

async fn an_approval_is_used_once(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let mut approval = Approval {
        digest: "sha256:1".into(),
        at: now,
        by: "ada".into(),
        reason: "seen and right".into(),
        used_at: None,
    };
    assert!(!ledger.use_approval("sha256:1", now).await.unwrap());
    ledger.approve(&approval).await.unwrap();
    assert_eq!(
        ledger.approval("sha256:1").await.unwrap(),
        Some(approval.clone())
    );
    let uses = [now, now + minutes(1)].map(|when| ledger.use_approval("sha256:1", when));
    let uses = futures::future::try_join_all(uses).await.unwrap();
    assert_eq!(uses.iter().filter(|used| **used).count(), 1);
    assert!(
        ledger
            .approval("sha256:1")
            .await
            .unwrap()
            .unwrap()
            .used_at
            .is_some()
    );
    approval.at = now + minutes(5);
    ledger.approve(&approval).await.unwrap();
    assert!(
        ledger
            .use_approval("sha256:1", now + minutes(6))
            .await
            .unwrap()
    );
    assert_eq!(ledger.approval("sha256:2").await.unwrap(), None);
}

async fn usual_sizes_and_misdated_rows_are_kept(place: Place) {
    let ledger = open(&place).await;
    let dataset = name("camera-counts");
    for (text, files) in [("2020-09-30", 40), ("2020-10-01", 41), ("2020-10-03", 42)] {
        ledger.set_usual(&dataset, day(text), 1, 1).await.unwrap();
        ledger
            .set_usual(&dataset, day(text), files, 40_000)
            .await
            .unwrap();
    }
    let usual = ledger.usual(&dataset, day("2020-10-02"), 1).await.unwrap();
    let want = [("2020-10-01", 41), ("2020-10-03", 42)].map(|(text, files)| Usual {
        day: day(text),
        files,
        rows: 40_000,
    });
    assert_eq!(usual, want);

    let key = |number: usize| RowKey::new(&format!("{number:032x}"));
    let misdated: Vec<_> = (0..2_500).map(|n| (key(n), day("2019-01-01"))).collect();
    ledger
        .set_misdated(&dataset, day("2020-10-01"), &misdated)
        .await
        .unwrap();
    let found = ledger
        .misdated_keys(&dataset, day("2019-01-01"))
        .await
        .unwrap();
    assert_eq!(found.len(), 2_500);
    assert_eq!(found[7], key(7));
    assert!(
        ledger
            .misdated_keys(&dataset, day("2020-10-01"))
            .await
            .unwrap()
            .is_empty()
    );
    ledger
        .add_misdated(&dataset, day("2020-10-01"), &misdated[..1])
        .await
        .unwrap();
    let found = ledger
        .misdated_keys(&dataset, day("2019-01-01"))
        .await
        .unwrap();
    assert_eq!(found.len(), misdated.len());
    ledger
        .set_misdated(&dataset, day("2020-10-01"), &misdated[..1])
        .await
        .unwrap();
    assert_eq!(
        ledger
            .misdated_keys(&dataset, day("2019-01-01"))
            .await
            .unwrap(),
        [key(0)]
    );
}

async fn many_can_open_the_ledger_concurrently_and_repeatedly(place: Place) {
    let openings = (0..6).map(|_| {
        let settings = place.ledger();
        tokio::spawn(async move { Ledger::open(&settings).await.map(|_| ()) })
    });
    for opened in futures::future::join_all(openings.collect::<Vec<_>>()).await {
        opened.unwrap().unwrap();
    }
    let ledger = open(&place).await;
    ledger.ping().await.unwrap();
    let first = record("camera-counts", "2020-10-01", "differs", at(NOON));
    ledger.set_day(&first, Tell::Change).await.unwrap();
    drop(ledger);
    assert_eq!(open(&place).await.days(None, None).await.unwrap(), [first]);
}

async fn a_ledger_of_a_newer_program_is_refused(place: Place) {
    open(&place).await;
    let newer = "insert into ledger_version (version) values (99)";
    if place.is_postgres() {
        let client = postgres::client(&place.url).await;
        client.batch_execute(newer).await.unwrap();
    } else {
        let file = rusqlite::Connection::open(place.url.path()).unwrap();
        file.execute_batch(newer).unwrap();
    }
    let refused = Ledger::open(&place.ledger()).await.unwrap_err().to_string();
    assert!(
        refused.contains("99") && refused.contains("newer"),
        "{refused}"
    );
}
