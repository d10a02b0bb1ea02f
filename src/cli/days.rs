//! `days`: what the ledger knows of every day, a line each.
//!
//! It asks nobody but the ledger, so it also answers while lake or portal are away. Days that only
//! have a person's mark are listed too.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde_json::{Value as Json, json};

use super::args::Span;
use super::style::{Side, Table, Tone, paint, print};
use super::{Common, DaysArgs, Exit, Format, UsageError, config, report, select};
use crate::app;
use crate::ledger::{DayRecord, Ledger, LedgerError, Mark};
use crate::model::{DatasetName, Day, DayRange};
use crate::reconcile::{Clock as _, State, SystemClock};
use crate::settings::Settings;

/// `sodalake days`.
pub(super) async fn run(args: DaysArgs, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let names = &args.look.datasets;
    let chosen = select::datasets(&settings, names)?;
    let span = args.look.range.span();
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
    let text = match common.format {
        Format::Json => days
            .iter()
            .map(|(at, known)| format!("{}\n", to_json(at, known)))
            .collect(),
        Format::Text => to_text(&days, settings.timezone),
    };
    print(&text)?;
    Ok(Exit::Ok)
}

/// The days asked for; `None`: everything known.
fn range(span: Span, settings: &Settings) -> Option<DayRange> {
    let now = SystemClock.now();
    match span {
        Span::Window => None,
        Span::Days(_) | Span::Last(_) => Some(span.days(now, settings.timezone, 0)),
    }
}

/// What is known of a day.
#[derive(Default)]
struct Known {
    record: Option<DayRecord>,
    mark: Option<Mark>,
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

fn to_json((dataset, day): &(DatasetName, Day), known: &Known) -> Json {
    let record = known.record.as_ref();
    json!({
        "dataset": dataset,
        "day": day,
        "state": record.map(|record| &record.state),
        "since": record.map(|record| record.since),
        "looked_at": record.map(|record| record.looked_at),
        "why": record.and_then(|record| record.why.as_ref()),
        "cause": record.and_then(|record| record.cause.as_ref()),
        "counts": record.map(|record| &record.counts),
        "digest": record.and_then(|record| record.digest.as_ref()),
        "mark": known.mark,
    })
}

fn to_text(days: &Days, zone: Tz) -> String {
    if days.is_empty() {
        return "The ledger knows no such day.\nNext: sodalake check\n".into();
    }
    let mut tables: BTreeMap<&DatasetName, Table> = BTreeMap::new();
    for ((dataset, day), known) in days {
        let table = tables.entry(dataset).or_insert_with(|| {
            let left = |name| (name, Side::Left);
            Table::new(&["day", "state", "since", "why"].map(left))
        });
        let record = known.record.as_ref();
        let state = record.map_or("-", |record| record.state.as_str());
        let since = record.map(|record| record.since.with_timezone(&zone));
        let since = since.map(|since| since.format("%Y-%m-%d %H:%M").to_string());
        table.row([
            (day.to_string(), None),
            (state.to_owned(), tone(state)),
            (since.unwrap_or_else(|| "-".into()), None),
            (why(known), None),
        ]);
    }
    let part = |(dataset, table): (&DatasetName, Table)| {
        let head = paint(Tone::Strong, dataset);
        // A line is as long as its reason: it is the reason one looks here for.
        format!("{head}\n{}", table.render(usize::MAX))
    };
    tables.into_iter().map(part).collect::<Vec<_>>().join("\n")
}

fn tone(state: &str) -> Option<Tone> {
    let known = State::ALL.iter().find(|known| known.to_string() == state);
    known.map(|state| report::tone(*state))
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
