//! Plans as files: JSON lines, a head and then a row a line, so that a person can read, keep and
//! approve exactly what will be done.

use std::io::{self, BufRead, Read as _};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::PLAN_LINE_BYTES;
use crate::model::{DatasetId, DatasetName, Day};

use super::draft::Size;
use super::{Action, Breach, Draft, Strategy};

/// The first line of a plan in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanHeader {
    /// Names exactly this plan.
    pub digest: String,
    /// The portal it is for.
    pub portal: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// Its four-by-four.
    pub id: DatasetId,
    /// The day.
    pub day: Day,
    /// The order of its steps.
    pub strategy: Strategy,
    /// When the look behind it began (UTC).
    pub looked_at: DateTime<Utc>,
    /// How many action lines follow.
    pub lines: u64,
    /// How much it touches.
    #[serde(flatten)]
    pub size: Size,
    /// What would hold it, when it was made.
    pub held: Vec<Breach>,
}

#[derive(Deserialize)]
struct HeaderLine {
    plan: PlanHeader,
}

/// A plan read back from a file.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// Its head.
    pub header: PlanHeader,
    /// Its steps.
    pub actions: Vec<Action>,
}

/// The lines of a file that are not blank, one at a time and none longer than the limit.
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

/// A file that is not a plan of ours, whole and unaltered.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// A line that does not read.
    #[error("read line {line} of the plan")]
    Line {
        /// The line, from 1.
        line: usize,
        /// Why not.
        source: serde_json::Error,
    },
    /// A line that cannot be read from where it lies.
    #[error("read line {line} of the plan")]
    Read {
        /// The line, from 1.
        line: usize,
        /// Why not.
        source: io::Error,
    },
    /// A line that no step can be.
    #[error("read line {line} of the plan: it is longer than {PLAN_LINE_BYTES} bytes")]
    Long {
        /// The line, from 1.
        line: usize,
    },
    /// Fewer lines than the head promises.
    #[error("read the plan of {dataset} {day}: {found} of {promised} lines are there")]
    Short {
        /// The dataset.
        dataset: DatasetName,
        /// The day.
        day: Day,
        /// Lines found.
        found: u64,
        /// Lines promised.
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
            strategy: self.strategy,
            looked_at: self.looked_at,
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
    /// Reads every plan of a file. Whether one is altered shows when its digest is compared with
    /// that of a fresh draft.
    ///
    /// # Errors
    /// If a line does not read, or lines are missing.
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

    /// The digest of what the file really says.
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
