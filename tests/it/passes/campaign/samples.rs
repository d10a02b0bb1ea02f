//! A fixed sample of each part of the campaign.

use proptest::prelude::*;
use sodalake::reconcile::State;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Operation, ReplicaOptions, Replicas, Rule};

use super::bench::Bench;
use super::length::{DRAWN, LAKE, PORTAL, WRITES, every_request};
use super::script::Script;
use super::tally::{Tally, Until};

const SEED: u64 = 20_201_014;

async fn sample(part: &'static str, cases: u64) {
    let bench = Bench::set_up().await;
    let mut tally = Tally::default();
    let (_, strategy) = DRAWN.iter().find(|(name, _)| *name == part).unwrap();
    let run = tally
        .run(part, &bench, &strategy().boxed(), SEED, Until::Cases(cases))
        .await;
    println!("{tally}");
    if let Err(broken) = run {
        panic!("{broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damage_to_the_lake_loses_a_row() {
    Box::pin(sample(LAKE, 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_of_the_portal_never_reach_a_plan() {
    Box::pin(sample(PORTAL, 80)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_ends_correctly_whichever_requests_fail() {
    Box::pin(sample(WRITES, 60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_or_rewrite_survives_a_fault_at_any_request() {
    let bench = Bench::set_up().await;
    let mut tally = Tally::default();
    for rewrite in [false, true] {
        let run = every_request(&mut tally, &bench, Table::RadarCounts, rewrite, 11).await;
        if let Err(broken) = run {
            panic!("{tally}\n{broken}");
        }
    }
    println!("{tally}");
}

/// Keys or contents are read from an honest replica, and then the differing rows from one that lags
/// without saying so and reports no difference. The campaign found both cases.
#[tokio::test(flavor = "multi_thread")]
async fn a_lying_replica_cannot_clear_findings() {
    let bench = Bench::set_up().await;
    let mut tally = Tally::default();
    let liar = ReplicaOptions {
        lag_ms: 30,
        stuck: true,
        lies: true,
        datasets: Vec::new(),
    };
    let (mut gone, mut right) = (0, 0);
    for breakages in [
        vec![Breakage::Strangers(10), Breakage::StaleValues],
        vec![Breakage::StaleValues],
    ] {
        // With even seeds the lying replica is stuck from before the day is broken. The seed
        // decides which replica answers.
        for seed in (0..20).map(|n| 2 * n) {
            let script = Script {
                seed,
                table: Table::RadarCounts,
                rewrite: false,
                breakages: breakages.clone(),
                damage_plan: None,
                rules: Vec::new(),
                replicas: Replicas {
                    each: vec![ReplicaOptions::default(), liar.clone()],
                    flag_lag_ms: 0,
                },
            };
            let played = tally.play(PORTAL, &bench, &script).await;
            assert_eq!(played.violations, [], "seed {seed}");
            let why = played.ended[0].1.as_deref().unwrap_or_default();
            gone += usize::from(why.contains("was published and is no longer"));
            right +=
                usize::from(why.contains("had unexpected values and now has the expected ones"));
        }
    }
    assert!(
        gone > 0 && right > 0,
        "{gone} and {right} wrong answers were detected"
    );
}

/// The purge of a rewrite is sent, not answered, sent again and answered. The first one is applied
/// late, after the rows were published again. The campaign found this.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_purge_removes_nothing_that_was_published_again() {
    let bench = Bench::set_up().await;
    let mut tally = Tally::default();
    let mut waited = 0;
    for write in 1..=6 {
        let late = Rule {
            on: Operation::Write,
            nth: Some(write),
            ..Rule::always(Fault::Late { ms: 2_500 })
        };
        let script = Script {
            seed: 1,
            table: Table::RadarCounts,
            rewrite: true,
            breakages: vec![Breakage::TailLost],
            damage_plan: None,
            rules: vec![late],
            replicas: Replicas::default(),
        };
        let played = tally.play(WRITES, &bench, &script).await;
        assert_eq!(played.violations, [], "write {write}");
        let [(first, why), (next, _), ..] = &played.ended[..] else {
            panic!("only one pass ran: {:?}", played.ended);
        };
        if *first == State::Repaired {
            assert_eq!(
                *next,
                State::InSync,
                "write {write}: a late purge removed rows"
            );
        }
        let why = why.as_deref().unwrap_or_default();
        waited += usize::from(
            why.contains("may still be carried out and could purge rows published since"),
        );
    }
    assert!(waited > 0, "no purge was late");
}

/// The last rows that a rewrite purges are refused. Two of them remain, both under an old key
/// scheme, and the next pass used to publish the rest of the file under that scheme too. The
/// campaign found this.
#[tokio::test(flavor = "multi_thread")]
async fn rows_a_rewrite_could_not_purge_do_not_bring_back_an_old_key_scheme() {
    let bench = Bench::set_up().await;
    let mut tally = Tally::default();
    let refused = Rule {
        on: Operation::Write,
        nth: Some(5),
        times: Some(3),
        ..Rule::always(Fault::RowsRefused { rows: 2 })
    };
    let script = Script {
        seed: 13,
        table: Table::RadarCounts,
        rewrite: true,
        breakages: vec![Breakage::ChainedAgain],
        damage_plan: None,
        rules: vec![refused],
        replicas: Replicas::default(),
    };
    let played = tally.play(WRITES, &bench, &script).await;
    assert_eq!(played.violations, []);
    let states: Vec<State> = played.ended.iter().map(|(state, _)| *state).collect();
    assert_eq!(states[..2], [State::Unconfirmed, State::Repaired]);
    let why = played.ended[0].1.as_deref().unwrap_or_default();
    assert!(
        why.contains("what was purged") && why.contains("2 rows are not confirmed"),
        "{why}"
    );
}
