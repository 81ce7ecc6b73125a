//! `export --dry-run`: what it says is what is then exported, and it fails as the export does.

use std::fs;

use serde_json::{Value, json};

use super::Place;
use crate::sandbox::{RunResult, Sandbox, after, create_database};

#[test]
fn an_export_writes_what_its_plan_says() {
    for place in Place::with_chain() {
        for name in ["full", "inc"] {
            for format in ["npy", "parquet"] {
                for selection in [&[][..], &["--where", "n<8"], &["--where", "n>=0"], &["--id", "id-000001"]] {
                    let args = [&["export", name, "--to", "x", "--format", format][..], selection].concat();
                    let (printed, plan) = place.would(&args);
                    // It is run for what it prints.
                    assert!(place.ok(&[&args[..], &["--dry-run", "--quiet"]].concat()).starts_with("would export "));
                    let (exit_code, done) = place.json(&args);
                    assert_eq!((exit_code, &plan["feasible"]), (0, &json!(true)), "{plan} {done}");
                    for member in ["records", "is_part", "format", "to", "store_read_bytes", "snapshot"] {
                        assert_eq!(plan[member], done[member], "{member} of {args:?}: {plan} {done}");
                    }
                    assert_files(&plan, &done);
                    let first = format!("would export {} of 300 records of ", plan["records"]);
                    assert!(printed.starts_with(&first) && printed.ends_with("exported (--dry-run)\n"), "{printed}");
                    assert!(printed.lines().skip(1).all(|line| line.chars().count() <= 80), "{printed}");
                    let is_exact = format == "npy" && !selection.is_empty();
                    assert_eq!(!printed.contains(" at least, up to about "), is_exact, "{printed}");
                    fs::remove_dir_all(place.sandbox().path("x")).unwrap();
                }
            }
        }
    }
}

#[track_caller]
fn assert_files(plan: &Value, done: &Value) {
    let (planned, files) = (plan["files"].as_array().unwrap(), done["files"].as_array().unwrap());
    assert_eq!(planned.len(), files.len(), "{plan} {done}");
    for (planned, file) in planned.iter().zip(files) {
        assert_eq!(planned["name"], file["name"]);
        let [least, bytes, likely] =
            [&planned["least_bytes"], &file["bytes"], &planned["likely_bytes"]].map(|bytes| bytes.as_u64().unwrap());
        assert!(least <= bytes && bytes <= likely, "{plan} {done}");
        // A matrix has its size whatever the records are.
        assert!(least == likely || file["name"] != "matrix.npy", "{plan}");
    }
}

#[test]
fn an_export_would_fail_as_it_fails() {
    for place in Place::with_chain() {
        let sandbox = place.sandbox();
        fs::create_dir(sandbox.path("full")).unwrap();
        fs::write(sandbox.path("full/file"), "precious").unwrap();
        for (args, text) in [
            (&["--to", "full"][..], "this exists and is not an empty directory"),
            (&["--to", "a.db"], "this exists and is not an empty directory"),
            (&["--to", "absent/x"], "absent/x"),
            (&["--to", "snapshot-20260131T080000000Z-0123456789abcdef/x"], "an export cannot be inside a snapshot"),
            (&["--to", "x", "--id", "nope"], "the id \"nope\" is not in snapshot"),
            (&["--to", "x", "--where", "n>4000"], "accepts no record"),
        ] {
            place.would_fail(&[&["export", "inc"], args].concat(), text);
        }
        let plan = place.would_fail(&["export", "inc", "--to", "full", "--id", "nope"], "not an empty directory");
        assert_eq!((plan["blockers"].as_array().unwrap().len(), &plan["missing_ids"]), (2, &json!(["nope"])), "{plan}");
        let (planned, _) = place.dry(&["export", "inc", "--to", "absent/x"]);
        assert!(planned.stderr.contains("hint: create the directory absent first\n"), "{planned:?}");
        place.dry(&["export", "nope", "--to", "x"]).0.assert_fails(4, "nope");
        // An empty directory is replaced.
        fs::create_dir(sandbox.path("empty")).unwrap();
        place.would(&["export", "inc", "--to", "empty"]);
        assert_eq!(sandbox.names("full"), ["file"]);
    }
}

#[test]
fn a_limit_for_the_size_of_files_is_in_the_way_of_an_export() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 2000, 128);
    sandbox.create("one");
    for selection in [&[][..], &["--where", "n>=0"]] {
        let args = [&["export", "one", "--to", "x", "--dry-run"], selection].concat();
        let limited = after("ulimit -f 64", &sandbox.command(&args)).output().unwrap();
        RunResult::from(limited).assert_fails(1, "a file of the export will have at least ");
    }
}

#[test]
fn what_a_killed_export_has_left_would_be_removed() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    fs::create_dir(sandbox.path(".x.exporting-abcdef")).unwrap();
    fs::write(sandbox.path(".x.exporting-abcdef/matrix.npy"), "begun").unwrap();
    let place = Place::Disk(sandbox);
    let (planned, plan) = place.dry(&["export", "one", "--to", "x"]);
    let warning = ".x.exporting-abcdef would be removed: an export to this path that was killed has left it\n";
    assert!(planned.exit_code == Some(5) && planned.stderr.ends_with(warning), "{planned:?}");
    assert_eq!(plan["warnings"].as_array().unwrap().len(), 1, "{plan}");
    let done = place.run(&["export", "one", "--to", "x"]);
    assert!(done.stderr.contains(".x.exporting-abcdef was removed"), "{done:?}");
}
