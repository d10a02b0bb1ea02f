//! The one integration-test binary: whole passes, clients and commands against real services.

mod clients;
mod layering;
mod passes;
mod program;
mod safety;
mod sources;
mod support;
mod words;
