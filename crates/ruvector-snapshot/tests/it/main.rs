//! The library's public interface, against real files and stores: what each operation does, what it refuses and what it
//! costs. Operations that are interrupted, and stores that fail, are in the `crash` binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod annotations;
mod any_clock;
mod companions;
mod concurrent_ops;
mod copies;
mod corruption;
mod create_plans;
mod damaged;
mod dated_in_future;
mod deleted_meanwhile;
mod diffs;
mod drill;
mod embeddings;
mod exports;
mod found_corrupt;
mod found_records;
mod freshness;
mod golden;
mod golden_irregular;
mod imports;
mod increments;
mod irregular;
mod irregular_verdicts;
#[cfg(target_os = "linux")]
mod large_records;
mod ledger;
mod ledgers_of_chains;
mod malicious_snapshots;
mod memory_source;
mod model;
mod open_destination;
mod parts;
mod prune;
mod record_streams;
mod request_counts;
#[cfg(target_os = "linux")]
mod restore_memory;
mod restore_plans;
mod restore_targets;
mod roundtrip;
#[cfg(target_os = "linux")]
mod search;
mod selection;
mod source_identity;
mod sources;
mod spawned_futures;
mod transferred;
mod verdicts;
mod verify_depths;
