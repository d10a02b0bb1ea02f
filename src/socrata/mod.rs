//! The portal client. All pitfalls of the Socrata API are handled in this folder and nowhere else:
//! replicas that lag, pages that shift, bodies cut short despite a 200, answers lost after a write
//! was applied, limits that truncate silently.
//!
//! [`Portal`] is the shared HTTP side. [`Reader`] reads and cannot change anything; only [`Writer`]
//! changes a portal, and each of its writes can safely be repeated. Their results are certain as
//! far as a portal allows; anything uncertain is an error or counted as doubtful. What the rows
//! mean, and whether a write took effect, is left to the callers.

mod address;
mod attempts;
mod denial;
mod failure;
mod fields;
mod login;
mod observer;
mod page;
mod pick;
mod portal;
mod probe;
mod read;
mod retry;
mod scan;
mod soql;
mod stamp;
mod summary;
mod table;
mod throttle;
mod write;

use crate::model::{DatasetId, PublishedRow, TableShape};

pub use attempts::Freshness;
pub use denial::Denial;
pub use failure::{PortalError, ReadError, RequestError, TableError, WriteError};
pub use observer::{Exchange, OPERATIONS, Observer, RETRY_REASONS};
pub use pick::ByKey;
pub use portal::{Portal, Traffic};
pub use read::{DayRead, DaySurvey, PublishedKeys, Reader, Survey};
pub use retry::Patience;
pub use table::Table;
pub use write::{Permit, WriteSummary, Writer};

/// Parses a body as every kind of answer: see [`crate::fuzzing`].
pub(crate) fn read_as_anything(
    body: &[u8],
    shape: &TableShape,
    each: &mut dyn FnMut(PublishedRow),
) {
    let id: DatasetId = "sh59-i6y9".parse().expect("a four-by-four");
    let _ = page::keys(body, "record_id", &mut |_| Ok(()));
    let _ = page::rows(body, "record_id", shape, &mut |row| {
        each(row);
        Ok(())
    });
    let _ = summary::Counts::read(body);
    let _ = table::parse(body, &id);
    let _ = failure::code_and_message(body);
}
