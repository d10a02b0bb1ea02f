//! The ledger's passes: their journals, what they purged, and what remains of them.

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::{Act, LedgerError, PassEnd, PassKind, PassRecord};
use sodalake::model::DatasetName;
use uuid::Uuid;

use super::ledger::{NOON, day, minutes, name, open};
use super::{Place, at, on_both};

on_both!(
    a_pass_keeps_its_journal_in_order,
    purges_of_interrupted_passes_count,
    steps_are_recorded_only_for_running_passes,
    a_failed_rewrite_is_remembered_until_the_day_is_repaired,
    only_a_release_resets_the_count_of_repairs,
);

fn pass(day_text: &str, started_at: DateTime<Utc>) -> PassRecord {
    PassRecord {
        id: Uuid::now_v7(),
        dataset: name("camera-counts"),
        day: day(day_text),
        kind: PassKind::Repair,
        started_at,
        digest: "d1".into(),
        summary: json!({"purge": 3, "odd": "a\u{0}b'\""}),
        end: None,
    }
}
async fn a_pass_keeps_its_journal_in_order(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let mut begun = pass("2020-10-01", now);
    ledger.begin_pass(&begun).await.unwrap();
    begun.summary = json!({"purge": 3, "odd": "a\u{fffd}b'\""});
    for (minute, step) in ["archive", "publish", "purge"].iter().enumerate() {
        let at = now + minutes(minute as u64);
        ledger
            .journal(begun.id, at, step, &json!({"rows": minute}))
            .await
            .unwrap();
    }
    let (found, steps) = ledger.pass(begun.id).await.unwrap().unwrap();
    assert_eq!(found, begun);
    let names: Vec<_> = steps
        .iter()
        .map(|step| (step.number, &*step.step))
        .collect();
    assert_eq!(names, [(1, "archive"), (2, "publish"), (3, "purge")]);
    assert_eq!(steps[2].detail, json!({"rows": 2}));
    let unfinished = ledger.unfinished(&begun.dataset).await.unwrap();
    assert_eq!(unfinished, [begun.clone()]);
    ledger
        .end_pass(begun.id, now + minutes(9), "repaired", 3, 2, 1)
        .await
        .unwrap();
    assert!(ledger.unfinished(&begun.dataset).await.unwrap().is_empty());
    begun.end = Some(PassEnd {
        at: now + minutes(9),
        outcome: "repaired".into(),
        purged: 3,
        published: 2,
        catalog_changes: 1,
    });
    let passes = ledger.passes(&begun.dataset, begun.day, now).await.unwrap();
    assert_eq!(passes, [begun.clone()]);
    let later = ledger
        .passes(&begun.dataset, begun.day, now + minutes(1))
        .await;
    assert!(later.unwrap().is_empty());
    assert!(ledger.pass(Uuid::now_v7()).await.unwrap().is_none());
}

async fn purges_of_interrupted_passes_count(place: Place) {
    let ledger = open(&place).await;
    let (now, dataset) = (at(NOON), name("camera-counts"));
    let dead = pass("2020-10-01", now);
    ledger.begin_pass(&dead).await.unwrap();
    for purged in [100, 20] {
        let detail = json!({"purged": purged});
        ledger
            .journal(dead.id, now, "purge", &detail)
            .await
            .unwrap();
    }
    let done = pass("2020-10-01", now + minutes(1));
    ledger.begin_pass(&done).await.unwrap();
    ledger
        .journal(done.id, now, "purge", &json!({"purged": 3}))
        .await
        .unwrap();
    ledger
        .end_pass(done.id, now + minutes(2), "repaired", 7, 0, 0)
        .await
        .unwrap();
    let long_ago = pass("2020-10-01", now - minutes(999));
    ledger.begin_pass(&long_ago).await.unwrap();
    ledger
        .end_pass(long_ago.id, now - minutes(990), "repaired", 1000, 0, 0)
        .await
        .unwrap();
    let mut rewrite = pass("2020-10-01", now);
    rewrite.kind = PassKind::Rewrite;
    ledger.begin_pass(&rewrite).await.unwrap();
    assert_eq!(ledger.purged_since(&dataset, now).await.unwrap(), 127);
    assert_eq!(
        ledger
            .purged_since(&dataset, now + minutes(2))
            .await
            .unwrap(),
        7
    );
    assert_eq!(ledger.purged_since(&name("other"), now).await.unwrap(), 0);
    let repairs = ledger.repairs_since(&dataset, dead.day, now).await.unwrap();
    assert_eq!(repairs, 2);
    let other_day = ledger
        .repairs_since(&dataset, dead.day.next(), now)
        .await
        .unwrap();
    assert_eq!(other_day, 0);
}

async fn steps_are_recorded_only_for_running_passes(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let unknown = ledger
        .journal(Uuid::now_v7(), now, "purge", &json!({}))
        .await;
    assert!(matches!(unknown, Err(LedgerError::NoSuchPass { .. })));
    let ended = pass("2020-10-01", now);
    ledger.begin_pass(&ended).await.unwrap();
    ledger
        .end_pass(ended.id, now, "repaired", 0, 0, 0)
        .await
        .unwrap();
    let late = ledger.journal(ended.id, now, "purge", &json!({})).await;
    assert!(matches!(late, Err(LedgerError::NoSuchPass { .. })));
    let again = ledger.end_pass(ended.id, now, "failed", 9, 9, 9).await;
    assert!(matches!(again, Err(LedgerError::NoSuchPass { .. })));
    assert!(
        ledger.begin_pass(&ended).await.is_err(),
        "an id is used once"
    );
}

async fn a_failed_rewrite_is_remembered_until_the_day_is_repaired(place: Place) {
    let ledger = open(&place).await;
    let (dataset, the_day) = (name("camera-counts"), day("2020-10-01"));
    let half = async || ledger.is_half_rewritten(&dataset, the_day).await.unwrap();
    let mut now = at(NOON);
    assert!(!half().await);
    // Each pass: its kind, how it ends if it does, and whether the day is half rewritten
    // afterwards.
    let passes = [
        (PassKind::Repair, Some("failed"), false),
        (PassKind::Rewrite, Some("repaired"), false),
        (PassKind::Rewrite, None, true),
        (PassKind::Repair, Some("unconfirmed"), true),
        (PassKind::Repair, None, true),
        (PassKind::Repair, Some("repaired"), false),
        (PassKind::Rewrite, Some("unconfirmed"), true),
        (PassKind::Restore, Some("restored"), true),
    ];
    for (kind, outcome, expected) in passes {
        now += minutes(1);
        let begun = PassRecord {
            kind,
            ..pass("2020-10-01", now)
        };
        ledger.begin_pass(&begun).await.unwrap();
        if let Some(outcome) = outcome {
            let end = ledger.end_pass(begun.id, now, outcome, 0, 0, 0);
            end.await.unwrap();
        }
        assert_eq!(half().await, expected, "{kind} {outcome:?}");
        let other = ledger.is_half_rewritten(&dataset, the_day.next()).await;
        assert!(!other.unwrap());
    }
}

async fn only_a_release_resets_the_count_of_repairs(place: Place) {
    let ledger = open(&place).await;
    let (dataset, on, now) = (name("camera-counts"), day("2020-10-01"), at(NOON));
    let repairs = async || ledger.repairs_since(&dataset, on, now).await.unwrap();
    let begin = async |day_text: &str, kind, after: u64| {
        let begun = PassRecord {
            kind,
            ..pass(day_text, now + minutes(after))
        };
        ledger.begin_pass(&begun).await.unwrap();
        begun.id
    };
    let early = pass("2020-10-01", now - minutes(1));
    ledger.begin_pass(&early).await.unwrap();
    assert_eq!(repairs().await, 0, "it began before");
    begin("2020-10-01", PassKind::Repair, 0).await;
    let under_way = begin("2020-10-01", PassKind::Repair, 2).await;
    begin("2020-10-02", PassKind::Repair, 2).await;
    begin("2020-10-01", PassKind::Restore, 2).await;
    assert_eq!(repairs().await, 2, "repairs of this day, ended or not");

    let elsewhere = day("2020-10-02");
    let later = now + minutes(60);
    let unmark = async |dataset: &DatasetName, on, at| {
        let released = ledger.unmark(dataset, on, at, "ada", "repaired the rival");
        released.await.unwrap();
    };
    unmark(&dataset, elsewhere, later).await;
    unmark(&name("radar-counts"), on, later).await;
    let act = |act: &str, subject: &str| Act {
        at: later,
        origin: "ada".into(),
        act: act.into(),
        subject: subject.into(),
        reason: "no release".into(),
    };
    for other in ["hold", "known-lost", "check", "approve", "released"] {
        let said = act(other, "camera-counts 2020-10-01");
        ledger.record_act(&said).await.unwrap();
    }
    assert_eq!(
        repairs().await,
        2,
        "only a release of this very day frees it"
    );

    unmark(&dataset, on, now + minutes(5)).await;
    assert_eq!(repairs().await, 0);
    let end = now + minutes(6);
    let ended = ledger.end_pass(under_way, end, "in-sync", 3, 3, 0).await;
    ended.unwrap();
    assert_eq!(repairs().await, 0, "it began before the release");
    begin("2020-10-01", PassKind::Repair, 7).await;
    begin("2020-10-01", PassKind::Repair, 9).await;
    assert_eq!(repairs().await, 2);
    unmark(&dataset, on, now + minutes(1)).await;
    assert_eq!(repairs().await, 2, "the last by its time counts");
    unmark(&dataset, on, now + minutes(8)).await;
    assert_eq!(repairs().await, 1);
}
