//! The log: what it has, where it goes, and that no secret is in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// Returns the lines that are events of the log, not messages of the program.
fn events(text: &str) -> Vec<&str> {
    let is_event =
        |line: &&str| [" INFO ", "DEBUG ", "TRACE ", " WARN ", "ERROR "].iter().any(|level| line.contains(level));
    text.lines().filter(is_event).collect()
}

#[test]
fn verbose_runs_log_their_steps_and_more_verbose_ones_their_requests() {
    let sandbox = Sandbox::with_rows(20);
    let create = |option: &[&str]| sandbox.run(&[&["create", "--db", "a.db"], option].concat());
    assert_eq!(events(&create(&[]).stderr), [""; 0]);
    let steps = create(&["-v"]);
    assert_eq!(steps.exit_code, Some(0), "{steps:?}");
    assert!(
        steps.stderr.contains("opened a store") && steps.stderr.contains("stored a snapshot snapshot="),
        "{steps:?}"
    );
    assert!(!steps.stderr.contains("DEBUG"), "{steps:?}");
    let requests = create(&["-vv"]);
    assert!(requests.stderr.contains("/metadata.json\" bytes="), "{requests:?}");
    // The results are the same.
    assert_eq!(steps.stdout.lines().count(), requests.stdout.lines().count());
}

#[test]
fn the_variable_of_the_log_counts_unless_an_option_says_more() {
    let sandbox = Sandbox::with_rows(20);
    let run = |levels: &str, option: &[&str]| {
        let mut command = sandbox.command(&[&["create", "--db", "a.db"], option].concat());
        let result = RunResult::from(command.env("RUST_LOG", levels).output().unwrap());
        assert_eq!(result.exit_code, Some(0), "{result:?}");
        result.stderr
    };
    assert_eq!(events(&run("", &[])), [""; 0]);
    assert_eq!(events(&run("off", &[])), [""; 0]);
    assert!(run("debug", &[]).contains("DEBUG"));
    assert!(run("ruvector_snapshot=debug", &[]).contains("DEBUG"));
    assert_eq!(events(&run("ruvector_snapshot::store=error", &[])), [""; 0]);
    let both = run("off", &["-v"]);
    assert!(both.contains("stored a snapshot") && !both.contains("DEBUG"), "{both}");
    // Of another program.
    run("=,[[=", &[]);
}

#[test]
fn a_log_file_has_the_events_and_what_went_wrong_and_its_owner_alone_can_read_it() {
    let sandbox = Sandbox::with_rows(20);
    let logged = |args: &[&str]| sandbox.run(&[args, &["--log-file", "backup.log"]].concat());
    assert_eq!(logged(&["create", "--db", "a.db"]).exit_code, Some(0));
    // Nothing of the log is on the terminal. A second run appends.
    let failed = logged(&["create", "--db", "missing.db"]);
    assert_eq!((failed.exit_code, events(&failed.stderr)), (Some(1), vec![]));
    let log = fs::read_to_string(sandbox.path("backup.log")).unwrap();
    assert!(log.contains("stored a snapshot"), "{log}");
    assert!(log.contains("ERROR") && log.contains("missing.db"), "{log}");
    let mode = fs::metadata(sandbox.path("backup.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let nowhere = sandbox.run(&["create", "--db", "a.db", "--log-file", "missing/backup.log"]);
    nowhere.assert_fails(1, "missing/backup.log: cannot open the log file");
    assert_eq!(sandbox.ids().len(), 1);
}

#[test]
fn a_log_in_json_has_an_object_on_each_line() {
    let sandbox = Sandbox::with_rows(20);
    let result = sandbox.run(&["create", "--db", "a.db", "-vv", "--log-format", "json"]);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let events: Vec<Value> = result.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stored = events.iter().find(|event| event["message"] == "stored a snapshot").unwrap();
    assert_eq!((&stored["level"], &stored["records"]), (&"INFO".into(), &20.into()), "{stored}");
    assert!(stored["timestamp"].is_string() && stored["snapshot"].is_string(), "{stored}");
    sandbox.run(&["list", "--log-format", "xml"]).assert_fails(2, "xml");
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_does_not_stop_a_backup() {
    let sandbox = Sandbox::with_rows(20);
    let result = sandbox.run(&["create", "--db", "a.db", "-vvv", "--log-file", "/dev/full"]);
    result.assert_warns("the log file lacks lines");
    assert_eq!(sandbox.ids().len(), 1);
    let (exit_code, document) = sandbox.json(&["list", "--log-file", "/dev/full"]);
    let warning = document["warnings"][0].as_str().unwrap_or_default();
    assert!(exit_code == 5 && warning.starts_with("the log file lacks lines"), "{document}");
}

#[test]
fn no_secret_is_in_a_log() {
    let bucket = Bucket::s3(S3Server::start());
    for levels in
        ["trace", "hyper=trace,reqwest=trace,object_store=trace,h2=trace,rustls=trace,ruvector_snapshot=trace"]
    {
        for args in
            [&["create", "--db", "a.db", "-o", "session_token=s3ss10n-t0ken"][..], &["verify", "--all"], &["list"]]
        {
            let mut command = bucket.command(args);
            let result = RunResult::from(command.env("RUST_LOG", levels).output().unwrap()).without_secrets();
            assert!(result.stderr.contains("ruvector_snapshot"), "nothing was logged: {result:?}");
            let lines = result.stderr.to_lowercase();
            for word in ["s3ss10n", "authorization", "signature=", "hyper", "x-amz"] {
                assert!(!lines.contains(word), "{word} is in {lines}");
            }
        }
    }
}

#[test]
fn a_log_is_not_appended_to_what_is_no_log() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    fs::write(sandbox.path("backup.toml"), "store = \"snapshots\"\n").unwrap();
    let object = |name: &str| format!("snapshots/snapshot-{}/{name}", ids[0]);
    let files = ["a.db", "backup.toml", &object("metadata.json"), &object("checksum.sha256"), &object("index.bin.gz")];
    for file in files {
        let before = fs::read(sandbox.path(file)).unwrap();
        sandbox.run(&["list", "--log-file", file]).assert_fails(2, "a log there would damage it");
        std::os::unix::fs::symlink(sandbox.path(file), sandbox.path("link")).unwrap();
        sandbox.run(&["list", "--log-file", "link"]).assert_fails(2, "a log there would damage it");
        fs::remove_file(sandbox.path("link")).unwrap();
        assert_eq!(fs::read(sandbox.path(file)).unwrap(), before, "{file}");
    }
    // The log of another program, with a character that is cut, and a device.
    fs::write(sandbox.path("shared.log"), format!("{}\u{e9}\n", "x".repeat(511))).unwrap();
    sandbox.ok(&["list", "--log-file", "shared.log"]);
    sandbox.ok(&["list", "--log-file", "/dev/null"]);
}

#[test]
fn a_pipe_without_a_reader_is_no_log() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
    sandbox.run(&["list", "--log-file", "pipe"]).assert_fails(1, "cannot open the log file");
}
