//! `--dry-run` says that a store cannot be written to, as far as that shows without writing.

use std::fs;

use test_servers::S3Server;

use super::Place;
use crate::bucket::Bucket;
use crate::destinations::{Shell, tree_with_times};
use crate::sandbox::Sandbox;

#[test]
fn a_copy_to_a_directory_that_cannot_be_written_would_fail() {
    let (sandbox, _) = Sandbox::with_snapshots(2);
    fs::create_dir(sandbox.path("target")).unwrap();
    sandbox.ok(&["copy", "one", "--to", "target"]);
    let Some(shell) = Shell::with_mounts("mount --bind target target && mount -o remount,ro,bind target &&") else {
        return;
    };
    let before = tree_with_times(&sandbox);
    for to in ["target", "target/new"] {
        let args = ["copy", "--all", "--to", to, "--dry-run"];
        let planned = shell.run(sandbox.command(&args));
        planned.assert_fails(1, "Read-only file system");
        let (exit_code, document) = shell.run(sandbox.command(&[&args[..], &["--json"]].concat())).into_json();
        assert_eq!((exit_code, document["error"]["exit_code"].as_i64()), (1, Some(1)), "{document}");
        assert_eq!(shell.run(sandbox.command(&["copy", "--all", "--to", to])).exit_code, Some(1));
    }
    // What is there already needs no permission.
    assert_eq!(shell.run(sandbox.command(&["copy", "one", "--to", "target", "--dry-run"])).exit_code, Some(0));
    assert_eq!(tree_with_times(&sandbox), before);
}

#[test]
fn a_copy_to_a_path_that_cannot_be_created_would_fail() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let place = Place::Disk(sandbox);
    for (to, problem) in [("missing/new", "does not exist"), ("a.db", "this is a file"), ("a.db/new", "a.db")] {
        place.dry(&["copy", "--all", "--to", to]).0.assert_fails(1, problem);
        assert_eq!(place.run(&["copy", "--all", "--to", to]).exit_code, Some(1), "{to}");
    }
    let (_, document) = place.would(&["copy", "--all", "--to", "new"]);
    assert_eq!(document["write_checked"], true);
    place.ok(&["copy", "--all", "--to", "new"]);
    assert!(place.would(&["copy", "--all", "--to", "new"]).1["write_checked"].is_null());
}

#[test]
fn a_copy_to_a_bucket_says_that_writing_was_not_tried() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    let to = format!("{}-offsite", bucket.store);
    let place = Place::Bucket(bucket);
    let (printed, document) = place.would(&["copy", "--all", "--to", &to]);
    assert!(printed.contains("whether the target can be written to was not tried"), "{printed}");
    assert_eq!(document["write_checked"], false);
}

#[test]
fn a_store_that_cannot_be_written_is_said_by_a_pin_and_a_check() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let script = "mount --bind snapshots snapshots && mount -o remount,ro,bind snapshots &&";
    let Some(shell) = Shell::with_mounts(script) else { return };
    for args in [&["pin", "one"][..], &["annotate", "one", "--note", "x"], &["store", "check"]] {
        let planned = shell.run(sandbox.command(&[args, &["--dry-run"]].concat()));
        planned.assert_fails(1, "the file system is mounted read-only");
        assert_eq!(shell.run(sandbox.command(args)).exit_code, Some(1));
    }
    assert_eq!(shell.run(sandbox.command(&["unpin", "one", "--dry-run"])).exit_code, Some(0));
    // It has none, so nothing would be written.
    assert_eq!(shell.run(sandbox.command(&["annotate", "one", "--remove-note", "--dry-run"])).exit_code, Some(0));
}

#[test]
fn a_store_that_cannot_be_written_is_said_by_a_delete_and_a_prune() {
    let (sandbox, _) = Sandbox::with_snapshots(2);
    let script = "mount --bind snapshots snapshots && mount -o remount,ro,bind snapshots &&";
    let Some(shell) = Shell::with_mounts(script) else { return };
    for (args, plan) in [(&["delete", "one"][..], "would delete "), (&["prune", "--keep-last", "1"], "drop  ")] {
        let planned = shell.run(sandbox.command(&[args, &["--dry-run"]].concat()));
        planned.assert_fails(1, "Read-only file system");
        assert!(planned.stdout.contains(plan), "{planned:?}");
        assert_eq!(shell.run(sandbox.command(args)).exit_code, Some(1));
    }
    // Nothing is to be deleted.
    let nothing = ["prune", "--keep-last", "2", "--dry-run"];
    assert_eq!(shell.run(sandbox.command(&nothing)).exit_code, Some(0));
}

#[test]
fn a_deletion_from_a_bucket_says_that_writing_was_not_tried() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    bucket.create("two");
    for (place, checked) in [(Place::Bucket(bucket), false), (Place::Disk(Sandbox::with_snapshots(2).0), true)] {
        for args in [&["delete", "one"][..], &["prune", "--keep-last", "1"]] {
            let (printed, document) = place.would(args);
            assert_eq!(printed.contains("whether the store can be written to"), !checked, "{printed}");
            assert_eq!(document["write_checked"], checked, "{document}");
        }
    }
}
