//! All rows of a day, or all their keys: a scan that is complete and of one moment, or nothing.
//!
//! Pages follow the key (`key > 'last'`), never an offset, which skips and repeats rows when
//! others write. The scan stands between two brackets of metadata and counts that must be equal,
//! and must yield exactly the rows counted. What is made of whole rows is held back until all of
//! that is proven, so that nobody is given anything of a scan that came to nothing.
//!
//! Where the next page begins is looked up at a page's end before the page is read, so that the
//! portal makes the next one meanwhile. It is a guess: reading the page proves it, or it is asked anew.
//!
//! Where no row identifier is set, keys may repeat or be null, so pages follow `:id` instead. Its
//! texts are encrypted counters: their order means nothing here, only the last one is passed back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::failure::ReadError;
use super::look::{Look, Setback, Tally};
use super::page;
use super::soql::{self, Query, literal};
use super::table::{self, Table};
use crate::model::{Day, KeySet, Md5Key, PublishedRow, RowKey, TableShape};

/// How much of each row is read.
pub(super) enum Reading<'a, T> {
    Keys,
    /// All of it, of which this keeps what it wants.
    Rows(&'a (dyn Fn(PublishedRow) -> Option<T> + Sync)),
}

pub(super) struct Scan<'a, T> {
    pub(super) look: Look<'a>,
    rows: DayRows<'a, T>,
}

/// The rows that are scanned.
struct DayRows<'a, T> {
    table: &'a Table,
    day: Day,
    reading: Reading<'a, T>,
}

/// What a proven scan brought in.
pub(super) struct Harvest<T> {
    pub(super) tally: Tally,
    pub(super) keys: KeySet,
    /// Keys on several rows, and rows without a key, with the `:id`s of the rows.
    pub(super) repeated: Vec<(Option<RowKey>, Vec<String>)>,
    /// What was kept of whole rows, in the order served.
    pub(super) kept: Vec<T>,
}

/// What the pages of one attempt brought in, before anything is proven.
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
    pub(super) fn new(look: Look<'a>, table: &'a Table, day: Day, reading: Reading<'a, T>) -> Self {
        let rows = DayRows {
            table,
            day,
            reading,
        };
        Self { look, rows }
    }

    /// Scans until an attempt succeeds, or too many came to nothing.
    pub(super) async fn carry_out(&mut self) -> Result<Harvest<T>, ReadError> {
        loop {
            match self.attempt().await {
                Ok(harvest) => return Ok(harvest),
                Err(setback) => self.look.begin_anew(setback).await?,
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
            return Err(Setback::changed("counts or metadata changed meanwhile"));
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
        let (shape, requests) = table::shape(self.look.portal, &self.rows.table.id)
            .await
            .map_err(Setback::Fatal)?;
        self.look.requests += requests;
        let known = &self.rows.table.shape;
        if shape.columns != known.columns || shape.row_identifier != known.row_identifier {
            let (id, what) = self.look.name();
            return Err(Setback::Fatal(ReadError::Reshaped { id, what }));
        }
        Ok(shape)
    }

    async fn tally(&mut self) -> Result<Tally, Setback> {
        let DayRows { table, day, .. } = &self.rows;
        self.look.tally(&table.key(), table.day_filter(*day)).await
    }

    async fn pages(&mut self, tally: &Tally) -> Result<Taken<T>, Setback> {
        let Self { look, rows } = self;
        let limit = look.portal.page_rows();
        let mut taken = Taken {
            order: Order::of(rows.table),
            kept: Vec::new(),
            newest: None,
        };
        let first = rows.page_query(None, limit);
        let mut answer = look.ask(rows.operation(), &first).await?;
        for asked in 1u64.. {
            let body = &answer.body;
            let is_more = asked.saturating_mul(limit) < tally.rows;
            let guess = is_more.then(|| page::last(body, rows.column())).flatten();
            let (ahead, received) = tokio::join!(
                async {
                    let query = rows.page_query(Some(guess.as_deref()?), limit);
                    Some(look.ask(rows.operation(), &query).await)
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
                    look.ask(rows.operation(), &query).await?
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

    /// The column that pages are ordered by.
    fn column(&self) -> &str {
        if self.table.is_keyed() {
            &self.table.key_column
        } else {
            ":id"
        }
    }

    /// The query of the page behind the row `last`, or of the first page.
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

/// The rows in the order served, and whether that order can be true.
enum Order {
    ByKey(KeysRead),
    BySid(Vec<(Option<RowKey>, Box<str>)>),
}

/// Keys as they came.
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

    /// The keys, if there are as many as were counted and none is served twice: a key that is has
    /// one place in the set, and is missed when its members are counted.
    fn finish(self, tally: &Tally) -> Result<Sorted, Setback> {
        let rows = self.len();
        if rows != tally.rows {
            let counted = tally.rows;
            return Err(Setback::contradicts(format!(
                "{rows} rows came, {counted} were counted"
            )));
        }
        let (keys, repeated) = match self {
            Self::ByKey(read) => (KeySet::of(read.md5, read.texts), Vec::new()),
            Self::BySid(rows) => by_key(rows)?,
        };
        if keys.len() as u64 != tally.keys {
            let (came, counted) = (keys.len(), tally.keys);
            return Err(Setback::contradicts(format!(
                "{came} keys came, {counted} were counted"
            )));
        }
        Ok((keys, repeated))
    }
}

/// Whether a portal that orders by key can serve `next` after `last`. How it orders texts that
/// are no hex is its own affair; repeats among those are found at the end.
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
        return Err(Setback::contradicts("one :id is on two rows"));
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
