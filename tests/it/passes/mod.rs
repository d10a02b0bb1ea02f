//! Whole passes against real services: healthy partitions, every breakage, faults, kills, rivals,
//! the campaign.

mod campaign;
mod combined;
mod depths;
mod faults;
pub mod findings;
mod healthy;
pub mod killed;
mod leases;
mod misread;
mod one_bad_thing;
mod publisher;
mod real_services;
mod rivals;
mod spilled;
mod strategies;
mod survey;
