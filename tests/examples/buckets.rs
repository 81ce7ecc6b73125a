//! The examples of buckets, run against servers in this process.

use std::process::Command;

use test_servers::{GcsServer, S3Server};

/// Runs an example with only these variables, and returns its output.
fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("HOME", home.path()).env("TMPDIR", std::env::temp_dir());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn s3_creates_and_restores_a_snapshot_in_a_bucket() {
    let server = S3Server::start();
    let location = format!("s3://{}/examples/s3", S3Server::BUCKET);
    let environment = [
        ("AWS_ENDPOINT_URL", &*server.endpoint()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY),
    ];
    for run_before in 0..2 {
        let printed = run(env!("CARGO_BIN_EXE_example-s3"), &[&location], &environment);
        assert!(printed.contains(&format!(" at {location}: ")), "{printed}");
        assert!(printed.contains("verified: true\n"), "{printed}");
        assert!(printed.ends_with("restored 100 vectors; it is the same database: true\n"), "{printed}");
        assert_eq!(printed.matches("listed ").count(), 1 + run_before, "{printed}");
    }
    // The five files, and the entry of the ledger.
    assert!(server.objects().keys().all(|key| key.starts_with("examples/s3/snapshot-")));
    assert_eq!((server.objects().len(), server.open_uploads()), (2 * 6, 0));
}

#[test]
fn gcs_checks_a_bucket_and_creates_and_restores_a_snapshot() {
    let server = GcsServer::start();
    let location = format!("gs://{}/examples/gcs", GcsServer::BUCKET);
    let environment = [
        ("GOOGLE_BASE_URL", &*server.endpoint()),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("GOOGLE_BEARER_TOKEN", GcsServer::TOKEN),
    ];
    let printed = run(env!("CARGO_BIN_EXE_example-gcs"), &[&location], &environment);
    assert!(printed.starts_with(&format!("snapshots are safe at {location}: true\n")), "{printed}");
    assert!(printed.ends_with("verified: true\nrestored 100 vectors to a file\n"), "{printed}");
    assert!(server.objects().keys().all(|key| key.starts_with("examples/gcs/snapshot-")));
    assert_eq!((server.objects().len(), server.open_uploads()), (6, 0));
}
