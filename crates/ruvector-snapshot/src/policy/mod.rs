//! Decisions about snapshots: pure functions of their arguments.
//!
//! Must not import from `ops` or `repo`, and must not read a store, a clock or the environment.

pub mod retention;
