//! The one integration-test binary: whole passes, clients and commands against real services.

mod config_command;
mod settings;
mod vectors;
