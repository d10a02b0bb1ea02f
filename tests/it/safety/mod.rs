//! What protects the data: guards, approvals, archive and restore, secrets, hostile input, limits.

mod approving;
mod fuzz;
mod guards;
mod keeping;
mod limits;
mod outside;
mod proxies;
mod restore;
