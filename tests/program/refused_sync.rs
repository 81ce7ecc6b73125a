//! File systems that refuse to sync a directory after something in it has changed, or to lock a file. What the program
//! says, and its exit code, agree with what is there.
//!
//! `refusals.c` is preloaded into the program and answers instead of the system.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

pub(crate) use test_fixtures::refusals;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, assert_holds, create_database};

/// EINVAL, ENOSYS and EOPNOTSUPP of Linux: a directory cannot be synced.
const UNSUPPORTED: [&str; 3] = ["22", "38", "95"];
/// EIO of Linux.
const FAILED: &str = "5";

/// Runs the program on a system that answers a sync of a directory with this error.
fn run(sandbox: &Sandbox, error: &str, args: &[&str]) -> RunResult {
    let mut command = sandbox.command(args);
    let output = command.env("LD_PRELOAD", refusals()).env("REFUSE_DIRECTORY_SYNC", error).output();
    RunResult::from(output.unwrap())
}

#[test]
fn everything_works_where_directories_cannot_be_synced() {
    for error in UNSUPPORTED {
        let sandbox = Sandbox::with_rows(300);
        let ok = |args: &[&str]| {
            let result = run(&sandbox, error, args);
            // Of a store, only `store check` says it.
            let expected = if ["restore", "store"].contains(&args[0]) { 5 } else { 0 };
            assert_eq!(result.exit_code, Some(expected), "{error}, {args:?}: {result:?}");
            result
        };
        ok(&["create", "--db", "a.db", "--name", "full"]);
        ok(&["create", "--db", "a.db", "--name", "increment", "--base", "full"]);
        ok(&["compact", "increment"]);
        ok(&["pin", "full"]);
        let checked = ok(&["store", "check"]).stdout;
        let warning = checked.lines().find(|line| line.trim_start().starts_with("sync directories"));
        assert!(warning.is_some_and(|line| line.contains("WARN")), "{checked}");
        assert!(checked.contains("snapshots are safe at"), "{checked}");
        assert!(ok(&["verify", "--all"]).stdout.ends_with("3 snapshots intact\n"));

        let created = ok(&["restore", "full", "--to", "b.db"]);
        assert!(
            created.stderr.contains("b.db was created, but the file system does not sync directories"),
            "{created:?}"
        );
        assert_holds(&sandbox.path("b.db"), 300, 8);
        create_database(&sandbox.path("c.db"), 7, 8);
        let replaced = ok(&["restore", "full", "--to", "c.db", "--force", "--quiet"]);
        assert!(replaced.stderr.contains("c.db was replaced, but the file system"), "{replaced:?}");
        assert_holds(&sandbox.path("c.db"), 300, 8);

        ok(&["unpin", "full"]);
        ok(&["delete", "full", "--cascade"]);
        ok(&["create", "--db", "a.db"]);
        assert!(ok(&["prune", "--keep", "1"]).stdout.contains(", 1 deleted"));
        assert_eq!(sandbox.names("snapshots").len(), 1);
        assert_eq!(sandbox.names("."), ["a.db", "b.db", "c.db", "snapshots"]);
    }
}

#[test]
fn a_restore_whose_directory_fails_to_sync_says_what_is_there() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    create_database(&sandbox.path("old.db"), 7, 8);
    let inode = fs::metadata(sandbox.path("old.db")).unwrap().ino();
    let (one, verified) =
        ("restore", "and is the restored and verified database, but its directory could not be synced");
    for (to, force, done, risk) in [
        ("new.db", &[][..], "the file was created, ", "it may be missing"),
        ("old.db", &["--force"], "the file was replaced, ", "the old file may be back"),
    ] {
        let result = run(&sandbox, FAILED, &[&[one, "one", "--to", to], force].concat());
        for text in [done, verified, risk, to] {
            result.assert_fails(1, text);
        }
        assert!(!result.stderr.contains("not changed"), "{result:?}");
        assert_holds(&sandbox.path(to), 300, 8);
    }
    assert_ne!(fs::metadata(sandbox.path("old.db")).unwrap().ino(), inode);
    assert_eq!(sandbox.names("."), ["a.db", "new.db", "old.db", "snapshots"]);
}

#[test]
fn a_create_whose_directory_fails_to_sync_leaves_no_snapshot() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    for args in [&["create", "--db", "a.db"][..], &["create", "--db", "a.db", "--base", "one"]] {
        let result = run(&sandbox, FAILED, args);
        assert_eq!(result.exit_code, Some(1), "{result:?}");
        assert_eq!(sandbox.ids(), ids);
        assert_eq!(sandbox.names("snapshots").len(), 1, "{result:?}");
    }
    let result = run(&sandbox, FAILED, &["create", "--db", "a.db", "--store", "new"]);
    result.assert_fails(1, "cannot create the directory of the store");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
}

#[test]
fn a_pin_or_a_deletion_whose_directory_fails_to_sync_says_what_is_there() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    assert_eq!(run(&sandbox, FAILED, &["pin", "one"]).exit_code, Some(1));
    assert_eq!(sandbox.json(&["show", "one"]).1["snapshots"][0]["pinned"], false);
    // The deletion marker cannot be written durably.
    let result = run(&sandbox, FAILED, &["delete", "one"]);
    result.assert_fails(1, "hint: nothing was deleted");
    assert_eq!(sandbox.ids().len(), 2);
    sandbox.ok(&["pin", &ids[0]]);
    let result = run(&sandbox, FAILED, &["unpin", "one"]);
    result.assert_fails(1, "pinned.json was removed, but its directory could not be synced");
    assert_eq!(sandbox.json(&["show", "one"]).1["snapshots"][0]["pinned"], false);
}

/// What a command does, and what it says if it fails.
struct Case {
    args: &'static [&'static str],
    /// The number of snapshots before it and after it.
    snapshots: (usize, usize),
}

/// Fails one sync of a directory after the other, until the command makes no more of them.
#[test]
fn whichever_sync_fails_the_exit_code_and_the_message_agree_with_what_is_there() {
    let template = Sandbox::with_rows(300);
    // With a name of its own, a copy of the database is the same source.
    template.ok(&["create", "--db", "a.db", "--source", "a", "--name", "one"]);
    template.ok(&["create", "--db", "a.db", "--source", "a", "--name", "increment", "--base", "one"]);
    for case in [
        Case { args: &["create", "--db", "a.db"], snapshots: (2, 3) },
        Case { args: &["create", "--db", "a.db", "--source", "a", "--base", "increment"], snapshots: (2, 3) },
        Case { args: &["compact", "increment"], snapshots: (2, 3) },
        Case { args: &["delete", "increment"], snapshots: (2, 1) },
        Case { args: &["delete", "one", "--cascade"], snapshots: (2, 0) },
    ] {
        let mut refused = 0;
        for number in 0.. {
            let sandbox = copy_of(&template);
            let mut command = sandbox.command(case.args);
            command.env("LD_PRELOAD", refusals()).env("REFUSE_DIRECTORY_SYNC", FAILED);
            let result = RunResult::from(command.env("REFUSE_ONLY", number.to_string()).output().unwrap());
            assert_agrees(&sandbox, &case, &result);
            if !result.stderr.contains("(refused)") {
                assert!(matches!(result.exit_code, Some(0 | 5)), "{result:?}");
                break;
            }
            refused += 1;
        }
        assert!(refused > 1, "{:?}: {refused}", case.args);
    }
}

fn copy_of(template: &Sandbox) -> Sandbox {
    let sandbox = Sandbox::empty();
    for name in template.names(".") {
        let copied = Command::new("cp").arg("-r").arg(template.path(&name)).arg(sandbox.path(&name)).status();
        assert!(copied.unwrap().success());
    }
    sandbox
}

/// Asserts that a command did what its exit code and its message say, and damaged nothing.
#[track_caller]
fn assert_agrees(sandbox: &Sandbox, case: &Case, result: &RunResult) {
    let there = sandbox.ids().len();
    let (before, after) = case.snapshots;
    let says = |text: &str| result.stderr.contains(text);
    let is_truth = match result.exit_code {
        // The copy of the database has another path.
        Some(0 | 5) => there == after,
        _ if after > before => there == before || there == after && says("may"),
        _ if says("nothing was deleted") => there == before,
        _ if says("hint: the snapshot was deleted") || says("all of them were deleted") => there == after,
        _ => says("deleted: ") && says("kept: ") && there < before && there > after,
    };
    assert!(is_truth, "{:?}: {there} snapshots are there after {result:?}", case.args);
    let verified = sandbox.run(&["verify", "--all"]);
    assert_eq!(
        verified.exit_code,
        Some(if there == 0 { 4 } else { 0 }),
        "{:?}: {verified:?} after {result:?}",
        case.args
    );
}

#[test]
fn a_file_system_without_locks_has_no_open_databases() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    create_database(&sandbox.path("b.db"), 7, 8);
    let mut command = sandbox.command(&["restore", "one", "--to", "b.db", "--force"]);
    command.env("LD_PRELOAD", refusals()).env("REFUSE_LOCK_OF", sandbox.path("b.db"));
    let result = RunResult::from(command.output().unwrap());
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    assert_holds(&sandbox.path("b.db"), 300, 8);
}

/// EPERM of Linux.
const NOT_PERMITTED: &str = "1";

#[test]
fn an_owner_that_may_not_be_set_is_found_out_before_anything_is_downloaded() {
    // Only root can give a file to another user.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let [bucket, _] = Bucket::both();
    bucket.create("one");
    let path = bucket.sandbox.path("b.db");
    create_database(&path, 7, 8);
    std::os::unix::fs::chown(&path, Some(12_345), Some(12_345)).unwrap();
    let before = fs::read(&path).unwrap();
    bucket.server.wire().reset_log();
    let mut command = bucket.command(&["restore", "one", "--to", "b.db", "--force"]);
    command.env("LD_PRELOAD", refusals()).env("REFUSE_CHOWN", NOT_PERMITTED);
    let result = RunResult::from(command.output().unwrap());
    result.assert_fails(
        1,
        "cannot give the restored database the owner and the permissions of the file that it replaces",
    );
    result.assert_fails(1, "b.db");
    result.assert_fails(1, "the file was not changed. Run the command as its owner or as root");
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(bucket.sandbox.names("."), ["a.db", "b.db"]);
    let requests = bucket.server.wire().requests();
    assert!(
        !requests.iter().any(|request| request.is_get() && request.key().ends_with("vectors.bin.gz")),
        "{requests:?}"
    );
    // Where it is allowed, the owner stays.
    bucket.ok(&["restore", "one", "--to", "b.db", "--force"]);
    assert_eq!(fs::metadata(&path).unwrap().uid(), 12_345);
}
