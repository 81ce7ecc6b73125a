//! Corrupt snapshots and databases: they are found and named, the exit code is 3, and the others can still be used.

use std::fs;
use test_fixtures::flip_bit_in_the_middle;

use super::sandbox::{Sandbox, assert_holds};

#[test]
fn verify_names_the_corrupt_block_and_checks_the_other_snapshots() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "vectors.bin.gz"));
    let result = sandbox.run(&["verify", "two"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(3), ""), "{result:?}");
    assert!(
        result.stdout.contains("  CORRUPT: ") && result.stdout.contains("  vectors.bin.gz: block 0: "),
        "{result:?}"
    );
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.ends_with("2 snapshots intact, 1 corrupt\n"), "{result:?}");
    assert!(result.stdout.contains(&format!("{}  intact: 300 records", ids[0])), "{result:?}");
    let (exit_code, document) = sandbox.json(&["verify", "--all"]);
    assert_eq!((exit_code, &document["intact"]), (3, &serde_json::json!(false)));
    assert_eq!(document["snapshots"][1]["corruption"][0]["block"], 0);
}

#[test]
fn a_corrupt_snapshot_is_not_restored() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "metadata.bin.gz"));
    fs::write(sandbox.path("b.db"), "precious").unwrap();
    sandbox.run(&["restore", "two", "--to", "b.db", "--force"]).assert_fails(3, "nothing was written to b.db");
    assert_eq!(fs::read(sandbox.path("b.db")).unwrap(), b"precious");
    sandbox.ok(&["restore", "one", "--to", "c.db"]);
    assert_holds(&sandbox.path("c.db"), 300, 8);
    assert_eq!(sandbox.names("."), ["a.db", "b.db", "c.db", "snapshots"]);
}

#[test]
fn a_truncated_or_empty_metadata_json_is_listed_as_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    let cut = fs::read(sandbox.stored(&ids[0], "metadata.json")).unwrap();
    fs::write(sandbox.stored(&ids[0], "metadata.json"), &cut[..cut.len() / 2]).unwrap();
    fs::write(sandbox.stored(&ids[1], "metadata.json"), "").unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(3), ""), "{result:?}");
    assert!(
        result
            .stdout
            .contains(&format!("{}  CORRUPT  metadata.json: it is not valid JSON, or not of this format\n", ids[0])),
        "{result:?}"
    );
    assert!(result.stdout.contains(&format!("{}  CORRUPT  metadata.json: it is empty", ids[1])), "{result:?}");
    assert!(result.stdout.contains("1 snapshot, ") && result.stdout.contains("; 2 cannot be used ("), "{result:?}");
    let (exit_code, document) = sandbox.json(&["list"]);
    assert_eq!((exit_code, document["unusable"].as_array().unwrap().len()), (3, 2));
    sandbox.run(&["show", &ids[0]]).assert_fails(3, "metadata.json");
    sandbox.run(&["restore", &ids[0], "--to", "b.db"]).assert_fails(3, "metadata.json");
    let result = sandbox.run(&["verify", &ids[0]]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(sandbox.run(&["verify", "--all"]).stdout.contains("1 snapshot intact, 2 corrupt\n"));
    // Prune does not count them and does not delete them. Delete removes them by their ids.
    assert!(sandbox.ok(&["prune", "--keep", "1"]).contains("nothing to delete"));
    sandbox.ok(&["delete", &ids[0], &ids[1]]);
    sandbox.ok(&["list"]);
}

#[test]
fn list_and_show_report_a_missing_file() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::remove_file(sandbox.stored(&ids[0], "vectors.bin.gz")).unwrap();
    assert_eq!(sandbox.run(&["list"]).exit_code, Some(3));
    let result = sandbox.run(&["show", &ids[0]]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains("  CORRUPT  ") && result.stdout.contains("the file is missing"), "{result:?}");
    let result = sandbox.run(&["verify", &ids[0]]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains("vectors.bin.gz: the file is missing"), "{result:?}");
}

#[test]
fn a_snapshot_of_a_newer_version_is_unreadable_but_not_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::write(sandbox.stored(&ids[0], "metadata.json"), r#"{"format":"ruvector-snapshot","format_version":2}"#)
        .unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stdout.contains("UNREADABLE") && result.stdout.contains("newer"), "{result:?}");
    sandbox.run(&["verify", &ids[0]]).assert_fails(1, "newer");
    let result = sandbox.run(&["verify", "--all"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stdout.ends_with("1 snapshot intact, 1 not verified\n"), "{result:?}");
}

#[test]
fn a_corrupt_database_is_not_captured() {
    let sandbox = Sandbox::with_rows(3000);
    let before = sandbox.create("before");
    let mut bytes = fs::read(sandbox.path("a.db")).unwrap();
    bytes.iter_mut().skip(8192).step_by(1024).for_each(|byte| *byte ^= 0xff);
    fs::write(sandbox.path("a.db"), bytes).unwrap();
    sandbox.run(&["create", "--db", "a.db", "--name", "after"]).assert_fails(3, "a.db is corrupt, ");
    assert_eq!(sandbox.ids(), [&*before]);
    assert_eq!(sandbox.names("snapshots").len(), 1);
}
