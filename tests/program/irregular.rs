//! Rows that are not records, on a disk and in a bucket: create and show name them, verify and restore prove them.

use std::path::Path;

use redb::{MultimapTableDefinition, TableDefinition};
use serde_json::Value;
use test_fixtures::{RawRows, encode_vector};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

const VISITS: TableDefinition<'_, u64, &str> = TableDefinition::new("visits\u{1b}[2J");
const EMPTY: TableDefinition<'_, (u8, &str), Option<u64>> = TableDefinition::new("empty");
const GROUPS: MultimapTableDefinition<'_, &str, u64> = MultimapTableDefinition::new("groups");

/// Adds three irregular records, two foreign tables and a multimap table to the database of a sandbox.
fn spoil(path: &Path) -> RawRows {
    let before = RawRows::of_file(path);
    let mut rows = before.clone();
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(140), "]".repeat(140));
    rows.vectors.insert(b"deep".to_vec(), before.vectors.values().next().unwrap().clone());
    rows.metadata.insert(b"deep".to_vec(), deep.into_bytes());
    rows.vectors.insert(b"two-dimensions".to_vec(), encode_vector(&[1.0, 2.0]));
    rows.metadata.insert(b"orphan".to_vec(), b"{}".to_vec());
    rows.write_over(&before, path);
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut visits = transaction.open_table(VISITS).unwrap();
        (0..120).for_each(|at| drop(visits.insert(at, "x").unwrap()));
        transaction.open_table(EMPTY).unwrap();
        transaction.open_multimap_table(GROUPS).unwrap().insert("a", 1).unwrap();
    }
    transaction.commit().unwrap();
    rows
}

fn is_named(printed: &str) {
    for text in [
        "irregular     3 records and 2 tables with 120 rows, kept as they are\n",
        "record \"deep\": the metadata nests deeper than 127 levels\n",
        "record \"two-dimensions\": its vector has 2 dimensions, but the database has 8\n",
        "record \"orphan\": it has metadata, but no vector\n",
        "table \"empty\": 0 rows\n",
        ": 120 rows\n",
        "not captured  table \"groups\" (a multimap table)\n",
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}

/// Asserts that two databases have the same rows. The metadata of a record is restored in its canonical form.
fn assert_same(restored: &RawRows, expected: &RawRows) {
    assert!(restored.vectors == expected.vectors && restored.config == expected.config);
    assert_eq!(restored.metadata.len(), expected.metadata.len());
    for (id, text) in &expected.metadata {
        let json = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
        let found = restored.metadata[id].as_slice();
        assert!(found == text || json(text).is_some_and(|expected| json(found) == Some(expected)), "{id:?}");
    }
}

/// Creates, shows, verifies, compacts and restores, with a program that keeps its snapshots in some store.
fn survives(sandbox: &Sandbox, ok: &dyn Fn(&[&str]) -> String) {
    let rows = spoil(&sandbox.path("a.db"));
    let create = |args: &[&str]| ok(&[&["create", "--db", "a.db", "--allow-not-captured", "--name"], args].concat());
    is_named(&create(&["full"]));
    is_named(&ok(&["show", "full"]));
    let document: Value = serde_json::from_str(&ok(&["show", "full", "--json"])).unwrap();
    let irregular = &document["snapshots"][0]["irregular"];
    assert_eq!(
        (&irregular["records"], &irregular["tables"], &irregular["table_rows"]),
        (&3.into(), &2.into(), &120.into())
    );

    // The next two have the irregular rows of their base, and other ones.
    is_named(&create(&["same", "--base", "full"]));
    let mut other = rows.clone();
    other.metadata.insert(b"orphan".to_vec(), b"other".to_vec());
    other.write_over(&rows, &sandbox.path("a.db"));
    create(&["other", "--base", "same"]);
    ok(&["compact", "other"]);
    for (name, expected) in [("full", &rows), ("same", &rows), ("other", &other)] {
        assert!(ok(&["verify", name]).contains("intact"));
        let printed = ok(&["restore", name, "--to", "b.db", "--force", "--allow-not-captured"]);
        assert!(printed.contains("3 records and 2 tables with 120 rows, restored as they were"), "{printed}");
        assert_same(&RawRows::of_file(&sandbox.path("b.db")), expected);
        let database = redb::Database::open(sandbox.path("b.db")).unwrap();
        let transaction = database.begin_read().unwrap();
        assert_eq!(transaction.open_table(VISITS).unwrap().get(119).unwrap().unwrap().value(), "x");
        assert!(transaction.open_table(EMPTY).unwrap().get((1, "")).unwrap().is_none());
        assert!(transaction.open_multimap_table(GROUPS).is_err());
    }
}

#[test]
fn irregular_rows_survive_on_a_disk() {
    let sandbox = Sandbox::with_rows(50);
    survives(&sandbox, &|args| sandbox.ok(args));
}

#[test]
fn irregular_rows_survive_in_a_bucket() {
    let bucket = Bucket::s3(S3Server::start());
    survives(&bucket.sandbox, &|args| {
        let result: RunResult = bucket.run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        result.stdout
    });
}
