//! The ledger: leases, passes, days, marks, approvals, and how it is opened.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::{
    Act, Approval, DayRecord, LeaseAnswer, Ledger, LedgerError, Mark, MarkKind, PassEnd, PassKind,
    PassRecord, Tell, Usual,
};
use sodalake::model::{DatasetName, Day, DayRange, RowKey};
use uuid::Uuid;

use super::{Place, at, on_both};
use crate::support::postgres;

const NOON: &str = "2020-10-03T12:00:00Z";

async fn open(place: &Place) -> Ledger {
    Ledger::open(&place.ledger()).await.unwrap()
}

fn name(text: &str) -> DatasetName {
    text.parse().unwrap()
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

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

on_both!(
    a_lease_has_one_holder,
    of_many_who_race_one_gets_the_lease,
    a_lease_that_ran_out_is_taken_over_with_a_higher_fence,
    a_pass_keeps_its_journal_in_order,
    purges_of_dead_passes_count,
    steps_are_for_passes_under_way,
    a_rewrite_that_failed_is_known_until_the_day_is_repaired,
    a_day_keeps_its_since_while_its_state_stays,
    a_difference_is_known_by_its_digest,
    marks_and_acts_are_kept,
    a_release_alone_makes_earlier_repairs_count_no_more,
    an_approval_serves_once,
    what_is_usual_and_what_strays,
    many_may_open_at_once_and_again,
    a_ledger_of_a_newer_program_is_refused,
);

fn fence(answer: &LeaseAnswer) -> Option<u64> {
    match answer {
        LeaseAnswer::Granted { fence, .. } => Some(*fence),
        LeaseAnswer::HeldBy { .. } => None,
    }
}

async fn a_lease_has_one_holder(place: Place) {
    let ledger = open(&place).await;
    let now = at(NOON);
    let first = ledger.lease("camera-counts", "a", now, minutes(5)).await;
    assert_eq!(fence(&first.unwrap()), Some(1));
    let other = ledger.lease("camera-counts", "b", now, minutes(5)).await;
    let held = LeaseAnswer::HeldBy {
        holder: "a".into(),
        until: now + minutes(5),
    };
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

async fn of_many_who_race_one_gets_the_lease(place: Place) {
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

async fn a_lease_that_ran_out_is_taken_over_with_a_higher_fence(place: Place) {
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

async fn purges_of_dead_passes_count(place: Place) {
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

async fn steps_are_for_passes_under_way(place: Place) {
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

async fn a_rewrite_that_failed_is_known_until_the_day_is_repaired(place: Place) {
    let ledger = open(&place).await;
    let (dataset, the_day) = (name("camera-counts"), day("2020-10-01"));
    let half = async || ledger.is_half_rewritten(&dataset, the_day).await.unwrap();
    let mut now = at(NOON);
    assert!(!half().await);
    // Each pass: what kind, how it ends if it does, and whether the day is half rewritten then.
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

fn record(dataset: &str, day_text: &str, state: &str, when: DateTime<Utc>) -> DayRecord {
    DayRecord {
        dataset: name(dataset),
        day: day(day_text),
        state: state.into(),
        since: when,
        looked_at: when,
        why: None,
        cause: Some("another publisher's spelling".into()),
        counts: json!({"twins": 40322}),
        fingerprint: Some("f".into()),
        digest: None,
        expected: Some(40322),
        published: Some(80644),
        guards: Vec::new(),
        open_since: None,
        pass: None,
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

    let other = record("radar-counts", "2019-12-31", "in-step", now);
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

async fn a_difference_is_known_by_its_digest(place: Place) {
    let ledger = open(&place).await;
    let (dataset, on, now) = (name("camera-counts"), day("2020-10-01"), at(NOON));
    let later = now + minutes(10);
    assert_eq!(
        ledger.sight(&dataset, on, Some("x"), now).await.unwrap(),
        Some(now)
    );
    assert_eq!(
        ledger.sight(&dataset, on, Some("x"), later).await.unwrap(),
        Some(now)
    );
    assert_eq!(
        ledger.sight(&dataset, on, Some("y"), later).await.unwrap(),
        Some(later)
    );
    assert_eq!(ledger.sight(&dataset, on, None, later).await.unwrap(), None);
    let anew = later + minutes(1);
    assert_eq!(
        ledger.sight(&dataset, on, Some("y"), anew).await.unwrap(),
        Some(anew)
    );
}

async fn marks_and_acts_are_kept(place: Place) {
    let ledger = open(&place).await;
    let (dataset, on, now) = (name("camera-counts"), day("2020-10-01"), at(NOON));
    let mut mark = Mark {
        dataset: dataset.clone(),
        day: on,
        kind: MarkKind::Hold,
        reason: "looking into it".into(),
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
    assert_eq!(acts[0].reason, "looking into it");
    assert_eq!(acts[4], check);
}

async fn a_release_alone_makes_earlier_repairs_count_no_more(place: Place) {
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
        let released = ledger.unmark(dataset, on, at, "ada", "mended the rival");
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
    let ended = ledger.end_pass(under_way, end, "in-step", 3, 3, 0).await;
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

async fn an_approval_serves_once(place: Place) {
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

async fn what_is_usual_and_what_strays(place: Place) {
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
    let strays: Vec<_> = (0..2_500).map(|n| (key(n), day("2019-01-01"))).collect();
    ledger
        .set_strays(&dataset, day("2020-10-01"), &strays, true)
        .await
        .unwrap();
    let found = ledger.strays(&dataset, day("2019-01-01")).await.unwrap();
    assert_eq!(found.len(), 2_500);
    assert_eq!(found[7], key(7));
    assert!(
        ledger
            .strays(&dataset, day("2020-10-01"))
            .await
            .unwrap()
            .is_empty()
    );
    ledger
        .set_strays(&dataset, day("2020-10-01"), &strays[..1], false)
        .await
        .unwrap();
    let found = ledger.strays(&dataset, day("2019-01-01")).await.unwrap();
    assert_eq!(
        found.len(),
        strays.len(),
        "a file that was not read has its strays still"
    );
    ledger
        .set_strays(&dataset, day("2020-10-01"), &strays[..1], true)
        .await
        .unwrap();
    assert_eq!(
        ledger.strays(&dataset, day("2019-01-01")).await.unwrap(),
        [key(0)]
    );
}

async fn many_may_open_at_once_and_again(place: Place) {
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
