//! Integration tests, in one binary. `redb` itself is the reference: a view must return what redb returns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod concurrent_writer;
mod corruption;
mod crash_recovery;
mod direct_without_mirror;
mod redb_equivalence;
mod skip_and_seek;
mod support;
mod write_interleavings;
