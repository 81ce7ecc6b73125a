//! Ctrl-C, SIGTERM and the end of the terminal: the old snapshots are whole, there is no new one, and nothing is left.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;

use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::{Desk, Ran, assert_holds, contents, database};

const ROWS: usize = 40_000;
const DIMENSIONS: usize = 128;
/// A machine may be so fast, or the signal so late, that the work is done first; then it is tried again.
const ATTEMPTS: usize = 20;

/// Runs, waits until `begun`, sends the signal, and gives what came of it; `again` clears up after a run that was done
/// before the signal came.
fn interrupted(desk: &Desk, args: &[&str], signal: &str, begun: impl Fn() -> bool, again: impl Fn()) -> Ran {
    for _ in 0..ATTEMPTS {
        let mut child = desk.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !begun() && is_running(&mut child) {
            thread::yield_now();
        }
        if is_running(&mut child) {
            let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            assert!(status.success());
        }
        let ran = Ran::from(child.wait_with_output().unwrap());
        if ran.status != Some(0) && !ran.stderr.contains("already, and stays") {
            return ran;
        }
        again();
    }
    panic!("every run was done before it could be interrupted");
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

fn desk_with_one_snapshot() -> Desk {
    let desk = Desk::empty();
    database(&desk.path("a.db"), ROWS, DIMENSIONS);
    desk.create("old");
    desk
}

#[test]
fn an_interrupted_create_leaves_no_trace() {
    let desk = desk_with_one_snapshot();
    let before = contents(&desk.path("snapshots"));
    for signal in ["-INT", "-TERM", "-HUP"] {
        let begun = || desk.names("snapshots").len() > 1;
        let again = || drop(desk.ok(&["delete", "new"]));
        let ran = interrupted(&desk, &["create", "--db", "a.db", "--name", "new"], signal, begun, again);
        ran.fails_after_a_notice("interrupted; there is no new snapshot, and nothing was left behind");
        assert_eq!(desk.names("snapshots").len(), 1);
        assert_eq!(desk.names("."), ["a.db", "snapshots"]);
        assert!(contents(&desk.path("snapshots")) == before);
        assert!(desk.ok(&["verify", "--all"]).ends_with("1 snapshot whole\n"));
        assert_eq!(desk.json(&["list"]).1["unfinished"], serde_json::json!([]));
    }
}

#[test]
fn an_interrupted_restore_leaves_no_trace() {
    let desk = desk_with_one_snapshot();
    let begun = || desk.names(".").iter().any(|name| name.contains(".restoring-"));
    let again = || fs::remove_file(desk.path("b.db")).unwrap();
    let ran = interrupted(&desk, &["restore", "old", "--to", "b.db"], "-INT", begun, again);
    ran.fails_after_a_notice("interrupted; nothing was restored, and nothing was left behind");
    assert_eq!(desk.names("."), ["a.db", "snapshots"]);

    let precious = || fs::write(desk.path("b.db"), "precious").unwrap();
    precious();
    let ran = interrupted(&desk, &["restore", "old", "--to", "b.db", "--force"], "-INT", begun, precious);
    ran.fails_after_a_notice("interrupted; b.db is as it was, and nothing was left behind");
    assert_eq!(fs::read(desk.path("b.db")).unwrap(), b"precious");
    assert_eq!(desk.names("."), ["a.db", "b.db", "snapshots"]);

    desk.ok(&["-q", "restore", "old", "--to", "c.db"]);
    assert_holds(&desk.path("c.db"), ROWS, DIMENSIONS);
}

#[test]
fn quiet_and_json_hold_for_an_interrupt_too() {
    let desk = desk_with_one_snapshot();
    let begun = || desk.names("snapshots").len() > 1;
    let again = || drop(desk.ok(&["delete", "a"]));
    let ran = interrupted(&desk, &["-q", "--json", "create", "--db", "a.db"], "-INT", begun, again);
    ran.fails(1, "interrupted; ");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "interrupted");
}

/// A bucket with a full snapshot `full` and an increment `step` on it.
fn bucket_with_a_chain() -> Bucket {
    let bucket = Bucket::s3(S3Server::start());
    bucket.ok(&["create", "--db", "a.db", "--name", "full"]);
    bucket.ok(&["create", "--db", "a.db", "--name", "step", "--base", "full"]);
    bucket
}

/// Runs, keeps the first request that is `awaited` without an answer until the signal has come, and gives what came of it.
fn interrupted_at(bucket: &Bucket, args: &[&str], awaited: fn(&Request) -> bool) -> Ran {
    for _ in 0..ATTEMPTS {
        let wire = bucket.server.wire();
        wire.forget();
        let mut is_held = false;
        wire.set(move |request, _| {
            let holds = awaited(request) && !is_held;
            is_held |= holds;
            holds.then_some(Fault::Hang)
        });
        let patient = [args, &["-o", "stall_timeout=3s"]].concat();
        let mut child = bucket.command(&patient).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !wire.requests().iter().any(awaited) && is_running(&mut child) {
            thread::yield_now();
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let ran = Ran::from(child.wait_with_output().unwrap()).without_secrets();
        wire.clear();
        if ran.status != Some(0) {
            return ran;
        }
    }
    panic!("every run was done before it could be interrupted");
}

#[test]
fn an_interrupted_increment_leaves_no_trace() {
    let bucket = bucket_with_a_chain();
    let before = bucket.server.keys();
    let writes_vectors: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("vectors.bin.gz");
    let ran = interrupted_at(&bucket, &["create", "--db", "a.db", "--base", "latest"], writes_vectors);
    ran.fails_after_a_notice(&format!("there is no new snapshot, and no object of one was left at {}", bucket.store));
    // What marked the upload is gone as well.
    assert_eq!(bucket.server.keys(), before);
    bucket.ok(&["delete", "step"]);
}

#[test]
fn an_interrupted_compact_leaves_no_trace() {
    let bucket = bucket_with_a_chain();
    let before = bucket.server.keys();
    let writes_vectors: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("vectors.bin.gz");
    let ran = interrupted_at(&bucket, &["compact", "step"], writes_vectors);
    ran.fails_after_a_notice(&format!("there is no new snapshot, and no object of one was left at {}", bucket.store));
    assert_eq!(bucket.server.keys(), before);
}

#[test]
fn a_delete_that_has_begun_is_carried_to_its_end() {
    let bucket = bucket_with_a_chain();
    let deletes: fn(&Request) -> bool = Request::is_delete;
    let ran = interrupted_at(&bucket, &["delete", "full", "--cascade"], deletes);
    ran.fails_after_a_notice("interrupted; everything that was asked for is deleted all the same");
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
}

#[test]
fn an_interrupted_pin_says_that_it_may_hold() {
    let bucket = bucket_with_a_chain();
    let marks: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("pinned.json");
    let ran = interrupted_at(&bucket, &["pin", "full"], marks);
    ran.fails_after_a_notice("interrupted; some of them may be pinned; list shows which");
    assert!(!bucket.ok(&["list"]).contains("pinned"));
}

impl Ran {
    /// As `fails`, after the line that says at once that the interrupt was heard.
    #[track_caller]
    fn fails_after_a_notice(&self, words: &str) {
        assert_eq!(self.status, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let at = self.stderr.find("interrupted; cleaning up").unwrap_or_else(|| panic!("no notice: {self:?}"));
        let error = self.stderr.find("error: ").unwrap_or_else(|| panic!("no error: {self:?}"));
        assert!(at < error && self.stderr[error..].contains(words), "{words:?} is not in {self:?}");
    }
}
