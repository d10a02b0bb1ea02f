//! `derive`, `explain`, `days`, `mark` and `doctor` as people run them: the real binary, with a
//! catalog, a ledger and a lake of its own.

mod derive;
mod ledger;
mod place;
