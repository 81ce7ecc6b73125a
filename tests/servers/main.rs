//! Snapshots in real servers, which others wrote and which are reached over the network.
//!
//! A test runs if the environment names its server, and prints that it was skipped if not:
//!
//! | variable | value |
//! |---|---|
//! | `RUVECTOR_SNAPSHOT_TEST_S3` | an s3:// location; keys and endpoint in `AWS_*`, as `test-servers start` prints them |
//! | `RUVECTOR_SNAPSHOT_TEST_GCS` | a gs:// location in Google Cloud Storage itself, with credentials in `GOOGLE_*` |
//! | `RUVECTOR_SNAPSHOT_TEST_MINIO` | the path of a minio binary with mc beside it; the tests start and kill it |
//!
//! `running` tests servers that run, `killed` a server that is killed, `recovery` the page docs/RECOVERY.md. `unattended` runs a
//! daemon for as long as `RUVECTOR_SNAPSHOT_TEST_UNATTENDED_SECONDS` says:
//!
//! ```sh
//! cargo test --workspace --test servers -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod killed;
mod page;
mod readme;
mod recovery;
mod running;
mod unattended;

const S3: &str = "RUVECTOR_SNAPSHOT_TEST_S3";
const GCS: &str = "RUVECTOR_SNAPSHOT_TEST_GCS";
const MINIO: &str = "RUVECTOR_SNAPSHOT_TEST_MINIO";

/// Returns the value of a variable. If it has none, prints that the test is skipped.
fn setting(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("skipped: {test}: {variable} is not set");
    }
    value
}
