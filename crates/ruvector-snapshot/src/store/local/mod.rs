//! A local directory as a store: how it is opened and what is checked then. The operations are in `fs.rs`, what they
//! write in `staged.rs`, and how they reach it in `directory.rs`; the removal of what killed processes left is in `maintenance.rs`.

mod directory;
pub(in crate::store) mod fs;
pub(in crate::store) mod io;
pub(in crate::store) mod maintenance;
pub(in crate::store) mod staged;

use std::fs as std_fs;
use std::io::ErrorKind as IoErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::local::fs::LocalFs;
use crate::sync::{DirectorySync, sync_directory};

/// The mode of the directory of a new store.
const NEW_STORE_MODE: u32 = 0o700;

/// Opens a directory, and returns it with its full path. With `create`, a missing directory is created durably, if the
/// directory above it exists.
pub(in crate::store) fn open(path: &Path, create: bool) -> Result<(LocalFs, PathBuf)> {
    match std_fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(problem(ErrorKind::InvalidInput, path, "a store is a directory, but this is a file"));
        }
        Err(error) if error.kind() == IoErrorKind::NotFound && create => create_directory(path)?,
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            let message = "there is no such directory; check the path, and that the disk is mounted";
            return Err(problem(ErrorKind::NotFound, path, message).with_source(error));
        }
        Err(error) => return Err(SnapshotError::io(path, "open the store", error)),
    }
    let root = std_fs::canonicalize(path).map_err(|error| SnapshotError::io(path, "open the store", error))?;
    if root.to_str().is_none() {
        // Errors could not name such a path.
        return Err(problem(ErrorKind::InvalidInput, &root, "the path of a store must be valid UTF-8"));
    }
    Ok((LocalFs::new(root.clone()), root))
}

/// Creates the directory of a new store, which only its owner can read.
///
/// Only the last level is created. If more is missing, the path is mistyped, or a disk is not mounted and the snapshots
/// would fill the one below.
fn create_directory(path: &Path) -> Result<()> {
    let failed = |error| SnapshotError::io(path, "create the directory of the store", error);
    let full_path = std::path::absolute(path).map_err(failed)?;
    check_above(path, &full_path)?;
    match std_fs::DirBuilder::new().mode(NEW_STORE_MODE).create(&full_path) {
        Ok(()) => {}
        // Another process was first.
        Err(error) if error.kind() == IoErrorKind::AlreadyExists && full_path.is_dir() => return Ok(()),
        Err(error) if error.kind() == IoErrorKind::AlreadyExists && full_path.is_symlink() => {
            return Err(leads_nowhere(path).with_source(error));
        }
        Err(error) => return Err(failed(error)),
    }
    match full_path.parent().map(sync_directory) {
        None | Some(Ok(DirectorySync::Durable)) => Ok(()),
        Some(Ok(DirectorySync::Unsupported(error))) => {
            io::trace_unsupported(&full_path, &error);
            Ok(())
        }
        Some(Err(error)) => {
            let _ = std_fs::remove_dir(&full_path);
            Err(failed(error))
        }
    }
}

/// Checks that the directory above a new store exists.
fn check_above(path: &Path, full_path: &Path) -> Result<()> {
    let missing =
        full_path.ancestors().skip(1).take_while(|ancestor| matches!(ancestor.try_exists(), Ok(false))).last();
    if let (Some(_), Ok(home)) = (missing, path.strip_prefix("~")) {
        let message = format!(
            "cannot create the store: a shell does not replace a ~ that follows an =, so this is a directory of the name ~; write \
             $HOME/{}",
            home.display()
        );
        return Err(problem(ErrorKind::NotFound, path, &message));
    }
    if let Some(missing) = missing {
        let message = format!(
            "cannot create the store: the directory {} does not exist; the path may be mistyped, or the disk not mounted. \
             Mount it, or create the directory above the store first: mkdir -p {}",
            missing.display(),
            quoted(full_path.parent().unwrap_or(missing))
        );
        return Err(problem(ErrorKind::NotFound, path, &message));
    }
    Ok(())
}

fn leads_nowhere(path: &Path) -> SnapshotError {
    let message = "cannot create the store: this is a symbolic link to a directory that does not exist; the disk may not be \
                   mounted";
    problem(ErrorKind::NotFound, path, message)
}

/// Checks, without writing, that this user can write to a directory, or create it. Returns whether it exists.
pub(in crate::store) fn check_access(path: &Path) -> Result<bool> {
    // The dot makes a file in the place of the directory an error. It is the effective user that writes.
    let is_writable = |directory: &Path| {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(rustix::fs::CWD, directory.join("."), access, AtFlags::EACCESS)
    };
    match std_fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let writable = is_writable(path);
            writable.map_err(|error| SnapshotError::io(path, "write to the store", error.into()))?;
            Ok(true)
        }
        Ok(_) => Err(problem(ErrorKind::InvalidInput, path, "a store is a directory, but this is a file")),
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            let failed = |error| SnapshotError::io(path, "create the directory of the store", error);
            let full_path = std::path::absolute(path).map_err(failed)?;
            check_above(path, &full_path)?;
            if full_path.is_symlink() {
                return Err(leads_nowhere(path).with_source(error));
            }
            is_writable(full_path.parent().unwrap_or(&full_path)).map_err(|error| failed(error.into()))?;
            Ok(false)
        }
        Err(error) => Err(SnapshotError::io(path, "open the store", error)),
    }
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    match path.chars().all(|c| c.is_alphanumeric() || "-_./".contains(c)) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

fn problem(kind: ErrorKind, path: &Path, message: &str) -> SnapshotError {
    SnapshotError::new(kind, message).with_key(path.display().to_string())
}
