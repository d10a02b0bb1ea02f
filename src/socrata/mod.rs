//! The portal client. Every trap of the Socrata API is the business of this folder and of nobody
//! else: replicas that lag, pages that shift, bodies cut short behind a 200, answers that are
//! lost after the write was applied, limits that truncate without a word.
//!
//! [`Portal`] is the shared HTTP side. [`Reader`] reads and can do no harm; [`Writer`] is the only
//! code that changes a portal, and every write of it may be repeated safely. What they return is
//! certain as far as a portal allows; what is not certain is an error, or counted as doubtful.
//! What the rows mean, and whether a write took effect, is for the callers.

mod failure;
mod look;
mod observer;
mod page;
mod portal;
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

pub use failure::{PortalError, ReadError, RequestError, TableError, WriteError};
pub use look::Freshness;
pub use observer::{Exchange, OPERATIONS, Observer, RETRY_REASONS};
pub use portal::{Portal, Traffic};
pub use read::{DayRead, DaySurvey, PublishedKeys, Reader, Survey};
pub use retry::Patience;
pub use table::Table;
pub use write::{Permit, WriteSummary, Writer};

/// Reads a body as every kind of answer there is, and hands over its rows: see [`crate::fuzzing`].
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
    let _ = failure::words(body);
}
