//! The tests of ruvector-snapshot that cross crates. The tests of one crate are in that crate.
//!
//! | suite | tests |
//! |---|---|
//! | `program` | the command line end to end |
//! | `servers` | real servers, and docs/RECOVERY.md; skipped if the environment names none |
//! | `interleavings` | several managers on one store, in many orders, with crashes |
//! | `live` | snapshots of a database that is being written |
//! | `plugins` | stores that a user writes |
//! | `examples` | the example programs |
//! | `python_reader` | the reader in Python; skipped if numpy is missing |
//! | `architecture` | which module may use which |
//!
//! Run one with `cargo test -p ruvector-snapshot-tests --test program`. Fixtures that crates share are in the crate
//! `test-fixtures`, servers in `test-servers`. This library is empty.
