//! Plans as files: JSON lines, a header and then one action per line, so that a person can read,
//! keep and approve exactly what will be done.

use std::io::{self, BufRead, Read as _};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compare::Depth;
use crate::limits::PLAN_LINE_BYTES;
use crate::model::{DatasetId, DatasetName, Day};

use super::draft::Size;
use super::{Action, Breach, Draft, Strategy};

/// The first line of a plan in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanHeader {
    /// Identifies exactly this plan.
    pub digest: String,
    /// The portal it is for.
    pub portal: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// Its dataset id, a four-by-four.
    pub id: DatasetId,
    /// The day.
    pub day: Day,
    /// How closely the day was checked.
    pub depth: Depth,
    /// The order of its steps.
    pub strategy: Strategy,
    /// When the check behind it began (UTC).
    #[serde(alias = "looked_at")]
    pub checked_at: DateTime<Utc>,
    /// How many action lines follow.
    pub lines: u64,
    /// How much it touches.
    #[serde(flatten)]
    pub size: Size,
    /// The breaches that held it when it was written.
    pub held: Vec<Breach>,
}

#[derive(Deserialize)]
struct HeaderLine {
    plan: PlanHeader,
}

/// A plan read back from a file.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// Its header line.
    pub header: PlanHeader,
    /// Its steps.
    pub actions: Vec<Action>,
}

/// The non-blank lines of a file, read one at a time, each with a maximum length.
struct Lines<R> {
    file: R,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, PlanFileError> {
        let mut text = Vec::new();
        while text.trim_ascii().is_empty() {
            text.clear();
            self.number += 1;
            let line = self.number;
            let mut limited = self.file.by_ref().take(PLAN_LINE_BYTES);
            let read = limited.read_until(b'\n', &mut text);
            let read = read.map_err(|source| PlanFileError::Read { line, source })?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 == PLAN_LINE_BYTES && !text.ends_with(b"\n") {
                return Err(PlanFileError::Long { line });
            }
        }
        let line = self.number;
        let read = serde_json::from_slice(&text);
        read.map(Some)
            .map_err(|source| PlanFileError::Line { line, source })
    }
}

/// The file is not a complete plan written by this program.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// A line could not be parsed.
    #[error("cannot read line {line} of the plan")]
    Line {
        /// The line, from 1.
        line: usize,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A line could not be read from the file.
    #[error("cannot read line {line} of the plan")]
    Read {
        /// The line, from 1.
        line: usize,
        /// The cause.
        source: io::Error,
    },
    /// A line is longer than any action.
    #[error("line {line} of the plan is longer than {PLAN_LINE_BYTES} bytes")]
    Long {
        /// The line, from 1.
        line: usize,
    },
    /// The plan has fewer lines than its header says.
    #[error("the plan of {dataset} {day} is incomplete: it has {found} of {promised} lines")]
    Short {
        /// The dataset.
        dataset: DatasetName,
        /// The day.
        day: Day,
        /// Lines found.
        found: u64,
        /// Lines announced in the header.
        promised: u64,
    },
}

impl Draft {
    /// The draft as the lines of a plan file.
    #[must_use]
    pub fn render(&self, held: Vec<Breach>) -> Vec<String> {
        let header = PlanHeader {
            digest: self.digest(),
            portal: self.portal.clone(),
            dataset: self.target.dataset.name.clone(),
            id: self.target.dataset.id.clone(),
            day: self.target.day,
            depth: self.depth,
            strategy: self.strategy,
            checked_at: self.checked_at,
            lines: self.actions.len() as u64,
            size: self.size(),
            held,
        };
        let head = serde_json::json!({ "plan": header }).to_string();
        let line = |action| serde_json::to_string(action).expect("an action is plain data");
        std::iter::once(head)
            .chain(self.actions.iter().map(line))
            .collect()
    }
}

impl PlanFile {
    /// Reads all plans of a file. To find out whether one was altered, compare its digest with that
    /// of a new draft.
    ///
    /// # Errors
    /// If a line cannot be read, or lines are missing.
    pub fn read(file: impl BufRead) -> Result<Vec<Self>, PlanFileError> {
        let mut lines = Lines { file, number: 0 };
        let mut plans = Vec::new();
        while let Some(HeaderLine { plan: header }) = lines.next()? {
            let mut actions = Vec::new();
            while (actions.len() as u64) < header.lines {
                let Some(action) = lines.next()? else {
                    return Err(PlanFileError::Short {
                        dataset: header.dataset,
                        day: header.day,
                        found: actions.len() as u64,
                        promised: header.lines,
                    });
                };
                actions.push(action);
            }
            plans.push(Self { header, actions });
        }
        Ok(plans)
    }

    /// The digest of the actions that the file contains.
    #[must_use]
    pub fn digest(&self) -> String {
        super::draft::digest(
            &self.header.portal,
            &self.header.id,
            self.header.day,
            self.header.strategy,
            &self.actions,
        )
    }
}
