//! `archive`: checks that the archives can still be read, and removes the old ones.

use anyhow::Context as _;
use serde_json::json;

use super::style::{clean, json_line, print, thousands};
use super::{ArchiveCommand, Common, Exit, Format, config, report};
use crate::app;
use crate::archive::{ArchiveError, ArchivedDay};
use crate::reconcile::{Clock as _, SystemClock};
use crate::repair::{self, Retired};

/// `sodalake archive`.
pub(super) async fn run(command: ArchiveCommand, common: &Common) -> anyhow::Result<Exit> {
    match command {
        ArchiveCommand::Check(output) => check(output.format, common).await,
        ArchiveCommand::Expire { dry_run, output } => expire(dry_run, output.format, common).await,
    }
}

/// Reads every archive to its end, pass by pass.
async fn check(format: Format, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let archive = app::archive(&settings)?;
    let (mut whole, mut damaged) = (0_u64, 0_u64);
    for pass in archive.passes().await? {
        let days = match archive.salvage(pass).await {
            Ok(days) => days,
            Err(ArchiveError::Damaged { path, what, .. }) => {
                damaged += 1;
                print(&damage_line(&path, &what, 0, format))?;
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot check pass {pass}")),
        };
        for ArchivedDay {
            receipt, damage, ..
        } in days
        {
            let Some(what) = damage else {
                whole += 1;
                continue;
            };
            damaged += 1;
            print(&damage_line(&receipt.path, &what, receipt.rows, format))?;
        }
    }
    print(&match format {
        Format::Json => json_line(&json!({ "whole": whole, "damaged": damaged })),
        Format::Text => format!(
            "{} archives are whole, {} damaged\n",
            thousands(whole),
            thousands(damaged)
        ),
    })?;
    Ok(if damaged == 0 {
        Exit::Ok
    } else {
        Exit::Findings
    })
}

fn damage_line(path: &str, what: &str, rows: u64, format: Format) -> String {
    match format {
        Format::Json => json_line(&json!({ "path": path, "damage": what, "rows": rows })),
        Format::Text => report::wrapped(&format!(
            "{}: {}; {} rows are verified (sodalake restore --salvage restores them)",
            clean(path),
            clean(what),
            thousands(rows)
        )),
    }
}

/// Removes archives older than `archive.keep_days`; with `dry_run`, only lists them.
async fn expire(dry_run: bool, format: Format, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let ledger = app::ledger(&settings).await?;
    let archive = app::archive_writer(&settings)?;
    let retired = repair::retire(&ledger, &archive, SystemClock.now(), dry_run).await?;
    print(&match format {
        Format::Json => json_line(&retired),
        Format::Text => removal_text(&retired, dry_run, settings.archive.keep_days),
    })?;
    Ok(Exit::Ok)
}

fn removal_text(retired: &Retired, dry_run: bool, keep_days: u32) -> String {
    let Retired {
        removed,
        bytes,
        needed,
        unknown,
    } = retired;
    let verb = if dry_run { "would remove" } else { "removed" };
    let count = |paths: &[String]| thousands(paths.len() as u64);
    let mut lines: Vec<String> = (removed.iter())
        .map(|path| format!("{verb} {path}"))
        .collect();
    lines.push(format!(
        "{verb} {} archives older than {keep_days} days, {} bytes",
        count(removed),
        thousands(*bytes)
    ));
    for (kept, why) in [
        (needed, "are needed by unfinished passes"),
        (unknown, "are of passes that this ledger does not know"),
    ] {
        if !kept.is_empty() {
            lines.push(format!("kept {}: they {why}", count(kept)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
