//! What a portal tells of its traffic to whoever measures it.
//!
//! The client keeps counts of its own, which end with it. An [`Observer`] hears of every request
//! as it ends, so that durations can be measured, and counts go on when new settings bring a new
//! client. The client knows nothing of what is made of it.

use std::time::Duration;

/// Every operation that a request may be for.
pub const OPERATIONS: [&str; 9] = [
    "metadata",
    "survey",
    "count",
    "keys",
    "rows",
    "rows_by_key",
    "keys_present",
    "upsert",
    "delete",
];

/// Every reason for which a request is sent again.
pub const RETRY_REASONS: [&str; 9] = [
    "transport",
    "body",
    "accepted",
    "timeout",
    "throttled",
    "server_error",
    "stale",
    "unsteady",
    "too_large",
];

/// One request and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What it was for, one of [`OPERATIONS`].
    pub operation: &'static str,
    /// HTTP status; `None`: no answer came.
    pub status: Option<u16>,
    /// From its sending to the end of the answer's body, the throttle's wait left out.
    pub took: Duration,
    /// Bytes of its body.
    pub sent: u64,
    /// Bytes of the answer's body, decompressed.
    pub received: u64,
}

/// Hears of a portal's traffic. Called while requests are under way, so it must not block.
pub trait Observer: Send + Sync {
    /// A request ended.
    fn exchanged(&self, exchange: Exchange);
    /// A request is sent again, for one of [`RETRY_REASONS`].
    fn retried(&self, reason: &'static str);
    /// A request waited for the throttle.
    fn throttled(&self, waited: Duration);
}
