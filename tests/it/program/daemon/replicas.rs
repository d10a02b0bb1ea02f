//! Several replicas on one PostgreSQL ledger: each of 300 dataset-days is done once, even if one of
//! the replicas is killed in the middle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sodalake::ledger::Ledger;
use sodalake::sandbox::portal::{Fault, Faults, Rule};
use sodalake::settings::LedgerSettings;
use tokio_postgres::Client;
use url::Url;

use crate::support::city::TestCity;
use crate::support::postgres;
use crate::support::running::{Running, until};

use super::lately;

/// Sixty days of five datasets.
const DAYS: usize = 300;

/// One round: the first survey of a new ledger.
const SCHEDULE: &str = "schedule.survey = \"0 0 0 1 1 *\"\n\
     schedule.check = \"0 0 0 1 1 *\"\n\
     schedule.audit = \"0 0 0 1 1 *\"\n\
     schedule.window_days = 62\n\
     schedule.settle_days = 3\n";

/// Records every dataset-day that leaves the queue.
const WITNESS: &str = "create table witness (dataset text, day date, at timestamptz);
    create function bear_witness() returns trigger language plpgsql as $$ begin
      insert into witness values (old.dataset, old.day, clock_timestamp());
      return old;
    end $$;
    create trigger witness after delete on ledger_queue
      for each row execute function bear_witness();";

struct Shared {
    env: Vec<(String, String)>,
    client: Client,
}

impl Shared {
    async fn new() -> Self {
        let url: Url = postgres::database().await;
        let settings = LedgerSettings {
            url: url.clone(),
            password: None,
            ca_file: None,
        };
        Ledger::open(&settings).await.unwrap();
        let client = postgres::client(&url).await;
        client.batch_execute(WITNESS).await.unwrap();
        let env = vec![("SODALAKE__LEDGER__URL".to_owned(), url.to_string())];
        Self { env, client }
    }

    fn start(&self, city: &TestCity) -> Running {
        let env: Vec<(&str, &str)> = (self.env.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Running::start(city, &env)
    }

    /// How often each dataset-day left the queue.
    async fn done(&self) -> BTreeMap<(String, String), i64> {
        let sql = "select dataset, cast(day as text), count(*) from witness group by 1, 2";
        let rows = self.client.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| ((row.get(0), row.get(1)), row.get(2)))
            .collect()
    }

    async fn at_least(&self, days: usize) {
        until("enough dataset-days", async || {
            (self.done().await.len() >= days).then_some(())
        })
        .await;
    }

    /// The time from the first dataset-day done to the last.
    async fn took(&self) -> Duration {
        let sql = "select cast(extract(epoch from max(at) - min(at)) as double precision)
             from witness";
        let seconds: f64 = self.client.query_one(sql, &[]).await.unwrap().get(0);
        Duration::from_secs_f64(seconds)
    }
}

/// A city whose portal takes a while to answer, like a real one.
async fn city() -> TestCity {
    let city = TestCity::around(lately(), SCHEDULE).await;
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule::always(Fault::Delay { ms: 50 })],
        replicas: None,
    });
    city
}

fn each_once(done: &BTreeMap<(String, String), i64>) {
    assert_eq!(done.len(), DAYS);
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_day_is_done_once_although_one_of_three_replicas_is_killed() {
    let city = city().await;
    let shared = Shared::new().await;
    let mut replicas = vec![
        shared.start(&city),
        shared.start(&city),
        shared.start(&city),
    ];
    shared.at_least(DAYS / 5).await;
    let mut killed = replicas.swap_remove(0);
    let process = killed.child.id().unwrap();
    killed.signal("KILL").await;
    killed.ended().await;
    // Its claims would expire in three minutes; here they are taken over immediately.
    let sql = format!(
        "update ledger_queue set claimed_until = now() where claimed_by like '%:{process}:%'"
    );
    let returned = shared.client.execute(&sql, &[]).await.unwrap();
    println!("{returned} claims of the killed one returned");
    shared.at_least(DAYS).await;
    for replica in &mut replicas {
        replica.signal("TERM").await;
        assert_eq!(replica.ended().await.code(), Some(0), "{}", replica.log());
    }
    each_once(&shared.done().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_share_the_same_round() {
    let city = city().await;
    for replicas in 1..=3 {
        let shared = Shared::new().await;
        let started = Instant::now();
        let mut running: Vec<Running> = (0..replicas).map(|_| shared.start(&city)).collect();
        shared.at_least(DAYS).await;
        let (took, all) = (shared.took().await, started.elapsed());
        println!(
            "{replicas} replicas: {DAYS} dataset-days in {took:.1?}, {:.1} a second; {all:.1?} with \
             their start",
            300.0 / took.as_secs_f64()
        );
        for replica in &mut running {
            replica.signal("TERM").await;
            assert_eq!(replica.ended().await.code(), Some(0), "{}", replica.log());
        }
        each_once(&shared.done().await);
    }
}
