//! A directory for the files of one piece of work, which are not needed afterwards. Also removes what killed processes have
//! left of theirs.
//!
//! Its owner holds the lock of a file in it as long as it is in use. A directory whose lock is free has no owner any more.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::temporary::{ATTEMPTS, RANDOM_CHARACTERS, is_at, is_temporary};
use crate::error::{ErrorKind, Result, SnapshotError};

/// The file that is locked. A directory that a user has given such a name does not have it.
const LOCK_NAME: &str = "scratch.lock";
/// Ruvector creates files that others can read.
const PRIVATE_MODE: u32 = 0o700;

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct ScratchDirectory {
    // Fields are dropped in this order: the directory is gone before its lock is released.
    directory: TempDir,
    _lock: File,
}

impl ScratchDirectory {
    /// Creates a directory in `parent`, whose name starts with `prefix`. First removes those that killed processes have left
    /// there, and passes a sentence about each to `warn`.
    ///
    /// # Errors
    ///
    /// Fails if no directory can be created in `parent`, for example because it does not exist, and returns `InvalidInput` if
    /// its path is not UTF-8: Ruvector would create a file elsewhere.
    pub(crate) fn create(parent: &Path, prefix: &str, mut warn: impl FnMut(&str)) -> Result<Self> {
        let failed = |error| SnapshotError::io(parent, "create a scratch directory there", error);
        let parent = Self::absolute(parent)?;
        let created = Self::create_in(&parent, prefix).map_err(failed)?;
        for (removed, bytes) in created.remove_dead(&parent, prefix) {
            let shown = removed.display();
            warn(&format!("{shown} ({bytes} bytes) was removed: a process that was killed had left it"));
        }
        Ok(created)
    }

    /// Returns the full path of a directory, in which Ruvector can open a database.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the path is not UTF-8.
    pub(crate) fn absolute(parent: &Path) -> Result<PathBuf> {
        // Ruvector refuses relative paths that start with `..`.
        let full = std::path::absolute(parent);
        let parent = full.map_err(|error| SnapshotError::io(parent, "create a scratch directory there", error))?;
        if parent.to_str().is_none() {
            let message =
                "the path of the scratch directory is not UTF-8, and Ruvector opens no such path; choose another one";
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(parent.display().to_string()));
        }
        Ok(parent)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Removes the directory with everything in it. What creates a file there meanwhile fails.
    ///
    /// # Errors
    ///
    /// Returns what could not be removed.
    pub(crate) fn remove(self) -> Result<()> {
        let path = self.path().to_owned();
        self.directory.close().map_err(|error| SnapshotError::io(&path, "remove the scratch directory", error))
    }

    fn create_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let directory = tempfile::Builder::new()
                .prefix(prefix)
                .rand_bytes(RANDOM_CHARACTERS)
                .permissions(Permissions::from_mode(PRIVATE_MODE))
                .tempdir_in(parent)?;
            let lock_path = directory.path().join(LOCK_NAME);
            let lock = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock_path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match lock.try_lock() {
                // Another process that removes abandoned directories holds the lock for a moment, and removes this one.
                Err(TryLockError::WouldBlock) => {}
                Ok(()) if !is_at(&lock, &lock_path)? => {}
                // Without locks, no other process removes the directory.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { directory, _lock: lock }),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process removes or locks every new directory"))
    }

    /// Removes the directories that no process uses any more, and returns them with their sizes.
    fn remove_dead(&self, parent: &Path, prefix: &str) -> Vec<(PathBuf, u64)> {
        let (Ok(own), Ok(entries)) = (self.path().metadata(), parent.read_dir()) else { return Vec::new() };
        let is_scratch = |entry: &fs::DirEntry| is_temporary(&entry.file_name(), OsStr::new(prefix));
        let is_own =
            |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == own.uid());
        let paths = entries.flatten().filter(is_scratch).map(|entry| entry.path());
        paths.filter(is_own).filter_map(|path| remove_if_dead(&path).map(|bytes| (path, bytes))).collect()
    }
}

/// Removes a directory if no process holds its lock. Returns the size of its files if it was removed.
fn remove_if_dead(path: &Path) -> Option<u64> {
    let lock_path = path.join(LOCK_NAME);
    let lock = OpenOptions::new().read(true).write(true).open(&lock_path).ok()?;
    if lock.try_lock().is_err() || !is_at(&lock, &lock_path).ok()? {
        return None;
    }
    let files = fs::read_dir(path).ok()?.flatten();
    let bytes = files.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum();
    fs::remove_dir_all(path).ok().map(|()| bytes)
}
