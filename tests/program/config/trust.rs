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

/// A user who can replace what a link names decides what is read.
#[test]
fn a_link_is_as_good_as_the_directories_that_it_leads_through() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    write(&sandbox, "open/middle.toml", "");
    write(&sandbox, "own/file.toml", "");
    let open = |is_open: bool| {
        let mode = if is_open { 0o777 } else { 0o755 };
        fs::set_permissions(sandbox.path("open"), Permissions::from_mode(mode)).unwrap();
    };
    for to in ["open/middle.toml", "own/../open/middle.toml"] {
        let _absent = fs::remove_file(sandbox.path(FILE));
        symlink(to, sandbox.path(FILE)).unwrap();
        open(true);
        let result = sandbox.run(&["list"]);
        result
            .assert_fails(2, "/open/middle.toml, is in a directory that can be changed by every user of this machine");
        assert!(result.stderr.contains("the configuration file ruvector-snapshot.toml, a link to "), "{result:?}");
        sandbox.run(&["config", "show"]).assert_fails(2, "is in a directory that can be changed by every user");
        sandbox.run(&["config", "check"]).assert_fails(2, "is in a directory that can be changed by every user");
        sandbox.ok(&["list", "--config", FILE]);
        open(false);
        sandbox.ok(&["list"]);
        // A link that leads on to a good file.
        fs::remove_file(sandbox.path("open/middle.toml")).unwrap();
        symlink("../own/file.toml", sandbox.path("open/middle.toml")).unwrap();
        sandbox.ok(&["list"]);
        open(true);
        sandbox
            .run(&["list"])
            .assert_fails(2, "/open/middle.toml, is in a directory that can be changed by every user");
    }
    // Outside /etc, whatever the path begins with.
    fs::set_permissions(sandbox.path("own/file.toml"), Permissions::from_mode(0o666)).unwrap();
    open(false);
    sandbox.run(&["list"]).assert_fails(2, "/own/file.toml, can be changed by every user of this machine");
}

#[test]
fn the_file_of_the_user_is_that_in_the_working_directory_too() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let home = sandbox.path("home");
    let directory = home.join(".config/ruvector-snapshot");
    write(
        &sandbox,
        "home/.config/ruvector-snapshot/ruvector-snapshot.toml",
        &format!(
            "store = \"{}\"\n[stores.b]\nlocation = \"s3://b\"\noptions = {{ skip_signature = true }}\n",
            sandbox.path("snapshots").display()
        ),
    );
    let run_in = |directory: &std::path::Path, args: &[&str]| {
        RunResult::from(sandbox.command(args).current_dir(directory).env("HOME", &home).output().unwrap())
    };
    for directory in [&directory, &home] {
        let path = run_in(directory, &["config", "path"]);
        assert_eq!(path.stdout, format!("{}\n", home.join(".config/ruvector-snapshot").join(FILE).display()));
        assert!(run_in(directory, &["list"]).stdout.contains(&ids[0]));
        assert_eq!(run_in(directory, &["config", "check"]).exit_code, Some(0));
        let shown = run_in(directory, &["config", "show", "--store", "@b"]);
        assert_eq!((shown.exit_code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
    }
    // Another file of the name is not.
    fs::copy(directory.join(FILE), sandbox.path(FILE)).unwrap();
    run_in(&sandbox.path("."), &["config", "show", "--store", "@b"]).assert_warns("nothing is sent there");
    run_in(&sandbox.path("."), &["config", "check"]).assert_fails(2, "nothing is sent there");
}
