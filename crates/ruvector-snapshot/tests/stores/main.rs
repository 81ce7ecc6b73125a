//! The stores through their public interface: the contract on each of them, local directories, buckets over HTTP, and
//! what an error reports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backend_failures;
mod broken_stores;
mod buckets;
mod contract;
mod custom_store;
mod left_behind;
mod links;
mod local_directory;
mod locations;
mod sent_parts;
