//! `/`: whether the published data are right, what the program does about it, and every day of
//! every dataset at a glance.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use super::calendar::{self, Leads};
use super::parts::{
    counts, day_path, found, harmless, mark, number, several, state, state_named, time,
};
use super::{Place, page};
use crate::ledger::DayRecord;
use crate::model::{Dataset, DatasetName};
use crate::reconcile::State;
use crate::schedule::Schedule;
use crate::settings::Mode;
use crate::telemetry::{Phase, Snapshot};

/// Most calendar years shown of a dataset; the ledger keeps them all.
const YEARS: usize = 2;
/// Most days listed that want a person.
const WANTED: usize = 8;

/// All that the page tells.
pub struct Overview<'a> {
    /// The time now, which all other times are told against.
    pub now: DateTime<Utc>,
    /// The zone in which times are told.
    pub zone: Tz,
    /// Observe or repair.
    pub mode: Mode,
    /// What the daemon is doing.
    pub activity: &'a Snapshot,
    /// Every dataset with its days.
    pub datasets: Vec<DatasetDays<'a>>,
}

/// A dataset and what is known of its days.
pub struct DatasetDays<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Its days, ascending.
    pub days: Vec<DayRecord>,
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
    let tally = tally(view.datasets.iter().flat_map(|one| &one.days));
    let body = html! {
        section aria-labelledby="answer" {
            p.question { "Is the published data right?" }
            (answer(&tally))
            (figures(&tally))
        }
        section.facts aria-label="What Sodalake does" { (doing(view)) }
        (wanted(view))
        section aria-labelledby="datasets" {
            h2 id="datasets" { "Every day of every dataset" }
            (calendar::legend(&tally.keys().copied().collect::<Vec<_>>()))
            @for one in &view.datasets { (dataset(one)) }
        }
    };
    page("Days", Place::Overview, &body)
}

/// One sentence that answers the question, marked by the worst state there is.
pub(super) fn answer(tally: &Tally) -> Markup {
    let of = |state| tally.get(&state).copied().unwrap_or(0);
    let days = |count| several(count, "day", "days");
    let judged: u64 = (tally.iter())
        .filter(|(state, _)| !matches!(state, State::Unsettled | State::KnownLost))
        .map(|(_, count)| count)
        .sum();
    let wrong = of(State::Differs) + of(State::Held);
    let (unproven, unconfirmed) = (of(State::Unproven), of(State::Unconfirmed));
    let (worst, sentence) = if judged == 0 {
        (
            "",
            "Nothing is known yet: no day has been judged.".to_owned(),
        )
    } else if wrong > 0 {
        let are = if wrong == 1 { "does" } else { "do" };
        let said = format!("No: {} {are} not match the lake", days(wrong));
        let held = match of(State::Held) {
            0 => String::new(),
            held if held == wrong => ", held for a person".to_owned(),
            held => format!(", {} of them held for a person", number(held)),
        };
        ("differs", format!("{said}{held}. {} judged.", days(judged)))
    } else if unproven > 0 {
        let sentence = format!(
            "As far as can be proven: {} could not be read with certainty, all others match the lake.",
            days(unproven)
        );
        ("unproven", sentence)
    } else if unconfirmed > 0 {
        let sentence = format!(
            "Nearly: {} mended and not yet seen on the portal, all others match the lake.",
            days(unconfirmed)
        );
        ("unconfirmed", sentence)
    } else {
        (
            "in-step",
            format!("Yes: all {} judged match the lake.", days(judged)),
        )
    };
    html! {
        h1.answer id="answer" {
            @if !worst.is_empty() { (mark(worst)) }
            (sentence)
        }
    }
}

/// The states that a person asks for, also where there are none, and the others where there are.
fn figures(tally: &Tally) -> Markup {
    let asked = [State::InStep, State::Differs, State::Held, State::Unproven];
    let others = tally.keys().filter(|state| !asked.contains(state));
    let shown: Vec<State> = asked.into_iter().chain(others.copied()).collect();
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
        Mode::Observe => "observe: it looks and reports, and changes nothing",
        Mode::Repair => "repair: it looks, and mends inside the rails",
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
            div { dt { "Told" } dd { "at " (time(*now, *zone)) " in " (zone.name()) ". "
                a href="/" { "Look again" } } }
        }
    }
}

/// What is done now, and how far the round is.
fn at_work(activity: &Snapshot, now: DateTime<Utc>) -> Markup {
    let said = match activity.phase {
        Phase::Starting => "starting",
        Phase::Idle => "nothing is due",
        Phase::Working => "at work",
        Phase::Paused => "waiting",
        Phase::Draining => "ending: it finishes the step in hand",
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
                        (if one.mending { "mends " } else { "looks at " })
                        a href=(day_path(&one.dataset, one.day)) { (one.dataset) " " (one.day) }
                        " (" (one.depth) ")"
                    }
                }
            }
        }
    }
}

/// When each schedule is due next on any dataset.
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

/// Days that want a person, the newest first.
fn wanted(view: &Overview<'_>) -> Markup {
    let wants = |day: &&DayRecord| {
        let state = state_named(&day.state);
        !matches!(
            state,
            Some(
                State::InStep
                    | State::Skipped
                    | State::Repaired
                    | State::Unsettled
                    | State::KnownLost
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
                h2 id="wanted" { "Days that want a look" }
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "Day" } th { "State" } th.when { "Since" } th { "Found" } } }
                    tbody {
                        @for day in days.iter().take(WANTED) { (wanted_day(day, view.zone)) }
                    }
                } }
                @if days.len() > WANTED {
                    p.faint { "and " (number((days.len() - WANTED) as u64)) " more in the calendars below" }
                }
            }
        }
    }
}

fn wanted_day(record: &DayRecord, zone: Tz) -> Markup {
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
            p.faint { (summed_up(&tally(one.days.iter()))) " " a.skip href={ "#after-" (name) } { "Skip this calendar" } }
            @for (year, days) in calendar::years(&one.days, YEARS) {
                (calendar::year(year, days, Leads::ToPage))
            }
            (earlier(name, &one.days))
            span id={ "after-" (name) } tabindex="-1" {}
        }
    }
}

/// `28 in-step, 2 held`.
pub(super) fn summed_up(tally: &Tally) -> String {
    if tally.is_empty() {
        return "No day has been looked at.".into();
    }
    let parts: Vec<String> = tally
        .iter()
        .map(|(state, count)| format!("{} {state}", number(*count)))
        .collect();
    parts.join(", ")
}

/// Where years are left out, how to see them.
fn earlier(name: &DatasetName, days: &[DayRecord]) -> Markup {
    let years = calendar::years(days, usize::MAX).count();
    html! {
        @if years > YEARS {
            p.faint { "Earlier years: " code { "sodalake days " (name) " --from 2018-01-01 --to 2019-01-01" } }
        }
    }
}
