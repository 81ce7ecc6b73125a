//! The program killed in the middle of an upload to a real MinIO. Runs where `RUVECTOR_SNAPSHOT_TEST_MINIO` names a
//! minio binary with an mc beside it, and says that it was skipped elsewhere.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use test_servers::Minio;

use super::{Desk, assert_holds, database};

const MINIO: &str = "RUVECTOR_SNAPSHOT_TEST_MINIO";
/// About 40 MB, five parts of an upload.
const ROWS: usize = 40_000;
const DIMENSIONS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_killed_create_leaves_no_snapshot_and_the_next_one_works() {
    let Some(binary) = std::env::var_os(MINIO).filter(|binary| !binary.is_empty()) else {
        println!("skipped: {MINIO} is not set");
        return;
    };
    let minio = Minio::start(Path::new(&binary));
    let desk = Desk::empty();
    database(&desk.path("a.db"), ROWS, DIMENSIONS);

    let slow = ["--limit-upload", "8M", "--connections", "2", "--quiet"];
    let mut creating = bucket(&desk, &minio, &[&["create", "--db", "a.db"], &slow[..]].concat()).spawn().unwrap();
    wait_for_parts(&minio, &mut creating);
    // SIGKILL: nothing of the program runs any more.
    creating.kill().unwrap();
    assert_eq!(creating.wait().unwrap().code(), None, "it was done before it was killed");

    let uploads = minio.open_uploads();
    assert!(!uploads.is_empty());
    let (status, document) = documented(&desk, &minio, &["list"]);
    assert_eq!((status, &document["snapshots"], &document["damaged"]), (0, &json!([]), &json!([])), "{document}");

    let (status, created) = documented(&desk, &minio, &["create", "--db", "a.db"]);
    assert_eq!(status, 0, "{created}");
    let (_, document) = documented(&desk, &minio, &["list"]);
    let ids = document["snapshots"].as_array().unwrap().iter().map(|snapshot| &snapshot["id"]);
    assert_eq!(ids.collect::<Vec<_>>(), [&created["snapshot"]["id"]]);
    assert_eq!(documented(&desk, &minio, &["verify", "latest"]).0, 0);
    assert_eq!(documented(&desk, &minio, &["restore", "latest", "--to", "b.db"]).0, 0);
    assert_holds(&desk.path("b.db"), ROWS, DIMENSIONS);
    // What the killed process began is the server's to sweep, and the next create leaves nothing more.
    assert_eq!(minio.open_uploads(), uploads);
}

/// The program, with its snapshots in the bucket.
fn bucket(desk: &Desk, minio: &Minio, arguments: &[&str]) -> Command {
    let mut command = desk.command(arguments);
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

/// The status and the document of a run with --json.
fn documented(desk: &Desk, minio: &Minio, arguments: &[&str]) -> (i32, serde_json::Value) {
    let mut command = bucket(desk, minio, &[arguments, &["--json"]].concat());
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {output:?}"));
    (output.status.code().unwrap(), document)
}

/// Waits until the server has a part of an upload.
fn wait_for_parts(minio: &Minio, process: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    while minio.parts_on_disk() == 0 {
        assert_eq!(process.try_wait().unwrap(), None, "no upload in parts was seen");
        assert!(Instant::now() < deadline, "no part came");
        thread::yield_now();
    }
}
