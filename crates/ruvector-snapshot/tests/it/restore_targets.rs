//! Where a restore writes: existing files, permissions, links and special files at the destination, and special files
//! among the files of a snapshot.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ruvector_snapshot::source::{SnapshotSource, SourceReader};
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, Phase, Progress, ProgressUpdate, Record, RestoreOptions, Result,
    SnapshotManager, VerifyOptions,
};
use test_fixtures::{StoredSnapshot, TestDir, create_full, make_database, names, records_of_file};

async fn dir_with_snapshot() -> (TestDir, SnapshotManager, String) {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 30, 4, 1));
    let manager = dir.manager();
    let id = create_full(&manager, &dir.path("a.db"), "one").await.unwrap().id;
    (dir, manager, id)
}

fn overwrite(overwrite: bool) -> RestoreOptions {
    RestoreOptions::default().overwrite(overwrite)
}

fn permissions(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_fifo()
}

// ---- paths

#[tokio::test]
async fn a_restore_refuses_existing_files_and_unusable_paths() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    drop(make_database(&path, 20, 2, 1));
    let manager = dir.manager();
    let id = create_full(&manager, &path, "a").await.unwrap().id;
    let expected = records_of_file(&path);
    let (plain, overwrite) = (overwrite(false), overwrite(true));
    let restored = dir.restored();

    fs::write(&restored, b"precious").unwrap();
    let error = manager.restore_snapshot_to(&id, &restored, &plain).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("restored.db"), "{error}");
    assert_eq!(fs::read(&restored).unwrap(), b"precious");
    manager.restore_snapshot_to(&id, &restored, &overwrite).await.unwrap();
    assert_eq!(records_of_file(&restored), expected);

    for options in [&plain, &overwrite] {
        let error = manager.restore_snapshot_to(&id, dir.path("no/such/dir/a.db"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(!dir.path("no").exists());
        let error = manager.restore_snapshot_to(&id, dir.path("scratch"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let error = manager.restore_snapshot_to(&id, dir.path("scratch/.."), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let error = manager.restore_snapshot_to(&id, "", options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    manager.restore_snapshot_to(&id, dir.path("scratch/../restored/other.db"), &plain).await.unwrap();
    assert_eq!(records_of_file(&dir.path("restored/other.db")), expected);
    symlink("nowhere", dir.path("restored/link.db")).unwrap();
    for options in [&plain, &overwrite] {
        let error = manager.restore_snapshot_to(&id, dir.path("restored/link.db"), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.message().contains("nowhere"), "{error}");
    }
    fs::remove_file(dir.path("restored/link.db")).unwrap();
    assert_eq!(names(&dir.path("restored")), ["other.db", "restored.db"]);
    dir.assert_scratch_empty();
}

// ---- permissions

#[tokio::test]
async fn an_overwritten_file_keeps_its_permissions() {
    let (dir, manager, id) = dir_with_snapshot().await;
    let expected = records_of_file(&dir.path("a.db"));
    for bits in [0o600, 0o640, 0o644, 0o400, 0o666] {
        fs::write(dir.restored(), "old").unwrap();
        fs::set_permissions(dir.restored(), Permissions::from_mode(bits)).unwrap();
        manager.restore_snapshot_to(&id, dir.restored(), &overwrite(true)).await.unwrap();
        assert_eq!(permissions(&dir.restored()), bits, "{bits:o}");
        fs::set_permissions(dir.restored(), Permissions::from_mode(0o600)).unwrap();
        assert!(records_of_file(&dir.restored()) == expected);
        fs::remove_file(dir.restored()).unwrap();
    }
}

#[tokio::test]
async fn only_the_owner_can_read_a_new_file() {
    let (dir, manager, id) = dir_with_snapshot().await;
    for replace in [false, true] {
        manager.restore_snapshot_to(&id, dir.restored(), &overwrite(replace)).await.unwrap();
        assert_eq!(permissions(&dir.restored()), 0o600);
        fs::remove_file(dir.restored()).unwrap();
    }
}

/// Records the permissions of the temporary file whenever the restore reports progress.
#[derive(Debug)]
struct TemporaryFileObserver {
    directory: PathBuf,
    seen: Mutex<Vec<(Phase, u32)>>,
}

impl Progress for TemporaryFileObserver {
    fn update(&self, update: ProgressUpdate) {
        let names = names(&self.directory).into_iter().filter(|name| name.starts_with(".restored.db.restoring-"));
        let modes: Vec<_> = names.map(|name| (update.phase, permissions(&self.directory.join(name)))).collect();
        assert_eq!(modes.len(), 1, "{modes:?}");
        self.seen.lock().unwrap().extend(modes);
    }
}

#[tokio::test]
async fn only_the_owner_can_read_the_temporary_file() {
    let (dir, manager, id) = dir_with_snapshot().await;
    fs::write(dir.restored(), "old").unwrap();
    fs::set_permissions(dir.restored(), Permissions::from_mode(0o644)).unwrap();
    let observer = Arc::new(TemporaryFileObserver { directory: dir.path("restored"), seen: Mutex::default() });
    let options = overwrite(true).progress(observer.clone());
    manager.restore_snapshot_to(&id, dir.restored(), &options).await.unwrap();
    let seen = observer.seen.lock().unwrap();
    for phase in [Phase::Restore, Phase::VerifyRestored] {
        assert!(seen.iter().any(|(at, _)| *at == phase), "{seen:?}");
    }
    assert!(seen.iter().all(|(_, mode)| *mode == 0o600), "{seen:?}");
}

// ---- links and special files at the destination

#[tokio::test]
async fn a_restore_through_a_link_replaces_the_file_it_points_to() {
    let (dir, manager, id) = dir_with_snapshot().await;
    let expected = records_of_file(&dir.path("a.db"));
    fs::create_dir(dir.path("real")).unwrap();
    let real = dir.path("real/real.db");
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
    symlink("../real/real.db", dir.path("restored/link")).unwrap();
    symlink("link", dir.restored()).unwrap();

    let error = manager.restore_snapshot_to(&id, dir.restored(), &overwrite(false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    assert_eq!(fs::read(&real).unwrap(), b"old");

    manager.restore_snapshot_to(&id, dir.restored(), &overwrite(true)).await.unwrap();
    assert_eq!(fs::read_link(dir.restored()).unwrap(), Path::new("link"));
    assert_eq!(fs::read_link(dir.path("restored/link")).unwrap(), Path::new("../real/real.db"));
    assert!(fs::symlink_metadata(&real).unwrap().is_file());
    assert_eq!(permissions(&real), 0o640);
    assert!(records_of_file(&real) == expected);
    assert_eq!(names(&dir.path("restored")), ["link", "restored.db"]);
    assert_eq!(names(&dir.path("real")), ["real.db"]);
}

#[tokio::test]
async fn a_dangling_link_is_refused_and_kept() {
    let (dir, manager, id) = dir_with_snapshot().await;
    symlink("nowhere", dir.restored()).unwrap();
    for replace in [false, true] {
        manager.restore_snapshot_to(&id, dir.restored(), &overwrite(replace)).await.unwrap_err();
        assert_eq!(fs::read_link(dir.restored()).unwrap(), Path::new("nowhere"));
        assert_eq!(names(&dir.path("restored")), ["restored.db"]);
    }
}

#[tokio::test]
async fn a_special_file_or_directory_is_refused_and_kept() {
    let (dir, manager, id) = dir_with_snapshot().await;
    make_fifo(&dir.path("restored/fifo"));
    symlink("fifo", dir.path("restored/link-to-fifo")).unwrap();
    fs::create_dir(dir.path("restored/directory")).unwrap();
    symlink("directory", dir.path("restored/link-to-directory")).unwrap();
    let before = names(&dir.path("restored"));
    for name in &before {
        for replace in [false, true] {
            let destination = dir.path("restored").join(name);
            let error = manager.restore_snapshot_to(&id, &destination, &overwrite(replace)).await.unwrap_err();
            let is_refused = match replace {
                true => error.kind() == ErrorKind::InvalidInput,
                false => matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::AlreadyExists),
            };
            assert!(is_refused, "{name}, overwrite {replace}: {error:?}");
        }
    }
    assert_eq!(names(&dir.path("restored")), before);
    assert!(is_fifo(&dir.path("restored/fifo")));
    assert!(dir.path("restored/directory").is_dir());
    assert_eq!(names(&dir.path("restored/directory")), Vec::<String>::new());
    for link in ["fifo", "directory"] {
        assert_eq!(fs::read_link(dir.path(&format!("restored/link-to-{link}"))).unwrap(), Path::new(link));
    }
}

// ---- special files in the store

/// Runs a future on its own thread, so that the test fails instead of blocking if the future never ends.
fn run_with_timeout<T: Send + 'static>(what: &str, work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        sender.send(runtime.block_on(work))
    });
    receiver.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{what} did not end: {error}"))
}

#[test]
fn a_fifo_among_the_files_of_a_snapshot_is_corruption() {
    let (dir, manager, id) = run_with_timeout("create", dir_with_snapshot());
    let stored = StoredSnapshot::read(&dir.snapshots(), &id);
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", "checksum.sha256"] {
        stored.remove(file);
        make_fifo(&stored.dir.join(file));
        let run = || (manager.clone(), id.clone(), dir.restored());
        let (manager, ..) = run();
        let listing = run_with_timeout("list", async move { manager.list().await.unwrap() });
        if file == "checksum.sha256" {
            assert_eq!((listing.damaged.len(), listing.unusable.len()), (1, 0), "{listing:?}");
        } else {
            assert_eq!((listing.snapshots.len(), listing.unusable.len()), (0, 1), "{file}");
            assert_eq!(listing.unusable[0].error.kind(), ErrorKind::Corrupt, "{:?}", listing.unusable);
        }

        let (manager, id, _) = run();
        let verify = async move { manager.verify_snapshot_with(&id, &VerifyOptions::default()).await.unwrap() };
        let report = run_with_timeout("verify", verify);
        assert!(report.corruption.iter().any(|corruption| corruption.file == file), "{file}: {:?}", report.corruption);

        if file != "checksum.sha256" {
            let (manager, id, _) = run();
            let error = run_with_timeout("restore", async move { manager.restore_snapshot(&id).await.err() });
            assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt, "{file}");
            let (manager, id, restored) = run();
            let restore = async move { manager.restore_snapshot_to(&id, restored, &overwrite(false)).await.err() };
            let error = run_with_timeout("restore to a file", restore);
            assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt, "{file}");
            dir.assert_nothing_restored();
        }
        assert!(is_fifo(&stored.dir.join(file)));
        stored.remove(file);
        stored.repair();
    }
    let (repaired, repaired_id) = (manager.clone(), id.clone());
    assert!(run_with_timeout("verify", async move { repaired.verify_snapshot(&repaired_id).await.unwrap() }));

    // Under the name of metadata.json a fifo does not commit a snapshot.
    stored.remove("metadata.json");
    make_fifo(&stored.dir.join("metadata.json"));
    let lister = manager.clone();
    let listing = run_with_timeout("list", async move { lister.list().await.unwrap() });
    // It was verified before, so it is no upload.
    assert_eq!((listing.snapshots.len(), listing.unusable.len()), (0, 1));
    assert_eq!(listing.pending_uploads, Vec::<String>::new());
    let error = run_with_timeout("restore", async move { manager.restore_snapshot(&id).await.err() });
    assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt);
}

// ---- unsupported databases

/// An empty database with an option that Ruvector does not know.
#[derive(Debug)]
struct UnsupportedDatabase(DatabaseInfo);

impl SnapshotSource for UnsupportedDatabase {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl SourceReader for UnsupportedDatabase {
    fn database(&self) -> &DatabaseInfo {
        &self.0
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        Ok(None)
    }
}

#[test]
fn a_database_with_unsupported_options_is_refused_before_anything_is_stored() {
    let dir = TestDir::new();
    let mut database = DatabaseInfo::new(4);
    database.distance_metric = Some("Cosine".to_owned());
    database.quantization = serde_json::json!("Nope");
    let manager = dir.manager();
    let create = async move {
        let source = UnsupportedDatabase(database);
        manager.create_from(&source, "unsupported", &CreateOptions::default()).await.unwrap_err()
    };
    let error = run_with_timeout("create", create);
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.message().contains("quantization"), "{error}");
    dir.assert_no_snapshots();
}

// ---- the temporary file is replaced

/// Gives the name of the temporary file to another database while the restored file is verified.
#[derive(Debug)]
struct SwapsMeanwhile {
    dir: PathBuf,
}

impl Progress for SwapsMeanwhile {
    fn update(&self, update: ProgressUpdate) {
        let [other, moved] = ["other.db", "moved.db"].map(|name| self.dir.join(name));
        let temporary = names(&self.dir).into_iter().find(|name| name.starts_with(".restored.db.restoring-"));
        let temporary = self.dir.join(temporary.expect("there is a temporary file"));
        match (update.phase, update.records) {
            (Phase::VerifyRestored, 0) => {
                fs::rename(&temporary, &moved).unwrap();
                fs::rename(&other, &temporary).unwrap();
            }
            (Phase::VerifyRestored, records) if records == update.records_total => {
                fs::rename(&temporary, &other).unwrap();
                fs::rename(&moved, &temporary).unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn another_file_that_is_verified_does_not_vouch_for_the_restored_one() {
    let (dir, manager, id) = dir_with_snapshot().await;
    let directory = dir.restored().parent().unwrap().to_owned();
    manager.restore_snapshot_to(&id, directory.join("other.db"), &overwrite(false)).await.unwrap();
    let options = overwrite(false).progress(Arc::new(SwapsMeanwhile { dir: directory.clone() }));
    let error = manager.restore_snapshot_to(&id, dir.restored(), &options).await.unwrap_err();
    let cause = std::error::Error::source(&error).expect("there is a cause").to_string();
    assert_eq!(cause, "another program has removed or replaced the temporary file", "{error}");
    assert!(!dir.restored().exists());
}
