//! Changes of a directory that not every file system can make: durable ones, and a rename that replaces nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fd::BorrowedFd;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::path::Arg;

/// The outcome of syncing a directory.
#[derive(Debug)]
#[must_use]
pub(crate) enum DirectorySync {
    /// What was created, renamed or removed in the directory stays so after a power failure.
    Durable,
    /// The system does not sync this directory. When its changes become durable is unknown.
    Unsupported(io::Error),
}

/// Syncs a directory.
///
/// Not every file system can: SMB and some FUSE file systems refuse it. That is no reason to fail. The change of the
/// directory has taken effect, and no other request would make it more durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<DirectorySync> {
    sync_opened(File::open(path))
}

/// As [`sync_directory`], for a directory that was opened for reading, or could not be opened.
pub(crate) fn sync_opened(opened: io::Result<File>) -> io::Result<DirectorySync> {
    let synced = match opened {
        Ok(directory) => directory.sync_all(),
        // Its entries can be changed, but it cannot be opened for reading, which a sync needs.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(DirectorySync::Unsupported(error)),
        Err(error) => Err(error),
    };
    match synced {
        Ok(()) => Ok(DirectorySync::Durable),
        // EINVAL, and ENOTSUP or ENOSYS.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(DirectorySync::Unsupported(error))
        }
        Err(error) => Err(error),
    }
}

/// Renames a file in a directory to a name that must be free, in one step. Returns false if the file system cannot do
/// that; nothing has changed then.
///
/// Local file systems can, and most network file systems have links, which serve the same purpose. FAT, and some FUSE
/// file systems, have neither.
///
/// # Errors
///
/// Fails with `AlreadyExists` if the name is taken.
pub(crate) fn rename_if_free<P: Arg + Copy>(directory: BorrowedFd<'_>, from: P, to: P) -> io::Result<bool> {
    match rename_without_replacing(directory, from, to) {
        Err(error) if is_not_possible(error) => {}
        renamed => return Ok(renamed.map(|()| true)?),
    }
    match rustix::fs::linkat(directory, from, directory, to, AtFlags::empty()) {
        Err(error) if is_not_possible(error) => Ok(false),
        linked => {
            linked?;
            // The file has its name. If the other one stays, it is that of an abandoned temporary file.
            let _removed = rustix::fs::unlinkat(directory, from, AtFlags::empty());
            Ok(true)
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_without_replacing<P: Arg>(directory: BorrowedFd<'_>, from: P, to: P) -> Result<(), Errno> {
    rustix::fs::renameat_with(directory, from, directory, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_without_replacing<P: Arg>(_directory: BorrowedFd<'_>, _from: P, _to: P) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Returns whether an error can mean that the file system, or what confines this process, does not know a request. If a
/// permission is missing in fact, the next request fails too.
fn is_not_possible(error: Errno) -> bool {
    let meanings = [
        Errno::NOSYS,
        Errno::INVAL,
        Errno::NOTSUP,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::ACCESS,
        Errno::MLINK,
        Errno::XDEV,
    ];
    meanings.contains(&error)
}
