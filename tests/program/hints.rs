//! What a failure says that the user can do: it depends on the cause, and not on where the store is.
//!
//! `refusals.c` is preloaded into the program and answers instead of the system.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use test_servers::{Fault, S3Server};

use super::bucket::Bucket;
use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox, assert_holds};

/// The user `nobody`, for tests that root runs: root can write everything.
const NOBODY: u32 = 65_534;

/// Error numbers of Linux, and words of the hint.
const CAUSES: [(&str, &str); 5] = [
    ("13", "check the owner and the permissions of this path"),
    ("30", "the file system is mounted read-only"),
    ("28", "free space on the disk of this path; `df` and `df -i`"),
    ("122", "the disk quota of this user is used up"),
    ("5", "check the disk of this path"),
];
const CREDENTIALS: &str = "or the credentials of a bucket and what they allow";

/// Asserts that there is one hint, which has these words, and that no words of a hint for another cause are printed.
#[track_caller]
fn assert_hint(result: &RunResult, words: &str) {
    result.assert_fails(1, words);
    let hints: Vec<&str> = result.stderr.lines().filter(|line| line.trim_start().starts_with("hint: ")).collect();
    assert!(hints.len() == 1 && hints[0].contains(words), "{words:?}: {result:?}");
    let others = CAUSES.iter().map(|(_, other)| *other).chain([CREDENTIALS]);
    others.filter(|other| *other != words).for_each(|other| assert!(!result.stderr.contains(other), "{result:?}"));
    if words != CREDENTIALS {
        assert!(!result.stderr.contains("credentials") && !result.stderr.contains("keys"), "{result:?}");
    }
}

/// Runs the program on a system that answers like this to one kind of request.
fn refused(mut command: Command, variable: &str, error: &str) -> RunResult {
    RunResult::from(command.env("LD_PRELOAD", refusals()).env(variable, error).output().unwrap())
}

#[test]
fn a_directory_that_cannot_be_written_is_about_files() {
    for (error, words) in CAUSES {
        let (sandbox, _) = Sandbox::with_snapshots(1);
        let run = |args: &[&str]| refused(sandbox.command(args), "REFUSE_NEW_FILES", error);
        assert_hint(&run(&["create", "--db", "a.db"]), words);
        assert_hint(&run(&["restore", "one", "--to", "b.db"]), words);
        assert_hint(&run(&["pin", "one"]), words);
        assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
    }
}

#[test]
fn a_file_beside_a_bucket_that_cannot_be_written_is_about_files() {
    for bucket in Bucket::both() {
        bucket.create("one");
        for (error, words) in CAUSES {
            let run = |args: &[&str]| refused(bucket.command(args), "REFUSE_NEW_FILES", error);
            assert_hint(&run(&["restore", "one", "--to", "b.db"]), words);
        }
    }
}

#[test]
fn a_directory_of_another_user_is_about_permissions() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    // Only its owner may use the directory of a store.
    fs::set_permissions(sandbox.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for args in
        [&["list"][..], &["create", "--db", "a.db"], &["verify", "--all"], &["delete", "one"], &["store", "check"]]
    {
        let mut command = sandbox.command(args);
        assert_hint(&RunResult::from(command.uid(NOBODY).gid(NOBODY).output().unwrap()), CAUSES[0].1);
    }
}

#[test]
fn a_bucket_that_refuses_is_about_credentials_or_its_quota() {
    for bucket in Bucket::both() {
        bucket.create("one");
        for verb in
            [&["list"][..], &["create", "--db", "a.db"], &["delete", "one"], &["restore", "one", "--to", "b.db"]]
        {
            bucket.server.wire().set(|_, _| Some(Fault::Status(403)));
            assert_hint(&bucket.run(verb), CREDENTIALS);
        }
        bucket.server.wire().set(|request, _| {
            let is_write = request.is_put() || request.is_initiate() || request.is_part_upload();
            is_write.then_some(Fault::Status(507))
        });
        let full = bucket.run(&["create", "--db", "a.db"]);
        full.assert_fails(1, "the server or its quota is full");
        assert!(!full.stderr.contains("`df`"), "{full:?}");
    }
}

#[test]
fn a_connection_that_the_system_refuses_is_about_the_network() {
    let bucket = Bucket::s3(S3Server::start());
    for error in ["13", "1"] {
        let result = refused(bucket.command(&["list"]), "REFUSE_CONNECT", error);
        result.assert_fails(1, "check the address and the network");
        for wrong in ["owner", "credentials", "this path"] {
            assert!(!result.stderr.contains(wrong), "{result:?}");
        }
    }
}

/// Runs the program with a standard output that is full.
fn without_output(sandbox: &Sandbox, args: &[&str]) -> RunResult {
    let full = File::options().write(true).open("/dev/full").unwrap();
    RunResult::from(sandbox.command(args).stdout(full).stderr(Stdio::piped()).output().unwrap())
}

/// Asserts that the output was the only failure, and that the hint says what was done.
#[track_caller]
fn assert_only_unprinted(result: &RunResult, done: &str) {
    result.assert_fails(1, "error: standard output could not be written\n  caused by: ");
    result.assert_fails(1, &format!("\n  hint: {done}"));
    for wrong in ["`df`", "full store", "free space", "quota"] {
        assert!(!result.stderr.contains(wrong), "{result:?}");
    }
}

#[test]
fn a_full_standard_output_is_no_full_store_and_says_what_was_done() {
    for json in [&[][..], &["--json", "--progress", "none"]] {
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        let run = |args: &[&str]| without_output(&sandbox, &[args, json].concat());
        for args in [&["list"][..], &["show", "one"], &["verify", "--all"], &["store", "check"]] {
            assert_only_unprinted(&run(args), "check the file or the device that the output goes to\n");
        }

        let created = run(&["create", "--db", "a.db", "--name", "two", "--base", "one"]);
        let two = sandbox.ids()[0].clone();
        assert_only_unprinted(&created, &format!("the snapshot {two} was created before that, and it is complete\n"));
        let compacted = run(&["compact", &two]);
        let compact = sandbox.ids().into_iter().find(|id| *id != two && *id != ids[0]).unwrap();
        assert_only_unprinted(&compacted, &format!("the snapshot {compact} was created before that"));
        assert_only_unprinted(
            &run(&["restore", "one", "--to", "b.db"]),
            "b.db was restored and verified before that\n",
        );
        assert_holds(&sandbox.path("b.db"), 300, 8);

        assert_only_unprinted(&run(&["pin", &two, &compact]), &format!("pinned before that: {two} {compact}\n"));
        assert_only_unprinted(&run(&["unpin", &two]), &format!("unpinned before that: {two}\n"));
        assert_only_unprinted(&run(&["delete", &two]), &format!("deleted before that: {two}\n"));
        // The plan is printed before anything is deleted, except in JSON.
        let pruned = run(&["prune", "--keep-last", "1", "--group-by", "none"]);
        let done = if json.is_empty() {
            "nothing was deleted\n".to_owned()
        } else {
            format!("deleted before that: {}\n", ids[0])
        };
        assert_only_unprinted(&pruned, &done);
        assert_eq!(sandbox.ids().len(), if json.is_empty() { 2 } else { 1 });
    }
}

#[test]
fn help_that_cannot_be_printed_is_a_failure() {
    let sandbox = Sandbox::empty();
    for args in
        [&["--help"][..], &["create", "--help"], &["--version"], &["completions", "bash"], &["store", "options"]]
    {
        assert_only_unprinted(&without_output(&sandbox, args), "check the file or the device");
    }
    assert!(!Path::new("snapshots").exists());
}
