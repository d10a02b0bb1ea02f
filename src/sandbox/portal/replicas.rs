//! How the portal's replicas behave: how far each lags, whether it is stuck, and whether its
//! out-of-date flag is correct. Every read goes to one random replica.

use serde::Deserialize;

use super::store::Mutation;

/// One replica. By default it shows every write at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaOptions {
    /// Milliseconds from a write until this replica shows it.
    pub lag_ms: u64,
    /// Never applies another write.
    pub stuck: bool,
    /// Always sends `X-SODA2-Data-Out-Of-Date: false`, even if its data is stale.
    pub lies: bool,
    /// The affected datasets; empty means all.
    pub datasets: Vec<String>,
}

impl ReplicaOptions {
    /// A replica that shows writes this many milliseconds late.
    #[must_use]
    pub fn lagging(lag_ms: u64) -> ReplicaOptions {
        ReplicaOptions {
            lag_ms,
            ..ReplicaOptions::default()
        }
    }

    /// A replica that never applies another write.
    #[must_use]
    pub fn stuck() -> ReplicaOptions {
        ReplicaOptions {
            stuck: true,
            ..ReplicaOptions::default()
        }
    }

    pub(super) fn delays(&self, dataset: &str) -> bool {
        let concerned = self.datasets.is_empty() || self.datasets.iter().any(|id| id == dataset);
        concerned && (self.stuck || self.lag_ms > 0)
    }

    pub(super) fn has_reached(&self, mutation: &Mutation, now: i64) -> bool {
        let lag = i64::try_from(self.lag_ms).unwrap_or(i64::MAX);
        !self.stuck && (mutation.settled || mutation.at.saturating_add(lag) <= now)
    }
}

/// All replicas of the portal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replicas {
    /// The replicas, at least one. Reads are distributed over them at random.
    pub each: Vec<ReplicaOptions>,
    /// Milliseconds after a write during which the out-of-date flag still says that stale data is
    /// fresh.
    pub flag_lag_ms: u64,
}

impl Default for Replicas {
    fn default() -> Replicas {
        Replicas {
            each: vec![ReplicaOptions::default()],
            flag_lag_ms: 0,
        }
    }
}
