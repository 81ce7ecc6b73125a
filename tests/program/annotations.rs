//! `annotate`, and notes.

use std::fs;

use chrono::DateTime;
use ruvector_snapshot_format::annotation::{Annotation, Change};
use ruvector_snapshot_format::layout;
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
    let again = ok(run, &["annotate", "two", "--label", "keep=yearly"]);
    assert!(again.starts_with("unchanged "), "{again}");
    for more in [&["--dry-run"][..], &[]] {
        let again = run(&[&["annotate", "two", "--remove", "host", "--label", "keep=yearly"], more].concat());
        again.assert_warns(" has no label \"host\", so it could not be removed");
        assert!(again.stdout.starts_with("unchanged "), "{again:?}");
    }

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
        result.assert_warns("labels and note of snapshot");
        assert!(result.stderr.contains(&name), "{result:?}");
        let (_, document) = sandbox.json(args);
        assert_eq!(document["warnings"].as_array().unwrap().len(), 1, "{document}");
    }
    sandbox.run(&["annotate", "one", "--label", "a=1"]).assert_warns("are given up; set them again");
    let result = sandbox.run(&["show", "one"]);
    assert!(result.stderr.is_empty() && result.stdout.contains("a=1"), "{result:?}");
}

#[test]
fn verify_and_copy_warn_of_a_corrupt_annotation() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    sandbox.ok(&["create", "--db", "a.db", "--base", "two", "--name", "three"]);
    sandbox.ok(&["annotate", "one", "two", "--label", "a=1"]);
    for (number, damage) in ["{}", ""].into_iter().enumerate() {
        let directory = format!("snapshots/snapshot-{}", ids[number]);
        let name = sandbox.names(&directory).into_iter().find(|name| name.starts_with("annotation-")).unwrap();
        fs::write(sandbox.path(&format!("{directory}/{name}")), damage).unwrap();
    }
    // The increment depends on the second one.
    let verifications: [(&[&str], &[usize]); 8] = [
        (&["one"], &[0]),
        (&["one", "--quick"], &[0]),
        (&["one", "--max-age", "7d"], &[0]),
        (&["three"], &[1]),
        (&["--all"], &[0, 1]),
        (&["--all", "--quick"], &[0, 1]),
        (&["one", "three"], &[0, 1]),
        (&["--all", "--max-age", "7d"], &[0, 1]),
    ];
    for (args, damaged) in verifications {
        let result = sandbox.run(&[&["verify"], args].concat());
        for (number, id) in ids.iter().enumerate() {
            let about = format!("labels and note of snapshot {id} may be others: snapshot-{id}/annotation-");
            assert_eq!(result.stderr.contains(&about), damaged.contains(&number), "{args:?}: {result:?}");
        }
        result.assert_warns("the snapshot itself is not affected");
    }

    let copy = ["copy", "--all", "--to", "copies"];
    // The first copies the snapshots, and the others find them there.
    for more in [&["--dry-run"][..], &[], &[], &["--json"]] {
        let result = sandbox.run(&[&copy, more].concat());
        for id in &ids {
            result.assert_warns(&format!("an annotation of snapshot {id} cannot be read and is not copied"));
            result.assert_warns(&format!("snapshot-{id}/annotation-"));
        }
    }
    sandbox.ok(&["--store", "copies", "verify", "--all"]);
    // What is done about it.
    sandbox.run(&["annotate", "one", "two", "--label", "a=1"]).assert_warns("are given up; set them again");
    sandbox.ok(&copy);
    assert!(sandbox.ok(&["--store", "copies", "show", "two"]).contains("a=1"));
    sandbox.ok(&["verify", "--all"]);
}

/// The full snapshot has the labels in its `metadata.json`, so they must be known. The plan refuses as the copy does.
#[test]
fn a_compacted_copy_of_a_snapshot_with_a_corrupt_annotation_is_refused_before_it_starts() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--base", "one", "--name", "two"]);
    sandbox.ok(&["annotate", "two", "--label", "a=1"]);
    let directory = format!("snapshots/snapshot-{}", sandbox.ids()[0]);
    let name = sandbox.names(&directory).into_iter().find(|name| name.starts_with("annotation-")).unwrap();
    fs::write(sandbox.path(&format!("{directory}/{name}")), "{}").unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&["copy", "two", "--compact", "--to", "copies"], more].concat());
        result.assert_fails(1, "cannot be known, because an annotation cannot be read");
    }
}

#[test]
fn what_controls_a_terminal_is_escaped_and_the_lines_of_a_note_are_lines() {
    let sandbox = Sandbox::with_rows(20);
    let hostile = "a\u{1b}]0;title\u{7}\u{202e}b";
    let note = "first\n\u{202e}second\tline";
    let create = ["create", "--db", "a.db", "--name", "one\u{202e}", "--source", "\u{2066}s", "--note", note];
    sandbox.ok(&create);
    // An earlier program has stored such labels.
    let file = sandbox.stored(&sandbox.ids()[0], "metadata.json");
    let edited = test_fixtures::edit_metadata(&fs::read(&file).unwrap(), |document| {
        document["labels"] = json!({ "k": hostile, hostile: "x" });
    });
    fs::write(file, edited).unwrap();
    for args in [
        &["list", "--wide"][..],
        &["show", "latest"],
        &["annotate", "latest", "--label", "k2=v", "--dry-run"],
        &["prune", "--keep-last", "1", "--group-by", "label:k", "--dry-run"],
        &["stats"],
    ] {
        let printed = sandbox.ok(args);
        assert!(!printed.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}']), "{args:?}: {printed:?}");
        assert!(printed.contains(r"\u{"), "{args:?}: {printed:?}");
    }
    let shown = sandbox.ok(&["show", "latest"]);
    let lines = format!("  note          first\n{}\\u{{202e}}second\\tline\n", " ".repeat(16));
    assert!(shown.contains(&lines), "{shown}");
    // A document has them as they are.
    assert_eq!(sandbox.json(&["show", "latest"]).1["snapshots"][0]["note"], note);
}

#[test]
fn annotations_at_the_same_time_lose_no_label() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let labels: Vec<String> = (0..12).map(|number| format!("k{number}=v{number}")).collect();
    let running: Vec<_> = labels
        .iter()
        .map(|label| sandbox.command(&["annotate", "one", "--label", label, "--quiet"]).spawn().unwrap())
        .collect();
    assert!(running.into_iter().all(|mut process| process.wait().unwrap().success()));
    let labels_now = || sandbox.json(&["show", "one"]).1["snapshots"][0]["labels"].as_object().unwrap().len();
    assert_eq!(labels_now(), labels.len());
    // The next one has what all of them say, and the others are removed.
    sandbox.ok(&["annotate", "one", "--note", "all"]);
    sandbox.ok(&["prune", "--keep-last", "1", "--grace", "0s"]);
    let annotations = sandbox.names(&format!("snapshots/snapshot-{}", ids[0]));
    assert_eq!(annotations.iter().filter(|name| name.starts_with("annotation-")).count(), 1, "{annotations:?}");
    assert_eq!(labels_now(), labels.len());
}

/// Puts an annotation beside a snapshot that sets the label `k`, under the name that it must have.
fn forge(sandbox: &Sandbox, id: &str, number: u64, of_change: u64) {
    let annotation = Annotation {
        snapshot: id.parse().unwrap(),
        time: DateTime::UNIX_EPOCH,
        program: "a stranger".to_owned(),
        labels: [("k".to_owned(), Change { number: of_change, value: Some("forged".to_owned()) })].into(),
        note: None,
        includes: Vec::new(),
    };
    let (name, json) = annotation.encode(number).unwrap();
    fs::write(sandbox.stored(id, &layout::annotation(&name)), json).unwrap();
}

#[test]
fn an_annotation_of_a_stranger_does_not_forbid_the_next_one() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    forge(&sandbox, &ids[0], 1, u64::MAX);
    let result = sandbox.run(&["show", "one"]);
    assert!(!result.stdout.contains("forged"), "{result:?}");
    assert!(result.stderr.contains("it has a change with a number that is not 1 to 1"), "{result:?}");
    sandbox.run(&["annotate", "one", "--label", "k=mine"]).assert_warns("are given up; set them again");
    assert!(sandbox.ok(&["show", "one"]).contains("k=mine"));
    // One with the last number of all leaves none for another one, and is named.
    forge(&sandbox, &ids[0], 9_999_999_999, 1);
    let result = sandbox.run(&["annotate", "one", "--label", "k=again"]);
    result.assert_fails(2, "annotation-9999999999-");
    assert!(result.stderr.contains("has the last number that there is"), "{result:?}");
}

#[test]
fn an_annotation_that_replaces_one_that_cannot_be_read_says_what_is_given_up() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["annotate", &ids[0], "--label", "keep=1"]);
    let directory = format!("snapshots/snapshot-{}", ids[0]);
    let is_annotation = |name: &String| name.starts_with("annotation-");
    let name = sandbox.names(&directory).into_iter().find(is_annotation).unwrap();
    std::fs::write(sandbox.path(&format!("{directory}/{name}")), "x").unwrap();
    for dry in [&["--dry-run"][..], &[]] {
        let annotated = sandbox.run(&[&["annotate", &ids[0], "--note", "hello"], dry].concat());
        annotated.assert_warns("cannot be read are given up; set them again");
    }
}
