//! `dump`: every value as it is, from a disk and from buckets, and what it says if that is not possible.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use redb::Database;
use ruvector_core::VectorEntry;
use ruvector_snapshot_format::layout;
use serde_json::{Value, json};
use test_fixtures::{METADATA, StoredSnapshot, VECTORS, edit_metadata, encode_vector, records_of_file};

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, open_database};

/// A record as it was printed: the text of each value of its vector, and its metadata.
type Dumped = BTreeMap<String, (Vec<Value>, Value)>;

/// Returns the records of JSON Lines. They must be in the order of their ids.
#[track_caller]
fn records(lines: &str) -> Dumped {
    let parsed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
    assert!(parsed.is_sorted_by(|one, next| id(one) < id(next)));
    let record =
        |record: &Value| (id(record), (record["vector"].as_array().unwrap().clone(), record["metadata"].clone()));
    parsed.iter().map(record).collect()
}

/// Asserts that records have the bits and the metadata of a database file.
#[track_caller]
fn assert_records_of(sandbox: &Sandbox, dumped: &Dumped) {
    let (vectors, metadata) = records_of_file(&sandbox.path("a.db"));
    assert_eq!(dumped.len(), vectors.len());
    for (id, (values, json)) in dumped {
        let values: Vec<f32> = values.iter().map(|value| value.to_string().parse().unwrap()).collect();
        assert_eq!(encode_vector(&values), vectors[id], "{id}");
        assert_eq!(metadata.get(id).unwrap_or(&Value::Null), json, "{id}");
    }
}

#[test]
fn dump_prints_every_record_of_a_full_snapshot_and_of_a_chain() {
    let disk = Sandbox::with_rows(super::bucket::ROWS);
    assert_dumps(&disk, &|args| disk.run(args));
    for bucket in Bucket::both() {
        assert_dumps(&bucket.sandbox, &|args| bucket.run(args));
    }
}

fn assert_dumps(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        result.stdout
    };
    run(&["create", "--db", "a.db", "--name", "full"]);
    let before = records(&ok(&["dump", "full"]));
    assert_records_of(sandbox, &before);
    let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
    let edges = [f32::MIN_POSITIVE, f32::MAX, -0.0, 1e-45, 0.1, 16_777_217.0, -1.5e-7, 1.0];
    let metadata = Some([("text".to_owned(), json!("\n\"ünï\u{0}"))].into());
    db.insert(VectorEntry { id: Some("\n\"é\"".to_owned()), vector: edges.to_vec(), metadata }).unwrap();
    db.delete("id-000007").unwrap();
    drop(db);
    run(&["create", "--db", "a.db", "--name", "newest", "--base", "latest"]);
    let lines = ok(&["dump", "latest"]);
    let after = records(&lines);
    assert_records_of(sandbox, &after);
    let first_line = lines.lines().next().unwrap();
    assert_eq!(
        first_line,
        "{\"id\":\"\\n\\\"é\\\"\",\"vector\":[1.1754944e-38,3.4028235e+38,-0.0,1e-45,0.1,16777216.0,-1.5e-7,1.0],\
         \"metadata\":{\"text\":\"\\n\\\"ünï\\u0000\"}}"
    );
    assert_eq!(records(&ok(&["dump", "full"])), before);

    let some = ok(&["dump", "latest", "--id", "id-000009", "--id", "id-000002"]);
    assert_eq!(records(&some).into_keys().collect::<Vec<_>>(), ["id-000002", "id-000009"]);
    let rest = ok(&["dump", "latest", "--after", "id-000006"]);
    assert_eq!(records(&rest).keys().next().unwrap(), "id-000008");
    assert!(lines.ends_with(&rest));

    let (exit_code, document) = run(&["dump", "latest", "--json"]).into_json();
    assert_eq!(exit_code, 0);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(document["records"], json!(lines));
    assert_eq!(document["proof"], "content_checksum");
    assert_eq!((&document["printed"], &document["warnings"]), (&json!(lines.len()), &json!([])));
    let (_, document) = run(&["dump", "latest", "--json", "--after", "zz"]).into_json();
    assert_eq!((&document["records"], &document["proof"]), (&json!([]), &json!("record_digests")));
}

#[test]
fn an_id_that_is_not_there_is_an_error_after_the_others_were_printed() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let args = ["dump", "one", "--id", "id-000002", "--id", "no such id", "--id", ""];
    let result = sandbox.run(&args);
    result.assert_fails(1, &format!("error: 2 of 3 ids are not in snapshot {}: \"\", \"no such id\"\n", ids[0]));
    assert_eq!(records(&result.stdout).into_keys().collect::<Vec<_>>(), ["id-000002"]);
    sandbox.run(&["dump", "one", "--id", "x"]).assert_fails(1, "error: the id \"x\" is not in snapshot");
    let (exit_code, document) = sandbox.json(&args);
    assert_eq!((exit_code, &document["error"]["kind"]), (1, &json!("not_found")), "{document}");
    assert_eq!((&document["printed"], &document["records"][0]["id"]), (&json!(1), &json!("id-000002")), "{document}");
    sandbox
        .run(&["dump", "one", "--id", "id-000002", "--id", "x"])
        .assert_fails(1, "error: 1 of 2 ids is not in snapshot");
    // So many are not all named.
    let many: Vec<_> = (0..200).map(|number| format!("no-{number}")).collect();
    let args: Vec<_> = ["dump", "one"].into_iter().chain(many.iter().flat_map(|id| ["--id", id])).collect();
    sandbox.run(&args).assert_fails(1, " and 190 more\n");
    sandbox.run(&["dump", "two"]).assert_fails(4, "no snapshot has the id, id prefix or name");
}

#[test]
fn a_filter_that_accepts_nothing_is_a_warning() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let nothing = format!("the filter accepts no record of snapshot {}; no record was streamed", ids[0]);
    let number = "A number and a string are never equal: n=\"5\" is the string, and n=5 the number";
    for (conditions, warning) in [
        (&["--where", "n>4000"][..], nothing.clone()),
        (&["--where", "n=\"5\""], format!("{nothing}. {number}")),
        (&["--where", "n>4000", "--id", "id-000001"], nothing.clone()),
        (
            &["--where", "n<5", "--after", "id-000005"],
            nothing.replace("no record was", "no record after \"id-000005\" was"),
        ),
    ] {
        let args = [&["dump", "one"], conditions].concat();
        let result = sandbox.run(&args);
        assert_eq!(
            (result.exit_code, result.stderr, result.stdout),
            (Some(5), format!("warning: {warning}\n"), String::new())
        );
        let (exit_code, document) = sandbox.json(&args);
        assert_eq!((exit_code, &document["warnings"]), (5, &json!([warning])), "{document}");
    }
    // The error says it.
    let result = sandbox.run(&["dump", "one", "--id", "x", "--where", "n=5"]);
    assert!(result.stderr.starts_with("error: the id \"x\" is not"), "{result:?}");
}

#[test]
fn values_that_json_does_not_have_and_rows_that_are_no_records_are_named_in_warnings() {
    let sandbox = Sandbox::with_rows(3);
    let mut values = [0.5; DIMENSIONS];
    (values[1], values[2], values[3]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let database = Database::open(sandbox.path("a.db")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(VECTORS).unwrap().insert("nan", encode_vector(&values).as_slice()).unwrap();
    transaction.open_table(METADATA).unwrap().insert("orphan", "{}").unwrap();
    transaction.commit().unwrap();
    drop(database);
    sandbox.create("odd");
    let result = sandbox.run(&["dump", "latest"]);
    assert_eq!(result.exit_code, Some(5), "{result:?}");
    let (vector, _) = &records(&result.stdout)["nan"];
    assert_eq!(json!(vector), json!([0.5, null, null, null, 0.5, 0.5, 0.5, 0.5]));
    let warnings = [
        "irregular rows of the snapshot are not in the stream: 1 record",
        "1 record with values that JSON cannot hold, NaN or infinite, which were printed as null; the first is \"nan\". \
         A restore keeps these values",
    ];
    assert_eq!(result.stderr, warnings.map(|warning| format!("warning: {warning}\n")).concat());
    let (exit_code, document) = sandbox.json(&["dump", "latest"]);
    assert_eq!((exit_code, &document["warnings"]), (5, &json!(warnings)), "{document}");
    // A restore keeps the bits.
    sandbox.ok(&["restore", "latest", "--to", "b.db"]);
    assert_eq!(test_fixtures::rows_of_file(&sandbox.path("b.db")).vectors["nan"], encode_vector(&values));
}

#[test]
fn a_reader_that_closes_the_pipe_ends_a_dump_quietly() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 3000, DIMENSIONS);
    sandbox.create("many");
    for args in [&["dump", "many"][..], &["dump", "many", "--json"]] {
        let mut command = sandbox.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let result = RunResult::from(child.wait_with_output().unwrap());
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        assert!(line.starts_with('{'), "{line}");
    }
    #[cfg(target_os = "linux")]
    for args in [&["dump", "many"][..], &["dump", "many", "--json"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = sandbox.command(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        RunResult::from(output).assert_fails(1, "error: standard output could not be written\n  caused by: ");
    }
}

#[test]
fn records_that_are_not_those_of_the_snapshot_are_an_error_after_they_were_printed() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let stored = StoredSnapshot::read(&sandbox.path("snapshots"), &ids[0]);
    let other = "1".repeat(64);
    let forged = edit_metadata(stored.file(layout::METADATA_JSON), |json| json["checksum"] = other.clone().into());
    stored.put(layout::METADATA_JSON, &forged);
    let result = sandbox.run(&["dump", "one"]);
    result.assert_fails(3, &format!("instead of {other}"));
    result.assert_fails(3, "hint: 300 records were printed before that");
    assert_eq!(records(&result.stdout).len(), 300);
    let (exit_code, document) = sandbox.json(&["dump", "one"]);
    assert_eq!((exit_code, &document["error"]["kind"], &document["proof"]), (3, &json!("corrupt"), &Value::Null));
    assert_eq!(document["records"].as_array().unwrap().len(), 300);
}
