//! A local directory as a store: how it is opened and what is checked then. The operations are in `fs.rs`; the removal
//! of what killed processes left is in `maintenance.rs`.

pub(in crate::store) mod fs;
pub(in crate::store) mod maintenance;

use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::local::fs::{LocalFs, sync_directory};

/// Opens a directory, and returns it with its full path. With `create`, a missing directory is created durably.
pub(in crate::store) fn open(path: &Path, create: bool) -> Result<(LocalFs, PathBuf)> {
    match std_fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(problem(ErrorKind::InvalidInput, path, "a store is a directory, but this is a file"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => create_directory(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = "there is no such directory; check the path, and that the disk is mounted";
            return Err(problem(ErrorKind::NotFound, path, message).with_source(error));
        }
        Err(error) => return Err(SnapshotError::io(path, "open the store", error)),
    }
    let root = std_fs::canonicalize(path).map_err(|error| SnapshotError::io(path, "open the store", error))?;
    if root.to_str().is_none() {
        // object_store panics on such a path when it reports that an object exists.
        return Err(problem(ErrorKind::InvalidInput, &root, "the path of a store must be valid UTF-8"));
    }
    let directory = LocalFs::new(root.clone())
        .map_err(|error| problem(ErrorKind::InvalidInput, &root, "cannot open the store").with_source(error))?;
    Ok((directory, root))
}

fn create_directory(path: &Path) -> Result<()> {
    let failed = |error| SnapshotError::io(path, "create the directory of the store", error);
    let full_path = std::path::absolute(path).map_err(failed)?;
    let missing = full_path.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    std_fs::create_dir_all(&full_path).map_err(failed)?;
    // A new directory is an entry of its parent, so the parents of all new directories are synced.
    full_path.ancestors().skip(1).take(missing).try_for_each(sync_directory).map_err(failed)
}

fn problem(kind: ErrorKind, path: &Path, message: &str) -> SnapshotError {
    SnapshotError::new(kind, message).with_key(path.display().to_string())
}
