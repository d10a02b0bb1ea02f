//! A dataset's years: one cell per day, one column per week. Color and shape show the state; the
//! numbers appear on hover, on focus and in screen readers; a click opens the day.
//!
//! One page may have thousands of cells, so each is as short as possible: days in sync, which are
//! nearly all, have no class of their own and a short title.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::parts::{class, counts, found, mark, number, state_named};
use crate::ledger::DayRecord;
use crate::model::calendar::{Year, month_and_day, weekday};
use crate::reconcile::State;

/// Where a cell links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// To the day's page.
    ToPage,
    /// To the day's part of the same page.
    Within,
}

/// The newest years that have days, newest first. `days` must be ascending.
pub(super) fn years(days: &[DayRecord], most: usize) -> impl Iterator<Item = (Year, &[DayRecord])> {
    let by_year = days.chunk_by(|a, b| Year::of(a.day) == Year::of(b.day));
    let mut by_year: Vec<_> = by_year
        .filter_map(|days| Some((Year::of(days.first()?.day), days)))
        .collect();
    by_year.reverse();
    by_year.into_iter().take(most)
}

/// The calendar of one year.
pub(super) fn year(year: Year, days: &[DayRecord], leads: Leads) -> Markup {
    let last = days.last().map_or(0, |record| year.week(record.day));
    html! {
        div.scroll { div.year {
            b { (year.number()) }
            div.months aria-hidden="true" {
                @for (name, week) in year.months().filter(|(_, week)| *week <= last) { span class={ "w" (week + 1) } { (name) } }
            }
            div.weekdays aria-hidden="true" { span { "Mon" } span { "Wed" } span { "Fri" } }
            div.days { (PreEscaped(cells(year, days, leads))) }
        } }
    }
}

/// From 1 January to the last day with a record.
fn cells(year: Year, days: &[DayRecord], leads: Leads) -> String {
    let mut markup = String::with_capacity(days.len() * 96);
    let first = format!("r{}", weekday(year.first()) + 1);
    let mut known = days.iter().peekable();
    for day in year.days() {
        if known.peek().is_none() {
            break;
        }
        let row = if day == year.first() { &first } else { "" };
        match known.next_if(|record| record.day == day) {
            Some(record) => cell(&mut markup, record, row, leads),
            None if row.is_empty() => markup.push_str("<i></i>"),
            None => {
                let _ = write!(markup, "<i class=\"{row}\"></i>");
            }
        }
    }
    markup
}

/// The cell of a day. Names of datasets consist of `a-z`, `0-9` and `-`, and states and findings
/// are our own words: nothing here comes from outside, so nothing needs escaping.
fn cell(markup: &mut String, record: &DayRecord, row: &str, leads: Leads) {
    let state = state_named(&record.state);
    let class = [row, state.map_or("none", class)].join(" ");
    let class = match class.trim() {
        "" => String::new(),
        class => format!("class=\"{class}\" "),
    };
    let (dataset, day) = (&record.dataset, record.day);
    let place = match leads {
        Leads::ToPage => format!("days/{dataset}/{day}"),
        Leads::Within => format!("#{dataset}-{day}"),
    };
    let title = title(record, state);
    let _ = write!(markup, "<a {class}href={place} title=\"{title}\"></a>");
}

/// The anchor of a day's part of a report.
pub(super) fn anchor(record: &DayRecord) -> String {
    format!("{}-{}", record.dataset, record.day)
}

/// `Oct 1: 40,322 ok`, `Oct 2: differs: 35 duplicates; 181 expected, 216 published`.
fn title(record: &DayRecord, state: Option<State>) -> String {
    let day = month_and_day(record.day);
    match (state, record.expected.map(number)) {
        // In sync, both counts are equal; `published` may date from before a repair.
        (Some(State::InSync | State::Skipped), Some(rows)) => format!("{day}: {rows} ok"),
        (Some(State::InSync | State::Skipped), None) => format!("{day}: ok"),
        (Some(state), expected) => {
            let found = found(&counts(&record.counts));
            let mut title = format!("{day}: {state}");
            if !found.is_empty() {
                let _ = write!(title, ": {found}");
            }
            if let (Some(expected), Some(published)) = (expected, record.published.map(number)) {
                let _ = write!(title, "; {expected} expected, {published} published");
            }
            title
        }
        (None, _) => format!("{day}: unknown state"),
    }
}

/// What the cells mean, for these states.
pub(super) fn legend(states: &[State]) -> Markup {
    html! {
        ul.legend {
            @for state in states {
                li { (mark(&state.to_string())) (state) }
            }
            li { i class="mark blank" aria-hidden="true" {} "not checked" }
        }
    }
}
