//! What the tests stand on: real services, thrown away after use.

pub mod beside;
pub mod city;
pub mod lake_catalog;
pub mod postgres;
pub mod program;
pub mod running;
pub mod s3;
