//! SIGINT, SIGTERM and SIGHUP: the old snapshots stay intact, there is no new one, and nothing is left behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use test_fixtures::{Published, StoredSnapshot, entry, records_of_file};
use test_servers::{Fault, GcsServer, Request, S3Server};

use super::bucket::Bucket;
use super::progress::Followed;
use super::sandbox::{RunResult, Sandbox, assert_holds, create_database, files_below};

const ROWS: usize = 40_000;
const DIMENSIONS: usize = 128;
/// A run may end before the signal arrives. The test then tries again.
const ATTEMPTS: usize = 20;
/// The signals that stop a run, and its exit code then.
const SIGNALS: [(&str, i32); 3] = [("-INT", 130), ("-TERM", 143), ("-HUP", 129)];

/// Runs the program, sends a signal when `begun` returns true, and returns the result. If a run ends before the signal
/// arrives, `again` removes its result.
fn interrupted(
    sandbox: &Sandbox,
    args: &[&str],
    signal: &str,
    begun: impl Fn() -> bool,
    again: impl Fn(),
) -> RunResult {
    for _ in 0..ATTEMPTS {
        let mut child = sandbox.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !begun() && is_running(&mut child) {
            thread::yield_now();
        }
        if is_running(&mut child) {
            let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            assert!(status.success());
        }
        let result = RunResult::from(child.wait_with_output().unwrap());
        if result.exit_code != Some(0) && !result.stderr.contains(" was already ") {
            return result;
        }
        again();
    }
    panic!("every run was done before it could be interrupted");
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

fn sandbox_with_one_snapshot() -> Sandbox {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), ROWS, DIMENSIONS);
    sandbox.create("old");
    sandbox
}

/// A byte is sent in a second, so that no run ends before it is interrupted.
#[test]
fn an_interrupted_create_leaves_no_trace() {
    let sandbox = sandbox_with_one_snapshot();
    let before = files_below(&sandbox.path("snapshots"));
    for ((signal, exit_code), phase) in SIGNALS.into_iter().zip(["creating", "storing", "creating"]) {
        let create = sandbox.command(&["create", "--db", "a.db", "--name", "new", "--limit-upload", "1B"]);
        let result = Followed::start(create).wait_for(phase).stop(signal);
        result.assert_ends_after_notice(exit_code, "interrupted: no snapshot was created, and nothing was left behind");
        assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
        assert!(files_below(&sandbox.path("snapshots")) == before);
        assert_eq!(sandbox.json(&["list"]).1["pending_uploads"], serde_json::json!([]));
    }
    assert!(sandbox.ok(&["verify", "--all", "--no-record"]).ends_with("1 snapshot intact\n"));
}

/// The directory that the run has created for the store is removed again.
#[test]
fn an_interrupted_create_in_a_new_store_leaves_no_store() {
    let sandbox = Sandbox::with_rows(300);
    for (signal, exit_code) in SIGNALS {
        let create = sandbox.command(&["create", "--db", "a.db", "--limit-upload", "1B"]);
        let result = Followed::start(create).wait_for("storing").stop(signal);
        result.assert_ends_after_notice(exit_code, "interrupted: no snapshot was created, and nothing was left behind");
        assert_eq!(sandbox.names("."), ["a.db"]);
    }
}

/// A byte is sent in a second: none of these would end otherwise. The large database is sent in parts, which wait too.
#[test]
fn an_interrupted_upload_does_not_wait_for_the_rate_limit() {
    let bucket = bucket_with_a_chain();
    create_database(&bucket.sandbox.path("large.db"), ROWS, DIMENSIONS);
    let before = bucket.server.keys();
    let nothing = format!("interrupted: no snapshot was created, and no object was left at {}", bucket.store);
    let to = format!("{}-copy", bucket.store);
    Published::of_entries(8, (0..300).map(|number| entry(format!("id-{number}"), number, 8, 1)))
        .write(&bucket.sandbox.path(""), "old");
    let creates: [(&[&str], &str, &str); 5] = [
        (&["import", "old.snapshot.gz"], "storing", &nothing),
        (&["create", "--db", "large.db", "--name", "large"], "storing", &nothing),
        (&["create", "--db", "a.db", "--base", "step"], "storing", &nothing),
        (&["compact", "step"], "storing", &nothing),
        (&["copy", "--all", "--to", &to], "copying", "interrupted: the snapshots that were copied before are complete"),
    ];
    for ((args, phase, text), (signal, exit_code)) in creates.into_iter().zip(SIGNALS.into_iter().cycle()) {
        let slow = bucket.command(&[args, &["--limit-upload", "1B"]].concat());
        let result = Followed::start(slow).wait_for(phase).stop(signal).without_secrets();
        result.assert_ends_after_notice(exit_code, text);
        assert_eq!(bucket.server.open_uploads(), 0, "{args:?}");
    }
    let left = bucket.server.keys().into_iter().filter(|key| !before.contains(key));
    // What a copy has stored is continued by the next one.
    assert!(left.into_iter().all(|key| key.contains("-copy/") && key.ends_with("/upload.json")));
}

/// A byte is received in a second: none of these would end otherwise.
#[test]
fn an_interrupted_download_does_not_wait_for_the_rate_limit() {
    let bucket = bucket_with_a_chain();
    fs::create_dir(bucket.sandbox.path("scratch")).unwrap();
    let (before, tree) = (bucket.server.keys(), bucket.sandbox.names("."));
    let reads: [&[&str]; 11] = [
        &["list"],
        &["restore", "step", "--to", "b.db"],
        &["restore", "step", "--to", "b.db", "--id", "id-000001"],
        &["export", "step", "--to", "exported"],
        &["verify", "step", "--no-record"],
        &["drill", "step", "--scratch-dir", "scratch", "--no-record"],
        &["dump", "step"],
        &["search", "step", "--like", "id-000001"],
        &["diff", "full", "step"],
        &["compact", "step"],
        &["create", "--db", "a.db", "--base", "step"],
    ];
    for (args, (signal, exit_code)) in reads.into_iter().zip(SIGNALS.into_iter().cycle()) {
        let wire = bucket.server.wire();
        wire.reset_log();
        let mut slow = bucket.command(&[args, &["--limit-download", "1B"]].concat());
        let mut child = slow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Of a small object the size is known only when it is there.
        while wire.requests().len() < 2 && is_running(&mut child) {
            thread::yield_now();
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
        result.assert_ends_after_notice(exit_code, "interrupted: ");
        assert_eq!((bucket.server.open_uploads(), bucket.server.keys()), (0, before.clone()), "{args:?}");
        assert_eq!(
            (bucket.sandbox.names("."), bucket.sandbox.names("scratch")),
            (tree.clone(), Vec::new()),
            "{args:?}"
        );
    }
}

#[test]
fn an_interrupted_restore_leaves_no_trace() {
    let sandbox = sandbox_with_one_snapshot();
    let begun = || sandbox.names(".").iter().any(|name| name.contains(".restoring-"));
    let again = || fs::remove_file(sandbox.path("b.db")).unwrap();
    let result = interrupted(&sandbox, &["restore", "old", "--to", "b.db"], "-INT", begun, again);
    result.assert_fails_after_notice("interrupted: nothing was restored, and nothing was left behind");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);

    let precious = || fs::write(sandbox.path("b.db"), "precious").unwrap();
    precious();
    let result = interrupted(&sandbox, &["restore", "old", "--to", "b.db", "--force"], "-INT", begun, precious);
    result.assert_fails_after_notice("interrupted: b.db was not changed, and nothing was left behind");
    assert_eq!(fs::read(sandbox.path("b.db")).unwrap(), b"precious");
    assert_eq!(sandbox.names("."), ["a.db", "b.db", "snapshots"]);

    sandbox.ok(&["-q", "restore", "old", "--to", "c.db"]);
    assert_holds(&sandbox.path("c.db"), ROWS, DIMENSIONS);
}

#[test]
fn an_interrupted_drill_leaves_no_trace() {
    let sandbox = sandbox_with_one_snapshot();
    fs::create_dir(sandbox.path("scratch")).unwrap();
    let args = ["drill", "old", "--scratch-dir", "scratch", "--no-record"];
    let scratch = || sandbox.names("scratch").first().map(|name| sandbox.path("scratch").join(name));
    // While it restores, and when the restored database is there and is examined.
    let restores = || scratch().is_some();
    let examines = || scratch().is_some_and(|directory| directory.join("restored.db").exists());
    for begun in [&restores as &dyn Fn() -> bool, &examines] {
        let result = interrupted(&sandbox, &args, "-INT", begun, || ());
        result.assert_fails_after_notice("interrupted: the scratch directory was removed; nothing was changed");
        assert_eq!(sandbox.names("scratch"), Vec::<String>::new());
    }
    assert_eq!(sandbox.names("."), ["a.db", "scratch", "snapshots"]);
    assert_eq!(sandbox.ids().len(), 1);
}

/// The file that appears at the destination meanwhile is not what was restored.
#[test]
fn an_interrupted_restore_does_not_claim_the_file_of_another_program() {
    let bucket = bucket_with_a_chain();
    let reads_vectors: fn(&Request) -> bool = |request| request.is_get() && request.key().ends_with("vectors.bin.gz");
    for exists in [false, true] {
        let path = bucket.sandbox.path("b.db");
        if exists {
            fs::write(&path, "old").unwrap();
        }
        let (told, words) = match exists {
            false => (&[][..], "nothing was restored; b.db was created by another program, and was kept"),
            true => (&["--force"][..], "nothing was restored; b.db was replaced by another program, and was kept"),
        };
        let wire = bucket.server.wire();
        wire.reset_log();
        wire.set(move |request, _| reads_vectors(request).then_some(Fault::Hang));
        let args = [&["restore", "full", "--to", "b.db", "-o", "stall_timeout=60s"][..], told].concat();
        let child = bucket.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !wire.requests().iter().any(reads_vectors) {
            thread::yield_now();
        }
        fs::write(bucket.sandbox.path("other"), "of another program").unwrap();
        fs::rename(bucket.sandbox.path("other"), &path).unwrap();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
        wire.clear();
        result.assert_fails_after_notice(words);
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another program");
        assert_eq!(bucket.sandbox.names("."), ["a.db", "b.db"]);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn an_interrupted_create_respects_quiet_and_json() {
    let sandbox = sandbox_with_one_snapshot();
    let begun = || sandbox.names("snapshots").len() > 1;
    let again = || drop(sandbox.ok(&["delete", "a"]));
    let args = ["-q", "--json", "create", "--db", "a.db", "--limit-upload", "1B"];
    let result = interrupted(&sandbox, &args, "-INT", begun, again);
    result.assert_fails(130, "interrupted: no snapshot was created");
    let document: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "interrupted");
    assert_eq!(document["error"]["exit_code"], 130);
}

/// Returns a bucket with a full snapshot `full` and an increment `step` that depends on it.
fn bucket_with_a_chain() -> Bucket {
    let bucket = Bucket::s3(S3Server::start());
    bucket.ok(&["create", "--db", "a.db", "--name", "full"]);
    bucket.ok(&["create", "--db", "a.db", "--name", "step", "--base", "full"]);
    bucket
}

/// Runs the program, never answers the first request that is `awaited`, sends SIGINT meanwhile, and returns the result.
fn interrupted_at(
    bucket: &Bucket,
    args: &[&str],
    awaited: impl Fn(&Request) -> bool + Clone + Send + Sync + 'static,
) -> RunResult {
    for _ in 0..ATTEMPTS {
        let wire = bucket.server.wire();
        wire.reset_log();
        let (mut is_held, holds) = (false, awaited.clone());
        wire.set(move |request, _| {
            let holds = holds(request) && !is_held;
            is_held |= holds;
            holds.then_some(Fault::Hang)
        });
        let args = [args, &["-o", "stall_timeout=3s"]].concat();
        let mut child = bucket.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !wire.requests().iter().any(&awaited) && is_running(&mut child) {
            thread::yield_now();
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
        wire.clear();
        if result.exit_code != Some(0) {
            return result;
        }
    }
    panic!("every run was done before it could be interrupted");
}

/// The second signal does not wait for the clean-up.
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let bucket = bucket_with_a_chain();
    for (signal, exit_code) in SIGNALS {
        let wire = bucket.server.wire();
        wire.reset_log();
        // The clean-up waits for answers too.
        wire.set(|request, _| (request.is_put() || request.is_delete()).then_some(Fault::Hang));
        let args = ["create", "--db", "a.db", "-o", "stall_timeout=60s"];
        let mut child = bucket.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !wire.requests().iter().any(Request::is_put) && is_running(&mut child) {
            thread::yield_now();
        }
        let id = child.id().to_string();
        let send = |signal: &str| {
            assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        };
        send("-INT");
        let mut stderr = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while !stderr.contains("interrupted; cleaning up") {
            assert_ne!(lines.read_line(&mut stderr).unwrap(), 0, "{stderr:?}");
        }
        // What arrives at nearly the same moment is the first one.
        while is_running(&mut child) {
            send(signal);
            thread::yield_now();
        }
        lines.read_to_string(&mut stderr).unwrap();
        assert!(stderr.contains("stopped at once"), "{stderr:?}");
        assert_eq!(child.wait().unwrap().code(), Some(exit_code), "{stderr:?}");
        wire.clear();
    }
}

#[test]
fn an_interrupted_increment_leaves_no_trace() {
    let bucket = bucket_with_a_chain();
    let before = bucket.server.keys();
    let writes_vectors: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("vectors.bin.gz");
    let result = interrupted_at(&bucket, &["create", "--db", "a.db", "--base", "latest"], writes_vectors);
    result.assert_fails_after_notice(&format!(
        "interrupted: no snapshot was created, and no object was left at {}",
        bucket.store
    ));
    // The upload marker was removed too.
    assert_eq!(bucket.server.keys(), before);
    bucket.ok(&["delete", "step"]);
}

#[test]
fn an_interrupted_compact_leaves_no_trace() {
    let bucket = bucket_with_a_chain();
    let before = bucket.server.keys();
    let writes_vectors: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("vectors.bin.gz");
    let result = interrupted_at(&bucket, &["compact", "step"], writes_vectors);
    result.assert_fails_after_notice(&format!(
        "interrupted: no snapshot was created, and no object was left at {}",
        bucket.store
    ));
    assert_eq!(bucket.server.keys(), before);
}

/// The target of the copy is the bucket. What it has received is continued by the next copy.
#[test]
fn an_interrupted_copy_is_continued_by_the_next_one() {
    let bucket = bucket_with_a_chain();
    let before = bucket.server.keys();
    let to = format!("{}-copy", bucket.store);
    let copy = ["copy", "--all", "--to", &to, "--to-option", "stall_timeout=3s"];
    let writes_index: fn(&Request) -> bool =
        |request| request.is_put() && request.key().contains("-copy/") && request.key().ends_with("index.bin.gz");
    let result = interrupted_at(&bucket, &copy, writes_index);
    result.assert_fails_after_notice(
        "interrupted: the snapshots that were copied before are complete; repeat the command",
    );
    assert_eq!(bucket.server.open_uploads(), 0);
    let listed: Vec<_> = bucket.json(&["list", "--store", &to]).1["snapshots"].as_array().unwrap().clone();
    assert!(listed.is_empty(), "{listed:?}");
    assert!(bucket.ok(&copy).contains("2 snapshots copied, 0 there already"));
    bucket.ok(&["verify", "--all", "--no-record", "--store", &to]);
    let copied = bucket.server.keys().into_iter().filter(|key| key.contains("-copy/"));
    assert_eq!(copied.map(|key| key.replace("-copy/", "/")).collect::<Vec<_>>(), before);
}

#[test]
fn interrupted_parts_change_nothing_and_an_interrupted_dump_ends_its_document() {
    let bucket = bucket_with_a_chain();
    let reads_vectors: fn(&Request) -> bool = |request| request.is_get() && request.key().ends_with("vectors.bin.gz");
    let other = bucket.sandbox.path("b.db");
    create_database(&other, 3, super::sandbox::DIMENSIONS);
    let before = records_of_file(&other);
    let result = interrupted_at(&bucket, &["restore", "step", "--to", "b.db", "--merge"], reads_vectors);
    result.assert_fails_after_notice("interrupted: nothing was merged, and b.db has the records that it had");
    assert_eq!(records_of_file(&other), before);
    let part = ["restore", "step", "--to", "c.db", "--id", "id-000001"];
    interrupted_at(&bucket, &part, reads_vectors)
        .assert_fails_after_notice("interrupted: nothing was restored, and nothing was left behind");
    assert_eq!(bucket.sandbox.names("."), ["a.db", "b.db"]);
    let (exit_code, document) = interrupted_at(&bucket, &["dump", "step", "--json"], reads_vectors).into_json();
    assert_eq!((exit_code, &document["error"]["kind"]), (130, &"interrupted".into()), "{document}");
    assert_eq!((&document["printed"], &document["proof"]), (&0.into(), &serde_json::Value::Null), "{document}");
}

#[test]
fn an_interrupted_delete_is_completed() {
    let bucket = bucket_with_a_chain();
    let deletes: fn(&Request) -> bool = Request::is_delete;
    let result = interrupted_at(&bucket, &["delete", "full", "--cascade"], deletes);
    result.assert_fails_after_notice("interrupted: all of them were deleted");
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
}

/// The check then removes its objects. It sends bytes as slowly as an upload does.
#[test]
fn an_interrupted_check_of_a_store_does_not_wait_for_the_rate_limit() {
    let bucket = Bucket::s3(S3Server::start());
    let starts_upload: fn(&Request) -> bool = |request| request.key().ends_with("/parts");
    let wire = bucket.server.wire();
    let check = ["store", "check", "--limit-upload", "1B"];
    let child = bucket.command(&check).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !wire.requests().iter().any(starts_upload) {
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
    assert_eq!((result.exit_code, &*result.stdout), (Some(130), ""), "{result:?}");
    assert_eq!((bucket.server.open_uploads(), bucket.server.keys()), (0, Vec::new()));
}

#[test]
fn an_interrupted_verify_says_which_results_were_recorded() {
    let bucket = Bucket::s3(S3Server::start());
    let ids = ["one", "two", "three"].map(|name| bucket.create(name));
    let oldest = format!("{}/vectors.bin.gz", ids[0]);
    let reads = move |request: &Request| request.is_get() && request.key().ends_with(&oldest);
    let result = interrupted_at(&bucket, &["verify", "--all", "--no-record"], reads.clone());
    assert!(result.stderr.contains("interrupted: nothing was changed"), "{result:?}");
    let result = interrupted_at(&bucket, &["verify", "--all"], reads.clone());
    assert_eq!(result.exit_code, Some(130), "{result:?}");
    assert!(
        result.stderr.contains("interrupted: 2 snapshots were verified before that; `list` shows what was recorded"),
        "{result:?}"
    );
    let listed = bucket.ok(&["list"]);
    assert_eq!(listed.matches("  never  ").count(), 1, "{listed}");
    let result = interrupted_at(&bucket, &["verify", &ids[0]], reads);
    assert!(result.stderr.contains("interrupted: no verification was completed"), "{result:?}");
}

#[test]
fn an_interrupted_pin_warns_that_it_may_have_taken_effect() {
    let bucket = bucket_with_a_chain();
    let pins: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("pinned.json");
    let result = interrupted_at(&bucket, &["pin", "full"], pins);
    result.assert_fails_after_notice("interrupted: some of them may be pinned; `list` shows which");
    assert!(!bucket.ok(&["list"]).contains("pinned"));
}

impl RunResult {
    /// Asserts the same as [`assert_fails`](Self::assert_fails) after SIGINT, and that a notice before the error confirms
    /// the interrupt.
    #[track_caller]
    fn assert_fails_after_notice(&self, text: &str) {
        self.assert_ends_after_notice(130, text);
    }

    #[track_caller]
    fn assert_ends_after_notice(&self, exit_code: i32, text: &str) {
        assert_eq!(self.exit_code, Some(exit_code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let at = self.stderr.find("interrupted; cleaning up").unwrap_or_else(|| panic!("no notice: {self:?}"));
        let error = self.stderr.find("error: ").unwrap_or_else(|| panic!("no error: {self:?}"));
        assert!(at < error && self.stderr[error..].contains(text), "{text:?} is not in {self:?}");
    }
}

/// The items before it are printed by then.
#[test]
fn an_interrupted_list_ends_its_document() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let stored = StoredSnapshot::read(&sandbox.path("snapshots"), &ids[0]);
    let large = format!("\"{}\"", "x".repeat(100_000));
    for bucket in [Bucket::s3(S3Server::start()), Bucket::gcs(GcsServer::start())] {
        let ids = ["20200101T000000000Z-0123456789abcdef", "20200102T000000000Z-0123456789abcdef"];
        for id in ids {
            for (name, bytes) in &stored.under(id, &large).files {
                bucket.server.put(&format!("backups/prod/snapshot-{id}/{name}"), bytes);
            }
        }
        let reads_oldest = move |request: &Request| {
            request.is_get() && request.key().ends_with(&format!("snapshot-{}/metadata.json", ids[0]))
        };
        let mut reads = 0;
        // The first is that of the listing, and the second that of its JSON.
        bucket.server.wire().set(move |request, _| {
            reads += usize::from(reads_oldest(request));
            (reads == 2 && reads_oldest(request)).then_some(Fault::Hang)
        });
        bucket.server.wire().reset_log();
        let mut command = bucket.command(&["list", "--json", "-o", "stall_timeout=60s"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let reader = {
            let mut stdout = child.stdout.take().unwrap();
            thread::spawn(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).map(|_| text).unwrap()
            })
        };
        while bucket.server.wire().requests().iter().filter(|request| reads_oldest(request)).count() < 2 {
            assert!(is_running(&mut child));
            thread::yield_now();
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let result = child.wait_with_output().unwrap();
        let document: serde_json::Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
        assert_eq!((result.status.code(), &document["error"]["exit_code"]), (Some(130), &130.into()), "{result:?}");
        assert_eq!(document["error"]["message"], "interrupted: nothing was changed");
        assert_eq!(document["snapshots"].as_array().unwrap().len(), 1);
        assert_eq!(document["snapshots"][0]["id"], ids[1]);
    }
}
