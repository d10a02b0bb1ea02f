//! The one integration-test binary: whole passes, clients and commands against real services.

mod commands;
mod config_command;
mod demo;
mod doctor;
mod explain;
mod findings;
mod lake;
mod pass;
mod portal_client;
mod sandbox_portal;
mod settings;
mod sodapy;
mod stores;
mod support;
mod vectors;
