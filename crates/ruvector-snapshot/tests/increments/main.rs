//! Increments and chains: what changed and nothing else, on any base; the whole state back from a chain, or an error
//! that says why not; and what all of that costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod cost;
mod edges;
mod forged;
mod long;
mod refused;
mod states;
mod tables;
mod tampered;
mod told;
