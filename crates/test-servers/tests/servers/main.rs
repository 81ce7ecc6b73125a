//! The servers, as the clients of `object_store` see them: what holds on both (`common.rs`), what each does on its own
//! (`s3.rs`, `gcs.rs`), and what a fault looks like (`faults.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod faults;
mod gcs;
mod s3;
