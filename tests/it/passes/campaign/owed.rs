//! Tests which missing rows the oracle expects a check to report while a rival removes rows: those
//! removed before an honest replica returned all rows, but not those removed later. Answers of
//! lying replicas do not count.

use std::collections::BTreeSet;
use std::time::Duration;

use sodalake::sandbox::city::Table;
use sodalake::sandbox::portal::{CutAt, Fault, Faults, ReplicaOptions, Replicas, Rule};

use super::bench::Bench;
use super::play::Case;
use super::script::Script;

const TABLE: Table = Table::RadarCounts;
/// Index of the replica that lies.
const LIAR: usize = 1;
/// Longer than a replica's flag may lag.
const A_WHILE: Duration = Duration::from_millis(40);

const COUNT: &str = "$select=count(*)";
const KEYS: &str = "$select=row_id&$order=row_id&$limit=5000";
const ONE_KEY: &str = "$select=row_id&$order=row_id&$limit=1";

/// A replica that is stuck and claims to be up to date.
fn liar() -> ReplicaOptions {
    ReplicaOptions {
        lies: true,
        ..ReplicaOptions::stuck()
    }
}

/// A day on which nothing is broken.
fn healthy(rules: Vec<Rule>, each: Vec<ReplicaOptions>) -> Script {
    Script {
        seed: 1,
        table: TABLE,
        rewrite: false,
        breakages: Vec::new(),
        damage_plan: None,
        rules,
        replicas: Replicas {
            each,
            flag_lag_ms: 0,
        },
    }
}

struct Rival<'a> {
    bench: &'a Bench,
    case: Case<'a>,
    client: reqwest::Client,
}

impl<'a> Rival<'a> {
    /// A healthy, checked day behind an honest replica and one that is stuck and lies.
    async fn begin(bench: &'a Bench, script: &'a Script) -> Self {
        let mut case = Case::begin(bench, script).await;
        let portal = &bench.city.stage.portal;
        portal.set_witness(Some(case.oracle.clone()));
        case.pass(false).await;
        portal.set_replicas(script.replicas.clone());
        case.oracle.set_liars(BTreeSet::from([LIAR]));
        let client = crate::support::http::client();
        Self {
            bench,
            case,
            client,
        }
    }

    /// Sends a query and returns the replica that answered.
    async fn ask(&self, query: &str) -> usize {
        let stage = &self.bench.city.stage;
        let url = format!("{}/resource/{}.json?{query}", stage.url(), TABLE.spec().id);
        let answer = self.client.get(url).send().await.unwrap();
        assert!(answer.status().is_success());
        tokio::time::sleep(A_WHILE).await;
        stage.portal.requests().last().unwrap().replica.unwrap()
    }

    async fn ask_until(&self, query: &str, replica: usize) {
        while self.ask(query).await != replica {}
    }

    /// A row of the day that the lake confirms.
    fn row(&self) -> &'a str {
        let (day, column) = (Bench::day().to_string(), TABLE.day_column());
        let mut rows = self.bench.confirmed(TABLE).iter();
        let of_day = rows.find(|(_, row)| row[column].as_str().unwrap().starts_with(&day));
        of_day.unwrap().0
    }

    fn remove_row(&self) {
        let portal = &self.bench.city.stage.portal;
        let taken = portal.delete_directly(TABLE.spec().id, &[self.row()]);
        assert_eq!(taken.unwrap(), 1);
    }

    fn put_row_back(&self) {
        let row = self.bench.confirmed(TABLE)[self.row()].clone();
        let at = chrono::Utc::now();
        let portal = &self.bench.city.stage.portal;
        portal
            .upsert_directly(TABLE.spec().id, vec![row], at)
            .unwrap();
    }

    fn add_row(&self) {
        let mut row = self.bench.confirmed(TABLE)[self.row()].clone();
        row.insert("row_id".into(), "f".repeat(32).into());
        let (portal, at) = (&self.bench.city.stage.portal, chrono::Utc::now());
        portal
            .upsert_directly(TABLE.spec().id, vec![row], at)
            .unwrap();
    }

    async fn read_metadata(&self) {
        let stage = &self.bench.city.stage;
        let url = format!("{}/api/views/{}.json", stage.url(), TABLE.spec().id);
        let answer = self.client.get(url).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// Whether the oracle reports a check that ends now without findings.
    fn is_reported(&self) -> bool {
        self.bench.city.stage.portal.set_witness(None);
        assert_eq!(self.case.oracle.violations(), []);
        self.case.oracle.check_end(0);
        let rules = self.case.oracle.violations();
        rules.iter().any(|found| found.rule == 9)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_a_rival_removed_must_be_reported_once_an_honest_replica_returned_the_rest() {
    let bench = Bench::set_up().await;
    let rules = vec![Rule::always(Fault::DeletesAfter { rows: 1 })];
    let script = healthy(rules, vec![ReplicaOptions::default(), liar()]);
    for (query, replica, reported) in [
        (COUNT, 0, true),
        (KEYS, 0, true),
        (ONE_KEY, 0, false),
        (COUNT, LIAR, false),
        (KEYS, LIAR, false),
    ] {
        for is_put_back in [false, true] {
            let rival = Rival::begin(&bench, &script).await;
            if is_put_back {
                rival.remove_row();
                rival.ask(COUNT).await;
                rival.ask_until(COUNT, 0).await;
                rival.put_row_back();
                rival.ask(ONE_KEY).await;
            }
            rival.remove_row();
            // First a query that returns only one key, so that the loss happens before the query
            // that counts.
            rival.ask(ONE_KEY).await;
            while rival.ask(query).await != replica {
                // The other replica answered. Start again.
                if replica == LIAR {
                    rival.put_row_back();
                    rival.ask_until(COUNT, 0).await;
                    rival.remove_row();
                    rival.ask(ONE_KEY).await;
                }
            }
            let what = format!("{query} by {replica}, put back: {is_put_back}");
            assert_eq!(rival.is_reported(), reported, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_must_report_what_an_honest_replica_returned() {
    /// Index of the replica that lags and says so.
    const BEHIND: usize = 2;
    let bench = Bench::set_up().await;
    let portal = &bench.city.stage.portal;
    let each = vec![ReplicaOptions::default(), liar(), ReplicaOptions::stuck()];
    let script = healthy(Vec::new(), each);
    let cut = Fault::Cut {
        at: CutAt::InString,
    };
    for (replica, fault, reported) in [
        (0, None, true),
        (0, Some(cut), false),
        (BEHIND, None, false),
        (LIAR, None, false),
    ] {
        let rival = Rival::begin(&bench, &script).await;
        rival.add_row();
        loop {
            portal.clear_requests();
            rival.read_metadata().await;
            if rival.ask(COUNT).await != LIAR {
                continue;
            }
            let faults = fault.clone().map(|fault| Faults::next(1, fault));
            portal.set_faults(faults.unwrap_or_default());
            let by = rival.ask(KEYS).await;
            portal.set_faults(Faults::default());
            rival.read_metadata().await;
            if by == replica {
                break;
            }
        }
        assert_eq!(rival.is_reported(), reported, "{replica} {fault:?}");
    }
}
