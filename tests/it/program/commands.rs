//! `derive`, `explain`, `status`, `mark` and `doctor` as people run them: the real binary with its
//! own catalog, ledger and lake.

mod derive;
mod folders;
mod ledger;
mod place;
mod rewrite;
