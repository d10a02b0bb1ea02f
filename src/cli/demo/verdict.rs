//! Whether the demo worked: every fault was found; the repairs that the rails allow were made and
//! verified; the others are held and can be approved.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::Exit;
use crate::cli::report::{in_words, tone, wrapped};
use crate::cli::style::{Side, Table, Tone, WIDTH, clean, paint, thousands};
use crate::compare::Counts;
use crate::model::{DatasetId, Day};
use crate::reconcile::{Report, State};
use crate::sandbox::city::Injected;

type Place = (DatasetId, Day);

pub(super) struct Verdict {
    overlooked: Vec<String>,
    not_broken: Vec<String>,
    left: Vec<String>,
    held: BTreeSet<Place>,
    repaired: u64,
}

pub(super) fn in_sync(report: &Report) -> bool {
    report.state == State::InSync
}

fn place(report: &Report) -> Place {
    (report.target.dataset.id.clone(), report.target.day)
}

fn found(counts: Counts, finding: &str) -> u64 {
    match finding {
        "missing" => counts.missing,
        "duplicate" => counts.duplicates,
        "orphan" => counts.orphans,
        "altered" => counts.altered,
        "miscatalogued" => counts.miscatalogued,
        "uncatalogued" => counts.uncatalogued,
        _ => 0,
    }
}

/// The report in a line or two: dataset, day, state and findings; the reason or cause; how to
/// approve it.
pub(super) fn in_a_sentence(report: &Report) -> String {
    let state = paint(tone(report.state), report.state);
    let (dataset, day) = (&report.target.dataset.name, report.target.day);
    let done = report.done;
    let mut text = format!("{dataset} {day} {state}: {}\n", in_words(report.counts));
    let did = done.published_rows + done.purged_rows + done.catalog_changes;
    let said = match (report.state, did) {
        (State::Repaired, _) => Some(format!(
            "published {} rows, purged {}, changed {} catalog entries, checked again: in sync",
            thousands(done.published_rows),
            thousands(done.purged_rows),
            done.catalog_changes
        )),
        (State::Held | State::Unproven | State::Unconfirmed, _) => report.why.clone(),
        _ => report.cause.clone(),
    };
    text.push_str(&said.map(|said| wrapped(&clean(&said))).unwrap_or_default());
    let commands =
        (report.refusal.as_ref()).and_then(|refusal| refusal.approval_commands(dataset, day));
    if let Some([plan, apply]) = commands {
        text.extend(["  to approve:\n    ", &plan, "\n    ", &apply, "\n"]);
    }
    text
}

impl Verdict {
    /// Compares what was broken with what was found, and with what remains after the repair.
    pub(super) fn of(injected: &[Injected], before: &[Report], after: &[Report]) -> Self {
        let mut wanted: BTreeMap<Place, BTreeMap<&str, u64>> = BTreeMap::new();
        for one in injected {
            let id = one.table.dataset().id;
            let counts = wanted.entry((id, one.day)).or_default();
            *counts.entry(one.finding).or_default() += one.count;
        }
        let mut verdict = Self {
            overlooked: Vec::new(),
            not_broken: Vec::new(),
            left: Vec::new(),
            held: BTreeSet::new(),
            repaired: 0,
        };
        for report in before {
            verdict.judge_found(report, wanted.get(&place(report)));
        }
        for report in after {
            verdict.judge_left(report, wanted.contains_key(&place(report)));
        }
        verdict
    }

    fn judge_found(&mut self, report: &Report, wanted: Option<&BTreeMap<&str, u64>>) {
        let Some(wanted) = wanted else {
            if !in_sync(report) {
                self.not_broken
                    .push(format!("{}: {}", report.target, in_words(report.counts)));
            }
            return;
        };
        for (finding, count) in wanted {
            let seen = found(report.counts, finding);
            if seen != *count {
                self.overlooked
                    .push(format!("{}: {seen} of {count} {finding}", report.target));
            }
        }
    }

    fn judge_left(&mut self, report: &Report, broken: bool) {
        let too_many_orphans = report.counts.orphans > 20;
        match (in_sync(report), broken) {
            (true, true) => self.repaired += 1,
            (true, false) => {}
            (false, true) if too_many_orphans => {
                self.held.insert(place(report));
            }
            (false, _) => self
                .left
                .push(format!("{}: {}", report.target, in_words(report.counts))),
        }
    }

    fn is_good(&self) -> bool {
        self.overlooked.is_empty() && self.not_broken.is_empty() && self.left.is_empty()
    }

    pub(super) fn exit(&self) -> Exit {
        if self.is_good() {
            Exit::Ok
        } else {
            Exit::Findings
        }
    }

    /// The table before and after, and the verdict in a sentence.
    pub(super) fn to_text(&self, before: &[Report], after: &[Report]) -> String {
        let mut table = Table::new(&[
            ("dataset", Side::Left),
            ("days", Side::Right),
            ("in sync before", Side::Right),
            ("after", Side::Right),
            ("wrong rows before", Side::Right),
            ("after", Side::Right),
            ("held", Side::Right),
        ]);
        let mut names: Vec<&str> = Vec::new();
        for report in before {
            let name = report.target.dataset.name.as_str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            table.row(self.line(name, before, after).map(|cell| (cell, None)));
        }
        format!(
            "{}\n{}\n{}",
            paint(Tone::Strong, "Before and after"),
            table.render(WIDTH),
            self.sentence()
        )
    }

    fn line(&self, name: &str, before: &[Report], after: &[Report]) -> [String; 7] {
        let of = |reports: &[Report]| {
            let ours = reports
                .iter()
                .filter(|report| report.target.dataset.name.as_str() == name);
            let (mut days, mut good, mut wrong, mut held) = (0, 0, 0, 0);
            for report in ours {
                let Counts {
                    missing,
                    duplicates,
                    orphans,
                    altered,
                    ..
                } = report.counts;
                days += 1;
                good += u64::from(in_sync(report));
                wrong += missing + duplicates + orphans + altered;
                held += u64::from(self.held.contains(&place(report)));
            }
            (days, good, wrong, held)
        };
        let (days, good_before, wrong_before, _) = of(before);
        let (_, good_after, wrong_after, held) = of(after);
        [
            name.to_owned(),
            thousands(days),
            thousands(good_before),
            thousands(good_after),
            thousands(wrong_before),
            thousands(wrong_after),
            thousands(held),
        ]
    }

    fn sentence(&self) -> String {
        let mut text = format!(
            "{} broken days repaired and verified, {} held for approval.",
            thousands(self.repaired),
            thousands(self.held.len() as u64)
        );
        for (what, days) in [
            ("Missed", &self.overlooked),
            ("Found where nothing was broken", &self.not_broken),
            ("Not repaired", &self.left),
        ] {
            if !days.is_empty() {
                let days = days.join("; ");
                text = format!("{text} {what}: {days}.");
            }
        }
        let tone = if self.is_good() {
            Tone::Good
        } else {
            Tone::Bad
        };
        paint(tone, wrapped(&text).trim_end()) + "\n"
    }
}
