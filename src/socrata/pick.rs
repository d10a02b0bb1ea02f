//! Rows selected by key: splits the keys into lists that fit into a URL, and checks that all their
//! rows were received.

use std::collections::BTreeSet;

use super::attempts::{Attempts, Freshness, Setback, Tally};
use super::failure::ReadError;
use super::page;
use super::portal::Portal;
use super::soql::{Query, encoded, literal};
use super::table::Table;
use crate::model::{PublishedRow, RowKey};

/// Maximum length of a URL. Portals refuse longer ones with 414, starting at some length above 8
/// KB.
const MAX_URL_BYTES: usize = 7_000;

/// The result of a lookup by key. A key that was not found is known to be absent only if the portal
/// confirmed that its answers were up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByKey<T> {
    /// What was found.
    pub found: T,
    /// Whether every answer was marked as up to date.
    pub freshness: Freshness,
}

impl<T> ByKey<T> {
    /// The result, if keys that were not found are known to be absent.
    ///
    /// # Errors
    /// If the portal did not confirm that its answers were up to date.
    pub fn proven(self, table: &Table) -> Result<T, ReadError> {
        match self.freshness {
            Freshness::Proven => Ok(self.found),
            Freshness::Assumed => Err(ReadError::FreshnessUnknown {
                id: table.id.clone(),
                what: "rows by key".into(),
            }),
        }
    }
}

/// A selection of rows by key, in lists as long as a URL allows.
pub(super) struct Pick<'a> {
    table: &'a Table,
    wanted: BTreeSet<&'a RowKey>,
    select: String,
    group: Option<String>,
}

/// One `IN` list and its number of keys.
pub(super) struct Batch {
    list: String,
    keys: u64,
}

impl<'a> Pick<'a> {
    pub(super) fn new(
        table: &'a Table,
        keys: &'a [RowKey],
        select: String,
        group: Option<String>,
    ) -> Self {
        Self {
            table,
            wanted: keys.iter().collect(),
            select,
            group: group.filter(|_| !table.is_keyed()),
        }
    }

    pub(super) fn batches(&self, portal: &Portal) -> Result<Vec<Batch>, ReadError> {
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

    /// Checks that all rows were received. A row that was received existed; that no other exists is
    /// certain only if the portal counts no more rows than were received.
    async fn check(
        &self,
        attempts: &mut Attempts<'_>,
        batch: &Batch,
        received: u64,
    ) -> Result<(), Setback> {
        let query = self.query(batch, attempts.portal);
        if query.limit.is_some_and(|limit| received >= limit) {
            return Err(Setback::contradicts(
                "more rows than keys, or than a page can have",
            ));
        }
        if self.table.is_keyed() && received == batch.keys {
            return Ok(());
        }
        let tally = attempts
            .tally(&self.table.key(), self.filter(batch))
            .await?;
        let counted = if self.group.is_some() {
            tally.keys
        } else {
            tally.rows
        };
        if received != counted {
            return Err(Setback::contradicts(format!(
                "{received} rows were received, {counted} were counted"
            )));
        }
        Ok(())
    }

    pub(super) async fn rows(
        &self,
        attempts: &mut Attempts<'_>,
        batches: &[Batch],
    ) -> Result<Vec<PublishedRow>, Setback> {
        let Table {
            key_column, shape, ..
        } = self.table;
        let mut rows = Vec::new();
        for batch in batches {
            let answer = attempts
                .query("rows_by_key", &self.query(batch, attempts.portal))
                .await?;
            let received = page::rows(&answer.body, key_column, shape, &mut |row| {
                self.check_requested(row.key.as_ref())?;
                rows.push(row);
                Ok(())
            });
            let received = received.map_err(Setback::Contradicts)?;
            self.check(attempts, batch, received).await?;
        }
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let is_repeated = rows.windows(2).any(|pair| pair[0].key == pair[1].key);
        if self.table.is_keyed() && is_repeated {
            return Err(Setback::contradicts("a row identifier occurs twice"));
        }
        Ok(rows)
    }

    pub(super) async fn keys(
        &self,
        attempts: &mut Attempts<'_>,
        batches: &[Batch],
    ) -> Result<BTreeSet<RowKey>, Setback> {
        let mut present = BTreeSet::new();
        for batch in batches {
            let answer = attempts
                .query("keys_present", &self.query(batch, attempts.portal))
                .await?;
            let received = page::keys(&answer.body, &self.table.key_column, &mut |line| {
                self.check_requested(line.key.as_ref())?;
                if !line.key.is_some_and(|key| present.insert(key)) {
                    return Err("a key occurs twice".into());
                }
                Ok(())
            });
            let received = received.map_err(Setback::Contradicts)?;
            self.check(attempts, batch, received).await?;
        }
        Ok(present)
    }

    fn check_requested(&self, key: Option<&RowKey>) -> Result<(), String> {
        if key.is_some_and(|key| self.wanted.contains(key)) {
            Ok(())
        } else {
            Err("a row was received that was not requested".into())
        }
    }
}
