//! Damaged snapshots and databases: found, named, status 3, and the whole ones still usable.

use std::fs;
use std::path::Path;

use super::{Desk, assert_holds};

fn flip_in_the_middle(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn verify_names_file_and_block_and_goes_on_with_the_others() {
    let (desk, ids) = Desk::with_snapshots(3);
    flip_in_the_middle(&desk.stored(&ids[1], "vectors.bin.gz"));
    let ran = desk.run(&["verify", "two"]);
    assert_eq!((ran.status, &*ran.stderr), (Some(3), ""), "{ran:?}");
    assert!(ran.stdout.contains("DAMAGED") && ran.stdout.contains("  vectors.bin.gz: block 0: "), "{ran:?}");
    let ran = desk.run(&["verify", "--all"]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.contains("2 snapshots whole, 1 damaged"), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{}  whole: 300 records", ids[0])), "{ran:?}");
    let (status, document) = desk.json(&["verify", "--all"]);
    assert_eq!((status, &document["whole"]), (3, &serde_json::json!(false)));
    assert_eq!(document["snapshots"][1]["damage"][0]["block"], 0);
}

#[test]
fn a_damaged_snapshot_is_not_restored() {
    let (desk, ids) = Desk::with_snapshots(2);
    flip_in_the_middle(&desk.stored(&ids[1], "metadata.bin.gz"));
    fs::write(desk.path("b.db"), "precious").unwrap();
    desk.run(&["restore", "two", "--to", "b.db", "--force"]).fails(3, "nothing was written to b.db");
    assert_eq!(fs::read(desk.path("b.db")).unwrap(), b"precious");
    desk.ok(&["restore", "one", "--to", "c.db"]);
    assert_holds(&desk.path("c.db"), 300, 8);
    assert_eq!(desk.names("."), ["a.db", "b.db", "c.db", "snapshots"]);
}

#[test]
fn metadata_json_cut_or_emptied_is_listed_as_damaged() {
    let (desk, ids) = Desk::with_snapshots(3);
    let cut = fs::read(desk.stored(&ids[0], "metadata.json")).unwrap();
    fs::write(desk.stored(&ids[0], "metadata.json"), &cut[..cut.len() / 2]).unwrap();
    fs::write(desk.stored(&ids[1], "metadata.json"), "").unwrap();
    let ran = desk.run(&["list"]);
    assert_eq!((ran.status, &*ran.stderr), (Some(3), ""), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{}  DAMAGED  metadata.json: it is not the JSON", ids[0])), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{}  DAMAGED  metadata.json: it is empty", ids[1])), "{ran:?}");
    assert!(ran.stdout.contains("1 snapshot, ") && ran.stdout.contains("2 that cannot be used"), "{ran:?}");
    let (status, document) = desk.json(&["list"]);
    assert_eq!((status, document["damaged"].as_array().unwrap().len()), (3, 2));
    desk.run(&["show", &ids[0]]).fails(3, "metadata.json");
    desk.run(&["restore", &ids[0], "--to", "b.db"]).fails(3, "metadata.json");
    let ran = desk.run(&["verify", &ids[0]]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(desk.run(&["verify", "--all"]).stdout.contains("1 snapshot whole, 2 damaged"));
    // Neither counted nor dropped by a prune, and deleted by its id.
    assert!(desk.ok(&["prune", "--keep", "1"]).contains("nothing to delete"));
    desk.ok(&["delete", &ids[0], &ids[1]]);
    desk.ok(&["list"]);
}

#[test]
fn a_file_that_is_missing_shows_without_a_verify() {
    let (desk, ids) = Desk::with_snapshots(2);
    fs::remove_file(desk.stored(&ids[0], "vectors.bin.gz")).unwrap();
    assert_eq!(desk.run(&["list"]).status, Some(3));
    let ran = desk.run(&["show", &ids[0]]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.contains("DAMAGED") && ran.stdout.contains("the file is missing"), "{ran:?}");
    let ran = desk.run(&["verify", &ids[0]]);
    assert_eq!(ran.status, Some(3), "{ran:?}");
    assert!(ran.stdout.contains("vectors.bin.gz: the file is missing"), "{ran:?}");
}

#[test]
fn a_snapshot_of_a_newer_version_is_no_damage() {
    let (desk, ids) = Desk::with_snapshots(2);
    fs::write(desk.stored(&ids[0], "metadata.json"), r#"{"format":"ruvector-snapshot","format_version":2}"#).unwrap();
    let ran = desk.run(&["list"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("UNREADABLE") && ran.stdout.contains("newer"), "{ran:?}");
    desk.run(&["verify", &ids[0]]).fails(1, "newer");
    let ran = desk.run(&["verify", "--all"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("1 snapshot whole, 1 that cannot be verified"), "{ran:?}");
}

#[test]
fn a_damaged_database_is_not_captured() {
    let desk = Desk::with_rows(3000);
    let before = desk.create("before");
    let mut bytes = fs::read(desk.path("a.db")).unwrap();
    bytes.iter_mut().skip(8192).step_by(1024).for_each(|byte| *byte ^= 0xff);
    fs::write(desk.path("a.db"), bytes).unwrap();
    desk.run(&["create", "--db", "a.db", "--name", "after"]).fails(3, "database");
    assert_eq!(desk.ids(), [&*before]);
    assert_eq!(desk.names("snapshots").len(), 1);
}
