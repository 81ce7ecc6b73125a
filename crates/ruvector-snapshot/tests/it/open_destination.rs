//! A restore over a file that a program has open: refused, however the file is reached and whenever it was opened.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::Database;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, SnapshotError, SnapshotManager};
use test_fixtures::{CountingStore, TestDir, create_full, make_database, memory_store, names, records_of_file};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

struct Fixture {
    dir: TestDir,
    store: Arc<CountingStore>,
    manager: SnapshotManager,
    id: String,
}

impl Fixture {
    async fn over(store: Arc<dyn SnapshotStore>) -> Self {
        let dir = TestDir::new();
        drop(make_database(&dir.path("a.db"), 30, 4, 1));
        let store = CountingStore::over(store);
        let manager = dir.manager_with_store(store.clone());
        let id = create_full(&manager, &dir.path("a.db"), "one").await.unwrap().id;
        store.take_bytes_read();
        Self { dir, store, manager, id }
    }

    async fn new() -> Self {
        Self::over(memory_store()).await
    }

    async fn restore(&self, to: &Path, options: &RestoreOptions) -> Result<(), SnapshotError> {
        self.manager.restore_snapshot_to(&self.id, to, options).await.map(drop)
    }

    /// Asserts that a restore to this path is refused because a program has it open, and that nothing was read for it.
    #[track_caller]
    fn assert_refused(&self, answer: Result<(), SnapshotError>, real: &Path) {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
        assert_eq!(Path::new(error.key().unwrap()), real.canonicalize().unwrap(), "{error:?}");
        assert!(error.message().contains("a program has this file open"), "{error}");
        assert!(error.message().contains("the file was not changed. Stop the program first"), "{error}");
    }

    /// Asserts that a file holds what the snapshot does.
    #[track_caller]
    fn assert_restored(&self, path: &Path) {
        assert!(records_of_file(path) == records_of_file(&self.dir.path("a.db")));
    }
}

fn overwrite() -> RestoreOptions {
    RestoreOptions::default().overwrite(true)
}

/// Makes another database at a path, and keeps it open with redb.
fn open_another(path: &Path) -> Database {
    drop(make_database(path, 7, 4, 2));
    Database::open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_database_is_not_replaced_and_nothing_is_downloaded() {
    let directory = TestDir::new();
    let server = S3Server::start();
    for store in [memory_store(), directory.local_store(), s3_store(&server, "backups")] {
        let fixture = Fixture::over(store).await;
        let restored = fixture.dir.restored();
        let owner = open_another(&restored);
        let (inode, bytes) = (fs::metadata(&restored).unwrap().ino(), fs::read(&restored).unwrap());
        fixture.assert_refused(fixture.restore(&restored, &overwrite()).await, &restored);
        assert!(fixture.store.take_bytes_read().is_empty());
        assert_eq!(fs::metadata(&restored).unwrap().ino(), inode);
        assert!(fs::read(&restored).unwrap() == bytes);
        assert_eq!(names(&fixture.dir.path("restored")), ["restored.db"]);
        let error = fixture.restore(&restored, &RestoreOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");

        // Beside it, and when the owner has ended.
        fixture.restore(&fixture.dir.path("restored/other.db"), &overwrite()).await.unwrap();
        fixture.assert_restored(&fixture.dir.path("restored/other.db"));
        drop(owner);
        fixture.restore(&restored, &overwrite()).await.unwrap();
        fixture.assert_restored(&restored);
    }
}

/// The database of a `VectorDB` in this process is one like any other.
#[tokio::test]
async fn an_open_vector_db_is_not_replaced() {
    let fixture = Fixture::new().await;
    let db = make_database(&fixture.dir.restored(), 7, 4, 2);
    fixture.assert_refused(fixture.restore(&fixture.dir.restored(), &overwrite()).await, &fixture.dir.restored());
    assert_eq!(db.len().unwrap(), 7);
    drop(db);
    fixture.restore(&fixture.dir.restored(), &overwrite()).await.unwrap();
}

#[tokio::test]
async fn an_open_database_is_not_replaced_through_a_link() {
    let fixture = Fixture::new().await;
    fs::create_dir(fixture.dir.path("real")).unwrap();
    let owner = open_another(&fixture.dir.path("real/real.db"));
    let real = fixture.dir.path("real/real.db").canonicalize().unwrap();
    symlink("../real/real.db", fixture.dir.path("restored/link")).unwrap();
    symlink("link", fixture.dir.path("restored/link-to-link")).unwrap();
    fs::hard_link(&real, fixture.dir.path("restored/hard-link")).unwrap();
    let before = fs::read(&real).unwrap();
    for (name, shown) in [
        ("restored/link", real.clone()),
        ("restored/link-to-link", real.clone()),
        ("restored/hard-link", fixture.dir.path("restored/hard-link").canonicalize().unwrap()),
        ("restored/../real/./real.db", real.clone()),
    ] {
        fixture.assert_refused(fixture.restore(&fixture.dir.path(name), &overwrite()).await, &shown);
        assert!(fs::read(&real).unwrap() == before, "{name}");
    }
    assert_eq!(fs::metadata(&real).unwrap().nlink(), 2);
    drop(owner);
    fixture.restore(&fixture.dir.path("restored/link-to-link"), &overwrite()).await.unwrap();
    fixture.assert_restored(&real);
}

#[tokio::test]
async fn any_lock_counts_and_not_only_that_of_a_database() {
    let fixture = Fixture::new().await;
    let restored = fixture.dir.restored();
    for lock in [File::lock, File::lock_shared] {
        fs::write(&restored, "no database").unwrap();
        let owner = File::open(&restored).unwrap();
        lock(&owner).unwrap();
        fixture.assert_refused(fixture.restore(&restored, &overwrite()).await, &restored);
        assert_eq!(fs::read(&restored).unwrap(), b"no database");
        drop(owner);
        fixture.restore(&restored, &overwrite()).await.unwrap();
    }
    // Reading takes no lock.
    let _reader = File::open(&restored).unwrap();
    fixture.restore(&restored, &overwrite()).await.unwrap();
}

#[tokio::test]
async fn who_knows_can_replace_an_open_file() {
    let fixture = Fixture::new().await;
    let restored = fixture.dir.restored();
    let owner = open_another(&restored);
    let knowing = overwrite().overwrite_while_open(true);
    fixture.restore(&restored, &knowing).await.unwrap();
    fixture.assert_restored(&restored);
    // The owner still writes, to a file that has no name.
    owner.begin_write().unwrap().commit().unwrap();
    drop(owner);
    fixture.assert_restored(&restored);

    // It allows no overwriting by itself.
    let alone = RestoreOptions::default().overwrite_while_open(true);
    assert_eq!(fixture.restore(&restored, &alone).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

/// Opens a database at the destination as soon as the restored file is read back.
#[derive(Debug)]
struct OpensMeanwhile {
    path: PathBuf,
    owner: Mutex<Option<Database>>,
}

impl Progress for OpensMeanwhile {
    fn update(&self, update: ProgressUpdate) {
        let mut owner = self.owner.lock().unwrap();
        if update.phase == Phase::VerifyRestored && owner.is_none() {
            *owner = Some(open_another(&self.path));
        }
    }
}

/// Also shows that the destination is not locked while the restore works: its owner can open it.
#[tokio::test]
async fn a_database_that_is_opened_or_created_meanwhile_is_not_replaced() {
    let fixture = Fixture::new().await;
    let restored = fixture.dir.restored();
    for (exists, overwrites, kind) in
        [(true, true, ErrorKind::Busy), (false, true, ErrorKind::Busy), (false, false, ErrorKind::AlreadyExists)]
    {
        if exists {
            drop(open_another(&restored));
        }
        let observer = Arc::new(OpensMeanwhile { path: restored.clone(), owner: Mutex::default() });
        let options = RestoreOptions::default().overwrite(overwrites).progress(observer.clone());
        let error = fixture.restore(&restored, &options).await.unwrap_err();
        assert_eq!(error.kind(), kind, "exists {exists}, overwrites {overwrites}: {error:?}");
        assert!(error.message().contains("was not changed"), "{error}");
        drop(observer.owner.lock().unwrap().take().expect("it was opened"));
        assert_eq!(records_of_file(&restored).0.len(), 7);
        assert_eq!(names(&fixture.dir.path("restored")), ["restored.db"]);
        fs::remove_file(&restored).unwrap();
    }
}

/// Looks at the lock of the file that is replaced, right after the rename.
#[derive(Debug)]
struct LooksAtLock {
    old: File,
    seen: Mutex<Vec<(PathBuf, bool)>>,
}

impl LooksAtLock {
    fn is_locked(&self) -> bool {
        let is_locked = self.old.try_lock().is_err();
        self.old.unlock().unwrap();
        is_locked
    }
}

impl Progress for LooksAtLock {
    fn update(&self, update: ProgressUpdate) {
        assert!(!self.is_locked(), "{update:?}");
    }

    fn restored(&self, path: &Path) {
        self.seen.lock().unwrap().push((path.to_owned(), self.is_locked()));
    }
}

/// A program that opens the old file just before the rename would go on with it.
#[tokio::test]
async fn the_old_file_is_locked_until_after_the_rename() {
    let fixture = Fixture::new().await;
    let restored = fixture.dir.restored();
    drop(open_another(&restored));
    let observer = Arc::new(LooksAtLock { old: File::open(&restored).unwrap(), seen: Mutex::default() });
    let inode = fs::metadata(&restored).unwrap().ino();
    fixture.restore(&restored, &overwrite().progress(observer.clone())).await.unwrap();
    assert_ne!(fs::metadata(&restored).unwrap().ino(), inode);
    assert_eq!(*observer.seen.lock().unwrap(), [(restored.canonicalize().unwrap(), true)]);
    assert!(!observer.is_locked());
    drop(Database::open(&restored).unwrap());
}

/// Only the rename of this restore counts as restored.
#[tokio::test]
async fn a_restore_that_fails_is_not_reported_as_restored() {
    let fixture = Fixture::new().await;
    let restored = fixture.dir.restored();
    fs::write(fixture.dir.path("unlocked"), "").unwrap();
    let old = File::open(fixture.dir.path("unlocked")).unwrap();
    let observer = Arc::new(LooksAtLock { old, seen: Mutex::default() });
    fs::write(&restored, "of another program").unwrap();
    let options = RestoreOptions::default().progress(observer.clone());
    assert_eq!(fixture.restore(&restored, &options).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(observer.seen.lock().unwrap().is_empty());
}
