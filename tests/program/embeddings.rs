//! The embedding identity: `create --embedding`, `show`, and what `--other-embedding` accepts.

use ruvector_core::VectorDB;
use ruvector_core::types::{DbOptions, DistanceMetric};
use serde_json::json;
use test_servers::S3Server;

use super::bucket::{Bucket, ROWS};
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, open_database};

const SPACE_ROW: &str = "__ruvector_embedding_space__";

fn record_model(sandbox: &Sandbox, database: &str, model: &str) {
    let space = format!(r#"{{"model_id":"{model}","normalize":true}}"#);
    open_database(&sandbox.path(database), DIMENSIONS).save_config_value(SPACE_ROW, &space).unwrap();
}

fn assert_identities(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!(result.exit_code, Some(0), "{result:?}");
        result.stdout
    };
    record_model(sandbox, "a.db", "a");
    ok(&[
        "create",
        "--db",
        "a.db",
        "--name",
        "full",
        "--embedding",
        "model = m, normalized=true",
        "--embedding",
        "revision=1",
    ]);
    let shown = ok(&["show", "full"]);
    let lines = [
        "model=m",
        "normalized=true",
        "revision=1",
        "recorded in __ruvector_embedding_space__: model_id \"a\", normalize true",
    ];
    assert!(lines.iter().all(|line| shown.contains(line)), "{shown}");
    let (_, document) = run(&["show", "full", "--json"]).into_json();
    let given = json!({ "model": "m", "normalized": "true", "revision": "1" });
    assert_eq!(document["snapshots"][0]["embedding"]["given"], given);
    ok(&["create", "--db", "a.db", "--name", "increment", "--base", "latest"]);
    assert_eq!(run(&["show", "increment", "--json"]).into_json().1["snapshots"][0]["embedding"]["given"], given);

    let other = ["create", "--db", "a.db", "--base", "full", "--embedding", "model=n"];
    let refused = run(&other);
    refused.assert_fails(1, "different embedding identities: model \"m\" and \"n\"");
    assert!(refused.stderr.contains("add --other-embedding"), "{}", refused.stderr);
    let accepted = run(&[&other[..], &["--other-embedding", "--name", "other"]].concat());
    accepted.assert_warns("the base and the database have different embedding identities");

    create_database(&sandbox.path("b.db"), 3, DIMENSIONS);
    record_model(sandbox, "b.db", "b");
    for how in [&["--force"][..], &["--force", "--id", "id-000001"], &["--merge"]] {
        let args = [&["restore", "full", "--to", "b.db"][..], how].concat();
        let refused = run(&args);
        refused.assert_fails(1, "different embedding identities: model_id \"b\" and \"a\"");
        assert!(refused.stderr.contains("add --other-embedding"), "{}", refused.stderr);
    }
    let planned = run(&["restore", "full", "--to", "b.db", "--force", "--dry-run"]);
    assert!(planned.exit_code == Some(1) && planned.stdout.contains("embedding"), "{planned:?}");
    let text = format!("{}{}", planned.stdout, planned.stderr);
    assert!(text.contains("model_id \"b\" and \"a\"") && text.contains("--other-embedding"), "{planned:?}");
    let merge = ["restore", "full", "--to", "b.db", "--merge", "--on-conflict", "keep", "--other-embedding"];
    run(&merge).assert_warns("different embedding identities");
    let replaced = run(&["restore", "full", "--to", "b.db", "--force", "--other-embedding", "--json"]);
    let (exit_code, document) = replaced.into_json();
    assert_eq!((exit_code, document["warnings"].as_array().unwrap().len()), (5, 1), "{document}");
    ok(&["restore", "full", "--to", "b.db", "--force"]);
}

#[test]
fn snapshots_of_other_models_are_kept_apart() {
    let disk = Sandbox::with_rows(ROWS);
    assert_identities(&disk, &|args| disk.run(args));
    let bucket = Bucket::s3(S3Server::start());
    assert_identities(&bucket.sandbox, &|args| bucket.run(args));
}

#[test]
fn mistyped_identities_are_refused_before_anything_is_made() {
    let sandbox = Sandbox::with_rows(3);
    for (given, exit_code, text) in [
        (&["--embedding", "model"][..], 2, "it is KEY=VALUE"),
        (&["--embedding", "model=a,"], 2, "it is KEY=VALUE"),
        (&["--embedding", "=a"], 2, "it is KEY=VALUE"),
        (&["--embedding", "model=a", "--embedding", "model=b"], 2, "gives model twice"),
        (&["--embedding", "Model=a"], 2, "lower-case"),
        (&["--embedding", "normalized=maybe"], 2, "must be true or false"),
        (&["--other-embedding"], 2, "--base"),
    ] {
        sandbox.run(&[&["create", "--db", "a.db"], given].concat()).assert_fails(exit_code, text);
    }
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn a_restore_compares_the_file_that_it_replaces_with_the_snapshot() {
    let sandbox = Sandbox::with_rows(ROWS);
    sandbox.create("full");
    let bytes = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    create_database(&sandbox.path("other.db"), 1, 4);
    let before = bytes("other.db");
    for how in [&[][..], &["--id", "id-000001"]] {
        let args = [&["restore", "full", "--to", "other.db", "--force"][..], how].concat();
        let differ = "different embedding identities: 4 and 8 dimensions";
        let refused = sandbox.run(&args);
        refused.assert_fails(1, differ);
        assert!(refused.stderr.contains("add --other-embedding"), "{refused:?}");
        sandbox.run(&[&args[..], &["--dry-run"]].concat()).assert_fails(1, differ);
        assert_eq!(bytes("other.db"), before);
        let accepted = [&args[..], &["--other-embedding"]].concat();
        sandbox.run(&[&accepted[..], &["--dry-run"]].concat()).assert_warns(differ);
        sandbox.run(&accepted).assert_warns(differ);
        std::fs::write(sandbox.path("other.db"), &before).unwrap();
    }

    let options = DbOptions {
        dimensions: DIMENSIONS,
        distance_metric: DistanceMetric::Manhattan,
        storage_path: sandbox.path("metric.db").to_str().unwrap().to_owned(),
        ..DbOptions::default()
    };
    drop(VectorDB::new(options).unwrap());
    let redb = redb::Database::create(sandbox.path("graph.db")).unwrap();
    let transaction = redb.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, &[u8]>::new("nodes")).unwrap();
    transaction.commit().unwrap();
    drop(redb);
    std::fs::write(sandbox.path("notes.txt"), "do not lose this\n".repeat(1000)).unwrap();
    std::fs::write(sandbox.path("data.json"), "{\"vectors\": []}").unwrap();
    for (file, text) in [
        ("metric.db", "another metric: it has Manhattan, and the snapshot Cosine"),
        ("graph.db", "is no database that this program knows"),
        ("notes.txt", "is no database that this program knows"),
        ("data.json", "is no database that this program knows"),
    ] {
        let args = ["restore", "full", "--to", file, "--force"];
        let planned = sandbox.run(&[&args[..], &["--dry-run"]].concat());
        planned.assert_warns(text);
        assert!(planned.stdout.contains("warning      replaced file"), "{planned:?}");
        sandbox.run(&args).assert_warns(text);
        sandbox.ok(&args);
    }
    // A damaged database is what restores are for, and an empty file holds nothing.
    let mut damaged = bytes("metric.db");
    damaged.truncate(5000);
    for content in [damaged, Vec::new()] {
        std::fs::write(sandbox.path("metric.db"), content).unwrap();
        sandbox.ok(&["restore", "full", "--to", "metric.db", "--force"]);
    }
}
