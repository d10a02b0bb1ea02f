//! Reports a portal's traffic for measuring.
//!
//! The client has counts of its own, which end with it. An [`Observer`] receives every completed
//! request, so that durations can be measured and counts continue when new settings create a new
//! client. The client does not know what the observer does.

use std::time::Duration;

/// All operations that a request can be for.
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

/// All reasons for sending a request again.
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

/// One request and its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its operation, one of [`OPERATIONS`].
    pub operation: &'static str,
    /// HTTP status; `None` if no answer was received.
    pub status: Option<u16>,
    /// From sending the request to the end of the answer's body, excluding the wait for the
    /// throttle.
    pub took: Duration,
    /// Bytes of the request's body.
    pub sent: u64,
    /// Bytes of the answer's body, decompressed.
    pub received: u64,
}

/// Observes a portal's traffic. Called while requests are in progress, so it must not block.
pub trait Observer: Send + Sync {
    /// A request ended.
    fn exchanged(&self, exchange: Exchange);
    /// A request is sent again, for one of [`RETRY_REASONS`].
    fn retried(&self, reason: &'static str);
    /// A request waited for the throttle.
    fn throttled(&self, waited: Duration);
}
