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

pub use failure::{PortalError, ReadError, RequestError, TableError, WriteError};
pub use look::Freshness;
pub use observer::{Exchange, OPERATIONS, Observer, RETRY_REASONS};
pub use portal::{Portal, Traffic};
pub use read::{DayRead, DaySurvey, PublishedKeys, Reader, Survey};
pub use retry::Patience;
pub use table::Table;
pub use write::{Permit, WriteSummary, Writer};
