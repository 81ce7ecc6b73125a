//! The destination of a restored file: which file is replaced, whether a program holds its lock, and the rename. What
//! else must be so is in `destination_checks`.
//!
//! Everything that can be refused is refused before the rename. After it, the restored file is at its destination, and
//! every message says so.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::database_path::{check_outside, snapshot_around};
use super::destination_checks::{
    self, Checks, FileSize, Finding, Prepared, Purpose, Subject, UNUSABLE_PATH, give_owner_and_mode,
};
use super::temporary::{Leftover, LeftoverState, Temporary, directory, find_dead, is_at, open};
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::sync::{DirectorySync, sync_directory};

/// What happens to a file that exists at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// It is kept, and the restore fails.
    Never,
    /// It is replaced, unless a program holds its lock, as Ruvector does while it has a database open.
    UnlessOpen,
    /// It is replaced. A program that has it open keeps the old file.
    EvenIfOpen,
}

/// Where a restored file goes.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The path that is really written: not a symbolic link.
    path: PathBuf,
    overwrite: Overwrite,
}

/// The checks of what is at the destination.
const PATH: &str = "path";
const EXISTING_FILE: &str = "existing file";
const OPEN_ELSEWHERE: &str = "open elsewhere";

impl Destination {
    /// Looks at what a path names, and checks that a restore may write there. Changes nothing. `None` if the path is not
    /// one that a file can have.
    ///
    /// The errors are [`ErrorKind::AlreadyExists`] if a file exists there and must be kept, [`ErrorKind::Busy`] if a
    /// program holds its lock, and [`ErrorKind::InvalidInput`] if it is not a file, or inside of the directory of the store.
    pub(crate) fn check(
        path: &Path,
        overwrite: Overwrite,
        purpose: Purpose,
        store: Option<&Path>,
    ) -> (Option<Self>, Checks) {
        let mut checks = Checks::new(purpose);
        let path = match resolve(path, overwrite) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                checks.add(PATH, Ok(Finding::Passed));
                let destination =
                    checks.add(EXISTING_FILE, Err(error)).then(|| Self { path: path.to_owned(), overwrite });
                checks.add_not_made([OPEN_ELSEWHERE], "it matters only to a file that is replaced");
                return (destination, checks);
            }
            Err(error) => return (None, unusable(error, checks)),
        };
        if path.file_name().is_none() {
            let error = SnapshotError::new(ErrorKind::InvalidInput, "this is not the name of a file");
            return (None, unusable(error.with_key(path.display().to_string()), checks));
        }
        if let Some(name) = snapshot_around(&path) {
            let message = format!("the path is inside the snapshot {name}; choose a path outside of it");
            let error = SnapshotError::new(ErrorKind::InvalidInput, message);
            return (None, unusable(error.with_key(path.display().to_string()), checks));
        }
        if let Err(error) = check_outside(&path, store) {
            return (None, unusable(error, checks));
        }
        let destination = Self { path, overwrite };
        checks.add(PATH, Ok(Finding::Passed));
        checks.add(EXISTING_FILE, Ok(Finding::Passed));
        let is_free = checks.add(OPEN_ELSEWHERE, destination.is_closed());
        (is_free.then_some(destination), checks)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the file that is replaced, in bytes. `None` if there is none.
    pub(crate) fn replaced_bytes(&self) -> Option<u64> {
        let found = self.path.symlink_metadata().ok().filter(|found| found.is_file())?;
        (self.overwrite != Overwrite::Never).then_some(found.len())
    }

    /// Makes every check that can be made before the first record is read. For a restore, removes what killed restores
    /// have left at this destination before that, and creates the temporary file. `size` is `None` if the snapshot cannot
    /// be read. Calls `warn` with what is left of killed restores, also before a check fails.
    ///
    /// The errors are those that the end of the restore would return, and [`ErrorKind::StorageFull`] if there is too
    /// little space for a file of this size.
    pub(crate) fn prepare(
        &self,
        size: Option<FileSize>,
        purpose: Purpose,
        warn: &mut dyn FnMut(&str),
    ) -> (Prepared, Checks) {
        let mut removable_bytes = 0_u64;
        find_dead(&self.path, purpose == Purpose::Apply, |found| {
            if found.state == LeftoverState::Removable {
                removable_bytes = removable_bytes.saturating_add(found.allocated_bytes);
            }
            warn(&describe(found));
        });
        let replaces = self.overwrite != Overwrite::Never;
        let subject = Subject { path: &self.path, replaces, size, removable_bytes, purpose };
        let mut checks = Checks::new(purpose);
        let prepared = destination_checks::check(&subject, &mut checks);
        (prepared, checks)
    }

    /// Checks whether a program has the file at the destination open.
    fn is_closed(&self) -> Result<Finding> {
        // Released at once: the owner can open its file while the restore works.
        drop(self.lock()?);
        if self.overwrite == Overwrite::EvenIfOpen && is_locked(&self.path).unwrap_or(false) {
            return Ok(Finding::Doubtful(format!(
                "a program has {} open; it keeps the replaced file, and everything that it writes after the restore is lost",
                self.path.display()
            )));
        }
        Ok(Finding::Passed)
    }

    /// Renames a file to the destination, in one step, and makes that durable. Returns a warning if that is not
    /// possible on this file system. Calls `on_rename` right after the rename.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::AlreadyExists`] or [`ErrorKind::Busy`] as a [`check`](Self::check) does, for what has happened
    /// at the destination since then. If the rename succeeded and the sync failed, the error says so.
    pub(crate) fn publish(self, file: Temporary, on_rename: impl FnOnce(&Path)) -> Result<Option<String>> {
        let path = &self.path;
        give_owner_and_mode(file.file(), path)?;
        // Held until after the rename: a program that opens the file meanwhile would keep the old one.
        let lock = self.lock()?;
        let was_there = path.symlink_metadata().is_ok();
        let renamed = file.persist(path, self.overwrite != Overwrite::Never);
        if renamed.is_ok() {
            on_rename(path);
        }
        drop(lock);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => already_exists(path),
            _ => SnapshotError::io(path, "rename the restored database to its destination", error),
        })?;
        let shown = path.display();
        tracing::info!(path = %shown, "put a restored database in its place");
        let (done, risk) = match was_there {
            true => ("replaced", "the old file may be back"),
            false => ("created", "it may be missing"),
        };
        match sync_directory(directory(path)) {
            Ok(DirectorySync::Durable) => Ok(None),
            Ok(DirectorySync::Unsupported(error)) => Ok(Some(format!(
                "{shown} was {done}, but the file system does not sync directories ({error}); after a power failure within \
                 the next minute {risk}"
            ))),
            Err(error) => {
                let message = format!(
                    "the file was {done}, and is the restored and verified database, but its directory could not be synced: after \
                     a power failure {risk}; check the disk"
                );
                let failed = SnapshotError::new(ErrorKind::from(error.kind()), message);
                Err(failed.with_key(shown.to_string()).with_source(error))
            }
        }
    }

    /// Locks the file at the destination, so that no program opens it, and refuses if one holds its lock. Returns no lock
    /// if there is nothing to lock.
    fn lock(&self) -> Result<Option<Lock>> {
        if self.overwrite != Overwrite::UnlessOpen {
            return Ok(None);
        }
        let (kind, message, cause) = match lock(&self.path) {
            Ok(Found::Free(lock)) => return Ok(lock),
            Ok(Found::Locked) => {
                let message = "a program has this file open, and would go on writing to the replaced file, where everything that it \
                               writes is lost; the file was not changed. Stop the program first, or restore to another path";
                (ErrorKind::Busy, message, None)
            }
            Err(error) => {
                let message = "cannot check whether a program has this file open; the file was not changed. Allow this user to read \
                               it, or restore to another path";
                (ErrorKind::from(error.kind()), message, Some(error))
            }
        };
        let refused = SnapshotError::new(kind, message).with_key(self.path.display().to_string());
        Err(match cause {
            Some(cause) => refused.with_source(cause),
            None => refused,
        })
    }
}

/// Returns whether a program holds the lock of a file.
pub(super) fn is_locked(path: &Path) -> io::Result<bool> {
    Ok(matches!(lock(path)?, Found::Locked))
}

/// What was found at the destination.
#[derive(Debug)]
enum Found {
    /// No program holds the lock of the file. It is held now, if there is a file and its file system has locks.
    Free(Option<Lock>),
    /// A program holds the lock of the file.
    Locked,
}

/// The lock of a file, which is released when this is dropped.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Not left to the closing of the file: a process that is being started inherits the file until it has begun.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the lock of a file could not be released before it was closed");
        }
    }
}

/// Locks a file, unless a program holds its lock. redb locks every database that it has open.
///
/// A program that opens the file while the lock is held finds it locked.
fn lock(path: &Path) -> io::Result<Found> {
    loop {
        if !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return Ok(Found::Free(None));
        }
        let opened = open(OpenOptions::new().read(true), path).or_else(|_| open(OpenOptions::new().write(true), path));
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Free(None)),
            opened => opened?,
        };
        match try_lock(file) {
            // Another file may have got the name meanwhile.
            Found::Free(Some(lock)) if !is_at(&lock.0, path)? => {}
            found => return Ok(found),
        }
    }
}

fn try_lock(file: File) -> Found {
    // NFS grants an exclusive lock only for a file that is open for writing.
    let attempts = [File::try_lock, File::try_lock_shared];
    for attempt in attempts {
        match attempt(&file) {
            Ok(()) => return Found::Free(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => return Found::Locked,
            // A file system without locks. redb opens no database on it.
            Err(TryLockError::Error(_)) => {}
        }
    }
    Found::Free(None)
}

/// Adds the error of a path that no file can have, and all other checks, which cannot be made.
fn unusable(error: SnapshotError, mut checks: Checks) -> Checks {
    if checks.add(PATH, Err(error)) {
        checks.add_not_made([EXISTING_FILE, OPEN_ELSEWHERE], UNUSABLE_PATH);
        destination_checks::check_nothing(&mut checks);
    }
    checks
}

/// Says what was found of a restore that was killed.
fn describe(found: &Leftover) -> String {
    let (path, bytes) = (found.path.display(), found.bytes);
    match found.state {
        LeftoverState::Removed => {
            format!("{path} ({bytes} bytes) was removed: a restore to this path that was killed had left it")
        }
        LeftoverState::Removable => {
            format!("{path} ({bytes} bytes) would be removed: a restore to this path that was killed has left it")
        }
        LeftoverState::Kept => format!(
            "{path} ({bytes} bytes) may be left of a restore to this path that was killed, and could not be removed; remove \
             it if no restore to this path is running"
        ),
    }
}

/// Returns the path that is really written. A symbolic link is followed, so that it keeps pointing to the database.
/// Only a regular file is replaced.
fn resolve(destination: &Path, overwrite: Overwrite) -> Result<PathBuf> {
    let refused =
        |what: &str| Err(SnapshotError::new(ErrorKind::InvalidInput, what).with_key(destination.display().to_string()));
    if destination.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return refused("this is the name of a directory, but the database is a file");
    }
    let existing = match destination.symlink_metadata() {
        Ok(existing) => existing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(destination.to_owned()),
        Err(error) => return Err(SnapshotError::io(destination, "use this path as the destination", error)),
    };
    if existing.is_dir() {
        return refused("the destination is a directory; give the name of a file");
    }
    // What no option could replace is refused as such, with every option.
    let real = destination.canonicalize().and_then(|real| Ok((real.metadata()?, real)));
    match real {
        Ok((found, _)) if found.is_dir() => {
            refused("the destination is a symbolic link to a directory; give the name of a file")
        }
        Ok((found, _)) if !found.is_file() => {
            refused("the destination is not a regular file; it was not changed. Give another path")
        }
        Ok(_) if overwrite == Overwrite::Never => Err(already_exists(destination)),
        Ok((_, real)) => Ok(real),
        Err(error) => Err(dead_link(destination, error)),
    }
}

/// Returns the error for a symbolic link that cannot be followed. Another attempt would find the same.
fn dead_link(destination: &Path, error: io::Error) -> SnapshotError {
    let shown = destination.read_link().unwrap_or_default();
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "the destination is a symbolic link to {}, which does not exist; remove the link, or give that path",
                shown.display()
            )
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            "the destination is a symbolic link that leads back to itself; remove it, or give another path".to_owned()
        }
        _ => return SnapshotError::io(destination, "follow the symbolic link at the destination", error),
    };
    SnapshotError::new(ErrorKind::InvalidInput, message).with_key(destination.display().to_string())
}

fn already_exists(destination: &Path) -> SnapshotError {
    SnapshotError::new(ErrorKind::AlreadyExists, "the file already exists and was not changed")
        .with_remedy(Remedy::Overwrite, "choose another path, or allow overwriting it")
        .with_key(destination.display().to_string())
}
