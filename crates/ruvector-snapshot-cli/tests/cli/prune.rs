//! `prune`: the rules as they are typed, and the plan as it is printed and carried out.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chrono::{Datelike as _, NaiveDate};
use serde_json::json;

use super::Desk;

/// The lines of the plan.
fn plan(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| line.starts_with("keep") || line.starts_with("drop")).collect()
}

#[test]
fn prune_does_what_its_dry_run_says() {
    let (desk, ids) = Desk::with_snapshots(4);
    let rules = ["--keep-last", "2", "--keep-yearly", "1", "--keep-label", "host"];
    let prune = |more: &[&'static str]| [&["prune"], &rules[..], more].concat();
    let dry = desk.ok(&prune(&["--dry-run"]));
    assert!(dry.contains("would keep 2 snapshots and delete 2"), "{dry}");
    assert_eq!(desk.ids().len(), 4);
    let wet = desk.ok(&prune(&[]));
    assert!(wet.contains("2 snapshots kept, 2 deleted"), "{wet}");
    assert_eq!(plan(&dry), plan(&wet));
    assert_eq!(desk.ids(), [&*ids[3], &*ids[2]]);

    let year = &ids[0][..4];
    for (line, (verdict, id, name, reasons)) in plan(&wet).into_iter().zip([
        ("keep", &ids[3], "four", format!("last 2, yearly {year}")),
        ("keep", &ids[2], "three", "last 2".to_owned()),
        ("drop", &ids[1], "two", format!("not in the last 2, yearly {year} has a newer one, no label host")),
        ("drop", &ids[0], "one", format!("not in the last 2, yearly {year} has a newer one, no label host")),
    ]) {
        assert!(line.starts_with(&format!("{verdict}  {id}  {year}-")), "{line}");
        assert!(line.ends_with(&format!(" UTC  {name}  {reasons}")), "{line}");
    }
    assert!(desk.ok(&["prune", "--keep", "5"]).contains("nothing to delete"));
}

#[test]
fn keep_is_short_for_keep_last() {
    let (desk, _) = Desk::with_snapshots(3);
    let long = desk.ok(&["prune", "--keep-last", "2", "--dry-run"]);
    assert_eq!(desk.ok(&["prune", "--keep", "2", "--dry-run"]), long);
    assert_eq!(plan(&long).len(), 3);
}

#[test]
fn the_document_tells_the_reasons_too() {
    let (desk, ids) = Desk::with_snapshots(2);
    for (more, deleted) in [(&["--dry-run"][..], json!([])), (&[], json!([ids[0]]))] {
        let (status, document) = desk.json(&[&["prune", "--keep-last", "1"], more].concat());
        assert_eq!(status, 0);
        assert_eq!((&document["deleted"], &document["dry_run"]), (&deleted, &json!(!more.is_empty())));
        let freed_bytes = if more.is_empty() { &document["drop"][0]["size_bytes"] } else { &json!(0) };
        assert_eq!((&document["stayed"], &document["freed_bytes"]), (&json!([]), freed_bytes));
        let (keep, drop) = (&document["keep"][0], &document["drop"][0]);
        assert_eq!((&keep["id"], &keep["reasons"]), (&json!(ids[1]), &json!([{ "why": "last", "count": 1 }])));
        assert_eq!((&drop["id"], &drop["reasons"]), (&json!(ids[0]), &json!([{ "why": "not_last", "count": 1 }])));
        assert_eq!(drop["name"], "one");
    }
}

#[test]
fn every_rule_can_be_typed_and_any_of_them_keeps() {
    let desk = Desk::with_rows(10);
    desk.ok(&["create", "--db", "a.db", "--name", "released", "--label", "reason=release"]);
    desk.create("newest");
    for rule in ["hourly", "daily", "weekly", "monthly", "quarterly", "yearly"] {
        let printed = desk.ok(&["prune", &format!("--keep-{rule}"), "3", "--dry-run"]);
        assert!(plan(&printed)[0].contains(&format!("  newest  {rule} ")), "{printed}");
    }
    let labels = ["prune", "--keep-last", "1", "--keep-label", "reason=release", "--keep-label", "keep", "--dry-run"];
    let printed = desk.ok(&labels);
    assert!(plan(&printed)[1].ends_with("  released  label reason=release"), "{printed}");
    let printed = desk.ok(&["prune", "--keep-within", "1y5m7d2h", "--dry-run"]);
    assert!(plan(&printed).iter().all(|line| line.ends_with("  within 1y5m7d2h")), "{printed}");
}

/// Kiritimati is 14 hours ahead of UTC and Pago Pago 11 behind: it is never the same day there.
#[test]
fn days_and_times_are_those_of_the_time_zone() {
    let (desk, _) = Desk::with_snapshots(1);
    let day_in = |time_zone: &str| -> NaiveDate {
        let printed = desk.ok(&["prune", "--keep-daily", "1", "--time-zone", time_zone]);
        let day = printed.lines().next().unwrap().rsplit_once(" daily ").unwrap().1.to_owned();
        assert_eq!(printed.matches(&format!("  {day} ")).count(), 1, "the time is told in another zone: {printed}");
        day.parse().unwrap()
    };
    let days_apart = day_in("Pacific/Kiritimati").num_days_from_ce() - day_in("Pacific/Pago_Pago").num_days_from_ce();
    assert!((1..=2).contains(&days_apart), "{days_apart}");
}

#[test]
fn rules_that_cannot_be_are_wrong_usage() {
    let (desk, ids) = Desk::with_snapshots(2);
    let fails = |args: &[&str], words: &str| desk.run(&[&["prune"], args].concat()).fails(2, words);
    for none in [&[][..], &["--dry-run"], &["--time-zone", "UTC"]] {
        fails(none, "--keep-last <N>");
    }
    fails(&["--keep", "0"], "0 would keep nothing");
    fails(&["--keep-daily", "0", "--keep-last", "1"], "0 would keep nothing");
    fails(&["--keep", "-1"], "-1");
    fails(&["--keep-hourly", "many"], "whole number");
    fails(&["--keep-within", "7"], "1y5m7d2h");
    fails(&["--keep-within", "0d"], "1y5m7d2h");
    fails(&["--keep-label", "=db1"], "KEY=VALUE");
    fails(&["--keep-last", "1", "--time-zone", "Berlin"], "Europe/Berlin");
    assert_eq!(desk.ids(), [&*ids[1], &*ids[0]]);
}

#[test]
fn rules_that_keep_nothing_delete_nothing() {
    let (desk, ids) = Desk::with_snapshots(2);
    for more in [&["--dry-run"][..], &[]] {
        desk.run(&[&["prune", "--keep-label", "none"], more].concat()).fails(1, "keep none of the 2 snapshots");
    }
    assert_eq!(desk.ids(), [&*ids[1], &*ids[0]]);
}

/// Lets everything below a directory be three days old.
pub(crate) fn make_old(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| make_old(&entry.unwrap().path()));
    }
    let time = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// A store may be a directory that is used for more than snapshots.
#[test]
fn files_and_directories_of_others_are_left_alone() {
    let (desk, ids) = Desk::with_snapshots(1);
    for name in ["invoice#2024", "notes/chapter#1", "proj/.git/refs/heads/main"] {
        let path = desk.path("snapshots").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    fs::create_dir(desk.path("snapshots/notes/empty")).unwrap();
    // What killed creates have left.
    let [staged, empty] = ["20261101T080000000Z-0000000000000001", "20261101T080000000Z-0000000000000002"];
    for id in [staged, empty] {
        fs::create_dir(desk.path(&format!("snapshots/snapshot-{id}"))).unwrap();
    }
    fs::write(desk.stored(staged, "vectors.bin.gz#1"), "half").unwrap();
    make_old(&desk.path("snapshots"));
    let printed = desk.ok(&["prune", "--keep-last", "5"]);
    let swept: Vec<_> = printed.lines().filter(|line| line.starts_with("sweep")).collect();
    let staged_line = format!("sweep  snapshot-{staged}/vectors.bin.gz#1  4 B  a file that was being written");
    assert_eq!(swept, [staged_line, format!("sweep  snapshot-{empty}/  0 B  an empty directory")]);
    assert!(printed.ends_with("1 snapshot kept, 0 deleted, 2 leftovers swept, 4 B freed\n"), "{printed}");
    let one = format!("snapshot-{}", ids[0]);
    assert_eq!(desk.names("snapshots"), ["invoice#2024", "notes", "proj", &one]);
    assert_eq!(desk.names("snapshots/notes"), ["chapter#1", "empty"]);
}

/// What a snapshot that is damaged stands on, and what an upload will stand on, stays; the dry run knows it.
#[test]
fn a_dry_run_knows_what_others_need() {
    let (desk, ids) = Desk::with_snapshots(1);
    let full = &ids[0];
    desk.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "one"]);
    let inc = desk.ids().remove(0);
    let newest = desk.create("newest");
    fs::remove_file(desk.stored(&inc, "vectors.bin.gz")).unwrap();
    let upload = "20261101T080000000Z-0000000000000001";
    fs::create_dir(desk.path(&format!("snapshots/snapshot-{upload}"))).unwrap();
    fs::write(desk.stored(upload, "upload.json"), format!(r#"{{"base_ids":["{full}"]}}"#)).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let printed = desk.ok(&[&["prune", "--keep-last", "1"], more].concat());
        let why = format!("  one  base of {inc}, which is damaged, base of the upload {upload}");
        assert!(plan(&printed)[1].ends_with(&why), "{printed}");
        let end = "1 damaged snapshot was left alone; list names it, and delete ID removes one\n2 snapshots kept, nothing to delete\n";
        assert!(printed.ends_with(end), "{printed}");
    }
    desk.ok(&["delete", &inc]);
    for more in [&[][..], &["--dry-run"]] {
        let ran = desk.run(&[&["delete", "one"], more].concat());
        ran.fails(1, &format!("snapshot {full} stays: the upload {upload} will stand on it"));
    }
    make_old(&desk.stored(upload, ""));
    let (status, document) = desk.json(&["prune", "--keep-last", "1"]);
    assert_eq!((status, &document["deleted"], &document["stayed"]), (0, &json!([full]), &json!([])));
    assert_eq!(document["swept"][0]["what"], "upload");
    let freed_bytes =
        document["drop"][0]["size_bytes"].as_u64().unwrap() + document["sweep"][0]["bytes"].as_u64().unwrap();
    assert_eq!(document["freed_bytes"], freed_bytes);
    assert_eq!(desk.ids(), [newest]);
}

/// One byte of one metadata.json was wrong, and is put right again.
#[test]
fn a_chain_that_is_repaired_after_a_prune_is_whole() {
    let (desk, ids) = Desk::with_snapshots(1);
    for base in ["one", "latest"] {
        desk.ok(&["create", "--db", "a.db", "--name", "inc", "--base", base]);
    }
    let [last, middle] = [desk.ids()[0].clone(), desk.ids()[1].clone()];
    desk.create("newest");
    for lost in [&middle, &ids[0]] {
        let path = desk.stored(lost, "metadata.json");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        desk.ok(&["prune", "--keep-last", "1", "--grace", "0s"]);
        fs::remove_file(&path).unwrap();
        let printed = desk.ok(&["prune", "--keep-last", "1", "--grace", "0s"]);
        assert!(printed.contains(&format!("  chain broken at {lost}\n")) && !printed.contains("sweep"), "{printed}");
        let ran = desk.run(&["list"]);
        assert_eq!(ran.status, Some(3));
        assert!(ran.stdout.contains(&format!("{lost}  DAMAGED  metadata.json: the file is missing")), "{ran:?}");
        assert!(desk.run(&["verify", "--all"]).stdout.contains(&format!("{lost}  DAMAGED: ")));
        fs::write(&path, bytes).unwrap();
        assert!(desk.ok(&["verify", &last]).contains(", with the 2 snapshots below it"));
    }
}
