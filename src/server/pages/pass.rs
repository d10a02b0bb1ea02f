//! `/passes/{id}`: one pass, from its plan to the result of the check after it.

use chrono_tz::Tz;
use maud::{Markup, html};
use serde_json::Value as Json;

use super::day::outcome;
use super::parts::{commands, counts, day_path, found, harmless, number, plain, several, time};
use super::{Place, page};
use crate::ledger::{JournalStep, PassKind, PassRecord};

/// The page of a pass.
#[must_use]
pub fn pass(pass: &PassRecord, steps: &[JournalStep], zone: Tz) -> Markup {
    let title = format!("{} of {} {}", pass.kind, pass.dataset, pass.day);
    let purged = pass.end.as_ref().is_some_and(|end| end.purged > 0);
    let body = html! {
        nav.beside aria-label="The day" {
            a href=(day_path(&pass.dataset, pass.day)) { "← " (pass.dataset) " " (pass.day) }
        }
        h1 { (title) }
        (ended(pass, zone))
        (planned(pass))
        (journal(pass, steps, zone))
        @if purged && pass.kind != PassKind::Restore {
            section aria-labelledby="back" {
                h2 id="back" { "Restore" }
                p { "The rows this pass purged are in the archive. To restore them:" }
                (commands(&[format!("sodalake restore {}", pass.id)]))
            }
        }
    };
    page(&title, Place::Below, &body)
}

fn ended(pass: &PassRecord, zone: Tz) -> Markup {
    html! {
        dl {
            div { dt { "Pass" } dd { code { (pass.id) } } }
            div { dt { "Started" } dd { (time(pass.started_at, zone)) } }
            @match &pass.end {
                Some(end) => {
                    div { dt { "Ended" } dd { (time(end.at, zone)) ": " (outcome(&end.outcome)) } }
                    div { dt { "Published" } dd { (number(end.published)) " rows" } }
                    div { dt { "Purged" } dd { (number(end.purged)) " rows" } }
                    div { dt { "Catalog" } dd { (several(end.catalog_changes, "entry", "entries")) " changed" } }
                },
                None => div { dt { "Ended" } dd { "not yet, or it was interrupted" } },
            }
        }
    }
}

fn planned(pass: &PassRecord) -> Markup {
    let found = found(&counts(&pass.summary["found"]));
    html! {
        section aria-labelledby="plan" {
            h2 id="plan" { "Plan" }
            @if let Some(cause) = pass.summary["cause"].as_str() { p.cause { (harmless(cause)) "." } }
            dl {
                @if !found.is_empty() { div { dt { "Found" } dd { (found) } } }
                @if let Some(steps) = pass.summary["steps"].as_object() {
                    @for (what, count) in steps { div { dt { "To " (what) } dd { (figure(count)) } } }
                }
                div { dt { "Digest" } dd { code.long { (harmless(&pass.digest)) } } }
            }
        }
    }
}

fn journal(pass: &PassRecord, steps: &[JournalStep], zone: Tz) -> Markup {
    html! {
        section aria-labelledby="steps" {
            h2 id="steps" { "Steps" }
            div.scroll tabindex="0" { table.rows {
                thead { tr { th { "Step" } th { "At" } th { "After" } th { "What" } } }
                tbody { @for step in steps { tr {
                    td.figure { (step.number) }
                    td { (step.at.with_timezone(&zone).format("%H:%M:%S %Z")) }
                    td.figure { (after(pass, step)) }
                    td.wide { strong { (harmless(&step.step)) } " " span.faint { (detail(&step.detail)) } }
                } } }
            } }
        }
    }
}

/// Time since the start of the pass: `1.9 s`.
fn after(pass: &PassRecord, step: &JournalStep) -> String {
    let millis = (step.at - pass.started_at).num_milliseconds().max(0);
    format!(
        "{}.{} s",
        number((millis / 1000).unsigned_abs()),
        millis % 1000 / 100
    )
}

/// The details of a step, on one line.
fn detail(detail: &Json) -> String {
    let Some(parts) = detail.as_object() else {
        return String::new();
    };
    let said = |(name, value): (&String, &Json)| format!("{}: {}", harmless(name), figure(value));
    parts.iter().map(said).collect::<Vec<_>>().join(", ")
}

fn figure(value: &Json) -> String {
    value.as_u64().map_or_else(|| plain(value), number)
}
