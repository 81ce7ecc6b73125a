//! Parts of a snapshot: `restore` and `dump` with --id, --ids-from and --where, and `restore --merge`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

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
    assert_eq!((&document["records"], &document["snapshot"]["records"]), (&json!(5), &json!(299)), "{document}");
    assert_eq!((&document["is_part"], &document["verified_checksum"]), (&json!(true), &Value::Null), "{document}");
    assert!(document["verified_checksum_of_part"].is_string(), "{document}");

    fs::write(sandbox.path("ids"), "id-000005\r\n\nid-000009\n").unwrap();
    ok(&["restore", "latest", "--to", "c.db", "--ids-from", "ids"]);
    assert_eq!(ids(&sandbox.path("c.db")), ["id-000005", "id-000009"]);
    let lines = ok(&["dump", "latest", "--ids-from", "ids", "--where", "n=5"]);
    assert!(lines.starts_with("{\"id\":\"id-000005\",") && lines.lines().count() == 1, "{lines}");

    // The removed record is still in the older snapshot.
    run(&["restore", "latest", "--to", "a.db", "--merge", "--id", "id-000003"])
        .assert_fails(1, "the id \"id-000003\" is not in snapshot");
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
    // Some editors begin a file with a mark.
    fs::write(sandbox.path("marked"), "\u{feff}id-000003\n").unwrap();
    fs::remove_file(sandbox.path("b.db")).unwrap();
    sandbox.ok(&["restore", "one", "--to", "b.db", "--force", "--ids-from", "marked"]);
    assert_eq!(ids(&sandbox.path("b.db")), ["id-000003"]);
    fs::write(sandbox.path("empty"), "\n\n").unwrap();
    fs::create_dir(sandbox.path("directory")).unwrap();
    fs::write(sandbox.path("jsonl"), "\n{\"id\":\"id-000001\"}\n").unwrap();
    fs::write(sandbox.path("divided"), " id-000003\t\nid-000001,id-000002\n").unwrap();
    fs::write(sandbox.path("latin"), b"a\nb\xe9\n").unwrap();
    for (args, exit_code, text) in [
        (&["--where", "lang"][..], 2, "cannot read the condition \"lang\": it has no operator"),
        (&["--where", "lang"], 2, "; a shell takes < and > for itself, so quote them"),
        (&["--where", "n<"], 2, "it has no value after <"),
        (&["--where", "n>=2 seed=1"], 2, "; give --where once for each condition"),
        (&["--where", "n>=2 AND seed=1"], 2, "its value seems to hold another condition"),
        (&["--where", "lang==de"], 2, "there is no operator \"==\""),
        (&["--ids-from", "empty"], 2, "empty: there are no ids"),
        (&["--ids-from", "latin"], 2, "latin: line 2 is not UTF-8"),
        (&["--ids-from", "absent"], 1, "absent: cannot open the file with the ids"),
        (&["--ids-from", "directory"], 1, "directory: this is a directory; give the file with the ids"),
        (
            &["--ids-from", "jsonl"],
            2,
            "jsonl: line 2 is an object of JSON, and each line has one id and nothing else; `jq -r .id`",
        ),
        (&["--ids-from", "-"], 2, "error: standard input: there are no ids"),
        (&["--ids-from", "/dev/zero"], 2, "/dev/zero: more than 64 MiB, the longest list of ids"),
        (
            &["--where", "n=\"1\""],
            1,
            "A number and a string are never equal: n=\"1\" is the string, and n=1 the number\n",
        ),
        (&["--where", "n>4000"], 1, "nothing was changed\n"),
        (&["--id", "x"], 1, "the id \"x\" is not in snapshot"),
        (&["--id", "x"], 1, "hint: `find RECORD_ID` shows which snapshots have a record\n"),
        (&["--id", "id-000001", "--id", "x"], 1, "1 of 2 ids that were asked for is not in snapshot"),
        (&["--on-conflict", "keep"], 2, "--merge"),
        (&["--merge", "--force"], 2, "cannot be used with"),
        (&["--merge"], 1, "c.db"),
        (&["--merge"], 1, "hint: to restore to a new file, leave out --merge\n"),
    ] {
        let result = sandbox.run(&[&["restore", "one", "--to", "c.db"], args].concat());
        result.assert_fails(exit_code, text);
        assert!(!sandbox.path("c.db").exists());
    }
    // An id can have a comma and a blank. There are none around it.
    let divided = sandbox.run(&["restore", "one", "--to", "c.db", "--ids-from", "divided"]);
    assert_eq!(divided.exit_code, Some(1), "{divided:?}");
    let tip = "tip: line 2 of the ids has a comma or a blank inside, and is read as one id";
    assert!(divided.stderr.starts_with(tip), "{divided:?}");
    assert!(divided.stderr.contains("1 of 2 ids that were asked for is not in snapshot"), "{divided:?}");
    assert!(divided.stderr.contains("\"id-000001,id-000002\""), "{divided:?}");
}

#[test]
fn a_signal_ends_the_program_while_it_waits_for_ids() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for (args, signal, exit_code) in [
        (&["restore", "one", "--to", "b.db", "--ids-from", "-"][..], "-INT", 130),
        (&["dump", "one", "--ids-from", "-"], "-TERM", 143),
    ] {
        let mut command = sandbox.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // More than a pipe holds: when it is written, the program reads it, and waits for more. The other end stays open.
        let mut input = child.stdin.take().unwrap();
        input.write_all("id-000001\n".repeat(200_000).as_bytes()).unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let result = RunResult::from(child.wait_with_output().unwrap());
        drop(input);
        assert_eq!(result.exit_code, Some(exit_code), "{result:?}");
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("", "error: interrupted: nothing was begun\n"));
        assert!(!sandbox.path("b.db").exists());
    }
}

#[test]
fn a_part_does_not_advise_to_replace_a_database_by_it() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let before = fs::read(sandbox.path("a.db")).unwrap();
    let args = ["restore", "one", "--to", "a.db", "--id", "id-000001"];
    let hint = "hint: --merge puts the records into this database; to replace the whole file by the \
                selected records, remove it first; or choose another path\n";
    sandbox.run(&args).assert_fails(1, "the file already exists and was not changed\n");
    sandbox.run(&args).assert_fails(1, hint);
    assert!(!sandbox.run(&args).stderr.contains("caused by"));
    let (_, document) = sandbox.json(&args);
    assert!(hint.contains(document["error"]["hint"].as_str().unwrap()), "{document}");
    assert!(fs::read(sandbox.path("a.db")).unwrap() == before);
    let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
    sandbox.run(&[&args[..], &["--force"]].concat()).assert_fails(1, "hint: stop the program; then --merge puts");
    drop(db);
    assert_eq!(ids(&sandbox.path("a.db")).len(), 300);
    // All records are a restore of the database.
    sandbox.run(&args[..4]).assert_fails(1, "hint: choose another path, or use --force to replace the file\n");
}

#[test]
fn a_merge_into_a_corrupt_database_does_not_say_that_the_snapshot_is_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let mut bytes = fs::read(sandbox.path("a.db")).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(sandbox.path("b.db"), bytes).unwrap();
    let args = ["restore", "one", "--to", "b.db", "--merge"];
    let result = sandbox.run(&args);
    result.assert_fails(1, "error: b.db is corrupt, ");
    result.assert_fails(1, "hint: the snapshot is not the reason; to restore it to a new file, leave out --merge\n");
    assert_eq!(sandbox.json(&args).1["error"]["kind"], "corrupt");
    // The snapshot is.
    fs::copy(sandbox.path("a.db"), sandbox.path("b.db")).unwrap();
    let vectors = sandbox.stored(&ids[0], "vectors.bin.gz");
    let length = fs::metadata(&vectors).unwrap().len() as usize;
    fs::write(vectors, vec![0; length]).unwrap();
    assert_eq!(sandbox.run(&args).exit_code, Some(3));
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
    result.assert_fails(
        1,
        "1 record of the snapshot differs from the record with the same id in the database, \"id-000001\"",
    );
    result.assert_fails(1, "no record of the database was changed; the file may be larger\n");
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

#[test]
fn a_part_does_not_replace_a_database_with_more_records() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let before = std::fs::read(sandbox.path("a.db")).unwrap();
    let args = ["restore", "one", "--to", "a.db", "--force", "--id", "id-000001"];
    let result = sandbox.run(&args);
    result.assert_fails(1, "would leave only the 1 that are selected");
    assert!(result.stderr.contains("--merge"), "{result:?}");
    let planned = sandbox.run(&[&args[..], &["--dry-run"]].concat());
    planned.assert_fails(1, "would leave only the 1 that are selected");
    assert!(planned.stdout.contains("    blocker      replaced records\n"), "{planned:?}");
    assert_eq!(std::fs::read(sandbox.path("a.db")).unwrap(), before);
    // An older part is replaced.
    let part = ["restore", "one", "--to", "part.db", "--force", "--id", "id-000001"];
    sandbox.ok(&part);
    sandbox.ok(&part);
    sandbox.ok(&[&part[..], &["--id", "id-000002"]].concat());
}
