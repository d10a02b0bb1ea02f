//! Leases: one Sodalake writer per dataset, or per any other name. The lease of a killed process
//! expires, so no lock is ever left behind. Finding out earlier that a holder has exited, and
//! ending its lease, is left to the caller.
//!
//! Leases are judged by the times passed in, which all processes on a ledger take from the same
//! clock ([`Ledger::time`]).

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{Ledger, LedgerError};
use crate::database::{FieldError, Kind, Line};

/// The result of requesting a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LeaseAnswer {
    /// The caller holds it.
    Granted {
        /// Increases each time the lease changes hands, even if it was released in between.
        fence: u64,
        /// When it expires unless renewed.
        until: DateTime<Utc>,
    },
    /// Another process holds it.
    HeldBy(Held),
}

/// A lease held by another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The holder.
    pub holder: String,
    /// Since when (UTC), if the holder's version records it.
    pub since: Option<DateTime<Utc>>,
    /// When it expires unless renewed (UTC).
    pub until: DateTime<Utc>,
    /// The duration for which it was taken or renewed, if the holder's version records it.
    pub lasts: Option<Duration>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self.since {
            Some(since) => write!(f, "{} has held it since {}", self.holder, utc(since))?,
            None => write!(f, "{} holds it", self.holder)?,
        }
        write!(f, ", currently until {}", utc(self.until))
    }
}

const TAKE: &str = "insert into ledger_leases as old (name, holder, since, until, lasts, fence)
     values ($1, $2, $4, $3, $5, 1)
     on conflict (name) do update set
       holder = excluded.holder,
       since = case when old.holder = excluded.holder
         then coalesce(old.since, excluded.since) else excluded.since end,
       until = excluded.until,
       lasts = excluded.lasts,
       fence = case when old.holder = excluded.holder then old.fence else old.fence + 1 end
     where old.holder = excluded.holder or old.until <= $4
     returning fence, until";

const NO_HOLDER: &str = "";

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn read_held(line: &Line) -> Result<Held, FieldError> {
    let lasts: Option<i64> = line.maybe(3)?;
    let lasts = lasts.and_then(|lasts| u64::try_from(lasts).ok());
    Ok(Held {
        holder: line.get(0)?,
        since: line.maybe(1)?,
        until: line.get(2)?,
        lasts: lasts.map(Duration::from_micros),
    })
}

impl Ledger {
    /// The time of the database server's clock, which all processes on a PostgreSQL ledger share.
    /// `None` if the ledger is a file, whose processes share their machine's clock.
    pub async fn time(&self) -> Result<Option<DateTime<Utc>>, LedgerError> {
        match self.database.kind() {
            Kind::Sqlite => Ok(None),
            Kind::Postgres => {
                let sql = "select clock_timestamp()";
                let now = self
                    .database
                    .query("read the clock", sql, Vec::new(), |line| line.get(0));
                Ok(now.await?.into_iter().next())
            }
        }
    }

    /// Takes or renews the lease `name` until `now + ttl`. An expired lease is taken over, with a
    /// higher fence. `holder` must be unique to each running process.
    pub async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<LeaseAnswer, LedgerError> {
        // Between the refused request and the query for the holder, the holder may release the
        // lease.
        for _ in 0..5 {
            if let Some(granted) = self.take(name, holder, now, ttl).await? {
                return Ok(granted);
            }
            if let Some(held) = self.held_by(name, now).await? {
                return Ok(LeaseAnswer::HeldBy(held));
            }
        }
        Err(LedgerError::Contended {
            name: name.into(),
            place: self.database.place().to_string(),
        })
    }

    async fn take(
        &self,
        name: &str,
        holder: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<Option<LeaseAnswer>, LedgerError> {
        let params = vec![
            name.into(),
            holder.into(),
            (now + ttl).into(),
            now.into(),
            micros(ttl).into(),
        ];
        let granted = self
            .database
            .query(&format!("take lease {name:?}"), TAKE, params, |line| {
                Ok(LeaseAnswer::Granted {
                    fence: line.count(0)?,
                    until: line.get(1)?,
                })
            })
            .await?;
        Ok(granted.into_iter().next())
    }

    async fn held_by(&self, name: &str, now: DateTime<Utc>) -> Result<Option<Held>, LedgerError> {
        let sql = "select holder, since, until, lasts from ledger_leases
             where name = $1 and until > $2";
        let params = vec![name.into(), now.into()];
        let act = format!("read lease {name:?}");
        let held = self.database.query(&act, sql, params, read_held).await?;
        Ok(held.into_iter().next())
    }

    /// Ends a lease on behalf of its holder, unless the holder has renewed it since it was read as
    /// `seen`.
    pub async fn end_lease(&self, name: &str, seen: &Held) -> Result<(), LedgerError> {
        let sql = "update ledger_leases set holder = $1, until = $2
             where name = $3 and holder = $4 and until = $5";
        let params = vec![
            NO_HOLDER.into(),
            DateTime::UNIX_EPOCH.into(),
            name.into(),
            (&seen.holder).into(),
            seen.until.into(),
        ];
        let act = format!("end lease {name:?}");
        self.database.execute(&act, sql, params).await?;
        Ok(())
    }

    /// Releases the lease, if `holder` still holds it.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), LedgerError> {
        // The line is kept for its fence.
        let sql = "update ledger_leases set holder = $1, until = $2
             where name = $3 and holder = $4";
        let params = vec![
            NO_HOLDER.into(),
            DateTime::UNIX_EPOCH.into(),
            name.into(),
            holder.into(),
        ];
        self.database
            .execute(&format!("release lease {name:?}"), sql, params)
            .await?;
        Ok(())
    }

    /// Releases every lease that `holder` holds, for a process that is shutting down.
    pub async fn release_all(&self, holder: &str) -> Result<(), LedgerError> {
        let sql = "update ledger_leases set holder = $1, until = $2 where holder = $3";
        let params = vec![NO_HOLDER.into(), DateTime::UNIX_EPOCH.into(), holder.into()];
        self.database.execute("release leases", sql, params).await?;
        Ok(())
    }
}
