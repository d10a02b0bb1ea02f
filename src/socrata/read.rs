//! Reading a portal: metadata, a survey, the keys or rows of a day, rows by key.
//!
//! A [`Reader`] holds no secret that can write: it sends the app token at most. What it returns is
//! proven as far as a portal lets it be (`look`, `scan`); everything else is an error, and an
//! error proves nothing about what stands on the portal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::failure::ReadError;
use super::look::{Freshness, Look, Setback, Tally, count};
use super::page;
use super::portal::Portal;
use super::scan::{Reading, Scan};
use super::soql::{Query, encoded, literal};
use super::table::{self, DayColumn, Table};
use crate::model::{DatasetId, Day, DayRange, KeySet, PublishedRow, RowKey, TableShape};

/// Longest URL sent. Portals refuse longer ones with 414 somewhere above 8 KB.
const MAX_URL_BYTES: usize = 7_000;

/// Reads tables of a portal.
#[derive(Clone, Debug)]
pub struct Reader {
    portal: Arc<Portal>,
}

/// Rows per day of a range, and when each day was last written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The days that have rows.
    pub days: BTreeMap<Day, DaySurvey>,
    /// Rows whose day is not a date, which only a text column can hold.
    pub undated: u64,
    /// Whether the portal vouched for it.
    pub freshness: Freshness,
    /// The data version it is of, where the portal tells.
    pub version: Option<u64>,
    /// Requests made.
    pub requests: u64,
}

/// What a survey says of one day. A deleted row leaves no stamp, only a smaller count.
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
    /// Rows, those without a key and those that share one included.
    pub count: u64,
    /// Newest `:updated_at` (UTC).
    pub newest: Option<DateTime<Utc>>,
    /// Keys on several rows, and rows without a key (`None`), with the `:id`s of their rows.
    /// Always empty where the key column is the row identifier.
    pub repeated: Vec<(Option<RowKey>, Vec<String>)>,
    /// Whether the portal vouched for it.
    pub freshness: Freshness,
    /// The data version they are of, where the portal tells.
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
    /// As [`PublishedKeys::repeated`].
    pub repeated: Vec<(Option<RowKey>, Vec<String>)>,
    /// Newest `:updated_at` (UTC).
    pub newest: Option<DateTime<Utc>>,
    /// Whether the portal vouched for it.
    pub freshness: Freshness,
    /// The data version they are of, where the portal tells.
    pub version: Option<u64>,
    /// Requests made.
    pub requests: u64,
}

#[derive(Deserialize)]
struct SurveyWire {
    #[serde(rename = "sl_day", default)]
    day: Option<String>,
    #[serde(rename = "sl_rows", deserialize_with = "count")]
    rows: u64,
    #[serde(rename = "sl_newest", default)]
    newest: Option<DateTime<Utc>>,
}

impl Reader {
    /// A reader that asks through `portal`.
    #[must_use]
    pub fn new(portal: Arc<Portal>) -> Self {
        Self { portal }
    }

    /// The table's metadata. They are not subject to the lag of replicas.
    ///
    /// # Errors
    /// If they cannot be read, or name a row identifier that is no column.
    pub async fn shape(&self, id: &DatasetId) -> Result<TableShape, ReadError> {
        table::shape(&self.portal, id).await.map(|(shape, _)| shape)
    }

    /// Rows per day, in one grouped query.
    ///
    /// # Errors
    /// If no fresh answer came.
    pub async fn survey(&self, table: &Table, range: DayRange) -> Result<Survey, ReadError> {
        self.survey_by(&table.id, table.day_column(), range).await
    }

    /// The same without the table's metadata, the day column being taken for a date. `None` if
    /// the portal does not take it for one: then the metadata must be asked.
    ///
    /// # Errors
    /// If no fresh answer came.
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
        let mut look = Look::new(&self.portal, id, what);
        loop {
            match survey(&mut look, column, range).await {
                Ok(survey) => return Ok(survey),
                Err(setback) => look.begin_anew(setback).await?,
            }
        }
    }

    /// Every key of the day.
    ///
    /// # Errors
    /// If they could not be read whole, fresh, and from one version of the data.
    pub async fn keys(&self, table: &Table, day: Day) -> Result<PublishedKeys, ReadError> {
        let look = Look::new(&self.portal, &table.id, format!("keys of {day}"));
        let mut scan = Scan::<()>::new(look, table, day, Reading::Keys);
        let harvest = scan.carry_out().await?;
        Ok(PublishedKeys {
            keys: harvest.keys,
            count: harvest.tally.rows,
            newest: harvest.tally.newest,
            repeated: harvest.repeated,
            freshness: scan.look.freshness(),
            version: scan.look.version(),
            requests: scan.look.requests,
        })
    }

    /// Reads every row of the day, whole, and returns what `keep` makes of them. It sees rows as they
    /// come, those of an attempt that comes to nothing among them.
    ///
    /// # Errors
    /// If they could not be read whole, fresh, and from one version of the data.
    pub async fn rows<T>(
        &self,
        table: &Table,
        day: Day,
        keep: &(dyn Fn(PublishedRow) -> Option<T> + Sync),
    ) -> Result<DayRead<T>, ReadError> {
        let look = Look::new(&self.portal, &table.id, format!("rows of {day}"));
        let mut scan = Scan::new(look, table, day, Reading::Rows(keep));
        let harvest = scan.carry_out().await?;
        Ok(DayRead {
            kept: harvest.kept,
            rows: harvest.tally.rows,
            repeated: harvest.repeated,
            newest: harvest.tally.newest,
            freshness: scan.look.freshness(),
            version: scan.look.version(),
            requests: scan.look.requests,
        })
    }

    /// The rows that have one of these keys, whole, in the order of their keys. Keys without a
    /// row are left out.
    ///
    /// # Errors
    /// If any answer was not fresh, or they were not all from one version of the data.
    pub async fn rows_by_key(
        &self,
        table: &Table,
        keys: &[RowKey],
    ) -> Result<Vec<PublishedRow>, ReadError> {
        let pick = Pick::new(table, keys, table.whole_row(), None);
        let batches = pick.batches(&self.portal)?;
        let mut look = Look::new(&self.portal, &table.id, "rows by key".into());
        loop {
            match pick.rows(&mut look, &batches).await {
                Ok(rows) => return Ok(rows),
                Err(setback) => look.begin_anew(setback).await?,
            }
        }
    }

    /// Those of these keys that have a row.
    ///
    /// # Errors
    /// As [`Reader::rows_by_key`].
    pub async fn keys_present(
        &self,
        table: &Table,
        keys: &[RowKey],
    ) -> Result<BTreeSet<RowKey>, ReadError> {
        let pick = Pick::new(table, keys, table.key(), Some(table.key()));
        let batches = pick.batches(&self.portal)?;
        let mut look = Look::new(&self.portal, &table.id, "which keys there are".into());
        loop {
            match pick.keys(&mut look, &batches).await {
                Ok(keys) => return Ok(keys),
                Err(setback) => look.begin_anew(setback).await?,
            }
        }
    }
}

async fn survey(
    look: &mut Look<'_>,
    column: DayColumn<'_>,
    range: DayRange,
) -> Result<Survey, Setback> {
    let date = column.date();
    let limit = look.portal.page_rows().max(50_000);
    let query = Query {
        select: format!("{date} as sl_day,count(*) as sl_rows,max(:updated_at) as sl_newest"),
        filter: column.within(range),
        group: Some("sl_day".into()),
        order: Some("sl_day".into()),
        limit: Some(limit),
    };
    let answer = look.ask("survey", &query).await?;
    let lines: Vec<SurveyWire> = serde_json::from_slice(&answer.body)
        .map_err(|_| Setback::contradicts("it is not rows per day"))?;
    if lines.len() as u64 >= limit {
        return Err(Setback::contradicts("more days than there can be"));
    }
    let (mut days, mut undated) = (BTreeMap::new(), 0);
    for line in lines {
        let day = line
            .day
            .as_deref()
            .and_then(|text| text.get(..10)?.parse::<Day>().ok());
        let Some(day) = day else {
            undated += line.rows;
            continue;
        };
        let seen = DaySurvey {
            rows: line.rows,
            newest: line.newest,
        };
        if !range.contains(day) || days.insert(day, seen).is_some() {
            return Err(Setback::contradicts(
                "a day comes twice or was not asked for",
            ));
        }
    }
    Ok(Survey {
        days,
        undated,
        freshness: look.freshness(),
        version: look.version(),
        requests: look.requests,
    })
}

/// A choice of rows by key, in lists as long as a URL allows.
struct Pick<'a> {
    table: &'a Table,
    wanted: BTreeSet<&'a RowKey>,
    select: String,
    group: Option<String>,
}

/// One `IN` list and how many keys it has.
struct Batch {
    list: String,
    keys: u64,
}

impl<'a> Pick<'a> {
    fn new(table: &'a Table, keys: &'a [RowKey], select: String, group: Option<String>) -> Self {
        Self {
            table,
            wanted: keys.iter().collect(),
            select,
            group: group.filter(|_| !table.is_keyed()),
        }
    }

    fn batches(&self, portal: &Portal) -> Result<Vec<Batch>, ReadError> {
        let empty = Batch {
            list: String::new(),
            keys: u64::MAX >> 1,
        };
        let counted = Tally::query(&self.table.key(), self.filter(&empty));
        let frames = [self.query(&empty, portal), counted]
            .map(|query| portal.query_url(&self.table.id, &query).as_str().len());
        let room = MAX_URL_BYTES.saturating_sub(frames[0].max(frames[1]));
        let (mut batches, mut used): (Vec<Batch>, usize) = (Vec::new(), 0);
        for key in &self.wanted {
            let text = literal(&key.to_string());
            let bytes = encoded(&text).len() + "%2C".len();
            if bytes > room {
                let id = self.table.id.clone();
                return Err(ReadError::KeyTooLong { id, bytes });
            }
            match batches.last_mut() {
                Some(batch) if used + bytes <= room => {
                    batch.list.push(',');
                    batch.list.push_str(&text);
                    batch.keys += 1;
                    used += bytes;
                }
                _ => {
                    let list = text;
                    batches.push(Batch { list, keys: 1 });
                    used = bytes;
                }
            }
        }
        Ok(batches)
    }

    fn filter(&self, batch: &Batch) -> String {
        format!("{} in ({})", self.table.key(), batch.list)
    }

    fn query(&self, batch: &Batch, portal: &Portal) -> Query {
        let keyed = self.table.is_keyed() || self.group.is_some();
        let key = self.table.key();
        Query {
            select: self.select.clone(),
            filter: self.filter(batch),
            group: self.group.clone(),
            limit: Some(if keyed {
                batch.keys + 1
            } else {
                portal.page_rows()
            }),
            order: Some(if keyed { key } else { ":id".into() }),
        }
    }

    /// Whether as many came as there are. A row that came was there; that one was not is true
    /// only if the portal counts no more than came.
    async fn check(
        &self,
        look: &mut Look<'_>,
        batch: &Batch,
        received: u64,
    ) -> Result<(), Setback> {
        let query = self.query(batch, look.portal);
        if query.limit.is_some_and(|limit| received >= limit) {
            return Err(Setback::contradicts(
                "more rows than keys, or than a page holds",
            ));
        }
        if self.table.is_keyed() && received == batch.keys {
            return Ok(());
        }
        let tally = look.tally(&self.table.key(), self.filter(batch)).await?;
        let counted = if self.group.is_some() {
            tally.keys
        } else {
            tally.rows
        };
        if received != counted {
            return Err(Setback::contradicts(format!(
                "{received} came, {counted} were counted"
            )));
        }
        Ok(())
    }

    async fn rows(
        &self,
        look: &mut Look<'_>,
        batches: &[Batch],
    ) -> Result<Vec<PublishedRow>, Setback> {
        let Table {
            key_column, shape, ..
        } = self.table;
        let mut rows = Vec::new();
        for batch in batches {
            let answer = look
                .ask("rows_by_key", &self.query(batch, look.portal))
                .await?;
            let received = page::rows(&answer.body, key_column, shape, &mut |row| {
                self.admit(row.key.as_ref())?;
                rows.push(row);
                Ok(())
            });
            let received = received.map_err(Setback::Contradicts)?;
            self.check(look, batch, received).await?;
        }
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let is_repeated = rows.windows(2).any(|pair| pair[0].key == pair[1].key);
        if self.table.is_keyed() && is_repeated {
            return Err(Setback::contradicts("a row identifier comes twice"));
        }
        Ok(rows)
    }

    async fn keys(
        &self,
        look: &mut Look<'_>,
        batches: &[Batch],
    ) -> Result<BTreeSet<RowKey>, Setback> {
        let mut present = BTreeSet::new();
        for batch in batches {
            let answer = look
                .ask("keys_present", &self.query(batch, look.portal))
                .await?;
            let received = page::keys(&answer.body, &self.table.key_column, &mut |line| {
                self.admit(line.key.as_ref())?;
                if !line.key.is_some_and(|key| present.insert(key)) {
                    return Err("a key comes twice".into());
                }
                Ok(())
            });
            let received = received.map_err(Setback::Contradicts)?;
            self.check(look, batch, received).await?;
        }
        Ok(present)
    }

    fn admit(&self, key: Option<&RowKey>) -> Result<(), String> {
        if key.is_some_and(|key| self.wanted.contains(key)) {
            Ok(())
        } else {
            Err("a row comes that was not asked for".into())
        }
    }
}
