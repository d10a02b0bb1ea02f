//! All rows of a day, or all their keys, as a complete scan of a single version of the data.
//!
//! Pages are requested by key (`key > 'last'`), never by offset, which skips and repeats rows while
//! others write. Metadata and counts are read before and after the scan and must be equal, and the
//! scan must yield exactly the number of rows counted. Whole rows are held back until all of that
//! is proven, so that the caller receives nothing from a scan that failed.
//!
//! The beginning of the next page is guessed from the end of a page before the page is parsed, so
//! that the portal prepares the next page in the meantime. If parsing does not confirm the guess,
//! the next page is requested again.
//!
//! If no row identifier is set, keys may be repeated or null, so pages are requested by `:id`
//! instead. These ids are encrypted counters: their order has no meaning here, and only the last
//! one is passed back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::attempts::{Attempts, Setback, Tally};
use super::failure::ReadError;
use super::page;
use super::soql::{self, Query, literal};
use super::table::{self, Table};
use crate::model::{Day, KeySet, Md5Key, PublishedRow, RowKey, TableShape};

/// How much of each row is read.
pub(super) enum Reading<'a, T> {
    Keys,
    /// All of it; the function returns what to keep.
    Rows(&'a (dyn Fn(PublishedRow) -> Option<T> + Sync)),
}

pub(super) struct Scan<'a, T> {
    pub(super) attempts: Attempts<'a>,
    rows: DayRows<'a, T>,
}

/// The rows to scan.
struct DayRows<'a, T> {
    table: &'a Table,
    day: Day,
    reading: Reading<'a, T>,
}

/// The result of a proven scan.
pub(super) struct Harvest<T> {
    pub(super) tally: Tally,
    pub(super) keys: KeySet,
    /// Keys that occur on several rows, and rows without a key, with the `:id`s of the rows.
    pub(super) repeated: Vec<(Option<RowKey>, Vec<String>)>,
    /// What was kept of whole rows, in the order received.
    pub(super) kept: Vec<T>,
}

/// The pages of one attempt, before anything is proven.
struct Taken<T> {
    order: Order,
    kept: Vec<T>,
    newest: Option<DateTime<Utc>>,
}

#[derive(PartialEq, Eq)]
struct Bracket {
    shape: TableShape,
    tally: Tally,
}

impl<'a, T> Scan<'a, T> {
    pub(super) fn new(
        attempts: Attempts<'a>,
        table: &'a Table,
        day: Day,
        reading: Reading<'a, T>,
    ) -> Self {
        let rows = DayRows {
            table,
            day,
            reading,
        };
        Self { attempts, rows }
    }

    /// Scans until an attempt succeeds, or too many have failed.
    pub(super) async fn carry_out(&mut self) -> Result<Harvest<T>, ReadError> {
        loop {
            match self.attempt().await {
                Ok(harvest) => return Ok(harvest),
                Err(setback) => self.attempts.restart(setback).await?,
            }
        }
    }

    async fn attempt(&mut self) -> Result<Harvest<T>, Setback> {
        let shape = self.shape().await?;
        let tally = self.tally().await?;
        let before = Bracket { shape, tally };
        let taken = self.pages(&before.tally).await?;
        let tally = self.tally().await?;
        let shape = self.shape().await?;
        let after = Bracket { shape, tally };
        if before != after {
            return Err(Setback::changed(
                "counts or metadata changed during the read",
            ));
        }
        if matches!(self.rows.reading, Reading::Rows(_)) && taken.newest != after.tally.newest {
            return Err(Setback::contradicts(
                "the newest row is not the newest counted",
            ));
        }
        let (keys, repeated) = taken.order.finish(&after.tally)?;
        Ok(Harvest {
            tally: after.tally,
            keys,
            repeated,
            kept: taken.kept,
        })
    }

    async fn shape(&mut self) -> Result<TableShape, Setback> {
        let (shape, requests) = table::shape(self.attempts.portal, &self.rows.table.id)
            .await
            .map_err(Setback::Fatal)?;
        self.attempts.requests += requests;
        let known = &self.rows.table.shape;
        if shape.columns != known.columns || shape.row_identifier != known.row_identifier {
            let (id, what) = self.attempts.name();
            return Err(Setback::Fatal(ReadError::Reshaped { id, what }));
        }
        Ok(shape)
    }

    async fn tally(&mut self) -> Result<Tally, Setback> {
        let DayRows { table, day, .. } = &self.rows;
        self.attempts
            .tally(&table.key(), table.day_filter(*day))
            .await
    }

    async fn pages(&mut self, tally: &Tally) -> Result<Taken<T>, Setback> {
        let Self { attempts, rows } = self;
        let limit = attempts.portal.page_rows();
        let mut taken = Taken {
            order: Order::of(rows.table),
            kept: Vec::new(),
            newest: None,
        };
        let first = rows.page_query(None, limit);
        let mut answer = attempts.query(rows.operation(), &first).await?;
        for requested in 1u64.. {
            let body = &answer.body;
            let is_more = requested.saturating_mul(limit) < tally.rows;
            let guess = is_more.then(|| page::last(body, rows.column())).flatten();
            let (ahead, received) = tokio::join!(
                async {
                    let query = rows.page_query(Some(guess.as_deref()?), limit);
                    Some(attempts.query(rows.operation(), &query).await)
                },
                async { rows.take(body, &mut taken) },
            );
            let received = received.map_err(Setback::Contradicts)?;
            if taken.order.len() > tally.rows || received > limit {
                return Err(Setback::contradicts("more rows than were counted"));
            }
            if received < limit {
                break;
            }
            let last = taken.order.last();
            answer = match ahead {
                Some(ahead) if guess == last => ahead?,
                _ => {
                    let query = rows.page_query(last.as_deref(), limit);
                    attempts.query(rows.operation(), &query).await?
                }
            };
        }
        Ok(taken)
    }
}

impl<T> DayRows<'_, T> {
    fn operation(&self) -> &'static str {
        match self.reading {
            Reading::Keys => "keys",
            Reading::Rows(_) => "rows",
        }
    }

    fn take(&self, body: &[u8], taken: &mut Taken<T>) -> Result<u64, String> {
        let Table {
            key_column, shape, ..
        } = self.table;
        let Taken {
            order,
            kept,
            newest,
        } = taken;
        match self.reading {
            Reading::Keys => {
                page::keys(body, key_column, &mut |line| order.take(line.key, line.sid))
            }
            Reading::Rows(keep) => page::rows(body, key_column, shape, &mut |row| {
                *newest = (*newest).max(Some(row.updated_at));
                order.take(row.key.clone(), Some(row.sid.as_str().into()))?;
                kept.extend(keep(row));
                Ok(())
            }),
        }
    }

    /// The column by which pages are ordered.
    fn column(&self) -> &str {
        if self.table.is_keyed() {
            &self.table.key_column
        } else {
            ":id"
        }
    }

    /// The query for the page after the row `last`, or for the first page.
    fn page_query(&self, last: Option<&str>, limit: u64) -> Query {
        let (key, by) = (self.table.key(), soql::column(self.column()));
        let select = match self.reading {
            Reading::Keys if self.table.is_keyed() => key,
            Reading::Keys => format!(":id,{key}"),
            Reading::Rows(_) => self.table.whole_row(),
        };
        let day = self.table.day_filter(self.day);
        let filter = match last {
            None => day,
            Some(last) => format!("{day} AND {by} > {}", literal(last)),
        };
        Query {
            select,
            filter,
            group: None,
            order: Some(by.into_owned()),
            limit: Some(limit),
        }
    }
}

/// The rows in the order received, with a check that the order is possible.
enum Order {
    ByKey(KeysRead),
    BySid(Vec<(Option<RowKey>, Box<str>)>),
}

/// Keys as received.
#[derive(Default)]
struct KeysRead {
    md5: Vec<Md5Key>,
    texts: Vec<Box<str>>,
    last: Option<RowKey>,
}

type Sorted = (KeySet, Vec<(Option<RowKey>, Vec<String>)>);

impl Order {
    fn of(table: &Table) -> Self {
        if table.is_keyed() {
            Self::ByKey(KeysRead::default())
        } else {
            Self::BySid(Vec::new())
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::ByKey(read) => (read.md5.len() + read.texts.len()) as u64,
            Self::BySid(rows) => rows.len() as u64,
        }
    }

    /// Where the next page begins.
    fn last(&self) -> Option<String> {
        match self {
            Self::ByKey(read) => read.last.as_ref().map(ToString::to_string),
            Self::BySid(rows) => rows.last().map(|(_, sid)| sid.to_string()),
        }
    }

    fn take(&mut self, key: Option<RowKey>, sid: Option<Box<str>>) -> Result<(), String> {
        match self {
            Self::ByKey(read) => {
                let key = key.ok_or("a row has no key, though the key is the row identifier")?;
                if !may_follow(read.last.as_ref(), &key) {
                    return Err("keys do not ascend".into());
                }
                match &key {
                    RowKey::Md5(key) => read.md5.push(*key),
                    RowKey::Text(text) => read.texts.push(text.clone()),
                }
                read.last = Some(key);
            }
            Self::BySid(rows) => rows.push((key, sid.ok_or("a row has no :id")?)),
        }
        Ok(())
    }

    /// The keys, if as many as counted were received and none occurs twice. A repeated key is in
    /// the set only once, so the number of keys in the set would be too small.
    fn finish(self, tally: &Tally) -> Result<Sorted, Setback> {
        let rows = self.len();
        if rows != tally.rows {
            let counted = tally.rows;
            return Err(Setback::contradicts(format!(
                "{rows} rows were received, {counted} were counted"
            )));
        }
        let (keys, repeated) = match self {
            Self::ByKey(read) => (KeySet::of(read.md5, read.texts), Vec::new()),
            Self::BySid(rows) => by_key(rows)?,
        };
        if keys.len() as u64 != tally.keys {
            let (received, counted) = (keys.len(), tally.keys);
            return Err(Setback::contradicts(format!(
                "{received} keys were received, {counted} were counted"
            )));
        }
        Ok((keys, repeated))
    }
}

/// Whether a portal that orders by key can return `next` after `last`. The order of texts that are
/// not hexadecimal is up to the portal; repeated ones are found at the end.
fn may_follow(last: Option<&RowKey>, next: &RowKey) -> bool {
    match (last, next) {
        (Some(RowKey::Md5(last)), RowKey::Md5(next)) => last < next,
        (Some(RowKey::Text(last)), RowKey::Text(next)) => last != next,
        (None | Some(_), _) => true,
    }
}

fn by_key(rows: Vec<(Option<RowKey>, Box<str>)>) -> Result<Sorted, Setback> {
    let mut seen = BTreeSet::new();
    if !rows.iter().all(|(_, sid)| seen.insert(sid)) {
        return Err(Setback::contradicts("two rows have the same :id"));
    }
    drop(seen);
    let mut groups: BTreeMap<Option<RowKey>, Vec<String>> = BTreeMap::new();
    for (key, sid) in rows {
        groups.entry(key).or_default().push(sid.into());
    }
    let keys = groups.keys().flatten().cloned().collect();
    let repeats = |(key, sids): &(Option<RowKey>, Vec<String>)| key.is_none() || sids.len() > 1;
    Ok((keys, groups.into_iter().filter(repeats).collect()))
}
