//! What is too old to be of use leaves the ledger, so that it does not grow for ever.
//!
//! Kept for good are the state of every day, marks and what people did. Passes with their journals,
//! used approvals, changes that were told and differences that nobody has seen since go after a time. How long that is, the
//! caller says: a pass is worth keeping as long as its archive is.

use chrono::{DateTime, Utc};

use super::{Ledger, LedgerError};
use crate::database::Statement;

impl Ledger {
    /// Removes what ended before `before`, and tells how many lines that were.
    pub async fn prune(&self, before: DateTime<Utc>) -> Result<u64, LedgerError> {
        let remove = |sql: &str| Statement::new(sql, vec![before.into()]);
        let statements = vec![
            remove(
                "delete from ledger_journal where pass in (select id from ledger_passes
                   where started_at < $1 and (ended_at < $1 or ended_at is null))",
            ),
            remove(
                "delete from ledger_passes
                 where started_at < $1 and (ended_at < $1 or ended_at is null)",
            ),
            remove("delete from ledger_approvals where approved_at < $1 and used_at < $1"),
            remove("delete from ledger_sightings where first_seen < $1"),
            remove("delete from ledger_changes where at < $1 and told_at < $1"),
            remove("delete from ledger_leases where until < $1 and name like 'run/%'"),
        ];
        let removed = self
            .database
            .transaction("remove what is too old", statements)
            .await?;
        Ok(removed.into_iter().sum())
    }
}
