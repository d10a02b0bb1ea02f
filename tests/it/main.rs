//! The one integration-test binary: whole passes, clients and commands against real services.

mod stores;
mod support;
