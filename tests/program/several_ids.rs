//! `verify`, `show` and `compact` with several ids: all are resolved first, and what fails does not hide the others.

use std::fs;

use serde_json::{Value, json};
use test_fixtures::flip_bit_in_the_middle;
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, ids_of};

/// Runs the program at a store.
type Run<'a> = &'a dyn Fn(&[&str]) -> RunResult;

fn json_of(run: Run<'_>, args: &[&str]) -> (i32, Value) {
    run(&[args, &["--json"]].concat()).into_json()
}

/// Creates a full snapshot `full` and two increments, `one` and `two`, and returns their ids.
fn chain(run: Run<'_>) -> [String; 3] {
    let create = |args: &[&str]| {
        let (exit_code, document) = json_of(run, &[&["create", "--db", "a.db", "--name"], args].concat());
        assert_eq!(exit_code, 0, "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    };
    [create(&["full"]), create(&["one", "--base", "latest"]), create(&["two", "--base", "latest"])]
}

fn check(run: Run<'_>) {
    let [full, one, two] = chain(run);
    // Given twice, by other names, and in another order: each once. A chain is read once, newest first.
    let (exit_code, verified) = json_of(run, &["verify", "full", &two, "two", "one"]);
    assert_eq!((exit_code, ids_of(&verified)), (0, vec![two.clone(), one.clone(), full.clone()]), "{verified}");
    assert_eq!((&verified["snapshots"][2]["verified_with"], &verified["state"]), (&json!(two), &json!("intact")));
    let text = run(&["verify", "full", "two"]);
    assert!(text.stdout.ends_with("\n2 snapshots intact\n"), "{text:?}");
    // All of them are recorded.
    assert!(run(&["verify", "full", "one", "two", "--max-age", "1d"]).stdout.contains("3 skipped"));

    let (exit_code, shown) = json_of(run, &["show", "full", "two", &full]);
    assert_eq!((exit_code, ids_of(&shown)), (0, vec![full.clone(), two.clone()]), "{shown}");
    assert_eq!(shown["snapshots"][1]["base_id"], json!(one));
    let text = run(&["show", "full", "two"]).stdout;
    assert!(text.contains(&format!("\n\nsnapshot {two}\n")), "{text}");

    // The full one fails, and the two others are compacted.
    let (exit_code, compacted) = json_of(run, &["compact", "one", "full", "two"]);
    let of = |at: usize| &compacted["snapshots"][at];
    assert_eq!((exit_code, of(0)["from_chain"].clone()), (1, json!([full, one])), "{compacted}");
    assert_eq!(of(1)["id"], json!(full));
    assert!(of(1)["error"]["message"].as_str().unwrap().contains("already a full snapshot"), "{compacted}");
    assert_eq!(of(2)["from_chain"], json!([full, one, two]));
    let listed = json_of(run, &["list"]).1;
    assert!(ids_of(&listed).contains(&of(2)["id"].as_str().unwrap().to_owned()), "{listed}");
}

#[test]
fn several_ids_on_a_disk() {
    let sandbox = Sandbox::with_rows(300);
    check(&|args| sandbox.run(args));
}

#[test]
fn several_ids_in_a_bucket() {
    let bucket = Bucket::s3(S3Server::start());
    check(&|args| bucket.run(args));
}

#[test]
fn all_ids_are_resolved_before_the_first_is_worked_on() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    for verb in ["verify", "show", "compact"] {
        let result = sandbox.run(&[verb, "one", "nope", "two"]);
        result.assert_fails(4, "no snapshot has the id, id prefix or name \"nope\"");
        result.assert_fails(4, "not even the others");
        assert_eq!(result.stdout, "", "{verb}");
        sandbox.run(&[verb, "one", "2", "nope"]).assert_fails(2, "2 ids start with \"2\"");
    }
    assert_eq!(sandbox.names("snapshots").len(), 2);
    let entries = |id: &str| sandbox.names(&format!("snapshots/snapshot-{id}")).len();
    assert_eq!([entries(&ids[0]), entries(&ids[1])], [5, 5], "nothing was recorded");
}

#[test]
fn what_is_corrupt_does_not_hide_the_others_and_decides_the_exit_code() {
    let sandbox = Sandbox::with_rows(300);
    let run: Run<'_> = &|args| sandbox.run(args);
    let [full, one, _] = chain(run);
    let other = sandbox.create("other");
    flip_bit_in_the_middle(&sandbox.stored(&full, "vectors.bin.gz"));
    let result = sandbox.run(&["verify", "one", "other"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains(&format!("{one}  CORRUPT")), "{result:?}");
    assert!(result.stdout.contains(&format!("{other}  intact")), "{result:?}");
    assert!(result.stdout.ends_with("1 snapshot intact, 1 corrupt\n"), "{result:?}");
    // The ancestor in which it is was not named, and its ledger has it all the same.
    let (exit_code, shown) = sandbox.json(&["show", "full", "other"]);
    assert_eq!((exit_code, ids_of(&shown)), (3, vec![full.clone(), other.clone()]), "{shown}");
    assert!(shown["snapshots"][0]["ledger"]["checks"]["corrupt_at"].is_string(), "{shown}");

    let (exit_code, compacted) = sandbox.json(&["compact", "other", "one", "two"]);
    assert_eq!(exit_code, 3, "{compacted}");
    let kinds = compacted["snapshots"].as_array().unwrap().iter().map(|one| one["error"]["kind"].as_str().unwrap());
    assert_eq!(kinds.collect::<Vec<_>>(), ["invalid_input", "corrupt", "corrupt"]);

    // Of the first, nothing but the reason can be shown.
    flip_bit_in_the_middle(&sandbox.stored(&full, "metadata.json"));
    let result = sandbox.run(&["show", &full, &other]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stderr.starts_with("error: ") && result.stderr.contains(&full), "{result:?}");
    assert!(result.stdout.contains(&format!("snapshot {other}\n")), "{result:?}");
    let (_, shown) = sandbox.json(&["show", &full, &other]);
    assert_eq!(shown["snapshots"][0]["error"]["kind"], "corrupt", "{shown}");
    assert_eq!(shown["snapshots"][1]["id"], json!(other));
}

#[test]
fn an_error_about_one_of_several_ids_has_not_the_id_of_another_one() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let (_, document) = sandbox.json(&["show", "one", "nope"]);
    assert_eq!(
        (&document["error"]["kind"], &document["error"]["id"]),
        (&json!("not_found"), &Value::Null),
        "{document}"
    );
    // What is wrong with the only one has its id.
    fs::write(sandbox.stored(&ids[0], "metadata.json"), "{}").unwrap();
    let (_, document) = sandbox.json(&["restore", &ids[0], "--to", "b.db"]);
    assert_eq!(document["error"]["id"], json!(ids[0]), "{document}");
}
