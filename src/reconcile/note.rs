//! What the ledger is told of a look or a pass: the day's state, the evidence, what is usual.

use crate::compare::Findings;
use crate::ledger::{DayRecord, LedgerError, Tell};

use super::evidence::Evidence;
use super::report::{Report, State};
use super::{World, chain};

/// Whether a report says what the guards think of mending the day.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    ByGuards,
    Not,
}

/// Notes in the ledger how a day stands. A ledger that cannot be written is a warning: the look
/// itself stands without it.
pub(super) async fn note(world: &World, report: &Report, digest: Option<String>, judged: Judged) {
    if report.leased_away || report.interrupted || report.state == State::Skipped {
        return;
    }
    let mut record = report.record(world.clock.now(), digest);
    let tell = if report.service_failed {
        Tell::Nothing
    } else {
        Tell::Change
    };
    let noted = async {
        if judged == Judged::Not && report.state == State::Differs {
            stay_held(world, &mut record).await?;
        }
        world.ledger.set_day(&record, tell).await?;
        note_evidence(world, report).await?;
        match report
            .findings
            .as_ref()
            .filter(|findings| findings.doubts.is_empty())
        {
            Some(proven) => note_usual(world, proven).await,
            None => Ok(()),
        }
    };
    if let Err(error) = noted.await {
        tracing::warn!(day = %report.target, "failed to note the day's state: {}", chain(&error));
    }
}

/// Keeps what speaks for the findings, so that a person can judge them later.
async fn note_evidence(world: &World, report: &Report) -> Result<(), LedgerError> {
    let Some(evidence) = Evidence::of(report) else {
        return Ok(());
    };
    let evidence = serde_json::to_value(evidence).unwrap_or_default();
    let target = &report.target;
    (world.ledger)
        .set_evidence(&target.dataset.name, target.day, &evidence)
        .await
}

/// A look that finds a held day still differing does not lift the hold: whether it may be mended is
/// for the guards to say. So a day that is held stays so, without a change of state at every look.
async fn stay_held(world: &World, record: &mut DayRecord) -> Result<(), LedgerError> {
    let before = world.ledger.day(&record.dataset, record.day).await?;
    if let Some(held) = before.filter(|before| before.state == State::Held.to_string()) {
        record.state = held.state;
        record.why = held.why;
        record.guards = held.guards;
        record.digest = record.digest.take().or(held.digest);
    }
    Ok(())
}

/// Notes how many files and rows a proven day has, so that a day with far fewer can be doubted.
async fn note_usual(world: &World, proven: &Findings) -> Result<(), LedgerError> {
    let files = proven.files.iter().filter(|seen| seen.own_day).count() as u64;
    let (dataset, day) = (&proven.target.dataset.name, proven.target.day);
    world
        .ledger
        .set_usual(dataset, day, files, proven.expected)
        .await
}
