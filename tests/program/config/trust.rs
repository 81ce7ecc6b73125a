//! Which file is not used, because it may be a stranger's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

use super::{FILE, write};
use crate::sandbox::{RunResult, Sandbox};

/// A user and a group of nobody.
const OTHER: u32 = 65_534;

#[test]
fn a_file_that_others_can_change_is_used_only_if_it_is_named() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    write(&sandbox, FILE, "");
    fs::set_permissions(sandbox.path(FILE), Permissions::from_mode(0o646)).unwrap();
    let result = sandbox.run(&["list"]);
    result.assert_fails(2, "can be changed by every user of this machine");
    assert!(result.stderr.contains("name it with --config, or change the owner or the mode"), "{result:?}");
    sandbox.ok(&["list", "--config", FILE]);
    sandbox.ok(&["list", "--no-config"]);
    sandbox.ok(&["completions", "bash"]);
    let mut named = sandbox.command(&["list"]);
    assert!(named.env("RUVECTOR_SNAPSHOT_CONFIG", FILE).output().unwrap().status.success());
    // A link of another user, to a file of one's own. Only root can make one.
    write(&sandbox, "own.toml", "");
    fs::remove_file(sandbox.path(FILE)).unwrap();
    symlink("own.toml", sandbox.path(FILE)).unwrap();
    sandbox.ok(&["list"]);
    if lchown(sandbox.path(FILE), Some(OTHER), None).is_ok() {
        sandbox.run(&["list"]).assert_fails(2, "belongs to another user");
    }
}

#[test]
fn the_group_of_the_user_may_change_a_file_and_no_other_group() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    write(&sandbox, FILE, "");
    fs::set_permissions(sandbox.path(FILE), Permissions::from_mode(0o664)).unwrap();
    sandbox.ok(&["list"]);
    // Only root can give it to another group.
    if chown(sandbox.path(FILE), None, Some(OTHER)).is_ok() {
        sandbox.run(&["list"]).assert_fails(2, "can be changed by the group 65534");
        fs::set_permissions(sandbox.path(FILE), Permissions::from_mode(0o644)).unwrap();
        sandbox.ok(&["list"]);
        chown(sandbox.path(FILE), Some(OTHER), None).unwrap();
        sandbox.run(&["list"]).assert_fails(2, "belongs to another user");
        sandbox.ok(&["list", "--config", FILE]);
    }
}

#[test]
fn a_file_in_a_directory_in_which_others_can_replace_it_is_not_used() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let home = sandbox.path("home");
    write(&sandbox, "home/.config/ruvector-snapshot/ruvector-snapshot.toml", "");
    let directory = home.join(".config/ruvector-snapshot");
    let list = || {
        let output = sandbox.command(&["list"]).env("HOME", &home).output().unwrap();
        RunResult::from(output)
    };
    assert_eq!(list().exit_code, Some(0));
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    list().assert_fails(2, "is in a directory that can be changed by every user of this machine");
    // With the sticky bit, as /tmp has it, others cannot replace it.
    fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(list().exit_code, Some(0));
    // But its owner can. Only root can give it away.
    if chown(&directory, Some(OTHER), None).is_ok() {
        list().assert_fails(2, "is in a directory that belongs to another user");
    }
    write(&sandbox, FILE, "");
    fs::set_permissions(sandbox.path("."), Permissions::from_mode(0o777)).unwrap();
    sandbox.run(&["list"]).assert_fails(2, "ruvector-snapshot.toml is in a directory that can be changed by every");
}
