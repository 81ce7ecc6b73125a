//! A store that is not where the user thinks: mistyped, not mounted, empty, or inside a snapshot of another one.

use std::fs;

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, files_below};

const CREATE: [&str; 3] = ["create", "--db", "a.db"];

#[test]
fn create_makes_the_last_level_of_a_store_only() {
    let sandbox = Sandbox::with_rows(10);
    for store in ["mnt/backup/prod", "mnt/backup", "mnt/../mnt/backup/prod"] {
        for more in [&[][..], &["--require-store"]] {
            let result = sandbox.run(&[&CREATE[..], &["--store", store], more].concat());
            result.assert_fails(1, if more.is_empty() { "mnt does not exist" } else { "the directory does not exist" });
            result.assert_fails(1, "mount");
        }
    }
    // The command in the message is all that is needed.
    let result = sandbox.run(&[&CREATE[..], &["--store", "my disk/a/b/store"]].concat());
    let parent = sandbox.path("").canonicalize().unwrap().join("my disk/a/b");
    result.assert_fails(1, &format!("mkdir -p '{}'\n", parent.display()));
    sandbox.run(&["list"]).assert_fails(1, "no store is given, so it is ./snapshots in this directory");
    let empty = sandbox.command(&["list"]).env("RUVECTOR_SNAPSHOT_STORE", "").output().unwrap();
    RunResult::from(empty).assert_fails(2, "RUVECTOR_SNAPSHOT_STORE is set, but empty");
    let url = format!("file://{}", sandbox.path("mnt/backup").display());
    let result = sandbox.run(&[&CREATE[..], &["--store", &url]].concat());
    result.assert_fails(1, &format!("the directory {} does not exist", sandbox.path("mnt").display()));
    std::os::unix::fs::symlink("mnt", sandbox.path("link")).unwrap();
    sandbox
        .run(&[&CREATE[..], &["--store", "link"]].concat())
        .assert_fails(1, "link to a directory that does not exist");
    assert_eq!(sandbox.names("."), ["a.db", "link"]);

    fs::create_dir(sandbox.path("mnt")).unwrap();
    let result = sandbox.run(&[&CREATE[..], &["--store", "mnt/backup/prod"]].concat());
    result.assert_fails(1, "mnt/backup does not exist");
    assert_eq!(sandbox.names("mnt"), [""; 0]);
    sandbox.ok(&[&CREATE[..], &["--store", "mnt/backup"]].concat());
    sandbox.ok(&[&CREATE[..], &["--store", "link/prod"]].concat());
    assert_eq!(sandbox.names("mnt"), ["backup", "prod"]);
}

#[test]
fn create_says_that_a_store_is_new() {
    let disk = Sandbox::with_rows(10);
    let run = |args: &[&str]| (disk.ok(args), disk.json(args));
    assert_new_once(&run, "./snapshots");
    // A directory that exists is a new store too, and so is one with other files.
    fs::create_dir_all(disk.path("empty/other")).unwrap();
    let at_empty = |args: &[&str]| run(&[args, &["--store", "empty"]].concat());
    assert_new_once(&at_empty, "empty");
    for bucket in Bucket::both() {
        assert_new_once(&|args: &[&str]| (bucket.ok(args), bucket.json(args)), &bucket.store);
    }
}

/// Runs the program twice, without and with `--json`, and returns what it printed, its exit code and its document.
type Run<'a> = dyn Fn(&[&str]) -> (String, (i32, Value)) + 'a;

/// Asserts that the first create says that the store is new, and no other.
#[track_caller]
fn assert_new_once(run: &Run<'_>, store: &str) {
    let (printed, (exit_code, document)) = run(&CREATE);
    assert!(printed.contains(&format!("store         NEW: there were no snapshots at {store} before\n")), "{printed}");
    assert_eq!((exit_code, &document["store_is_new"]), (0, &json!(false)), "{document}");
    for more in [&[][..], &["--base", "latest"], &["--require-store"]] {
        let (printed, (exit_code, document)) = run(&[&CREATE[..], more].concat());
        assert!(!printed.contains("NEW"), "{printed}");
        assert_eq!((exit_code, &document["store_is_new"]), (0, &json!(false)), "{document}");
    }
}

#[test]
fn the_document_of_the_first_create_says_that_the_store_is_new() {
    let disk = Sandbox::with_rows(10);
    assert_eq!(disk.json(&CREATE).1["store_is_new"], true);
    let bucket = Bucket::both().into_iter().next().unwrap();
    assert_eq!(bucket.json(&CREATE).1["store_is_new"], true);
}

#[test]
fn a_required_store_must_have_a_snapshot() {
    let disk = Sandbox::with_rows(10);
    let require = [&CREATE[..], &["--require-store"]].concat();
    disk.run(&require).assert_fails(1, "the directory does not exist");
    assert_eq!(disk.names("."), ["a.db"]);
    fs::create_dir(disk.path("snapshots")).unwrap();
    disk.run(&require).assert_fails(4, "there are no snapshots at ");
    disk.run(&require).assert_fails(4, "hint: check --store ./snapshots, and that the disk is mounted");
    assert_eq!(disk.json(&require).1["error"]["kind"], "not_found");
    assert_eq!(disk.names("snapshots"), [""; 0]);
    // What an interrupted create has left is no snapshot.
    let id = disk.create("one");
    fs::remove_file(disk.stored(&id, "metadata.json")).unwrap();
    disk.run(&require).assert_fails(4, "there are no snapshots at ");
    let two = disk.create("two");
    disk.ok(&require);
    // A corrupt snapshot is one that was there.
    disk.ids().iter().filter(|id| **id != two).for_each(|id| drop(disk.ok(&["delete", id])));
    fs::write(disk.stored(&two, "metadata.json"), "{}").unwrap();
    disk.ok_with_warning(&require, "the new snapshot is not compared with 1 snapshot that could not be read");

    for bucket in Bucket::both() {
        bucket.run(&require).assert_fails(4, &format!("there are no snapshots at {}", bucket.store));
        assert!(bucket.server.keys().is_empty());
        bucket.create("one");
        bucket.ok(&require);
    }
}

#[test]
fn verify_all_of_a_store_without_snapshots_has_an_exit_code_of_its_own() {
    let disk = Sandbox::with_rows(10);
    fs::create_dir(disk.path("snapshots")).unwrap();
    let verify = ["verify", "--all", "--quiet"];
    disk.run(&verify).assert_fails(4, "there are no snapshots at ./snapshots, so nothing was verified");
    disk.run(&verify).assert_fails(4, "that the disk is mounted");
    let (exit_code, document) = disk.json(&verify);
    assert_eq!((exit_code, &document["error"]["kind"]), (4, &json!("nothing_there")), "{document}");
    assert_eq!(document["error"]["exit_code"], 4);
    // The other commands.
    assert!(disk.run(&["list"]).stdout.starts_with("no snapshots at ./snapshots yet"));
    assert_eq!(disk.run(&["prune", "--keep", "1"]).stdout, "no snapshots at ./snapshots, nothing to delete\n");
    for args in [&["show", "latest"][..], &["verify", "latest"], &["restore", "latest", "--to", "b.db"]] {
        disk.run(args).assert_fails(4, "the store has no snapshots");
    }
    // An upload is not a snapshot. A corrupt snapshot is one.
    let id = disk.create("one");
    let metadata = fs::read(disk.stored(&id, "metadata.json")).unwrap();
    fs::remove_file(disk.stored(&id, "metadata.json")).unwrap();
    assert_eq!(disk.run(&verify).exit_code, Some(4));
    fs::write(disk.stored(&id, "metadata.json"), "{}").unwrap();
    assert_eq!(disk.run(&verify).exit_code, Some(3));
    fs::write(disk.stored(&id, "metadata.json"), metadata).unwrap();
    disk.ok(&verify);

    for bucket in Bucket::both() {
        bucket.run(&verify).assert_fails(4, &format!("there are no snapshots at {}", bucket.store));
        bucket.create("one");
        bucket.ok(&verify);
    }
}

#[test]
fn a_store_inside_a_snapshot_is_refused() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let snapshot = format!("snapshots/snapshot-{}", ids[0]);
    fs::create_dir(sandbox.path(&snapshot).join("below")).unwrap();
    std::os::unix::fs::symlink(&snapshot, sandbox.path("link")).unwrap();
    let before = files_below(&sandbox.path("snapshots"));
    let stores = [
        snapshot.clone(),
        format!("{snapshot}/"),
        format!("{snapshot}/below"),
        format!("{snapshot}/new"),
        format!("{snapshot}/new/newer"),
        format!("file://{}", sandbox.path(&snapshot).display()),
        "link".to_owned(),
        "link/new".to_owned(),
        format!("s3://bucket/prod/snapshot-{}", ids[0]),
        format!("gs://bucket/snapshot-{}/below", ids[0]),
    ];
    for store in &stores {
        let create = CREATE.to_vec();
        for args in
            [create, vec!["list"], vec!["verify", "--all"], vec!["prune", "--keep", "1"], vec!["store", "check"]]
        {
            let result = sandbox.run(&[&args[..], &["--store", store]].concat());
            result.assert_fails(2, "a store cannot be inside a snapshot");
            result.assert_fails(2, &format!("use the directory or prefix that contains snapshot-{}", ids[0]));
        }
    }
    assert!(files_below(&sandbox.path("snapshots")) == before);
    assert_eq!(sandbox.names(&snapshot).len(), 6);
    // Names that only look alike are no snapshots.
    sandbox.ok(&[&CREATE[..], &["--store", "snapshot-20260131T080000000Z"]].concat());
}

#[test]
fn a_store_without_snapshots_names_the_directory_inside_that_has_some() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for (args, exit_code) in
        [(&["list"][..], 4), (&["stats"], 4), (&["verify", "--all"], 4), (&["create", "--db", "a.db"], 5)]
    {
        let result = sandbox.run(&[&["--store", "."], args].concat());
        let printed = format!("{}{}", result.stdout, result.stderr);
        assert_eq!(result.exit_code, Some(exit_code), "{result:?}");
        assert!(printed.contains("(there are snapshots at ./snapshots)"), "{result:?}");
    }
    assert!(!sandbox.ok(&["--store", ".", "list"]).contains("there are snapshots at"));
    let inside = ["--store", "corrupt", "create", "--db", "a.db"];
    sandbox.ok_with_warning(&inside, "is inside of the store");
    std::fs::create_dir(sandbox.path("above")).unwrap();
    for store in ["snapshots", "corrupt"] {
        std::fs::rename(sandbox.path(store), sandbox.path("above").join(store)).unwrap();
    }
    let result = sandbox.run(&["--store", "above", "list"]);
    assert!(result.stdout.contains("(there are snapshots at above/corrupt, above/snapshots)"), "{result:?}");
}
