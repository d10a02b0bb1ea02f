//! Support for tests with real services, which are removed after use.

pub mod beside;
pub mod city;
pub mod http;
pub mod lake_catalog;
pub mod pgbouncer;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod running;
pub mod s3;
