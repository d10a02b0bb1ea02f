//! What the tests stand on: servers of their own, and places to keep things.

pub mod s3;
