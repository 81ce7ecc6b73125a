//! What a command finds corrupt while it reads a snapshot is recorded beside the snapshot that is corrupt, also if that is an
//! ancestor: `list` shows it from then on, and no increment is based on it.

use std::fs;

use super::dry_run::Place;
#[cfg(target_os = "linux")]
use super::refused_sync::refusals;
#[cfg(target_os = "linux")]
use super::sandbox::RunResult;
use super::sandbox::{DIMENSIONS, Sandbox, open_database};

/// Commands that read all of the snapshot `inc`, or what is at the start of the file.
const READERS: [(&str, &[&str]); 12] = [
    ("vectors.bin.gz", &["restore", "inc", "--to", "restored.db"]),
    ("vectors.bin.gz", &["restore", "inc", "--to", "restored.db", "--id", "id-000002"]),
    ("vectors.bin.gz", &["restore", "inc", "--to", "a.db", "--merge"]),
    ("vectors.bin.gz", &["drill", "inc"]),
    ("vectors.bin.gz", &["export", "inc", "--to", "exported", "--format", "npy"]),
    ("vectors.bin.gz", &["dump", "inc"]),
    ("vectors.bin.gz", &["search", "inc", "--like", "id-000002"]),
    ("vectors.bin.gz", &["compact", "inc"]),
    ("vectors.bin.gz", &["copy", "--all", "--to", "copies"]),
    ("index.bin.gz", &["diff", "inc", "other"]),
    ("index.bin.gz", &["find", "id-000002"]),
    ("index.bin.gz", &["create", "--db", "a.db", "--name", "next", "--base", "inc"]),
];

/// Returns the names of the ledger entries beside a snapshot.
fn entries(sandbox: &Sandbox, id: &str) -> Vec<String> {
    let names = sandbox.names(&format!("snapshots/snapshot-{id}"));
    names.into_iter().filter(|name| name.starts_with("checked-")).collect()
}

#[test]
fn corruption_of_an_ancestor_is_recorded_beside_it_by_every_command_that_reads_it() {
    let [Place::Disk(sandbox), _] = Place::with_chain() else { panic!() };
    let change = |value| {
        let db = open_database(&sandbox.path("a.db"), DIMENSIONS);
        let mut record = db.get("id-000003").unwrap().unwrap();
        record.vector = vec![value; DIMENSIONS];
        db.insert(record).unwrap();
    };
    let [inc, full] = <[String; 2]>::try_from(sandbox.ids()).unwrap();
    change(5.0);
    let other = sandbox.create("other");
    change(6.0);
    for (file, command) in READERS {
        let path = sandbox.stored(&full, file);
        let intact = fs::read(&path).unwrap();
        let mut damaged = intact.clone();
        damaged[15] ^= 4;
        fs::write(&path, damaged).unwrap();
        for dry in [&["restore", "inc", "--to", "b.db"][..], &["drill", "inc"], &["export", "inc", "--to", "e"]] {
            sandbox.run(&[dry, &["--dry-run"]].concat());
        }
        assert_eq!(entries(&sandbox, &full), Vec::<String>::new(), "{command:?}");
        let result = sandbox.run(command);
        // `find` goes on with the other snapshots, and warns.
        let exit_code = if command[0] == "find" { 5 } else { 3 };
        assert_eq!(result.exit_code, Some(exit_code), "{command:?}: {result:?}");
        assert!(!result.stderr.contains("could not be recorded"), "{command:?}: {result:?}");
        let recorded = [&full, &inc, &other].map(|id| entries(&sandbox, id));
        assert_eq!(recorded.each_ref().map(Vec::len), [1, 0, 0], "{command:?}: {recorded:?}");
        assert!(recorded[0][0].contains("-read-corrupt-"), "{command:?}: {recorded:?}");
        let list = sandbox.run(&["list"]);
        assert_eq!(list.stdout.matches("CORRUPT  found at ").count(), 2, "{command:?}: {list:?}");
        assert!(sandbox.run(&["show", "full"]).stdout.contains("while it was read CORRUPT"), "{command:?}");
        fs::write(&path, intact).unwrap();
        let refused = sandbox.run(&["create", "--db", "a.db", "--name", "next", "--base", "inc"]);
        refused.assert_fails(3, "was found corrupt at");
        assert_eq!(entries(&sandbox, &full).len(), 1, "{command:?}: a refusal proves nothing");
        fs::remove_file(sandbox.stored(&full, &recorded[0][0])).unwrap();
    }
}

#[test]
fn without_a_record_a_drill_leaves_none() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    fs::remove_file(sandbox.stored(&ids[0], "vectors.bin.gz")).unwrap();
    assert_eq!(sandbox.run(&["drill", "one", "--no-record"]).exit_code, Some(3));
    assert_eq!(entries(&sandbox, &ids[0]), Vec::<String>::new());
    assert_eq!(sandbox.run(&["drill", "one"]).exit_code, Some(3));
    assert_eq!(entries(&sandbox, &ids[0]).len(), 1);
}

#[test]
fn a_dry_run_says_that_an_ancestor_was_found_corrupt_and_the_command_tries_it_all_the_same() {
    let [Place::Disk(sandbox), _] = Place::with_chain() else { panic!() };
    let full = sandbox.ids()[1].clone();
    let path = sandbox.stored(&full, "vectors.bin.gz");
    let intact = fs::read(&path).unwrap();
    fs::write(&path, "corrupt").unwrap();
    let place = Place::Disk(sandbox);
    assert_eq!(place.run(&["verify", "full"]).exit_code, Some(3));
    fs::write(&path, intact).unwrap();
    let warning = format!("warning: snapshot {full} was found corrupt at 2");
    let commands: [&[&str]; 6] = [
        &["restore", "inc", "--to", "restored.db"],
        &["restore", "inc", "--to", "part.db", "--id", "id-000002"],
        &["restore", "inc", "--to", "a.db", "--merge", "--on-conflict", "keep"],
        &["drill", "inc", "--no-record"],
        &["export", "inc", "--to", "exported", "--format", "npy"],
        &["copy", "inc", "full", "--to", "copies"],
    ];
    for command in commands {
        let (planned, document) = place.dry(command);
        assert_eq!(planned.exit_code, Some(5), "{command:?}: {planned:?}");
        assert_eq!(planned.stderr.matches(&warning).count(), 1, "{command:?}: {planned:?}");
        assert!(planned.stderr.contains("not intact since"), "{command:?}: {planned:?}");
        assert_eq!(document["warnings"].as_array().unwrap().len(), 1, "{command:?}: {document}");
        let done = place.run(command);
        assert_eq!(done.exit_code, Some(5), "{command:?}: {done:?}");
        assert_eq!(done.stderr.matches(&warning).count(), 1, "{command:?}: {done:?}");
    }
    place.ok(&["verify", "full"]);
    place.would(&["restore", "inc", "--to", "again.db"]);
}

#[test]
fn what_keeps_or_changes_a_snapshot_warns_that_it_was_found_corrupt() {
    let [Place::Disk(sandbox), _] = Place::with_chain() else { panic!() };
    let [inc, full] = <[String; 2]>::try_from(sandbox.ids()).unwrap();
    let path = sandbox.stored(&full, "vectors.bin.gz");
    let intact = fs::read(&path).unwrap();
    fs::write(&path, "corrupt").unwrap();
    assert_eq!(sandbox.run(&["verify", "full"]).exit_code, Some(3));
    fs::write(&path, intact).unwrap();
    let of_full = format!("snapshot {full} was found corrupt at 2");
    let of_inc = format!("snapshot {inc} depends on snapshot {full}, which was found corrupt at 2");
    for (args, warning) in [
        (&["pin", &*full][..], &of_full),
        (&["pin", &*inc], &of_inc),
        (&["annotate", &*full, "--note", "x"], &of_full),
        (&["annotate", &*inc, "--note", "x"], &of_inc),
        (&["compact", &*inc], &of_full),
        (&["copy", &*full, "--to", "copies"], &of_full),
    ] {
        for more in [&["--dry-run"][..], &[]] {
            let result = sandbox.run(&[args, more].concat());
            result.assert_warns(warning);
            result.assert_warns("not intact since");
            assert_eq!(result.stderr.matches("warning: ").count(), 1, "{args:?}: {result:?}");
        }
        let (exit_code, document) = sandbox.json(&[args, &["--dry-run"]].concat());
        assert_eq!(exit_code, if args[0] == "copy" { 0 } else { 5 }, "what is copied is not read again: {document}");
        assert_eq!(sandbox.run(&[args, &["--strict", "--dry-run"]].concat()).exit_code, Some(exit_code.min(1)));
    }
    // A file that is missing shows without a verification.
    sandbox.ok(&["unpin", &full, &inc]);
    sandbox.ok(&["verify", &full, &inc]);
    sandbox.ok(&["pin", &full, &inc]);
    fs::remove_file(&path).unwrap();
    sandbox.ok_with_warning(&["pin", &full], &format!("snapshot {full} cannot be used: "));
    let broken = format!("it depends on snapshot {full}, which cannot be used");
    let broken = format!("snapshot {inc} may not be restorable, which `restore --dry-run` shows: {broken}");
    sandbox.ok_with_warning(&["pin", &inc, "--dry-run"], &broken);
    sandbox.ok_with_warning(&["annotate", &inc, "--note", "y"], &broken);
}

#[test]
fn what_reads_records_warns_of_a_snapshot_that_was_found_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let intact = fs::read(&path).unwrap();
    fs::write(&path, "corrupt").unwrap();
    assert_eq!(sandbox.run(&["verify", "one"]).exit_code, Some(3));
    fs::write(&path, intact).unwrap();
    let warning = format!("snapshot {} was found corrupt at ", ids[0]);
    for args in [&["dump", "one"][..], &["search", "one", "--like", "id-000001"], &["find", "id-000001"]] {
        sandbox.run(args).assert_warns(&warning);
    }
    sandbox.ok(&["dump", "two"]);
}

/// The command fails all the same, and both its text and its document have the warning.
#[cfg(target_os = "linux")]
#[test]
fn a_diff_that_fails_says_that_nothing_could_be_recorded_in_the_second_store() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    sandbox.ok(&["copy", "--all", "--to", "copies"]);
    fs::remove_file(sandbox.path(&format!("copies/snapshot-{}/index.bin.gz", ids[1]))).unwrap();
    let run = |more: &[&str]| {
        let mut command = sandbox.command(&[&["diff", &ids[0], &ids[1], "--to", "copies"], more].concat());
        command.env("LD_PRELOAD", refusals()).env("REFUSE_NEW_FILES", "28");
        RunResult::from(command.output().unwrap())
    };
    let not_recorded = format!("that snapshot {} is corrupt could not be recorded beside it", ids[1]);
    let result = run(&[]);
    let named = format!("in {}: the file is missing", sandbox.path("copies").display());
    assert!(result.exit_code == Some(3) && result.stderr.contains(&named), "{result:?}");
    assert!(result.stderr.contains(&format!("\nwarning: {not_recorded}")), "{result:?}");
    let (exit_code, document) = run(&["--json"]).into_json();
    assert_eq!(exit_code, 3);
    // The first is that the file is missing.
    assert!(document["warnings"][1].as_str().unwrap().contains(&not_recorded), "{document}");
}
