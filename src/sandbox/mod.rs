//! The sandbox for the demo, for experiments, and for tests. It consists of a stand-in for a
//! Socrata portal ([`portal`]), a fictional city whose sensors fill a lake ([`city`]), and a setup
//! of both ([`stage`]). The rest of the program does not depend on it.

pub mod city;
pub mod portal;
pub mod stage;
