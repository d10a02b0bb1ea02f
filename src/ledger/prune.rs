//! What is too old to be of use leaves the ledger, so that it does not grow for ever.
//!
//! Kept for good are the state of every day, marks and what people did. Used approvals, changes of
//! state, differences that nobody has seen since and passes with their journals go after a time. How
//! long that is, the caller says: a pass is worth keeping as long as its archive is.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Ledger, LedgerError};
use crate::database::Statement;

/// How far back guards count what was done to a day. Passes so young are never removed.
pub const GUARDS_COUNT: TimeDelta = TimeDelta::days(7);

impl Ledger {
    /// Removes everything but passes that is older than `before` and over, and tells how many lines
    /// that were.
    pub async fn prune(&self, before: DateTime<Utc>) -> Result<u64, LedgerError> {
        self.remove_old(
            before,
            &[
                "delete from ledger_approvals where approved_at < $1 and used_at < $1",
                "delete from ledger_sightings where first_seen < $1",
                "delete from ledger_changes where at < $1",
                "delete from ledger_leases where until < $1 and name like 'run/%'",
            ],
        )
        .await
    }

    /// Removes passes that ended longer ago than `keep`, with their journals, and tells how many
    /// lines that were. What the guards still count stays, however short `keep` is. The archives of
    /// these passes must have gone before: whether one may go is asked of its pass.
    pub async fn prune_passes(
        &self,
        now: DateTime<Utc>,
        keep: TimeDelta,
    ) -> Result<u64, LedgerError> {
        self.remove_old(
            now - keep.max(GUARDS_COUNT),
            &[
                "delete from ledger_journal where pass in (select id from ledger_passes
                   where ended_at < $1)",
                "delete from ledger_passes where ended_at < $1",
            ],
        )
        .await
    }

    async fn remove_old(&self, before: DateTime<Utc>, sql: &[&str]) -> Result<u64, LedgerError> {
        let remove = |sql: &&str| Statement::new(*sql, vec![before.into()]);
        let removed = (self.database)
            .transaction("remove what is too old", sql.iter().map(remove).collect())
            .await?;
        Ok(removed.into_iter().sum())
    }
}
