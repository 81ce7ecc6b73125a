//! A temporary directory with the layout that the tests share, and small helpers for files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

use super::stores::local_store;

/// A directory of one test, with room for databases, snapshots, scratch files and a restored database. It is removed
/// when this is dropped.
#[derive(Debug)]
pub struct TestDir {
    dir: tempfile::TempDir,
}

impl TestDir {
    /// Makes the directory and its subdirectories.
    #[expect(clippy::new_without_default, reason = "it creates a directory")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["snapshots", "scratch", "restored"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// Returns the path of `name` in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the directory of the snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.path("snapshots")
    }

    /// Returns the scratch directory.
    pub fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    /// Returns a path for a restored database, in a directory that holds nothing else.
    pub fn restored(&self) -> PathBuf {
        self.path("restored").join("restored.db")
    }

    /// Returns settings that keep everything in this directory.
    pub fn config(&self) -> SnapshotConfig {
        config(self.dir.path())
    }

    /// Returns a manager that keeps everything in this directory.
    pub fn manager(&self) -> SnapshotManager {
        SnapshotManager::new(self.config()).unwrap()
    }

    /// Opens the store in which [`manager`](Self::manager) keeps its snapshots.
    pub fn local_store(&self) -> Arc<dyn SnapshotStore> {
        local_store(&self.snapshots())
    }

    /// Returns a manager like [`manager`](Self::manager), with another store.
    pub fn manager_with_store(&self, store: Arc<dyn SnapshotStore>) -> SnapshotManager {
        SnapshotManager::with_store(self.config(), store).unwrap()
    }

    /// Asserts that the directory of the snapshots is empty.
    #[track_caller]
    pub fn assert_no_snapshots(&self) {
        assert_eq!(names(&self.snapshots()), Vec::<String>::new());
    }

    /// Asserts that a failed restore left neither a database nor a temporary file.
    #[track_caller]
    pub fn assert_nothing_restored(&self) {
        assert_eq!(names(&self.path("restored")), Vec::<String>::new());
    }

    /// Asserts that no scratch file was left.
    #[track_caller]
    pub fn assert_scratch_empty(&self) {
        assert_eq!(names(&self.scratch()), Vec::<String>::new());
    }
}

/// Returns settings for a directory that has the layout of a [`TestDir`].
pub fn config(dir: &Path) -> SnapshotConfig {
    SnapshotConfig {
        snapshot_dir: dir.join("snapshots"),
        scratch_dir: Some(dir.join("scratch")),
        workers: 2,
        ..SnapshotConfig::default()
    }
}

/// Sets the modification time of a path, and of everything below it, to three days ago.
#[expect(clippy::disallowed_methods, reason = "the age of a file is measured against the clock of the file system")]
pub fn make_old(path: &Path) {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| make_old(&entry.unwrap().path()));
    }
    let modified = SystemTime::now() - Duration::from_secs(3 * 24 * 60 * 60);
    std::fs::File::open(path).unwrap().set_modified(modified).unwrap();
}

/// Returns the names of the entries of a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
