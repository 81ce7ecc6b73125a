//! A store in which nothing can be written any more, because a disk or a quota is full: deletions say how to make room, and
//! with --exclusive they do.
//!
//! `refusals.c` is preloaded into the program and answers instead of the file system.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use test_fixtures::make_old;
use test_servers::Fault;

use super::bucket::Bucket;
use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox, ids_of};

/// ENOSPC and EDQUOT of Linux.
const FULL: [&str; 2] = ["28", "122"];

const MARKER: &str = "the store is full, so the marker that announces a deletion cannot be written";
const HINT: &str = "if no other command is at work at this store, repeat this command with --exclusive";

/// The snapshots of `run`: three of one chain, which are named one, two and three, oldest first, and a full one, four.
fn assert_exclusive_makes_room(ids: &[String; 4], run: &dyn Fn(&[&str]) -> RunResult) {
    let json = |args: &[&str]| run(&[args, &["--json"]].concat()).into_json();
    let listed = || ids_of(&json(&["list"]).1);
    let [one, two, three, four] = ids.clone();

    // The words of the command line, in text and in JSON, and nothing has changed.
    let refused = run(&["delete", "three"]);
    for text in [MARKER, "hint: nothing was deleted; make room in the store", HINT] {
        refused.assert_fails(1, text);
    }
    let (exit_code, document) = json(&["prune", "--keep-last", "1", "--group-by", "none", "--grace", "0s"]);
    assert_eq!((exit_code, &document["error"]["kind"]), (1, &json!("storage_full")), "{document}");
    assert!(document["error"]["hint"].as_str().unwrap().contains(HINT), "{document}");
    assert_eq!(listed(), [four.clone(), three.clone(), two.clone(), one.clone()]);

    // Everything that protects a snapshot protects it as before.
    run(&["delete", "one", "--exclusive"]).assert_fails(1, "it");
    run(&["delete", "one", "--exclusive", "--dry-run"]).assert_fails(1, "it");
    assert_eq!(listed().len(), 4);

    let (exit_code, document) = json(&["delete", "three", "--exclusive"]);
    assert_eq!((exit_code, &document["deleted"]), (0, &json!([three])), "{document}");
    // The results cannot be recorded.
    let (exit_code, document) = json(&["verify", "--all"]);
    assert_eq!((exit_code, &document["state"]), (5, &json!("intact")), "{document}");
    let (exit_code, document) = json(&["delete", "one", "--cascade", "--exclusive"]);
    assert_eq!((exit_code, &document["deleted"]), (0, &json!([two, one])), "{document}");
    assert_eq!(listed(), [four]);
    assert_eq!(json(&["delete", "four", "--exclusive"]).0, 5);
}

/// Creates a chain and a full snapshot, and returns their ids, oldest first.
fn create_four(run: &dyn Fn(&[&str]) -> RunResult) -> [String; 4] {
    let create = |args: &[&str]| -> String {
        let (exit_code, document) = run(&[&["create", "--db", "a.db", "--json"], args].concat()).into_json();
        assert_eq!(exit_code, 0, "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    };
    let one = create(&["--name", "one"]);
    let two = create(&["--name", "two", "--base", "one"]);
    let three = create(&["--name", "three", "--base", "two"]);
    [one, two, three, create(&["--name", "four"])]
}

/// Returns a command that runs on a file system which creates no more files and directories.
fn full(sandbox: &Sandbox, error: &str, args: &[&str]) -> Command {
    let mut command = sandbox.command(args);
    command.env("LD_PRELOAD", refusals()).env("REFUSE_NEW_FILES", error);
    command
}

#[test]
fn an_exclusive_deletion_makes_room_on_a_full_disk() {
    for error in FULL {
        let sandbox = Sandbox::with_rows(300);
        let ids = create_four(&|args| sandbox.run(args));
        let run = |args: &[&str]| RunResult::from(full(&sandbox, error, args).output().unwrap());
        let said = if error == FULL[0] { "the disk is full\n" } else { "the disk quota is used up\n" };
        run(&["create", "--db", "a.db"]).assert_fails(1, said);
        assert_exclusive_makes_room(&ids, &run);
        assert_eq!(sandbox.names("snapshots"), Vec::<String>::new());
    }
}

#[test]
fn an_exclusive_deletion_makes_room_in_a_bucket_whose_quota_is_used_up() {
    let answers = [
        // MinIO, Ceph, Garage and Backblaze, a proxy without words.
        (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."),
        (400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"),
        (403, "QuotaExceeded", ""),
        (403, "AccessDenied", "Forbidden: Object quota is reached, maximum objects for this bucket: 3"),
        (403, "AccessDenied", "Cannot upload files, storage cap exceeded."),
        (507, "", ""),
    ];
    for (status, code, message) in answers {
        for bucket in Bucket::both() {
            let ids = create_four(&|args| bucket.run(args));
            bucket.server.wire().set(move |request, _| {
                let is_write = request.is_put() || request.is_initiate() || request.is_part_upload();
                is_write.then_some(Fault::Error { status, code, message })
            });
            let created = bucket.run(&["create", "--db", "a.db"]);
            created.assert_fails(1, "the server or its quota is full");
            assert_exclusive_makes_room(&ids, &|args| bucket.run(args));
            assert_eq!(bucket.server.keys(), Vec::<String>::new());
        }
    }
}

#[test]
fn an_exclusive_prune_removes_what_interrupted_commands_have_left() {
    let sandbox = Sandbox::with_rows(300);
    let ids = create_four(&|args| sandbox.run(args));
    let [upload, staged, deleted] = [
        "20260101T080000000Z-0000000000000001",
        "20260101T080000000Z-0000000000000002",
        "20260101T080000000Z-0000000000000003",
    ];
    for (id, file) in [
        (upload, "index.bin.gz"),
        (staged, "vectors.bin.gz#1"),
        (deleted, "vectors.bin.gz"),
        (deleted, "deleting-0123456789abcdef"),
        // Of another deletion, which was interrupted beside a snapshot: it does not stop this one.
        (ids[2].as_str(), "deleting-0123456789abcdef"),
    ] {
        let path = sandbox.stored(id, file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "half").unwrap();
        make_old(&path);
    }
    let run = |args: &[&str]| RunResult::from(full(&sandbox, "28", args).output().unwrap());
    let prune = ["prune", "--keep-last", "1", "--group-by", "none", "--grace", "1h"];
    let refused = run(&prune);
    refused.assert_fails(1, MARKER);
    refused.assert_fails(1, HINT);
    let (exit_code, document) = run(&[&prune[..], &["--exclusive", "--json"]].concat()).into_json();
    assert_eq!(exit_code, 0, "{document}");
    let kinds: Vec<&Value> = document["collected"].as_array().unwrap().iter().map(|orphan| &orphan["kind"]).collect();
    assert_eq!(kinds, ["upload", "staged", "deletion", "marker"], "{document}");
    let (_, listing) = run(&["list", "--json"]).into_json();
    assert_eq!((ids_of(&listing), &listing["pending_uploads"]), (vec![ids[3].clone()], &json!([])));
    assert_eq!(sandbox.names("snapshots").len(), 1);
}

#[test]
fn an_upload_in_progress_keeps_its_bases_from_an_exclusive_deletion() {
    for bucket in Bucket::both() {
        let [one, ..] = create_four(&|args| bucket.run(args));
        bucket.ok(&["delete", "two", "--cascade", "--exclusive"]);
        let upload = "backups/prod/snapshot-20991231T080000000Z-0123456789abcdef/upload.json";
        bucket.server.put(upload, json!({ "base_ids": [one] }).to_string().as_bytes());
        bucket.run(&["delete", "one", "--exclusive"]).assert_fails(1, "depends on it");
        assert_eq!(bucket.json(&["verify", "--all"]).0, 0);
    }
}

/// EACCES.
const DENIED: &str = "13";

#[test]
fn what_is_not_permitted_has_the_same_advice_in_every_command() {
    let sandbox = Sandbox::with_rows(300);
    create_four(&|args| sandbox.run(args));
    let advice = "check the owner and the permissions of this path, and which user runs this program";
    for args in [
        &["create", "--db", "a.db"][..],
        &["pin", "four"],
        &["annotate", "four", "--note", "x"],
        &["delete", "four"],
        &["prune", "--keep-last", "1", "--group-by", "none"],
    ] {
        let result = RunResult::from(full(&sandbox, DENIED, args).output().unwrap());
        result.assert_fails(1, advice);
        assert_eq!(
            result.stderr.contains("hint: nothing was deleted; check"),
            matches!(args[0], "delete" | "prune"),
            "{result:?}"
        );
    }
}

#[test]
fn what_is_pinned_already_is_not_written_again() {
    for error in [FULL[0], DENIED] {
        let (sandbox, ids) = Sandbox::with_snapshots(2);
        sandbox.ok(&["pin", "one"]);
        let pin = |name: &str| RunResult::from(full(&sandbox, error, &["pin", name]).output().unwrap());
        let pinned = pin("one");
        assert_eq!((pinned.exit_code, pinned.stdout), (Some(0), format!("was already pinned: {}  one\n", ids[0])));
        assert_eq!(pin("two").exit_code, Some(1));
        assert_eq!(sandbox.json(&["show", "two"]).1["snapshots"][0]["pinned"], false);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_check_of_a_full_store_leaves_nothing() {
    use super::destinations::Shell;
    // A directory of the check, and no file in it.
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("d")).unwrap();
    let mounts = "mount -t tmpfs -o size=1m,nr_inodes=2 none d && \"$0\" \"$@\"; echo $?; ls -A d; exit 0;";
    let Some(shell) = Shell::with_mounts(mounts) else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    let result = shell.run(sandbox.command(&["store", "check", "--store", "d"]));
    assert!(result.stdout == "1\n" && result.stderr.contains("the disk is full"), "{result:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_demo_on_a_full_disk_names_it_and_what_is_left() {
    use super::destinations::Shell;
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("d")).unwrap();
    let mounts = "mount -t tmpfs -o size=1m none d && \"$0\" \"$@\"; echo $?; find d; exit 0;";
    let Some(shell) = Shell::with_mounts(mounts) else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    let result = shell.run(sandbox.command(&["demo", "d/demo"]));
    assert!(result.stdout.contains("\n1\nd\nd/demo\n"), "{result:?}");
    for text in [
        "d/demo/live.db: cannot write the database of the demo",
        "hint: the files of the demo so far are in d/demo; remove them before the next one there; free space on the disk",
    ] {
        assert!(result.stderr.contains(text), "{text:?} is not in {result:?}");
    }
}
