//! `/corrections`: what was changed in the published data and why, for users of the data.

use chrono_tz::Tz;
use maud::{Markup, html};

use super::parts::{day_path, harmless, number, time};
use super::{Place, page};
use crate::ledger::Correction;

/// The page, with the newest correction first.
#[must_use]
pub fn corrections(corrections: &[Correction], zone: Tz) -> Markup {
    let body = html! {
        h1 { "Corrections of published data" }
        p { "Every change that Sodalake made to published rows, newest first. "
            a href="/api/v1/corrections" { "Download as JSON" } "." }
        @if corrections.is_empty() { p.faint { "Nothing has been changed yet." } }
        @else {
            div.scroll tabindex="0" { table.rows {
                thead { tr { th { "When" } th { "Day of the data" } th { "Published" } th { "Purged" } th { "Rows before" }
                    th { "Rows after" } th { "Why" } } }
                tbody { @for one in corrections { (line(one, zone)) } }
            } }
        }
    };
    page("Corrections", Place::Corrections, &body)
}

fn line(one: &Correction, zone: Tz) -> Markup {
    let rows = |rows: Option<u64>| rows.map_or_else(|| "?".to_owned(), number);
    html! {
        tr {
            td { (time(one.date, zone)) }
            td { a href=(day_path(&one.dataset, one.day)) { (one.dataset) " " (one.day) } br;
                a.faint href={ "/passes/" (one.pass) } { (one.kind) } }
            td.figure { (number(one.published)) }
            td.figure { (number(one.purged)) }
            td.figure { (rows(one.before)) }
            td.figure { (rows(one.after)) }
            td.wide { (harmless(&one.reason)) }
        }
    }
}
