//! The one integration-test binary: whole passes, clients and commands against real services.

mod lake;
mod support;
mod vectors;
mod config_command;
mod lake;
mod portal_client;
mod settings;
mod support;
mod vectors;
mod stores;
mod support;
