//! Expected, published and catalogued rows of one dataset-day, compared into findings.
//!
//! Pure: it is handed keys, rows and entries and asks nobody. The look in `reconcile` calls its
//! parts in this order: [`gather`] (a file's rows by day, as [`FileRows`]), [`keys`] (which variant
//! fits, what stands on one side only), [`twins`] (whose twin an unexpected row is), [`catalog`]
//! (which entries are wrong). [`cause`] says the likely reason in a sentence, [`words`] the rest.

pub mod catalog;
pub mod cause;
mod findings;
pub mod gather;
pub mod keys;
mod ranges;
pub mod twins;
pub mod words;

pub use findings::{
    Altered, CatalogFinding, Change, Counts, Depth, Doubt, ExpectedRow, FileSeen, Finding,
    Findings, MisdatedRow, Repeated,
};
pub use ranges::{FileRows, Gathering};
