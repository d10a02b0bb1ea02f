//! The nouns of Sodalake: datasets, days, rows, keys, and what a look found.
//!
//! Everything here is a value. Nothing in this folder knows a client, a clock or a runtime, and
//! nothing here decides anything: the modules that derive, compare and plan are built on these
//! types, and the clients translate their wire formats into them.

pub mod calendar;
mod cell;
mod dataset;
mod day;
mod keyset;
mod row;
mod sides;
pub mod text;

pub(crate) use cell::two_digits;
pub use cell::{Cell, CellError, ColumnType, Decimal};
pub use dataset::{Dataset, DatasetDay, DatasetId, DatasetName, KeyPolicy, NameError};
pub use day::{Day, DayError, DayRange};
pub use keyset::KeySet;
pub use row::{KeyRecipe, Md5Key, Row, RowKey, Value};
pub use sides::{
    Coverage, Entry, EntryKey, FileStamp, LakePath, PublishedRow, ReadyFile, TableShape,
};
