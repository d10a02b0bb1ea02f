//! Removes old records, so that the ledger does not grow forever.
//!
//! The state of every day, marks and people's acts are kept forever. Used approvals, changes of
//! state, differences that are no longer seen, and passes with their journals are removed after a
//! time that the caller sets: a pass is worth keeping as long as its archive.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Ledger, LedgerError};
use crate::database::Statement;

/// How far back the guards count what was done to a day. Passes younger than this are never
/// removed.
pub const REPAIRS_COUNTED: TimeDelta = TimeDelta::days(7);

impl Ledger {
    /// Removes completed records older than `before`, except passes, and returns the number of
    /// lines removed.
    pub async fn prune(&self, before: DateTime<Utc>) -> Result<u64, LedgerError> {
        self.remove_old(
            before,
            &[
                "delete from ledger_approvals where approved_at < $1 and used_at < $1",
                "delete from ledger_sightings where first_seen < $1",
                "delete from ledger_changes where at < $1",
                "delete from ledger_leases where until < $1 and name like 'run/%'",
                "delete from ledger_pauses where until < $1",
            ],
        )
        .await
    }

    /// Removes passes that ended longer ago than `keep`, with their journals, and returns the
    /// number of lines removed. Passes that the guards still count are kept, however short `keep`
    /// is. The archives of these passes must be removed first, because whether an archive may be
    /// removed depends on its pass.
    pub async fn prune_passes(
        &self,
        now: DateTime<Utc>,
        keep: TimeDelta,
    ) -> Result<u64, LedgerError> {
        self.remove_old(
            now - keep.max(REPAIRS_COUNTED),
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
            .transaction("remove old records", sql.iter().map(remove).collect())
            .await?;
        Ok(removed.into_iter().sum())
    }
}
