//! Who sees what the portal is asked: told of every request when it arrives, before anything comes of
//! it, and again when it was answered. Faults do not hide a request from a witness. What a test
//! must see at the very moment of a write, and not only in the end, it sees here.

use super::RequestRecord;

/// A request as it came, before a fault met it or anything was done.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Query string, percent-decoded.
    pub query: &'a str,
    /// Body as received; `None` if it was longer than the portal takes.
    pub body: Option<&'a [u8]>,
}

/// Told of every request; called from the threads that answer them.
pub trait Witness: Send + Sync {
    /// A request came. What it asks for is not done yet.
    fn arrives(&self, request: &Arrival<'_>);

    /// It was carried out, or a fault met it. Its reply is not sent yet.
    fn answered(&self, request: &RequestRecord);
}
