//! The one integration-test binary: whole passes, clients and commands against real services.

mod combined;
mod commands;
mod config_command;
mod demo;
mod docs;
mod doctor;
mod explain;
mod faults;
mod findings;
mod keeping;
mod lake;
mod layering;
mod mending;
mod pass;
mod portal_client;
mod real_services;
mod sandbox_portal;
mod settings;
mod sodapy;
mod stores;
mod strategies;
mod support;
mod survey;
mod terminal;
mod vectors;
