//! `status`: what the ledger records about every day: a calendar per dataset, and a line per day.
//!
//! It reads only the ledger, so it works while lake or portal are unavailable. Days that only have
//! a mark are listed too. Settled days of the window that were never checked, or whose last check
//! is older than the schedules allow, count as unknown.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde_json::{Value as Json, json};

use super::args::Span;
use super::style::{Side, Table, Tone, WIDTH, clean, json_line, paint, print, thousands};
use super::{Common, Exit, Format, StatusArgs, UsageError, calendar, config, report, select};
use crate::app;
use crate::compare::Counts;
use crate::ledger::{DayRecord, Ledger, LedgerError, Mark, Promise, ScheduleRecord};
use crate::model::{DatasetName, Day, DayRange};
use crate::reconcile::{Clock as _, State, SystemClock};
use crate::settings::Settings;

/// Fewer days than this are easy to read without a calendar.
const LEAST_FOR_A_CALENDAR: usize = 8;

/// `sodalake status`.
pub(super) async fn run(args: StatusArgs, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let names = &args.targets.datasets;
    let chosen = select::datasets(&settings, names)?;
    let span = args.targets.range.span();
    let span = span.map_err(|empty| UsageError(empty.to_string()))?;
    let range = range(span, &settings);
    let ledger = app::ledger(&settings).await?;
    let mut days = BTreeMap::new();
    if names.is_empty() {
        gather(&ledger, None, range, &mut days).await?;
    }
    for one in chosen.iter().filter(|_| !names.is_empty()) {
        gather(&ledger, Some(&one.dataset.name), range, &mut days).await?;
    }
    let now = SystemClock.now();
    let promises: Vec<Promise> = chosen.iter().map(|one| one.promise(now)).collect();
    expire(&mut days, &promises);
    let text = match args.output.format {
        Format::Json => days
            .iter()
            .map(|(at, known)| json_line(&to_json(at, known)))
            .collect(),
        Format::Text => {
            let unchecked = unchecked(&days, &promises, range);
            let failed = failures(&ledger.schedules().await?, &promises, settings.timezone);
            failed + &to_text(&days, &unchecked, settings.timezone)
        }
    };
    print(&text)?;
    Ok(Exit::Ok)
}

/// The requested days; `None` means every known day.
fn range(span: Span, settings: &Settings) -> Option<DayRange> {
    let now = SystemClock.now();
    match span {
        Span::Window => None,
        Span::Days(_) | Span::Last(_) => Some(span.days(now, settings.timezone, 0)),
    }
}

/// What is known about a day.
#[derive(Default)]
struct Known {
    record: Option<DayRecord>,
    mark: Option<Mark>,
}

impl Known {
    fn state(&self) -> Option<State> {
        let written = &self.record.as_ref()?.state;
        State::ALL
            .into_iter()
            .find(|state| state.to_string() == *written)
    }

    fn findings(&self) -> String {
        let counts = self.record.as_ref().map(|record| record.counts.clone());
        let counts = counts.and_then(|counts| serde_json::from_value::<Counts>(counts).ok());
        counts.map_or_else(String::new, report::in_words)
    }
}

type Days = BTreeMap<(DatasetName, Day), Known>;

async fn gather(
    ledger: &Ledger,
    dataset: Option<&DatasetName>,
    range: Option<DayRange>,
    days: &mut Days,
) -> Result<(), LedgerError> {
    for record in ledger.days(dataset, range).await? {
        let at = (record.dataset.clone(), record.day);
        days.entry(at).or_default().record = Some(record);
    }
    for mark in ledger.marks(dataset).await? {
        if range.is_none_or(|range| range.contains(mark.day)) {
            let at = (mark.dataset.clone(), mark.day);
            days.entry(at).or_default().mark = Some(mark);
        }
    }
    Ok(())
}

/// Sets days to unknown whose last check is too old to count.
fn expire(days: &mut Days, promises: &[Promise]) {
    for ((dataset, _), known) in days {
        let promise = promises.iter().find(|one| one.dataset == *dataset);
        let is_stale = |record: &&mut DayRecord| promise.is_some_and(|one| one.is_stale(record));
        if let Some(record) = known.record.as_mut().filter(is_stale) {
            record.state = State::Unknown.to_string();
        }
    }
}

/// How many settled days of the window, within the requested range, were never checked.
fn unchecked(
    days: &Days,
    promises: &[Promise],
    range: Option<DayRange>,
) -> BTreeMap<DatasetName, u64> {
    let count = |promise: &Promise| {
        let is_checked = |day| {
            let known = days.get(&(promise.dataset.clone(), day));
            known.is_some_and(|known| known.record.is_some())
        };
        let asked =
            (promise.window.days()).filter(|day| range.is_none_or(|all| all.contains(*day)));
        asked.filter(|day| !is_checked(*day)).count() as u64
    };
    let counted = promises.iter().map(|one| (one.dataset.clone(), count(one)));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// The runs that were due and failed, with the reason.
fn failures(schedules: &[ScheduleRecord], promises: &[Promise], zone: Tz) -> String {
    let is_requested = |one: &&ScheduleRecord| {
        let mut asked = promises.iter();
        !one.is_fulfilled() && asked.any(|promise| promise.dataset == one.dataset)
    };
    let failed = schedules.iter().filter(is_requested).filter_map(|one| {
        let due = one.due_at.with_timezone(&zone).format("%Y-%m-%d %H:%M");
        let (schedule, dataset, why) = (one.schedule, &one.dataset, one.failure.as_ref()?);
        let said = format!("{schedule} of {dataset}, due {due}, failed: {}", clean(why));
        Some(report::wrapped(&said))
    });
    failed.collect()
}

fn to_json((dataset, day): &(DatasetName, Day), known: &Known) -> Json {
    let record = known.record.as_ref();
    json!({
        "dataset": dataset,
        "day": day,
        "state": record.map(|record| &record.state),
        "since": record.map(|record| record.since),
        "checked_at": record.map(|record| record.checked_at),
        "why": record.and_then(|record| record.why.as_ref()),
        "cause": record.and_then(|record| record.cause.as_ref()),
        "counts": record.map(|record| &record.counts),
        "digest": record.and_then(|record| record.digest.as_ref()),
        "mark": known.mark,
    })
}

fn to_text(days: &Days, unchecked: &BTreeMap<DatasetName, u64>, zone: Tz) -> String {
    if days.is_empty() {
        return "The ledger has no record of these days.\nNext: sodalake check\n".into();
    }
    let mut by_dataset: BTreeMap<&DatasetName, Vec<(Day, &Known)>> = BTreeMap::new();
    for dataset in unchecked.keys() {
        by_dataset.entry(dataset).or_default();
    }
    for ((dataset, day), known) in days {
        by_dataset.entry(dataset).or_default().push((*day, known));
    }
    let parts: Vec<String> = by_dataset
        .into_iter()
        .map(|(dataset, days)| {
            let unchecked = unchecked.get(dataset).copied().unwrap_or(0);
            part(dataset, &days, unchecked, zone)
        })
        .collect();
    parts.join("\n") + &next_step(days)
}

/// One dataset: days per state, its calendar, and a line for each day.
fn part(dataset: &DatasetName, days: &[(Day, &Known)], unchecked: u64, zone: Tz) -> String {
    let states: BTreeMap<Day, State> = (days.iter())
        .filter_map(|(day, known)| Some((*day, known.state()?)))
        .collect();
    let mut text = format!(
        "{}  {}\n",
        paint(Tone::Strong, dataset),
        sum(&states, unchecked)
    );
    if days.is_empty() {
        return text;
    }
    if states.len() >= LEAST_FOR_A_CALENDAR {
        text += &calendar::of(&states);
    }
    text + &lines(days, zone)
}

/// `28 in-sync, 2 held`. Days that were never checked are unknown.
fn sum(states: &BTreeMap<Day, State>, unchecked: u64) -> String {
    let mut counts: BTreeMap<State, u64> = BTreeMap::new();
    for state in states.values() {
        *counts.entry(*state).or_default() += 1;
    }
    if unchecked > 0 {
        *counts.entry(State::Unknown).or_default() += unchecked;
    }
    let one = |(state, count)| paint(report::tone(state), format!("{} {state}", thousands(count)));
    counts.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A line for each day, with the reason below it.
fn lines(days: &[(Day, &Known)], zone: Tz) -> String {
    let mut table =
        Table::new(&["day", "state", "since", "findings"].map(|name| (name, Side::Left)));
    for (day, known) in days {
        let record = known.record.as_ref();
        let state = record.map_or("-", |record| record.state.as_str());
        let since = record.map(|record| record.since.with_timezone(&zone));
        let since = since.map(|since| since.format("%Y-%m-%d %H:%M").to_string());
        table.row([
            (day.to_string(), None),
            (state.to_owned(), known.state().map(report::tone)),
            (since.unwrap_or_else(|| "-".into()), None),
            (known.findings(), None),
        ]);
    }
    let rendered = table.render(WIDTH);
    let (head, rows) = rendered.split_once('\n').unwrap_or((&rendered, ""));
    let mut text = format!("{head}\n");
    for (row, (_, known)) in rows.lines().zip(days) {
        text += row;
        text.push('\n');
        let said = why(known);
        if !said.is_empty() {
            text += &report::wrapped(&clean(&said));
        }
    }
    text
}

/// The day that most needs attention, and what to type.
fn next_step(days: &Days) -> String {
    let worst = [State::Held, State::Differs, State::Unproven].into_iter();
    let mut first = worst.filter_map(|state| {
        let mut ours = days
            .iter()
            .filter(|(_, known)| known.state() == Some(state));
        ours.next().map(|(at, _)| at)
    });
    first.next().map_or_else(String::new, |(dataset, day)| {
        format!("\nNext: sodalake explain {dataset} {day}\n")
    })
}

fn why(known: &Known) -> String {
    let mut said = Vec::new();
    if let Some(Mark {
        kind,
        reason,
        until,
        by,
        ..
    }) = &known.mark
    {
        let until = until.map(|day| format!(" until {day}")).unwrap_or_default();
        said.push(format!("marked {kind}{until} by {by}: {reason}"));
    }
    if let Some(record) = &known.record {
        said.extend(record.why.clone().or_else(|| record.cause.clone()));
        let held = record.state == State::Held.to_string();
        said.extend(
            (record.digest.as_ref())
                .filter(|_| held)
                .map(|digest| format!("digest {digest}")),
        );
    }
    said.join("; ")
}
