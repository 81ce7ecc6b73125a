//! The temporary file of a restore, and what killed restores have left of theirs.
//!
//! Its owner holds the lock of the file from its creation until after the rename. A temporary file whose lock is free
//! has no owner any more: its process was killed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;

use super::file_system::{FileSystem, name_bytes_max};
use crate::sync::rename_if_free;

/// The mode of a file that replaces none. A database is not more open than its owner makes it.
pub(super) const NEW_FILE_MODE: u32 = 0o600;

/// Between the name of the destination and the random characters.
const INFIX: &[u8] = b".restoring-";
pub(super) const RANDOM_CHARACTERS: usize = 6;
/// The longest name of most file systems.
const NAME_BYTES_MAX: u64 = 255;
/// Number of files that are created until one is locked. Another restore that removes leftovers may hold the lock of a
/// new one for a moment, and removes it.
pub(super) const ATTEMPTS: usize = 16;
/// The magic number of redb.
pub(crate) const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
/// The unit in which a system counts what a file takes.
const BLOCK_BYTES: u64 = 512;
/// Bytes of a file that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A file beside a destination. It is removed when dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    // Fields are dropped in this order: the file has lost its name before its lock is released.
    path: TempPath,
    file: Arc<File>,
}

/// A temporary file that another restore has left.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// What it takes of its file system.
    pub(crate) allocated_bytes: u64,
    pub(crate) state: LeftoverState,
}

/// What becomes of a temporary file that another restore has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftoverState {
    Removed,
    /// A restore would remove it.
    Removable,
    /// It was not removed: its owner may be alive, or this user may not.
    Kept,
}

impl Temporary {
    /// Creates an empty file beside a destination that only its owner can read, and locks it.
    pub(crate) fn create(destination: &Path) -> io::Result<Self> {
        let (directory, prefix) = (directory(destination), prefix(destination));
        for _ in 0..ATTEMPTS {
            let created = tempfile::Builder::new()
                .prefix(&prefix)
                .rand_bytes(RANDOM_CHARACTERS)
                .permissions(Permissions::from_mode(NEW_FILE_MODE))
                .tempfile_in(directory)?;
            let (file, path) = created.into_parts();
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                Ok(()) if !is_at(&file, &path)? => {}
                // A file system without locks: no other restore removes the file there.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { path, file: Arc::new(file) }),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process removes or locks every new file"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Renames the file, in one step. Without `replace`, fails if there is a file. Fails if the name is that of another
    /// file meanwhile.
    pub(crate) fn persist(self, destination: &Path, replace: bool) -> io::Result<()> {
        let Self { path, file } = self;
        if !is_at(&file, &path)? {
            return Err(replaced());
        }
        // The file loses its temporary name here, while it is still locked.
        let renamed = match replace {
            true => path.persist(destination).map_err(|refused| refused.error),
            false => rename_to_free(path, destination),
        };
        // Not left to the closing of the file: a process that is being started inherits the file until it has begun.
        if let Err(error) = file.unlock() {
            tracing::debug!(%error, "the lock of a file could not be released before it was closed");
        }
        renamed
    }
}

/// Returns the error for a temporary file that another program has removed or replaced.
pub(super) fn replaced() -> io::Error {
    io::Error::other("another program has removed or replaced the temporary file")
}

/// Renames a file to a path where there must be none.
fn rename_to_free(file: TempPath, path: &Path) -> io::Result<()> {
    if rename_if_free(rustix::fs::CWD, file.as_ref(), path)? {
        // The name is gone, and nothing is to be removed.
        let _kept = file.keep();
        return Ok(());
    }
    // The file system cannot do that. An empty file takes the name, if it is free, and is replaced.
    OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(path)?;
    file.persist(path).map_err(|refused| {
        let _removed = std::fs::remove_file(path);
        refused.error
    })
}

/// Finds the temporary files of this destination that belong to no process any more, and removes them if `removes` is
/// set. Reports each of them, and those that may, at once: it is known even if the restore fails or is cancelled before
/// the next one.
pub(crate) fn find_dead(destination: &Path, removes: bool, mut report: impl FnMut(&Leftover)) {
    let prefix = prefix(destination);
    let Ok(entries) = directory(destination).read_dir() else { return };
    let found = entries.flatten().filter(|entry| is_temporary(&entry.file_name(), &prefix));
    let mut paths: Vec<_> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| inspect(path, removes)).for_each(|leftover| report(&leftover));
}

/// Returns whether a name is that of a temporary file with this prefix.
pub(super) fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    let random = name.as_bytes().strip_prefix(prefix.as_bytes());
    random.is_some_and(|random| random.len() == RANDOM_CHARACTERS && random.iter().all(u8::is_ascii_alphanumeric))
}

/// `None` if there is nothing to report: it is not the file of a restore, its owner lives, or it has gone.
fn inspect(path: PathBuf, removes: bool) -> Option<Leftover> {
    let found = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let leftover = |path, state| {
        let allocated_bytes = found.blocks().saturating_mul(BLOCK_BYTES);
        Some(Leftover { path, bytes: found.len(), allocated_bytes, state })
    };
    let left = |path| leftover(path, LeftoverState::Kept);
    // NFS grants an exclusive lock only for a file that is open for writing.
    let opened = open(OpenOptions::new().read(true).write(true), &path);
    let Ok(file) = opened.or_else(|_| open(OpenOptions::new().read(true), &path)) else {
        return if path.exists() { left(path) } else { None };
    };
    let is_locked = match file.try_lock() {
        Err(TryLockError::WouldBlock) => return None,
        Err(TryLockError::Error(_)) => false,
        Ok(()) => FileSystem::of(&file).has_reliable_locks,
    };
    // A user may have given a file such a name.
    if !is_begun_database(&file).unwrap_or(false) {
        return None;
    }
    if !is_locked {
        return left(path);
    }
    // The name may be that of another file meanwhile. If not, no other restore removes or renames it while it is locked.
    if !is_at(&file, &path).ok()? {
        return None;
    }
    if !removes {
        return leftover(path, LeftoverState::Removable);
    }
    match std::fs::remove_file(&path) {
        Ok(()) => leftover(path, LeftoverState::Removed),
        Err(_) => left(path),
    }
}

/// Opens what may be a regular file. If it is a fifo meanwhile, this does not wait for its other end, and if it is a link
/// to somebody else's file, this fails.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)
}

/// Returns whether a restore that was killed may have left these contents: a database, nothing, or only zeros, because
/// redb extends a new file before it writes to it.
fn is_begun_database(file: &File) -> io::Result<bool> {
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let (mut chunk, mut at) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let read = file.read_at(&mut chunk, at)?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if read == 0 || (at == 0 && is_header(bytes)) {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
    }
}

/// Returns whether bytes begin with a header of redb. A new one has zeros in the place of its magic number until the rest
/// of the database is on the disk.
fn is_header(bytes: &[u8]) -> bool {
    match bytes.split_first_chunk() {
        Some((&MAGIC, _)) => true,
        // The flags, two bytes that are not used, and the size of a page.
        Some(([0, 0, 0, 0, 0, 0, 0, 0, 0], [0..8, 0, 0, a, b, c, d, ..])) => {
            let page_bytes = u32::from_le_bytes([*a, *b, *c, *d]);
            page_bytes.is_power_of_two() && (512..=65536).contains(&page_bytes)
        }
        _ => false,
    }
}

/// Returns whether a path is that of an open file.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    Ok(path.symlink_metadata().is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino())))
}

/// Returns the directory of a path.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn prefix(destination: &Path) -> OsString {
    prefix_with(destination, INFIX)
}

/// Returns the start of the names of all temporary files of a destination. It has only the start of a name that would
/// leave no room for the rest.
pub(super) fn prefix_with(destination: &Path, infix: &[u8]) -> OsString {
    let name = destination.file_name().unwrap_or_default();
    let max = name_bytes_max(directory(destination)).unwrap_or(NAME_BYTES_MAX);
    let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(1 + infix.len() + RANDOM_CHARACTERS);
    let mut prefix = OsString::from(".");
    prefix.push(start(name, room));
    prefix.push(OsStr::from_bytes(infix));
    prefix
}

/// Returns so many bytes of a name, or a few less: some file systems refuse half a character.
fn start(name: &OsStr, bytes_max: usize) -> OsString {
    match name.to_str() {
        _ if name.len() <= bytes_max => name.to_owned(),
        Some(text) => text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default().into(),
        None => OsString::from_vec(name.as_bytes().iter().copied().take(bytes_max).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_in_the_place_of_a_file_is_opened_without_waiting_and_is_no_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let fifo = open(OpenOptions::new().read(true), &path).unwrap();
        assert!(!is_begun_database(&fifo).unwrap());
        // No process has it open for reading.
        drop(fifo);
        assert!(open(OpenOptions::new().write(true), &path).is_err());
    }

    #[test]
    fn the_start_of_a_name_ends_between_characters() {
        assert_eq!(start(OsStr::new("short"), 5), "short");
        assert_eq!(start(OsStr::new("äöü"), 5), "äö");
        assert_eq!(start(OsStr::from_bytes(b"\xff\xfe\xfd"), 2).as_bytes(), b"\xff\xfe");
    }
}
