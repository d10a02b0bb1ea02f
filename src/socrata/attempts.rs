//! Consistent reads of one table: every answer is up to date, and all come from one version of the
//! data.
//!
//! Replicas lag and are picked at random, so a request is sent again if its answer is out of date
//! or older than the first answer of the read: another replica may have newer data. An answer from
//! newer data ends the attempt, since what was read before is no longer current. A read is
//! attempted a few times, and attempts are never combined.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de};
use tokio::time::sleep;

use super::failure::{ReadError, RequestError};
use super::portal::{Answer, Frame, Portal};
use super::soql::Query;
use super::stamp::{Agreement, Flag, Stamp, flag};
use crate::model::DatasetId;

const LEGACY: &str = "x-soda2-legacy-types";

/// Whether a portal confirmed that its answers are up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Every answer was marked as up to date, and all came from one version of the data.
    Proven,
    /// Some answers had no such mark; nothing contradicts that they are up to date.
    Assumed,
}

/// Why an attempt failed.
pub(super) enum Setback {
    /// The data changed during the attempt.
    Changed(String),
    /// The answers contradict each other.
    Contradicts(String),
    /// Another attempt would fail in the same way.
    Fatal(ReadError),
}

/// Why an answer cannot be used.
enum Doubt {
    /// Its replica is behind.
    OutOfDate,
    /// It comes from newer data than the first answer.
    Newer,
    /// It comes from other data, usually older.
    Other,
}

impl Setback {
    pub(super) fn changed(why: &str) -> Self {
        Self::Changed(why.into())
    }

    pub(super) fn contradicts(why: impl Into<String>) -> Self {
        Self::Contradicts(why.into())
    }
}

/// The three numbers counted before and after a scan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Tally {
    #[serde(rename = "sl_rows", deserialize_with = "count")]
    pub(super) rows: u64,
    #[serde(rename = "sl_keys", deserialize_with = "count")]
    pub(super) keys: u64,
    #[serde(rename = "sl_newest", default)]
    pub(super) newest: Option<DateTime<Utc>>,
}

impl Tally {
    pub(super) fn query(key: &str, filter: String) -> Query {
        Query {
            select: format!(
                "count(*) as sl_rows,count(distinct {key}) as sl_keys,max(:updated_at) as sl_newest"
            ),
            filter,
            ..Query::default()
        }
    }

    /// Whether there is a newest stamp if and only if there are rows.
    fn is_consistent(&self) -> bool {
        (self.rows > 0) == self.newest.is_some()
    }
}

/// Reads a count, which a portal may send as text.
pub(super) fn count<'de, D: Deserializer<'de>>(json: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Text(String),
        Number(u64),
    }
    match Wire::deserialize(json)? {
        Wire::Number(number) => Ok(number),
        Wire::Text(text) => text.parse().map_err(|_| de::Error::custom("not a count")),
    }
}

pub(super) struct Attempts<'a> {
    pub(super) portal: &'a Portal,
    id: &'a DatasetId,
    /// What is read, for messages: `keys of 2020-10-01`.
    what: String,
    pub(super) requests: u64,
    first: Option<Stamp>,
    freshness: Freshness,
    starts: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(portal: &'a Portal, id: &'a DatasetId, what: String) -> Self {
        Self {
            portal,
            id,
            what,
            requests: 0,
            first: None,
            freshness: Freshness::Proven,
            starts: 1,
        }
    }

    pub(super) fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The data version of the answers, if the portal reports it.
    pub(super) fn version(&self) -> Option<u64> {
        let version = self.first.as_ref().and_then(|stamp| stamp.version.as_ref());
        version.map(|version| version.number)
    }

    /// Sends a query until the answer is up to date and of the same data version as the first one.
    pub(super) async fn query(
        &mut self,
        operation: &'static str,
        query: &Query,
    ) -> Result<Answer, Setback> {
        let tries = self.portal.patience.stale_tries.max(1);
        let mut doubt = Doubt::OutOfDate;
        for tried in 1..=tries {
            if tried > 1 {
                self.portal.count_retry("stale");
                sleep(self.portal.patience.fresh_pause(tried)).await;
            }
            let url = self.portal.query_url(self.id, query);
            let answer = self.portal.read(operation, url, Frame::Array).await;
            let answer = answer.map_err(|source| self.failed(source))?;
            self.requests += answer.requests;
            if answer
                .headers
                .get(LEGACY)
                .is_some_and(|value| value == "true")
            {
                let (id, what) = self.name();
                return Err(Setback::Fatal(ReadError::Legacy { id, what }));
            }
            match self.admit(&answer) {
                Ok(()) => return Ok(answer),
                Err(Doubt::Newer) => return Err(Setback::changed("the data has a newer version")),
                Err(other) => doubt = other,
            }
        }
        let (id, what) = self.name();
        Err(match doubt {
            Doubt::OutOfDate => Setback::Fatal(ReadError::OutOfDate { id, what, tries }),
            Doubt::Newer | Doubt::Other => {
                Setback::changed("answers come from several versions of the data")
            }
        })
    }

    /// Counts the rows that match the filter, and their keys.
    pub(super) async fn tally(&mut self, key: &str, filter: String) -> Result<Tally, Setback> {
        let answer = self.query("count", &Tally::query(key, filter)).await?;
        match serde_json::from_slice::<[Tally; 1]>(&answer.body) {
            Ok([tally]) if tally.is_consistent() => Ok(tally),
            Ok(_) => Err(Setback::contradicts(
                "the number of rows and their newest stamp do not match",
            )),
            Err(_) => Err(Setback::contradicts("the counts are not numbers")),
        }
    }

    /// Accepts an answer, unless there is a doubt about it.
    fn admit(&mut self, answer: &Answer) -> Result<(), Doubt> {
        let is_confirmed = match flag(&answer.headers) {
            Flag::OutOfDate => return Err(Doubt::OutOfDate),
            Flag::Absent if !self.portal.patience.trust_unflagged => {
                return Err(Doubt::OutOfDate);
            }
            Flag::Absent => false,
            Flag::Fresh => true,
        };
        let stamp = Stamp::of(&answer.headers);
        let agreement = match &self.first {
            Some(first) => first.against(&stamp),
            None => stamp.against(&stamp),
        };
        match agreement {
            Agreement::Newer => return Err(Doubt::Newer),
            Agreement::Older | Agreement::Other => return Err(Doubt::Other),
            Agreement::Same if is_confirmed => {}
            Agreement::Same | Agreement::Unknown => self.freshness = Freshness::Assumed,
        }
        self.first.get_or_insert_default().complete(stamp);
        Ok(())
    }

    /// Waits before another attempt, or returns the error if there is to be none.
    pub(super) async fn restart(&mut self, setback: Setback) -> Result<(), ReadError> {
        let starts = self.starts;
        let (id, what) = self.name();
        let error = match setback {
            Setback::Fatal(error) => return Err(error),
            Setback::Changed(why) => ReadError::Unsteady {
                id,
                what,
                starts,
                why,
            },
            Setback::Contradicts(why) => ReadError::Contradiction { id, what, why },
        };
        if starts >= self.portal.patience.starts {
            return Err(error);
        }
        self.portal.count_retry("unsteady");
        sleep(self.portal.patience.stale_pause * starts).await;
        self.starts += 1;
        self.first = None;
        self.freshness = Freshness::Proven;
        Ok(())
    }

    fn failed(&self, source: RequestError) -> Setback {
        let (id, what) = self.name();
        Setback::Fatal(ReadError::Request { id, what, source })
    }

    pub(super) fn name(&self) -> (DatasetId, String) {
        (self.id.clone(), self.what.clone())
    }
}
