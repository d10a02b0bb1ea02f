//! Leases: one writer of ours per dataset, or per anything named. A killed program's lease runs out
//! by itself, so no lock is ever left behind. Whether a holder is gone before that is for others to
//! find out, who then let its lease go in its name.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Ledger, LedgerError};

/// What became of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LeaseAnswer {
    /// The asker holds it.
    Granted {
        /// Grows each time the lease changes hands, also after it was let go.
        fence: u64,
        /// When it runs out unless asked for again.
        until: DateTime<Utc>,
    },
    /// Another holds it.
    HeldBy {
        /// Who.
        holder: String,
        /// When it runs out unless renewed.
        until: DateTime<Utc>,
    },
}

const TAKE: &str = "insert into ledger_leases as old (name, holder, until, fence)
     values ($1, $2, $3, 1)
     on conflict (name) do update set
       holder = excluded.holder,
       until = excluded.until,
       fence = case when old.holder = excluded.holder then old.fence else old.fence + 1 end
     where old.holder = excluded.holder or old.until <= $4
     returning fence, until";

const NO_HOLDER: &str = "";

impl Ledger {
    /// Takes or renews the lease `name` until `now + ttl`. One that has run out is taken over, with
    /// a higher fence. `holder` tells one running program from every other.
    pub async fn lease(
        &self,
        name: &str,
        holder: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<LeaseAnswer, LedgerError> {
        // Between being refused and asking by whom, the holder may let go.
        for _ in 0..5 {
            if let Some(granted) = self.take(name, holder, now, now + ttl).await? {
                return Ok(granted);
            }
            if let Some(held) = self.holder(name, now).await? {
                return Ok(held);
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
        until: DateTime<Utc>,
    ) -> Result<Option<LeaseAnswer>, LedgerError> {
        let params = vec![name.into(), holder.into(), until.into(), now.into()];
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

    async fn holder(
        &self,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<LeaseAnswer>, LedgerError> {
        let sql = "select holder, until from ledger_leases where name = $1 and until > $2";
        let params = vec![name.into(), now.into()];
        let held = self
            .database
            .query(&format!("read lease {name:?}"), sql, params, |line| {
                Ok(LeaseAnswer::HeldBy {
                    holder: line.get(0)?,
                    until: line.get(1)?,
                })
            })
            .await?;
        Ok(held.into_iter().next())
    }

    /// Lets the lease go, if `holder` still holds it.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), LedgerError> {
        // The line stays, for its fence.
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

    /// Lets every lease go that `holder` holds: what a program does that is asked to end.
    pub async fn release_all(&self, holder: &str) -> Result<(), LedgerError> {
        let sql = "update ledger_leases set holder = $1, until = $2 where holder = $3";
        let params = vec![NO_HOLDER.into(), DateTime::UNIX_EPOCH.into(), holder.into()];
        self.database.execute("release leases", sql, params).await?;
        Ok(())
    }
}
