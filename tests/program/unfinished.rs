//! What killed commands have left, and what running ones have written: `list` and `prune` report it with its size.

use std::fs;

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

const UPLOAD: &str = "20260101T080000000Z-0000000000000001";
const DELETED: &str = "20260101T080000000Z-0000000000000002";

/// What a killed create, a killed deletion and a killed check of the store leave, as keys with a size.
fn debris() -> [(String, usize); 5] {
    [
        (format!("snapshot-{UPLOAD}/index.bin.gz"), 2_000),
        (format!("snapshot-{UPLOAD}/upload.json"), 14),
        (format!("snapshot-{DELETED}/vectors.bin.gz"), 3_000),
        (format!("snapshot-{DELETED}/deleting-0123456789abcdef"), 0),
        ("store-check-0123456789abcdef/a".to_owned(), 500),
    ]
}

fn content(size: usize) -> Vec<u8> {
    let mut bytes = br#"{"base_ids":[]}"#.to_vec();
    bytes.resize(size.max(15), b' ');
    bytes
}

/// `more` is what only this store has.
fn assert_reported(run: &dyn Fn(&[&str]) -> RunResult, more: &[Value]) {
    let json = |args: &[&str]| -> Value {
        let (exit_code, document) = run(&[args, &["--json"]].concat()).into_json();
        assert_eq!(exit_code, 0, "{args:?}: {document}");
        document
    };
    let entry = |key: String, kind: &str, bytes: usize| json!({ "key": key, "kind": kind, "bytes": bytes });
    let mut expected = vec![
        entry(format!("snapshot-{UPLOAD}"), "upload", 2_015),
        entry(format!("snapshot-{DELETED}"), "deletion", 3_015),
        entry("store-check-0123456789abcdef/a".to_owned(), "check", 500),
    ];
    expected.extend(more.iter().cloned());
    let keys = |found: &Value| -> Vec<Value> {
        let mut found = found.as_array().unwrap().clone();
        found.sort_by_key(|one| one["key"].to_string());
        found
    };
    expected.sort_by_key(|one| one["key"].to_string());

    let listing = json(&["list"]);
    assert_eq!((keys(&listing["unfinished"]), listing["foreign"].as_u64()), (expected.clone(), Some(0)));
    let text = run(&["list"]).stdout;
    for part in [
        format!("upload: snapshot-{UPLOAD} has no metadata.json"),
        format!("deleting: snapshot-{DELETED} is being deleted"),
        "object of a store check: store-check-0123456789abcdef/a: ".to_owned(),
        "unfinished: ".to_owned(),
        "(1.97 KiB)".to_owned(),
        "(2.94 KiB)".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in {text}");
    }

    // They are too young to be collected.
    let plan = json(&["prune", "--keep-last", "1", "--dry-run"]);
    assert_eq!((keys(&plan["unfinished"]), &plan["orphans"]), (expected, &json!([])), "{plan}");
    let text = run(&["prune", "--keep-last", "1", "--dry-run"]).stdout;
    assert!(text.contains(&format!("later  snapshot-{UPLOAD}  1.97 KiB  upload, younger than --grace")), "{text}");
}

#[test]
fn unfinished_files_in_a_directory_are_reported_with_their_size() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let write = |key: &str, size: usize| {
        let path = sandbox.path(&format!("snapshots/{key}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(size)).unwrap();
    };
    for (key, size) in debris() {
        write(&key, size);
    }
    // Beside the finished files of an upload, and beside those of a snapshot.
    let staged = [format!("snapshot-{UPLOAD}/vectors.bin.gz#1"), format!("snapshot-{}/pinned.json#1", ids[0])];
    staged.iter().for_each(|key| write(key, 70_000));
    fs::create_dir(sandbox.path("snapshots/snapshot-20260101T080000000Z-0000000000000003")).unwrap();
    let mut more = staged.map(|key| json!({ "key": key, "kind": "staged", "bytes": 70_000 })).to_vec();
    more.push(json!({ "key": "snapshot-20260101T080000000Z-0000000000000003/", "kind": "directory", "bytes": 0 }));
    assert_reported(&|args| sandbox.run(args), &more);
    let text = sandbox.ok(&["list"]);
    assert!(text.contains(&format!("temporary file: snapshot-{UPLOAD}/vectors.bin.gz#1: ")), "{text}");
    assert!(text.contains("(68.36 KiB)"), "{text}");
}

#[test]
fn unfinished_objects_in_a_bucket_are_reported_with_their_size() {
    for bucket in Bucket::both() {
        bucket.create("one");
        for (key, size) in debris() {
            bucket.server.put(&format!("backups/prod/{key}"), &content(size));
        }
        assert_reported(&|args| bucket.run(args), &[]);
    }
}
