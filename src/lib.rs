//! Sodalake keeps the datasets a city publishes on Socrata in sync with its data lake.
//!
//! One pass over one dataset-day:
//!
//! ```text
//! lake files ──derive──▶ expected ┐
//! Socrata ─────read────▶ published ├─ compare ─▶ findings ─ draft ─ guards ─▶ plan ─▶ repair ─▶ check again
//! catalog ─────read────▶ catalogued┘                               └────────▶ refusal (held)        │
//!                                                                          ledger ◀────────────────┘
//! ```
//!
//! Pure modules, without client, clock or runtime: [`model`], [`expected`], [`compare`], [`plan`],
//! [`schedule`]. Clients, which are independent of one another: [`lake`], [`catalog`], [`socrata`],
//! [`archive`], [`ledger`]; the two that are database tables share [`database`]. [`reconcile`] is
//! the pass itself. [`repair`] is the only module that changes anything outside. [`lease`] keeps
//! several processes from doing the same work. [`app`] builds everything from the [`settings`], and
//! [`cli`] is the command line.

pub mod app;
pub mod archive;
pub mod bucket;
pub mod catalog;
pub mod cli;
pub mod compare;
pub mod daemon;
pub mod database;
pub mod expected;
#[doc(hidden)]
pub mod fuzzing;
pub mod lake;
pub mod lease;
pub mod ledger;
pub mod limits;
pub mod model;
pub mod outgoing;
pub mod plan;
pub mod reconcile;
pub mod repair;
pub mod sandbox;
pub mod schedule;
pub mod server;
pub mod settings;
pub mod socrata;
pub mod telemetry;
