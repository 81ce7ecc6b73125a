//! A directory on a local disk as a store: how it is opened, and what is checked then. No operations.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, sync_directory};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Opens a directory; where `create` is set, makes it (durably) if it is missing. Returns it with its full path.
pub(super) fn open(path: &Path, create: bool) -> Result<(Disk, PathBuf)> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(problem(ErrorKind::Invalid, path, "snapshots are kept in a directory, and this is a file"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => create_directory(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = "there is no such directory; check the path, and that the disk is mounted";
            return Err(problem(ErrorKind::NotFound, path, message).because(error));
        }
        Err(error) => return Err(SnapshotError::io(path, "open the directory of the snapshots", error)),
    }
    let root = fs::canonicalize(path)
        .map_err(|error| SnapshotError::io(path, "open the directory of the snapshots", error))?;
    if root.to_str().is_none() {
        // object_store panics on such a path when it says that an object exists.
        return Err(problem(ErrorKind::Invalid, &root, "the path of a store must be valid UTF-8"));
    }
    let disk = Disk::new(root.clone()).map_err(|error| {
        problem(ErrorKind::Invalid, &root, "cannot open the directory of the snapshots").because(error)
    })?;
    Ok((disk, root))
}

fn create_directory(path: &Path) -> Result<()> {
    let cannot = |error| SnapshotError::io(path, "make the directory of the snapshots", error);
    let full_path = std::path::absolute(path).map_err(cannot)?;
    let missing = full_path.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    fs::create_dir_all(&full_path).map_err(cannot)?;
    // A new directory is an entry in its parent, so the parents of all new ones are synced.
    full_path.ancestors().skip(1).take(missing).try_for_each(sync_directory).map_err(cannot)
}

fn problem(kind: ErrorKind, path: &Path, message: &str) -> SnapshotError {
    SnapshotError::new(kind, message).at(path.display().to_string())
}
