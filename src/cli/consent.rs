//! The question before a rewrite deletes whole days: which datasets, which days, and how many rows
//! are published there now.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use anyhow::Context as _;

use super::UsageError;
use super::style::{clean, thousands};
use crate::model::{DatasetDay, DayRange};
use crate::reconcile::{self, World};

/// Whether we can ask: the question and the answer both need a terminal.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The error for a rewrite that cannot be confirmed.
pub(super) fn no_terminal() -> UsageError {
    UsageError(
        "repair --rewrite deletes whole days and publishes them again; \
         without a terminal to ask for confirmation, it needs --yes"
            .into(),
    )
}

/// Asks on the terminal whether to rewrite these days.
pub(super) async fn confirm_rewrite(world: &World, targets: &[DatasetDay]) -> anyhow::Result<bool> {
    let mut question = String::from("A rewrite deletes these days and publishes them again:\n");
    for days in targets.chunk_by(|a, b| a.dataset.name == b.dataset.name) {
        question += &line(world, days).await;
    }
    question += "Continue? [y/N] ";
    let asked = tokio::task::spawn_blocking(move || answer(&question));
    asked
        .await?
        .context("cannot ask for confirmation on the terminal")
}

/// One dataset: its days, and how many rows are published on them.
async fn line(world: &World, days: &[DatasetDay]) -> String {
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return String::new();
    };
    let range = DayRange {
        from: first.day,
        to: last.day.next(),
    };
    let rows = match reconcile::published_count(world, &first.dataset, range).await {
        Ok(rows) => thousands(rows),
        Err(error) => {
            tracing::warn!(
                "cannot count the published rows: {}",
                clean(&error.to_string())
            );
            "an unknown number of".into()
        }
    };
    let span = match days.len() {
        1 => first.day.to_string(),
        many => format!("{} to {}, {many} days", first.day, last.day),
    };
    format!("  {} {span}: {rows} published rows\n", first.dataset.name)
}

fn answer(question: &str) -> io::Result<bool> {
    let mut err = io::stderr().lock();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(is_yes(&line))
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_y_and_yes_are_a_yes() {
        for yes in ["y\n", "Y\n", "yes\n", " YES \r\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yep\n", "y es\n", "sure\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
