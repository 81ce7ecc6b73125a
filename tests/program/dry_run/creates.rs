//! `create`, `compact` and `import`: what a dry run says is what is then stored, and it fails as the command does.

use std::fs;

use serde_json::{Value, json};
use test_fixtures::{Published, entry};

use super::{Place, open_database};
#[cfg(target_os = "linux")]
use crate::destinations::Shell;
use crate::sandbox::{DIMENSIONS, Sandbox, ids_of};

/// Asserts that the members of a plan are those of the snapshot that was stored after it.
#[track_caller]
fn assert_agrees(plan: &Value, snapshot: &Value) {
    for member in ["name", "records", "dimensions", "distance_metric", "checksum"] {
        assert_eq!(plan[member], snapshot[member], "{member} of {plan}");
    }
    let (stored, most) = (snapshot["stored_bytes"].as_u64().unwrap(), plan["stored_bytes_max"].as_u64().unwrap());
    assert!(0 < stored && stored <= most, "{stored} bytes: {plan}");
}

#[track_caller]
fn assert_prints(printed: &str, texts: &[&str]) {
    let is_path = |line: &&str| line.starts_with("  source") || line.starts_with("  not captured");
    assert!(printed.lines().filter(|line| !is_path(line)).all(|line| line.chars().count() <= 96), "{printed}");
    for text in texts.iter().chain(&["\nnothing was written (--dry-run)\n"]) {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
}

/// Asserts that a dry run fails as the command does, with an error that has these words.
#[track_caller]
fn assert_fails(place: &Place, args: &[&str], text: &str) {
    let (planned, _) = place.dry(args);
    assert!(planned.exit_code != Some(0) && planned.stderr.contains(text), "{text:?} is not in {planned:?}");
    let done = place.run(args);
    let command = format!(" {} --dry-run", args.join(" "));
    assert_eq!((planned.stderr.replace(&command, ""), planned.exit_code), (done.stderr, done.exit_code), "{args:?}");
}

#[test]
fn a_dry_run_of_create_says_what_is_then_stored() {
    for place in Place::each() {
        let db = place.sandbox().path("a.db");
        fs::write(place.sandbox().path("a.db.agentic"), "more").unwrap();
        let args = ["create", "--db", "a.db", "--name", "team/full", "--label", "a=b", "--embedding", "model=m"];
        let args = [&args[..], &["--allow-not-captured"]].concat();
        let (printed, plan) = place.would(&args);
        let size = db.metadata().unwrap().len();
        assert_prints(
            &printed,
            &["would create a full snapshot of a.db\n  store         NEW: ", "  name          team/full\n"],
        );
        assert_prints(
            &printed,
            &["  vectors       300 of 8 dimensions, Cosine\n", " in the store at most; ", "not captured  "],
        );
        assert_eq!(
            (&plan["store_is_new"], &plan["file_bytes"], &plan["base_id"]),
            (&json!(true), &json!(size), &Value::Null)
        );
        let (exit_code, created) = place.json(&args);
        let (snapshot, id) = (&created["snapshot"], created["id"].as_str().unwrap());
        assert_eq!((exit_code, &plan["source"], &plan["embedding"]), (0, &snapshot["source"], &snapshot["embedding"]));
        assert_eq!(plan["logical_bytes"], snapshot["logical_bytes"]);
        assert_agrees(&plan, snapshot);
        // The second time the store has snapshots.
        let (printed, plan) = place.would(&args);
        assert!(plan["store_is_new"] == false && !printed.contains("NEW"), "{printed}");

        open_database(&db, DIMENSIONS).delete("id-000007").unwrap();
        fs::remove_file(place.sandbox().path("a.db.agentic")).unwrap();
        let args = ["create", "--db", "a.db", "--base", "team/full", "--name", "inc", "--verify-base"];
        let (printed, plan) = place.would(&args);
        assert_prints(
            &printed,
            &["would create an incremental snapshot of a.db\n", "; the chain would have 2 snapshots\n"],
        );
        assert_prints(&printed, &["  changes       0 added, 0 changed, 1 removed\n", "  vectors       299 of 8 "]);
        assert_eq!((&plan["base_id"], &plan["base_chain"]), (&json!(id), &json!([id])));
        let (_, created) = place.json(&args);
        assert_eq!(plan["changes"], created["snapshot"]["changes"]);
        assert_agrees(&plan, &created["snapshot"]);
    }
}

#[test]
fn a_dry_run_of_create_fails_as_create_does() {
    for place in Place::with_chain() {
        drop(test_fixtures::make_database(&place.sandbox().path("b.db"), 5, 3, 1));
        assert_fails(&place, &["create", "--db", "missing.db"], "missing.db");
        assert_fails(&place, &["create", "--db", "a.db", "--name", "latest"], "latest");
        assert_fails(&place, &["create", "--db", "a.db", "--label", "=b"], "label");
        assert_fails(&place, &["create", "--db", "a.db", "--base", "nope"], "nope");
        assert_fails(
            &place,
            &["create", "--db", "a.db", "--base", "inc", "--max-chain", "2"],
            "would have 3 snapshots",
        );
        let inc = &ids_of(&place.json(&["list"]).1)[0];
        assert_fails(&place, &["create", "--db", "b.db", "--base", inc], "and not of");
        let elsewhere = ["create", "--db", "b.db", "--base", inc, "--base-from-elsewhere"];
        assert_fails(&place, &elsewhere, "it has 8 dimensions");
    }
}

#[test]
fn a_dry_run_creates_no_store_and_fails_where_none_can_be() {
    let place = Place::Disk(Sandbox::with_rows(10));
    let create = |store| ["create", "--db", "a.db", "--store", store];
    let (_, plan) = place.would(&create("new"));
    assert_eq!((&plan["store_is_new"], place.sandbox().path("new").exists()), (&json!(true), false), "{plan}");
    let (planned, _) = place.dry(&create("missing/store"));
    assert!(planned.stderr.contains("does not exist"), "{planned:?}");
    assert_eq!(place.run(&create("missing/store")).exit_code, planned.exit_code);
    assert_fails(&place, &create("a.db"), "a.db");
    let required = [&create("new")[..], &["--require-store"]].concat();
    let (refused, _) = place.dry(&required);
    assert_ne!(refused.exit_code, Some(0), "{refused:?}");
    assert_eq!(plan["write_checked"], true);
    let bucket = Place::each().into_iter().next_back().unwrap();
    let (printed, plan) = bucket.would(&["create", "--db", "a.db"]);
    assert_prints(&printed, &["not checked   whether the store can be written to (`store check` tries it)"]);
    assert_eq!(plan["write_checked"], false);
}

#[test]
fn a_dry_run_says_how_much_space_is_left() {
    for place in Place::with_chain() {
        let published = Published::of_entries(8, (0..3).map(|number| entry(format!("id-{number}"), number, 8, 1)));
        published.write(&place.sandbox().path(""), "old");
        let is_known = |free: &Value| free.as_u64().is_some_and(|free| free > 0);
        let is_disk = matches!(place, Place::Disk(_));
        for verb in [&["create", "--db", "a.db"][..], &["compact", "inc"], &["import", "old.snapshot.gz"]] {
            let (printed, plan) = place.would(verb);
            assert_eq!((is_known(&plan["store_free_bytes"]), printed.contains("  store free ")), (is_disk, is_disk));
            let is_create = verb[0] == "create";
            assert_eq!(is_known(&plan["scratch_free_bytes"]), is_create, "{plan}");
            assert_eq!(printed.contains("  scratch free "), is_create, "{printed}");
        }
        // Of a directory that would be created, too.
        let (printed, plan) = place.would(&["copy", "--all", "--to", "new"]);
        assert!(is_known(&plan["target_free_bytes"]) && printed.contains("  target free "), "{printed}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_dry_run_warns_of_too_little_space_and_fails_if_that_is_certain() {
    let place = Place::with_chain().into_iter().next().unwrap();
    let published = Published::of_entries(8, (0..300).map(|number| entry(format!("id-{number}"), number, 8, 1)));
    published.write(&place.sandbox().path(""), "old");
    fs::create_dir(place.sandbox().path("small")).unwrap();
    let script = "mount -t tmpfs -o size=8k none small && cp -r snapshots/. small 2>/dev/null;";
    let Some(shell) = Shell::with_mounts(script) else { return };
    let dry = |args: &[&str]| {
        let args = [args, &["--dry-run"]].concat();
        (
            shell.run(place.sandbox().command(&args)),
            shell.run(place.sandbox().command(&[&args[..], &["--json"]].concat())),
        )
    };
    let at_most = "bytes may be written, and the file system of this store has ";
    for verb in [
        &["create", "--db", "a.db", "--store", "small/new"][..],
        &["import", "old.snapshot.gz", "--store", "small/new"],
        &["copy", "inc", "--compact", "--to", "small/new"],
    ] {
        let (result, json) = dry(verb);
        assert!(result.exit_code == Some(5) && result.stderr.contains(at_most), "{result:?}");
        let (exit_code, document) = json.into_json();
        assert_eq!(exit_code, 5, "{document}");
        let mut warnings = document["warnings"].as_array().unwrap().iter();
        assert!(warnings.any(|warning| warning.as_str().unwrap().contains(at_most)), "{document}");
    }
    let (result, _) = dry(&["create", "--db", "a.db", "--scratch-dir", "small"]);
    assert!(result.exit_code == Some(5) && result.stderr.contains("in this scratch directory"), "{result:?}");
    let (result, _) = dry(&["copy", "--all", "--to", "small/new"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    let certain = "bytes would be written, and the file system of this store has ";
    assert!(result.stderr.contains(certain) && result.stderr.contains("hint: free space"), "{result:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_dry_run_says_that_the_store_cannot_be_written() {
    let place = Place::with_chain().into_iter().next().unwrap();
    let published = Published::of_entries(8, (0..3).map(|number| entry(format!("id-{number}"), number, 8, 1)));
    published.write(&place.sandbox().path(""), "old");
    let script = "mount --bind snapshots snapshots && mount -o remount,ro,bind snapshots &&";
    let Some(shell) = Shell::with_mounts(script) else { return };
    let verbs: [&[&str]; 4] = [
        &["create", "--db", "a.db"],
        &["create", "--db", "a.db", "--store", "snapshots/new"],
        &["compact", "inc"],
        &["import", "old.snapshot.gz"],
    ];
    for verb in verbs {
        let planned = shell.run(place.sandbox().command(&[verb, &["--dry-run"]].concat()));
        assert!(planned.stderr.contains("Read-only file system"), "{planned:?}");
        let done = shell.run(place.sandbox().command(verb));
        assert!(planned.exit_code == done.exit_code && done.exit_code == Some(1), "{planned:?} {done:?}");
    }
}

#[test]
fn a_dry_run_of_compact_says_what_is_then_stored() {
    for place in Place::with_chain() {
        let (printed, document) = place.would(&["compact", "inc"]);
        assert_prints(
            &printed,
            &["would compact ", "  chain         2 snapshots, ", "  vectors       300 of 8 dimensions"],
        );
        let plan = &document["snapshots"][0];
        let (exit_code, done) = place.json(&["compact", "inc"]);
        let stored = &done["snapshots"][0];
        assert_eq!(exit_code, 0, "{done}");
        assert_agrees(plan, stored);
        for member in ["from_id", "from_chain", "from_chain_stored_bytes", "created_at"] {
            assert_eq!(plan[member], stored[member], "{member} of {plan}");
        }
        let full = plan["from_chain"][0].as_str().unwrap();
        assert_fails(&place, &["compact", full], "already a full snapshot");
        assert_fails(&place, &["compact", "nope"], "nope");
        // One that cannot be compacted does not hide the other.
        let inc = plan["from_id"].as_str().unwrap();
        let (result, document) = place.dry(&["compact", full, inc]);
        assert_eq!((result.exit_code, &document["snapshots"][1]["from_id"]), (Some(1), &json!(inc)), "{document}");
    }
}

#[test]
fn a_dry_run_of_compact_finds_what_is_missing() {
    let place = Place::with_chain().into_iter().next().unwrap();
    let (_, document) = place.would(&["compact", "inc"]);
    let full = document["snapshots"][0]["from_chain"][0].as_str().unwrap();
    fs::remove_file(place.sandbox().stored(full, "vectors.bin.gz")).unwrap();
    let (planned, _) = place.dry(&["compact", "inc"]);
    assert_eq!(planned.exit_code, Some(3), "{planned:?}");
    assert!(planned.stderr.contains("nothing was stored") && planned.stderr.contains("vectors.bin.gz"), "{planned:?}");
}

#[test]
fn a_dry_run_of_import_says_what_is_then_stored() {
    for place in Place::each() {
        let published = Published::of_entries(8, (0..300).map(|number| entry(format!("id-{number}"), number, 8, 1)));
        let directory = place.sandbox().path("");
        published.write(&directory, "articles");
        let contents = published.contents();
        published.write_contents(&directory, "cut", &contents[..contents.len() - 1]);
        fs::copy(directory.join("articles.snapshot.gz"), directory.join("alone.snapshot.gz")).unwrap();
        assert_fails(&place, &["import", "missing.snapshot.gz"], "missing.snapshot.gz");
        assert_fails(&place, &["import", "alone.snapshot.gz"], "sidecar");
        assert_fails(&place, &["import", "cut.snapshot.gz"], "cut.snapshot.gz");
        assert_fails(&place, &["import", "articles.snapshot.gz", "--label", "imported-id=x"], "imported-id");
        let (result, plan) = place.dry(&["import", "alone.snapshot.gz", "--unverified"]);
        result.assert_warns("there was no sidecar");
        assert_prints(&result.stdout, &["  verified      no: there is no sidecar\n"]);
        assert!(plan["verified"] == false && plan["warnings"].as_array().unwrap().len() == 1, "{plan}");
        let args = ["import", "articles.snapshot.gz", "--name", "team/old", "--label", "a=b", "--source", "s"];
        let (printed, plan) = place.would(&args);
        assert_prints(
            &printed,
            &["would import articles.snapshot.gz\n  store         NEW: ", "  name          team/old\n"],
        );
        assert_prints(&printed, &["  vectors       300 of 8 dimensions", "not captured  quantization "]);
        let (exit_code, document) = place.json(&args);
        let snapshot = &document["snapshot"];
        assert_eq!((exit_code, &plan["labels"], &plan["source"]), (0, &snapshot["labels"], &snapshot["source"]));
        assert_eq!((&plan["created_at"], &plan["verified"]), (&snapshot["created_at"], &json!(true)));
        assert_agrees(&plan, snapshot);
    }
}
