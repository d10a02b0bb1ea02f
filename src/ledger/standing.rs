//! How things stand, summed up: what gauges are made of.

use chrono::{DateTime, Utc};

use super::{Ledger, LedgerError};
use crate::model::{DatasetName, Day};

/// The days of a dataset that are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The dataset.
    pub dataset: DatasetName,
    /// The state.
    pub state: String,
    /// How many days.
    pub days: u64,
    /// When one of them was looked at last (UTC).
    pub looked_at: DateTime<Utc>,
    /// Since when the one that has differed longest does so (UTC).
    pub open_since: Option<DateTime<Utc>>,
    /// The newest of them that was seen with published rows.
    pub newest_published: Option<Day>,
}

/// Held days of a dataset that the same guards hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldDays {
    /// The dataset.
    pub dataset: DatasetName,
    /// The guards' names.
    pub guards: Vec<String>,
    /// Whether a person has approved their plans.
    pub approved: bool,
    /// How many days.
    pub days: u64,
}

impl Ledger {
    /// Every dataset's days by state.
    pub async fn standing(&self) -> Result<Vec<Standing>, LedgerError> {
        let sql = "select dataset, state, count(*), max(looked_at), min(open_since),
               max(case when published > 0 then day end)
             from ledger_days group by dataset, state order by dataset, state";
        let read = |line: &crate::database::Line| {
            Ok(Standing {
                dataset: line.parsed(0)?,
                state: line.get(1)?,
                days: line.count(2)?,
                looked_at: line.get(3)?,
                open_since: line.maybe(4)?,
                newest_published: line.maybe(5)?,
            })
        };
        let standing = self.database.query("sum up days", sql, Vec::new(), read);
        Ok(standing.await?)
    }

    /// Every dataset's held days, by the guards that hold them.
    pub async fn held(&self) -> Result<Vec<HeldDays>, LedgerError> {
        let sql = "select dataset, guards, approved, count(*)
             from (select d.dataset, coalesce(d.guards, '') as guards,
                 cast(case when a.digest is null then 0 else 1 end as bigint) as approved
               from ledger_days d
               left join ledger_approvals a on a.digest = d.digest and a.used_at is null
               where d.state = 'held') held
             group by dataset, guards, approved order by dataset, guards, approved";
        let read = |line: &crate::database::Line| {
            Ok(HeldDays {
                dataset: line.parsed(0)?,
                guards: super::days::names(&line.get::<String>(1)?),
                approved: line.get::<i64>(2)? == 1,
                days: line.count(3)?,
            })
        };
        let held = self
            .database
            .query("sum up held days", sql, Vec::new(), read);
        Ok(held.await?)
    }

    /// Rows put back by all restores that have ended, by dataset.
    pub async fn restored(&self) -> Result<Vec<(DatasetName, u64)>, LedgerError> {
        let sql = "select dataset, cast(sum(published) as bigint) from ledger_passes
             where kind = 'restore' group by dataset order by dataset";
        let restored = self
            .database
            .query("sum up restores", sql, Vec::new(), |line| {
                Ok((line.parsed(0)?, line.count(1)?))
            });
        Ok(restored.await?)
    }

    /// The names of the leases that `holder` holds at `now`.
    pub async fn leases_of(
        &self,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, LedgerError> {
        let sql = "select name from ledger_leases where holder = $1 and until > $2 order by name";
        let params = vec![holder.into(), now.into()];
        let names = self
            .database
            .query("read our leases", sql, params, |line| line.get(0));
        Ok(names.await?)
    }
}
