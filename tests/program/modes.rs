//! Who can read what the program writes: nobody but the owner, unless the store's directory or the replaced file says
//! otherwise. Whatever the umask is.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::bucket::Bucket;
use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox, after};

const UMASKS: [&str; 4] = ["022", "077", "002", "000"];

/// Runs the program with a umask, and asserts that it succeeds.
#[track_caller]
fn ok(sandbox: &Sandbox, umask: &str, args: &[&str]) {
    let mut command = after(&format!("umask {umask}"), &sandbox.command(args));
    let result = RunResult::from(command.output().unwrap());
    assert_eq!(result.exit_code, Some(0), "umask {umask}, {args:?}: {result:?}");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Returns the modes of the directories and of the files below a directory.
fn modes_below(directory: &Path) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let (mut directories, mut files) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            directories.insert(mode(&path));
            let (inner_directories, inner_files) = modes_below(&path);
            directories.extend(inner_directories);
            files.extend(inner_files);
        } else {
            files.insert(mode(&path));
        }
    }
    (directories, files)
}

/// Creates snapshots, and leaves every kind of object that can stay beside them.
fn fill(sandbox: &Sandbox, umask: &str, store: &str) {
    let run = |args: &[&str]| ok(sandbox, umask, &[args, &["--store", store]].concat());
    run(&["create", "--db", "a.db", "--name", "full"]);
    run(&["create", "--db", "a.db", "--name", "increment", "--base", "full"]);
    run(&["pin", "full"]);
}

#[test]
fn a_new_store_is_for_its_owner_only() {
    for umask in UMASKS {
        let sandbox = Sandbox::with_rows(300);
        fill(&sandbox, umask, "new");
        assert_eq!(mode(&sandbox.path("new")), 0o700, "umask {umask}");
        assert_eq!(modes_below(&sandbox.path("new")), ([0o700].into(), [0o600].into()), "umask {umask}");
    }
}

#[test]
fn the_directory_of_an_existing_store_decides() {
    for umask in ["022", "077"] {
        for (store, directory, file) in [
            (0o700, 0o700, 0o600),
            (0o755, 0o755, 0o644),
            (0o750, 0o750, 0o640),
            (0o770, 0o770, 0o660),
            (0o777, 0o775, 0o664),
            (0o711, 0o711, 0o600),
            // A shared directory that passes its group on.
            (0o2770, 0o2770, 0o660),
            // The sticky bit concerns the directory alone.
            (0o1777, 0o775, 0o664),
        ] {
            let sandbox = Sandbox::with_rows(10);
            fs::create_dir(sandbox.path("store")).unwrap();
            fs::set_permissions(sandbox.path("store"), Permissions::from_mode(store)).unwrap();
            fill(&sandbox, umask, "store");
            let expected = ([directory].into(), [file].into());
            assert_eq!(modes_below(&sandbox.path("store")), expected, "umask {umask}, store {store:o}");
            assert_eq!(mode(&sandbox.path("store")), store);
        }
    }
}

#[test]
fn a_restored_file_is_for_its_owner_only_or_as_the_one_that_it_replaces() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let restored = sandbox.path("b.db");
    for umask in UMASKS {
        for force in [&[][..], &["--force"]] {
            ok(&sandbox, umask, &[&["restore", "one", "--to", "b.db"], force].concat());
            assert_eq!(mode(&restored), 0o600, "umask {umask}");
            fs::remove_file(&restored).unwrap();
        }
        for replaced in [0o600, 0o640, 0o664, 0o444] {
            fs::write(&restored, "old").unwrap();
            fs::set_permissions(&restored, Permissions::from_mode(replaced)).unwrap();
            ok(&sandbox, umask, &["restore", "one", "--to", "b.db", "--force"]);
            assert_eq!(mode(&restored), replaced, "umask {umask}");
            fs::remove_file(&restored).unwrap();
        }
    }
}

#[test]
fn a_new_directory_of_the_demo_is_for_its_owner_only() {
    let sandbox = Sandbox::empty();
    ok(&sandbox, "022", &["demo", "demo"]);
    assert_eq!(mode(&sandbox.path("demo")), 0o700);
}

/// EACCES of Linux.
#[cfg(target_os = "linux")]
const DENIED: &str = "13";

/// The system refuses to create a file or a directory that others than its owner could use, whatever the umask is. So
/// nothing is open to others first, and restricted later.
#[cfg(target_os = "linux")]
#[test]
fn everything_is_for_its_owner_only_from_its_creation() {
    let [s3, gcs] = Bucket::both();
    let shared = Sandbox::with_rows(300);
    fs::create_dir(shared.path("snapshots")).unwrap();
    fs::set_permissions(shared.path("snapshots"), Permissions::from_mode(0o775)).unwrap();
    for (private, bucket) in
        [(Some(Sandbox::with_rows(300)), None), (Some(shared), None), (None, Some(s3)), (None, Some(gcs))]
    {
        let sandbox = private.as_ref().or(bucket.as_ref().map(|bucket| &bucket.sandbox)).unwrap();
        fs::write(sandbox.path("old.db"), "old").unwrap();
        fs::set_permissions(sandbox.path("old.db"), Permissions::from_mode(0o644)).unwrap();
        for args in [
            &["create", "--db", "a.db", "--name", "one", "--verify-after-write"][..],
            &["create", "--db", "a.db", "--name", "two", "--base", "one"],
            &["compact", "two"],
            &["pin", "one"],
            &["list"],
            &["verify", "--all"],
            &["restore", "two", "--to", "b.db"],
            &["restore", "two", "--to", "old.db", "--force"],
            &["unpin", "one"],
            &["store", "check"],
            &["delete", "one", "--cascade"],
            &["prune", "--keep-last", "1", "--grace", "0s"],
        ] {
            let command = bucket.as_ref().map_or_else(|| sandbox.command(args), |bucket| bucket.command(args));
            let mut command = after("umask 000", &command);
            command.env("LD_PRELOAD", refusals()).env("REFUSE_PUBLIC_FILES", DENIED);
            let result = RunResult::from(command.output().unwrap());
            assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        }
        assert_eq!((mode(&sandbox.path("b.db")), mode(&sandbox.path("old.db"))), (0o600, 0o644));
    }
}

/// A check of the test above: the system does refuse.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_others_could_use_is_refused_by_the_system_of_these_tests() {
    let sandbox = Sandbox::empty();
    let refused = |umask: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("umask {umask} && : > made")]).current_dir(sandbox.path("."));
        shell.env("LD_PRELOAD", refusals()).env("REFUSE_PUBLIC_FILES", DENIED).stderr(Stdio::null());
        !shell.status().unwrap().success()
    };
    // The umask does not matter.
    assert!(refused("000") && refused("077"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_temporary_directory_of_the_demo_is_for_its_owner_only_from_its_creation() {
    let sandbox = Sandbox::empty();
    let mut command = after("umask 000", &sandbox.command(&["demo"]));
    command.env("LD_PRELOAD", refusals()).env("REFUSE_PUBLIC_FILES", DENIED).env("TMPDIR", sandbox.path("."));
    let result = RunResult::from(command.output().unwrap());
    // Ruvector creates a database for everybody. It is protected by the directory.
    result.assert_fails(1, "cannot write the database of the demo");
    assert_eq!(sandbox.names("."), Vec::<String>::new());
}
