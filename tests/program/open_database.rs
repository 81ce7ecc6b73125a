//! `restore --force` over a database that a program has open.

use std::fs;

use super::bucket::Bucket;
use super::sandbox::{Sandbox, assert_holds, create_database, open_database};

#[test]
fn an_open_database_is_replaced_only_with_force_while_open() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    create_database(&sandbox.path("b.db"), 7, 8);
    let owner = redb::Database::open(sandbox.path("b.db")).unwrap();
    let before = fs::read(sandbox.path("b.db")).unwrap();
    std::os::unix::fs::symlink("b.db", sandbox.path("link.db")).unwrap();
    fs::hard_link(sandbox.path("b.db"), sandbox.path("hard.db")).unwrap();
    for to in ["b.db", "link.db", "hard.db"] {
        let refused = sandbox.run(&["restore", "one", "--to", to, "--force"]);
        refused.assert_fails(1, "a program has this file open");
        refused.assert_fails(1, "the file was not changed. Stop the program first, or restore to another path");
        refused.assert_fails(1, "  hint: --force with --force-while-open replaces the file all the same");
        refused.assert_fails(1, if to == "link.db" { "b.db" } else { to });
    }
    let (exit_code, document) = sandbox.json(&["restore", "one", "--to", "b.db", "--force"]);
    assert_eq!((exit_code, document["error"]["kind"].as_str()), (1, Some("busy")));
    assert!(fs::read(sandbox.path("b.db")).unwrap() == before);
    sandbox.run(&["restore", "one", "--to", "b.db"]).assert_fails(1, "the file already exists");
    sandbox.run(&["restore", "one", "--to", "b.db", "--force-while-open"]).assert_fails(2, "--force");

    let knowing = ["restore", "one", "--to", "b.db", "--force", "--force-while-open"];
    sandbox.ok_with_warning(&knowing, "everything that it writes after the restore is lost");
    assert_holds(&sandbox.path("b.db"), 300, 8);
    // The owner has the old file, which the hard link names.
    owner.begin_write().unwrap().commit().unwrap();
    sandbox.run(&["restore", "one", "--to", "hard.db", "--force"]).assert_fails(1, "a program has this file open");
    drop(owner);
    sandbox.ok(&["restore", "one", "--to", "hard.db", "--force"]);
    assert_holds(&sandbox.path("hard.db"), 300, 8);
    assert_eq!(sandbox.names("."), ["a.db", "b.db", "hard.db", "link.db", "snapshots"]);
}

#[test]
fn nothing_is_downloaded_for_a_database_that_is_open() {
    for bucket in Bucket::both() {
        bucket.create("one");
        create_database(&bucket.sandbox.path("b.db"), 7, 8);
        let owner = open_database(&bucket.sandbox.path("b.db"), 8);
        bucket.server.wire().reset_log();
        let restore = ["restore", "one", "--to", "b.db", "--force"];
        bucket.run(&restore).assert_fails(1, "a program has this file open");
        let read: Vec<_> = bucket.server.wire().requests().into_iter().filter(|request| request.is_get()).collect();
        // The name was looked up.
        assert!(read.iter().all(|request| request.key().ends_with("/metadata.json")), "{read:?}");
        assert_eq!(owner.len().unwrap(), 7);
        drop(owner);
        bucket.ok(&restore);
        assert_holds(&bucket.sandbox.path("b.db"), super::bucket::ROWS, 8);
    }
}
