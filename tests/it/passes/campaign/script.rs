//! A case: the table, what is wrong with its day, and what goes wrong during the repair. Cases are
//! drawn from a seed, and shrink to the shortest one that still breaks a rule.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sodalake::compare::Depth;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{CutAt, Fault, Hint, Operation, ReplicaOptions, Replicas, Rule};

use super::damage::{DamagePlan, damage_plans};

/// One case.
#[derive(Clone, Debug)]
pub struct Script {
    /// Seed of the portal's random decisions and the client's pauses.
    pub seed: u64,
    pub table: Table,
    pub rewrite: bool,
    /// What is wrong with the day.
    pub breakages: Vec<Breakage>,
    /// The damage of the lake.
    pub damage_plan: Option<DamagePlan>,
    /// The faults of the portal.
    pub rules: Vec<Rule>,
    pub replicas: Replicas,
}

impl Script {
    pub fn depth(&self) -> Depth {
        if self.breakages.contains(&Breakage::StaleValues) {
            Depth::Content
        } else {
            Depth::Keys
        }
    }

    /// Whether days are migrated. A day that lost rows and is also published under the chained
    /// hasher would otherwise be in sync under that scheme alone, which these cases do not test.
    pub fn migrates(&self) -> bool {
        self.breakages.contains(&Breakage::ChainedAgain) && self.breakages.len() > 1
    }

    /// Long, unless a fault answers requests after the client has given up.
    pub fn request_timeout(&self) -> Duration {
        let late = |rule: &Rule| {
            matches!(
                rule.fault,
                Fault::Delay { .. } | Fault::Late { .. } | Fault::Stall { .. }
            )
        };
        if self.rules.iter().any(late) {
            Duration::from_millis(GIVES_UP_MS)
        } else {
            Duration::from_secs(10)
        }
    }
}

/// When the client gives up in a case with late answers, and when these arrive.
pub const GIVES_UP_MS: u64 = 700;
pub const LATE_MS: u64 = 1_000;

/// Breakages that cause a purge.
fn purge_breakages() -> impl Strategy<Value = Breakage> {
    prop_oneof![
        Just(Breakage::ChainedAgain),
        Just(Breakage::OtherSpelling),
        (1u32..20).prop_map(Breakage::Strangers),
    ]
}

/// Breakages that cause rows to be published or entries to be corrected.
fn other_breakages() -> impl Strategy<Value = Breakage> {
    select(vec![
        Breakage::NeverPublished,
        Breakage::OnlyCatalogued,
        Breakage::TailLost,
        Breakage::StaleValues,
        Breakage::NotCatalogued,
        Breakage::GhostEntry,
    ])
}

/// A table, and what is wrong with its day. Tables in `waits` lose no rows.
fn broken_days(
    least: usize,
    waits: &'static [Table],
) -> impl Strategy<Value = (Table, Vec<Breakage>)> {
    let purging = proptest::collection::vec(purge_breakages(), least..=1);
    let other_breakages = proptest::collection::vec(other_breakages(), 0..=1);
    (select(Table::ALL.to_vec()), purging, other_breakages).prop_map(|(table, one, other)| {
        let fits = |breakage: &Breakage| !(waits.contains(&table) && loses_rows(*breakage));
        (
            table,
            [one, other].concat().into_iter().filter(fits).collect(),
        )
    })
}

/// Tables whose files with lost rows may have to wait: the rows of matched trips are on two days.
const WAITS: &[Table] = &[Table::MatchedTrips];

/// The same while the lake is damaged. If single reads were published from a file that silently
/// lost rows, their numbers differ from those of the whole file.
const WAITS_IN_DAMAGE: &[Table] = &[Table::MatchedTrips, Table::DeviceReads];

fn loses_rows(breakage: Breakage) -> bool {
    let losing = [
        Breakage::NeverPublished,
        Breakage::OnlyCatalogued,
        Breakage::TailLost,
    ];
    losing.contains(&breakage)
}

/// A day that needs a purge, and a damaged lake.
pub fn damaged_lake() -> impl Strategy<Value = Script> {
    (
        any::<u64>(),
        broken_days(1, WAITS_IN_DAMAGE),
        damage_plans(),
    )
        .prop_map(|(seed, (table, breakages), damage_plan)| Script {
            seed,
            table,
            rewrite: false,
            breakages,
            damage_plan: Some(damage_plan),
            rules: Vec::new(),
            replicas: Replicas::default(),
        })
}

fn read_faults() -> impl Strategy<Value = Fault> {
    let cuts = select(vec![
        CutAt::RowBoundary,
        CutAt::InString,
        CutAt::BeforeBracket,
        CutAt::MissingRows,
        CutAt::MissingBracket,
    ]);
    let hints = select(vec![
        Hint::None,
        Hint::Seconds,
        Hint::Date,
        Hint::Location,
        Hint::Ticket,
    ]);
    prop_oneof![
        4 => cuts.prop_map(|at| Fault::Cut { at }),
        2 => Just(Fault::EmptyArray),
        2 => Just(Fault::RepeatedRow),
        2 => Just(Fault::SkippedRow),
        2 => Just(Fault::WrongOrder),
        2 => Just(Fault::FieldTwice),
        1 => Just(Fault::LoginPage),
        1 => Just(Fault::Reset),
        1 => Just(Fault::NoSodaHeaders),
        1 => Just(Fault::NoFieldHeaders),
        1 => hints.prop_map(|hint| Fault::Accepted { hint }),
        1 => Just(Fault::Gateway { status: 502 }),
        1 => Just(Fault::EmptyGatewayTimeout),
        1 => Just(Fault::Unavailable),
        1 => Just(Fault::QueryTimeout),
        1 => Just(Fault::Throttled { retry_after_seconds: None }),
        1 => any::<bool>().prop_map(|out_of_date| Fault::Flag { out_of_date }),
        2 => (1usize..4).prop_map(|rows| Fault::DeletesAfter { rows }),
        2 => (1usize..4).prop_map(|rows| Fault::TouchesAfter { rows }),
        1 => Just(Fault::Drip { bytes: 700, pause_ms: 1 }),
    ]
}

/// A fault of the nth read, or of each read with some probability, for a limited number of times.
fn read_rules() -> impl Strategy<Value = Rule> {
    let lie = (Just(Fault::OneMore), Just(Some("count(".to_owned())));
    let fault = prop_oneof![9 => (read_faults(), Just(None)), 1 => lie];
    let nth = prop_oneof![(1u64..40).prop_map(Some), Just(None)];
    (fault, nth, 0.05f64..1.0, 1u64..6).prop_map(|((fault, query_contains), nth, chance, times)| {
        Rule {
            on: Operation::Read,
            query_contains,
            nth,
            probability: nth.is_none().then_some(chance),
            times: Some(times),
            ..Rule::always(fault)
        }
    })
}

fn replicas() -> impl Strategy<Value = Replicas> {
    let one = (0u64..3, any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(lag, stuck, lies)| {
        ReplicaOptions {
            lag_ms: lag * 15,
            stuck: stuck && lag == 2,
            lies,
            datasets: Vec::new(),
        }
    });
    let others = proptest::collection::vec(one, 0..3);
    (others, select(vec![0u64, 0, 10])).prop_map(|(others, flag_lag_ms)| Replicas {
        each: [vec![ReplicaOptions::default()], others].concat(),
        flag_lag_ms,
    })
}

/// A day that may be in sync, behind a portal that gives wrong answers.
pub fn wrong_answers() -> impl Strategy<Value = Script> {
    let rules = proptest::collection::vec(read_rules(), 0..4);
    (any::<u64>(), broken_days(0, WAITS), rules, replicas()).prop_map(
        |(seed, (table, breakages), rules, replicas)| Script {
            seed,
            table,
            rewrite: false,
            breakages,
            damage_plan: None,
            rules,
            replicas,
        },
    )
}

/// Faults that can happen to any request.
pub fn any_request_faults() -> Vec<Fault> {
    vec![
        Fault::Reset,
        Fault::Gateway { status: 502 },
        Fault::LockConflict,
        Fault::Throttled {
            retry_after_seconds: Some(1),
        },
        Fault::Throttled {
            retry_after_seconds: None,
        },
        Fault::LoginPage,
        Fault::Accepted { hint: Hint::None },
        Fault::Delay { ms: LATE_MS },
    ]
}

/// Faults that can happen to a write.
pub fn write_faults() -> Vec<Fault> {
    vec![
        Fault::AppliedThenReset,
        Fault::AppliedThenGateway { status: 502 },
        Fault::TooLarge { bytes: 2_000 },
        Fault::SavedButRefused,
        Fault::RowsRefused { rows: 2 },
        Fault::RowsRefused { rows: usize::MAX },
        Fault::WrongCounts,
        Fault::DeliveredTwice,
        Fault::Late { ms: LATE_MS },
    ]
}

/// A fault of the nth matching request and of the ones after it.
fn write_rules() -> impl Strategy<Value = Rule> {
    let any = (select(any_request_faults()), Just(Operation::Any), 1u64..50);
    let write = (select(write_faults()), Just(Operation::Write), 1u64..8);
    let which = prop_oneof![any, write];
    (which, 1u64..12).prop_map(|((fault, on, nth), times)| Rule {
        on,
        nth: Some(nth),
        times: Some(times),
        ..Rule::always(fault)
    })
}

/// A repair or a rewrite in which several requests go wrong.
pub fn failing_writes() -> impl Strategy<Value = Script> {
    let rules = proptest::collection::vec(write_rules(), 1..4);
    (any::<u64>(), broken_days(1, WAITS), any::<bool>(), rules).prop_map(
        |(seed, (table, breakages), rewrite, rules)| Script {
            seed,
            table,
            rewrite,
            breakages,
            damage_plan: None,
            rules,
            replicas: Replicas::default(),
        },
    )
}

/// The case with this seed and number, which can be shortened.
pub fn case(
    strategy: &BoxedStrategy<Script>,
    seed: u64,
    number: u64,
) -> Box<dyn ValueTree<Value = Script>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    strategy
        .new_tree(&mut runner)
        .expect("no case is filtered out")
}
