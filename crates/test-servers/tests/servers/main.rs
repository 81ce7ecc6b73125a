//! The servers through the clients of `object_store`: assertions that hold for both (`common.rs`), the behaviour of
//! each (`s3.rs`, `gcs.rs`), and the effect of each fault (`faults.rs`). `external.rs` tests the program
//! `test-servers`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[cfg(target_os = "linux")]
mod external;
mod faults;
mod gcs;
mod s3;
