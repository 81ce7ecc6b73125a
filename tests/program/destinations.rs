//! What is known of the destination of a restore before it starts is said before it starts: no data is read before the
//! error, and nothing is changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::bucket::{Bucket, ROWS};
use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox, assert_holds, create_database};

/// Where the snapshots are.
enum Store {
    Bucket(Bucket),
    /// A directory in which the data of the snapshot cannot be read, so that whoever reads it fails with exit code 3.
    Directory(Sandbox),
}

impl Store {
    fn each() -> Vec<Self> {
        let [s3, gcs] = Bucket::both();
        let buckets = [s3, gcs].map(|bucket| {
            bucket.create("one");
            Self::Bucket(bucket)
        });
        let (sandbox, ids) = Sandbox::with_snapshots(1);
        for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz"] {
            let path = sandbox.stored(&ids[0], file);
            let bytes = fs::metadata(&path).unwrap().len() as usize;
            fs::write(&path, vec![0; bytes]).unwrap();
        }
        sandbox.run(&["restore", "one", "--to", "b.db"]).assert_fails(3, "corrupt");
        // What was found is recorded, and would be a warning from now on.
        for entry in sandbox
            .names(&format!("snapshots/snapshot-{}", ids[0]))
            .iter()
            .filter(|name| name.contains("-read-corrupt-"))
        {
            fs::remove_file(sandbox.stored(&ids[0], entry)).unwrap();
        }
        buckets.into_iter().chain([Self::Directory(sandbox)]).collect()
    }

    fn sandbox(&self) -> &Sandbox {
        match self {
            Self::Bucket(bucket) => &bucket.sandbox,
            Self::Directory(sandbox) => sandbox,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        match self {
            Self::Bucket(bucket) => bucket.command(args),
            Self::Directory(sandbox) => sandbox.command(args),
        }
    }

    /// Asserts that a restore in this shell fails with this error, without reading data and without changing anything.
    #[track_caller]
    fn assert_refused(&self, shell: &Shell, args: &[&str], texts: &[&str]) {
        let before = tree(self.sandbox());
        if let Self::Bucket(bucket) = self {
            bucket.server.wire().reset_log();
        }
        let result = shell.run(self.command(&[&["restore", "one"], args].concat()));
        for text in texts {
            result.assert_fails(1, text);
        }
        for wrong in ["credentials", "network", "try again"] {
            assert!(!result.stderr.contains(wrong), "{result:?}");
        }
        if let Self::Bucket(bucket) = self {
            let requests = bucket.server.wire().requests();
            let is_data = |key: &str| key.ends_with(".gz");
            assert!(!requests.iter().any(|request| is_data(&request.key())), "{requests:?}");
        }
        assert_eq!(tree(self.sandbox()), before);
        self.assert_blocked(shell, args, texts);
    }

    /// Asserts that a dry run of this restore says the same, reads no data either, and leaves even the times as they were.
    #[track_caller]
    fn assert_blocked(&self, shell: &Shell, args: &[&str], texts: &[&str]) {
        let before = tree_with_times(self.sandbox());
        if let Self::Bucket(bucket) = self {
            bucket.server.wire().reset_log();
        }
        let result = shell.run(self.command(&[&["restore", "one", "--dry-run"], args].concat()));
        assert_eq!(result.exit_code, Some(1), "{result:?}");
        // The first error is about the destination.
        let (_, first) = result.stderr.split_once("error: ").unwrap_or_else(|| panic!("{result:?}"));
        let first = first.split("\nerror: ").next().unwrap();
        assert!(texts.iter().all(|text| first.contains(text)), "{texts:?} are not in {first}: {result:?}");
        for wrong in ["credentials", "network", "try again", "panicked"] {
            assert!(!result.stderr.contains(wrong), "{result:?}");
        }
        assert!(result.stdout.starts_with("could not restore ") && result.stdout.contains("    blocker"), "{result:?}");
        if let Self::Bucket(bucket) = self {
            let requests = bucket.server.wire().requests();
            let is_data = |key: &str| key.ends_with("vectors.bin.gz") || key.ends_with("metadata.bin.gz");
            assert!(!requests.iter().any(|request| request.is_get() && is_data(&request.key())), "{requests:?}");
            let is_read = |request: &test_servers::Request| request.is_get() || request.is_head() || request.is_list();
            assert!(requests.iter().all(is_read), "{requests:?}");
        }
        assert_eq!(tree_with_times(self.sandbox()), before);
    }
}

/// Returns everything below the directory of a sandbox, with sizes, inodes and times of modification.
pub(crate) fn tree_with_times(sandbox: &Sandbox) -> Vec<String> {
    let listed = Command::new("find").arg(sandbox.path(".")).args(["-printf", "%P %y %s %i %T@\n"]).output().unwrap();
    let mut lines: Vec<_> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Returns every name below the directory of a sandbox, and the size of what it names.
fn tree(sandbox: &Sandbox) -> Vec<String> {
    let listed = Command::new("find").arg(sandbox.path(".")).args(["-printf", "%P %y %s %i\n"]).output().unwrap();
    let mut lines: Vec<_> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    // The directories themselves may have another size after a file was created and removed.
    lines.retain(|line| !line.contains(" d "));
    lines.sort();
    lines
}

/// How the program is started.
pub(crate) struct Shell {
    launcher: Vec<String>,
    /// What is run before it.
    script: String,
}

impl Shell {
    fn plain() -> Self {
        Self::new(&["/bin/sh"], "")
    }

    fn new(launcher: &[&str], script: &str) -> Self {
        Self { launcher: launcher.iter().map(ToString::to_string).collect(), script: script.to_owned() }
    }

    /// In a namespace of its own for mounts, after this script. `None` if this system does not allow it.
    pub(crate) fn with_mounts(script: &str) -> Option<Self> {
        let allowed = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
        allowed.then(|| Self::new(&["unshare", "-rm", "/bin/sh"], script))
    }

    /// As a user who is not root. `None` if this process is not root.
    fn as_another_user() -> Option<Self> {
        is_root().then(|| Self::new(&["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "/bin/sh"], ""))
    }

    /// On a system that answers these requests with this error.
    pub(crate) fn refusing(what: &str, error: &str) -> Self {
        Self::new(&["/bin/sh"], &format!("export LD_PRELOAD='{}' {what}={error};", refusals().display()))
    }

    pub(crate) fn run(&self, inner: Command) -> RunResult {
        let mut command = Command::new(&self.launcher[0]);
        command.args(&self.launcher[1..]).args(["-c", &format!("{} exec \"$0\" \"$@\"", self.script)]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(inner.get_current_dir().unwrap());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        RunResult::from(command.output().unwrap())
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_destination_that_is_no_file_is_refused_before_anything_is_read() {
    for store in Store::each() {
        let sandbox = store.sandbox();
        fs::create_dir(sandbox.path("directory")).unwrap();
        assert!(Command::new("mkfifo").arg(sandbox.path("fifo")).status().unwrap().success());
        symlink("nowhere", sandbox.path("dangling")).unwrap();
        symlink("loop", sandbox.path("loop")).unwrap();
        symlink("directory", sandbox.path("to-directory")).unwrap();
        let long = "n".repeat(256);
        let shell = Shell::plain();
        let refused = |to: &str, text: &str| {
            store.assert_refused(&shell, &["--to", to], &[text]);
            store.assert_refused(&shell, &["--to", to, "--force"], &[text]);
        };
        refused("directory", "the destination is a directory");
        refused("directory/", "this is the name of a directory");
        refused("fifo", "the destination is not a regular file");
        refused("/dev/null", "the destination is not a regular file");
        refused("dangling", "the destination is a symbolic link to nowhere, which does not exist");
        refused("loop", "a symbolic link that leads back to itself");
        refused("to-directory", "a symbolic link to a directory");
        refused("missing/b.db", "cannot create a temporary file in the directory of the destination");
        refused("missing/b.db", "create the directory missing first");
        refused("a.db/b.db", "cannot use this path as the destination");
        // A file in a directory of a snapshot would belong to no command, and --force would replace what is stored.
        let snapshot = "elsewhere/snapshot-20260131T080000000Z-0123456789abcdef";
        fs::create_dir_all(sandbox.path(snapshot)).unwrap();
        fs::write(sandbox.path(snapshot).join("vectors.bin.gz"), "stored").unwrap();
        symlink(snapshot, sandbox.path("to-snapshot")).unwrap();
        for inside in ["to-snapshot/b.db", &format!("{snapshot}/b.db"), &format!("{snapshot}/missing/b.db")] {
            refused(inside, "the path is inside the snapshot snapshot-20260131T080000000Z-0123456789abcdef");
        }
        store.assert_refused(
            &shell,
            &["--to", "to-snapshot/vectors.bin.gz", "--force"],
            &["choose a path outside of it"],
        );
        refused(&long, &long);
        store.assert_refused(&shell, &["--to", &long], &["cannot use this path as the destination"]);
        store.assert_refused(&shell, &["--to", "a.db"], &["the file already exists"]);
    }
}

#[test]
fn a_file_that_is_a_mount_point_is_refused_before_anything_is_read() {
    let Some(shell) = Shell::with_mounts("mount --bind other.db b.db &&") else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    for store in Store::each() {
        create_database(&store.sandbox().path("b.db"), 3, 8);
        create_database(&store.sandbox().path("other.db"), 3, 8);
        let said = ["this file is a mount point", "Mount its directory instead, or restore to another path"];
        store.assert_refused(&shell, &["--to", "b.db", "--force"], &said);
        symlink("b.db", store.sandbox().path("link.db")).unwrap();
        store.assert_refused(&shell, &["--to", "link.db", "--force"], &said);
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_before_anything_is_read() {
    let Some(shell) = Shell::with_mounts("mount --bind d d && mount -o remount,ro,bind d &&") else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    for store in Store::each() {
        fs::create_dir(store.sandbox().path("d")).unwrap();
        create_database(&store.sandbox().path("d/old.db"), 3, 8);
        let said = ["cannot create a temporary file in the directory of the destination", "Read-only file system"];
        store.assert_refused(&shell, &["--to", "d/new.db"], &said);
        store.assert_refused(&shell, &["--to", "d/old.db", "--force"], &said);
    }
}

#[test]
fn too_little_space_is_an_error_before_anything_is_read() {
    // 300 vectors of 8 dimensions take at least 4 pages of 4 KiB, and there is their metadata.
    let Some(shell) = Shell::with_mounts("mount -t tmpfs -o size=12k none d &&") else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    for store in Store::each() {
        fs::create_dir(store.sandbox().path("d")).unwrap();
        let said = ["the restored file needs at least 20626 bytes, and its file system has 12288 bytes left", "b.db"];
        store.assert_refused(&shell, &["--to", "d/b.db"], &said);
        // A quota could not say more.
        let planned = shell.run(store.command(&["restore", "one", "--to", "d/b.db", "--dry-run"]));
        assert_eq!(planned.stderr.matches("its file system ").count(), 1, "{planned:?}");
        assert!(planned.stdout.contains("    not checked  quota\n"), "{planned:?}");
    }
}

#[test]
fn space_that_may_be_too_little_is_a_warning() {
    let Some(shell) = Shell::with_mounts("mount -t tmpfs -o size=24k none d &&") else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    let (sandbox, _) = Sandbox::with_snapshots(1);
    fs::create_dir(sandbox.path("d")).unwrap();
    let result = shell.run(sandbox.command(&["restore", "one", "--to", "d/b.db"]));
    let warning = "warning: the restored file may need about 4734976 bytes, and its file system has 24576 bytes left";
    assert!(result.stderr.starts_with(warning), "{result:?}");
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stderr.contains("\nerror: ") && result.stderr.contains("space"), "{result:?}");
    // It is not known to fail.
    let result = shell.run(sandbox.command(&["restore", "one", "--to", "d/b.db", "--dry-run"]));
    assert!(result.stderr.starts_with(warning) && result.stderr.lines().count() == 1, "{result:?}");
    assert_eq!(result.exit_code, Some(5), "{result:?}");
    assert!(result.stdout.contains("    warning      free space\n"), "{result:?}");
}

#[test]
fn the_plan_names_the_free_space_before_the_restore_reserves_any() {
    let Some(shell) = Shell::with_mounts("mount -t tmpfs -o size=10m none d &&") else {
        return println!("skipped: this system does not allow mounts in a namespace");
    };
    let (sandbox, _) = Sandbox::with_snapshots(1);
    fs::create_dir(sandbox.path("d")).unwrap();
    let result = shell.run(sandbox.command(&["restore", "one", "--to", "d/b.db", "--dry-run", "--json"]));
    let (exit_code, document) = result.into_json();
    assert_eq!((exit_code, &document["file"]["free_bytes"]), (0, &(10 << 20).into()), "{document}");
}

#[test]
fn a_limit_for_the_size_of_files_is_an_error_before_anything_is_read() {
    // Units of 512 bytes, and of 1024 bytes in some shells.
    let shell = Shell::new(&["/bin/sh"], "ulimit -f 8;");
    for store in Store::each() {
        let said = ["the restored file will have at least 20626 bytes", "RLIMIT_FSIZE", "`ulimit -f unlimited`"];
        store.assert_refused(&shell, &["--to", "b.db"], &said);
    }
}

#[test]
fn an_increment_needs_the_space_of_its_state() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "step", "--base", "one"]);
    let limited = Shell::new(&["/bin/sh"], "ulimit -f 8;");
    // The vectors alone, in 4 pages. How much metadata is left is not known.
    let said = "the restored file will have at least 16384 bytes";
    limited.run(sandbox.command(&["restore", "step", "--to", "b.db"])).assert_fails(1, said);
    limited.run(sandbox.command(&["restore", "step", "--to", "b.db", "--dry-run"])).assert_fails(1, said);
}

#[test]
fn a_quota_that_is_too_small_is_an_error_before_anything_is_read() {
    // EDQUOT and ENOSPC of Linux.
    for (error, why) in [("122", "a quota does not allow that"), ("28", "its file system does not have them")] {
        let shell = Shell::refusing("REFUSE_RESERVATION", error);
        for store in Store::each() {
            let said = ["the restored file needs at least ", why];
            store.assert_refused(&shell, &["--to", "b.db"], &said);
            create_database(&store.sandbox().path("c.db"), 3, 8);
            store.assert_refused(&shell, &["--to", "c.db", "--force"], &said);
        }
    }
    // EOPNOTSUPP: a file system that reserves nothing.
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let result = Shell::refusing("REFUSE_RESERVATION", "95").run(sandbox.command(&["restore", "one", "--to", "b.db"]));
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    assert_holds(&sandbox.path("b.db"), ROWS, 8);
}

#[test]
fn a_file_system_without_files_of_the_size_is_an_error_before_anything_is_read() {
    // EINVAL of Linux: beyond the largest file.
    let shell = Shell::refusing("REFUSE_SEEK", "22");
    for store in Store::each() {
        let said =
            ["the restored file will have at least ", "the file system of the destination has no files of this size"];
        store.assert_refused(&shell, &["--to", "b.db"], &said);
    }
}

/// Removes the attributes of files when dropped, so that their directory can be removed.
struct Attribute<'a> {
    flag: char,
    path: &'a Path,
}

impl<'a> Attribute<'a> {
    /// `None` if this user, or this file system, has no attributes.
    fn set(flag: char, path: &'a Path) -> Option<Self> {
        let attribute = Self { flag, path };
        attribute.change('+').then_some(attribute)
    }

    fn change(&self, sign: char) -> bool {
        let change = format!("{sign}{}", self.flag);
        Command::new("chattr").arg(change).arg(self.path).output().is_ok_and(|done| done.status.success())
    }
}

impl Drop for Attribute<'_> {
    fn drop(&mut self) {
        self.change('-');
    }
}

#[test]
fn immutable_and_append_only_files_and_directories_are_refused_before_anything_is_read() {
    for store in Store::each() {
        let sandbox = store.sandbox();
        fs::create_dir(sandbox.path("d")).unwrap();
        create_database(&sandbox.path("d/old.db"), 3, 8);
        let (file, directory) = (sandbox.path("d/old.db"), sandbox.path("d"));
        for (flag, path, text) in [
            ('i', &file, "this file is immutable, and nothing was changed"),
            ('a', &file, "this file is append-only, and nothing was changed"),
            ('i', &directory, "the directory of the destination is immutable"),
            ('a', &directory, "the directory of the destination is append-only"),
        ] {
            let Some(_attribute) = Attribute::set(flag, path) else {
                return println!("skipped: attributes of files cannot be set here");
            };
            let said = [text, &*format!("`chattr -{flag}`")];
            store.assert_refused(&Shell::plain(), &["--to", "d/old.db", "--force"], &said);
            if path == &directory {
                store.assert_refused(&Shell::plain(), &["--to", "d/new.db"], &said);
            }
        }
    }
}

#[test]
fn what_another_user_owns_is_refused_before_anything_is_read() {
    let Some(shell) = Shell::as_another_user() else {
        return println!("skipped: only root can run the program as another user");
    };
    for store in Store::each() {
        let sandbox = store.sandbox();
        assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(sandbox.path(".")).status().unwrap().success());
        for (directory, mode) in [("open", 0o777), ("sticky", 0o1777), ("closed", 0o755)] {
            fs::create_dir(sandbox.path(directory)).unwrap();
            create_database(&sandbox.path(directory).join("old.db"), 3, 8);
            fs::set_permissions(sandbox.path(directory).join("old.db"), Permissions::from_mode(0o666)).unwrap();
            fs::set_permissions(sandbox.path(directory), Permissions::from_mode(mode)).unwrap();
        }
        let owner = ["cannot give the restored database the owner and the permissions of the file that it replaces"];
        store.assert_refused(&shell, &["--to", "open/old.db", "--force"], &owner);
        store.assert_refused(&shell, &["--to", "sticky/old.db", "--force"], &owner);
        let closed = ["cannot create a temporary file in the directory of the destination", "Permission denied"];
        store.assert_refused(&shell, &["--to", "closed/old.db", "--force"], &closed);
        store.assert_refused(&shell, &["--to", "closed/new.db"], &closed);
        if let Store::Bucket(bucket) = &store {
            let result = shell.run(bucket.command(&["restore", "one", "--to", "open/new.db"]));
            assert_eq!(result.exit_code, Some(0), "{result:?}");
        }
    }
}

#[test]
fn a_name_that_leaves_no_room_for_a_temporary_name_can_be_restored_to() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for name in ["n".repeat(255), "ä".repeat(127)] {
        for force in [&[][..], &["--force"]] {
            sandbox.ok(&[&["restore", "one", "--to", &name], force].concat());
            assert_holds(&sandbox.path(&name), ROWS, 8);
        }
        fs::remove_file(sandbox.path(&name)).unwrap();
        assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
    }
}
