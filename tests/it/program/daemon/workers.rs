//! The number of dataset-days that the daemon processes at once has its own setting.

use std::sync::Arc;

use chrono::Utc;
use parking_lot::Mutex;
use sodalake::compare::Depth;
use sodalake::daemon::{Daemon, Unobserved};
use sodalake::ledger::{Reason, ToCheck};
use sodalake::sandbox::city::Table;

use super::week::{Fast, parts};
use crate::support::city::{TestCity, wednesday};

#[tokio::test(flavor = "multi_thread")]
async fn workers_limit_the_days_in_progress_and_portal_requests_do_not() {
    for (workers, requests) in [(2_u64, 8), (4, 1)] {
        let more = format!("daemon.workers = {workers}\nsocrata.max_in_flight = {requests}\n");
        let city = TestCity::around(wednesday(), &more).await;
        let now = Utc::now();
        let want = |table: &Table| ToCheck {
            dataset: table.dataset_name().parse().unwrap(),
            day: wednesday(),
            reason: Reason::Requested,
            depth: Depth::Keys,
        };
        let wanted: Vec<ToCheck> = Table::ALL.iter().map(want).collect();
        assert!(wanted.len() as u64 > workers);
        let ledger = &city.world.ledger;
        ledger.enqueue(&wanted, now).await.unwrap();
        let clock = Fast(Arc::new(Mutex::new(now)));
        let daemon = Daemon::at_hand(parts(&city, &clock, Arc::new(Unobserved))).await;
        daemon.unwrap().turn().await;
        let in_work = ledger.queue_size(now).await.unwrap().in_work;
        assert_eq!(in_work, workers, "{workers} workers, {requests} requests");
    }
}
