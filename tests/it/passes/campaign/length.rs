//! The long campaign that `tests/campaign` runs: every fault at every request of a repair and of a
//! rewrite, then random cases of each part in turn until the time is up.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Operation, Replicas, Rule};

use super::bench::Bench;
use super::script::{
    Script, any_request_faults, damaged_lake, failing_writes, write_faults, wrong_answers,
};
use super::tally::{Broken, Tally, Until};

pub const LAKE: &str = "lake";
pub const PORTAL: &str = "portal";
pub const WRITES: &str = "writes";

type Drawing = fn() -> BoxedStrategy<Script>;

/// The parts with random cases.
pub const DRAWN: [(&str, Drawing); 3] = [
    (LAKE, || damaged_lake().boxed()),
    (PORTAL, || wrong_answers().boxed()),
    (WRITES, || failing_writes().boxed()),
];

/// A case with one fault, at one request.
fn one_fault(table: Table, rewrite: bool, rules: Vec<Rule>) -> Script {
    Script {
        seed: 1,
        table,
        rewrite,
        breakages: vec![Breakage::Strangers(9), Breakage::TailLost],
        damage_plan: None,
        rules,
        replicas: Replicas::default(),
    }
}

/// Plays every fault at every `step`th request of a repair or rewrite.
pub async fn every_request(
    tally: &mut Tally,
    bench: &Bench,
    table: Table,
    rewrite: bool,
    step: usize,
) -> Result<(), Box<Broken>> {
    let healthy = tally
        .play(WRITES, bench, &one_fault(table, rewrite, Vec::new()))
        .await;
    let (requests, writes) = healthy.requests;
    assert!(writes >= 2, "a repair of {table:?} writes {writes} times");
    let at = |on, nth, fault: &Fault| Rule {
        on,
        nth: Some(nth as u64),
        ..Rule::always(fault.clone())
    };
    let anywhere = any_request_faults();
    let anywhere = anywhere
        .iter()
        .flat_map(|fault| (1..=requests).map(move |nth| at(Operation::Any, nth, fault)));
    let writing = write_faults();
    let writing = writing
        .iter()
        .flat_map(|fault| (1..=writes).map(move |nth| at(Operation::Write, nth, fault)));
    for (number, rule) in anywhere.chain(writing).enumerate().step_by(step) {
        let script = one_fault(table, rewrite, vec![rule]);
        let played = tally.play(WRITES, bench, &script).await;
        if !played.violations.is_empty() {
            return Err(Box::new(Broken {
                seed: script.seed,
                number: number as u64,
                script,
                played,
            }));
        }
    }
    Ok(())
}

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(format!("SODALAKE_CAMPAIGN_{name}"));
    given.map_or(default, |text| text.parse().expect("it is a whole number"))
}

async fn campaign(tally: &mut Tally, seed: u64, time: Duration) -> Result<(), Box<Broken>> {
    let started = Instant::now();
    let bench = Bench::set_up().await;
    for (rewrite, table) in [(false, Table::RadarCounts), (true, Table::RadarCounts)] {
        every_request(tally, &bench, table, rewrite, 1).await?;
    }
    let rounds = 10;
    let left = time.saturating_sub(started.elapsed());
    let shares = [6, 2, 2];
    for round in 0..rounds {
        for ((part, strategy), share) in DRAWN.iter().zip(shares) {
            let end = Instant::now() + left / rounds * share / 10;
            let seed = seed.wrapping_add(u64::from(round) << 32);
            tally
                .run(part, &bench, &strategy(), seed, Until::Time(end))
                .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as requested: tests/campaign runs it"]
async fn at_length() {
    let (seed, minutes) = (setting("SEED", 1), setting("MINUTES", 10));
    let mut tally = Tally::default();
    let ended = Box::pin(campaign(
        &mut tally,
        seed,
        Duration::from_secs(60 * minutes),
    ))
    .await;
    println!("seed {seed}, {minutes} minutes\n{tally}");
    if let Err(broken) = ended {
        panic!("{broken}");
    }
}
