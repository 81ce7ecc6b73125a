//! A local directory as a store: the contract, interrupted uploads, garbage collection and foreign files.

#![expect(clippy::disallowed_methods, reason = "the age of a file is measured against the clock of the file system")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::FutureExt;
use futures::TryStreamExt;
use ruvector_snapshot::ErrorKind;
use ruvector_snapshot::store::testing::conformance;
use ruvector_snapshot::store::{LocalMaintenance, Location, SnapshotStore, StoreConfig, maintenance_of, open};
use tempfile::TempDir;

use super::contract::keys;

const MIB: usize = 1024 * 1024;

fn open_at(path: impl AsRef<Path>) -> Arc<dyn SnapshotStore> {
    open(&Location::Local(path.as_ref().to_owned()), &StoreConfig::default()).unwrap()
}

fn maintenance_at(path: impl AsRef<Path>) -> LocalMaintenance {
    maintenance_of(open_at(path).as_ref()).unwrap()
}

/// Returns every file below a directory, staged files included, by its relative path.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false => found.push(path.strip_prefix(directory).unwrap().to_string_lossy().into_owned()),
            }
        }
    }
    found.sort();
    found
}

/// Yields to other tasks until a condition holds. Panics if it never does.
async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the condition never held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_passes_the_conformance_suite() {
    let directory = TempDir::new().unwrap();
    conformance::run_all(open_at(&directory), "suite").await.unwrap();
    assert_eq!(files(directory.path()), [""; 0], "the suite leaves no file, staged or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_an_unusual_name_passes_the_conformance_suite() {
    let directory = TempDir::new().unwrap();
    let odd = directory.path().join("a b#1/%41/é?&+~/x#2");
    fs::create_dir_all(odd.parent().unwrap()).unwrap();
    let store = open(&Location::Local(odd.clone()), &StoreConfig::default().create(true)).unwrap();
    store.create("here", "x".into()).await.unwrap();
    assert_eq!(files(&odd), ["here"]);
    store.delete("here").await.unwrap();
    conformance::run_all(store, "suite").await.unwrap();
}

#[tokio::test]
async fn objects_are_plain_files_that_outlive_the_store() {
    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    store.create("one/two %41/three.bin", "created".into()).await.unwrap();
    let mut upload = store.upload("one/uploaded", None).await.unwrap();
    upload.write("uploaded".into()).await.unwrap();
    upload.finish().await.unwrap();
    drop(store);

    assert_eq!(files(directory.path()), ["one/two %41/three.bin", "one/uploaded"]);
    assert_eq!(fs::read(directory.path().join("one/two %41/three.bin")).unwrap(), b"created");
    assert_eq!(open_at(&directory).get("one/uploaded", 100).await.unwrap(), "uploaded");
}

#[tokio::test]
async fn a_missing_directory_is_created_only_on_request() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("missing");
    let location = Location::Local(path.clone());

    let error = open(&location, &StoreConfig::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("there is no such directory"), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!path.exists(), "open created a directory");

    let store = open(&location, &StoreConfig::default().create(true)).unwrap();
    assert!(path.is_dir());
    assert!(store.to_string().ends_with("/missing"), "{store}");
    open(&location, &StoreConfig::default().create(true)).unwrap();
}

#[test]
fn only_the_last_level_of_a_missing_directory_is_created() {
    let directory = TempDir::new().unwrap();
    let at = |path: &str| Location::Local(directory.path().join(path));
    for path in ["not/there", "not/there/yet", "not/../not/there"] {
        let error = open(&at(path), &StoreConfig::default().create(true)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        let missing = format!("the directory {} does not exist", directory.path().join("not").display());
        assert!(error.message().contains(&missing), "{error}");
        assert!(error.message().contains("not mounted"), "{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    fs::create_dir(directory.path().join("not")).unwrap();
    open(&at("not/there"), &StoreConfig::default().create(true)).unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
    let error = open(&at("link"), &StoreConfig::default().create(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.message().contains("symbolic link"), "{error}");
}

/// The staged file of an upload is for its owner only until it gets its name. The umask of this process may be any.
#[tokio::test]
async fn the_directory_of_the_store_decides_who_can_read_an_object_once_it_has_its_name() {
    for (mode, expected) in [(0o700, 0o600), (0o750, 0o640), (0o2770, 0o660), (0o755, 0o644)] {
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
        let mode_of = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
        let store = open_at(&directory);
        let mut upload = store.upload("a/b/c", None).await.unwrap();
        upload.write(vec![7; 26 * MIB].into()).await.unwrap();
        assert_eq!(files(directory.path()), ["a/b/c#1"]);
        assert_eq!([mode_of("a"), mode_of("a/b"), mode_of("a/b/c#1")], [mode & 0o777, mode & 0o777, 0o600]);
        upload.finish().await.unwrap();
        store.create("a/d", "x".into()).await.unwrap();
        assert_eq!([mode_of("a/b/c"), mode_of("a/d")], [expected; 2]);
        // The mode of the directory at the time of the write.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        store.create("a/e", "x".into()).await.unwrap();
        assert_eq!(mode_of("a/e"), 0o600);
    }
}

#[tokio::test]
async fn a_new_directory_and_its_objects_are_for_their_owner_only() {
    let directory = TempDir::new().unwrap();
    let location = Location::Local(directory.path().join("new"));
    let store = open(&location, &StoreConfig::default().create(true)).unwrap();
    store.create("a/b", "x".into()).await.unwrap();
    let mode_of = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode_of("new"), mode_of("new/a"), mode_of("new/a/b")], [0o700, 0o700, 0o600]);
}

/// An unmounted disk must not be filled below its mount point.
#[tokio::test]
async fn a_directory_that_is_gone_is_not_created_again_by_a_write() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store");
    let store = open(&Location::Local(path.clone()), &StoreConfig::default().create(true)).unwrap();
    fs::remove_dir(&path).unwrap();
    for key in ["a/b/c", "d"] {
        let error = store.create(key, "x".into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_in_place_of_a_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for (path, create) in [(file.clone(), false), (file.clone(), true), (file.join("below"), true)] {
        let error = open(&Location::Local(path.clone()), &StoreConfig::default().create(create)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}: {error:?}");
    }
    let store = open_at(&directory);
    assert_eq!(store.create("file/below", "x".into()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fs::read(file).unwrap(), b"x");
}

#[tokio::test]
async fn a_removed_directory_is_an_error_and_not_an_empty_store() {
    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    assert_eq!(keys(store.as_ref(), "").await, [""; 0]);
    drop(directory);
    for error in [
        store.list("").try_collect::<Vec<_>>().await.unwrap_err(),
        store.list("a").try_collect::<Vec<_>>().await.unwrap_err(),
        store.head("a/b").await.unwrap_err(),
        store.get("a/b", 10).await.unwrap_err(),
        store.get_range("a/b", 0..1).await.unwrap_err(),
        store.delete("a/b").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("the directory of the store is not there any more"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn foreign_files_and_links_do_not_hide_objects() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    store.create("snapshot/a", "a".into()).await.unwrap();
    let inside = directory.path().join("snapshot");
    for name in [&b"a#1"[..], b"a#b#1", b"not\xffutf8", b"line\nbreak", b"back\\slash", &[b'l'; 250]] {
        fs::write(inside.join(OsStr::from_bytes(name)), "foreign").unwrap();
        fs::create_dir(directory.path().join(OsStr::from_bytes(name))).unwrap();
        fs::write(directory.path().join(OsStr::from_bytes(name)).join("below"), "foreign").unwrap();
    }
    fs::write(inside.join("%zz"), "foreign, but a valid key").unwrap();
    fs::create_dir(inside.join("empty")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    symlink("itself", inside.join("itself")).unwrap();
    symlink(".", inside.join("loop")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    let elsewhere = TempDir::new().unwrap();
    symlink(elsewhere.path(), directory.path().join("moved")).unwrap();
    fs::write(elsewhere.path().join("b"), "b").unwrap();
    // Directories outside that link to each other, and back to the store.
    for name in ["one", "two"] {
        fs::create_dir(elsewhere.path().join(name)).unwrap();
        for to in ["one", "two"] {
            symlink(elsewhere.path().join(to), elsewhere.path().join(name).join(to)).unwrap();
        }
        symlink(directory.path(), elsewhere.path().join(name).join("back")).unwrap();
    }
    symlink(&inside, directory.path().join("again")).unwrap();

    assert_eq!(keys(store.as_ref(), "").await, ["snapshot/%zz", "snapshot/a"]);
    assert_eq!(keys(store.as_ref(), "snapshot").await, ["snapshot/%zz", "snapshot/a"]);
    assert_eq!(store.get("snapshot/%zz", 100).await.unwrap(), "foreign, but a valid key");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_that_cannot_be_written_is_permission_denied() {
    // No user can create a file in /sys, not even root.
    let store = open_at("/sys");
    let error = store.create("snapshot-x", "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert_eq!(error.key(), Some("snapshot-x"));
    let mut upload = store.upload("snapshot-x", None).await.unwrap();
    upload.write("x".into()).await.unwrap();
    assert_eq!(upload.finish().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_or_dropped_upload_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    for abort in [true, false] {
        let mut upload = store.upload("a/b", None).await.unwrap();
        upload.write(vec![7; 26 * MIB].into()).await.unwrap();
        assert_eq!(files(directory.path()), ["a/b#1"], "the parts are staged");
        match abort {
            true => upload.abort().await.unwrap(),
            false => drop(upload),
        }
        assert_eq!(files(directory.path()), [""; 0], "at once, abort: {abort}");
    }
}

#[tokio::test]
async fn an_upload_with_a_cancelled_write_cannot_continue() {
    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    let mut upload = store.upload("a", None).await.unwrap();
    // The fifth part waits for a permit. The four before it release none while this thread does not yield.
    assert!(upload.write(vec![7; 50 * MIB].into()).now_or_never().is_none(), "a poll is not enough for 50 MiB");
    let error = upload.write("more".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = upload.finish().await.unwrap_err();
    assert!(error.to_string().contains("start a new one"), "{error}");
    // The thread that creates the file removes it when it finds that the call was cancelled.
    eventually(|| files(directory.path()).is_empty()).await;
}

#[test]
fn a_runtime_shutdown_removes_the_staged_file() {
    let directory = TempDir::new().unwrap();
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = open_at(&directory);
        let task = async move {
            let mut upload = store.upload("a/b", None).await.unwrap();
            upload.write(vec![7; 9 * MIB].into()).await.unwrap();
            upload.write(vec![7; 9 * MIB].into()).await.unwrap();
            std::future::pending::<()>().await;
            drop(upload);
        };
        runtime.block_on(async {
            let task = tokio::spawn(task);
            while files(directory.path()).is_empty() {
                tokio::task::yield_now().await;
            }
            drop(task);
        });
        assert_eq!(files(directory.path()), ["a/b#1"]);
        drop(runtime);
        assert_eq!(files(directory.path()), [""; 0]);
    }
}

/// A child process of the next test.
#[test]
#[ignore = "started as a child process by another test"]
fn upload_until_killed() {
    use std::io::Write;
    let Ok(directory) = std::env::var("STORE_TEST_DIRECTORY") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open_at(directory);
        let mut upload = store.upload("snapshot/data", None).await.unwrap();
        upload.write(Bytes::from(vec![7; 30 * MIB])).await.unwrap();
        let mut out = std::io::stdout();
        out.write_all(b"uploading\n").and_then(|()| out.flush()).unwrap();
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn a_killed_upload_creates_no_object_and_can_be_repeated() {
    use std::io::{BufRead, BufReader};
    let directory = TempDir::new().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "local_directory::upload_until_killed"])
        .env("STORE_TEST_DIRECTORY", directory.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let uploading = lines.map_while(Result::ok).any(|line| line.contains("uploading"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(uploading);

    let store = open_at(&directory);
    assert_eq!(files(directory.path()), ["snapshot/data#1"], "the process was killed during the upload");
    assert_eq!(store.get("snapshot/data", u64::MAX).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(keys(store.as_ref(), "").await, [""; 0]);
    let mut upload = store.upload("snapshot/data", None).await.unwrap();
    upload.write("again".into()).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(store.get("snapshot/data", 10).await.unwrap(), "again");
}

#[tokio::test]
async fn garbage_collection_removes_what_killed_uploads_left_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    let maintenance = maintenance_of(store.as_ref()).unwrap();
    store.create("snapshot/object", "old".into()).await.unwrap();
    let put = |name: &str, age_hours: u64| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "staged").unwrap();
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age_hours * 3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    put("snapshot/data#1", 48);
    put("snapshot/data#2", 2);
    put("killed/deep/data#12", 48);
    put("top#1", 48);
    let others = ["snapshot/data#", "snapshot/data#1x", "snapshot/#1", "notes # 1", "snapshot/object"];
    others.iter().for_each(|name| put(name, 48));
    fs::create_dir(directory.path().join("young")).unwrap();
    fs::create_dir(directory.path().join("empty")).unwrap();
    let time = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 3600);
    fs::File::open(directory.path().join("empty")).unwrap().set_modified(time).unwrap();
    let before = Utc::now() - TimeDelta::hours(24);
    let old = ["empty/", "killed/deep/data#12", "snapshot/data#1", "top#1"];

    let found = maintenance.orphans(|_| true, before).await.unwrap();
    assert_eq!(found.iter().map(|file| file.key.as_str()).collect::<Vec<_>>(), old);
    assert!(
        found
            .iter()
            .all(|file| file.modified_at < before && file.size_bytes == if file.key == "empty/" { 0 } else { 6 })
    );
    assert_eq!(files(directory.path()).len(), 4 + others.len(), "finding orphans must not remove files");

    assert_eq!(maintenance.collect_garbage(|_| true, before).await.unwrap(), found);
    let mut left: Vec<_> = others.into_iter().chain(["snapshot/data#2"]).collect();
    left.sort();
    assert_eq!(files(directory.path()), left);
    for gone in ["killed", "empty"] {
        assert!(!directory.path().join(gone).exists(), "the directory {gone} is left");
    }
    assert!(directory.path().join("young").exists());
    assert_eq!(maintenance.collect_garbage(|_| true, before).await.unwrap(), []);
}

/// Files behind a link may belong to another program.
#[tokio::test]
async fn garbage_collection_does_not_follow_links() {
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(elsewhere.path().join("data#1"), "staged").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("data#1"), directory.path().join("data#1")).unwrap();
    let collected =
        maintenance_at(&directory).collect_garbage(|_| true, Utc::now() + TimeDelta::hours(1)).await.unwrap();
    assert_eq!(collected, []);
    assert_eq!(files(elsewhere.path()), ["data#1"]);
}

#[tokio::test]
async fn garbage_collection_keeps_uploads_in_progress() {
    let directory = TempDir::new().unwrap();
    let store = open_at(&directory);
    let maintenance = maintenance_of(store.as_ref()).unwrap();
    let mut upload = store.upload("a/b", None).await.unwrap();
    upload.write(vec![7; 9 * MIB].into()).await.unwrap();
    upload.write(vec![7; 9 * MIB].into()).await.unwrap();
    assert_eq!(maintenance.collect_garbage(|_| true, Utc::now() - TimeDelta::hours(1)).await.unwrap(), []);
    upload.finish().await.unwrap();
    assert_eq!(store.head("a/b").await.unwrap().size_bytes, 18 * MIB as u64);
}

/// The key filter of a caller whose only key is `box/object`.
fn is_in_box(key: &str) -> bool {
    matches!(key, "box/" | "box/object")
}

/// The directory may also hold files of other programs.
#[tokio::test]
async fn garbage_collection_removes_only_files_of_the_caller() {
    let directory = TempDir::new().unwrap();
    let maintenance = maintenance_at(&directory);
    let foreign =
        ["invoice#2024", "notes/chapter#1", "box#1", "box/chapter#1", "box/object#1/deep#1", "other/object#1"];
    for name in foreign.into_iter().chain(["box/object#7"]) {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "foreign").unwrap();
    }
    for name in ["notes/empty", "proj/.git/refs/heads", "box/empty", "vacant"] {
        fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    let later = Utc::now() + TimeDelta::hours(1);
    let collected = maintenance.collect_garbage(is_in_box, later).await.unwrap();
    assert_eq!(collected.into_iter().map(|file| file.key).collect::<Vec<_>>(), ["box/object#7"]);
    let mut left = foreign.to_vec();
    left.sort_unstable();
    assert_eq!(files(directory.path()), left);
    for name in ["notes/empty", "proj/.git/refs/heads", "box/empty", "vacant"] {
        assert!(directory.path().join(name).is_dir(), "{name} is gone");
    }

    fs::remove_dir_all(directory.path().join("box")).unwrap();
    fs::create_dir(directory.path().join("box")).unwrap();
    let collected = maintenance.collect_garbage(is_in_box, later).await.unwrap();
    assert_eq!(collected.into_iter().map(|file| file.key).collect::<Vec<_>>(), ["box/"]);
    assert!(!directory.path().join("box").exists());
}

/// A foreign directory may be unreadable. As root this test shows nothing, because root can read every directory.
#[tokio::test]
async fn a_listing_with_a_key_filter_does_not_read_foreign_directories() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let location = Location::Local(directory.path().to_owned());
    let store = open(&location, &StoreConfig::default().key_filter(is_in_box)).unwrap();
    store.create("box/object", "x".into()).await.unwrap();
    store.create("private/letter", "x".into()).await.unwrap();
    let private = directory.path().join("private");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o000)).unwrap();
    let listed: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(listed, ["box/object"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_does_not_keep_the_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let maintenance = maintenance_at(&directory);
    for name in ["a/object#1", "b/object#1"] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "staged").unwrap();
    }
    let locked = directory.path().join("a");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = maintenance.collect_garbage(|_| true, Utc::now() + TimeDelta::hours(1)).await;
    // Root can remove the file, and the directory too.
    let is_root = outcome.is_ok();
    if !is_root {
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert!(is_root || outcome.unwrap_err().kind() == ErrorKind::PermissionDenied);
    assert_eq!(files(directory.path()), if is_root { Vec::new() } else { vec!["a/object#1"] });
}
