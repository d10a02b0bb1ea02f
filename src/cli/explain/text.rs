//! The explanation for people: heading, cause, files, samples, doubts, what a repair would do, and
//! the command to type next. No line is wider than 80 columns.

use super::facts::{self, Written};
use super::{Explained, SAMPLES};
use crate::cli::report;
use crate::cli::style::{Side, Table, Tone, WIDTH, clean, cut, paint, thousands};
use crate::compare::gather::Placed;
use crate::compare::twins::{Kinship, Twin};
use crate::compare::{Altered, Findings};
use crate::expected::Facts;
use crate::model::PublishedRow;
use crate::plan::{Breach, Draft, Guard, Refusal};
use crate::reconcile::State;

/// How wide a value stands beside its counterpart.
const VALUE: usize = 24;
/// How wide a value of a list stands before the last one.
const KEY: usize = 36;

/// Everything.
pub(super) fn of(explained: &Explained) -> String {
    let mut text = heading(explained);
    if let Some(findings) = explained.findings() {
        text += &section("Files", &files(findings, explained.facts));
        text += &samples(findings, explained.facts);
        let doubts = findings.doubts.iter();
        let doubts: String = doubts.map(|doubt| sentence(&doubt.to_string())).collect();
        text += &section("Doubts: nothing is purged while there are any", &doubts);
    }
    if let Some((draft, breaches)) = &explained.drafted {
        text += &section("A repair would", &repair(draft, breaches));
    }
    let next: String = next(explained)
        .iter()
        .map(|one| format!("  {one}\n"))
        .collect();
    text + &section("Next", &next)
}

/// Which day it is, how it stands and why.
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

/// A wrapped sentence, in which no word is wider than a line.
pub(super) fn sentence(text: &str) -> String {
    let text = clean(text);
    let words: Vec<_> = text.split(' ').map(|word| cut(word, WIDTH - 4)).collect();
    report::wrapped(&words.join(" "))
}

/// A heading and what stands under it; nothing for nothing.
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

fn left<const N: usize>(names: [&str; N]) -> Table {
    Table::new(&names.map(|name| (name, Side::Left)))
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
        Some(sentence(&format!("the publisher passes {path} by: {why}")))
    });
    let passed: String = passed.collect();
    indented(&table, 2) + &passed
}

fn samples(findings: &Findings, facts: &Facts) -> String {
    let twins = || findings.twins.iter().map(|twin| &twin.published);
    let altered = || findings.altered.iter().map(|altered| &altered.published);
    let counts = findings.counts();
    let miscatalogued = counts.miscatalogued + counts.uncatalogued;
    [
        kind(
            "twins",
            counts.twins,
            &each(&findings.twins, |one| twin(one, facts)),
        ) + &written(twins(), findings),
        kind(
            "altered",
            counts.altered,
            &each(&findings.altered, altered_row),
        ) + &written(altered(), findings),
        kind("orphans", counts.orphans, &orphans(findings, facts))
            + &written(findings.orphans.iter(), findings),
        kind("missing", counts.missing, &missing(findings, facts)),
        kind(
            "catalog findings",
            miscatalogued,
            &each(&findings.catalog, |one| {
                sentence(&facts::catalog(one, findings))
            }),
        ),
        kind("repeated", counts.repeated, &repeated(findings)),
        kind("collided", counts.collided, &collided(findings)),
        kind("misdated", counts.misdated, &misdated(findings)),
        kind(
            "unpublishable",
            counts.unpublishable,
            &unpublishable(findings),
        ),
    ]
    .concat()
}

fn kind(name: &str, count: u64, body: &str) -> String {
    section(&format!("{} {name}", thousands(count)), body)
}

fn each<T>(items: &[T], say: impl Fn(&T) -> String) -> String {
    items.iter().take(SAMPLES).map(say).collect()
}

fn written<'a>(rows: impl Iterator<Item = &'a PublishedRow>, findings: &Findings) -> String {
    let said = Written::of(rows).in_words(findings.target.dataset.zone);
    if said.is_empty() {
        return said;
    }
    sentence(&format!("written: {said}"))
}

fn key_of(row: &PublishedRow) -> String {
    row.key
        .as_ref()
        .map_or("no key".into(), ToString::to_string)
}

/// A column's published value beside the expected one.
pub(super) fn side_by_side(changes: impl Iterator<Item = (String, String, String)>) -> String {
    let mut table = left(["column", "published", "expected"]);
    let short = |text: String| cut(&clean(&text), VALUE).into_owned();
    for (column, published, expected) in changes {
        table.row([
            (short(column), None),
            (short(published), Some(Tone::Bad)),
            (expected, Some(Tone::Good)),
        ]);
    }
    indented(&table, 4)
}

fn twin(twin: &Twin, facts: &Facts) -> String {
    let (key, how) = (key_of(&twin.published), facts::kinship(&twin.how, facts));
    let head = sentence(&format!("{key} of {}: {how}", twin.of));
    let body = match &twin.how {
        Kinship::Renamed { column, from, to } => {
            let change = ((*column).to_owned(), facts::cell(from), facts::cell(to));
            side_by_side(std::iter::once(change))
        }
        Kinship::Rekeyed(_) => sentence(&format!("  {}", facts::identity(&twin.published, facts))),
    };
    head + &body
}

fn altered_row(altered: &Altered) -> String {
    let changes = altered.changes.iter().map(|change| {
        let (published, expected) = (&change.published, &change.expected);
        (
            change.column.to_owned(),
            facts::cell(published),
            facts::cell(expected),
        )
    });
    sentence(&key_of(&altered.published)) + &side_by_side(changes)
}

fn orphans(findings: &Findings, facts: &Facts) -> String {
    let mut table = left(["key", "written", "row"]);
    let zone = findings.target.dataset.zone;
    for row in findings.orphans.iter().take(SAMPLES) {
        let at = row.created_at.with_timezone(&zone);
        table.row([
            (cut(&clean(&key_of(row)), KEY).into_owned(), None),
            (at.format("%m-%d %H:%M:%S %Z").to_string(), None),
            (facts::identity(row, facts), None),
        ]);
    }
    rows_of(&table)
}

fn rows_of(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    indented(table, 2)
}

fn missing(findings: &Findings, facts: &Facts) -> String {
    let mut table = left(["key", "row"]);
    let rows = findings.missing.iter().chain(&findings.misdated_missing);
    for row in rows.take(SAMPLES) {
        let identity = facts::identity_of(&row.cells, facts);
        table.row([(row.row.key.to_string(), None), (identity, None)]);
    }
    rows_of(&table)
}

fn repeated(findings: &Findings) -> String {
    each(&findings.repeated, |one| {
        let rows = one.sids.len();
        match &one.key {
            Some(key) => sentence(&format!("{key} stands {rows} times")),
            None => sentence(&format!("{rows} rows have no key")),
        }
    })
}

fn collided(findings: &Findings) -> String {
    let place = |row: &Placed| {
        let path = facts::path(findings, row.file);
        format!("row {} of {path}", row.ordinal)
    };
    each(&findings.collided, |one| {
        let (stands, replaced) = (place(&one.stands), place(&one.replaced));
        let key = &one.stands.key;
        sentence(&format!("{key}: {stands} stands, and replaced {replaced}"))
    })
}

fn misdated(findings: &Findings) -> String {
    each(&findings.misdated, |one| {
        let path = facts::path(findings, one.row.file);
        let stands = if one.published {
            "stands on"
        } else {
            "should stand on"
        };
        let (ordinal, day) = (one.row.ordinal, one.row.day);
        sentence(&format!("row {ordinal} of {path} {stands} {day}"))
    })
}

fn unpublishable(findings: &Findings) -> String {
    each(&findings.unpublishable, |one| {
        let path = facts::path(findings, one.file);
        sentence(&format!("row {} of {path}: {}", one.ordinal, one.why))
    })
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

/// The commands to type next, in their order; none if nothing needs doing.
pub(super) fn next(explained: &Explained) -> Vec<String> {
    let report = &explained.report;
    let (name, day) = (&report.target.dataset.name, report.target.day);
    let released = || vec![format!("sodalake mark {name} {day} release --reason 'why'")];
    match report.state {
        State::KnownLost => released(),
        State::Unproven if report.service_failed => vec!["sodalake doctor".into()],
        State::Unproven => vec![
            "mend the lake or its catalog, or where the data are gone for good:".into(),
            format!("sodalake mark {name} {day} known-lost --reason 'why'"),
        ],
        State::Differs => explained.drafted.as_ref().map_or_else(Vec::new, mending),
        State::Held | State::Unconfirmed => vec![format!("sodalake check {name} --day {day}")],
        State::InStep | State::Repaired | State::Unsettled | State::Skipped => Vec::new(),
    }
}

fn mending((draft, breaches): &(Draft, Vec<Breach>)) -> Vec<String> {
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
    let repair = format!("sodalake repair {name} --day {day}{depth}");
    let refusal = Refusal {
        digest: draft.digest(),
        breaches: breaches.clone(),
    };
    let is_held = |guard| breaches.iter().any(|breach| breach.guard == guard);
    if refusal.is_approvable() {
        vec![
            format!("sodalake plan {name} --day {day}{depth} --out held.plan"),
            format!(
                "sodalake apply held.plan --approve {}",
                cut(&refusal.digest, 64)
            ),
        ]
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
