//! `annotate`, and notes.

use std::fs;

use serde_json::{Value, json};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// Runs the program at a store.
type Run<'a> = &'a dyn Fn(&[&str]) -> RunResult;

fn json_of(run: Run<'_>, args: &[&str]) -> Value {
    let (exit_code, document) = run(&[args, &["--json"]].concat()).into_json();
    assert_eq!(exit_code, 0, "{args:?}: {document}");
    document
}

#[track_caller]
fn ok(run: Run<'_>, args: &[&str]) -> String {
    let result = run(args);
    assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
    result.stdout
}

fn labels_of(document: &Value, name: &str) -> Value {
    let snapshots = document["snapshots"].as_array().unwrap();
    snapshots.iter().find(|snapshot| snapshot["name"] == name).unwrap()["labels"].clone()
}

fn check(run: Run<'_>) {
    for name in ["team/one", "two", "three"] {
        ok(run, &["create", "--db", "a.db", "--name", name, "--label", "host=db1", "--note", "as created"]);
    }
    let printed = ok(run, &["annotate", "team/one", "two", "--label", "keep=yearly", "--note", "before"]);
    assert!(
        printed.contains("annotated ")
            && printed.contains("keep=yearly")
            && printed.contains("  note          before\n")
    );
    let shown = ok(run, &["show", "two"]);
    assert!(shown.contains("keep=yearly") && shown.contains("  note          before\n"), "{shown}");
    assert!(ok(run, &["show", "three"]).contains("  note          as created\n"));

    // A dry run changes nothing, and says what it would.
    let planned = json_of(run, &["annotate", "two", "--remove", "host", "--remove-note", "--dry-run"]);
    assert_eq!((&planned["dry_run"], &planned["snapshots"][0]["labels"]), (&json!(true), &json!({ "keep": "yearly" })));
    assert_eq!(labels_of(&json_of(run, &["list"]), "two"), json!({ "host": "db1", "keep": "yearly" }));
    let done = json_of(run, &["annotate", "two", "--remove", "host", "--remove-note"]);
    assert_eq!((&done["dry_run"], &done["snapshots"][0]["changed"]), (&json!(false), &json!(true)));
    assert_eq!(done["snapshots"][0]["note"], Value::Null);
    let listed = json_of(run, &["list"]);
    assert_eq!(labels_of(&listed, "two"), json!({ "keep": "yearly" }));
    assert_eq!(listed["foreign"], 0);
    // A second run finds that it is so already.
    let again = ok(run, &["annotate", "two", "--remove", "host", "--label", "keep=yearly"]);
    assert!(again.starts_with("unchanged "), "{again}");

    // A policy sees the labels as they are now.
    let plan = ok(run, &["prune", "--keep-last", "1", "--keep-label", "keep", "--dry-run"]);
    assert!(plan.contains("label keep"), "{plan}");
    ok(run, &["prune", "--keep-last", "1", "--keep-label", "keep=yearly"]);
    assert_eq!(json_of(run, &["list"])["snapshots"].as_array().unwrap().len(), 3);
    ok(run, &["annotate", "team/one", "--remove", "keep"]);
    ok(run, &["prune", "--keep-last", "1", "--keep-label", "keep=yearly"]);
    let left = json_of(run, &["list"]);
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 2, "{left}");
    assert_eq!(left["unfinished"], json!([]));
    ok(run, &["verify", "--all"]);
    ok(run, &["restore", "two", "--to", "b.db"]);
}

#[test]
fn labels_and_notes_change_on_a_disk() {
    let sandbox = Sandbox::with_rows(50);
    check(&|args| sandbox.run(args));
}

#[test]
fn labels_and_notes_change_in_a_bucket() {
    let bucket = Bucket::s3(S3Server::start());
    check(&|args| bucket.run(args));
}

#[test]
fn mistakes_are_named_and_nothing_is_changed() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    for (args, text) in [
        (&["one"][..], "there is nothing to annotate"),
        (&["one", "--remove", "a=b"], "--remove takes the key alone"),
        (&["one", "--label", "a=1", "--label", "a=2"], "given twice"),
        (&["one", "--label", "a=1", "--remove", "a"], "cannot be set and removed"),
        (&["one", "--note", " "], "a note cannot be blank"),
        (&["one", "--note", "a\rb"], "control character"),
        (&["one", "--note", "a", "--remove-note"], "cannot be used with"),
        (&["2", "--note", &"x".repeat(4097)], "more than the 4096 allowed"),
    ] {
        let result = sandbox.run(&[&["annotate"], args].concat());
        assert_eq!(result.exit_code, Some(2), "{args:?}: {result:?}");
        assert!(result.stderr.contains(text), "{args:?}: {result:?}");
    }
    let result = sandbox.run(&["annotate", "one", "nope", "--note", "a"]);
    assert!(result.stderr.contains("nothing was changed, not even the others"), "{result:?}");
    assert_eq!(sandbox.names(&format!("snapshots/snapshot-{}", ids[0])).len(), 5);
    assert_eq!(sandbox.run(&["create", "--db", "a.db", "--note", ""]).exit_code, Some(2));
}

#[test]
fn a_corrupt_annotation_is_a_warning_until_the_next_one() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["annotate", "one", "--label", "a=1"]);
    let directory = format!("snapshots/snapshot-{}", ids[0]);
    let name = sandbox.names(&directory).into_iter().find(|name| name.starts_with("annotation-")).unwrap();
    fs::write(sandbox.path(&format!("{directory}/{name}")), "{}").unwrap();
    for args in [&["list"][..], &["show", "one"]] {
        let result = sandbox.run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        assert!(result.stderr.contains("warning: labels and note of snapshot") && result.stderr.contains(&name));
        let (_, document) = sandbox.json(args);
        assert_eq!(document["warnings"].as_array().unwrap().len(), 1, "{document}");
    }
    sandbox.ok(&["verify", "one"]);
    sandbox.ok(&["annotate", "one", "--label", "a=1"]);
    let result = sandbox.run(&["show", "one"]);
    assert!(result.stderr.is_empty() && result.stdout.contains("a=1"), "{result:?}");
}
