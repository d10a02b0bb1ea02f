//! The fault campaign: whole passes against the stand-in portal, with faults drawn from a seed,
//! while an oracle checks every request against the safety rules.
//!
//! `script` draws the cases. `damage` and `store` provide the faults of the lake, and
//! `sandbox::portal` those of the portal. `bench` is the city that is broken and repaired, and
//! `play` plays one case on it. `oracle` watches the requests, checks each write (`writes`) and the
//! final state (`ends`), and reads the ledger through `record`. `oracle_fails` and `owed` show that
//! the oracle reports violations. `tally` counts, and shortens a failing case.
//!
//! `samples` runs with all tests. `length` is what `tests/campaign` runs, for any length of time.

mod bench;
mod damage;
mod ends;
mod length;
mod oracle;
mod oracle_fails;
mod owed;
mod play;
mod record;
mod samples;
mod script;
mod store;
mod tally;
mod writes;
