//! `compact`: a full snapshot from a chain.

use serde_json::json;
use test_fixtures::flip_bit_in_the_middle;

use super::chains::{assert_same_contents, chain, increment, show};
use super::sandbox::files_below;

#[test]
fn compact_creates_a_full_snapshot_from_a_chain() {
    let (sandbox, ids) = chain(2);
    let before = files_below(&sandbox.path("snapshots"));
    let (exit_code, document) = sandbox.json(&["compact", &ids[2]]);
    let document = &document["snapshots"][0];
    assert_eq!((exit_code, &document["from_chain"]), (0, &json!(ids)));
    let compacted = document["id"].as_str().unwrap();
    assert_eq!(document["type"], "full");
    let newest = show(&sandbox, &ids[2]);
    for same in ["checksum", "name", "created_at", "records"] {
        assert_eq!(document[same], newest[same], "{same}");
    }
    // The chain is unchanged.
    let after = files_below(&sandbox.path("snapshots"));
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)));
    assert_eq!(after.len(), before.len() + 5);
    sandbox.ok(&["delete", "full", "--cascade"]);
    assert_eq!(sandbox.ids(), [compacted]);
    sandbox.ok(&["restore", "latest", "--to", "b.db"]);
    assert_same_contents(&sandbox, "b.db");
    let dependent = increment(&sandbox, "latest", "dependent");
    let printed = sandbox.ok(&["compact", &dependent]);
    for text in [
        "created ",
        ", full\n",
        &*format!("from          {dependent}\n"),
        "taken         ",
        "its chain of 2 snapshots has",
        "the chain was kept; delete its snapshots by their ids when you no longer need them\n",
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
}

#[test]
fn a_second_compact_stores_nothing_unless_the_copy_is_corrupt_or_deleted() {
    let (sandbox, ids) = chain(1);
    let compact = || {
        let (exit_code, document) = sandbox.json(&["compact", &ids[1]]);
        let one = &document["snapshots"][0];
        (exit_code, one["existing"].as_bool().unwrap(), one["id"].as_str().unwrap().to_owned())
    };
    let (_, plan) = sandbox.json(&["compact", &ids[1], "--dry-run"]);
    assert_eq!(plan["snapshots"][0]["existing_id"], json!(null), "{plan}");
    let (_, is_existing, first) = compact();
    assert!(!is_existing);
    let before = files_below(&sandbox.path("snapshots"));
    assert_eq!(compact(), (0, true, first.clone()));
    let printed = sandbox.ok(&["compact", &ids[1]]);
    assert_eq!(printed, format!("exists  {first}, the full snapshot of {}; nothing was stored\n", ids[1]));
    let (_, plan) = sandbox.json(&["compact", &ids[1], "--dry-run"]);
    assert_eq!(plan["snapshots"][0]["existing_id"], json!(first), "{plan}");
    assert!(sandbox.ok(&["compact", &ids[1], "--dry-run"]).contains("nothing would be stored\n"));
    assert_eq!(files_below(&sandbox.path("snapshots")), before);
    // What is known to be corrupt is no copy.
    flip_bit_in_the_middle(&sandbox.stored(&first, "vectors.bin.gz"));
    assert_eq!(sandbox.run(&["verify", &first]).exit_code, Some(3));
    let (exit_code, is_existing, second) = compact();
    assert_eq!((exit_code, is_existing), (0, false));
    assert_eq!(compact(), (0, true, second.clone()));
    sandbox.ok(&["delete", &second]);
    assert!(!compact().1);
}

#[test]
fn compact_refuses_a_full_or_missing_snapshot() {
    let (sandbox, ids) = chain(1);
    sandbox
        .run(&["compact", "full"])
        .assert_fails(1, &format!("cannot compact snapshot {}: it is already a full snapshot", ids[0]));
    sandbox.run(&["compact", "nope"]).assert_fails(4, "no snapshot has the id");
    sandbox.run(&["compact", "2"]).assert_fails(2, "2 ids start with \"2\"");
    flip_bit_in_the_middle(&sandbox.stored(&ids[0], "vectors.bin.gz"));
    let result = sandbox.run(&["compact", "latest"]);
    result.assert_fails(3, "vectors.bin.gz: cannot compact snapshot ");
    result.assert_fails(3, "nothing was stored");
    assert_eq!(sandbox.names("snapshots").len(), 2);
}

/// After a compact the newest snapshot of the name is the full one.
#[test]
fn a_second_compact_by_name_means_the_incremental_snapshot() {
    let (sandbox, ids) = chain(1);
    sandbox.ok(&["compact", "step"]);
    let full = sandbox.ids().into_iter().find(|id| !ids.contains(id)).unwrap();
    let before = files_below(&sandbox.path("snapshots"));
    for given in ["step", "latest", &*full, &*ids[1]] {
        let printed = sandbox.ok(&["compact", given]);
        assert_eq!(
            printed,
            format!("exists  {full}, the full snapshot of {}; nothing was stored\n", ids[1]),
            "{given}"
        );
        let planned = sandbox.ok(&["compact", given, "--dry-run"]);
        assert!(planned.contains("nothing would be stored\n"), "{planned}");
    }
    // Both are one.
    let (exit_code, document) = sandbox.json(&["compact", "step", &ids[1], &full]);
    assert_eq!((exit_code, document["snapshots"].as_array().unwrap().len()), (0, 1), "{document}");
    assert_eq!(files_below(&sandbox.path("snapshots")), before);
}
