//! What a check or a pass records in the ledger: the day's state, the evidence, and usual numbers.

use crate::compare::Depth;
use crate::compare::Findings;
use crate::ledger::{DayRecord, LedgerError, Tell, carry_over};
use crate::model::DatasetDay;

use super::evidence::Evidence;
use super::report::{Report, State};
use super::{CheckError, World, chain};

/// Whether a report includes the guards' decision about repairing the day.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    ByGuards,
    Not,
}

/// Adds to the report what an earlier, deeper check found. For a report that is recorded next, the
/// ledger does so again in the transaction that writes it.
///
/// # Errors
/// If the ledger does not respond: then it is unknown whether the day is in sync.
pub(super) async fn carry(world: &World, report: &mut Report) -> Result<(), CheckError> {
    let target = &report.target;
    let before = world.ledger.day(&target.dataset.name, target.day).await;
    let before = before.map_err(CheckError::ledger)?;
    let record = report.record(world.clock.now(), None);
    report.carry(&carry_over(before.as_ref(), record));
    Ok(())
}

/// The depth to use for a check that should have at least this depth: content depth for a day with
/// open altered rows, since nothing else can close them.
///
/// # Errors
/// If the ledger does not respond.
pub async fn at_least(
    world: &World,
    target: &DatasetDay,
    depth: Depth,
) -> Result<Depth, LedgerError> {
    let before = world.ledger.day(&target.dataset.name, target.day).await?;
    let open = before.and_then(|before| before.open_altered());
    Ok(open.map_or(depth, |_| Depth::Content))
}

/// Records the state of a day in the ledger. If the ledger cannot be written, this only warns: the
/// check itself is complete without it.
pub(super) async fn note(
    world: &World,
    report: &mut Report,
    digest: Option<String>,
    judged: Judged,
) {
    if report.leased_away || report.interrupted || report.state == State::Skipped {
        return;
    }
    let mut record = report.record(world.clock.now(), digest);
    let notification = if report.service_failed {
        Tell::Nothing
    } else {
        Tell::Change
    };
    let recorded = async {
        if judged == Judged::Not && report.state == State::Differs {
            stay_held(world, &mut record).await?;
        }
        let kept = world.ledger.set_day(&record, notification).await?;
        report.carry(&kept);
        note_evidence(world, report, &kept).await?;
        // Only a day in sync says what is usual: a truncated file must not lower it.
        let is_in_sync = kept.state == State::InSync.to_string();
        match report.findings.as_ref().filter(|_| is_in_sync) {
            Some(proven) => note_usual(world, proven).await,
            None => Ok(()),
        }
    };
    if let Err(error) = recorded.await {
        tracing::warn!(day = %report.target, "cannot record the day's state: {}", chain(&error));
    }
}

/// Stores the evidence for the findings, so that a person can judge them later.
async fn note_evidence(
    world: &World,
    report: &Report,
    kept: &DayRecord,
) -> Result<(), LedgerError> {
    let Some(mut evidence) = Evidence::of(report) else {
        return Ok(());
    };
    let (ledger, target) = (&world.ledger, &report.target);
    let (dataset, day) = (&target.dataset.name, target.day);
    let of_refusal = report.refusal.as_ref().map(|refusal| &refusal.digest);
    let hold_kept = kept.state == State::Held.to_string() && kept.digest.as_ref() != of_refusal;
    let carried = report.carries_altered();
    if carried || hold_kept {
        let before = ledger.evidence(dataset, day).await?;
        let before = before.and_then(|json| serde_json::from_value(json).ok());
        evidence.carry(before.unwrap_or_default(), carried, hold_kept);
    }
    let evidence = serde_json::to_value(evidence).unwrap_or_default();
    ledger.set_evidence(dataset, day, &evidence).await
}

/// Keeps a held day held. A check that finds the day still differing does not lift the hold, since
/// only the guards decide whether it may be repaired. This also avoids a change of state at every
/// check.
async fn stay_held(world: &World, record: &mut DayRecord) -> Result<(), LedgerError> {
    let before = world.ledger.day(&record.dataset, record.day).await?;
    if let Some(held) = before.filter(|before| before.state == State::Held.to_string()) {
        record.state = held.state;
        record.why = held.why;
        record.guards = held.guards;
        record.digest = held.digest;
        record.drafted = held.drafted;
    }
    Ok(())
}

/// Records how many files and rows a proven day has, so that days nearby with far fewer can be
/// doubted.
async fn note_usual(world: &World, proven: &Findings) -> Result<(), LedgerError> {
    let files = proven.files.iter().filter(|seen| seen.own_day).count() as u64;
    let (dataset, day) = (&proven.target.dataset.name, proven.target.day);
    world
        .ledger
        .set_usual(dataset, day, files, proven.expected)
        .await
}
