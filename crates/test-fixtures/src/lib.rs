//! Fixtures for tests: databases, directories, stored snapshots and forwarding stores.
//!
//! This is a crate of its own and not a part of the package `tests`, so that the tests of `ruvector-snapshot` can use
//! it without building the command line and the test servers. A dev-dependency on it makes a cycle, which Cargo allows:
//! only the integration tests need it, and they link the same build of the library as this crate does. The unit tests
//! inside the library must not use it: they are compiled into another copy of the library, whose types differ.
//!
//! Nothing here knows what a test is about. Fixtures of one suite stay in that suite. The crate is never published.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that cannot be made fails its test"
)]

mod clocks;
mod counting_store;
mod database;
mod exported;
mod forwarding_store;
mod large_database;
mod published;
mod raw_rows;
mod refusals;
mod stored_snapshot;
mod stores;
mod test_dir;
mod warnings;

pub use clocks::{FixedClock, TickingClock};
pub use counting_store::{CountingStore, ReadCounter};
pub use database::{
    CONFIG, Contents, METADATA, Records, Rows, VECTORS, contents, encode_vector, entry, json_object, make_database,
    make_many_blocks, options, records_of_file, rows_of_file,
};
pub use exported::read_npy_export;
pub use forwarding_store::{ForwardingStore, Method, StoreHooks};
pub use large_database::{assert_same_rows, make_large_database};
pub use published::Published;
pub use raw_rows::{ByteRows, RawRows, RawText};
pub use refusals::refusals;
pub use stored_snapshot::{StoredSnapshot, edit_metadata, flip_bit_in_the_middle, reseal};
pub use stores::{create_full, local_store, memory_store, objects};
pub use test_dir::{TestDir, config, make_old, names};
pub use warnings::Warnings;
