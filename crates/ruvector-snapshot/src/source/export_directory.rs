//! The directory of an export: it is written beside its destination, under a temporary name, and renamed to its destination
//! in one step when all of its files are complete and synced.
//!
//! The process that writes it holds the lock of the temporary directory until the rename. One whose lock is free was left
//! by a process that was killed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::destination_checks::{Checks, Finding, Purpose, UNUSABLE_PATH};
use super::file_system::{FileSystem, attributes, file_bytes_max, unnamed_file};
use super::temporary::{
    ATTEMPTS, NEW_FILE_MODE, RANDOM_CHARACTERS, directory, is_at, is_temporary, open, prefix_with, replaced,
};
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::sync::{DirectorySync, rename_if_free, sync_directory};

/// Between the name of the destination and the random characters.
const INFIX: &[u8] = b".exporting-";
/// The mode of a new directory. What it holds is not more open than a restored database.
const NEW_DIRECTORY_MODE: u32 = 0o700;
/// Bytes of a file that are written at once.
const BUFFER_BYTES: usize = 1 << 20;
const NOTHING: &str = "nothing was exported";

/// A directory that is being written. It is removed when dropped.
#[derive(Debug)]
pub(crate) struct ExportDirectory {
    // Fields are dropped in this order: the directory has gone before its lock is released.
    temporary: TempDir,
    lock: File,
    destination: PathBuf,
}

/// How large the files of an export will be, as far as it is known before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExportSize {
    /// All files together have at least so many bytes.
    pub(crate) least_bytes: u64,
    /// All files together have about so many bytes.
    pub(crate) likely_bytes: u64,
    /// The largest file has at least so many bytes.
    pub(crate) largest_file_bytes: u64,
}

/// The checks of the destination, in this order.
const PATH: &str = "path";
const DIRECTORY: &str = "directory";
const FILE_SIZE_LIMIT: &str = "file size limit";
const FREE_SPACE: &str = "free space";

/// A destination at which a directory could be created. Nothing was.
#[derive(Debug)]
pub(crate) struct PlannedDirectory {
    destination: PathBuf,
    /// The bytes that its file system has left.
    pub(crate) free_bytes: Option<u64>,
}

impl PlannedDirectory {
    /// Makes the checks of [`ExportDirectory::create`], and creates and removes nothing. `None` if one has failed. Passes a
    /// sentence about each directory of a killed export to `warn`. `path` is an error if an export refuses it before that.
    pub(crate) fn check(
        path: Result<&Path>,
        known_files: &[&str],
        warn: &mut dyn FnMut(&str),
    ) -> (Option<Self>, Checks) {
        let mut checks = Checks::new(Purpose::Plan);
        let destination = match path.and_then(resolve) {
            Ok(destination) => destination,
            Err(error) => {
                checks.add(PATH, Err(error));
                checks.add_not_made([DIRECTORY], UNUSABLE_PATH);
                return (None, checks);
            }
        };
        checks.add(PATH, Ok(Finding::Passed));
        find_dead(&destination, known_files, false, warn);
        // A file without a name needs the same permissions as a directory.
        let created = unnamed_file(directory(&destination));
        let is_usable = created.is_ok();
        checks.add(DIRECTORY, created.map(|_| Finding::Passed).map_err(|error| cannot_create(&destination, error)));
        let free_bytes = FileSystem::of_directory(directory(&destination)).available_bytes;
        (is_usable.then_some(Self { destination, free_bytes }), checks)
    }

    /// Makes the checks of [`ExportDirectory::check_size`]. `planned` and `size` are `None` if they are not known.
    pub(crate) fn check_size(planned: Option<&Self>, size: Option<ExportSize>) -> Checks {
        let mut checks = Checks::new(Purpose::Plan);
        match (planned, size) {
            (Some(Self { destination, .. }), Some(size)) => {
                check_size(destination, FileSystem::of_directory(directory(destination)), size, &mut checks);
            }
            (None, _) => checks.add_not_made([FILE_SIZE_LIMIT, FREE_SPACE], "no directory can be created there"),
            (_, None) => {
                checks.add_not_made([FILE_SIZE_LIMIT, FREE_SPACE], "the size of the files is not known");
            }
        }
        checks
    }

    /// Returns the path that would be written: not a symbolic link.
    pub(crate) fn into_path(self) -> PathBuf {
        self.destination
    }
}

impl ExportDirectory {
    /// Checks that an export may write to this path, which must not exist, or be an empty directory, and creates a
    /// directory beside it. Removes what killed exports to this path have left, and passes a sentence about each to `warn`.
    ///
    /// `known_files` are the names of all files that an export can have.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::AlreadyExists`] if there is something at the path,
    /// [`ErrorKind::InvalidInput`] if it is no path of a directory.
    pub(crate) fn create(path: &Path, known_files: &[&str], warn: &mut dyn FnMut(&str)) -> Result<Self> {
        let destination = resolve(path)?;
        find_dead(&destination, known_files, true, warn);
        let create = || -> io::Result<(TempDir, File)> {
            for _ in 0..ATTEMPTS {
                let temporary = tempfile::Builder::new()
                    .prefix(&prefix_with(&destination, INFIX))
                    .rand_bytes(RANDOM_CHARACTERS)
                    .permissions(Permissions::from_mode(NEW_DIRECTORY_MODE))
                    .tempdir_in(directory(&destination))?;
                let lock = File::open(temporary.path())?;
                match lock.try_lock() {
                    Err(TryLockError::WouldBlock) => {}
                    // Another export has taken it for one that was left, before it was locked.
                    Ok(()) if !is_at(&lock, temporary.path())? => {}
                    Ok(()) | Err(TryLockError::Error(_)) => return Ok((temporary, lock)),
                }
            }
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process removes or locks every new directory"))
        };
        let (temporary, lock) = create().map_err(|error| cannot_create(path, error))?;
        Ok(Self { temporary, lock, destination })
    }

    /// Checks that files of this size can be written.
    ///
    /// The error is [`ErrorKind::StorageFull`].
    pub(crate) fn check_size(&self, size: ExportSize) -> Checks {
        let mut checks = Checks::new(Purpose::Apply);
        check_size(&self.destination, FileSystem::of_directory(self.temporary.path()), size, &mut checks);
        checks
    }

    /// Creates a file in the directory.
    pub(crate) fn create_file(&self, name: &'static str) -> Result<ExportFile> {
        let shown = self.destination.join(name);
        let path = self.temporary.path().join(name);
        let created = OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(path);
        let file = created.map_err(|error| SnapshotError::io(&shown, "create a file of the export", error))?;
        Ok(ExportFile { file: BufWriter::with_capacity(BUFFER_BYTES, file), name, shown, written_bytes: 0 })
    }

    /// Renames the directory to its destination, in one step, and makes that durable. Returns its path, and a warning if
    /// that is not possible on this file system. Calls `on_rename` right after the rename.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::AlreadyExists`] if something has appeared at the destination. If the rename succeeded and the
    /// sync failed, the error says so.
    pub(crate) fn publish(self, on_rename: impl FnOnce(&Path)) -> Result<(PathBuf, Option<String>)> {
        let Self { temporary, lock, destination } = self;
        let failed = |doing: &str, error| SnapshotError::io(&destination, doing, error);
        match sync_directory(temporary.path()) {
            Ok(DirectorySync::Durable | DirectorySync::Unsupported(_)) => {}
            Err(error) => return Err(failed("sync the directory of the export", error)),
        }
        if !is_at(&lock, temporary.path()).map_err(|error| failed("find the directory of the export", error))? {
            return Err(failed("rename the directory of the export", replaced()));
        }
        rename(temporary.path(), &destination).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                already_exists(&destination)
            }
            _ => failed("rename the directory of the export", error),
        })?;
        let _renamed = temporary.keep();
        on_rename(&destination);
        // Not left to the closing of the file: a process that is being started inherits it until it has begun.
        if let Err(error) = lock.unlock() {
            tracing::debug!(%error, "the lock of a directory could not be released before it was closed");
        }
        let shown = destination.display();
        let warning = match sync_directory(directory(&destination)) {
            Ok(DirectorySync::Durable) => None,
            Ok(DirectorySync::Unsupported(error)) => Some(format!(
                "{shown} was created, but the file system does not sync directories ({error}); after a power failure within the \
                 next minute it may be missing"
            )),
            Err(error) => {
                let message = "the directory was created, and has the complete export, but the directory above it could not be \
                               synced: after a power failure it may be missing; check the disk";
                let failed = SnapshotError::new(ErrorKind::from(error.kind()), message);
                return Err(failed.with_key(shown.to_string()).with_source(error));
            }
        };
        Ok((destination, warning))
    }
}

/// One file of an export.
#[derive(Debug)]
pub(crate) struct ExportFile {
    file: BufWriter<File>,
    name: &'static str,
    /// The path that it will have.
    shown: PathBuf,
    written_bytes: u64,
}

impl ExportFile {
    /// Returns the name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the path that it will have.
    #[cfg(feature = "parquet")]
    pub(crate) fn path(&self) -> &Path {
        &self.shown
    }

    /// Converts an error of writing.
    pub(crate) fn failed(&self, error: io::Error) -> SnapshotError {
        SnapshotError::io(&self.shown, "write the export", error)
    }

    /// Writes bytes over the beginning of the file, which has at least as many.
    pub(crate) fn write_over_start(&mut self, bytes: &[u8]) -> Result<()> {
        let write = |file: &mut BufWriter<File>| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(bytes)?;
            file.flush()
        };
        write(&mut self.file).map_err(|error| self.failed(error))
    }

    /// Writes what is left in memory, and syncs the file. Returns its size in bytes.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|error| self.failed(error))?;
        Ok(self.written_bytes)
    }
}

impl Write for ExportFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn cannot_create(path: &Path, error: io::Error) -> SnapshotError {
    SnapshotError::io(path, "create the directory of the export", error)
}

fn check_size(destination: &Path, system: FileSystem, size: ExportSize, checks: &mut Checks) {
    if checks.add(FILE_SIZE_LIMIT, largest_file_is_allowed(destination, size)) {
        checks.add(FREE_SPACE, space_is_left(destination, system, size));
    }
}

fn largest_file_is_allowed(destination: &Path, size: ExportSize) -> Result<Finding> {
    let Some(max) = file_bytes_max().filter(|max| *max < size.largest_file_bytes) else { return Ok(Finding::Passed) };
    let message = format!(
        "a file of the export will have at least {} bytes, and this process may write files of {max} bytes (`ulimit -f`, \
         RLIMIT_FSIZE); {NOTHING}",
        size.largest_file_bytes
    );
    let advice = "raise the limit, for example with `ulimit -f unlimited`";
    let refused = SnapshotError::new(ErrorKind::StorageFull, message).with_key(destination.display().to_string());
    Err(refused.with_remedy(Remedy::FileSizeLimit, advice))
}

fn space_is_left(destination: &Path, system: FileSystem, size: ExportSize) -> Result<Finding> {
    let ExportSize { least_bytes, likely_bytes, .. } = size;
    match system.available_bytes {
        Some(left) if left < least_bytes && system.is_plain => {
            let message = format!(
                "the export needs at least {least_bytes} bytes, and its file system has {left} bytes left; {NOTHING}. Free \
                 space, or export to another file system"
            );
            Err(SnapshotError::new(ErrorKind::StorageFull, message).with_key(destination.display().to_string()))
        }
        Some(left) if left < likely_bytes => Ok(Finding::Doubtful(format!(
            "the export may need about {likely_bytes} bytes, and its file system has {left} bytes left; if that is too \
             little, the export will fail"
        ))),
        _ => Ok(Finding::Passed),
    }
}

/// Returns the path that is really written: not a symbolic link.
fn resolve(path: &Path) -> Result<PathBuf> {
    let refused = |kind, message: &str| Err(SnapshotError::new(kind, message).with_key(path.display().to_string()));
    // Without a slash at the end.
    let path: PathBuf = path.components().collect();
    if path.file_name().is_none() {
        return refused(ErrorKind::InvalidInput, "this is not the name of a new directory; give one");
    }
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(SnapshotError::io(&path, "use this path as the directory of the export", error)),
        Ok(_) => Some(path.canonicalize()),
    };
    let real = match found {
        None => path.clone(),
        Some(Ok(real)) => real,
        Some(Err(_)) => {
            let message = "this is a symbolic link that leads nowhere; remove it, or give another path";
            return refused(ErrorKind::InvalidInput, message);
        }
    };
    if real.exists() {
        let is_empty = match real.read_dir() {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(already_exists(&path)),
            Err(error) => return Err(SnapshotError::io(&path, "read the directory", error)),
        };
        if !is_empty {
            return Err(already_exists(&path));
        }
        if attributes(&real).is_mount_point {
            let message = "this directory is a mount point, which an export cannot replace; give a new directory in it";
            return refused(ErrorKind::InvalidInput, message);
        }
    }
    if attributes(directory(&real)).is_append_only {
        let message = "the directory above it is append-only, so that nothing in it can be renamed; remove the attribute \
                       (`chattr -a`), or give another path";
        return refused(ErrorKind::InvalidInput, message);
    }
    Ok(real)
}

fn already_exists(path: &Path) -> SnapshotError {
    let message = "this exists and is not an empty directory; it was not changed. Give the path of a new directory";
    SnapshotError::new(ErrorKind::AlreadyExists, message).with_key(path.display().to_string())
}

/// Renames a directory to a path where there is nothing, or an empty directory, whose permissions it gets.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match rename_if_free(rustix::fs::CWD, from, to) {
            Ok(true) => Ok(()),
            // There are no links to directories. An empty directory is replaced, and nothing else.
            Ok(false) => std::fs::rename(from, to),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
        Ok(found) => {
            if found.is_dir() {
                File::open(from)?.set_permissions(found.permissions())?;
            }
            std::fs::rename(from, to)
        }
    }
}

/// Finds the directories of exports to this destination that belong to no process any more, and removes them if `removes`
/// is set.
fn find_dead(destination: &Path, known_files: &[&str], removes: bool, warn: &mut dyn FnMut(&str)) {
    let prefix: OsString = prefix_with(destination, INFIX);
    let Ok(entries) = directory(destination).read_dir() else { return };
    let left = entries.flatten().filter(|entry| is_temporary(&entry.file_name(), &prefix));
    let mut paths: Vec<_> = left.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let shown = path.display();
        match inspect_dead(&path, known_files, removes) {
            Some(Ok(())) if removes => {
                warn(&format!("{shown} was removed: an export to this path that was killed had left it"));
            }
            Some(Ok(())) => {
                warn(&format!("{shown} would be removed: an export to this path that was killed has left it"));
            }
            Some(Err(error)) => warn(&format!(
                "{shown} may be left of an export to this path that was killed, and could not be removed ({error}); remove it \
                 if no export to this path is running"
            )),
            None => {}
        }
    }
}

/// `None` if there is nothing to report: it is no directory, or its owner lives.
fn inspect_dead(path: &Path, known_files: &[&str], removes: bool) -> Option<io::Result<()>> {
    path.symlink_metadata().ok().filter(std::fs::Metadata::is_dir)?;
    let lock = open(OpenOptions::new().read(true), path).ok()?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return None,
        Ok(()) if FileSystem::of(&lock).has_reliable_locks && is_at(&lock, path).ok()? => {}
        Ok(()) | Err(TryLockError::Error(_)) => {
            return Some(Err(io::Error::other("its file system does not say whether a process uses it")));
        }
    }
    if !removes {
        return Some(Ok(()));
    }
    // A user may have put something else there: then the directory is not empty, and stays.
    let removed = known_files.iter().try_for_each(|name| match std::fs::remove_file(path.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    });
    Some(removed.and_then(|()| std::fs::remove_dir(path)))
}
