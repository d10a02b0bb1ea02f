//! The program as people, scripts and services use it.

mod alerts;
mod alerts_live;
mod browser;
mod commands;
mod config_command;
mod daemon;
mod demo;
mod deploy;
mod deploy_ledger;
pub mod docs;
mod doctor;
mod documented;
mod explain;
mod metrics;
mod notify;
mod pages;
mod repairs;
pub mod server;
mod service_manager;
mod settings;
mod terminal;
mod unknown;
