//! Decisions about snapshots: pure functions of their arguments.
//!
//! Must not import from `ops` or `repo`, and must not read a store, a clock or the environment.

pub(crate) mod freshness;
pub(crate) mod list_filter;
pub mod retention;
pub mod schedule;
pub(crate) mod stats;
