//! `prune`: the options for its rules, and the plan that it prints and applies.

use std::fs;

use chrono::{Datelike as _, NaiveDate};
use serde_json::json;
use test_fixtures::{edit_metadata, flip_bit_in_the_middle, make_old};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::sandbox::Sandbox;

/// Returns the lines of the plan.
fn plan(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| line.starts_with("keep") || line.starts_with("drop")).collect()
}

#[test]
fn prune_does_what_its_dry_run_prints() {
    let (sandbox, ids) = Sandbox::with_snapshots(4);
    sandbox.ok(&["annotate", "four", "--label", "host=db1"]);
    let rules = ["--keep-last", "2", "--keep-yearly", "1", "--keep-label", "host"];
    let prune = |more: &[&'static str]| [&["prune"], &rules[..], more].concat();
    let dry = sandbox.ok(&prune(&["--dry-run"]));
    assert!(dry.contains("would keep 2 snapshots and delete 2"), "{dry}");
    assert_eq!(sandbox.ids().len(), 4);
    let wet = sandbox.ok(&prune(&[]));
    assert!(wet.contains("2 snapshots kept, 2 deleted"), "{wet}");
    assert_eq!(plan(&dry), plan(&wet));
    assert_eq!(sandbox.ids(), [&*ids[3], &*ids[2]]);

    let year = &ids[0][..4];
    for (line, (action, id, name, reasons)) in plan(&wet).into_iter().zip([
        ("keep", &ids[3], "four", format!("last 2, yearly {year}, label host")),
        ("keep", &ids[2], "three", "last 2".to_owned()),
        ("drop", &ids[1], "two", format!("not in the last 2, not the newest of {year}, no label host")),
        ("drop", &ids[0], "one", format!("not in the last 2, not the newest of {year}, no label host")),
    ]) {
        assert!(line.starts_with(&format!("{action}  {id}  {year}-")), "{line}");
        assert!(line.ends_with(&format!(" UTC  {name}  {reasons}")), "{line}");
    }
    assert!(sandbox.ok(&["prune", "--keep", "5"]).contains("nothing to delete"));
}

#[test]
fn keep_is_short_for_keep_last() {
    let (sandbox, _) = Sandbox::with_snapshots(3);
    let long = sandbox.ok(&["prune", "--keep-last", "2", "--dry-run"]);
    assert_eq!(sandbox.ok(&["prune", "--keep", "2", "--dry-run"]), long);
    assert_eq!(plan(&long).len(), 3);
}

#[test]
fn the_json_document_contains_the_reasons() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    for (more, deleted) in [(&["--dry-run"][..], json!([])), (&[], json!([ids[0]]))] {
        let (exit_code, document) = sandbox.json(&[&["prune", "--keep-last", "1"], more].concat());
        assert_eq!(exit_code, 0);
        assert_eq!((&document["deleted"], &document["dry_run"]), (&deleted, &json!(!more.is_empty())));
        let freed_bytes = if more.is_empty() { &document["drop"][0]["stored_bytes"] } else { &json!(0) };
        assert_eq!((&document["kept"], &document["freed_bytes"]), (&json!([]), freed_bytes));
        let (keep, drop) = (&document["keep"][0], &document["drop"][0]);
        assert_eq!((&keep["id"], &keep["reasons"]), (&json!(ids[1]), &json!([{ "why": "last", "count": 1 }])));
        assert_eq!((&drop["id"], &drop["reasons"]), (&json!(ids[0]), &json!([{ "why": "not_last", "count": 1 }])));
        assert_eq!(drop["name"], "one");
    }
}

#[test]
fn every_rule_is_an_option_and_any_matching_rule_keeps() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.ok(&["create", "--db", "a.db", "--name", "released", "--label", "reason=release"]);
    sandbox.create("newest");
    for rule in ["hourly", "daily", "weekly", "monthly", "quarterly", "yearly"] {
        let printed = sandbox.ok(&["prune", &format!("--keep-{rule}"), "3", "--dry-run"]);
        assert!(plan(&printed)[0].contains(&format!("  newest  {rule} ")), "{printed}");
    }
    let labels = ["prune", "--keep-last", "1", "--keep-label", "reason=release", "--keep-label", "keep", "--dry-run"];
    let printed = sandbox.ok_with_warning(&labels, "the rule keep-label keep keeps nothing");
    assert!(plan(&printed)[1].ends_with("  released  label reason=release"), "{printed}");
    let printed = sandbox.ok(&["prune", "--keep-within", "1y5mo7d2h", "--dry-run"]);
    assert!(plan(&printed).iter().all(|line| line.ends_with("  within 1y5mo7d2h")), "{printed}");
}

#[test]
fn a_rule_that_keeps_nothing_is_a_warning() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.ok(&["create", "--db", "a.db", "--name", "a", "--label", "host=x"]);
    sandbox.create("b");
    let rules = ["prune", "--keep-last", "2", "--keep-label"];
    let prune = |label: &'static str, more: &[&'static str]| [&rules[..], &[label], more].concat();
    for more in [&["--dry-run"][..], &[]] {
        let warning = "the rule keep-label hots=x keeps nothing: no snapshot has this label";
        sandbox.ok_with_warning(&prune("hots=x", more), warning);
        sandbox.ok_with_warning(&prune("host=y", more), "the rule keep-label host=y keeps nothing");
        sandbox.ok(&prune("host=x", more));
        sandbox.ok(&prune("host", more));
    }
    let (exit_code, document) = sandbox.json(&prune("hots", &["--dry-run"]));
    assert_eq!((exit_code, document["warnings"].as_array().map(Vec::len)), (5, Some(1)), "{document}");
}

/// Kiritimati is 14 hours ahead of UTC and Pago Pago 11 behind: they never have the same day.
#[test]
fn days_and_times_follow_the_time_zone() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let day_in = |time_zone: &str| -> NaiveDate {
        let printed = sandbox.ok(&["prune", "--keep-daily", "1", "--time-zone", time_zone]);
        let day = plan(&printed)[0].rsplit_once(" daily ").unwrap().1.to_owned();
        assert_eq!(printed.matches(&format!("  {day} ")).count(), 1, "the time is printed in another zone: {printed}");
        day.parse().unwrap()
    };
    let days_apart = day_in("Pacific/Kiritimati").num_days_from_ce() - day_in("Pacific/Pago_Pago").num_days_from_ce();
    assert!((1..=2).contains(&days_apart), "{days_apart}");
}

#[test]
fn invalid_rules_are_usage_errors() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let fails = |args: &[&str], text: &str| sandbox.run(&[&["prune"], args].concat()).assert_fails(2, text);
    for none in [&[][..], &["--dry-run"], &["--time-zone", "UTC"]] {
        fails(none, "--keep-last <N>");
        let result = sandbox.run(&[&["prune"], none].concat());
        assert!(result.stderr.lines().count() == 2 && result.stderr.contains("prune --help"), "{result:?}");
    }
    fails(&["--keep", "0"], "0 would keep nothing");
    fails(&["--keep-daily", "0", "--keep-last", "1"], "0 would keep nothing");
    fails(&["--keep", "-1"], "-1");
    fails(&["--keep-hourly", "many"], "whole number");
    fails(&["--keep-within", "7"], "1y5mo7d2h");
    fails(&["--keep-within", "0d"], "is zero");
    // Months in other programs.
    fails(&["--keep-within", "6m"], "months are mo, for example 6mo");
    fails(&["--keep-within", "6m", "--keep-last", "1"], "less than an hour");
    fails(&["--keep-label", "=db1"], "KEY=VALUE");
    fails(&["--keep-last", "1", "--time-zone", "Berlin"], "Europe/Berlin");
    for group_by in ["", "label", "label:", "path"] {
        fails(&["--keep-last", "1", "--group-by", group_by], "label:KEY");
    }
    assert_eq!(sandbox.ids(), [&*ids[1], &*ids[0]]);
}

#[test]
fn rules_that_would_keep_nothing_delete_nothing() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    for more in [&["--dry-run"][..], &[]] {
        sandbox
            .run(&[&["prune", "--keep-label", "none"], more].concat())
            .assert_fails(1, "keep none of the 2 snapshots");
    }
    sandbox.ok(&["pin", "one"]);
    let pinned = sandbox.run(&["prune", "--keep-label", "none"]);
    pinned.assert_fails(1, "keep none of the 2 snapshots that can be restored (pins do not count)");
    pinned.assert_fails(1, "add a rule such as --keep-last 1");
    assert_eq!(sandbox.ids(), [&*ids[1], &*ids[0]]);
}

/// Replaces the source in the `metadata.json` of a snapshot.
fn set_source(sandbox: &Sandbox, id: &str, source: serde_json::Value) {
    let file = sandbox.stored(id, "metadata.json");
    let edited = edit_metadata(&fs::read(&file).unwrap(), |document| {
        document["source"] = source;
    });
    fs::write(file, edited).unwrap();
}

/// Returns the headings of the plan and its lines, each up to its id.
fn plan_with_headings(printed: &str) -> Vec<&str> {
    let lines = printed.lines().take_while(|line| !line.starts_with("would keep") && !line.contains(" kept, "));
    lines.map(|line| if line.starts_with("keep") || line.starts_with("drop") { &line[..42] } else { line }).collect()
}

/// Snapshots of two databases, and some from before sources were recorded.
#[test]
fn the_rules_apply_to_each_source_and_the_plan_has_a_heading_for_each() {
    let sandbox = Sandbox::with_rows(10);
    let ids: Vec<String> = (0..6).map(|_| sandbox.create("nightly")).collect();
    for (id, path) in ids.iter().zip(["/srv/a.db", "/srv/b.db", "/srv/a.db", "/srv/a.db"]) {
        set_source(&sandbox, id, json!({ "kind": "file", "host": "db1", "path": path }));
    }
    ids[4..].iter().for_each(|id| set_source(&sandbox, id, json!({ "kind": "file" })));
    let keep = |at: usize| format!("keep  {}", ids[at]);
    let drop = |at: usize| format!("drop  {}", ids[at]);
    let heading = |text: &str| text.to_owned();
    let by_source = [
        heading("source db1:/srv/a.db: keep 1, delete 2"),
        keep(3),
        drop(2),
        drop(0),
        heading("source db1:/srv/b.db: keep 1, delete 0"),
        keep(1),
        heading("sources of the kind \"file\" without a name or path: keep 1, delete 1"),
        keep(5),
        drop(4),
    ];
    let together = [keep(5), drop(4), drop(3), drop(2), drop(1), drop(0)];
    let none = ["prune", "--keep-last", "1", "--group-by", "none", "--dry-run"];
    sandbox.run(&none).assert_fails(1, "the rules would leave no snapshot of db1:/srv/a.db that can be restored");
    let label = ["prune", "--keep-label", "absent", "--allow-unprotected"];
    sandbox.run(&label).assert_fails(1, "also if it is allowed that nothing is left: a label may be mistyped");
    sandbox.run(&none[..5]).assert_fails(1, "add --allow-unprotected if the database is not needed any more");
    let none = [&none[..], &["--allow-unprotected"]].concat();
    let none = sandbox.ok_with_warning(&none, "NO SNAPSHOT of db1:/srv/b.db that can be restored");
    assert_eq!(plan_with_headings(&none), together);
    for more in [&["--dry-run"][..], &["--group-by", "source", "--dry-run"], &[]] {
        let printed = sandbox.ok(&[&["prune", "--keep-last", "1"], more].concat());
        assert_eq!(plan_with_headings(&printed), by_source);
    }
    assert_eq!(sandbox.ids(), [&*ids[5], &*ids[3], &*ids[1]]);
    let (_, document) = sandbox.json(&["prune", "--keep-last", "1"]);
    let source = |path: &str| json!({ "source": { "host": "db1", "path": path } });
    let expected = json!([
        { "group": source("/srv/a.db"), "keep": [ids[3]], "drop": [] },
        { "group": source("/srv/b.db"), "keep": [ids[1]], "drop": [] },
        { "group": { "source": { "kind": "file" } }, "keep": [ids[5]], "drop": [] },
    ]);
    assert_eq!((&document["group_by"], &document["groups"]), (&json!("source"), &expected));
}

#[test]
fn snapshots_in_a_bucket_are_grouped_by_name_or_label() {
    let bucket = Bucket::s3(S3Server::start());
    let mut ids = Vec::new();
    for (name, label) in [("a", "host=db1"), ("b", "host=db1"), ("a", "host=db2"), ("b", "host=db2"), ("b", "other=1")]
    {
        let (exit_code, document) = bucket.json(&["create", "--db", "a.db", "--name", name, "--label", label]);
        assert_eq!(exit_code, 0, "{document}");
        ids.push(document["snapshot"]["id"].as_str().unwrap().to_owned());
    }
    let groups = |group_by: &str| {
        let (exit_code, document) = bucket.json(&["prune", "--keep-last", "1", "--group-by", group_by, "--dry-run"]);
        assert_eq!((exit_code, &document["group_by"]), (0, &json!(group_by)), "{document}");
        document["groups"].clone()
    };
    let expected = json!([
        { "group": { "name": "a" }, "keep": [ids[2]], "drop": [ids[0]] },
        { "group": { "name": "b" }, "keep": [ids[4]], "drop": [ids[3], ids[1]] },
    ]);
    assert_eq!(groups("name"), expected);
    let label = |value: Option<&str>| json!({ "label": { "key": "host", "value": value } });
    let expected = json!([
        { "group": label(Some("db1")), "keep": [ids[1]], "drop": [ids[0]] },
        { "group": label(Some("db2")), "keep": [ids[3]], "drop": [ids[2]] },
        { "group": label(None), "keep": [ids[4]], "drop": [] },
    ]);
    assert_eq!(groups("label:host"), expected);
    bucket.ok(&["prune", "--keep-last", "1", "--group-by", "label:host"]);
    assert_eq!(bucket.ids(), [&*ids[4], &*ids[3], &*ids[1]]);
}

/// Only rules for labels can do that. No group is pruned then.
#[test]
fn rules_that_would_keep_nothing_of_one_group_delete_nothing() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.ok(&["create", "--db", "a.db", "--name", "a", "--label", "keep=1"]);
    let ids: Vec<String> = ["a", "b"].map(|name| sandbox.create(name)).into();
    for more in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&["prune", "--keep-label", "keep", "--group-by", "name"], more].concat());
        let message = "in the group [name \"b\"] the rules do not keep the only snapshot that can be restored";
        result.assert_fails(1, message);
        result.assert_fails(1, "add a rule such as --keep-last 1");
    }
    assert_eq!(sandbox.ids().len(), 3);
    sandbox.ok(&["delete", &ids[1]]);
    sandbox.ok(&["prune", "--keep-label", "keep", "--group-by", "name"]);
    assert_eq!(sandbox.ids().len(), 1);
}

#[test]
fn a_mistyped_label_or_a_snapshot_from_the_future_deletes_nothing() {
    let sandbox = Sandbox::with_rows(10);
    for database in ["a", "b"] {
        sandbox.ok(&["create", "--db", "a.db", "--name", database, "--label", &format!("host={database}")]);
    }
    for more in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&["prune", "--keep-last", "1", "--group-by", "label:hots"], more].concat());
        result.assert_fails(1, "no snapshot has the label \"hots\"; nothing was deleted");
    }
    sandbox.ok(&["prune", "--keep-last", "1", "--group-by", "label:host"]);
    assert_eq!(sandbox.ids().len(), 2);

    let future = sandbox.create("future");
    let file = sandbox.stored(&future, "metadata.json");
    let edited = edit_metadata(&fs::read(&file).unwrap(), |document| {
        document["created_at"] = json!("2999-01-01T00:00:00Z");
    });
    fs::write(file, edited).unwrap();
    for group_by in ["source", "none"] {
        let result = sandbox.run(&["prune", "--keep-label", "nope", "--group-by", group_by]);
        result.assert_fails(1, "the rules keep none of the 2 snapshots");
    }
    assert_eq!(sandbox.ids().len(), 3);
}

/// The directory of a store may hold other files too.
#[test]
fn prune_keeps_foreign_files_and_directories() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    for name in ["invoice#2024", "notes/chapter#1", "proj/.git/refs/heads/main"] {
        let path = sandbox.path("snapshots").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    fs::create_dir(sandbox.path("snapshots/notes/empty")).unwrap();
    // Left by creates that were killed.
    let [staged, empty] = ["20261101T080000000Z-0000000000000001", "20261101T080000000Z-0000000000000002"];
    for id in [staged, empty] {
        fs::create_dir(sandbox.path(&format!("snapshots/snapshot-{id}"))).unwrap();
    }
    fs::write(sandbox.stored(staged, "vectors.bin.gz#1"), "half").unwrap();
    make_old(&sandbox.path("snapshots"));
    let printed = sandbox.ok(&["prune", "--keep-last", "5"]);
    let orphans: Vec<_> = printed.lines().filter(|line| line.starts_with("orphan")).collect();
    let staged_line = format!("orphan  snapshot-{staged}/vectors.bin.gz#1  4 B  temporary file");
    assert_eq!(orphans, [staged_line, format!("orphan  snapshot-{empty}/  0 B  empty directory")]);
    assert!(printed.ends_with("1 snapshot kept, 0 deleted, 2 orphans collected, 4 B freed\n"), "{printed}");
    let one = format!("snapshot-{}", ids[0]);
    assert_eq!(sandbox.names("snapshots"), ["invoice#2024", "notes", "proj", &one]);
    assert_eq!(sandbox.names("snapshots/notes"), ["chapter#1", "empty"]);
}

/// The base of a corrupt snapshot and the base of an upload in progress are kept, also by a dry run.
#[test]
fn a_dry_run_keeps_bases_of_corrupt_snapshots_and_of_uploads() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let full = &ids[0];
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "one"]);
    let inc = sandbox.ids().remove(0);
    let newest = sandbox.create("newest");
    fs::remove_file(sandbox.stored(&inc, "vectors.bin.gz")).unwrap();
    let upload = "20261101T080000000Z-0000000000000001";
    fs::create_dir(sandbox.path(&format!("snapshots/snapshot-{upload}"))).unwrap();
    fs::write(sandbox.stored(upload, "upload.json"), format!(r#"{{"base_ids":["{full}"]}}"#)).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&["prune", "--keep-last", "1"], more].concat());
        result.assert_warns("ignored 1 unusable snapshot; `list` prints why, and `delete ID` removes one");
        let printed = result.stdout;
        let why = format!("  one  base of {inc}, which is corrupt, base of upload {upload}");
        assert!(plan(&printed)[1].ends_with(&why), "{printed}");
        assert!(printed.ends_with("\n2 snapshots kept, nothing to delete\n"), "{printed}");
    }
    sandbox.ok(&["delete", &inc]);
    for more in [&[][..], &["--dry-run"]] {
        let result = sandbox.run(&[&["delete", "one"], more].concat());
        result.assert_fails(1, &format!("cannot delete snapshot {full}: the upload {upload} depends on it"));
    }
    make_old(&sandbox.stored(upload, ""));
    let (exit_code, document) = sandbox.json(&["prune", "--keep-last", "1"]);
    assert_eq!((exit_code, &document["deleted"], &document["kept"]), (0, &json!([full]), &json!([])));
    assert_eq!(document["collected"][0]["kind"], "upload");
    let freed_bytes = document["drop"][0]["stored_bytes"].as_u64().unwrap()
        + document["orphans"][0]["stored_bytes"].as_u64().unwrap();
    assert_eq!(document["freed_bytes"], freed_bytes);
    assert_eq!(sandbox.ids(), [newest]);
}

/// One byte of one metadata.json is wrong, and repaired later.
#[test]
fn a_chain_that_is_repaired_after_a_prune_is_intact() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    for base in ["one", "latest"] {
        sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", base]);
    }
    let [last, middle] = [sandbox.ids()[0].clone(), sandbox.ids()[1].clone()];
    sandbox.create("newest");
    for lost in [&middle, &ids[0]] {
        let path = sandbox.stored(lost, "metadata.json");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        sandbox.run(&["prune", "--keep-last", "1", "--grace", "0s"]).assert_warns("ignored 1 unusable snapshot");
        fs::remove_file(&path).unwrap();
        let prune = ["prune", "--keep-last", "1", "--grace", "0s"];
        let printed = sandbox.ok_with_warning(&prune, "ignored 1 unusable snapshot");
        assert!(printed.contains(&format!("  chain broken at {lost}\n")) && !printed.contains("orphan"), "{printed}");
        let result = sandbox.run(&["list"]);
        assert_eq!(result.exit_code, Some(3));
        assert!(result.stdout.contains(&format!("{lost}  CORRUPT  metadata.json: the file is missing")), "{result:?}");
        assert!(sandbox.run(&["verify", "--all"]).stdout.contains(&format!("{lost}  CORRUPT: ")));
        fs::write(&path, bytes).unwrap();
        assert!(sandbox.ok(&["verify", &last]).contains(", with 2 snapshots that it depends on\n"));
    }
}

#[test]
fn a_snapshot_that_was_found_corrupt_does_not_take_the_place_of_one_that_can_be_restored() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    sandbox.ok(&["annotate", "three", "--label", "keep=yes"]);
    flip_bit_in_the_middle(&sandbox.stored(&ids[2], "vectors.bin.gz"));
    assert_eq!(sandbox.run(&["verify", "three"]).exit_code, Some(3));
    for rule in [["--keep-last", "1"], ["--keep-daily", "7"], ["--keep-yearly", "1"]] {
        let prune = ["prune", rule[0], rule[1], "--dry-run"];
        let warning = format!(
            "1 of the snapshots that are kept cannot be relied on, and no rule counts them: snapshot {}",
            ids[2]
        );
        let printed = sandbox.ok_with_warning(&prune, &warning);
        let lines = plan(&printed);
        assert!(lines[0].contains(&ids[2]) && lines[0].ends_with("  three  found corrupt"), "{rule:?}: {printed}");
        assert!(lines[1].starts_with("keep") && lines[1].contains(&ids[1]), "{rule:?}: {printed}");
        assert!(lines[2].starts_with("drop") && lines[2].contains(&ids[0]), "{rule:?}: {printed}");
    }
    // The label of the corrupt one keeps nothing that can be restored.
    let refused = sandbox.run(&["prune", "--keep-label", "keep=yes"]);
    refused.assert_fails(1, "keep none of the 2 snapshots that can be restored");
    let (exit_code, document) = sandbox.json(&["prune", "--keep-last", "1"]);
    assert_eq!((exit_code, &document["keep"][0]["reasons"]), (5, &json!([{ "why": "corrupt" }])), "{document}");
    assert_eq!(document["warnings"].as_array().unwrap().len(), 1, "{document}");
    assert_eq!(sandbox.ids(), [&*ids[2], &*ids[1]]);
    sandbox.ok(&["restore", "two", "--to", "restored.db"]);
}

#[test]
fn prune_says_if_nothing_is_left_of_a_database_that_can_be_restored() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    sandbox.ok(&["create", "--db", "a.db", "--name", "other", "--source", "articles"]);
    for id in &ids {
        flip_bit_in_the_middle(&sandbox.stored(id, "vectors.bin.gz"));
    }
    assert_eq!(sandbox.run(&["verify", "one", "two"]).exit_code, Some(3));
    let prune = ["prune", "--keep-last", "1"];
    for more in [&["--dry-run"][..], &[], &["-q"]] {
        let result = sandbox.run(&[&prune, more].concat());
        result.assert_warns("2 of the snapshots that are kept cannot be relied on, and no rule counts them: ");
        result.assert_warns("a.db that can be restored and has records is left after this prune");
        assert!(!result.stderr.contains("SNAPSHOT of articles"), "{result:?}");
    }
    assert_eq!(sandbox.run(&["prune", "--keep-last", "1", "--strict"]).exit_code, Some(1));
    assert_eq!(sandbox.ids().len(), 3);

    // A base that is missing as a whole.
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "one"]);
    fs::remove_dir_all(sandbox.stored(&ids[0], "")).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&prune, more].concat());
        result.assert_warns(&format!("cannot be restored: it depends on snapshot {}, which is missing", ids[0]));
        result.assert_warns("NO SNAPSHOT of ");
    }
    sandbox.create("full");
    let result = sandbox.run(&prune);
    assert!(!result.stderr.contains("NO SNAPSHOT"), "{result:?}");
    result.assert_warns("1 of the snapshots that are kept cannot be relied on");
}

#[test]
fn a_prune_that_leaves_a_fraction_of_the_records_says_so() {
    let sandbox = Sandbox::with_rows(40);
    sandbox.create("whole");
    std::fs::remove_file(sandbox.path("a.db")).unwrap();
    super::sandbox::create_database(&sandbox.path("a.db"), 3, super::sandbox::DIMENSIONS);
    sandbox.run(&["create", "--db", "a.db", "--name", "rest"]).assert_warns("the database has 3 records");
    let prune = ["prune", "--keep-last", "1"];
    for how in [&["--dry-run"][..], &["--yes"]] {
        sandbox
            .run(&[&prune[..], how].concat())
            .assert_warns("has 3 records at most, and what is dropped has up to 40");
    }
    sandbox.ok(&[&prune[..], &["--yes"]].concat());
}

#[test]
fn a_policy_can_be_for_one_database() {
    let sandbox = Sandbox::with_rows(20);
    for source in ["a", "b"].repeat(2) {
        sandbox.ok(&["create", "--db", "a.db", "--source", source]);
    }
    let prune = |more: &[&str]| sandbox.run(&[&["prune", "--keep-last", "1"], more].concat());
    prune(&["--source", "c"]).assert_fails(4, "the store has no snapshot of the source \"c\"");
    prune(&["--source", "c"]).assert_fails(4, "hint: the store has snapshots of a, b");
    let planned = prune(&["--source", "a", "--dry-run"]);
    assert_eq!(planned.exit_code, Some(0), "{planned:?}");
    assert_eq!(planned.stdout.matches("another source").count(), 2, "{planned:?}");
    assert_eq!(prune(&["--source", "a"]).exit_code, Some(0));
    assert_eq!(sandbox.ids().len(), 3);
    let (_, document) = sandbox.json(&["prune", "--keep-last", "1", "--source", "a", "--dry-run"]);
    assert_eq!(document["keep"][0]["reasons"][0]["why"], "other_source", "{document}");
    assert_eq!(prune(&["--source", "a", "--source", "b"]).exit_code, Some(0));
    assert_eq!(sandbox.ids().len(), 2);
}
