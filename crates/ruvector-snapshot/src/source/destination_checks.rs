//! What a restore needs of its destination, as a list of checks. All of them are made before the first record is read:
//! whatever would fail at the end, and can be known at the start, fails at the start.
//!
//! The checks change nothing that stays.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::file_system::{FileSystem, attributes, can_hold, file_bytes_max, name_bytes_max, reserve};
use super::temporary::{NEW_FILE_MODE, Temporary, directory};
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};

/// How large a restored file will be, as far as it is known before its records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileSize {
    /// It is not smaller.
    pub(crate) least_bytes: u64,
    /// An estimate: it can be a few percent larger.
    pub(crate) likely_bytes: u64,
}

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The path that is really written.
    pub(super) path: &'a Path,
    /// Whether a file there is replaced.
    pub(super) replaces: bool,
    pub(super) size: FileSize,
}

/// What a check returns: a sentence for the user if something may fail, and an error if it will.
type Verdict = Result<Option<String>>;

/// The checks of the path, before a file is created beside it.
const OF_THE_PATH: [fn(&Subject<'_>) -> Verdict; 3] = [name_fits, nothing_is_mounted, entries_can_change];

/// The checks of a file that was created beside the destination.
const OF_THE_FILE: [fn(&Subject<'_>, &Temporary) -> Verdict; 5] =
    [owner_can_be_kept, size_is_allowed, size_is_possible, space_is_left, space_can_be_reserved];

/// Makes all checks. Returns the temporary file. Calls `warn` with what may fail, also before an error.
///
/// # Errors
///
/// Returns the error of the first check that fails. Then there is no temporary file.
pub(super) fn check(subject: &Subject<'_>, warn: &dyn Fn(&str)) -> Result<Temporary> {
    for check in OF_THE_PATH {
        check(subject)?.iter().for_each(|warning| warn(warning));
    }
    let temporary = new_file(subject.path)?;
    for check in OF_THE_FILE {
        check(subject, &temporary)?.iter().for_each(|warning| warn(warning));
    }
    Ok(temporary)
}

fn new_file(path: &Path) -> Result<Temporary> {
    Temporary::create(path)
        .map_err(|error| SnapshotError::io(path, "create a temporary file in the directory of the destination", error))
}

/// The temporary file has a shorter name if there is no room, so creating it does not show that the name is too long.
fn name_fits(subject: &Subject<'_>) -> Verdict {
    let bytes = subject.path.file_name().map_or(0, |name| name.len() as u64);
    match name_bytes_max(directory(subject.path)) {
        Some(max) if bytes > max => {
            let message =
                format!("the name of the file has {bytes} bytes, and its file system allows {max}; use a shorter name");
            Err(refused(ErrorKind::InvalidInput, message, subject.path))
        }
        _ => Ok(None),
    }
}

/// A file on which another one is mounted keeps its name: the rename fails with EBUSY.
fn nothing_is_mounted(subject: &Subject<'_>) -> Verdict {
    if !subject.replaces || !attributes(subject.path).is_mount_point {
        return Ok(None);
    }
    let message = "this file is a mount point, as of a single file that is mounted into a container, and a restore cannot replace \
                   it; the file was not changed. Mount its directory instead, or restore to another path";
    Err(refused(ErrorKind::InvalidInput, message, subject.path))
}

/// A file can be created in an append-only directory, but not renamed.
fn entries_can_change(subject: &Subject<'_>) -> Verdict {
    let (file, parent) = (attributes(subject.path), attributes(&real(directory(subject.path))));
    let (what, which) = match (file, parent) {
        (file, _) if file.is_immutable => ("this file is immutable", "i"),
        (file, _) if file.is_append_only => ("this file is append-only", "a"),
        (_, parent) if parent.is_immutable => ("the directory of the destination is immutable", "i"),
        (_, parent) if parent.is_append_only => ("the directory of the destination is append-only", "a"),
        _ => return Ok(None),
    };
    let message = format!(
        "{what}, and nothing was changed; remove the attribute (`chattr -{which}`), or restore to another path"
    );
    Err(refused(ErrorKind::InvalidInput, message, subject.path))
}

fn real(directory: &Path) -> std::path::PathBuf {
    directory.canonicalize().unwrap_or_else(|_| directory.to_owned())
}

/// The restored file gets the owner and the permissions of the one that it replaces.
fn owner_can_be_kept(subject: &Subject<'_>, _: &Temporary) -> Verdict {
    if subject.replaces && subject.path.exists() {
        // A file of its own: after this, it may not be possible to write to it.
        give_owner_and_mode(new_file(subject.path)?.file(), subject.path)?;
    }
    Ok(None)
}

/// The limit of the process. A file that exceeds it is cut there.
fn size_is_allowed(subject: &Subject<'_>, _: &Temporary) -> Verdict {
    let FileSize { least_bytes, likely_bytes } = subject.size;
    match file_bytes_max() {
        Some(max) if max < least_bytes => {
            let message = format!(
                "the restored file will have at least {least_bytes} bytes, and this process may write files of {max} bytes \
                 (`ulimit -f`, RLIMIT_FSIZE); nothing was restored"
            );
            let advice = "raise the limit, for example with `ulimit -f unlimited`";
            let refused = refused(ErrorKind::StorageFull, message, subject.path);
            Err(refused.with_remedy(Remedy::FileSizeLimit, advice))
        }
        Some(max) if max < likely_bytes => Ok(Some(format!(
            "the restored file may have about {likely_bytes} bytes, and this process may write files of {max} bytes \
             (`ulimit -f`, RLIMIT_FSIZE); if that is too little, the restore will fail"
        ))),
        _ => Ok(None),
    }
}

/// The limit of the file system, for example 4 GiB of FAT.
fn size_is_possible(subject: &Subject<'_>, temporary: &Temporary) -> Verdict {
    let FileSize { least_bytes, likely_bytes } = subject.size;
    if !can_hold(temporary.file(), least_bytes) {
        let message = format!(
            "the restored file will have at least {least_bytes} bytes, and the file system of the destination has no files of \
             this size; nothing was restored. Restore to another file system"
        );
        return Err(refused(ErrorKind::StorageFull, message, subject.path));
    }
    Ok((!can_hold(temporary.file(), likely_bytes)).then(|| {
        format!(
            "the restored file may have about {likely_bytes} bytes, and the file system of the destination has no files of \
             this size; if the file becomes too large, the restore will fail"
        )
    }))
}

/// The space of the replaced file is in use until the end, and does not count.
fn space_is_left(subject: &Subject<'_>, temporary: &Temporary) -> Verdict {
    let FileSize { least_bytes, likely_bytes } = subject.size;
    let system = FileSystem::of(temporary.file());
    match system.available_bytes {
        Some(left) if left < least_bytes && system.is_plain => {
            let message = format!(
                "the restored file needs at least {least_bytes} bytes, and its file system has {left} bytes left; nothing was \
                 restored. Free space, or restore to another file system"
            );
            Err(refused(ErrorKind::StorageFull, message, subject.path))
        }
        Some(left) if left < likely_bytes => Ok(Some(format!(
            "the restored file may need about {likely_bytes} bytes, and its file system has {left} bytes left; if that is too \
             little, the restore will fail"
        ))),
        _ => Ok(None),
    }
}

/// A quota is known only by trying. The space stays reserved for the restored file.
fn space_can_be_reserved(subject: &Subject<'_>, temporary: &Temporary) -> Verdict {
    let least_bytes = subject.size.least_bytes;
    if !FileSystem::of(temporary.file()).is_plain {
        return Ok(None);
    }
    let Err(error) = reserve(temporary.file(), least_bytes) else { return Ok(None) };
    let why = match error.kind() {
        io::ErrorKind::QuotaExceeded => "a quota does not allow that",
        io::ErrorKind::StorageFull => "its file system does not have them",
        // A file system that cannot reserve space.
        _ => return Ok(None),
    };
    let message = format!(
        "the restored file needs at least {least_bytes} bytes, and {why}; nothing was restored. Free space, raise the quota, or \
         restore to another file system"
    );
    Err(refused(ErrorKind::StorageFull, message, subject.path).with_source(error))
}

/// Gives a file beside the destination the owner and the permissions of the one that it replaces.
///
/// Not by its name: who can write to the directory could have made it a link to a file of somebody else.
pub(super) fn give_owner_and_mode(file: &File, destination: &Path) -> Result<()> {
    set_owner_and_mode(file, destination).map_err(|error| {
        let message = "cannot give the restored database the owner and the permissions of the file that it replaces; the file \
                       was not changed. Run the command as its owner or as root, or restore to another path";
        refused(ErrorKind::from(error.kind()), message, destination).with_source(error)
    })
}

fn set_owner_and_mode(file: &File, destination: &Path) -> io::Result<()> {
    let Some(replaced) = destination.symlink_metadata().ok().filter(std::fs::Metadata::is_file) else {
        return file.set_permissions(Permissions::from_mode(NEW_FILE_MODE));
    };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (replaced.uid(), replaced.gid()) {
        std::os::unix::fs::fchown(file, Some(replaced.uid()), Some(replaced.gid()))?;
    }
    file.set_permissions(replaced.permissions())
}

fn refused(kind: ErrorKind, message: impl Into<String>, path: &Path) -> SnapshotError {
    SnapshotError::new(kind, message).with_key(path.display().to_string())
}
