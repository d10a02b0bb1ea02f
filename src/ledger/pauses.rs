//! How long an external service is left alone after it failed or requested a pause. All replicas
//! read the same pause, and so does a process that was restarted in the meantime.

use chrono::{DateTime, Utc};

use super::{Ledger, LedgerError};

/// A pause of a named service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends (UTC).
    pub until: DateTime<Utc>,
    /// Number of failures in a row so far.
    pub failures: u64,
}

impl Ledger {
    /// The pause of `name` since its last success. It may already be over.
    pub async fn pause(&self, name: &str) -> Result<Option<Pause>, LedgerError> {
        let sql = "select until, failures from ledger_pauses where name = $1";
        let found = self
            .database
            .query("read a pause", sql, vec![name.into()], |line| {
                Ok(Pause {
                    until: line.get(0)?,
                    failures: line.count(1)?,
                })
            });
        Ok(found.await?.into_iter().next())
    }

    /// Sets the pause of `name`.
    pub async fn set_pause(&self, name: &str, pause: Pause) -> Result<(), LedgerError> {
        let sql = "insert into ledger_pauses (name, until, failures) values ($1, $2, $3)
             on conflict (name) do update set
               until = excluded.until, failures = excluded.failures";
        let params = vec![name.into(), pause.until.into(), pause.failures.into()];
        self.database.execute("set a pause", sql, params).await?;
        Ok(())
    }

    /// Ends the pause of `name`, after a success.
    pub async fn end_pause(&self, name: &str) -> Result<(), LedgerError> {
        let sql = "delete from ledger_pauses where name = $1";
        self.database
            .execute("end a pause", sql, vec![name.into()])
            .await?;
        Ok(())
    }
}
