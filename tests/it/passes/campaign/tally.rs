//! Plays the cases of a seed until a number is reached or the time is up, and counts the results.
//! The first case that breaks a rule is shortened as far as possible, and ends the campaign.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use proptest::strategy::{BoxedStrategy, ValueTree};
use sodalake::sandbox::portal::Fault;

use super::bench::Bench;
use super::play::{Played, play};
use super::script::{Script, case};

/// Maximum number of cases played to shorten a failing one.
const MAX_TRIALS: usize = 60;

/// Maximum number of violations reported for a case.
const MAX_REPORTED: usize = 12;

/// Results for one kind of fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    pub tried: u64,
    pub survived: u64,
    pub lost: u64,
    pub wrongly_purged: u64,
    /// Confirmed rows that were purged as orphans because of a silent damage of the lake. They were
    /// archived, and published again later.
    pub excused: u64,
}

/// The results of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    lines: BTreeMap<(&'static str, String), Line>,
    pub cases: u64,
    pub writes: u64,
}

/// When a campaign ends, if no rule is broken.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Cases(u64),
    Time(Instant),
}

/// A case that broke a rule.
#[derive(Debug)]
pub struct Broken {
    pub seed: u64,
    pub number: u64,
    pub script: Script,
    pub played: Played,
}

impl Tally {
    fn count(&mut self, part: &'static str, script: &Script, played: &Played) {
        self.cases += 1;
        self.writes += played.counts.writes as u64;
        for kind in kinds(script, played) {
            let line = self.lines.entry((part, kind)).or_default();
            line.tried += 1;
            line.survived += u64::from(played.violations.is_empty());
            line.lost += played.lost as u64;
            line.wrongly_purged += played.counts.wrongly_purged as u64;
            line.excused += played.counts.excused as u64;
        }
    }

    /// Plays one case that was not drawn.
    pub async fn play(&mut self, part: &'static str, bench: &Bench, script: &Script) -> Played {
        let played = play(bench, script).await;
        self.count(part, script, &played);
        played
    }

    /// Plays the cases of a seed.
    pub async fn run(
        &mut self,
        part: &'static str,
        bench: &Bench,
        strategy: &BoxedStrategy<Script>,
        seed: u64,
        until: Until,
    ) -> Result<(), Box<Broken>> {
        for number in 0.. {
            let over = match until {
                Until::Cases(most) => number >= most,
                Until::Time(end) => Instant::now() >= end,
            };
            if over {
                break;
            }
            let mut tree = case(strategy, seed, number);
            let script = tree.current();
            let played = self.play(part, bench, &script).await;
            if !played.violations.is_empty() {
                let (script, played) = shortest(bench, tree.as_mut(), script, played).await;
                return Err(Box::new(Broken {
                    seed,
                    number,
                    script,
                    played,
                }));
            }
        }
        Ok(())
    }
}

/// The shortest case that still breaks the same rule.
async fn shortest(
    bench: &Bench,
    tree: &mut dyn ValueTree<Value = Script>,
    mut script: Script,
    mut played: Played,
) -> (Script, Played) {
    let rule = played.violations[0].rule;
    let mut trials = 0;
    'shorter: while trials < MAX_TRIALS && tree.simplify() {
        loop {
            trials += 1;
            let tried = play(bench, &tree.current()).await;
            if tried
                .violations
                .iter()
                .any(|violation| violation.rule == rule)
            {
                (script, played) = (tree.current(), tried);
                break;
            }
            if trials >= MAX_TRIALS || !tree.complicate() {
                break 'shorter;
            }
        }
    }
    (script, played)
}

/// The faults of a case, by name.
fn kinds(script: &Script, played: &Played) -> Vec<String> {
    let damage = played
        .damage
        .iter()
        .map(|damage| damage.kind.name().to_owned());
    let mut faults: Vec<String> = script.rules.iter().map(|rule| name(&rule.fault)).collect();
    let replicas = |is: fn(&sodalake::sandbox::portal::ReplicaOptions) -> bool| {
        script.replicas.each.iter().any(is)
    };
    if replicas(|one| one.lag_ms > 0 && !one.stuck && !one.lies) {
        faults.push("replica lags".into());
    }
    if replicas(|one| one.lag_ms > 0 && !one.stuck && one.lies) {
        faults.push("replica lags and denies it".into());
    }
    if replicas(|one| one.stuck && !one.lies) {
        faults.push("replica stuck".into());
    }
    if replicas(|one| one.stuck && one.lies) {
        faults.push("replica stuck and denies it".into());
    }
    faults.sort();
    faults.dedup();
    let mut kinds: Vec<String> = damage.chain(faults).collect();
    if kinds.is_empty() {
        kinds.push("none".into());
    }
    kinds
}

/// The name of a fault, such as `applied then reset` for `AppliedThenReset`, with its position or
/// status if that matters.
fn name(fault: &Fault) -> String {
    let whole = format!("{fault:?}");
    let plain = whole.split(' ').next().unwrap_or_default();
    let mut words = String::new();
    for letter in plain.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    match fault {
        Fault::Cut { at } => format!("{words} {at:?}"),
        Fault::Throttled {
            retry_after_seconds,
        } if retry_after_seconds.is_some() => {
            format!("{words} with retry-after")
        }
        _ => words,
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<8}{:<38}{:>8}{:>10}{:>11}{:>16}{:>9}",
            "part", "fault", "tried", "survived", "rows lost", "wrongly purged", "excused"
        )?;
        let mut all = Line::default();
        for ((part, kind), line) in &self.lines {
            let Line {
                tried,
                survived,
                lost,
                wrongly_purged,
                excused,
            } = *line;
            writeln!(
                f,
                "{part:<8}{kind:<38}{tried:>8}{survived:>10}{lost:>11}{wrongly_purged:>16}{excused:>9}"
            )?;
            all.lost += lost;
            all.wrongly_purged += wrongly_purged;
        }
        let (cases, writes) = (self.cases, self.writes);
        write!(
            f,
            "{cases} cases, {writes} writes checked, {} rows lost, {} wrongly purged",
            all.lost, all.wrongly_purged
        )
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            number,
            script,
            played,
        } = self;
        writeln!(f, "case {number} of seed {seed} breaks rules:")?;
        for violation in played.violations.iter().take(MAX_REPORTED) {
            writeln!(f, "  {violation}")?;
        }
        let more = played.violations.len().saturating_sub(MAX_REPORTED);
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        writeln!(f, "the passes ended: {:?}", played.ended)?;
        write!(f, "the shortest such case: {script:#?}")
    }
}
