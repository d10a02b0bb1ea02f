//! Reports of passes: one JSON object per line for programs, tables and sentences for people.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Exit;
use super::style::{Side, Table, Tone, clean, json_line, paint, thousands};
use crate::compare::Counts;
use crate::reconcile::{Report, State};

/// The combined exit code of several dataset-days.
pub(super) fn exit(reports: &[Report]) -> Exit {
    reports.iter().map(exit_of).fold(Exit::Ok, Exit::and)
}

fn exit_of(report: &Report) -> Exit {
    if report.leased_away {
        return Exit::Lease;
    }
    if report.service_failed {
        return Exit::Failed;
    }
    match report.state {
        State::InSync | State::Repaired | State::Unsettled | State::KnownLost | State::Skipped => {
            Exit::Ok
        }
        State::Differs => Exit::Findings,
        State::Held => Exit::Held,
        State::Unproven | State::Unknown => Exit::Unproven,
        State::Unconfirmed => Exit::Unconfirmed,
    }
}

/// The report as one JSON object.
pub(super) fn to_json(report: &Report) -> Json {
    let Counts {
        missing,
        duplicates,
        orphans,
        altered,
        repeated,
        collided,
        misdated,
        unpublishable,
        miscatalogued,
        uncatalogued,
    } = report.counts;
    json!({
        "dataset": report.target.dataset.name,
        "id": report.target.dataset.id,
        "day": report.target.day,
        "depth": report.depth,
        "state": report.state,
        "expected": report.expected,
        "published": report.published,
        "missing": missing,
        "duplicates": duplicates,
        "orphans": orphans,
        "altered": altered,
        "repeated": repeated,
        "collided": collided,
        "misdated": misdated,
        "unpublishable": unpublishable,
        "miscatalogued": miscatalogued,
        "uncatalogued": uncatalogued,
        "keys": report.keys,
        "cause": report.cause,
        "why": report.why,
        "published_rows": report.done.published_rows,
        "purged_rows": report.done.purged_rows,
        "catalog_changes": report.done.catalog_changes,
        "pass": report.pass,
        "digest": report.refusal.as_ref().map(|refusal| &refusal.digest),
        "seconds": (report.took.as_secs_f64() * 1000.0).round() / 1000.0,
    })
}

/// The reports, one JSON object per line.
pub(super) fn json_lines<'a>(reports: impl IntoIterator<Item = &'a Report>) -> String {
    let line = |report| json_line(&to_json(report));
    reports.into_iter().map(line).collect()
}

pub(super) fn tone(state: State) -> Tone {
    match state {
        State::InSync | State::Repaired => Tone::Good,
        State::Skipped | State::Unsettled | State::KnownLost => Tone::Faint,
        State::Held | State::Unproven | State::Unconfirmed | State::Unknown => Tone::Warn,
        State::Differs => Tone::Bad,
    }
}

/// The findings in words: `40,322 duplicates, 3 miscatalogued`.
pub(super) fn in_words(counts: Counts) -> String {
    let Counts {
        missing,
        duplicates,
        orphans,
        altered,
        repeated,
        collided,
        misdated,
        unpublishable,
        miscatalogued,
        uncatalogued,
    } = counts;
    let named = [
        (missing, "missing"),
        (duplicates, "duplicates"),
        (orphans, "orphans"),
        (altered, "altered"),
        (repeated, "repeated"),
        (collided, "collided"),
        (misdated, "misdated"),
        (unpublishable, "unpublishable"),
        (miscatalogued, "miscatalogued"),
        (uncatalogued, "uncatalogued"),
    ];
    let found = named.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = found
        .map(|(count, name)| format!("{} {name}", thousands(*count)))
        .collect();
    words.join(", ")
}

/// The reports for people: a table per dataset, a sentence for each day that is not in sync, and a
/// summary.
pub(super) fn to_text(reports: &[Report]) -> String {
    let mut by_dataset: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
    for report in reports {
        by_dataset
            .entry(report.target.dataset.name.as_str())
            .or_default()
            .push(report);
    }
    let mut text: String = by_dataset
        .into_values()
        .map(|days| dataset(&days))
        .collect();
    text.push_str(&sum(reports));
    text.push('\n');
    text
}

fn dataset(days: &[&Report]) -> String {
    let Some(first) = days.first() else {
        return String::new();
    };
    let dataset = &first.target.dataset;
    let head = paint(Tone::Strong, format!("{} ({})", dataset.name, dataset.id));
    let mut table = Table::new(&[
        ("day", Side::Left),
        ("state", Side::Left),
        ("expected", Side::Right),
        ("published", Side::Right),
        ("findings", Side::Left),
    ]);
    for day in days {
        table.row([
            (day.target.day.to_string(), None),
            (day.state.to_string(), Some(tone(day.state))),
            (thousands(day.expected), None),
            (thousands(day.published), None),
            (in_words(day.counts), None),
        ]);
    }
    let said: String = days.iter().map(|day| sentences(day)).collect();
    format!("{head}\n{}{said}\n", table.render(super::style::WIDTH))
}

fn sentences(report: &Report) -> String {
    let day = report.target.day;
    let mut text = String::new();
    let mut say = |what: &str, words: &Option<String>| {
        if let Some(words) = words {
            text.push_str(&wrapped(&format!("{day} {what}{}", clean(words))));
        }
    };
    say("", &report.cause);
    say(&format!("{}: ", report.state), &report.why);
    let done = report.done;
    if done.published_rows + done.purged_rows + done.catalog_changes > 0 {
        let did = format!(
            "{day} published {} rows, purged {}, changed {} catalog entries{}",
            thousands(done.published_rows),
            thousands(done.purged_rows),
            done.catalog_changes,
            report
                .pass
                .map(|pass| format!(" (pass {pass})"))
                .unwrap_or_default(),
        );
        text.push_str(&wrapped(&did));
    }
    text
}

/// Wraps at 80 columns; the second and later lines are indented.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("  ");
    for word in text.split(' ') {
        let full = super::style::width(&line) + super::style::width(word) + 1 > super::style::WIDTH;
        if full && line.trim() != "" {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = String::from("    ");
        }
        line.push_str(word);
        line.push(' ');
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

fn sum(reports: &[Report]) -> String {
    let mut states: BTreeMap<State, u64> = BTreeMap::new();
    for report in reports {
        *states.entry(report.state).or_default() += 1;
    }
    let part =
        |(state, count): (State, u64)| paint(tone(state), format!("{} {state}", thousands(count)));
    let parts: Vec<String> = states.into_iter().map(part).collect();
    let days = reports.len() as u64;
    let unit = if days == 1 {
        "dataset-day"
    } else {
        "dataset-days"
    };
    format!("{} {unit}: {}", thousands(days), parts.join(", "))
}
