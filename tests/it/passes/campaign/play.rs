//! Plays one case: breaks the day, runs passes while faults happen, ends the faults, and runs
//! passes until the day is repaired.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sodalake::app;
use sodalake::model::Entry;
use sodalake::plan::Guard;
use sodalake::reconcile::{Report, State};
use sodalake::sandbox::city::Breakage;
use sodalake::sandbox::portal::{Fault, Faults, Replicas};

use super::bench::{Bench, Place};
use super::damage::{Class, Damage};
use super::oracle::{Counts, Oracle, Scene, Violation};
use super::script::Script;

/// Maximum number of passes after the faults have ended.
const PASSES_TO_REPAIR: usize = 3;

/// Minutes after which a lease has expired.
const LEASE_EXPIRY: i64 = 16;

/// Minutes after which no purge of before counts against the budget of 24 hours.
const A_DAY_AND_NIGHT_IS_OVER: i64 = 24 * 60 + 1;

/// Longer than any case takes.
const HANGS_AFTER: Duration = Duration::from_mins(2);

/// The result of a case.
#[derive(Clone, Debug)]
pub struct Played {
    pub violations: Vec<Violation>,
    pub counts: Counts,
    /// Confirmed rows that are not published at the end.
    pub lost: usize,
    /// The damage of the lake, if there was one.
    pub damage: Option<Damage>,
    /// Number of requests of the first pass, and of writes among them.
    pub requests: (usize, usize),
    /// How the passes ended, first to last.
    pub ended: Vec<(State, Option<String>)>,
}

/// A case that is being played.
pub struct Case<'a> {
    pub bench: &'a Bench,
    pub script: &'a Script,
    pub place: Place,
    pub oracle: Arc<Oracle>,
    /// Whether any breakage applied. Not every table can break in every way.
    is_broken: bool,
    ended: Vec<(State, Option<String>)>,
}

pub async fn play(bench: &Bench, script: &Script) -> Played {
    let case = Case::begin(bench, script).await;
    let portal = &bench.city.stage.portal;
    portal.set_witness(Some(case.oracle.clone()));
    let played = case.play().await;
    portal.set_witness(None);
    played
}

impl<'a> Case<'a> {
    /// Breaks the day.
    pub async fn begin(bench: &'a Bench, script: &'a Script) -> Self {
        let (city, table) = (&bench.city, script.table);
        bench.heal(table);
        let portal = &city.stage.portal;
        portal.reseed(script.seed);
        if script.seed.is_multiple_of(2) {
            // The replicas are stuck from before the day is broken.
            portal.set_replicas(script.replicas.clone());
        }
        let (mut orphan_keys, mut is_broken) = (BTreeSet::new(), false);
        for breakage in &script.breakages {
            let before = city.rows(table);
            is_broken |= city.try_damage(*breakage, table, Bench::day()).is_some();
            if let Breakage::Strangers(_) = breakage {
                let new = city
                    .rows(table)
                    .into_keys()
                    .filter(|key| !before.contains_key(key));
                orphan_keys.extend(new);
            }
        }
        let place = bench.place(script).await;
        let settings = &place.world.settings;
        let oracle = Oracle::new(Scene {
            portal: portal.clone(),
            table,
            target: place.target.clone(),
            confirmed: bench.confirmed(table).clone(),
            start: city.rows(table),
            orphan_keys,
            rival: (script.rules.iter())
                .any(|rule| matches!(rule.fault, Fault::DeletesAfter { .. })),
            rails: place.world.of(&place.target.dataset).rails.clone(),
            ledger: place.dir.path().join("ledger.db"),
            archive: app::archive(settings).unwrap(),
            holder: place.writers.holder.clone(),
            clock: place.clock.clone(),
        });
        Self {
            bench,
            script,
            place,
            oracle: Arc::new(oracle),
            is_broken,
            ended: Vec::new(),
        }
    }

    async fn play(mut self) -> Played {
        let portal = &self.bench.city.stage.portal;
        let damage = self.damage_lake();
        portal.set_faults(Faults {
            rules: self.script.rules.clone(),
            replicas: Some(self.script.replicas.clone()),
        });
        let liars = self.script.replicas.each.iter().enumerate();
        let liars = liars.filter(|(_, options)| options.lies);
        self.oracle.set_liars(liars.map(|(at, _)| at).collect());
        let entries = self.wrong_entries();
        let first = self.pass(self.script.rewrite).await;
        let requests = portal.requests();
        let writes = requests
            .iter()
            .filter(|request| request.method != "GET")
            .count();
        if let Some(damage) = &damage {
            self.check_doubt(damage, &first, entries);
        } else if !self.script.rewrite && !self.script.rules.is_empty() {
            self.pass(false).await;
        }
        self.clear().await;
        self.repair().await;
        Played {
            violations: self.oracle.violations(),
            counts: self.oracle.counts(),
            lost: self.oracle.lost(),
            damage,
            requests: (requests.len(), writes),
            ended: self.ended,
        }
    }

    fn damage_lake(&self) -> Option<Damage> {
        let damage_plan = self.script.damage_plan.as_ref()?;
        let damage = damage_plan.apply(
            &self.bench.files(self.script.table),
            self.script.table.ext(),
        );
        self.bench.apply_damage(&damage);
        self.oracle.set_lake(Some(self.class(&damage)));
        Some(damage)
    }

    /// If the only file is removed from the catalog too, the day has no file, which is visible.
    fn class(&self, damage: &Damage) -> Class {
        let only = self.bench.files(self.script.table).len() - damage.more.len() <= 1;
        if damage.is_forgotten() && only {
            Class::Visible
        } else {
            damage.kind.class()
        }
    }

    pub async fn pass(&mut self, rewrite: bool) -> Report {
        self.oracle.set_rewrite(rewrite);
        let script = Script {
            rewrite,
            ..self.script.clone()
        };
        let report = tokio::time::timeout(HANGS_AFTER, self.place.pass(&script)).await;
        let report = report.unwrap_or_else(|_| panic!("a pass hangs: {:?}", self.script));
        self.ended.push((report.state, report.why.clone()));
        let done = matches!(report.state, State::InSync | State::Repaired);
        if done && self.script.damage_plan.is_none() {
            self.oracle.check_end(self.wrong_entries());
        }
        report
    }

    /// What a pass must report, and must not change, while the lake is damaged.
    fn check_doubt(&self, damage: &Damage, report: &Report, entries: usize) {
        let why = report.why.clone().unwrap_or_default();
        match self.class(damage) {
            Class::Visible => {
                let fine = report.state == State::Unproven && why.contains(&damage.named());
                if !fine {
                    let (state, named) = (report.state, damage.named());
                    self.oracle.report_violation(
                        3,
                        format!("{state}, expected unproven because of {named}: {why}"),
                    );
                }
                if self.wrong_entries() != entries {
                    self.oracle
                        .report_violation(3, "the catalog was changed in doubt");
                }
            }
            Class::Harmless => {
                // Not every table can break in every way.
                let due = if self.is_broken {
                    State::Repaired
                } else {
                    State::InSync
                };
                if report.state != due {
                    self.oracle
                        .report_violation(9, format!("{}, expected {due}: {why}", report.state));
                }
            }
            Class::Silent => {}
        }
    }

    /// Ends every fault, and waits until late requests are done.
    async fn clear(&self) {
        let portal = &self.bench.city.stage.portal;
        portal.set_faults(Faults {
            rules: Vec::new(),
            replicas: Some(Replicas::default()),
        });
        self.bench.store.set(None);
        let ready = |entry: &&Entry| entry.key.repository == sodalake::sandbox::city::READY;
        let ready: Vec<Entry> = self.bench.entries().iter().filter(ready).cloned().collect();
        self.bench.city.stage.catalog.insert(&ready).unwrap();
        while self.oracle.under_way() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.oracle.set_lake(None);
        self.oracle.end_faults();
    }

    async fn repair(&mut self) {
        for _ in 0..PASSES_TO_REPAIR {
            let report = self.pass(false).await;
            if matches!(report.state, State::InSync | State::Repaired) {
                return self.oracle.check_end(self.wrong_entries());
            }
            if report.leased_away {
                // The purge of a rewrite was never answered: the day waits until the lease expires.
                self.place.clock.advance(LEASE_EXPIRY);
            }
            let mut breaches = report.refusal.iter().flat_map(|refusal| &refusal.breaches);
            if breaches.any(|breach| breach.guard == Guard::PurgeRows24h) {
                self.place.clock.advance(A_DAY_AND_NIGHT_IS_OVER);
            }
        }
        let (state, why) = self.ended.last().unwrap();
        let why = why.clone().unwrap_or_default();
        self.oracle
            .report_violation(9, format!("{state} after the faults had ended: {why}"));
    }

    /// How many catalog entries are wrong.
    fn wrong_entries(&self) -> usize {
        let plain = |entry: &Entry| (entry.key.clone(), entry.pointer.clone());
        let now = self.bench.city.stage.catalog.entries().unwrap();
        let now: BTreeSet<_> = now.iter().map(plain).collect();
        let right: BTreeSet<_> = self.bench.entries().iter().map(plain).collect();
        now.symmetric_difference(&right).count()
    }
}
