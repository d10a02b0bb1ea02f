//! Sodalake keeps what a city publishes on Socrata equal to what its data lake says.
//!
//! One pass over one dataset-day:
//!
//! ```text
//! lake files ──derive──▶ expected ┐
//! Socrata ─────read────▶ published ├─ compare ─▶ findings ─ draft ─ guards ─▶ plan ─▶ repair ─▶ look again
//! catalog ─────read────▶ catalogued┘                               └────────▶ refusal (held)        │
//!                                                                          ledger ◀────────────────┘
//! ```
//!
//! Pure, with no client, clock or runtime: [`model`], [`expected`], [`compare`], [`plan`], [`schedule`].
//! Clients, which do not know one another: [`lake`], [`catalog`], [`socrata`], [`archive`],
//! [`ledger`]; the two that are tables share [`database`]. [`reconcile`] is the pass itself, [`repair`] the only module that changes anything
//! outside, [`app`] builds both from the [`settings`], [`cli`] is what people type.

pub mod app;
pub mod archive;
pub mod bucket;
pub mod catalog;
pub mod cli;
pub mod compare;
pub mod daemon;
pub mod database;
pub mod expected;
pub mod lake;
pub mod ledger;
pub mod model;
pub mod plan;
pub mod reconcile;
pub mod repair;
pub mod sandbox;
pub mod schedule;
pub mod server;
pub mod settings;
pub mod socrata;
pub mod telemetry;
