//! What a user writes plugs in: a store, a source and a restore target of one's own work like those of the library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod custom_source;
mod custom_store;
mod custom_target;
