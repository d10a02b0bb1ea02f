//! `check --report`: one self-contained page for a range of days, to mail or to keep, made of the
//! parts of the status page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use super::calendar::{self, Leads};
use super::day::summary;
use super::overview::{answer, summed_up, tally};
use super::parts::{counts, found, harmless, number, state, state_named, time};
use super::{alone, evidence};
use crate::ledger::DayRecord;
use crate::model::{DatasetName, Day};
use crate::reconcile::{Evidence, State};

/// A checked day with the evidence for its findings.
pub struct ReportedDay {
    /// Its state.
    pub record: DayRecord,
    /// Its evidence.
    pub evidence: Option<Evidence>,
}

/// The report page. The days of each dataset must be ascending; `command` is what made the report.
#[must_use]
pub fn report(days: &[ReportedDay], command: &str, now: DateTime<Utc>, zone: Tz) -> Markup {
    let tally = tally(days.iter().map(|day| &day.record));
    let mut by_dataset: BTreeMap<&DatasetName, Vec<&ReportedDay>> = BTreeMap::new();
    for day in days {
        by_dataset.entry(&day.record.dataset).or_default().push(day);
    }
    let body = html! {
        p.question { "Is the published data right?" }
        (answer(&tally))
        p.faint { "Checked " (time(now, zone)) ", same as " code { (harmless(command)) } }
        (calendar::legend(&tally.keys().copied().collect::<Vec<_>>()))
        @for (name, days) in &by_dataset { (dataset(name, days)) }
        @for day in days.iter().filter(|day| has_section(day)) { (section(day, zone)) }
    };
    alone("Report", &body)
}

/// Whether the day gets its own part: every day that is not simply in sync does.
fn has_section(day: &ReportedDay) -> bool {
    let quiet = matches!(
        state_named(&day.record.state),
        Some(State::InSync | State::Skipped | State::Unsettled)
    );
    !quiet || !found(&counts(&day.record.counts)).is_empty()
}

fn dataset(name: &DatasetName, days: &[&ReportedDay]) -> Markup {
    let records: Vec<DayRecord> = days.iter().map(|day| day.record.clone()).collect();
    let listed = days.iter().filter(|day| has_section(day));
    let listed: Vec<Day> = listed.map(|day| day.record.day).collect();
    let anchor = format!("days-{name}");
    html! {
        article.dataset aria-labelledby=(anchor) {
            h2 id=(anchor) { (name) }
            p.faint { (summed_up(&tally(records.iter()))) }
            @for (year, days) in calendar::years(&records, usize::MAX) {
                (calendar::year(year, days, Leads::Within))
            }
            details { summary { "Every day as a table" } (table(&records, &listed)) }
        }
    }
}

fn table(records: &[DayRecord], listed: &[Day]) -> Markup {
    let rows = |rows: Option<u64>| rows.map_or_else(|| "?".to_owned(), number);
    html! {
        div.scroll tabindex="0" { table.rows {
            thead { tr { th { "Day" } th { "State" } th { "Expected" } th { "Published" } th { "Found" } } }
            tbody { @for record in records { tr id={ (calendar::anchor(record)) } {
                td { @if listed.contains(&record.day) {
                    a href={ "#day-" (calendar::anchor(record)) } { (record.day) }
                } @else { (record.day) } }
                td { (state(&record.state)) }
                td.figure { (rows(record.expected)) }
                td.figure { (rows(record.published)) }
                td.wide { (found(&counts(&record.counts))) }
            } } }
        } }
    }
}

fn section(day: &ReportedDay, zone: Tz) -> Markup {
    let record = &day.record;
    html! {
        article.day {
            h2 id={ "day-" (calendar::anchor(record)) } { (record.dataset) " " (record.day) }
            (summary(record, zone))
            @if let Some(evidence) = &day.evidence {
                (evidence::findings(&counts(&record.counts), evidence, zone))
                (evidence::files(evidence))
            }
        }
    }
}
