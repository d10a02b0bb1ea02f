//! The evidence for a day's findings: rows side by side, when wrong rows were written, files, doubts.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use maud::{Markup, html};
use serde_json::Value as Json;

use super::parts::{finding, harmless, number, plain, several, time};
use crate::compare::{Counts, Finding};
use crate::plan::remedy;
use crate::reconcile::{Changed, Evidence, Minute, Sample, WrittenWhen};

/// Every finding with its evidence, and the doubts if the check is inconclusive.
pub(super) fn findings(counts: &Counts, evidence: &Evidence, zone: Tz) -> Markup {
    let present: Vec<(Finding, u64)> = (Finding::ALL.into_iter())
        .map(|one| (one, counts.of(one)))
        .filter(|(_, count)| *count > 0)
        .collect();
    html! {
        @if !evidence.doubts.is_empty() {
            section.note {
                h2 { "Doubts: nothing is purged until they are resolved" }
                ul { @for doubt in &evidence.doubts { li { (harmless(doubt)) } } }
            }
        }
        @if !present.is_empty() {
            section aria-label="What was found" {
                h2 { "What was found" }
                @for (one, count) in present { (one_finding(one, count, evidence, zone)) }
            }
        }
    }
}

fn one_finding(one: Finding, count: u64, evidence: &Evidence, zone: Tz) -> Markup {
    let samples: Vec<&Sample> = (evidence.samples.iter())
        .filter(|sample| sample.finding == one)
        .collect();
    let of_catalog = matches!(one, Finding::Miscatalogued | Finding::Uncatalogued);
    html! {
        article.finding {
            h3 { (finding(one, count)) }
            p { (one.meaning()) ". " span.faint { "A repair " (remedy::of(one)) "." } }
            @for written in evidence.written.iter().filter(|written| written.finding == one) {
                (histogram(written, zone))
            }
            @if of_catalog {
                ul { @for said in &evidence.catalog { li { (harmless(said)) } } }
            }
            @for (at, one) in samples.iter().enumerate() { (sample(one, at == 0, zone)) }
        }
    }
}

/// One row: published next to expected values, with the columns that differ marked.
fn sample(sample: &Sample, open: bool, zone: Tz) -> Markup {
    let name = sample.key.as_deref().unwrap_or("a row without a key");
    html! {
        details.sample open[open] {
            summary { code { (harmless(name)) }
                @if let Some(how) = &sample.how { " " (harmless(how)) }
            }
            p.faint {
                @if let Some(of) = &sample.of { "duplicate of " code { (harmless(of)) } ". " }
                @if let Some(at) = sample.created_at { "First written " (time(at, zone)) ". " }
                @if let Some(at) = sample.updated_at { "Last written " (time(at, zone)) ". " }
                @if let Some(file) = &sample.file { "From " code { (harmless(file)) } "." }
            }
            @if !sample.row.is_empty() || !sample.changes.is_empty() { (side_by_side(sample)) }
        }
    }
}

/// The published and the expected value, if they differ; the key of a duplicate always does.
fn differing(sample: &Sample, column: &str, value: &Json) -> Option<(String, String)> {
    let changed = sample.changes.iter().find(|one| one.column == column);
    if let Some(Changed {
        published,
        expected,
        ..
    }) = changed
    {
        return Some((plain(published), plain(expected)));
    }
    let of = sample.of.as_deref()?;
    let key = sample
        .key
        .as_deref()
        .filter(|key| value.as_str() == Some(key))?;
    Some((harmless(key), harmless(of)))
}

fn side_by_side(sample: &Sample) -> Markup {
    let stands = sample.finding != Finding::Missing;
    let should = sample.finding != Finding::Orphan;
    let changed = sample.changes.iter().map(|one| one.column.as_str());
    let columns: BTreeSet<&str> = (sample.row.keys().map(String::as_str))
        .chain(changed)
        .filter(|column| !column.starts_with(':'))
        .collect();
    html! {
        div.scroll tabindex="0" { table.rows {
            thead { tr { th { "Column" } @if stands { th { "Published" } } @if should { th { "Expected" } } } }
            tbody { @for column in columns {
                @let value = sample.row.get(column).unwrap_or(&Json::Null);
                @match differing(sample, column, value) {
                    Some((published, expected)) => tr.differing {
                        th scope="row" { (harmless(column)) }
                        @if stands { td { del { (published) } } }
                        @if should { td { ins { (expected) } } }
                    },
                    None => tr {
                        th scope="row" { (harmless(column)) }
                        @if stands { td { (plain(value)) } }
                        @if should { td { (plain(value)) } }
                    },
                }
            } }
        } }
    }
}

/// Width of a bar and the gap after it, and height of the tallest, in the drawing's units.
const BAR: usize = 10;
const GAP: usize = 3;
const TALL: u64 = 48;

/// When wrong rows were written: one bar per minute.
fn histogram(written: &WrittenWhen, zone: Tz) -> Markup {
    let most = written
        .minutes
        .iter()
        .map(|one| one.rows)
        .max()
        .unwrap_or(1);
    let wide = written.minutes.len() * (BAR + GAP);
    let text = |one: &Minute| {
        let at = one.minute.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z");
        format!("{at}: {}", several(one.rows, "row", "rows"))
    };
    let (first, last) = (written.minutes.first(), written.minutes.last());
    html! {
        figure.written {
            figcaption {
                "Written "
                @if let Some(first) = first { (time(first.minute, zone)) }
                @if let Some(last) = last.filter(|_| written.minutes.len() > 1) { " to " (time(last.minute, zone)) }
                @if written.others > 0 { ", and " (number(written.others)) " rows in other minutes" }
                ": at most " (several(most, "row", "rows")) " in a minute"
            }
            svg viewBox={ "0 0 " (wide.max(1)) " " (TALL) } width=(wide) height=(TALL)
                role="img" aria-label={ "Rows by minute: " (written.minutes.iter().map(text).collect::<Vec<_>>().join("; ")) } {
                @for (at, one) in written.minutes.iter().enumerate() {
                    @let tall = (one.rows.saturating_mul(TALL) / most.max(1)).max(2);
                    rect x=(at * (BAR + GAP)) y=(TALL - tall) width=(BAR) height=(tall) { title { (text(one)) } }
                }
            }
        }
    }
}

/// The files that hold rows of the day.
pub(super) fn files(evidence: &Evidence) -> Markup {
    html! {
        @if !evidence.files.is_empty() {
            section aria-label="Files" {
                h2 { "Files" }
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "File" } th { "Rows of the day" } th { "Keys" } th { "Catalog" } } }
                    tbody { @for file in &evidence.files { tr {
                        td.path { (harmless(&file.path)) }
                        td.figure { (number(file.rows)) }
                        td { (file.keys) @if !file.certain { " (uncertain)" } }
                        td { (if file.entered { "published" } else { "not published" }) }
                    } } }
                } }
                @if evidence.more_files > 0 { p.faint { "and " (number(evidence.more_files)) " more" } }
            }
        }
    }
}
