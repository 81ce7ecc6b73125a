//! Mistakes of users: a clear error, the right exit code, and nothing left behind.

use std::fs;

use super::sandbox::{Sandbox, files_below};

/// Asserts that a create fails and leaves no store.
#[track_caller]
fn assert_create_fails(sandbox: &Sandbox, db: &str, exit_code: i32, text: &str) {
    sandbox.run(&["create", "--db", db]).assert_fails(exit_code, text);
    assert!(!sandbox.path("snapshots").exists(), "a store was left for {db}");
    let (json_exit_code, document) = sandbox.json(&["create", "--db", db]);
    assert_eq!((json_exit_code, document["error"]["exit_code"].as_i64()), (exit_code, Some(i64::from(exit_code))));
}

#[test]
fn create_refuses_files_that_are_not_databases() {
    let sandbox = Sandbox::empty();
    fs::write(sandbox.path("text.db"), "hello, this is text\n".repeat(5000)).unwrap();
    fs::write(sandbox.path("short.db"), "hello").unwrap();
    fs::write(sandbox.path("empty.db"), "").unwrap();
    fs::create_dir(sandbox.path("directory.db")).unwrap();
    let other = redb::Database::create(sandbox.path("other.db")).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("numbers")).unwrap().insert("one", 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert_create_fails(&sandbox, "missing.db", 1, "missing.db");
    assert_create_fails(&sandbox, "text.db", 1, "text.db");
    assert_create_fails(&sandbox, "short.db", 1, "short.db");
    assert_create_fails(&sandbox, "empty.db", 1, "it is empty");
    assert_create_fails(&sandbox, "directory.db", 1, "directory.db");
    assert_create_fails(&sandbox, "other.db", 1, "other.db");
    assert_create_fails(&sandbox, "missing/\u{1b}[2J.db", 1, "cannot open missing/\\u{1b}[2J.db: file not found");
}

#[test]
fn an_invalid_name_is_a_usage_error() {
    let sandbox = Sandbox::with_rows(10);
    let long = "x".repeat(5000);
    for (name, text) in [
        ("", "cannot be empty"),
        ("  ", "cannot be empty"),
        (&*long, "1024"),
        ("a\nb", "control characters"),
        ("latest", "choose another name"),
        ("20260131T080000000Z-0123456789abcdef", "choose another name"),
    ] {
        sandbox.run(&["create", "--db", "a.db", "--name", name]).assert_fails(2, text);
    }
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn invalid_options_are_usage_errors() {
    let sandbox = Sandbox::with_rows(10);
    let create = |more: &[&str]| sandbox.run(&[&["create", "--db", "a.db"], more].concat());
    create(&["--label", "no-equals-sign"]).assert_fails(2, "KEY=VALUE");
    create(&["--label", "k=1", "--label", "k=2"]).assert_fails(2, "given twice");
    create(&["--label", "=value"]).assert_fails(2, "key");
    create(&["--scratch-dir", "nowhere"]).assert_fails(1, "--scratch-dir nowhere: the directory does not exist");
    for wrong in ["10", "12", "-1", "six"] {
        create(&[&format!("--compression-level={wrong}")]).assert_fails(2, "must be a number from 0 to 9");
    }
    create(&["--compression-level", "1", "--no-compression"]).assert_fails(2, "cannot be used with");
    sandbox.run(&["create"]).assert_fails(2, "--db");
    sandbox.run(&["verify"]).assert_fails(2, "ID");
    sandbox.run(&["verify", "x", "--all"]).assert_fails(2, "--all");
    sandbox.run(&["delete"]).assert_fails(2, "ID");
    sandbox.run(&["restore", "x"]).assert_fails(2, "--to");
    sandbox.run(&["backup"]).assert_fails(2, "--db");
    sandbox.run(&["dance"]).assert_fails(2, "dance");
    sandbox.run(&["completions", "cmd"]).assert_fails(2, "cmd");
    assert_eq!(sandbox.run(&[]).exit_code, Some(2));
    assert_eq!(sandbox.names("."), ["a.db"]);
}

#[test]
fn reading_verbs_do_not_create_a_missing_store() {
    let sandbox = Sandbox::empty();
    let verbs: [&[&str]; 7] = [
        &["list"],
        &["show", "x"],
        &["verify", "x"],
        &["verify", "--all"],
        &["restore", "x", "--to", "b.db"],
        &["delete", "x"],
        &["prune", "--keep", "1"],
    ];
    for args in verbs {
        sandbox.run(args).assert_fails(1, "cannot open the store ./snapshots: the directory does not exist");
        assert_eq!(sandbox.json(args).1["error"]["kind"], "not_found");
    }
    assert!(sandbox.names(".").is_empty());
}

#[test]
fn an_invalid_store_is_refused() {
    let sandbox = Sandbox::with_rows(10);
    fs::write(sandbox.path("file"), "x").unwrap();
    for verb in [&["list"][..], &["create", "--db", "a.db"]] {
        let at = |store: &'static str| sandbox.run(&[&["--store", store], verb].concat());
        at("file").assert_fails(1, "this is a file");
        at("file/below").assert_fails(1, "file/below");
        at("").assert_fails(2, "location is empty");
        at("memory://").assert_fails(2, "memory://");
        at("file://host/x").assert_fails(2, "file://");
    }
    assert_eq!(sandbox.names("."), ["a.db", "file"]);
}

#[test]
fn an_unknown_or_ambiguous_id_is_refused() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let before = files_below(&sandbox.path("snapshots"));
    let long = "x".repeat(5000);
    let unknown = "20260131T080000000Z-0123456789abcdef";
    for id in ["..", "../..", "a/b", "/etc/passwd", "", " ", unknown, &long, "snapshot-", "\u{1b}[2J"] {
        for args in [&["show", id][..], &["verify", id], &["restore", id, "--to", "b.db"], &["delete", id]] {
            let result = sandbox.run(args);
            result.assert_fails(4, "no snapshot has the id");
            assert!(!result.stderr.contains('\u{1b}'), "{result:?}");
        }
    }
    let both = &ids[0][..4];
    for args in [&["show", both][..], &["verify", both], &["delete", both]] {
        sandbox.run(args).assert_fails(2, &format!("2 ids start with {both:?}, for example "));
    }
    fs::create_dir(sandbox.path("none")).unwrap();
    sandbox
        .run(&["show", "latest", "--store", "none"])
        .assert_fails(4, "the store has no snapshots, so there is no latest one");
    assert_eq!(files_below(&sandbox.path("snapshots")), before);
}

#[test]
fn restore_refuses_an_invalid_destination() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.run(&["restore", "one", "--to", "missing/b.db"]).assert_fails(1, "create the directory missing first");
    sandbox.run(&["restore", "one", "--to", "snapshots"]).assert_fails(1, "directory");
    sandbox.run(&["restore", "one", "--to", "snapshots", "--force"]).assert_fails(1, "directory");
    sandbox.run(&["restore", "one", "--to", "a.db/b.db"]).assert_fails(1, "a.db/b.db");
    sandbox.run(&["restore", "one", "--to", ""]).assert_fails(2, "--to");
    sandbox.run(&["restore", "one", "--to", "/"]).assert_fails(1, "/");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
}

#[cfg(unix)]
#[test]
fn restore_replaces_only_regular_files() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let (sandbox, _) = Sandbox::with_snapshots(1);
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("fifo")).status().unwrap().success());
    symlink("fifo", sandbox.path("link")).unwrap();
    for to in ["fifo", "link"] {
        sandbox.run(&["restore", "one", "--to", to]).assert_fails(1, "not a regular file");
        sandbox.run(&["restore", "one", "--to", to, "--force"]).assert_fails(1, "not a regular file");
    }
    assert!(fs::symlink_metadata(sandbox.path("fifo")).unwrap().file_type().is_fifo());
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(sandbox.names("."), ["a.db", "fifo", "link", "snapshots"]);
}

#[test]
fn the_demo_refuses_a_directory_that_is_not_empty() {
    let sandbox = Sandbox::with_rows(10);
    sandbox.run(&["demo", "a.db"]).assert_fails(2, "this is a file, but the demo needs a directory");
    sandbox.run(&["demo", "."]).assert_fails(2, "the demo needs an empty or a new one");
    assert_eq!(sandbox.names("."), ["a.db"]);
}
