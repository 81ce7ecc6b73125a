//! `drill`: a rehearsed recovery, from a disk and from buckets, and what it leaves: nothing.

use ruvector_core::types::{DbOptions, HnswConfig};
use ruvector_core::{DistanceMetric, VectorDB};
use serde_json::{Value, json};
use test_fixtures::{entry, options};

use super::bucket::Bucket;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, after, create_database, open_database};

#[test]
fn drill_measures_a_recovery_from_a_full_snapshot_and_from_a_chain() {
    let disk = Sandbox::with_rows(super::bucket::ROWS);
    assert_drills(&disk, &|args| disk.run(args));
    for bucket in Bucket::both() {
        assert_drills(&bucket.sandbox, &|args| bucket.run(args));
    }
}

fn assert_drills(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    std::fs::create_dir(sandbox.path("scratch")).unwrap();
    assert_eq!(run(&["create", "--db", "a.db", "--name", "team/nightly"]).exit_code, Some(0));
    open_database(&sandbox.path("a.db"), DIMENSIONS).delete("id-000007").unwrap();
    assert_eq!(run(&["create", "--db", "a.db", "--name", "step", "--base", "latest"]).exit_code, Some(0));
    for (name, records) in [("team/nightly", super::bucket::ROWS), ("latest", super::bucket::ROWS - 1)] {
        let (exit_code, document) = run(&["drill", name, "--scratch-dir", "scratch", "--json"]).into_json();
        assert_eq!(exit_code, 0, "{document}");
        assert_eq!(document["snapshot"]["records"], records, "{document}");
        let figures = ["passed", "recall", "min_recall", "probes", "neighbors"].map(|name| document[name].clone());
        assert_eq!(figures, [json!(true), json!(1.0), json!(0.9), json!(100), json!(10)], "{document}");
        for name in ["data_age_ms", "time_to_data_ms", "time_to_open_ms", "time_to_first_search_ms", "file_bytes"] {
            assert!(document[name].is_u64(), "{name}: {document}");
        }
        assert_eq!(document["warnings"], json!([]));
        assert_eq!(sandbox.names("scratch"), Vec::<String>::new());
    }
    let text = run(&["drill", "step", "--scratch-dir", "scratch", "--probes", "5", "--no-record"]);
    assert_eq!((text.exit_code, text.stderr.as_str()), (Some(0), ""), "{text:?}");
    for expected in ["drilled 2", "restored and verified after ", "for Ruvector to build its index again", "5 searches"]
    {
        assert!(text.stdout.contains(expected), "{expected}: {text:?}");
    }
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{text:?}");
    let (_, shown) = run(&["list", "--json"]).into_json();
    assert_eq!(shown["snapshots"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_drilled_is_an_error_and_leaves_nothing() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    std::fs::create_dir(sandbox.path("scratch")).unwrap();
    for (args, expected) in [
        (["--min-recall", "1.1"], "must be a number from 0 to 1"),
        (["--min-recall", "x"], "must be a number from 0 to 1"),
        (["--probes", "0"], "must be a whole number from 1 to 10000"),
    ] {
        sandbox.run(&["drill", "one", args[0], args[1]]).assert_fails(2, expected);
    }
    sandbox.run(&["drill", "two"]).assert_fails(4, "no snapshot has the id");
    sandbox
        .run(&["drill", "one", "--scratch-dir", "missing"])
        .assert_fails(1, "cannot create a scratch directory there");
    let drill = ["drill", "one", "--scratch-dir", "scratch"];
    // There is no room for the database.
    let limited = RunResult::from(after("ulimit -f 8", &sandbox.command(&drill)).output().unwrap());
    limited.assert_fails(1, "the restored file will have at least");
    assert_eq!(sandbox.names("scratch"), Vec::<String>::new());
    test_fixtures::flip_bit_in_the_middle(&sandbox.stored(&ids[0], "vectors.bin.gz"));
    sandbox.run(&drill).assert_fails(3, "vectors.bin.gz");
    assert_eq!(sandbox.names("scratch"), Vec::<String>::new());
    assert_eq!(sandbox.names("."), ["a.db", "scratch", "snapshots"]);
}

#[test]
fn an_empty_database_passes_and_nothing_is_measured() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 0, DIMENSIONS);
    sandbox.create("empty");
    let text = sandbox.ok_with_warning(&["drill", "empty"], "has no records, so the drill has searched nothing");
    assert!(text.contains("recall        not measured: there is no record to search for"), "{text}");
    let (exit_code, document) = sandbox.json(&["drill", "empty"]);
    assert_eq!((exit_code, &document["recall"], &document["passed"]), (5, &Value::Null, &json!(true)), "{document}");
}

#[test]
fn a_drill_that_has_failed_is_listed_until_one_passes() {
    let sandbox = Sandbox::empty();
    let weak = HnswConfig { m: 2, ef_construction: 2, ef_search: 1, max_elements: 2000 };
    let distance_metric = DistanceMetric::Euclidean;
    let options = DbOptions { distance_metric, hnsw_config: Some(weak), ..options(sandbox.path("a.db"), 16) };
    let db = VectorDB::new(options).unwrap();
    let entries = (0..1500).map(|row| entry(format!("id-{row:06}"), row, 16, 1));
    db.insert_batch(entries.collect::<Vec<_>>()).unwrap();
    drop(db);
    let id = sandbox.create("weak");
    // A good one before does not hide it.
    sandbox.ok(&["drill", "weak", "--min-recall", "0"]);
    let result = sandbox.run(&["drill", "weak"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stdout.contains("TOO LOW"), "{result:?}");
    assert!(sandbox.ok(&["list"]).contains("  FAILED just now  full"));
    // On a terminal it leaves room for what says which snapshot it is.
    #[cfg(target_os = "linux")]
    if let Some((_, written)) = super::terminal::on_columns(&sandbox, 80, &[("NO_COLOR", "1")], "list") {
        assert!(written.contains("  AGE ") && written.contains("  FAILED "), "{written}");
    }
    let shown = sandbox.ok(&["show", "weak"]);
    assert!(shown.contains("  drilled       FAILED just now, ") && shown.contains("  drill FAILED, "), "{shown}");
    let (_, document) = sandbox.json(&["show", "weak"]);
    let ledger = &document["snapshots"][0]["ledger"];
    assert!(ledger["checks"]["drill_failed_at"].is_string() && ledger["checks"]["drilled_at"].is_string(), "{ledger}");
    assert_eq!((&ledger["entries"][0]["state"], &ledger["checks"]["corrupt_at"]), (&json!("failed"), &Value::Null));
    assert_eq!(ledger["entries"][0]["content"]["drill"]["min_recall"], 0.9);
    // Both are kept, and it is no corruption.
    sandbox.ok(&["prune", "--keep-last", "1", "--grace", "0s"]);
    assert_eq!(sandbox.names(&format!("snapshots/snapshot-{id}")).len(), 7);
    sandbox.ok(&["verify", "weak"]);
    sandbox.ok(&["drill", "weak", "--min-recall", "0"]);
    assert!(!sandbox.ok(&["list"]).contains("FAILED"));
    assert_eq!(sandbox.json(&["list"]).1["snapshots"][0]["checks"]["drill_failed_at"], Value::Null);
}
