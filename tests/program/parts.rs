//! Parts of a snapshot: `restore` and `dump` with --id, --ids-from and --where, and `restore --merge`.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use ruvector_core::VectorEntry;
use serde_json::{Value, json};
use test_fixtures::{Records, json_object, records_of_file};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::refused_sync::refusals;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, open_database};

fn ids(path: &std::path::Path) -> Vec<String> {
    records_of_file(path).0.into_keys().collect()
}

fn assert_parts(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        result.stdout
    };
    ok(&["create", "--db", "a.db", "--name", "full"]);
    open_database(&sandbox.path("a.db"), DIMENSIONS).delete("id-000003").unwrap();
    ok(&["create", "--db", "a.db", "--name", "newest", "--base", "latest"]);
    let printed = ok(&["restore", "latest", "--to", "b.db", "--id", "id-000001", "--id", "id-000299"]);
    assert!(printed.starts_with("restored 2 of 299 records of "), "{printed}");
    assert!(printed.contains("that of the part, not that of the snapshot"), "{printed}");
    assert_eq!(ids(&sandbox.path("b.db")), ["id-000001", "id-000299"]);

    let args = ["restore", "latest", "--to", "b.db", "--force", "--where", "n<8", "--where", "seed exists", "--json"];
    let (exit_code, document) = run(&args).into_json();
    assert_eq!(exit_code, 0, "{document}");
    // Every third record has no metadata.
    assert_eq!(ids(&sandbox.path("b.db")), ["id-000001", "id-000002", "id-000004", "id-000005", "id-000007"]);
    assert_eq!((&document["records"], &document["records_in_snapshot"]), (&json!(5), &json!(299)), "{document}");
    assert_eq!((&document["is_part"], &document["verified_checksum"]), (&json!(true), &Value::Null), "{document}");
    assert!(document["verified_checksum_of_part"].is_string(), "{document}");

    fs::write(sandbox.path("ids"), "id-000005\r\n\nid-000009\n").unwrap();
    ok(&["restore", "latest", "--to", "c.db", "--ids-from", "ids"]);
    assert_eq!(ids(&sandbox.path("c.db")), ["id-000005", "id-000009"]);
    let lines = ok(&["dump", "latest", "--ids-from", "ids", "--where", "n=5"]);
    assert!(lines.starts_with("{\"id\":\"id-000005\",") && lines.lines().count() == 1, "{lines}");

    // The removed record is still in the older snapshot.
    run(&["restore", "latest", "--to", "a.db", "--merge", "--id", "id-000003"])
        .assert_fails(1, "1 of 1 ids that were asked for are not in snapshot");
    let printed = ok(&["restore", "full", "--to", "a.db", "--merge", "--id", "id-000003", "--id", "id-000004"]);
    assert!(printed.starts_with("merged 2 of 300 records of "), "{printed}");
    assert!(printed.contains("inserted      1, ") && printed.contains("same          1, "), "{printed}");
    let (exit_code, document) = run(&["restore", "full", "--to", "a.db", "--merge", "--json"]).into_json();
    assert_eq!((exit_code, &document["same"], &document["inserted"]), (0, &json!(300), &json!(0)), "{document}");
}

#[test]
fn parts_are_restored_and_merged_by_ids_and_conditions() {
    let disk = Sandbox::with_rows(super::bucket::ROWS);
    assert_parts(&disk, &|args| disk.run(args));
    let bucket = Bucket::s3(S3Server::start());
    assert_parts(&bucket.sandbox, &|args| bucket.run(args));
}

#[test]
fn ids_are_read_from_standard_input_and_mistakes_are_named() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let mut command = sandbox.command(&["restore", "one", "--to", "b.db", "--ids-from", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"id-000002\nid-000001").unwrap();
    let result = RunResult::from(child.wait_with_output().unwrap());
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    assert_eq!(ids(&sandbox.path("b.db")), ["id-000001", "id-000002"]);
    fs::write(sandbox.path("empty"), "\n\n").unwrap();
    fs::write(sandbox.path("latin"), b"a\nb\xe9\n").unwrap();
    for (args, exit_code, text) in [
        (&["--where", "lang"][..], 2, "cannot read the condition \"lang\": it has no operator"),
        (&["--where", "lang==de"], 2, "there is no operator \"==\""),
        (&["--ids-from", "empty"], 2, "empty: there are no ids"),
        (&["--ids-from", "latin"], 2, "latin: line 2 is not UTF-8"),
        (&["--ids-from", "absent"], 1, "absent: cannot open the file with the ids"),
        (&["--where", "n=\"1\""], 1, "A number and a string are never equal"),
        (&["--on-conflict", "keep"], 2, "--merge"),
        (&["--merge", "--force"], 2, "cannot be used with"),
        (&["--merge"], 1, "c.db"),
    ] {
        let result = sandbox.run(&[&["restore", "one", "--to", "c.db"], args].concat());
        result.assert_fails(exit_code, text);
        assert!(!sandbox.path("c.db").exists());
    }
}

/// Makes a database `b.db` that has records in common with `a.db`, one of them with other values.
fn make_other(sandbox: &Sandbox) {
    create_database(&sandbox.path("b.db"), 3, DIMENSIONS);
    let db = open_database(&sandbox.path("b.db"), DIMENSIONS);
    let metadata = json_object(json!({ "own": true }));
    db.insert(VectorEntry { id: Some("id-000001".to_owned()), vector: vec![1.0; DIMENSIONS], metadata }).unwrap();
}

#[test]
fn a_merge_refuses_conflicts_and_a_database_that_is_open() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    make_other(&sandbox);
    let before = records_of_file(&sandbox.path("b.db"));
    let merge = |args: &[&str]| sandbox.run(&[&["restore", "one", "--to", "b.db", "--merge"], args].concat());
    let result = merge(&[]);
    result.assert_fails(1, "1 record of the snapshot differ");
    result.assert_fails(1, "hint: --on-conflict keep leaves these records of the database as they are");
    assert_eq!(records_of_file(&sandbox.path("b.db")), before);
    let db = open_database(&sandbox.path("b.db"), DIMENSIONS);
    merge(&["--on-conflict", "keep"]).assert_fails(1, "a program has this database open; nothing was merged");
    drop(db);
    let result = merge(&["--on-conflict", "keep"]);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    assert!(result.stdout.contains("kept          1, which differ"), "{result:?}");
    let merged = records_of_file(&sandbox.path("b.db"));
    assert_eq!((merged.0.len(), &merged.1["id-000001"]), (300, &json!({ "own": true })));
    let result = merge(&["--on-conflict", "replace"]);
    assert!(result.stdout.contains("replaced      1, "), "{result:?}");
    assert_eq!(records_of_file(&sandbox.path("b.db")), records_of_file(&sandbox.path("a.db")));
}

/// Runs a merge with a limit at each of its changes of the database file, until none is reached. The file has its old
/// records after each run, or all of the new ones if the commit was complete.
#[cfg(target_os = "linux")]
fn at_every_change(limit: &str, check: &dyn Fn(&RunResult)) {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    make_other(&sandbox);
    let before = records_of_file(&sandbox.path("b.db"));
    let after = records_of_file(&sandbox.path("a.db"));
    let copy = sandbox.path("c.db");
    let mut unchanged = 0;
    for at in 0.. {
        fs::copy(sandbox.path("b.db"), &copy).unwrap();
        let mut command = sandbox.command(&["restore", "one", "--to", "c.db", "--merge", "--on-conflict", "replace"]);
        command.env("LD_PRELOAD", refusals()).env("CHANGES_OF", &copy).env(limit, at.to_string());
        let result = RunResult::from(command.output().unwrap());
        let found: Records = records_of_file(&copy);
        if result.exit_code == Some(0) && found == after {
            assert!(at > 3 && unchanged > 3, "only {at} changes, {unchanged} of them before the commit");
            return;
        }
        check(&result);
        assert!(found == before || found == after, "change {at}: {result:?}");
        unchanged += usize::from(found == before);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_merge_that_is_killed_at_any_change_of_the_file_leaves_the_records_of_before_or_all_of_the_new_ones() {
    at_every_change("DIE_AT", &|result| assert_eq!(result.exit_code, None, "{result:?}"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_merge_whose_disk_is_full_at_any_change_of_the_file_leaves_the_records_of_before_or_all_of_the_new_ones() {
    at_every_change("FULL_AT", &|result| {
        result.assert_fails(1, "c.db: cannot ");
        result.assert_fails(1, "hint: free space on the disk of this path");
    });
}
