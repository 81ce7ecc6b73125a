//! `search`: the nearest records of a snapshot, as the library finds them, from a disk and from buckets.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use ruvector_core::types::SearchQuery;
use serde_json::{Value, json};
use test_fixtures::entry;
use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, open_database};

/// Returns the ids of the neighbors of each query of a document.
fn ids_of(document: &Value) -> Vec<Vec<&str>> {
    let neighbors = |result: &'_ Value| result["neighbors"].as_array().unwrap().clone();
    document["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (0..neighbors(result).len()).map(|at| result["neighbors"][at]["id"].as_str().unwrap()).collect())
        .collect()
}

/// Returns what the database itself finds: ids and distances.
fn expected(sandbox: &Sandbox, vector: &[f32], k: usize) -> Vec<(String, f32)> {
    let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
    let found = db.search(SearchQuery { vector: vector.to_vec(), k, filter: None, ef_search: None }).unwrap();
    found.into_iter().map(|one| (one.id, one.score)).collect()
}

#[test]
fn search_finds_what_the_database_finds_in_a_full_snapshot_and_in_a_chain() {
    let disk = Sandbox::with_rows(super::bucket::ROWS);
    assert_searches(&disk, &|args| disk.run(args));
    for bucket in Bucket::both() {
        assert_searches(&bucket.sandbox, &|args| bucket.run(args));
    }
}

fn assert_searches(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    assert_eq!(run(&["create", "--db", "a.db", "--name", "team/nightly"]).exit_code, Some(0));
    let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
    db.delete("id-000007").unwrap();
    db.insert(entry("id-000400".to_owned(), 400, DIMENSIONS, 1)).unwrap();
    let vector = entry(String::new(), 7, DIMENSIONS, 1).vector;
    drop(db);
    assert_eq!(run(&["create", "--db", "a.db", "--name", "newest", "--base", "latest"]).exit_code, Some(0));
    let line = json!({ "id": "q1", "vector": vector, "metadata": null });
    std::fs::write(sandbox.path("q.jsonl"), format!("{}\n{line}\n", json!(vector))).unwrap();
    let args =
        ["search", "latest", "--like", "id-000400", "--query", "q.jsonl", "-k", "5", "--json", "--progress", "none"];
    let result = run(&args);
    assert_eq!(result.stderr, "", "{result:?}");
    let (exit_code, document) = result.into_json();
    assert_eq!(exit_code, 0, "{document}");
    assert_eq!((&document["metric"], &document["records"]), (&json!("Cosine"), &json!(super::bucket::ROWS)));
    assert_eq!((&document["snapshot"]["name"], &document["warnings"]), (&json!("newest"), &json!([])));
    let names: Vec<_> =
        (0..3).map(|at| (&document["results"][at]["query"], &document["results"][at]["like"])).collect();
    let named = json!(["id-000400", "q1", null]);
    assert_eq!(names, [(&named[0], &named[0]), (&named[2], &named[2]), (&named[1], &named[2])]);
    let neighbors = |at: usize| {
        let neighbors = document["results"][at]["neighbors"].as_array().unwrap();
        let parsed =
            |one: &Value| (one["id"].as_str().unwrap().to_owned(), one["distance"].to_string().parse::<f32>().unwrap());
        neighbors.iter().map(parsed).collect::<Vec<_>>()
    };
    assert_eq!(neighbors(1), expected(sandbox, &vector, 5));
    assert_eq!(neighbors(2), neighbors(1));
    let of_like = expected(sandbox, &entry(String::new(), 400, DIMENSIONS, 1).vector, 6);
    assert_eq!(neighbors(0), of_like[1..]);
    // The state of then still has the record that was removed.
    let (_, before) = run(&["search", "team/nightly", "--query", "q.jsonl", "--json"]).into_json();
    assert_eq!(ids_of(&before)[0][0], "id-000007");
    let text = run(&["search", "latest", "--query", "q.jsonl", "--with-metadata", "--where", "n>=1"]);
    assert_eq!((text.exit_code, text.stderr.as_str()), (Some(0), ""), "{text:?}");
    assert!(text.stdout.contains("\nquery 1:\nRANK  ") && text.stdout.contains("\nquery 2, \"q1\":\n"), "{text:?}");
}

#[test]
fn vectors_are_read_from_a_dump_on_standard_input() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let dumped = sandbox.ok(&["dump", "one", "--id", "id-000003", "--id", "id-000005"]);
    let mut command = sandbox.command(&["search", "one", "--query", "-", "-k", "1", "--json", "--with-metadata"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(dumped.as_bytes()).unwrap();
    let (exit_code, document) = RunResult::from(child.wait_with_output().unwrap()).into_json();
    assert_eq!((exit_code, ids_of(&document)), (0, vec![vec!["id-000003"], vec!["id-000005"]]));
    assert_eq!(document["results"][0]["query"], "id-000003");
    assert_eq!(document["results"][1]["neighbors"][0]["metadata"]["n"], 5);
    // That record has none.
    assert_eq!(document["results"][0]["neighbors"][0]["metadata"], Value::Null);
}

#[test]
fn what_cannot_be_searched_for_is_an_error_that_says_what_to_do() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.run(&["search", "one"]).assert_fails(2, "--like <RECORD_ID>");
    for k in ["0", "-1", "x", "1.5"] {
        sandbox.run(&["search", "one", "--like", "id-000001", &format!("-k={k}")]).assert_fails(2, "at least 1");
    }
    sandbox.run(&["search", "one", "--like", "id-000001", "-k", "2000000"]).assert_fails(2, "more than 1000000 in all");
    sandbox.run(&["search", "one", "--like", "id-000001", "--metric", "manhattan"]).assert_fails(2, "is Cosine");
    sandbox.run(&["search", "one", "--like", "id-000001", "--metric", "x"]).assert_fails(2, "invalid value 'x'");
    sandbox.run(&["search", "two", "--like", "id-000001"]).assert_fails(4, "no snapshot has the id");
    let unknown = sandbox.run(&["search", "one", "--like", "id-000001", "--like", "x"]);
    unknown.assert_fails(1, &format!("1 of 2 ids that were asked for is not in snapshot {}: \"x\"", ids[0]));
    assert!(unknown.stderr.contains("`find RECORD_ID`"), "{unknown:?}");
    sandbox.run(&["search", "one", "--query", "no file"]).assert_fails(1, "cannot open the file with the vectors");
    let typed = sandbox.run(&["search", "one", "--query", "[0.25,-1.5]"]);
    typed.assert_fails(1, "with `--query -`, the vectors are read from standard input");
    for (text, expected) in [
        ("", "q: there are no vectors, so there is nothing to search for"),
        ("[1,2,3]", "query 1 has 3 values, but the vectors of snapshot"),
        ("[[1]]", "q: line 1: not a vector"),
        ("[1,", "q: line 1: the JSON has no end"),
    ] {
        std::fs::write(sandbox.path("q"), text).unwrap();
        sandbox.run(&["search", "one", "--query", "q"]).assert_fails(2, expected);
    }
    let (exit_code, document) = sandbox.json(&["search", "one", "--like", "x"]);
    assert_eq!((exit_code, &document["error"]["kind"]), (1, &json!("not_found")), "{document}");
}

#[test]
fn a_search_that_finds_nothing_says_so() {
    let sandbox = Sandbox::with_rows(5);
    create_database(&sandbox.path("empty.db"), 0, DIMENSIONS);
    sandbox.create("one");
    sandbox.ok(&["create", "--db", "empty.db", "--name", "empty"]);
    std::fs::write(sandbox.path("q"), "[1,2,3,4,5,6,7,8]").unwrap();
    let empty = sandbox.ok(&["search", "empty", "--query", "q"]);
    assert!(empty.ends_with("\nquery 1: nothing was found\n"), "{empty}");
    let filtered = sandbox.ok_with_warning(
        &["search", "one", "--query", "q", "--where", "n=\"1\""],
        "the filter accepts no record of snapshot",
    );
    assert!(filtered.ends_with("\nquery 1: nothing was found\n"), "{filtered:?}");
    let (_, document) = sandbox.json(&["search", "one", "--query", "q", "--where", "n=\"1\""]);
    assert_eq!(document["warnings"].as_array().unwrap().len(), 1, "{document}");
}

#[test]
fn a_corrupt_snapshot_has_no_result() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    test_fixtures::flip_bit_in_the_middle(&sandbox.stored(&ids[0], "vectors.bin.gz"));
    let result = sandbox.run(&["search", "one", "--like", "id-000001"]);
    result.assert_fails(3, "vectors.bin.gz");
    assert_eq!(result.stdout, "");
}

#[test]
fn an_interrupted_search_says_that_nothing_was_changed() {
    let bucket = Bucket::s3(S3Server::start());
    assert_eq!(bucket.run(&["create", "--db", "a.db", "--name", "one"]).exit_code, Some(0));
    let reads_vectors: fn(&Request) -> bool = |request| request.is_get() && request.key().ends_with("vectors.bin.gz");
    let wire = bucket.server.wire();
    wire.reset_log();
    wire.set(move |request, _| reads_vectors(request).then_some(Fault::Hang));
    let mut command = bucket.command(&["search", "one", "--like", "id-000001", "-o", "stall_timeout=60s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !wire.requests().iter().any(reads_vectors) {
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let result = RunResult::from(child.wait_with_output().unwrap());
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(130), ""), "{result:?}");
    assert!(result.stderr.contains("interrupted: nothing was changed"), "{result:?}");
}

#[test]
fn a_search_without_a_query_names_both_ways_to_give_one() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let result = sandbox.run(&["search", "one"]);
    result.assert_fails(2, "--like <RECORD_ID>|--query <FILE>");
}
