//! `diff`: counts, lists and JSON, on a disk and in buckets, and how it ends.

use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use test_fixtures::flip_bit_in_the_middle;
use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, open_database};

/// Creates a chain: the increment adds, removes and changes one record each.
fn create_chain(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let create = |args: &[&str]| assert_eq!(run(&[&["create", "--db", "a.db"], args].concat()).exit_code, Some(0));
    create(&["--name", "team/full"]);
    let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
    let entry = |id: &str, value: f32, metadata: Option<Value>| ruvector_core::VectorEntry {
        id: Some(id.to_owned()),
        vector: vec![value; DIMENSIONS],
        metadata: metadata.and_then(test_fixtures::json_object),
    };
    db.delete("id-000007").unwrap();
    db.insert(entry("new\u{1b}[2J", 1.0, None)).unwrap();
    db.insert(entry("id-000008", 1.0, Some(json!({ "n": -1 })))).unwrap();
    let mut kept = db.get("id-000009").unwrap().unwrap();
    kept.metadata = test_fixtures::json_object(json!({ "n": -1 }));
    db.insert(kept).unwrap();
    let mut moved = db.get("id-000010").unwrap().unwrap();
    moved.vector = vec![1.0; DIMENSIONS];
    db.insert(moved).unwrap();
    drop(db);
    create(&["--name", "increment", "--base", "latest"]);
}

fn assert_diffs(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    create_chain(sandbox, run);
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        result.stdout
    };
    let counts = "added             1\nremoved           1\nvector changed    1\nmetadata changed  1\nboth changed      1\n\
                  unchanged         296\n";
    let printed = ok(&["diff", "team/full", "latest"]);
    assert!(printed.starts_with("first ") && printed.contains(counts), "{printed}");
    assert!(printed.ends_with("\n5 records differ\n") && printed.lines().all(|line| line.len() <= 80), "{printed}");
    let listed = ok(&["diff", "team/full", "latest", "--list"]);
    let lines = "removed           id-000007\nboth changed      id-000008\nmetadata changed  id-000009\n\
                 vector changed    id-000010\nadded             new\\u{1b}[2J\nfirst ";
    assert!(listed.starts_with(lines) && listed.contains(counts), "{listed}");
    let back = ok(&["diff", "latest", "team/full", "--list"]);
    assert!(back.starts_with("added             id-000007\n") && back.contains("\nremoved           new"), "{back}");

    let changes = json!([
        { "id": "id-000007", "change": "removed" },
        { "id": "id-000008", "change": "vector_and_metadata" },
        { "id": "id-000009", "change": "metadata" },
        { "id": "id-000010", "change": "vector" },
        { "id": "new\u{1b}[2J", "change": "added" },
    ]);
    let lines = ok(&["diff", "team/full", "latest", "--jsonl"]);
    let parsed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(parsed), changes);
    for (args, expected) in [(&["--list"][..], Some(&changes)), (&[], None)] {
        let args = [&["diff", "team/full", "latest", "--json"], args].concat();
        let (exit_code, document) = run(&args).into_json();
        assert_eq!((exit_code, &document["equal"], &document["differences"]), (0, &json!(false), &json!(5)));
        assert_eq!(document.get("changes"), expected);
        let of = |name: &str| document[name].as_u64().unwrap();
        assert_eq!([of("added"), of("removed"), of("vector_changed"), of("metadata_changed")], [1; 4]);
        assert_eq!([of("vector_and_metadata_changed"), of("unchanged")], [1, 296]);
        assert_eq!((&document["first"]["name"], &document["second"]["records"]), (&json!("team/full"), &json!(300)));
    }

    let (_, document) = run(&["diff", "latest", "latest", "--json", "--list"]).into_json();
    assert_eq!((&document["equal"], &document["changes"]), (&json!(true), &json!([])));
    assert!(ok(&["diff", "latest", "latest", "--exit-code"]).ends_with("\nthe snapshots are equal\n"));
    let differs = run(&["diff", "team/full", "latest", "--exit-code"]);
    assert_eq!((differs.exit_code, differs.stderr.as_str()), (Some(1), ""), "{differs:?}");
}

#[test]
fn diff_counts_and_lists_what_differs() {
    let disk = Sandbox::with_rows(super::bucket::ROWS);
    assert_diffs(&disk, &|args| disk.run(args));
    for bucket in Bucket::both() {
        assert_diffs(&bucket.sandbox, &|args| bucket.run(args));
    }
}

#[test]
fn snapshots_of_two_stores_are_compared() {
    let bucket = Bucket::s3(S3Server::start());
    create_chain(&bucket.sandbox, &|args| bucket.run(args));
    bucket.ok(&["copy", "--all", "--to", "offsite"]);
    let same = ["diff", "latest", "latest", "--to", "offsite", "--exit-code"];
    assert!(bucket.ok(&same).ends_with("\nthe snapshots are equal\n"));
    let other = ["diff", "latest", "team/full", "--to", "offsite"];
    let (exit_code, document) = bucket.json(&other);
    assert_eq!((exit_code, &document["differences"], &document["other_store"]), (0, &json!(5), &json!("offsite")));
    // And from the disk to the bucket.
    let back = ["diff", "team/full", "latest", "--store", "offsite", "--to", &bucket.store];
    assert!(bucket.ok(&back).ends_with("\n5 records differ\n"));

    let missing = ["diff", "latest", "no such", "--to", "offsite"];
    bucket.run(&missing).assert_fails(4, "hint: the store is offsite; check --to, and that its disk is mounted");
    bucket.run(&["diff", "latest", "latest", "--to", "nowhere"]).assert_fails(1, "cannot open the store nowhere");
    bucket.run(&["diff", "latest", "latest", "--to", "nowhere"]).assert_fails(1, "hint: check --to");
}

#[test]
fn mistakes_are_refused_and_corruption_has_its_exit_code() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    for (args, exit_code, text) in [
        (&["latest"][..], 2, "OTHER_ID"),
        (&["latest", "latest", "--to-option", "a=b"], 2, "--to <LOCATION>"),
        (&["latest", "latest", "--jsonl", "--list"], 2, "cannot be used with"),
        (&["latest", "latest", "--jsonl", "--json"], 2, "cannot be used with"),
        (&["latest", "latest", "--to", "memory://"], 2, "would be lost"),
        (&["no such", "latest"], 4, "check --store"),
        (&["latest", "no such"], 4, "check --store"),
    ] {
        sandbox.run(&[&["diff"], args].concat()).assert_fails(exit_code, text);
    }
    create_database(&sandbox.path("b.db"), 300, DIMENSIONS);
    open_database(&sandbox.path("b.db"), DIMENSIONS).delete("id-000001").unwrap();
    sandbox.ok(&["create", "--db", "b.db", "--name", "other"]);
    flip_bit_in_the_middle(&sandbox.stored(&ids[0], "index.bin.gz"));
    let result = sandbox.run(&["diff", &ids[0], "other"]);
    result.assert_fails(3, "index.bin.gz");
    assert_eq!(result.stdout, "");
    let (exit_code, document) = sandbox.json(&["diff", &ids[0], "other", "--list"]);
    assert_eq!((exit_code, &document["error"]["kind"]), (3, &json!("corrupt")));
    assert_eq!((&document["changes"], document.get("equal")), (&json!([]), None));
}

#[test]
fn a_closed_pipe_ends_the_list() {
    let sandbox = Sandbox::with_rows(3_000);
    sandbox.ok(&["create", "--db", "a.db", "--name", "full"]);
    create_database(&sandbox.path("b.db"), 0, DIMENSIONS);
    sandbox.ok(&["create", "--db", "b.db", "--name", "empty"]);
    let mut child = sandbox.command(&["diff", "empty", "full", "--list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Whether they differ is known all the same, however much of it was printed.
    for args in [&["--list"][..], &["--jsonl"], &["--list", "--json"], &[]] {
        let args = [&["diff", "empty", "full", "--exit-code"], args].concat();
        let mut child = sandbox.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{args:?}");
    }
}

#[test]
fn an_interrupted_diff_says_that_nothing_was_changed() {
    let bucket = Bucket::s3(S3Server::start());
    create_chain(&bucket.sandbox, &|args| bucket.run(args));
    let reads_index: fn(&Request) -> bool = |request| request.is_get() && request.key().ends_with("index.bin.gz");
    let wire = bucket.server.wire();
    wire.reset_log();
    wire.set(move |request, _| reads_index(request).then_some(Fault::Hang));
    let mut command = bucket.command(&["diff", "team/full", "latest", "-o", "stall_timeout=60s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !wire.requests().iter().any(reads_index) {
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let result = RunResult::from(child.wait_with_output().unwrap());
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(130), ""), "{result:?}");
    assert!(result.stderr.contains("interrupted: nothing was changed"), "{result:?}");
}
