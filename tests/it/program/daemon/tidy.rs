//! Old data is removed from archive and ledger automatically, and nothing else is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use parking_lot::Mutex;
use sodalake::compare::Depth;
use sodalake::daemon::{Daemon, Unobserved};
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};

use super::week::{Fast, parts};
use crate::support::city::{TestCity, wednesday};

/// Runs the daemon until its first cleanup, and what it started with it, is finished.
async fn tidies(daemon: &mut Daemon) {
    daemon.turn().await;
    assert!(daemon.is_at_work());
    while daemon.is_at_work() {
        daemon.wait(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_removed_with_its_pass_when_it_is_old_enough() {
    let city = TestCity::around(wednesday(), "archive.keep_days = 10\n").await;
    city.try_damage(Breakage::ChainedAgain, Table::RadarCounts, wednesday())
        .unwrap();
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, State::Repaired, "{:?}", repaired.why);
    let pass = repaired.pass.unwrap();
    let archive: PathBuf = city.stage.dir().join(format!("archive/passes/{pass}"));
    let archived = || std::fs::read_dir(&archive).is_ok_and(|mut files| files.next().is_some());
    assert!(archived());
    for (days, stays) in [(9, true), (11, false)] {
        let clock = Fast(Arc::new(Mutex::new(Utc::now() + TimeDelta::days(days))));
        let mut daemon = Daemon::at_hand(parts(&city, &clock, Arc::new(Unobserved)))
            .await
            .unwrap();
        tidies(&mut daemon).await;
        assert_eq!(archived(), stays, "after {days} days");
        let on_record = city.world.ledger.pass(pass).await.unwrap().is_some();
        assert_eq!(on_record, stays, "after {days} days");
    }
}
