//! The fault campaign: whole passes against the stand-in portal, with faults out of a seed, while
//! an oracle holds every request to the safety rules.
//!
//! `script` draws the cases, `damage` and `store` are the lake's troubles, the portal's own faults
//! are those of `sandbox::portal`; `bench` is the city that is broken and mended, `play` plays one
//! case on it, `oracle` watches and asks its questions at each write (`writes`) and in the end
//! (`ends`), with `record` for what the program notes; `oracle_fails` and `owed` show that it blames
//! where it must; `tally` counts and makes a failing case short.
//! `samples` is the part that runs with all tests; `length` is what `tests/campaign` runs for as long
//! as one likes.

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
