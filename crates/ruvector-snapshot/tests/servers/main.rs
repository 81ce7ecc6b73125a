//! Snapshots in real servers, which somebody else wrote and which are reached over their network address. Each test
//! runs where the environment names its server, and says that it was skipped elsewhere:
//!
//! | variable | what |
//! |---|---|
//! | `RUVECTOR_SNAPSHOT_TEST_S3` | an s3:// location; keys and endpoint in `AWS_*`, as `deploy/servers start` prints |
//! | `RUVECTOR_SNAPSHOT_TEST_GCS` | a gs:// location of Google's own, with credentials in `GOOGLE_*` |
//! | `RUVECTOR_SNAPSHOT_TEST_MINIO` | the path of a minio with an mc beside it; the tests start and kill it |
//!
//! `whole.rs` has what a server is for, `killed.rs` what happens when it goes away. Run them in the release profile:
//!
//! ```sh
//! cargo test --release -p ruvector-snapshot --test servers -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod killed;
mod whole;

const S3: &str = "RUVECTOR_SNAPSHOT_TEST_S3";
const GCS: &str = "RUVECTOR_SNAPSHOT_TEST_GCS";
const MINIO: &str = "RUVECTOR_SNAPSHOT_TEST_MINIO";

/// What a variable says; where it says nothing, that a test is skipped, and why, is printed.
fn named(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("skipped: {test}: {variable} is not set");
    }
    value
}
