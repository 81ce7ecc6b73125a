//! The exit codes of every command. Those of a signal, 129, 130 and 143, are in `interrupts`, and those of each form of a
//! document in `documents`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use test_fixtures::{Published, entry, flip_bit_in_the_middle, local_store};
use test_servers::S3Server;

use super::bucket::Bucket;
use super::clocks::take_in_a_year;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox};

/// Every command that takes an ID, with `ID` in its place.
const WITH_AN_ID: [&[&str]; 24] = [
    &["show", "ID"],
    &["verify", "ID"],
    &["verify", "ID", "--dry-run"],
    &["restore", "ID", "--to", "planned.db", "--dry-run"],
    &["restore", "ID", "--to", "new.db"],
    &["restore", "ID", "--to", "new.db", "--merge", "--id", "id-000001"],
    &["dump", "ID"],
    &["export", "ID", "--to", "exported"],
    &["diff", "ID", "full"],
    &["diff", "full", "ID"],
    &["diff", "full", "ID", "--to", "snapshots"],
    &["drill", "ID"],
    &["drill", "ID", "--dry-run"],
    &["search", "ID", "--like", "id-000001"],
    &["copy", "ID", "--to", "copied"],
    &["compact", "ID", "--dry-run"],
    &["compact", "ID"],
    &["annotate", "ID", "--note", "text"],
    &["pin", "ID"],
    &["pin", "ID", "--dry-run"],
    &["unpin", "ID"],
    &["delete", "ID", "--dry-run"],
    &["create", "--db", "a.db", "--base", "ID"],
    &["create", "--db", "a.db", "--base", "ID", "--dry-run"],
];

/// Every command that needs no ID, and reads what is in the store.
const WITHOUT_AN_ID: [&[&str]; 9] = [
    &["list"],
    &["stats"],
    &["find", "id-000001"],
    &["prune", "--keep-last", "9"],
    &["prune", "--keep-last", "9", "--dry-run"],
    &["verify", "--all"],
    &["verify", "--all", "--dry-run"],
    &["copy", "--all", "--to", "copied"],
    &["copy", "--all", "--to", "copied", "--dry-run"],
];

/// Returns the arguments with an ID in its place.
fn with_id<'a>(args: &[&'a str], id: &'a str) -> Vec<&'a str> {
    args.iter().map(|arg| if *arg == "ID" { id } else { arg }).collect()
}

/// Asserts that a run is done with warnings, and that its document says the same.
#[track_caller]
fn assert_done_with_warnings(args: &[&str], result: RunResult) {
    let (exit_code, document) = result.into_json();
    assert_eq!((exit_code, &document["error"]), (5, &Value::Null), "{args:?}: {document}");
    assert!(!document["warnings"].as_array().unwrap().is_empty(), "{args:?}: {document}");
}

/// Asserts that a run with `--strict` has done its work, and fails because of its warnings.
#[track_caller]
fn assert_strict(args: &[&str], result: RunResult) {
    let said = "error: all is done, but there is 1 warning, and --strict makes it a failure\n";
    assert!(result.stderr.ends_with(said) && result.stderr.contains("warning: "), "{args:?}: {result:?}");
    let (exit_code, document) = result.into_json();
    assert_eq!((exit_code, &document["error"]), (1, &Value::Null), "{args:?}: {document}");
    assert_eq!(document["warnings"].as_array().unwrap().len(), 1, "{args:?}: {document}");
}

/// A store with a snapshot `full` and its increment `inc`, and an empty one, `empty`.
fn with_an_increment() -> Sandbox {
    let sandbox = Sandbox::with_rows(30);
    sandbox.create("full");
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "full"]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox
}

#[test]
fn commands_that_find_all_well_end_with_0() {
    let sandbox = with_an_increment();
    let inc = sandbox.ids().remove(0);
    for args in WITH_AN_ID {
        // A full snapshot that was made of it has the same name.
        let id = if ["unpin", "delete"].contains(&args[0]) { &*inc } else { "inc" };
        sandbox.ok(&[&with_id(args, id)[..], &["--strict"]].concat());
    }
    for args in WITHOUT_AN_ID {
        sandbox.ok(&[args, &["--strict"]].concat());
    }
}

#[test]
fn no_such_snapshot_is_4() {
    let sandbox = with_an_increment();
    for args in WITH_AN_ID {
        for id in ["nope", "19991231", "19991231T000000000Z-0123456789abcdef"] {
            let args = with_id(args, id);
            let (exit_code, document) = sandbox.json(&args);
            let error = &document["error"];
            assert_eq!((exit_code, &error["kind"]), (4, &json!("not_found")), "{args:?}: {document}");
            assert_eq!(error["exit_code"], 4, "{args:?}: {document}");
            assert_eq!(sandbox.run(&[&args[..], &["--strict"]].concat()).exit_code, Some(4), "{args:?}");
        }
    }
    sandbox.run(&["copy", "--name", "nope", "--to", "copied"]).assert_fails(4, "no snapshot with the name \"nope\"");
    for args in [["list", "--name", "nope"], ["stats", "--name", "nope"]] {
        assert_eq!(sandbox.run(&args).exit_code, Some(4), "{args:?}");
    }
    assert_eq!(sandbox.names("."), ["a.db", "empty", "snapshots"]);
}

#[test]
fn a_store_without_snapshots_is_4() {
    let sandbox = with_an_increment();
    for args in WITH_AN_ID {
        // The second store is the one without snapshots, too.
        let args = args.iter().map(|arg| if *arg == "snapshots" { "empty" } else { arg }).collect::<Vec<_>>();
        let args = [&with_id(&args, "latest")[..], &["--store", "empty"]].concat();
        sandbox.run(&args).assert_fails(4, "no snapshot");
    }
    for args in WITHOUT_AN_ID {
        let (exit_code, document) = sandbox.json(&[args, &["--store", "empty"]].concat());
        assert_eq!(exit_code, 4, "{args:?}: {document}");
        let error = (&document["error"]["kind"], &document["error"]["exit_code"]);
        let is_error = ["verify", "copy"].contains(&args[0]);
        let expected = if is_error { (json!("nothing_there"), json!(4)) } else { (Value::Null, Value::Null) };
        assert_eq!(error, (&expected.0, &expected.1), "{args:?}: {document}");
    }
    let (_, document) = sandbox.json(&["list", "--store", "empty"]);
    assert_eq!(document["snapshots"], json!([]));
    let require = ["create", "--db", "a.db", "--require-store", "--store", "empty"];
    sandbox.run(&require).assert_fails(4, "there are no snapshots at ");
    sandbox.run(&[&require[..], &["--dry-run"]].concat()).assert_fails(4, "there are no snapshots at ");
    assert_eq!(sandbox.names("empty"), [""; 0]);
    // What a killed create has left is no snapshot.
    let id = sandbox.json(&["create", "--db", "a.db", "--store", "empty"]).1["snapshot"]["id"].clone();
    let id = id.as_str().unwrap();
    fs::remove_file(sandbox.path(&format!("empty/snapshot-{id}/metadata.json"))).unwrap();
    for args in WITHOUT_AN_ID {
        assert_eq!(sandbox.run(&[args, &["--store", "empty"]].concat()).exit_code, Some(4), "{args:?}");
    }
    assert_eq!(sandbox.names("."), ["a.db", "empty", "snapshots"]);
}

#[test]
fn a_store_a_database_or_a_record_that_is_missing_is_1() {
    let sandbox = with_an_increment();
    let with_ids = WITH_AN_ID.iter().map(|args| with_id(args, "latest"));
    for args in with_ids.chain(WITHOUT_AN_ID.iter().map(|args| args.to_vec())) {
        // Not even a create makes two levels of a path.
        let result = sandbox.run(&[&args[..], &["--store", "missing/store"]].concat());
        result.assert_fails(1, "missing");
    }
    for (args, text) in [
        (&["create", "--db", "missing.db"][..], "missing.db"),
        (&["create", "--db", "missing.db", "--base", "full"], "missing.db"),
        (&["create", "--db", "a.db", "--require-store", "--store", "missing"], "the directory does not exist"),
        (&["import", "missing.snapshot.gz"], "missing.snapshot.gz"),
        (&["restore", "inc", "--to", "new.db", "--id", "nope"], "nope"),
        (&["dump", "inc", "--id", "nope"], "nope"),
        (&["search", "inc", "--like", "nope"], "nope"),
        (&["diff", "full", "inc", "--to", "missing"], "missing"),
        (&["store", "check", "--store", "missing"], "missing"),
    ] {
        sandbox.run(args).assert_fails(1, text);
    }
    assert_eq!(sandbox.run(&["find", "nope"]).exit_code, Some(1));
    let bucket = Bucket::s3(S3Server::start());
    for args in [&["list"][..], &["show", "latest"], &["prune", "--keep-last", "1"]] {
        bucket.run(&[args, &["--store", "s3://missing/prod"]].concat()).assert_fails(1, "there is no such bucket");
    }
}

#[test]
fn an_id_that_can_mean_several_is_2() {
    let sandbox = with_an_increment();
    for args in WITH_AN_ID {
        let args = with_id(args, "2");
        let (exit_code, document) = sandbox.json(&args);
        assert_eq!((exit_code, &document["error"]["kind"]), (2, &json!("ambiguous")), "{args:?}: {document}");
    }
}

#[test]
fn what_is_corrupt_is_3() {
    let sandbox = Sandbox::with_rows(30);
    let id = sandbox.create("bad");
    flip_bit_in_the_middle(&sandbox.stored(&id, "vectors.bin.gz"));
    for args in [
        &["verify", "bad"][..],
        &["verify", "--all"],
        &["restore", "bad", "--to", "new.db"],
        &["dump", "bad"],
        &["export", "bad", "--to", "exported"],
        &["search", "bad", "--like", "id-000001"],
        &["drill", "bad"],
        &["copy", "--all", "--to", "copied"],
        // A verification has found it by now.
        &["list"],
        &["show", "bad"],
    ] {
        let (exit_code, document) = sandbox.json(args);
        assert_eq!(exit_code, 3, "{args:?}: {document}");
        assert!(document["error"].is_null() || document["error"]["exit_code"] == 3, "{args:?}: {document}");
        assert_eq!(sandbox.run(&[args, &["--strict"]].concat()).exit_code, Some(3), "{args:?}");
    }
}

#[test]
fn a_warning_is_5_and_with_strict_1() {
    let sandbox = with_an_increment();
    // Everything that means the latest warns that it is not this one.
    take_in_a_year(local_store(&sandbox.path("snapshots")), &sandbox.path("a.db"), "future");
    let cleaned = |args: &[&str]| {
        for name in ["new.db", "exported", "copied"].iter().filter(|_| !args.contains(&"--merge")) {
            let path = sandbox.path(name);
            let _removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    };
    for args in WITH_AN_ID {
        let args = with_id(args, "latest");
        // A full snapshot cannot be compacted, and a database must be there to merge into it.
        let is_new = args[0] == "compact";
        let prepared = if is_new { &["create", "--db", "a.db", "--base", "inc"][..] } else { &["list"] };
        sandbox.ok(prepared);
        cleaned(&args);
        let args = [&args[..], &["--json"]].concat();
        assert_done_with_warnings(&args, sandbox.run(&args));
        sandbox.ok(prepared);
        cleaned(&args);
        let args = [&args[..], &["--strict"]].concat();
        assert_strict(&args, sandbox.run(&args));
    }
}

#[test]
fn a_warning_of_a_command_without_an_id_is_5_and_with_strict_1() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("full");
    for args in WITHOUT_AN_ID {
        let args = [args, &["-o", "storage_class=standard_ia", "--json"]].concat();
        assert_done_with_warnings(&args, bucket.run(&args));
        let args = [&args[..], &["--strict"]].concat();
        assert_strict(&args, bucket.run(&args));
    }
    let sandbox = Sandbox::empty();
    Published::of_entries(DIMENSIONS, (0..3).map(|number| entry(format!("id-{number}"), number, DIMENSIONS, 1)))
        .write(&sandbox.path(""), "old");
    fs::remove_file(sandbox.path("old.metadata.json")).unwrap();
    fs::write(sandbox.path("secret"), "x").unwrap();
    fs::set_permissions(sandbox.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let keys = "access_key_id = \"file:secret\", secret_access_key = \"file:secret\"";
    let profile = format!("[stores.a]\nlocation = \"s3://a\"\noptions = {{ {keys} }}\n");
    fs::write(sandbox.path("settings.toml"), profile).unwrap();
    for args in [&["import", "old.snapshot.gz", "--unverified"][..], &["config", "check", "settings.toml"]] {
        let args = [args, &["--json"]].concat();
        assert_done_with_warnings(&args, sandbox.run(&args));
        // Elsewhere: that a file was imported before would be a second warning.
        let args = [&args[..], &["--strict", "--store", "strict"]].concat();
        assert_strict(&args, sandbox.run(&args));
    }
    // Both imports have stored their snapshot.
    assert_eq!((sandbox.ids().len(), sandbox.names("strict").len()), (1, 1));
}

#[test]
fn a_strict_run_that_fails_says_why_and_not_that_there_are_warnings() {
    let sandbox = Sandbox::with_rows(10);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    take_in_a_year(local_store(&sandbox.path("snapshots")), &sandbox.path("a.db"), "future");
    let result = sandbox.run(&["restore", "latest", "--to", "a.db", "--strict"]);
    assert!(result.stderr.starts_with("warning: ") && !result.stderr.contains("all is done"), "{result:?}");
    assert!(result.exit_code == Some(1) && result.stderr.contains("already exists"), "{result:?}");
}
