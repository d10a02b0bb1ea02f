//! `/`: whether the published data are right, what the program is doing, and every day of every
//! dataset at a glance.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use super::calendar::{self, Leads};
use super::parts::{
    counts, day_path, found, harmless, mark, number, several, state, state_named, time,
};
use super::{Place, page};
use crate::ledger::{DayRecord, Promise};
use crate::model::{Dataset, DatasetName};
use crate::reconcile::State;
use crate::schedule::Schedule;
use crate::settings::Mode;
use crate::telemetry::{Phase, Snapshot};

/// Maximum calendar years shown per dataset; the ledger keeps them all.
const YEARS: usize = 2;
/// Maximum days listed as needing attention.
const ATTENTION_DAYS: usize = 8;

/// Everything that the page shows.
pub struct Overview<'a> {
    /// The current time, to which all other times are relative.
    pub now: DateTime<Utc>,
    /// The time zone of all times on the page.
    pub zone: Tz,
    /// Observe or repair.
    pub mode: Mode,
    /// What the daemon is doing.
    pub activity: &'a Snapshot,
    /// Every dataset with its days.
    pub datasets: Vec<DatasetDays<'a>>,
}

/// A dataset and what is known about its days.
pub struct DatasetDays<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Its days, ascending. A day whose last check is too old has the state `unknown`.
    pub days: Vec<DayRecord>,
    /// How many settled days of the window were never checked.
    pub never_checked: u64,
}

impl<'a> DatasetDays<'a> {
    /// The records of the ledger, with those set to unknown that are older than the schedules promise.
    #[must_use]
    pub fn of(dataset: &'a Dataset, mut days: Vec<DayRecord>, promise: &Promise) -> Self {
        for day in days.iter_mut().filter(|day| promise.is_stale(day)) {
            day.state = State::Unknown.to_string();
        }
        Self {
            never_checked: promise.never_checked(&days),
            dataset,
            days,
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = tally(self.days.iter());
        if self.never_checked > 0 {
            *tally.entry(State::Unknown).or_default() += self.never_checked;
        }
        tally
    }
}

/// How many days are in each state.
pub(super) type Tally = BTreeMap<State, u64>;

pub(super) fn tally<'a>(days: impl Iterator<Item = &'a DayRecord>) -> Tally {
    let mut tally = Tally::new();
    for state in days.filter_map(|day| state_named(&day.state)) {
        *tally.entry(state).or_default() += 1;
    }
    tally
}

/// The page.
#[must_use]
pub fn overview(view: &Overview<'_>) -> Markup {
    let mut tally = Tally::new();
    for (state, days) in view.datasets.iter().flat_map(DatasetDays::tally) {
        *tally.entry(state).or_default() += days;
    }
    let body = html! {
        section aria-labelledby="answer" {
            p.question { "Is the published data right?" }
            (answer(&tally))
            (figures(&tally))
        }
        section.facts aria-label="What Sodalake does" { (doing(view)) }
        (attention(view))
        section aria-labelledby="datasets" {
            h2 id="datasets" { "Every day of every dataset" }
            (calendar::legend(&tally.keys().copied().collect::<Vec<_>>()))
            @for one in &view.datasets { (dataset(one)) }
        }
    };
    page("Days", Place::Overview, &body)
}

/// One sentence that answers the question, marked with the worst state of all days.
pub(super) fn answer(tally: &Tally) -> Markup {
    let of = |state| tally.get(&state).copied().unwrap_or(0);
    let days = |count| several(count, "day", "days");
    let judged: u64 = (tally.iter())
        .filter(|(state, _)| !matches!(state, State::Unsettled | State::KnownLost | State::Unknown))
        .map(|(_, count)| count)
        .sum();
    let wrong = of(State::Differs) + of(State::Held);
    let (unproven, unconfirmed) = (of(State::Unproven), of(State::Unconfirmed));
    let unknown = of(State::Unknown);
    let unchecked = match unknown {
        0 => String::new(),
        1 => " 1 day was never checked, or not recently.".to_owned(),
        _ => format!(" {} were never checked, or not recently.", days(unknown)),
    };
    let (worst, sentence) = if judged == 0 {
        (
            "",
            format!("Not known yet: no day has been checked.{unchecked}"),
        )
    } else if wrong > 0 {
        let are = if wrong == 1 { "does" } else { "do" };
        let said = format!("No: {} {are} not match the lake", days(wrong));
        let held = match of(State::Held) {
            0 => String::new(),
            held if held == wrong => ", held for approval".to_owned(),
            held => format!(", {} of them held for approval", number(held)),
        };
        let judged = days(judged);
        (
            "differs",
            format!("{said}{held}. {judged} checked.{unchecked}"),
        )
    } else if unproven > 0 {
        let sentence = format!(
            "Partly unproven: {} could not be read reliably, {} match the lake.{unchecked}",
            days(unproven),
            rest(judged - unproven - unconfirmed, unknown)
        );
        ("unproven", sentence)
    } else if unconfirmed > 0 {
        let sentence = format!(
            "Almost: {} repaired but not yet confirmed on the portal, {} match the lake.{unchecked}",
            days(unconfirmed),
            rest(judged - unconfirmed, unknown)
        );
        ("unconfirmed", sentence)
    } else if unknown > 0 {
        let sentence = format!(
            "As far as is known, yes: {} match the lake.{unchecked}",
            days(judged)
        );
        ("unknown", sentence)
    } else {
        (
            "in-sync",
            format!("Yes: all {} checked match the lake.", days(judged)),
        )
    };
    html! {
        h1.answer id="answer" {
            @if !worst.is_empty() { (mark(worst)) }
            (sentence)
        }
    }
}

/// The days in sync, after others were named: "all others" unless some are unknown.
fn rest(right: u64, unknown: u64) -> String {
    match unknown {
        0 => "all others".to_owned(),
        _ => format!("{} others", number(right)),
    }
}

/// Days per state: the important states always, the others only if there are any.
fn figures(tally: &Tally) -> Markup {
    let always = [
        State::InSync,
        State::Differs,
        State::Held,
        State::Unproven,
        State::Unknown,
    ];
    let others = tally.keys().filter(|state| !always.contains(state));
    let shown: Vec<State> = always.into_iter().chain(others.copied()).collect();
    html! {
        ul.figures {
            @for one in shown {
                @let count = tally.get(&one).copied().unwrap_or(0);
                li.zero[count == 0] { strong { (number(count)) } (state(&one.to_string())) }
            }
        }
    }
}

fn doing(view: &Overview<'_>) -> Markup {
    let Overview {
        now,
        zone,
        activity,
        ..
    } = view;
    let mode = match view.mode {
        Mode::Observe => "observe: checks and reports, but changes nothing",
        Mode::Repair => "repair: checks, and repairs within the rails",
    };
    html! {
        dl {
            div { dt { "Mode" } dd { (mode) } }
            @if let Some(pause) = &activity.paused {
                div { dt { "Paused" } dd {
                    "since " (time(pause.since, *zone)) " until " (time(pause.until, *zone))
                    ": the " (pause.reason) " does not answer. " (harmless(&pause.why))
                } }
            }
            div { dt { "Now" } dd { (at_work(activity, *now)) } }
            @for (schedule, next) in next_runs(activity) {
                div { dt { "Next " (schedule) } dd { (time(next, *zone)) } }
            }
            @for one in activity.schedules.iter().filter(|one| one.unfulfilled.is_some()) {
                div { dt { "Overdue" } dd {
                    (one.schedule) " of " (one.dataset) ": "
                    (harmless(one.unfulfilled.as_deref().unwrap_or_default()))
                } }
            }
            div { dt { "As of" } dd { (time(*now, *zone)) " in " (zone.name()) ". "
                a href="/" { "Reload" } } }
        }
    }
}

/// What is being done now, and how far the round is.
fn at_work(activity: &Snapshot, now: DateTime<Utc>) -> Markup {
    let said = match activity.phase {
        Phase::Starting => "starting",
        Phase::Idle => "nothing is due",
        Phase::Working => "working",
        Phase::Paused => "waiting",
        Phase::Draining => "shutting down after the current step",
    };
    html! {
        @if let Some(round) = &activity.round {
            progress max=(round.total) value=(round.done) aria-label="Days of this round" {}
            " " (number(round.done)) " of " (several(round.total, "dataset-day", "dataset-days"))
            @if let Some(left) = round.left(now) {
                ", " (humantime::format_duration(std::time::Duration::from_secs(left.as_secs())))
                " left"
            }
        } @else {
            (said)
        }
        @if !activity.in_work.is_empty() {
            ul.now {
                @for one in &activity.in_work {
                    li {
                        (if one.repairing { "repairing " } else { "checking " })
                        a href=(day_path(&one.dataset, one.day)) { (one.dataset) " " (one.day) }
                        " (" (one.depth) ")"
                    }
                }
            }
        }
    }
}

/// When each schedule is due next, over all datasets.
fn next_runs(activity: &Snapshot) -> BTreeMap<Schedule, DateTime<Utc>> {
    let mut runs = BTreeMap::new();
    for one in &activity.schedules {
        if let Some(next) = one.next {
            let earliest = runs.entry(one.schedule).or_insert(next);
            *earliest = next.min(*earliest);
        }
    }
    runs
}

/// Days that need attention, newest first.
fn attention(view: &Overview<'_>) -> Markup {
    let wants = |day: &&DayRecord| {
        let state = state_named(&day.state);
        !matches!(
            state,
            Some(
                State::InSync
                    | State::Skipped
                    | State::Repaired
                    | State::Unsettled
                    | State::KnownLost
                    | State::Unknown
            )
        )
    };
    let mut days: Vec<&DayRecord> = (view.datasets.iter())
        .flat_map(|one| one.days.iter().filter(wants))
        .collect();
    days.sort_by_key(|day| (std::cmp::Reverse(day.day), day.dataset.clone()));
    html! {
        @if !days.is_empty() {
            section aria-labelledby="wanted" {
                h2 id="wanted" { "Days that need attention" }
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "Day" } th { "State" } th.when { "Since" } th { "Found" } } }
                    tbody {
                        @for day in days.iter().take(ATTENTION_DAYS) { (attention_day(day, view.zone)) }
                    }
                } }
                @if days.len() > ATTENTION_DAYS {
                    p.faint { "and " (number((days.len() - ATTENTION_DAYS) as u64)) " more in the calendars below" }
                }
            }
        }
    }
}

fn attention_day(record: &DayRecord, zone: Tz) -> Markup {
    let said = record.why.as_ref().or(record.cause.as_ref());
    html! {
        tr {
            td { a href=(day_path(&record.dataset, record.day)) { (record.dataset) " " (record.day) } }
            td { (state(&record.state)) }
            td.when { (time(record.since, zone)) }
            td.wide {
                (found(&counts(&record.counts)))
                @if let Some(said) = said { p.faint { (harmless(said)) } }
            }
        }
    }
}

fn dataset(one: &DatasetDays<'_>) -> Markup {
    let name = &one.dataset.name;
    let anchor = format!("days-{name}");
    html! {
        article.dataset aria-labelledby=(anchor) {
            h3 id=(anchor) { (name) " " span.faint { (one.dataset.id) } }
            p.faint { (summed_up(&one.tally())) " " a.skip href={ "#after-" (name) } { "Skip this calendar" } }
            @for (year, days) in calendar::years(&one.days, YEARS) {
                (calendar::year(year, days, Leads::ToPage))
            }
            (earlier(name, &one.days))
            span id={ "after-" (name) } tabindex="-1" {}
        }
    }
}

/// `28 in-sync, 2 held`.
pub(super) fn summed_up(tally: &Tally) -> String {
    if tally.is_empty() {
        return "No day has been checked.".into();
    }
    let parts: Vec<String> = tally
        .iter()
        .map(|(state, count)| format!("{} {state}", number(*count)))
        .collect();
    parts.join(", ")
}

/// How to see the years that are left out, if there are any.
fn earlier(name: &DatasetName, days: &[DayRecord]) -> Markup {
    let years = calendar::years(days, usize::MAX).count();
    html! {
        @if years > YEARS {
            p.faint { "Earlier years: " code { "sodalake status " (name) " --from 2018-01-01 --to 2019-01-01" } }
        }
    }
}
