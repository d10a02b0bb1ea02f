//! The clients of portal, catalog and ledger, and the stand-in portal itself.

mod pooler;
mod portal;
mod private;
mod sandbox_portal;
mod sodapy;
pub mod stores;
