//! The one integration-test binary: whole passes, clients and commands against real services.

mod commands;
mod config_command;
mod lake;
mod portal_client;
mod settings;
mod support;
mod vectors;
