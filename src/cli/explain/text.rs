//! The explanation for people: heading, cause, files, samples, doubts, what a repair would do, and
//! the command to type next. Lines are at most 80 columns wide.

mod samples;

use super::Explained;
use crate::compare::words as facts;
pub(super) use samples::side_by_side;

use crate::cli::report;
use crate::cli::style::{Side, Table, Tone, WIDTH, clean, cut, paint, thousands, width};
use crate::compare::Findings;
use crate::expected::Facts;
use crate::plan::{Breach, Draft, Guard, Refusal};
use crate::reconcile::State;

pub(super) fn of(explained: &Explained) -> String {
    let mut text = heading(explained);
    if let Some(findings) = explained.findings() {
        text += &section("Files", &files(findings, explained.facts));
        text += &samples::of(findings, explained.facts);
        let doubts = findings.doubts.iter();
        let doubts: String = doubts.map(|doubt| sentence(&doubt.to_string())).collect();
        text += &section("Doubts: nothing is purged until they are resolved", &doubts);
    }
    if let Some((draft, breaches)) = &explained.drafted {
        text += &section("A repair would", &repair(draft, breaches));
    }
    let next: String = next(explained).iter().map(|one| typed(one)).collect();
    text + &section("Next", &next)
}

/// A command, broken before its last flag if it is too wide for one line.
fn typed(command: &str) -> String {
    let flag = command.rfind(" --").filter(|_| width(command) + 2 > WIDTH);
    match flag {
        Some(at) => format!("  {} \\\n   {}\n", &command[..at], &command[at..]),
        None => format!("  {command}\n"),
    }
}

/// The day, its state, and the reason.
pub(super) fn heading(explained: &Explained) -> String {
    let report = &explained.report;
    let dataset = &report.target.dataset;
    let name = format!("{} ({}) {}", dataset.name, dataset.id, report.target.day);
    let state = paint(report::tone(report.state), report.state);
    let mut text = format!("{}  {state}\n", paint(Tone::Strong, name));
    if report.findings.is_some() {
        let (expected, published) = (thousands(report.expected), thousands(report.published));
        let found = report::in_words(report.counts);
        let found = if found.is_empty() {
            "no findings"
        } else {
            &found
        };
        text += &sentence(&format!(
            "{expected} rows expected, {published} published: {found}"
        ));
    }
    if let Some(cause) = &report.cause {
        text += &sentence(cause);
    }
    if let Some(why) = &report.why {
        text += &sentence(&format!("{}: {why}", report.state));
    }
    text
}

/// A wrapped sentence; words longer than a line are cut.
pub(super) fn sentence(text: &str) -> String {
    let text = clean(text);
    let words: Vec<_> = text.split(' ').map(|word| cut(word, WIDTH - 4)).collect();
    report::wrapped(&words.join(" "))
}

/// A heading with its body, or nothing if the body is empty.
pub(super) fn section(head: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("\n{}\n{body}", paint(Tone::Strong, head))
}

/// A table's lines, indented.
pub(super) fn indented(table: &Table, by: usize) -> String {
    let lines = table.render(WIDTH - by);
    let indent = " ".repeat(by);
    lines
        .lines()
        .map(|line| format!("{indent}{line}\n"))
        .collect()
}

fn files(findings: &Findings, facts: &Facts) -> String {
    let mut table = Table::new(&[
        ("rows", Side::Right),
        ("keys", Side::Left),
        ("entry", Side::Left),
        ("file", Side::Left),
    ]);
    for seen in &findings.files {
        let (entry, tone) = match &seen.entry {
            Some(_) => ("yes", None),
            None => ("no", seen.own_day.then_some(Tone::Warn)),
        };
        let doubted = if seen.certain { "" } else { "?" };
        table.row([
            (thousands(seen.rows), None),
            (
                format!("{}{doubted}", facts::variant(seen.variant, facts)),
                None,
            ),
            (entry.into(), tone),
            (seen.file.path.to_string(), None),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    let passed = findings.files.iter().filter_map(|seen| {
        let why = seen.outcome.passed_by.as_ref()?;
        let path = &seen.file.path;
        Some(sentence(&format!("the publisher skips {path}: {why}")))
    });
    let passed: String = passed.collect();
    indented(&table, 2) + &passed
}

fn repair(draft: &Draft, breaches: &[Breach]) -> String {
    let size = draft.size();
    let mut said = sentence(&format!(
        "publish {} rows, purge {} ({} of them orphans), change {} catalog entries",
        thousands(size.publish),
        thousands(size.purge),
        thousands(size.orphans),
        thousands(size.catalog),
    ));
    for breach in breaches {
        said += &sentence(&format!("held by {}: {}", breach.guard, breach.text));
    }
    said
}

/// The next commands to type, in order; none if nothing needs doing.
pub(super) fn next(explained: &Explained) -> Vec<String> {
    let report = &explained.report;
    let (name, day) = (&report.target.dataset.name, report.target.day);
    let released = || vec![format!("sodalake mark {name} {day} release --reason 'why'")];
    match report.state {
        State::KnownLost => released(),
        State::Unproven if report.service_failed => vec!["sodalake doctor".into()],
        State::Unproven => vec![
            format!("sodalake check {name} --partition {day}"),
            format!("sodalake mark {name} {day} known-lost --reason 'gone for good'"),
        ],
        State::Differs => explained.drafted.as_ref().map_or_else(Vec::new, repairing),
        State::Held | State::Unconfirmed => {
            vec![format!("sodalake check {name} --partition {day}")]
        }
        State::InSync | State::Repaired | State::Unsettled | State::Skipped | State::Unknown => {
            Vec::new()
        }
    }
}

fn repairing((draft, breaches): &(Draft, Vec<Breach>)) -> Vec<String> {
    let (name, day) = (&draft.target().dataset.name, draft.target().day);
    let needs_content = draft
        .actions()
        .iter()
        .any(crate::plan::Action::needs_content);
    let depth = if needs_content {
        " --depth content"
    } else {
        ""
    };
    let repair = format!("sodalake repair {name} --partition {day}{depth}");
    let refusal = Refusal {
        digest: draft.digest(),
        depth: draft.depth(),
        strategy: draft.strategy(),
        breaches: breaches.clone(),
    };
    let is_held = |guard| breaches.iter().any(|breach| breach.guard == guard);
    if let Some(commands) = refusal.approval_commands(name, day) {
        commands.into()
    } else if is_held(Guard::Mark) {
        vec![
            format!("sodalake mark {name} {day} release --reason 'why'"),
            repair,
        ]
    } else if is_held(Guard::RowIdentifier) {
        vec!["sodalake doctor".into(), repair]
    } else {
        vec![repair]
    }
}
