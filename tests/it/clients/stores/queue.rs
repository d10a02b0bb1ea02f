//! The queue and the state of the schedules, on both databases.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use sodalake::compare::Depth;
use sodalake::ledger::{Finished, Ledger, Queued, Reason, ScheduleRecord, ToCheck, Walk};
use sodalake::model::{DatasetName, Day};
use sodalake::schedule::Schedule;

use super::{Place, at, on_both};

const TTL: Duration = Duration::from_mins(5);
const MORNING: &str = "2020-10-16T10:00:00Z";

async fn open(place: &Place) -> Ledger {
    Ledger::open(&place.ledger()).await.unwrap()
}

fn name() -> DatasetName {
    "camera-counts".parse().unwrap()
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn to_check(of: &str, reason: Reason) -> ToCheck {
    ToCheck {
        dataset: name(),
        day: day(of),
        reason,
        depth: Depth::Keys,
    }
}

async fn claim_all(ledger: &Ledger, holder: &str, now: &str) -> Vec<Queued> {
    ledger.claim(holder, at(now), TTL, 100).await.unwrap()
}

fn days(claimed: &[Queued]) -> Vec<String> {
    let mut days: Vec<String> = claimed.iter().map(|one| one.day.to_string()).collect();
    days.sort();
    days
}

async fn one_by_one(ledger: &Ledger, now: &str) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        let claimed = ledger.claim("me", at(now), TTL, 1).await.unwrap();
        let Some(one) = claimed.first() else {
            return order;
        };
        order.push(format!("{} {}", one.day, one.reasons[0]));
    }
}

on_both!(
    the_most_urgent_work_comes_first_and_the_newest_day_within_it,
    a_day_is_queued_once_for_all_its_reasons,
    no_day_is_claimed_twice_and_expired_claims_return,
    a_request_is_kept_by_a_check_that_began_before_it,
    a_day_that_waits_for_its_time_keeps_it_and_delays_no_schedule,
    a_failed_day_stays_for_its_reasons,
    a_run_is_fulfilled_when_its_days_are_all_done,
    a_run_is_queued_by_only_one_of_two_programs,
    an_audit_is_queued_once_its_walk_is_over,
    days_of_a_removed_dataset_leave_the_queue,
    claims_are_released_for_their_holder_unless_they_were_renewed,
    work_recorded_by_a_clock_that_was_ahead_is_due_now,
);

async fn the_most_urgent_work_comes_first_and_the_newest_day_within_it(place: Place) {
    let ledger = open(&place).await;
    for (now, wants) in [
        (
            "2020-10-16T09:00:00Z",
            vec![to_check("2020-10-01", Reason::Audit)],
        ),
        (
            MORNING,
            vec![
                to_check("2020-10-10", Reason::Check),
                to_check("2020-10-12", Reason::Check),
                to_check("2020-10-05", Reason::Survey),
                to_check("2020-10-03", Reason::Requested),
            ],
        ),
        (
            "2020-10-16T10:00:01Z",
            vec![to_check("2020-10-13", Reason::Check)],
        ),
    ] {
        ledger.enqueue(&wants, at(now)).await.unwrap();
    }
    assert_eq!(
        one_by_one(&ledger, "2020-10-16T10:01:00Z").await,
        [
            "2020-10-03 requested",
            "2020-10-05 survey",
            "2020-10-12 check",
            "2020-10-10 check",
            "2020-10-13 check",
            "2020-10-01 audit",
        ]
    );
}

async fn a_day_is_queued_once_for_all_its_reasons(place: Place) {
    let ledger = open(&place).await;
    let deep = ToCheck {
        depth: Depth::Content,
        ..to_check("2020-10-01", Reason::Survey)
    };
    let wants = [
        to_check("2020-10-01", Reason::Check),
        deep,
        to_check("2020-10-01", Reason::Audit),
    ];
    ledger.enqueue(&wants, at(MORNING)).await.unwrap();
    let claimed = claim_all(&ledger, "me", MORNING).await;
    let [one] = &claimed[..] else {
        panic!("{claimed:?}");
    };
    assert_eq!(one.reasons, [Reason::Survey, Reason::Check, Reason::Audit]);
    assert_eq!((one.depth, one.tries), (Depth::Content, 1));
    assert_eq!(ledger.finish(one, "me").await.unwrap(), Finished::Done);
    assert!(ledger.pending(10).await.unwrap().is_empty());
}

async fn no_day_is_claimed_twice_and_expired_claims_return(place: Place) {
    let (ledger, other) = (open(&place).await, open(&place).await);
    let wants: Vec<ToCheck> = (1..=9)
        .map(|date| to_check(&format!("2020-10-0{date}"), Reason::Check))
        .collect();
    ledger.enqueue(&wants, at(MORNING)).await.unwrap();
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    loop {
        let (a, b) = tokio::join!(
            ledger.claim("me", at(MORNING), TTL, 2),
            other.claim("you", at(MORNING), TTL, 1)
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        if a.is_empty() && b.is_empty() {
            break;
        }
        mine.extend(a);
        theirs.extend(b);
    }
    let mut all = days(&mine);
    all.extend(days(&theirs));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 9, "{mine:?} {theirs:?}");

    // The first holder renews its claims, the second one does not.
    let later = "2020-10-16T10:04:00Z";
    let renewed = ledger
        .renew_claims(&mine, "me", at(later), TTL)
        .await
        .unwrap();
    assert_eq!(renewed, mine.len() as u64);
    assert!(claim_all(&ledger, "third", later).await.is_empty());
    let taken = claim_all(&ledger, "third", "2020-10-16T10:06:00Z").await;
    assert_eq!(days(&taken), days(&theirs));
    // The second holder was only suspended: it cannot finish days that it no longer holds.
    if let Some(lost) = theirs.first() {
        assert_eq!(other.finish(lost, "you").await.unwrap(), Finished::Lost);
    }
    for one in &taken {
        assert_eq!(ledger.finish(one, "third").await.unwrap(), Finished::Done);
    }
    assert_eq!(ledger.give_all_back("me").await.unwrap(), mine.len() as u64);
    assert_eq!(days(&claim_all(&ledger, "third", later).await), days(&mine));
}

async fn a_request_is_kept_by_a_check_that_began_before_it(place: Place) {
    let ledger = open(&place).await;
    let of = "2020-10-01";
    ledger
        .enqueue(&[to_check(of, Reason::Check)], at(MORNING))
        .await
        .unwrap();
    let claimed = claim_all(&ledger, "me", MORNING).await;
    let later = "2020-10-16T10:00:30Z";
    let more = [
        to_check(of, Reason::Survey),
        to_check(of, Reason::Requested),
    ];
    ledger.enqueue(&more, at(later)).await.unwrap();
    let finished = ledger.finish(&claimed[0], "me").await.unwrap();
    assert_eq!(finished, Finished::RequestedAgain);
    let again = claim_all(&ledger, "me", later).await;
    assert_eq!(days(&again), [of]);
    // A survey does not count as such a request, because the next one comes soon.
    ledger
        .enqueue(&[to_check(of, Reason::Survey)], at(later))
        .await
        .unwrap();
    assert_eq!(
        ledger.finish(&again[0], "me").await.unwrap(),
        Finished::Done
    );
}

async fn a_day_that_waits_for_its_time_keeps_it_and_delays_no_schedule(place: Place) {
    let ledger = open(&place).await;
    let of = "2020-10-01";
    ledger
        .enqueue(&[to_check(of, Reason::Check)], at(MORNING))
        .await
        .unwrap();
    let claimed = claim_all(&ledger, "me", MORNING).await;
    let evening = at("2020-10-16T20:00:00Z");
    ledger
        .give_back_checked(&claimed[0], "me", evening)
        .await
        .unwrap();
    ledger
        .enqueue(&[to_check(of, Reason::Survey)], at(MORNING))
        .await
        .unwrap();
    assert!(
        claim_all(&ledger, "me", "2020-10-16T19:59:59Z")
            .await
            .is_empty()
    );
    assert_eq!(
        ledger.queued_for(&name(), Schedule::Check).await.unwrap(),
        0
    );
    let size = ledger.queue_size(at(MORNING)).await.unwrap();
    assert_eq!((size.waiting, size.next_due), (1, Some(evening)));

    // A person's request is not delayed.
    ledger
        .enqueue(&[to_check(of, Reason::Requested)], at(MORNING))
        .await
        .unwrap();
    let claimed = claim_all(&ledger, "me", MORNING).await;
    assert_eq!(claimed[0].reasons, [Reason::Requested, Reason::Again]);
}

async fn a_failed_day_stays_for_its_reasons(place: Place) {
    let ledger = open(&place).await;
    ledger
        .enqueue(&[to_check("2020-10-01", Reason::Check)], at(MORNING))
        .await
        .unwrap();
    let claimed = claim_all(&ledger, "me", MORNING).await;
    let later = at("2020-10-16T10:05:00Z");
    ledger.give_back(&claimed[0], "me", later).await.unwrap();
    assert!(claim_all(&ledger, "me", MORNING).await.is_empty());
    assert_eq!(
        ledger.queued_for(&name(), Schedule::Check).await.unwrap(),
        1
    );
    let again = claim_all(&ledger, "me", "2020-10-16T10:05:00Z").await;
    assert_eq!(
        (again[0].tries, &again[0].reasons[..]),
        (2, &[Reason::Check][..])
    );
}

async fn record(ledger: &Ledger, schedule: Schedule) -> ScheduleRecord {
    let mut all = ledger.schedules().await.unwrap().into_iter();
    all.find(|one| one.schedule == schedule).unwrap()
}

async fn due(ledger: &Ledger, schedule: Schedule, when: &str) -> ScheduleRecord {
    let since = at("2020-10-15T00:00:00Z");
    ledger
        .begin_schedule(&name(), schedule, since, false)
        .await
        .unwrap();
    let seen = record(ledger, schedule).await;
    assert!(ledger.note_due(&seen, at(when)).await.unwrap());
    record(ledger, schedule).await
}

async fn a_run_is_fulfilled_when_its_days_are_all_done(place: Place) {
    let ledger = open(&place).await;
    let run = due(&ledger, Schedule::Check, MORNING).await;
    assert!(run.is_open() && !run.is_fulfilled());
    let wants = [
        to_check("2020-10-01", Reason::Check),
        to_check("2020-10-02", Reason::Check),
    ];
    assert!(
        ledger
            .queue_run(&run, &wants, None, at(MORNING))
            .await
            .unwrap()
    );
    let mut left = claim_all(&ledger, "me", MORNING).await;
    ledger
        .fail_run(&name(), Schedule::Check, "the portal is away")
        .await
        .unwrap();
    while let Some(one) = left.pop() {
        assert_eq!(ledger.settle_runs(at(MORNING)).await.unwrap(), 0);
        let unfulfilled = record(&ledger, Schedule::Check).await;
        assert!(!unfulfilled.is_open() && !unfulfilled.is_fulfilled());
        assert_eq!(unfulfilled.failure.as_deref(), Some("the portal is away"));
        ledger.finish(&one, "me").await.unwrap();
    }
    let now = at("2020-10-16T10:20:00Z");
    assert_eq!(ledger.settle_runs(now).await.unwrap(), 1);
    let done = record(&ledger, Schedule::Check).await;
    assert!(done.is_fulfilled());
    assert_eq!((done.done_at, done.failure), (Some(now), None));
    assert_eq!(ledger.settle_runs(now).await.unwrap(), 0);
}

async fn a_run_is_queued_by_only_one_of_two_programs(place: Place) {
    let ledger = open(&place).await;
    let run = due(&ledger, Schedule::Survey, MORNING).await;
    // Both read the schedule before either recorded what is due.
    let stale = ScheduleRecord {
        due_at: at("2020-10-15T00:00:00Z"),
        ..run.clone()
    };
    assert!(
        !ledger
            .note_due(&stale, at("2020-10-16T10:30:00Z"))
            .await
            .unwrap()
    );

    let wants = [to_check("2020-10-01", Reason::Survey)];
    assert!(
        ledger
            .queue_run(&run, &wants, None, at(MORNING))
            .await
            .unwrap()
    );
    let claimed = claim_all(&ledger, "me", MORNING).await;
    ledger.finish(&claimed[0], "me").await.unwrap();
    assert!(
        !ledger
            .queue_run(&run, &wants, None, at(MORNING))
            .await
            .unwrap()
    );
    assert!(
        ledger.pending(10).await.unwrap().is_empty(),
        "it is done once"
    );
}

async fn an_audit_is_queued_once_its_walk_is_over(place: Place) {
    let ledger = open(&place).await;
    let mut run = due(&ledger, Schedule::Audit, MORNING).await;
    let oldest = day("2020-10-01");
    let mut visited: BTreeMap<Day, u32> = BTreeMap::new();
    for next in ["2020-10-04", "2020-10-02", "2020-09-30"] {
        assert!(run.is_open());
        let first = run.walk.map_or(day("2020-10-06"), |walk| walk.next);
        let wants: Vec<ToCheck> = (0..2)
            .map(|back| ToCheck {
                day: first.plus(-back),
                ..to_check("2020-10-01", Reason::Audit)
            })
            .collect();
        for to_check in &wants {
            *visited.entry(to_check.day).or_default() += 1;
        }
        let walk = Walk {
            next: day(next),
            oldest,
        };
        assert!(
            ledger
                .queue_run(&run, &wants, Some(walk), at(MORNING))
                .await
                .unwrap()
        );
        // The same range is not queued twice.
        assert!(
            !ledger
                .queue_run(&run, &wants, Some(walk), at(MORNING))
                .await
                .unwrap()
        );
        for one in claim_all(&ledger, "me", MORNING).await {
            ledger.finish(&one, "me").await.unwrap();
        }
        ledger.settle_runs(at(MORNING)).await.unwrap();
        run = record(&ledger, Schedule::Audit).await;
    }
    assert!(run.is_fulfilled(), "{run:?}");
    assert_eq!(visited.len(), 6);
    let later = at(MORNING) + TimeDelta::days(7);
    assert!(ledger.note_due(&run, later).await.unwrap());
    assert!(record(&ledger, Schedule::Audit).await.is_open());
}

async fn days_of_a_removed_dataset_leave_the_queue(place: Place) {
    let ledger = open(&place).await;
    let gone = ToCheck {
        dataset: "old-counts".parse().unwrap(),
        ..to_check("2020-10-01", Reason::Check)
    };
    let wants = [gone, to_check("2020-10-01", Reason::Check)];
    ledger.enqueue(&wants, at(MORNING)).await.unwrap();
    assert_eq!(ledger.forget_datasets_but(&[name()]).await.unwrap(), 1);
    let left = ledger.pending(10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].dataset, name());
}

async fn claims_are_released_for_their_holder_unless_they_were_renewed(place: Place) {
    let ledger = open(&place).await;
    let wants = [to_check("2020-10-01", Reason::Check)];
    ledger.enqueue(&wants, at(MORNING)).await.unwrap();
    let claimed = claim_all(&ledger, "me", MORNING).await;
    let seen = ledger.claimants().await.unwrap();
    assert_eq!(seen, [("me".to_owned(), at(MORNING) + TTL)]);
    let later = at("2020-10-16T10:01:00Z");
    ledger
        .renew_claims(&claimed, "me", later, TTL)
        .await
        .unwrap();
    let until = seen[0].1;
    assert_eq!(ledger.give_back_until("me", until).await.unwrap(), 0);
    let until = later + TTL;
    assert_eq!(ledger.give_back_until("me", until).await.unwrap(), 1);
    assert!(ledger.claimants().await.unwrap().is_empty());
}

async fn work_recorded_by_a_clock_that_was_ahead_is_due_now(place: Place) {
    let ledger = open(&place).await;
    let (now, tomorrow) = (at(MORNING), "2020-10-17T10:00:00Z");
    let run = due(&ledger, Schedule::Survey, tomorrow).await;
    let wants = [to_check("2020-10-01", Reason::Survey)];
    assert!(
        ledger
            .queue_run(&run, &wants, None, at(tomorrow))
            .await
            .unwrap()
    );
    assert!(claim_all(&ledger, "me", MORNING).await.is_empty());
    ledger.bring_forward(now).await.unwrap();
    assert_eq!(claim_all(&ledger, "me", MORNING).await.len(), 1);
    let run = record(&ledger, Schedule::Survey).await;
    assert_eq!((run.due_at, run.queued_for), (now, now));
    assert!(!run.is_open() && !run.is_fulfilled());
    // A difference that was first seen in the future counts as first seen now.
    let sight = async |when| {
        let day = day("2020-10-01");
        ledger
            .record_sighting(&name(), day, Some("digest"), when)
            .await
            .unwrap()
    };
    assert_eq!(sight(at(tomorrow)).await, Some(at(tomorrow)));
    assert_eq!(sight(now).await, Some(now));
    assert_eq!(sight(at(tomorrow)).await, Some(now));
}
