//! Compares the expected, published and catalogued rows of one dataset-day, and returns findings.
//!
//! This module is pure: it takes keys, rows and entries and calls no client. The check in
//! `reconcile` calls its parts in this order: [`gather`] (a file's rows by day, as [`FileRows`]),
//! [`keys`] (which variant fits, and which keys only one side has), [`duplicates`] (which
//! unexpected rows are copies of an expected row), [`catalog`] (which entries are wrong). [`cause`]
//! names the likely cause in a sentence, and [`words`] describes everything else.

pub mod catalog;
pub mod cause;
pub mod duplicates;
mod findings;
pub mod gather;
pub mod keys;
mod ranges;
pub mod words;

pub use findings::{
    Altered, CatalogFinding, Change, Counts, Depth, Doubt, ExpectedRow, FileSeen, Finding,
    Findings, MisdatedRow, Repeated,
};
pub use ranges::{FileRows, Gathering};
