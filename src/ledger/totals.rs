//! Totals of days, held plans, restores and leases, from which gauges are computed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{DayRecord, Ledger, LedgerError};
use crate::model::{DatasetName, Day, DayRange};

/// The state of a day that was never checked, or whose last check is older than the schedules
/// promise.
pub const UNKNOWN: &str = "unknown";

/// What the schedules promise: how recent a check must be for its result to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The dataset.
    pub dataset: DatasetName,
    /// The settled days that every scheduled check covers.
    pub window: DayRange,
    /// A day in the window must have been checked since then (UTC).
    pub checked_since: DateTime<Utc>,
    /// Any older day must have been checked since then (UTC).
    pub audited_since: DateTime<Utc>,
}

/// The days of a dataset that are in the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTotal {
    /// The dataset.
    pub dataset: DatasetName,
    /// Their state after their last check.
    pub state: String,
    /// Whether that check was too long ago to count.
    pub is_stale: bool,
    /// Number of days.
    pub days: u64,
    /// Number of them in the window.
    pub in_window: u64,
    /// The latest check of any of them (UTC).
    pub checked_at: DateTime<Utc>,
    /// Since when the one that has differed longest has differed (UTC).
    pub open_since: Option<DateTime<Utc>>,
    /// The newest of them on which published rows were seen.
    pub newest_published: Option<Day>,
}

impl Promise {
    /// Whether the last check of a day was too long ago to count. A day found in sync may have
    /// changed since, and a day that was too young to judge no longer is. A difference stays known
    /// until another check finds that it is gone.
    #[must_use]
    pub fn is_stale(&self, record: &DayRecord) -> bool {
        match record.state.as_str() {
            "in-sync" => {
                let is_near = self.window.contains(record.day);
                let since = if is_near {
                    self.checked_since
                } else {
                    self.audited_since
                };
                record.checked_at < since
            }
            "unsettled" => record.day < self.window.to,
            _ => false,
        }
    }

    /// Number of days in the window that are not among the records and so were never checked.
    #[must_use]
    pub fn never_checked(&self, records: &[DayRecord]) -> u64 {
        let known = records.iter().filter(|item| self.window.contains(item.day));
        (self.window.days().count() as u64).saturating_sub(known.count() as u64)
    }

    /// The dataset's days by state. Days whose last check does not count, and days in the window
    /// that were never checked, are [`UNKNOWN`].
    #[must_use]
    pub fn days_by_state(&self, standing: &[StateTotal]) -> BTreeMap<String, u64> {
        let mut days = BTreeMap::new();
        let mut never = self.window.days().count() as u64;
        for item in standing.iter().filter(|item| item.dataset == self.dataset) {
            let state = if item.is_stale { UNKNOWN } else { &item.state };
            *days.entry(state.to_owned()).or_default() += item.days;
            never = never.saturating_sub(item.in_window);
        }
        if never > 0 {
            *days.entry(UNKNOWN.to_owned()).or_default() += never;
        }
        days
    }
}

/// Held days of a dataset that are held by the same guards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldDays {
    /// The dataset.
    pub dataset: DatasetName,
    /// The guards' names.
    pub guards: Vec<String>,
    /// Whether a person has approved their plans.
    pub approved: bool,
    /// Number of days.
    pub days: u64,
}

impl Ledger {
    /// The days of these datasets by state. Days whose last check does not count are listed
    /// separately.
    pub async fn standing(&self, promises: &[Promise]) -> Result<Vec<StateTotal>, LedgerError> {
        let mut standing = Vec::new();
        for promise in promises {
            standing.extend(self.standing_of(promise).await?);
        }
        Ok(standing)
    }

    /// Uses the same rules as [`Promise::is_stale`].
    async fn standing_of(&self, promise: &Promise) -> Result<Vec<StateTotal>, LedgerError> {
        let sql = "select dataset, state, stale, count(*), count(near), max(checked_at),
               min(open_since), max(case when published > 0 then day end)
             from (select dataset, day, state, checked_at, open_since, published,
                 case when day >= $2 and day < $3 then 1 end as near,
                 cast(case
                   when state = 'in-sync' and day >= $2 and day < $3 and checked_at < $4 then 1
                   when state = 'in-sync' and (day < $2 or day >= $3) and checked_at < $5 then 1
                   when state = 'unsettled' and day < $3 then 1
                   else 0 end as bigint) as stale
               from ledger_days where dataset = $1) known
             group by dataset, state, stale order by state, stale";
        let Promise {
            dataset,
            window,
            checked_since,
            audited_since,
        } = promise;
        let params = vec![
            dataset.as_str().into(),
            window.from.into(),
            window.to.into(),
            (*checked_since).into(),
            (*audited_since).into(),
        ];
        let read = |line: &crate::database::Line| {
            Ok(StateTotal {
                dataset: line.parsed(0)?,
                state: line.get(1)?,
                is_stale: line.get::<i64>(2)? == 1,
                days: line.count(3)?,
                in_window: line.count(4)?,
                checked_at: line.get(5)?,
                open_since: line.maybe(6)?,
                newest_published: line.maybe(7)?,
            })
        };
        let standing = self.database.query("count the days", sql, params, read);
        Ok(standing.await?)
    }

    /// The held days of all datasets, by the guards that hold them.
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
            .query("count the held days", sql, Vec::new(), read);
        Ok(held.await?)
    }

    /// Rows restored by all completed restores, by dataset.
    pub async fn restored(&self) -> Result<Vec<(DatasetName, u64)>, LedgerError> {
        let sql = "select dataset, cast(sum(published) as bigint) from ledger_passes
             where kind = 'restore' group by dataset order by dataset";
        let restored = self
            .database
            .query("count the restores", sql, Vec::new(), |line| {
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
