//! Directories of a local store, held open. No symbolic link below the root of a store is ever followed.
//!
//! What a link points to belongs to somebody else, and may be anywhere: a delete must not remove files there, and a
//! create must not write there. So every path below the root is walked one name at a time, from one open directory to
//! the next. A directory that is replaced by a link meanwhile changes nothing, because it is already open. The root
//! itself may be a link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path as FsPath, PathBuf};

use chrono::{DateTime, Utc};
use object_store::Result;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::io::{LinkInStore, at, check_root};
use crate::sync::rename_if_free;

/// Flags to open a directory that is only passed through. It need not be readable.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS_THROUGH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PASS_THROUGH: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The mode of a new directory and of a new file. What others may do is added when it is complete.
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A directory that is open. Names in it are resolved without following links.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    /// The path under which it was opened, for messages.
    path: PathBuf,
}

impl Directory {
    /// Opens the root of a store. It may be a link.
    pub(super) fn root(path: &FsPath) -> Result<Self> {
        match rustix::fs::open(path, PASS_THROUGH, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: path.to_owned() }),
            Err(error) => Err(check_root(path).err().unwrap_or_else(|| at(path, error.into()))),
        }
    }

    /// Opens the directory of a key below the root of a store. `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the root does not exist, and names a link on the way.
    pub(super) fn below(root: &FsPath, key: &str) -> Result<Option<Self>> {
        let mut directory = Self::root(root)?;
        for name in key.split('/').filter(|name| !name.is_empty()) {
            directory = match directory.open(name) {
                Ok(inner) => inner,
                Err(error) if is_not_there(&error) => return Ok(None),
                Err(error) => return Err(at(&directory.path_of(name), error)),
            };
        }
        Ok(Some(directory))
    }

    /// Returns the path of a name in this directory, for messages.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn path(&self) -> &FsPath {
        &self.path
    }

    /// Opens a directory in this one.
    pub(super) fn open(&self, name: &str) -> io::Result<Self> {
        let opened = rustix::fs::openat(&self.fd, name, PASS_THROUGH | OFlags::NOFOLLOW, Mode::empty());
        match opened {
            Ok(fd) => Ok(Self { fd, path: self.path_of(name) }),
            Err(error) => Err(self.explained(name, error)),
        }
    }

    /// Creates a directory in this one, which only its owner can enter.
    pub(super) fn create_directory(&self, name: &str) -> io::Result<()> {
        rustix::fs::mkdirat(&self.fd, name, PRIVATE_DIRECTORY).map_err(|error| self.explained(name, error))
    }

    /// Creates a file in this directory, which only its owner can read.
    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        // With O_EXCL, an existing link is not followed.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.fd, name, flags, PRIVATE_FILE)?.into())
    }

    /// Opens a regular file for reading. `None` if there is something else, or nothing.
    pub(super) fn open_file(&self, name: &str) -> io::Result<Option<File>> {
        // Opening a fifo would block until another process writes to it.
        match self.stat(name)? {
            Some(found) if kind_of(&found) == FileType::RegularFile => {}
            _ => return Ok(None),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.explained(name, error)),
        }
    }

    /// Returns what has a name in this directory, and `None` if nothing has. A link is an error, which names it.
    pub(super) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match self.stat_or_link(name)? {
            Some(found) if kind_of(&found) == FileType::Symlink => Err(LinkInStore::error(self.path_of(name))),
            found => Ok(found),
        }
    }

    /// Returns what has a name in this directory, which may be a link.
    pub(super) fn stat_or_link(&self, name: &str) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what this directory is.
    pub(super) fn own_stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Returns the names in this directory, in no particular order.
    pub(super) fn entries(&self) -> io::Result<Dir> {
        Ok(Dir::new(self.as_file()?)?)
    }

    /// Opens this directory itself as a file, which can be synced.
    pub(super) fn as_file(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?.into())
    }

    /// Renames within this directory, and replaces what has the new name.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Renames within this directory to a name that must be free. Returns whether the file system itself has made sure
    /// that it was.
    ///
    /// If the file system cannot, the name is looked up before the rename. Of several files that get one name at the same
    /// time, the last one stays then.
    pub(super) fn rename_to_free(&self, from: &str, to: &str) -> io::Result<bool> {
        let renamed = rename_if_free(self.fd.as_fd(), from, to);
        if renamed.map_err(|error| self.named_link(to).unwrap_or(error))? {
            return Ok(true);
        }
        match self.stat(to)? {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => self.rename(from, to).map(|()| false),
        }
    }

    /// Removes a file from this directory. A link is removed itself.
    pub(super) fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Removes an empty directory from this one.
    pub(super) fn remove_directory(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Returns the error for a name, which names the link if it is one: what the system reports depends on the flags.
    fn explained(&self, name: &str, error: Errno) -> io::Error {
        self.named_link(name).unwrap_or_else(|| error.into())
    }

    /// Returns the error for a link with this name, if there is one.
    fn named_link(&self, name: &str) -> Option<io::Error> {
        let found = self.stat_or_link(name).ok().flatten()?;
        (kind_of(&found) == FileType::Symlink).then(|| LinkInStore::error(self.path_of(name)))
    }
}

/// Returns the type of a file.
pub(super) fn kind_of(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// Returns whether an error means that there is no such file or directory: it, or a directory above it, does not exist
/// or is a file.
pub(super) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns when a file was last modified. A time that no date can hold is the nearest one that can be.
#[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
pub(super) fn modified_at(found: &Stat) -> DateTime<Utc> {
    let nearest = if found.st_mtime < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp(found.st_mtime as i64, found.st_mtime_nsec as u32).unwrap_or(nearest)
}

/// Splits a key into that of its directory, which is empty at the top, and the name in it.
pub(super) fn split_key(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// Returns the key of a name in a directory.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
