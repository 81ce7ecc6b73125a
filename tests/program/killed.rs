//! The program is killed during an upload to a real MinIO.
//!
//! Runs if `RUVECTOR_SNAPSHOT_TEST_MINIO` names a minio binary with mc beside it, and prints that it is skipped if not.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use test_servers::Minio;

use super::sandbox::{RunResult, Sandbox, assert_holds, create_database};

const MINIO: &str = "RUVECTOR_SNAPSHOT_TEST_MINIO";
/// About 40 MB, five parts of an upload.
const ROWS: usize = 40_000;
const DIMENSIONS: usize = 256;
/// Ends a test that hangs.
const TIMEOUT: Duration = Duration::from_secs(300);

#[test]
fn a_killed_create_leaves_no_snapshot_and_the_next_create_succeeds() {
    let Some(binary) = std::env::var_os(MINIO).filter(|binary| !binary.is_empty()) else {
        println!("skipped: {MINIO} is not set");
        return;
    };
    let minio = Minio::start(Path::new(&binary));
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), ROWS, DIMENSIONS);

    let slow = ["--limit-upload", "8M", "--connections", "2", "--quiet"];
    let mut creating = command(&sandbox, &minio, &[&["create", "--db", "a.db"], &slow[..]].concat()).spawn().unwrap();
    wait_for_parts(&minio, &mut creating);
    // This sends SIGKILL, so the program cannot clean up.
    creating.kill().unwrap();
    assert_eq!(creating.wait().unwrap().code(), None, "it ended before it was killed");

    let uploads = minio.open_uploads();
    assert!(!uploads.is_empty());
    let (exit_code, document) = json_of(&sandbox, &minio, &["list"]);
    assert_eq!((exit_code, &document["snapshots"], &document["unusable"]), (4, &json!([]), &json!([])), "{document}");

    let (exit_code, created) = json_of(&sandbox, &minio, &["create", "--db", "a.db"]);
    assert_eq!(exit_code, 0, "{created}");
    let (_, document) = json_of(&sandbox, &minio, &["list"]);
    let ids = document["snapshots"].as_array().unwrap().iter().map(|snapshot| &snapshot["id"]);
    assert_eq!(ids.collect::<Vec<_>>(), [&created["snapshot"]["id"]]);
    assert_eq!(json_of(&sandbox, &minio, &["verify", "latest"]).0, 0);
    assert_eq!(json_of(&sandbox, &minio, &["restore", "latest", "--to", "b.db"]).0, 0);
    assert_holds(&sandbox.path("b.db"), ROWS, DIMENSIONS);
    // The upload of the killed process is left to a lifecycle rule of the server. The next create leaves no other one.
    assert_eq!(minio.open_uploads(), uploads);
}

/// Returns a command that runs the program with its snapshots in the bucket.
fn command(sandbox: &Sandbox, minio: &Minio, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command
        .env("RUVECTOR_SNAPSHOT_STORE", format!("s3://{}/killed", Minio::BUCKET))
        .env("AWS_ACCESS_KEY_ID", Minio::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", minio.secret_key())
        .env("AWS_ENDPOINT_URL", minio.endpoint())
        .env("AWS_ALLOW_HTTP", "true")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs the program with `--json`, and returns the exit code and the document.
fn json_of(sandbox: &Sandbox, minio: &Minio, arguments: &[&str]) -> (i32, serde_json::Value) {
    let mut command = command(sandbox, minio, &[arguments, &["--json"]].concat());
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    RunResult::from(output).into_json()
}

/// Waits until the server has received a part of an upload.
#[expect(clippy::disallowed_methods, reason = "ends a test that hangs")]
fn wait_for_parts(minio: &Minio, process: &mut Child) {
    let deadline = Instant::now() + TIMEOUT;
    while minio.parts_on_disk() == 0 {
        assert_eq!(process.try_wait().unwrap(), None, "no multipart upload was seen");
        assert!(Instant::now() < deadline, "no part arrived");
        thread::yield_now();
    }
}
