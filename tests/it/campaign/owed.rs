//! What the oracle holds a look to where a rival takes rows: to what an honest replica told of all
//! rows, and to nothing that was taken behind that. A liar's answers tell nobody of anything.

use std::collections::BTreeSet;
use std::time::Duration;

use sodalake::sandbox::city::Table;
use sodalake::sandbox::portal::{CutAt, Fault, Faults, ReplicaOptions, Replicas, Rule};

use super::bench::Bench;
use super::play::Case;
use super::script::Script;

const TABLE: Table = Table::RadarCounts;
/// The place of the replica that lies.
const LIAR: usize = 1;
/// Longer than the flag of a replica may lag.
const A_WHILE: Duration = Duration::from_millis(40);

const COUNT: &str = "$select=count(*)";
const KEYS: &str = "$select=row_id&$order=row_id&$limit=5000";
const ONE_KEY: &str = "$select=row_id&$order=row_id&$limit=1";

/// A replica that is stuck, and says that it is up to date.
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
        wound: None,
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
    /// A day in step, looked at, behind an honest replica and one that is stuck and lies.
    async fn begin(bench: &'a Bench, script: &'a Script) -> Self {
        let mut case = Case::begin(bench, script).await;
        let portal = &bench.city.stage.portal;
        portal.set_witness(Some(case.oracle.clone()));
        case.pass(false).await;
        portal.set_replicas(script.replicas.clone());
        case.oracle.set_liars(BTreeSet::from([LIAR]));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            bench,
            case,
            client,
        }
    }

    /// Asks, and says which replica answered.
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

    /// A row of the day that the lake vouches for.
    fn row(&self) -> &'a str {
        let (day, column) = (Bench::day().to_string(), TABLE.day_column());
        let mut rows = self.bench.vouched(TABLE).iter();
        let of_day = rows.find(|(_, row)| row[column].as_str().unwrap().starts_with(&day));
        of_day.unwrap().0
    }

    fn takes_a_row(&self) {
        let portal = &self.bench.city.stage.portal;
        let taken = portal.delete_directly(TABLE.spec().id, &[self.row()]);
        assert_eq!(taken.unwrap(), 1);
    }

    fn puts_it_back(&self) {
        let row = self.bench.vouched(TABLE)[self.row()].clone();
        let at = chrono::Utc::now();
        let portal = &self.bench.city.stage.portal;
        portal
            .upsert_directly(TABLE.spec().id, vec![row], at)
            .unwrap();
    }

    fn adds_a_row(&self) {
        let mut row = self.bench.vouched(TABLE)[self.row()].clone();
        row.insert("row_id".into(), "f".repeat(32).into());
        let (portal, at) = (&self.bench.city.stage.portal, chrono::Utc::now());
        portal
            .upsert_directly(TABLE.spec().id, vec![row], at)
            .unwrap();
    }

    async fn asks_for_the_shape(&self) {
        let stage = &self.bench.city.stage;
        let url = format!("{}/api/views/{}.json", stage.url(), TABLE.spec().id);
        let answer = self.client.get(url).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// Whether the oracle blames a look that ends now and finds nothing.
    fn is_blamed(&self) -> bool {
        self.bench.city.stage.portal.set_witness(None);
        assert_eq!(self.case.oracle.violations(), []);
        self.case.oracle.vet_end(0);
        let rules = self.case.oracle.violations();
        rules.iter().any(|found| found.rule == 9)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_rival_took_are_owed_once_an_honest_replica_told_of_all_that_are_left() {
    let bench = Bench::set_up().await;
    let rules = vec![Rule::always(Fault::DeletesAfter { rows: 1 })];
    let script = healthy(rules, vec![ReplicaOptions::default(), liar()]);
    for (query, replica, blamed) in [
        (COUNT, 0, true),
        (KEYS, 0, true),
        (ONE_KEY, 0, false),
        (COUNT, LIAR, false),
        (KEYS, LIAR, false),
    ] {
        for is_put_back in [false, true] {
            let rival = Rival::begin(&bench, &script).await;
            if is_put_back {
                rival.takes_a_row();
                rival.ask(COUNT).await;
                rival.ask_until(COUNT, 0).await;
                rival.puts_it_back();
                rival.ask(ONE_KEY).await;
            }
            rival.takes_a_row();
            // One of a kind that tells nothing, so that the loss was seen before the one that counts.
            rival.ask(ONE_KEY).await;
            while rival.ask(query).await != replica {
                // The other answered: begin anew.
                if replica == LIAR {
                    rival.puts_it_back();
                    rival.ask_until(COUNT, 0).await;
                    rival.takes_a_row();
                    rival.ask(ONE_KEY).await;
                }
            }
            let what = format!("{query} by {replica}, put back: {is_put_back}");
            assert_eq!(rival.is_blamed(), blamed, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_blamed_for_what_it_was_told_by_one_that_could_be_believed() {
    /// The place of the replica that is behind and says so.
    const BEHIND: usize = 2;
    let bench = Bench::set_up().await;
    let portal = &bench.city.stage.portal;
    let each = vec![ReplicaOptions::default(), liar(), ReplicaOptions::stuck()];
    let script = healthy(Vec::new(), each);
    let cut = Fault::Cut {
        at: CutAt::InString,
    };
    for (replica, fault, blamed) in [
        (0, None, true),
        (0, Some(cut), false),
        (BEHIND, None, false),
        (LIAR, None, false),
    ] {
        let rival = Rival::begin(&bench, &script).await;
        rival.adds_a_row();
        loop {
            portal.clear_requests();
            rival.asks_for_the_shape().await;
            if rival.ask(COUNT).await != LIAR {
                continue;
            }
            let faults = fault.clone().map(|fault| Faults::next(1, fault));
            portal.set_faults(faults.unwrap_or_default());
            let by = rival.ask(KEYS).await;
            portal.set_faults(Faults::default());
            rival.asks_for_the_shape().await;
            if by == replica {
                break;
            }
        }
        assert_eq!(rival.is_blamed(), blamed, "{replica} {fault:?}");
    }
}
