//! `restore` of a part, and `restore --merge`: what a dry run says is what is then written, and it fails as the command
//! does.

use std::fs;

use ruvector_core::VectorEntry;
use serde_json::{Value, json};
use test_fixtures::{flip_bit_in_the_middle, json_object};

use super::{Place, open_database};
#[cfg(target_os = "linux")]
use crate::destinations::Shell;
use crate::sandbox::{DIMENSIONS, Sandbox, create_database};

const SELECTIONS: [&[&str]; 6] = [
    &["--id", "id-000001"],
    &["--id", "id-000001", "--id", "id-000002", "--id", "id-000299"],
    &["--where", "n<8"],
    &["--where", "n>=0"],
    &["--id", "id-000001", "--id", "id-000003", "--where", "seed exists"],
    &["--ids-from", "ids"],
];

/// Makes a database `b.db` of 100 rows, of which one has other values than in the snapshots, and one is in no snapshot.
fn make_other(sandbox: &Sandbox) {
    create_database(&sandbox.path("b.db"), 100, DIMENSIONS);
    let db = open_database(&sandbox.path("b.db"), DIMENSIONS);
    for id in ["id-000002", "own"] {
        let metadata = json_object(json!({ "own": true }));
        db.insert(VectorEntry { id: Some(id.to_owned()), vector: vec![1.0; DIMENSIONS], metadata }).unwrap();
    }
}

fn number(document: &Value, pointer: &str) -> u64 {
    document.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer}: {document}"))
}

#[test]
fn a_part_is_restored_as_its_plan_says() {
    for place in Place::with_chain() {
        fs::write(place.sandbox().path("ids"), "id-000005\nid-000001\n").unwrap();
        for selection in SELECTIONS {
            let args = [&["restore", "inc", "--to", "part.db"][..], selection].concat();
            let (printed, plan) = place.would(&args);
            let (exit_code, done) = place.json(&args);
            assert_eq!(
                (exit_code, &plan["feasible"], &plan["merge"]),
                (0, &json!(true), &Value::Null),
                "{plan} {done}"
            );
            let selected = &plan["selection"];
            assert_eq!(
                (&selected["records"], &selected["checksum"], &selected["store_read_bytes"]),
                (&done["records"], &done["verified_checksum_of_part"], &done["store_read_bytes"]),
                "{selection:?}"
            );
            assert_eq!((&selected["missing_ids"], &plan["fetch"]), (&json!([]), &Value::Null));
            let file_bytes = number(&done, "/file_bytes");
            assert!(number(&plan, "/file/least_bytes") <= file_bytes, "{plan} {done}");
            assert!(file_bytes <= number(&plan, "/file/likely_bytes"), "{plan} {done}");
            let first = format!("would restore {} of 300 records of ", selected["records"]);
            assert!(printed.starts_with(&first), "{first}: {printed}");
            assert!(printed.ends_with("nothing was restored (--dry-run)\n"), "{printed}");
            // The first line has the path, which can be of any length.
            assert!(printed.lines().skip(1).all(|line| line.chars().count() <= 80), "{printed}");
            fs::remove_file(place.sandbox().path("part.db")).unwrap();
        }
    }
}

#[test]
fn a_part_would_fail_as_it_fails() {
    for place in Place::with_chain() {
        let to = |to, more: &[&'static str]| [&["restore", "inc", "--to", to][..], more].concat();
        let missing = &["--id", "nope", "--id", "id-000001", "--id", "gone"];
        let plan = place.would_fail(&to("part.db", missing), "2 of 3 ids that were asked for are not in snapshot");
        let selection = &plan["selection"];
        assert_eq!((&selection["records"], &selection["missing_ids"]), (&json!(1), &json!(["gone", "nope"])), "{plan}");
        assert!(
            place.run(&[&to("part.db", missing)[..], &["--dry-run"]].concat()).stdout.contains("not found     2 ids\n")
        );
        place.would_fail(&to("part.db", &["--where", "n>4000"]), "accepts no record");
        place.would_fail(&to("missing/part.db", &["--id", "id-000001"]), "missing/part.db");
        place.would_fail(&to("a.db", &["--id", "id-000001"]), "the file already exists");
        // What is in the way of the file comes first, and does not hide the rest.
        let plan = place.would_fail(&to("a.db", missing), "the file already exists");
        assert_eq!(plan["blockers"].as_array().unwrap().len(), 2, "{plan}");
        let (planned, _) = place.dry(&to("a.db", &["--id", "id-000001"]));
        assert!(planned.stderr.contains("hint: --merge puts"), "{planned:?}");
        place.dry(&["restore", "nope", "--to", "part.db", "--id", "id-000001"]).0.assert_fails(4, "nope");

        place.would_fail(&to("a.db", &["--force", "--id", "id-000001"]), "would leave only the 1 that are selected");
        place.run(&to("older.db", &["--id", "id-000002"]));
        let (planned, plan) = place.dry(&to("older.db", &["--force", "--id", "id-000001"]));
        assert_eq!((planned.exit_code, &plan["feasible"]), (Some(0), &json!(true)), "{planned:?}");
        assert!(planned.stdout.contains("  replace       a file of "), "{planned:?}");
    }
}

#[test]
fn a_merge_does_what_its_plan_says() {
    for place in Place::with_chain() {
        fs::write(place.sandbox().path("ids"), "id-000005\nid-000001\nid-000200\n").unwrap();
        make_other(place.sandbox());
        let mut counted = [0; 4];
        for selection in SELECTIONS.into_iter().chain([&[][..]]) {
            for on_conflict in [&["--on-conflict", "keep"][..], &["--on-conflict", "replace"], &[]] {
                fs::copy(place.sandbox().path("b.db"), place.sandbox().path("c.db")).unwrap();
                let args = [&["restore", "inc", "--to", "c.db", "--merge"], selection, on_conflict].concat();
                let (planned, plan) = place.dry(&args);
                let (exit_code, done) = place.json(&args);
                assert_eq!(planned.exit_code, Some(exit_code), "{planned:?} {done}");
                if exit_code != 0 {
                    assert_eq!(plan["blockers"][0]["kind"], done["error"]["kind"], "{plan} {done}");
                    assert!(on_conflict.is_empty() && number(&plan, "/merge/kept") > 0, "{plan} {done}");
                    continue;
                }
                let counts = ["inserted", "replaced", "kept", "same"];
                counts
                    .iter()
                    .for_each(|count| assert_eq!(plan["merge"][count], done[count], "{args:?}: {plan} {done}"));
                for (sum, count) in counted.iter_mut().zip(counts) {
                    *sum += number(&done, &format!("/{count}"));
                }
                let selected = &plan["selection"];
                assert_eq!(
                    (&selected["records"], &selected["store_read_bytes"]),
                    (&done["records"], &done["store_read_bytes"]),
                    "{plan} {done}"
                );
                let first = format!("would merge {} of 300 records of ", selected["records"]);
                assert!(planned.stdout.starts_with(&first), "{planned:?}");
                assert!(planned.stdout.ends_with("nothing was merged (--dry-run)\n"), "{planned:?}");
                assert!(planned.stdout.lines().skip(1).all(|line| line.chars().count() <= 80), "{planned:?}");
                // Afterwards there is nothing left to insert.
                assert_eq!(place.dry(&args).1["merge"]["inserted"], 0);
            }
        }
        assert!(counted.iter().all(|count| *count > 0), "{counted:?}");
    }
}

#[test]
fn a_merge_would_fail_as_it_fails() {
    for place in Place::with_chain() {
        let sandbox = place.sandbox();
        make_other(sandbox);
        create_database(&sandbox.path("long.db"), 3, DIMENSIONS + 1);
        fs::write(sandbox.path("text.db"), "no database").unwrap();
        let merge = |to, more: &[&'static str]| [&["restore", "inc", "--to", to, "--merge"][..], more].concat();
        let plan = place.would_fail(&merge("b.db", &[]), "2 records of the snapshot differ");
        assert_eq!(plan["merge"], json!({ "inserted": 200, "replaced": 0, "kept": 2, "same": 98 }));
        let (planned, _) = place.dry(&merge("b.db", &[]));
        assert!(planned.stderr.contains("; nothing would be merged\n"), "{planned:?}");
        assert!(planned.stderr.contains("hint: --on-conflict keep leaves these records"), "{planned:?}");
        place.would_fail(&merge("b.db", &["--id", "nope"]), "the id \"nope\" is not in snapshot");
        place.would_fail(&merge("b.db", &["--where", "n>4000"]), "accepts no record");
        place.would_fail(&merge("missing.db", &[]), "missing.db");
        place.would_fail(&merge("text.db", &[]), "text.db");
        place.would_fail(&merge("long.db", &[]), "it has 9 dimensions");
        // What is wrong with the database does not hide what is wrong with the ids.
        let plan = place.would_fail(&merge("long.db", &["--id", "nope"]), "it has 9 dimensions");
        assert_eq!(
            (plan["blockers"].as_array().unwrap().len(), &plan["selection"]["records"]),
            (2, &json!(0)),
            "{plan}"
        );

        let mut bytes = fs::read(sandbox.path("a.db")).unwrap();
        bytes[4096..].fill(0x5a);
        fs::write(sandbox.path("corrupt.db"), bytes).unwrap();
        place.would_fail(&merge("corrupt.db", &[]), "corrupt.db is corrupt");
        let (planned, _) = place.dry(&merge("corrupt.db", &[]));
        planned.assert_fails(1, "hint: the snapshot is not the reason");

        // It can be opened, and one of its rows cannot be read.
        let mut bytes = fs::read(sandbox.path("a.db")).unwrap();
        let found = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"id-000150")).collect::<Vec<_>>();
        found.into_iter().for_each(|at| bytes[at] = b'x');
        fs::write(sandbox.path("row.db"), bytes).unwrap();
        let plan = place.would_fail(&merge("row.db", &[]), "row.db is corrupt");
        let checks = plan["checks"].as_array().unwrap();
        let database = checks.iter().find(|check| check["name"] == "database").unwrap();
        assert_eq!(database["outcome"], "blocker", "{plan}");
        assert!(checks.iter().any(|check| check["outcome"] == "ok"), "{plan}");

        // To open it changes the file.
        let db = open_database(&sandbox.path("b.db"), DIMENSIONS);
        place.would_fail(&merge("b.db", &["--on-conflict", "keep"]), "a program has this database open");
        drop(db);
    }
}

#[test]
fn a_merge_into_a_database_of_another_model_would_fail_unless_that_is_accepted() {
    let place = Place::each().into_iter().next().unwrap();
    let row = "__ruvector_embedding_space__";
    for (database, model) in [("a.db", "a"), ("b.db", "b")] {
        create_database(&place.sandbox().path(database), 3, DIMENSIONS);
        let db = open_database(&place.sandbox().path(database), DIMENSIONS);
        db.save_config_value(row, &format!(r#"{{"model_id":"{model}"}}"#)).unwrap();
    }
    place.ok(&["create", "--db", "a.db", "--name", "full"]);
    let args = ["restore", "full", "--to", "b.db", "--merge", "--on-conflict", "replace"];
    place.would_fail(&args, "different embedding identities");
    let accepted = [&args[..], &["--other-embedding"]].concat();
    let (planned, plan) = place.dry(&accepted);
    planned.assert_warns("different embedding identities");
    let done = place.run(&accepted);
    assert_eq!((done.exit_code, &done.stderr), (planned.exit_code, &planned.stderr), "{plan}");
}

#[test]
fn a_corrupt_snapshot_ends_a_plan_with_the_exit_code_of_the_command() {
    let place = Place::with_chain().into_iter().next().unwrap();
    let sandbox = place.sandbox();
    fs::copy(sandbox.path("a.db"), sandbox.path("b.db")).unwrap();
    let full = sandbox.ids()[1].clone();
    flip_bit_in_the_middle(&sandbox.stored(&full, "vectors.bin.gz"));
    let part = ["restore", "inc", "--to", "part.db", "--where", "n>=0"];
    for args in
        [&part[..], &["restore", "inc", "--to", "b.db", "--merge"], &["export", "inc", "--to", "x", "--where", "n>=0"]]
    {
        let plan = place.would_fail(args, "vectors.bin.gz");
        assert_eq!(place.run(args).exit_code, Some(3), "{plan}");
    }
    fs::remove_file(sandbox.stored(&full, "vectors.bin.gz")).unwrap();
    for args in [&part[..], &part[..4], &["export", "inc", "--to", "x"]] {
        place.would_fail(args, "vectors.bin.gz");
        assert_eq!(place.run(args).exit_code, Some(3));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_database_and_a_directory_that_cannot_be_written_are_in_the_way() {
    let place = Place::with_chain().into_iter().next().unwrap();
    fs::create_dir(place.sandbox().path("d")).unwrap();
    fs::copy(place.sandbox().path("a.db"), place.sandbox().path("d/b.db")).unwrap();
    let script = "mount --bind d d && mount -o remount,ro,bind d &&";
    let Some(shell) = Shell::with_mounts(script) else { return };
    let before = place.contents();
    for args in [
        &["restore", "inc", "--to", "d/b.db", "--merge"][..],
        &["restore", "inc", "--to", "d/c.db", "--id", "id-000001"],
        &["export", "inc", "--to", "d/x"],
    ] {
        let planned = shell.run(place.sandbox().command(&[args, &["--dry-run"]].concat()));
        planned.assert_fails(1, "Read-only file system");
        shell.run(place.sandbox().command(args)).assert_fails(1, "Read-only file system");
    }
    assert!(place.contents() == before);
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_space_is_in_the_way_of_an_export_and_a_warning_if_it_may_be_enough() {
    let place = Place::each().into_iter().next().unwrap();
    place.ok(&["create", "--db", "a.db", "--name", "full"]);
    fs::create_dir(place.sandbox().path("d")).unwrap();
    let (_, plan) = place.would(&["export", "full", "--to", "x"]);
    let sum = |member: &str| (0..2).map(|file| number(&plan, &format!("/files/{file}/{member}"))).sum::<u64>();
    // A file system has whole pages.
    let pages = |bytes: u64| bytes / 4096 * 4096;
    let (too_little, doubtful) = (pages(sum("least_bytes")), pages(sum("likely_bytes")));
    assert!(
        too_little < sum("least_bytes") && sum("least_bytes") < doubtful && doubtful < sum("likely_bytes"),
        "{plan}"
    );
    let run = |size: u64, args: &[&str]| {
        let shell = Shell::with_mounts(&format!("mount -t tmpfs -o size={size} none d &&"))?;
        Some(shell.run(place.sandbox().command(args)))
    };
    for dry_run in [&["--dry-run"][..], &[]] {
        let args = [&["export", "full", "--to", "d/x"], dry_run].concat();
        let Some(refused) = run(too_little, &args) else { return };
        refused.assert_fails(1, "the export needs at least ");
        let warned = run(doubtful, &args).unwrap();
        assert!(warned.stderr.starts_with("warning: the export may need about "), "{warned:?}");
        assert!(dry_run.is_empty() || warned.exit_code == Some(5), "{warned:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_merge_warns_of_a_file_system_with_less_space_than_the_records_have() {
    let place = Place::each().into_iter().next().unwrap();
    place.ok(&["create", "--db", "a.db", "--name", "full"]);
    create_database(&place.sandbox().path("b.db"), 3, DIMENSIONS);
    fs::create_dir(place.sandbox().path("d")).unwrap();
    let size = fs::metadata(place.sandbox().path("b.db")).unwrap().len() + 8192;
    let script = format!("mount -t tmpfs -o size={size} none d && cp --sparse=never b.db d/b.db &&");
    let Some(shell) = Shell::with_mounts(&script) else { return };
    let merge = ["restore", "full", "--to", "d/b.db", "--merge", "--dry-run"];
    let planned = shell.run(place.sandbox().command(&merge));
    assert!(planned.stderr.starts_with("warning: the merged records have "), "{planned:?}");
    assert!(planned.exit_code == Some(5) && planned.stdout.contains("    warning      free space\n"), "{planned:?}");
    // One record needs less than that.
    let planned = shell.run(place.sandbox().command(&[&merge[..], &["--id", "id-000200"]].concat()));
    assert_eq!((planned.exit_code, &*planned.stderr), (Some(0), ""), "{planned:?}");
}
