//! The directory of the demo: one that the user has named, or a temporary one.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ruvector_snapshot::{ErrorKind, SnapshotError};
use tempfile::TempDir;

use super::at;
use crate::failure::Failure;
use crate::output::Output;

const PREFIX: &str = "ruvector-snapshot-demo-";
const RANDOM_CHARACTERS: usize = 6;
/// The file that is locked. Only a temporary directory has it, and not one that a user has given such a name.
const LOCK_NAME: &str = "temporary.lock";
/// The files in it may be open to others: Ruvector creates its databases so.
const PRIVATE_MODE: u32 = 0o700;
/// Number of directories that are created until one is locked.
const ATTEMPTS: usize = 16;

/// The directory of the demo.
pub(super) struct DemoDirectory {
    root: PathBuf,
    /// As typed, if the user named one.
    pub(super) kept: Option<PathBuf>,
    /// Whether the demo has created it.
    is_new: bool,
    /// Removed when dropped, if the user did not.
    _temporary: Option<LockedDirectory>,
}

impl DemoDirectory {
    /// Creates the directory, and removes those that killed demos have left.
    pub(super) fn new(dir: Option<PathBuf>, output: &Output) -> Result<Self, Failure> {
        let Some(dir) = dir else {
            let parent = std::env::temp_dir();
            let temporary =
                LockedDirectory::create(&parent).map_err(|error| at(&parent, "create a directory", error))?;
            for (removed, bytes) in temporary.remove_dead(&parent).into_iter().filter(|_| !output.quiet) {
                let shown = removed.display();
                output.notice(format_args!("{shown} ({bytes} bytes) was removed: a demo that was killed had left it"));
            }
            return Ok(Self {
                root: temporary.path.path().to_owned(),
                kept: None,
                is_new: false,
                _temporary: Some(temporary),
            });
        };
        let is_new = !dir.exists();
        match fs::read_dir(&dir).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => return Err(refused(&dir, "the directory is not empty; the demo needs an empty or a new one")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create(&dir)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(refused(&dir, "this is a file, but the demo needs a directory"));
            }
            Err(error) => return Err(at(&dir, "read the directory", error).into()),
        }
        // Ruvector refuses relative paths that start with `..`.
        let root = std::path::absolute(&dir).map_err(|error| at(&dir, "resolve the directory", error))?;
        Ok(Self { root, kept: Some(dir), is_new, _temporary: None })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Says which files a demo that has failed leaves, if it leaves some.
    pub(super) fn what_is_left(&self) -> impl FnOnce() -> Option<String> + use<> {
        let kept = self.kept.clone();
        move || {
            let dir = kept.filter(|dir| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()))?;
            Some(format!(
                "the files of the demo so far are in {}; remove them before the next one there",
                dir.display()
            ))
        }
    }

    pub(super) fn after_interrupt(&self) -> impl FnOnce() -> String + Send + 'static {
        let kept = self.kept.clone();
        move || match kept {
            Some(dir) => format!("the files of the demo are in {}", dir.display()),
            None => "the directory of the demo was removed".to_owned(),
        }
    }
}

/// Removes what a demo that has failed at the start has left, so that it can be repeated: directories without files.
impl Drop for DemoDirectory {
    fn drop(&mut self) {
        if self.kept.is_some() {
            // Only empty ones are removed.
            let _not_empty = fs::remove_dir(self.path("snapshots"));
            if self.is_new {
                let _not_empty = fs::remove_dir(&self.root);
            }
        }
    }
}

/// A directory with a file whose lock is held as long as it is in use. It is removed when dropped.
struct LockedDirectory {
    // Fields are dropped in this order: the directory is gone before its lock is released.
    path: TempDir,
    _lock: File,
}

impl LockedDirectory {
    fn create(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let path = tempfile::Builder::new()
                .prefix(PREFIX)
                .rand_bytes(RANDOM_CHARACTERS)
                .permissions(Permissions::from_mode(PRIVATE_MODE))
                .tempdir_in(parent)?;
            let lock_path = path.path().join(LOCK_NAME);
            let lock = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock_path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match lock.try_lock() {
                // Another demo that removes abandoned directories holds the lock for a moment, and removes this one.
                Err(TryLockError::WouldBlock) => {}
                Ok(()) if !is_at(&lock, &lock_path) => {}
                // Without locks, no other demo removes the directory.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { path, _lock: lock }),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process removes or locks every new directory"))
    }

    /// Removes the directories of demos that do not run any more, and returns them with their sizes.
    fn remove_dead(&self, parent: &Path) -> Vec<(PathBuf, u64)> {
        let (Ok(own), Ok(entries)) = (self.path.path().metadata(), parent.read_dir()) else { return Vec::new() };
        let is_demo = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            random.is_some_and(|random| {
                random.len() == RANDOM_CHARACTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        };
        let is_own =
            |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == own.uid());
        let paths = entries.flatten().filter(is_demo).map(|entry| entry.path());
        paths.filter(is_own).filter_map(|path| remove_if_dead(&path).map(|bytes| (path, bytes))).collect()
    }
}

/// Removes a temporary directory if no process holds its lock. Returns its size if it was removed.
fn remove_if_dead(path: &Path) -> Option<u64> {
    let lock_path = path.join(LOCK_NAME);
    let lock = File::open(&lock_path).ok()?;
    if lock.try_lock().is_err() || !is_at(&lock, &lock_path) {
        return None;
    }
    let bytes = bytes_below(path);
    fs::remove_dir_all(path).ok().map(|()| bytes)
}

/// Returns the size of the files below a directory, as far as it can be read.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| match entry.metadata().ok()? {
        found if found.is_dir() => Some(bytes_below(&entry.path())),
        found => Some(found.len()),
    });
    sizes.sum()
}

/// Returns whether a path is that of an open file.
fn is_at(open: &File, path: &Path) -> bool {
    match (open.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Creates a directory, and those above it, for their owner only.
pub(super) fn create(path: &Path) -> Result<(), Failure> {
    let created = fs::DirBuilder::new().recursive(true).mode(PRIVATE_MODE).create(path);
    Ok(created.map_err(|error| at(path, "create the directory", error))?)
}

fn refused(path: &Path, message: &str) -> Failure {
    Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string()))
}
