//! The sandbox: a stand-in for a Socrata portal ([`portal`]), a made-up city whose sensors fill a
//! lake ([`city`]), and both together ([`stage`]). For the demo, for trying things out, and for
//! tests. Nothing above knows it.

pub mod city;
pub mod portal;
pub mod stage;
