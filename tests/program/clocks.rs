//! A clock was wrong once, and a snapshot is dated in the future: no command takes it for the latest, and all say so. A
//! clock that is wrong now, by any amount, makes no command panic.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager};
use serde_json::{Value, json};
use test_fixtures::{FixedClock, local_store};
use test_servers::S3Server;

use super::bucket::{Bucket, Server};
use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox};

/// Takes a snapshot while the clock is a year ahead. Returns its id.
#[expect(clippy::disallowed_methods, reason = "the program reads the clock of the system too")]
pub(super) fn take_in_a_year(store: Arc<dyn SnapshotStore>, database: &Path, name: &str) -> String {
    take_at(store, database, name, Utc::now() + TimeDelta::days(365))
}

/// Takes a snapshot while the clock has this time. Returns its id.
pub(super) fn take_at(store: Arc<dyn SnapshotStore>, database: &Path, name: &str, now: DateTime<Utc>) -> String {
    let clock = FixedClock { now, random: 1 };
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store).unwrap().with_clock(Arc::new(clock));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = CreateOptions::default();
    runtime.block_on(manager.create_snapshot_of_file(database, name, &options)).unwrap().id
}

/// Opens the store of a bucket as the program does.
fn store_of(bucket: &Bucket) -> Arc<dyn SnapshotStore> {
    let Server::S3(server) = &bucket.server else { panic!("not an S3 server") };
    let endpoint = server.endpoint();
    let options: StoreOptions = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("region", "us-east-1"),
        ("access_key_id", S3Server::ACCESS_KEY),
        ("secret_access_key", S3Server::SECRET_KEY),
        ("shared_credentials_file", "/dev/null"),
        ("config_file", "/dev/null"),
    ]
    .into_iter()
    .collect();
    let location: Location = bucket.store.parse().unwrap();
    open(&location, &StoreConfig::default().options(options)).unwrap()
}

/// Asserts that a run is done, and printed one warning, also in its document.
#[track_caller]
fn assert_warned(run: &dyn Fn(&[&str]) -> RunResult, args: &[&str], texts: &[&str]) -> Value {
    let result = run(&[args, &["--json"]].concat());
    let warnings: Vec<String> =
        result.stderr.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect();
    assert_eq!(warnings.len(), 1, "{result:?}");
    assert!(texts.iter().all(|text| warnings[0].contains(text)), "{texts:?}: {warnings:?}");
    let (exit_code, document) = result.into_json();
    assert_eq!((exit_code, &document["warnings"]), (5, &json!(warnings)), "{document}");
    document
}

fn check(run: &dyn Fn(&[&str]) -> RunResult, present: &str, future: &str) {
    let texts = [present, future, "5 minutes in the future"];
    for (number, text) in ["latest", "one"].into_iter().enumerate() {
        let restored = format!("restored-{number}.db");
        let document = assert_warned(run, &["restore", text, "--to", &restored], &texts);
        assert_eq!(document["snapshot"]["id"], present);
        let document = assert_warned(run, &["verify", text], &texts);
        assert_eq!(document["snapshots"][0]["id"], present);
        let document = assert_warned(run, &["show", text], &texts);
        let document = &document["snapshots"][0];
        assert_eq!((&document["id"], &document["dated_in_future"]), (&json!(present), &json!(false)));
        let document = assert_warned(run, &["pin", text], &texts);
        assert_eq!(document["snapshots"][0]["id"], present);
        run(&["unpin", present]);
        match text {
            "latest" => {
                let document = assert_warned(run, &["delete", text, "--dry-run"], &texts);
                assert_eq!(document["plan"], json!([present]));
            }
            _ => run(&["delete", text, "--dry-run"]).assert_fails(2, "2 snapshots have the name \"one\""),
        }
    }
    let document = assert_warned(run, &["create", "--db", "a.db", "--name", "inc", "--base", "latest"], &texts);
    assert_eq!(document["snapshot"]["base_id"], present);
    let increment = document["snapshot"]["id"].as_str().unwrap().to_owned();
    let document = assert_warned(run, &["compact", "latest"], &[&increment, future]);
    let compacted = document["snapshots"][0]["id"].as_str().unwrap().to_owned();

    let result = run(&["list"]);
    let marked: Vec<&str> = result.stdout.lines().filter(|line| line.contains("in the future")).collect();
    assert_eq!((result.exit_code, marked.len()), (Some(0), 2), "{result:?}");
    assert!(marked[0].starts_with(future) && marked[0].ends_with("full, in the future"), "{marked:?}");
    assert!(marked[1].starts_with(&format!("dated in the future: {future} ")), "{marked:?}");
    let (_, document) = run(&["list", "--json"]).into_json();
    let flags = document["snapshots"].as_array().unwrap().iter();
    let flags: Vec<_> = flags.map(|one| (one["id"].clone(), one["dated_in_future"].clone())).collect();
    let expected = [(future, true), (&compacted, false), (&increment, false), (present, false)];
    assert_eq!(flags, expected.map(|(id, is_future)| (json!(id), json!(is_future))));
    assert_eq!(document["dated_in_future"], json!([future]));

    let result = run(&["show", future]);
    assert!(result.stdout.contains(" UTC, in the future"), "{result:?}");
    assert_eq!(run(&["show", future, "--json"]).into_json().1["snapshots"][0]["dated_in_future"], true);
    run(&["create", "--db", "a.db", "--base", future]).assert_fails(1, "take a full snapshot");
    let result = run(&["prune", "--keep-last", "1", "--dry-run"]);
    assert!(result.stdout.contains("dated in the future") && result.stdout.contains("last 1"), "{result:?}");

    // Without another snapshot, it is the latest.
    let result = run(&["delete", present, "--cascade"]);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    assert_eq!(run(&["delete", &compacted]).exit_code, Some(0));
    let document = assert_warned(run, &["verify", "latest"], &[future, "no other"]);
    assert_eq!(document["snapshots"][0]["id"], future);
}

#[test]
fn no_command_takes_a_snapshot_in_a_directory_that_is_dated_in_the_future_for_the_latest() {
    let sandbox = Sandbox::with_rows(10);
    let present = sandbox.create("one");
    let future = take_in_a_year(local_store(&sandbox.path("snapshots")), &sandbox.path("a.db"), "one");
    check(&|args| sandbox.run(args), &present, &future);
}

#[test]
fn no_command_takes_a_snapshot_in_a_bucket_that_is_dated_in_the_future_for_the_latest() {
    let bucket = Bucket::s3(S3Server::start());
    let present = bucket.create("one");
    let future = take_in_a_year(store_of(&bucket), &bucket.sandbox.path("a.db"), "one");
    check(&|args| bucket.run(args), &present, &future);
}

/// `metadata.json` is corrupt too.
#[test]
fn a_corrupt_snapshot_from_the_future_is_marked_and_not_the_latest() {
    let sandbox = Sandbox::with_rows(10);
    let present = sandbox.create("one");
    let future = take_in_a_year(local_store(&sandbox.path("snapshots")), &sandbox.path("a.db"), "one");
    std::fs::write(sandbox.stored(&future, "metadata.json"), "{").unwrap();
    let run = |args: &[&str]| sandbox.run(args);
    assert_warned(&run, &["restore", "latest", "--to", "restored.db"], &[&present, &future]);
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, &document["unusable"][0]["dated_in_future"]), (3, &json!(true)));
    assert!(sandbox.run(&["list"]).stdout.contains(&format!("dated in the future: {future} ")));
}

/// Seconds after 1970: a second before, and the seconds at the ends of the years 0 to 9999 and of every calendar.
const WRONG: [i64; 8] =
    [-1, -62_167_219_200, -62_167_219_201, 253_402_300_799, 253_402_300_800, 1 << 45, i64::MAX, i64::MIN];

/// Runs the program on a machine whose clock says this.
fn run_at(seconds: i64, mut command: std::process::Command) -> RunResult {
    let command = command.env("LD_PRELOAD", refusals()).env("CLOCK_SAYS", seconds.to_string());
    let result = RunResult::from(command.output().unwrap());
    assert!(!result.stderr.contains("panicked"), "{seconds}: {result:?}");
    result
}

#[test]
fn no_time_of_the_clock_makes_a_command_panic() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    for seconds in WRONG {
        let run = |args: &[&str]| run_at(seconds, sandbox.command(args));
        let reads: [&[&str]; 6] = [
            &["list"],
            &["show", "latest"],
            &["verify", "--all"],
            &["prune", "--keep", "1", "--keep-within", "4294967295y", "--dry-run"],
            &["store", "check"],
            &["restore", "latest", "--to", "restored.db", "--force"],
        ];
        for args in reads {
            let result = run(args);
            // At some of these times, the snapshots are dated in the future, or a verification cannot be recorded.
            let expected = if result.stderr.starts_with("warning: ") { 5 } else { 0 };
            assert_eq!(result.exit_code, Some(expected), "{seconds}, {args:?}: {result:?}");
        }
        let result = run(&["create", "--db", "a.db", "--json"]);
        if (-62_167_219_200..253_402_300_800).contains(&seconds) {
            let (exit_code, document) = result.into_json();
            assert_eq!(exit_code, 0, "{seconds}: {document}");
            sandbox.ok(&["delete", document["snapshot"]["id"].as_str().unwrap()]);
        } else {
            result.assert_fails(1, "the years 0 to 9999; correct the clock");
        }
        run(&["pin", "one"]);
        run(&["unpin", "one"]);
    }
    let mut kept = sandbox.ids();
    kept.sort();
    assert_eq!(kept, ids);
}

#[test]
fn a_clock_that_cannot_date_requests_is_named_before_a_bucket_is_asked() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    bucket.server.wire().reset_log();
    for seconds in WRONG.into_iter().filter(|seconds| !(0..253_402_300_800).contains(seconds)) {
        for args in [&["list"][..], &["create", "--db", "a.db"], &["verify", "latest"]] {
            let result = run_at(seconds, bucket.command(args));
            result.assert_fails(1, "requests cannot be dated before 1970 or after 9999; correct the clock");
        }
    }
    assert!(bucket.server.wire().requests().is_empty());
}
