//! `find`: which snapshots have a record, as text and as JSON.

use serde_json::{Value, json};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, open_database};

fn assert_finds(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let create = |args: &[&str]| {
        let (exit_code, document) = run(&[&["create", "--db", "a.db", "--json"], args].concat()).into_json();
        assert_eq!(exit_code, 0, "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    };
    let full = create(&["--name", "full"]);
    let same = create(&["--name", "same", "--base", "latest"]);
    open_database(&sandbox.path("a.db"), DIMENSIONS).delete("id-000007").unwrap();
    let removed = create(&["--name", "removed", "--base", "latest"]);
    let result = run(&["find", "id-000007"]);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    let lines: Vec<_> = result.stdout.lines().collect();
    for (line, (id, state)) in lines[1..].iter().zip([(&removed, "removed"), (&same, "same"), (&full, "added")]) {
        assert!(line.starts_with(id.as_str()) && line.ends_with(state), "{line}");
    }
    assert_eq!(lines.len(), 4);
    let (exit_code, document) = run(&["find", "id-000007", "--json"]).into_json();
    assert_eq!((exit_code, &document["found"], &document["record_id"]), (0, &json!(true), &json!("id-000007")));
    let states: Vec<_> = document["snapshots"].as_array().unwrap().iter().map(|found| &found["change"]).collect();
    assert_eq!(states, [&json!("removed"), &json!("same"), &json!("added")]);
    assert_eq!(document["snapshots"][1]["digest"], document["snapshots"][2]["digest"]);

    let result = run(&["find", "no such"]);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(1), ""), "{result:?}");
    assert!(result.stdout.starts_with("no snapshot at ") && result.stdout.ends_with("has the record \"no such\"\n"));
    let (exit_code, document) = run(&["find", "no such", "--json"]).into_json();
    assert_eq!((exit_code, &document["found"]), (1, &json!(false)));
}

#[test]
fn find_lists_the_snapshots_that_have_a_record_and_where_it_changed() {
    let disk = Sandbox::with_rows(super::bucket::ROWS);
    assert_finds(&disk, &|args| disk.run(args));
    let bucket = Bucket::s3(S3Server::start());
    assert_finds(&bucket.sandbox, &|args| bucket.run(args));
}

#[test]
fn a_snapshot_that_cannot_be_used_is_named_in_a_warning() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    std::fs::write(sandbox.stored(&ids[0], "metadata.json"), "{}").unwrap();
    sandbox.ok_with_warning(&["find", "id-000001"], &format!("not known of snapshot {}: ", ids[0]));
    let result = sandbox.run(&["find", "no such"]);
    assert!(result.stdout.starts_with("no snapshot of those that can be read at "), "{result:?}");
    // The one before may have had the record, so it is not called new.
    let (_, document) = sandbox.json(&["find", "id-000001"]);
    let states = |document: &Value| -> Vec<Value> {
        document["snapshots"].as_array().unwrap().iter().map(|found| found["change"].clone()).collect()
    };
    assert_eq!(states(&document), ["present"]);
    sandbox.create("three");
    let (_, document) = sandbox.json(&["find", "id-000001"]);
    assert_eq!(states(&document), ["same", "present"]);
}

#[test]
fn find_says_that_there_are_no_snapshots() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok_with_warning(&["delete", &ids[0]], "NO SNAPSHOT");
    let result = sandbox.run(&["find", "id-000001"]);
    assert_eq!(result.exit_code, Some(4), "{result:?}");
    assert!(result.stdout.contains("has the record \"id-000001\"; there are no snapshots"), "{result:?}");
}

#[test]
fn a_missing_base_is_named_in_a_warning() {
    let sandbox = Sandbox::with_rows(3);
    let base = sandbox.create("base");
    let increment = |name: &str| sandbox.ok(&["create", "--db", "a.db", "--name", name, "--base", "latest"]);
    increment("first");
    increment("second");
    std::fs::remove_dir_all(sandbox.path("snapshots").join(format!("snapshot-{base}"))).unwrap();
    let first = sandbox.ids().into_iter().min().unwrap();
    let warning = format!("not known of snapshot {first}, and of those that depend on it: its base {base} is missing");
    for id in ["id-000001", "no such"] {
        let result = sandbox.run(&["find", id]);
        assert_eq!((result.exit_code, &result.stderr), (Some(1), &format!("warning: {warning}\n")), "{result:?}");
        assert!(
            result.stdout.contains(&format!(" can be read, so whether one has the record {id:?} is not known")),
            "{result:?}"
        );
        let (exit_code, document) = sandbox.json(&["find", id]);
        assert_eq!((exit_code, &document["warnings"]), (1, &json!([warning])), "{document}");
        assert!(document["snapshots"].as_array().unwrap().iter().all(|found| found["change"] == "unknown"));
    }
    // Another snapshot of the same database has it.
    sandbox.create("full");
    let result = sandbox.run(&["find", "id-000001"]);
    assert_eq!((result.exit_code, result.stderr), (Some(5), format!("warning: {warning}\n")));
    assert!(result.stdout.lines().nth(1).unwrap().ends_with("present"), "{}", result.stdout);
}

#[test]
fn records_of_different_databases_are_told_apart() {
    let sandbox = Sandbox::with_rows(3);
    sandbox.create("one");
    let path = sandbox.path("a.db").to_string_lossy().into_owned();
    let printed = sandbox.ok(&["find", "id-000001"]);
    assert!(!printed.contains("SOURCE"), "{printed}");
    let (_, document) = sandbox.json(&["find", "id-000001"]);
    let source = &document["snapshots"][0]["source"];
    assert_eq!((&source["kind"], &source["path"], &source["name"]), (&json!("file"), &json!(path), &Value::Null));
    sandbox.ok(&["create", "--db", "a.db", "--source", "articles"]);
    let printed = sandbox.ok(&["find", "id-000001"]);
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].contains("SOURCE") && lines[1].contains(" articles "), "{printed}");
    assert!(lines[2].contains("a.db ") && lines[1].ends_with("added") && lines[2].ends_with("added"), "{printed}");
}
