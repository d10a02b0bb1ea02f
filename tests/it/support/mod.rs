//! What the tests stand on: servers of their own, and places to keep things.

pub mod s3;
//! What the tests stand on: real services, thrown away after use.

pub mod postgres;
