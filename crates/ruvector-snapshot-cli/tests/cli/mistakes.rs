//! What users get wrong: told plainly, with the right status, and with nothing left behind.

use std::fs;

use super::{Desk, contents};

/// A create that must fail and leave no store.
#[track_caller]
fn create_fails(desk: &Desk, db: &str, status: i32, words: &str) {
    desk.run(&["create", "--db", db]).fails(status, words);
    assert!(!desk.path("snapshots").exists(), "a store was left for {db}");
    let (json_status, document) = desk.json(&["create", "--db", db]);
    assert_eq!((json_status, document["error"]["exit_status"].as_i64()), (status, Some(i64::from(status))));
}

#[test]
fn what_is_no_database_is_refused() {
    let desk = Desk::empty();
    fs::write(desk.path("text.db"), "hello, this is text\n".repeat(5000)).unwrap();
    fs::write(desk.path("short.db"), "hello").unwrap();
    fs::write(desk.path("empty.db"), "").unwrap();
    fs::create_dir(desk.path("directory.db")).unwrap();
    let other = redb::Database::create(desk.path("other.db")).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<&str, u64>::new("numbers")).unwrap().insert("one", 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    create_fails(&desk, "missing.db", 1, "missing.db");
    create_fails(&desk, "text.db", 1, "text.db");
    create_fails(&desk, "short.db", 1, "short.db");
    create_fails(&desk, "empty.db", 1, "it is empty");
    create_fails(&desk, "directory.db", 1, "directory.db");
    create_fails(&desk, "other.db", 1, "other.db");
    create_fails(&desk, "missing/\u{1b}[2J.db", 1, "no file at missing");
}

#[test]
fn a_name_that_cannot_be_is_wrong_usage() {
    let desk = Desk::with_rows(10);
    let long = "x".repeat(5000);
    for (name, words) in [
        ("", "cannot be empty"),
        ("  ", "cannot be empty"),
        (&*long, "1024"),
        ("a\nb", "control characters"),
        ("latest", "choose another name"),
        ("20260131T080000000Z-0123456789abcdef", "choose another name"),
    ] {
        desk.run(&["create", "--db", "a.db", "--name", name]).fails(2, words);
    }
    assert_eq!(desk.names("."), ["a.db"]);
}

#[test]
fn options_that_cannot_be_are_wrong_usage() {
    let desk = Desk::with_rows(10);
    let create = |more: &[&str]| desk.run(&[&["create", "--db", "a.db"], more].concat());
    create(&["--label", "no-equals-sign"]).fails(2, "KEY=VALUE");
    create(&["--label", "k=1", "--label", "k=2"]).fails(2, "given twice");
    create(&["--label", "=value"]).fails(2, "key");
    create(&["--scratch-dir", "nowhere"]).fails(1, "no such directory");
    create(&["--compression-level", "10"]).fails(2, "10");
    create(&["--compression-level", "1", "--no-compression"]).fails(2, "cannot be used with");
    desk.run(&["create"]).fails(2, "--db");
    desk.run(&["verify"]).fails(2, "ID");
    desk.run(&["verify", "x", "--all"]).fails(2, "--all");
    desk.run(&["delete"]).fails(2, "ID");
    desk.run(&["restore", "x"]).fails(2, "--to");
    desk.run(&["backup"]).fails(2, "backup");
    desk.run(&["completions", "cmd"]).fails(2, "cmd");
    assert_eq!(desk.run(&[]).status, Some(2));
    assert_eq!(desk.names("."), ["a.db"]);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let desk = Desk::empty();
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
        desk.run(args).fails(1, "no snapshots at ./snapshots, there is no such directory");
        assert_eq!(desk.json(args).1["error"]["kind"], "not_found");
    }
    assert!(desk.names(".").is_empty());
}

#[test]
fn a_store_that_cannot_be_is_refused() {
    let desk = Desk::with_rows(10);
    fs::write(desk.path("file"), "x").unwrap();
    for verb in [&["list"][..], &["create", "--db", "a.db"]] {
        let at = |store: &'static str| desk.run(&[&["--store", store], verb].concat());
        at("file").fails(1, "this is a file");
        at("file/below").fails(1, "file/below");
        at("").fails(2, "no location");
        at("memory://").fails(2, "memory://");
        at("file://host/x").fails(2, "file://");
    }
    assert_eq!(desk.names("."), ["a.db", "file"]);
}

#[test]
fn an_id_that_means_nothing_or_too_much() {
    let (desk, ids) = Desk::with_snapshots(2);
    let before = contents(&desk.path("snapshots"));
    let long = "x".repeat(5000);
    let unknown = "20260131T080000000Z-0123456789abcdef";
    for id in ["..", "../..", "a/b", "/etc/passwd", "", " ", unknown, &long, "snapshot-", "\u{1b}[2J"] {
        for args in [&["show", id][..], &["verify", id], &["restore", id, "--to", "b.db"], &["delete", id]] {
            let ran = desk.run(args);
            ran.fails(1, "no snapshot has the id");
            assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
        }
    }
    let both = &ids[0][..4];
    for args in [&["show", both][..], &["verify", both], &["delete", both]] {
        desk.run(args).fails(2, "2 ids begin with");
    }
    fs::create_dir(desk.path("none")).unwrap();
    desk.run(&["show", "latest", "--store", "none"]).fails(1, "no snapshot yet");
    assert_eq!(contents(&desk.path("snapshots")), before);
}

#[test]
fn a_place_that_cannot_be_restored_to() {
    let (desk, _) = Desk::with_snapshots(1);
    desk.run(&["restore", "one", "--to", "missing/b.db"]).fails(1, "make the directory missing first");
    desk.run(&["restore", "one", "--to", "snapshots"]).fails(1, "directory");
    desk.run(&["restore", "one", "--to", "snapshots", "--force"]).fails(1, "directory");
    desk.run(&["restore", "one", "--to", "a.db/b.db"]).fails(1, "a.db/b.db");
    desk.run(&["restore", "one", "--to", ""]).fails(2, "--to");
    desk.run(&["restore", "one", "--to", "/"]).fails(1, "/");
    assert_eq!(desk.names("."), ["a.db", "snapshots"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_replaced() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let (desk, _) = Desk::with_snapshots(1);
    assert!(std::process::Command::new("mkfifo").arg(desk.path("fifo")).status().unwrap().success());
    symlink("fifo", desk.path("link")).unwrap();
    for to in ["fifo", "link"] {
        desk.run(&["restore", "one", "--to", to]).fails(1, "--force");
        desk.run(&["restore", "one", "--to", to, "--force"]).fails(1, "not a regular file");
    }
    assert!(fs::symlink_metadata(desk.path("fifo")).unwrap().file_type().is_fifo());
    assert!(desk.path("link").is_symlink());
    assert_eq!(desk.names("."), ["a.db", "fifo", "link", "snapshots"]);
}

#[test]
fn a_demo_where_something_stands() {
    let desk = Desk::with_rows(10);
    desk.run(&["demo", "a.db"]).fails(2, "a file stands there");
    desk.run(&["demo", "."]).fails(2, "missing or empty");
    assert_eq!(desk.names("."), ["a.db"]);
}
