//! Reads from a portal: metadata, a survey, the keys or rows of a day, rows by key.
//!
//! A [`Reader`] sends the app token, and the login only if `socrata.read_as` says so. It cannot
//! write. Its results are proven as far as a portal allows (see `attempts` and `scan`); everything
//! else is an error, and an error says nothing about what is published on the portal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value as Json;

use super::attempts::{Attempts, Freshness, Setback, count};
use super::failure::ReadError;
use super::pick::{ByKey, Pick};
use super::portal::Portal;
use super::scan::{Reading, Scan};
use super::soql::Query;
use super::table::{self, DayColumn, Table};
use crate::model::{DatasetId, Day, DayRange, KeySet, PublishedRow, RowKey, TableShape};

/// Reads tables of a portal.
#[derive(Clone, Debug)]
pub struct Reader {
    portal: Arc<Portal>,
}

/// Rows per day of a range, and when each day was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The days that have rows.
    pub days: BTreeMap<Day, DaySurvey>,
    /// Days whose line makes no sense, for example because the count is not a number or the day
    /// occurs twice. They are not in `days`.
    pub unclear: BTreeSet<Day>,
    /// Rows whose day is not a date, which only a text column can hold.
    pub undated: u64,
    /// Whether the portal confirmed that the answer is up to date.
    pub freshness: Freshness,
    /// The data version of the survey, if the portal reports it.
    pub version: Option<u64>,
    /// Requests made.
    pub requests: u64,
}

/// One day in a survey. A deleted row leaves no stamp, only a smaller count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySurvey {
    /// Rows.
    pub rows: u64,
    /// Newest `:updated_at` (UTC).
    pub newest: Option<DateTime<Utc>>,
}

/// Every key of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKeys {
    /// Every key.
    pub keys: KeySet,
    /// Number of rows, including rows without a key and rows that share one.
    pub count: u64,
    /// Newest `:updated_at` (UTC).
    pub newest: Option<DateTime<Utc>>,
    /// Keys that occur on several rows, and rows without a key (`None`), each with the `:id`s of
    /// the rows. Always empty if the key column is the row identifier.
    pub repeated: Vec<(Option<RowKey>, Vec<String>)>,
    /// Whether the portal confirmed that the answers are up to date.
    pub freshness: Freshness,
    /// The data version of the keys, if the portal reports it.
    pub version: Option<u64>,
    /// Requests made.
    pub requests: u64,
}

/// What was kept of a day's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayRead<T> {
    /// What was kept, in the portal's order.
    pub kept: Vec<T>,
    /// Rows read.
    pub rows: u64,
    /// Like [`PublishedKeys::repeated`].
    pub repeated: Vec<(Option<RowKey>, Vec<String>)>,
    /// Newest `:updated_at` (UTC).
    pub newest: Option<DateTime<Utc>>,
    /// Whether the portal confirmed that the answers are up to date.
    pub freshness: Freshness,
    /// The data version of the rows, if the portal reports it.
    pub version: Option<u64>,
    /// Requests made.
    pub requests: u64,
}

/// One line of a survey, in whatever form it was received, so that a line that makes no sense does
/// not affect others.
#[derive(Deserialize)]
struct SurveyWire {
    #[serde(rename = "sl_day", default)]
    day: Json,
    #[serde(rename = "sl_rows", default)]
    rows: Json,
    #[serde(rename = "sl_newest", default)]
    newest: Json,
}

impl SurveyWire {
    /// The day; `None` if there is none, or it cannot be parsed. The day it belongs to then has no
    /// rows in the survey, and is checked in full.
    fn day(&self, column: DayColumn<'_>) -> Option<Day> {
        column.day_of(self.day.as_str()).ok().flatten()
    }

    fn rows(&self) -> Option<u64> {
        count(&self.rows).ok()
    }

    fn day_survey(&self) -> Option<DaySurvey> {
        Some(DaySurvey {
            rows: self.rows().filter(|rows| *rows > 0)?,
            newest: Some(DateTime::deserialize(&self.newest).ok()?),
        })
    }
}

impl Reader {
    /// A reader that uses `portal`.
    #[must_use]
    pub fn new(portal: Arc<Portal>) -> Self {
        Self { portal }
    }

    /// The table's metadata. They do not depend on replicas, so they never lag.
    ///
    /// # Errors
    /// If they cannot be read, or name a row identifier that is not a column.
    pub async fn shape(&self, id: &DatasetId) -> Result<TableShape, ReadError> {
        table::shape(&self.portal, id).await.map(|(shape, _)| shape)
    }

    /// Rows per day, in one grouped query.
    ///
    /// # Errors
    /// If no up-to-date answer was received.
    pub async fn survey(&self, table: &Table, range: DayRange) -> Result<Survey, ReadError> {
        self.survey_by(&table.id, table.day_column(), range).await
    }

    /// The same without reading the table's metadata, assuming that the day column is a date.
    /// `None` if the portal does not accept it as one: then the metadata must be read.
    ///
    /// # Errors
    /// If no up-to-date answer was received.
    pub async fn survey_unread(
        &self,
        id: &DatasetId,
        day_column: &str,
        range: DayRange,
    ) -> Result<Option<Survey>, ReadError> {
        let Some(column) = DayColumn::assumed(day_column) else {
            return Ok(None);
        };
        match self.survey_by(id, column, range).await {
            Err(ReadError::Request { source, .. }) if source.status() == Some(400) => Ok(None),
            surveyed => surveyed.map(Some),
        }
    }

    async fn survey_by(
        &self,
        id: &DatasetId,
        column: DayColumn<'_>,
        range: DayRange,
    ) -> Result<Survey, ReadError> {
        let what = format!("rows per day from {} to {}", range.from, range.to);
        let mut attempts = Attempts::new(&self.portal, id, what);
        loop {
            match survey(&mut attempts, column, range).await {
                Ok(survey) => return Ok(survey),
                Err(setback) => attempts.restart(setback).await?,
            }
        }
    }

    /// Every key of the day.
    ///
    /// # Errors
    /// If they could not be read completely, up to date, and from one version of the data.
    pub async fn keys(&self, table: &Table, day: Day) -> Result<PublishedKeys, ReadError> {
        let attempts = Attempts::new(&self.portal, &table.id, format!("keys of {day}"));
        let mut scan = Scan::<()>::new(attempts, table, day, Reading::Keys);
        let harvest = scan.carry_out().await?;
        Ok(PublishedKeys {
            keys: harvest.keys,
            count: harvest.tally.rows,
            newest: harvest.tally.newest,
            repeated: harvest.repeated,
            freshness: scan.attempts.freshness(),
            version: scan.attempts.version(),
            requests: scan.attempts.requests,
        })
    }

    /// Reads every row of the day in full, and returns what `keep` returns for them. `keep`
    /// receives rows as they arrive, including those of attempts that fail later.
    ///
    /// # Errors
    /// If they could not be read completely, up to date, and from one version of the data.
    pub async fn rows<T>(
        &self,
        table: &Table,
        day: Day,
        keep: &(dyn Fn(PublishedRow) -> Option<T> + Sync),
    ) -> Result<DayRead<T>, ReadError> {
        let attempts = Attempts::new(&self.portal, &table.id, format!("rows of {day}"));
        let mut scan = Scan::new(attempts, table, day, Reading::Rows(keep));
        let harvest = scan.carry_out().await?;
        Ok(DayRead {
            kept: harvest.kept,
            rows: harvest.tally.rows,
            repeated: harvest.repeated,
            newest: harvest.tally.newest,
            freshness: scan.attempts.freshness(),
            version: scan.attempts.version(),
            requests: scan.attempts.requests,
        })
    }

    /// The rows with these keys, in full, in the order of their keys. Keys without a row are left
    /// out.
    ///
    /// # Errors
    /// If an answer was not up to date, or they were not all from one version of the data.
    pub async fn rows_by_key(
        &self,
        table: &Table,
        keys: &[RowKey],
    ) -> Result<ByKey<Vec<PublishedRow>>, ReadError> {
        let pick = Pick::new(table, keys, table.whole_row(), None);
        let batches = pick.batches(&self.portal)?;
        let mut attempts = Attempts::new(&self.portal, &table.id, "rows by key".into());
        loop {
            match pick.rows(&mut attempts, &batches).await {
                Ok(found) => {
                    let freshness = attempts.freshness();
                    return Ok(ByKey { found, freshness });
                }
                Err(setback) => attempts.restart(setback).await?,
            }
        }
    }

    /// Returns those of these keys that have a row.
    ///
    /// # Errors
    /// Like [`Reader::rows_by_key`].
    pub async fn keys_present(
        &self,
        table: &Table,
        keys: &[RowKey],
    ) -> Result<ByKey<BTreeSet<RowKey>>, ReadError> {
        let pick = Pick::new(table, keys, table.key(), Some(table.key()));
        let batches = pick.batches(&self.portal)?;
        let mut attempts = Attempts::new(&self.portal, &table.id, "which keys there are".into());
        loop {
            match pick.keys(&mut attempts, &batches).await {
                Ok(found) => {
                    let freshness = attempts.freshness();
                    return Ok(ByKey { found, freshness });
                }
                Err(setback) => attempts.restart(setback).await?,
            }
        }
    }
}

async fn survey(
    attempts: &mut Attempts<'_>,
    column: DayColumn<'_>,
    range: DayRange,
) -> Result<Survey, Setback> {
    let date = column.date();
    let limit = attempts.portal.page_rows().max(50_000);
    let query = Query {
        select: format!("{date} as sl_day,count(*) as sl_rows,max(:updated_at) as sl_newest"),
        filter: column.within(range),
        group: Some("sl_day".into()),
        order: Some("sl_day".into()),
        limit: Some(limit),
    };
    let answer = attempts.query("survey", &query).await?;
    let lines: Vec<SurveyWire> = serde_json::from_slice(&answer.body)
        .map_err(|_| Setback::contradicts("it is not a list of rows per day"))?;
    if lines.len() as u64 >= limit {
        return Err(Setback::contradicts("more days than were requested"));
    }
    let (mut days, mut unclear, mut undated) = (BTreeMap::new(), BTreeSet::new(), 0_u64);
    for line in lines {
        let Some(day) = line.day(column) else {
            undated = undated.saturating_add(line.rows().unwrap_or(0));
            continue;
        };
        if !range.contains(day) {
            return Err(Setback::contradicts(
                "a day was received that was not requested",
            ));
        }
        match line.day_survey() {
            Some(seen) if days.insert(day, seen).is_none() => {}
            Some(_) | None => drop(unclear.insert(day)),
        }
    }
    days.retain(|day, _| !unclear.contains(day));
    Ok(Survey {
        days,
        unclear,
        undated,
        freshness: attempts.freshness(),
        version: attempts.version(),
        requests: attempts.requests,
    })
}
