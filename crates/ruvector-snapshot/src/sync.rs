//! Makes changes of a directory durable, on file systems that can.

use std::fs::File;
use std::io;
use std::path::Path;

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
