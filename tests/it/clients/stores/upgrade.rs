//! A ledger of an older program, opened by this one: no data is lost, and new features work.

use chrono::TimeDelta;
use sodalake::compare::Depth;
use sodalake::ledger::{LeaseAnswer, Ledger, MarkKind, REPAIRS_COUNTED, Reason, ToCheck};
use sodalake::model::{DatasetName, Day, DayRange};

use super::{Place, at, on_both};
use crate::support::postgres;

on_both!(the_first_released_ledger_is_migrated_without_loss);

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

async fn the_first_released_ledger_is_migrated_without_loss(place: Place) {
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
    assert_eq!(states, ["differs", "in-sync"]);
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
        .record_sighting(&name, day("2020-10-01"), Some("abc"), now)
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

    let want = ToCheck {
        dataset: name,
        day: day("2020-10-01"),
        reason: Reason::Survey,
        depth: Depth::Content,
    };
    ledger.enqueue(&[want], now).await.unwrap();
    assert_eq!(ledger.pending(10).await.unwrap().len(), 1);

    // Opening it once more changes nothing, and pruning keeps what is recent.
    let again = Ledger::open(&place.ledger()).await.unwrap();
    assert_eq!(again.prune(at("2020-10-01T00:00:00Z")).await.unwrap(), 0);
    // The difference that was seen long ago is pruned; the approval, used today, stays.
    let long_after = at("2020-10-16T11:00:00Z");
    assert_eq!(again.prune(long_after).await.unwrap(), 1);
    assert!(again.pass(passes[0].id).await.unwrap().is_some());
    // What the guards count stays, whatever the requested age; later the pass and its step are
    // pruned.
    let (none, ended) = (TimeDelta::zero(), at("2020-10-04T10:05:00Z"));
    let counted = ended + REPAIRS_COUNTED;
    assert_eq!(again.prune_passes(counted, none).await.unwrap(), 0);
    let over = counted + TimeDelta::seconds(1);
    assert_eq!(again.prune_passes(over, none).await.unwrap(), 2);
    assert!(again.pass(passes[0].id).await.unwrap().is_none());
    assert_eq!(again.marks(None).await.unwrap().len(), 1);
}
