//! Buckets over HTTP, as a user reaches them: through `store::open` and its options. S3 and a double of Google Cloud
//! Storage run in process, on the loopback, and break on the wire as a test wants it. What a store does without a
//! network is in `store/` and in `faults/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canned;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod dropped;
mod encryption;
mod every_store;
mod lasting;
mod once;
mod preconditions;
mod requests;
mod secrets;
mod slow;
mod stores;
mod told;
mod width;
