//! Interrupted operations: the process dies, the future is dropped, the runtime shuts down, or the store fails, lies or
//! goes away. Snapshots that exist stay intact, and a new snapshot is either complete or does not exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod copies;
mod faults;
mod fixture;
mod in_flight;
mod process_death;
