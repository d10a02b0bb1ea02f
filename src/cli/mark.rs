//! `mark`: records an operator's decision about a day in the ledger, with their name and reason.
//!
//! A release removes the mark and closes the day's breaker if it is open: from then on, only
//! repairs after the release count.

use chrono::TimeDelta;
use serde_json::json;

use super::style::{clean, json_line, print};
use super::{Common, Exit, Format, Mark as Word, MarkArgs, UsageError, config, report, select};
use crate::app;
use crate::ledger::{Ledger, LedgerError, Mark, MarkKind};
use crate::model::{DatasetDay, Day};
use crate::reconcile::{Clock as _, SystemClock};

/// `sodalake mark`.
pub(super) async fn run(args: MarkArgs, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let target = select::day(&settings, &args.dataset, args.partition)?;
    let now = SystemClock.now();
    check_until(&args, Day::at(now, target.dataset.zone))?;
    let ledger = app::ledger(&settings).await?;
    let by = app::origin();
    let set = |kind| Mark {
        dataset: target.dataset.name.clone(),
        day: target.day,
        kind,
        reason: args.reason.clone(),
        until: args.until,
        at: now,
        by: by.clone(),
    };
    let said = match args.mark {
        Word::KnownLost => set_mark(&ledger, &set(MarkKind::KnownLost)).await?,
        Word::Hold => set_mark(&ledger, &set(MarkKind::Hold)).await?,
        Word::Release => release(&ledger, &target, now, &by, &args.reason).await?,
    };
    let text = match args.output.format {
        Format::Text => report::wrapped(&format!("{target}: {said}")),
        Format::Json => json_line(&json!({
            "dataset": target.dataset.name,
            "id": target.dataset.id,
            "day": target.day,
            "mark": word(args.mark),
            "until": args.until,
            "reason": args.reason,
            "by": by,
            "done": said,
        })),
    };
    print(&text)?;
    Ok(Exit::Ok)
}

fn word(mark: Word) -> &'static str {
    match mark {
        Word::KnownLost => "known-lost",
        Word::Hold => "hold",
        Word::Release => "release",
    }
}

fn check_until(args: &MarkArgs, today: Day) -> Result<(), UsageError> {
    match (args.mark, args.until) {
        (Word::Release, Some(_)) => Err(UsageError(
            "release does not take --until: it takes effect at once".into(),
        )),
        (_, Some(until)) if until <= today => Err(UsageError(format!(
            "{} until {until}: --until must be a day in the future",
            word(args.mark)
        ))),
        (_, _) => Ok(()),
    }
}

async fn set_mark(ledger: &Ledger, mark: &Mark) -> Result<String, LedgerError> {
    ledger.mark(mark).await?;
    let Mark {
        kind,
        reason,
        until,
        by,
        ..
    } = mark;
    let until = until.map_or("until it is released".into(), |day| format!("until {day}"));
    let (by, reason) = (clean(by), clean(reason));
    Ok(format!("marked {kind} {until}, by {by}: {reason}"))
}

async fn release(
    ledger: &Ledger,
    target: &DatasetDay,
    now: chrono::DateTime<chrono::Utc>,
    by: &str,
    reason: &str,
) -> Result<String, LedgerError> {
    let (dataset, day) = (&target.dataset.name, target.day);
    let week_ago = now - TimeDelta::days(7);
    let repairs = ledger.repairs_since(dataset, day, week_ago).await?;
    let had_mark = ledger.unmark(dataset, day, now, by, reason).await?;
    let mark = if had_mark {
        "released"
    } else {
        "there was no mark to release"
    };
    Ok(match repairs {
        0 => mark.into(),
        1 => format!("{mark}; its repair of the last 7 days no longer counts"),
        many => format!("{mark}; its {many} repairs of the last 7 days no longer count"),
    })
}
