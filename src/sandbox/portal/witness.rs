//! Lets tests observe the requests to the portal. A witness is notified of every request when it
//! arrives, before anything is done, and again when it was answered. Faults do not hide a request
//! from a witness. It can check conditions that must hold at the time of a write, and not only
//! afterwards.

use super::RequestRecord;

/// A request as it arrived, before any fault and before anything was done.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Query string, percent-decoded.
    pub query: &'a str,
    /// Body as received; `None` if it was too long for the portal.
    pub body: Option<&'a [u8]>,
}

/// Observes every request. It is called from the threads that answer them.
pub trait Witness: Send + Sync {
    /// A request arrived and has not been processed yet.
    fn arrives(&self, request: &Arrival<'_>);

    /// The request was processed, or a fault was applied to it. Its reply has not been sent yet.
    fn answered(&self, request: &RequestRecord);
}
