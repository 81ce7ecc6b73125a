//! Every verb, with every fault of a store at every step of it: what is in the store afterwards, and what the caller was told.
//! Stores in memory. What a killed process leaves on a disk is in `crash.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod create;
mod fault_store;
mod read;
mod remove;
mod requests;
