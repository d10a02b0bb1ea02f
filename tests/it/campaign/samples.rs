//! A sample of each part of the campaign, always the same.

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
    sample(LAKE, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_untruth_of_the_portal_reaches_a_plan() {
    sample(PORTAL, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_its_requests_a_repair_ends_right() {
    sample(WRITES, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_at_any_request_of_a_repair_or_a_rewrite_is_mended() {
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

/// Keys, or contents, read from the honest replica, and then the rows that differ from one that is
/// behind and does not say so: nothing differs, says that one. The campaign found both.
#[tokio::test(flavor = "multi_thread")]
async fn a_liar_asked_for_the_rows_found_is_no_all_clear() {
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
        // Even: the liar is stuck from before the day broke. Who answers what is drawn by the seed.
        for seed in (0..20).map(|n| 2 * n) {
            let script = Script {
                seed,
                table: Table::RadarCounts,
                rewrite: false,
                breakages: breakages.clone(),
                wound: None,
                rules: Vec::new(),
                replicas: Replicas {
                    each: vec![ReplicaOptions::default(), liar.clone()],
                    flag_lag_ms: 0,
                },
            };
            let played = tally.play(PORTAL, &bench, &script).await;
            assert_eq!(played.violations, [], "seed {seed}");
            let why = played.ended[0].1.as_deref().unwrap_or_default();
            gone += usize::from(why.contains("stood there and is gone"));
            right += usize::from(why.contains("had other values than are expected"));
        }
    }
    assert!(gone > 0 && right > 0, "{gone} and {right} lies were caught");
}

/// A purge of a rewrite that is asked for, goes unanswered, is asked for again and answered, and is
/// carried out once more when the rows would have been published again. The campaign found it.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_comes_late_takes_nothing_that_was_published_again() {
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
            wound: None,
            rules: vec![late],
            replicas: Replicas::default(),
        };
        let played = tally.play(WRITES, &bench, &script).await;
        assert_eq!(played.violations, [], "write {write}");
        let [(first, why), (next, _), ..] = &played.ended[..] else {
            panic!("one pass is not enough: {:?}", played.ended);
        };
        if *first == State::Repaired {
            assert_eq!(
                *next,
                State::InStep,
                "write {write}: a late purge took rows"
            );
        }
        let why = why.as_deref().unwrap_or_default();
        waited += usize::from(why.contains("is purged after it was published again"));
    }
    assert!(waited > 0, "no purge came late");
}

/// A rewrite whose last rows to go are refused: two are left, both under an old recipe, and the next
/// pass once published the rest of the file under that one too. The campaign found it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_rewrite_could_not_purge_do_not_call_an_old_recipe_back() {
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
        wound: None,
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
