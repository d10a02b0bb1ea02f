//! A ledger of an older program, opened by this one: nothing of it is lost, and what is new works.

use chrono::TimeDelta;
use sodalake::compare::Depth;
use sodalake::ledger::{GUARDS_COUNT, LeaseAnswer, Ledger, MarkKind, Reason, Want};
use sodalake::model::{DatasetName, Day, DayRange};

use super::{Place, at, on_both};
use crate::support::postgres;

on_both!(the_first_released_ledger_is_taken_over_whole);

async fn fill(place: &Place) {
    if place.is_postgres() {
        let sql = include_str!("upgrade/version-1.postgres.sql");
        let client = postgres::client(&place.url).await;
        client.batch_execute(sql).await.unwrap();
    } else {
        let sql = include_str!("upgrade/version-1.sqlite.sql");
        let database = rusqlite::Connection::open(place.url.path()).unwrap();
        database.execute_batch(sql).unwrap();
    }
}

async fn the_first_released_ledger_is_taken_over_whole(place: Place) {
    fill(&place).await;
    let ledger = Ledger::open(&place.ledger()).await.unwrap();
    let name: DatasetName = "camera-counts".parse().unwrap();
    let day = |text: &str| -> Day { text.parse().unwrap() };
    let now = at("2020-10-16T12:00:00Z");

    let range = DayRange {
        from: day("2020-10-01"),
        to: day("2020-10-03"),
    };
    let days = ledger.days(Some(&name), Some(range)).await.unwrap();
    let states: Vec<&str> = days.iter().map(|one| one.state.as_str()).collect();
    assert_eq!(states, ["differs", "in-step"]);
    assert_eq!(days[0].since, at("2020-10-03T10:00:00Z"));
    assert_eq!(days[0].why.as_deref(), Some("a reason"));
    assert_eq!(days[1].fingerprint.as_deref(), Some("f1"));

    let passes = ledger
        .passes(&name, day("2020-10-02"), at("2020-10-01T00:00:00Z"))
        .await
        .unwrap();
    let (pass, steps) = ledger.pass(passes[0].id).await.unwrap().unwrap();
    assert_eq!(pass.end.unwrap().purged, 40);
    assert_eq!(steps.len(), 1);
    let purged = ledger.purged_since(&name, at("2020-10-04T00:00:00Z")).await;
    assert_eq!(purged.unwrap(), 40);

    let marks = ledger.marks(Some(&name)).await.unwrap();
    assert_eq!(marks[0].kind, MarkKind::KnownLost);
    assert_eq!(
        ledger.acts(&name, day("2020-09-01")).await.unwrap().len(),
        1
    );
    assert!(ledger.use_approval("abc", now).await.unwrap());
    let first_seen = ledger
        .sight(&name, day("2020-10-01"), Some("abc"), now)
        .await;
    assert_eq!(first_seen.unwrap(), Some(at("2020-10-16T10:00:00Z")));
    let lease = ledger
        .lease(
            "repair/camera-counts",
            "me",
            now,
            std::time::Duration::from_mins(1),
        )
        .await
        .unwrap();
    assert!(
        matches!(lease, LeaseAnswer::Granted { fence: 8, .. }),
        "{lease:?}"
    );

    let want = Want {
        dataset: name,
        day: day("2020-10-01"),
        reason: Reason::Survey,
        depth: Depth::Content,
    };
    ledger.enqueue(&[want], now).await.unwrap();
    assert_eq!(ledger.pending(10).await.unwrap().len(), 1);

    // Opening it once more finds nothing to do, and clearing it keeps what is young.
    let again = Ledger::open(&place.ledger()).await.unwrap();
    assert_eq!(again.prune(at("2020-10-01T00:00:00Z")).await.unwrap(), 0);
    // The difference that was seen long ago; the approval, used today, stays.
    let long_after = at("2020-10-16T11:00:00Z");
    assert_eq!(again.prune(long_after).await.unwrap(), 1);
    assert!(again.pass(passes[0].id).await.unwrap().is_some());
    // What the guards count stays, whatever is asked; later the pass and its step go.
    let (none, ended) = (TimeDelta::zero(), at("2020-10-04T10:05:00Z"));
    let counted = ended + GUARDS_COUNT;
    assert_eq!(again.prune_passes(counted, none).await.unwrap(), 0);
    let over = counted + TimeDelta::seconds(1);
    assert_eq!(again.prune_passes(over, none).await.unwrap(), 2);
    assert!(again.pass(passes[0].id).await.unwrap().is_none());
    assert_eq!(again.marks(None).await.unwrap().len(), 1);
}
