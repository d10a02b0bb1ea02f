//! The one integration-test binary: whole passes, clients and commands against real services.

mod sandbox_portal;
mod sodapy;
