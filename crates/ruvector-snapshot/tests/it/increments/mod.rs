//! Incremental snapshots and chains: an increment stores the changes and nothing else, on any base. A chain restores
//! the complete state, or the operation fails and says why.

mod chains_and_pins;
mod corrupt_chains;
mod cost;
mod edge_cases;
pub(crate) mod fixture;
mod forged_chains;
mod known_corrupt_bases;
mod long_chain;
mod random_changes;
mod random_tables;
mod refused_bases;
mod round_trips;
mod verified_bases;
