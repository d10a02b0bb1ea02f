//! The nouns of Sodalake: datasets, days, rows and keys.
//!
//! Everything here is a value. Nothing in this folder uses a client, a clock or a runtime, and
//! nothing here makes decisions. The modules that derive, compare and plan build on these types,
//! and the clients translate their wire formats into them.

pub mod calendar;
mod cell;
mod dataset;
mod day;
mod decimal;
mod keyset;
mod row;
mod sides;
pub mod text;

pub(crate) use cell::two_digits;
pub use cell::{Cell, CellError, ColumnType};
pub use dataset::{Dataset, DatasetDay, DatasetId, DatasetName, KeyPolicy, NameError};
pub use day::{Day, DayError, DayRange};
pub use decimal::Decimal;
pub use keyset::KeySet;
pub use row::{KeyScheme, Md5Key, Row, RowKey, Value};
pub use sides::{
    Coverage, Entry, EntryKey, FileStamp, LakePath, OPEN_BEGIN, OPEN_END, PublishedRow, ReadyFile,
    TableShape,
};
