//! What a restore needs of its destination, as a list of checks. All of them are made before the first record is read:
//! whatever would fail at the end, and can be known at the start, fails at the start.
//!
//! A restore and the plan of one make the same checks. The restore stops at the first that fails, and keeps its file. The
//! plan makes all of them, in a file without a name, and leaves nothing.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::file_system::{FileSystem, attributes, can_hold, file_bytes_max, name_bytes_max, reserve, unnamed_file};
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

/// What the checks are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The work starts. The first check that fails ends it.
    Apply,
    /// The work is planned. Every check is made, and nothing is left.
    Plan,
}

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The path that is really written.
    pub(super) path: &'a Path,
    /// Whether a file there is replaced.
    pub(super) replaces: bool,
    /// `None` if the snapshot cannot be read.
    pub(super) size: Option<FileSize>,
    /// What a restore would remove before it writes, and has not.
    pub(super) removable_bytes: u64,
    pub(super) purpose: Purpose,
}

/// A check, and its verdict.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
}

/// What a check returns: what it found, and an error if the restore will fail.
type Verdict = Result<Finding>;

/// What a check that did not fail has found.
#[derive(Debug)]
pub(crate) enum Finding {
    Passed,
    /// The restore may fail. A sentence for the user.
    Doubtful(String),
    /// The check could not be made, for this reason.
    NotMade(&'static str),
}

/// The checks that have been made, in order.
#[derive(Debug)]
pub(crate) struct Checks {
    purpose: Purpose,
    made: Vec<Check>,
}

impl Checks {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, made: Vec::new() }
    }

    /// Adds a check, and returns whether the next one is to be made.
    pub(super) fn add(&mut self, name: &'static str, verdict: Verdict) -> bool {
        let goes_on = verdict.is_ok() || self.purpose == Purpose::Plan;
        self.made.push(Check { name, verdict });
        goes_on
    }

    /// Adds checks that could not be made.
    pub(super) fn add_not_made(&mut self, names: impl IntoIterator<Item = &'static str>, why: &'static str) {
        self.made.extend(names.into_iter().map(|name| Check { name, verdict: Ok(Finding::NotMade(why)) }));
    }

    /// Returns whether none has failed.
    pub(super) fn have_passed(&self) -> bool {
        self.made.iter().all(|check| check.verdict.is_ok())
    }

    /// Returns the checks.
    pub(crate) fn into_vec(self) -> Vec<Check> {
        self.made
    }
}

type CheckOfPath = fn(&Subject<'_>) -> Verdict;
type CheckOfFile = fn(&Subject<'_>, &Beside) -> Verdict;

/// The checks of the path, before a file is created beside it.
const OF_THE_PATH: [(&str, CheckOfPath); 3] =
    [("name", name_fits), ("mount point", nothing_is_mounted), ("attributes", entries_can_change)];

/// Whether a file can be created beside the destination.
const DIRECTORY: &str = "directory";

/// The checks of a file that was created beside the destination.
const OF_THE_FILE: [(&str, CheckOfFile); 5] = [
    ("owner", owner_can_be_kept),
    ("file size limit", size_is_allowed),
    ("largest file", size_is_possible),
    ("free space", space_is_left),
    ("quota", space_can_be_reserved),
];

/// A file that was created beside the destination.
#[derive(Debug)]
enum Beside {
    /// The one that is restored to.
    Named(Temporary),
    /// One that has no name.
    Unnamed(File),
    /// None, because the file system has no files without names.
    Nothing(FileSystem),
}

impl Beside {
    fn create(subject: &Subject<'_>) -> Result<Self> {
        let directory = directory(subject.path);
        let created = match subject.purpose {
            Purpose::Apply => Temporary::create(subject.path).map(Self::Named),
            Purpose::Plan => unnamed_file(directory).map(|file| match file {
                Some(file) => Self::Unnamed(file),
                None => Self::Nothing(FileSystem::of_directory(directory)),
            }),
        };
        created.map_err(|error| {
            SnapshotError::io(subject.path, "create a temporary file in the directory of the destination", error)
        })
    }

    fn file(&self) -> Option<&File> {
        match self {
            Self::Named(temporary) => Some(temporary.file()),
            Self::Unnamed(file) => Some(file),
            Self::Nothing(_) => None,
        }
    }

    fn file_system(&self) -> FileSystem {
        match self {
            Self::Nothing(system) => *system,
            Self::Named(_) | Self::Unnamed(_) => self.file().map(FileSystem::of).unwrap_or_default(),
        }
    }
}

/// What the checks have found and left.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// The file that is restored to, if this is for a restore and no check has failed.
    pub(crate) temporary: Option<Temporary>,
    /// Bytes that the file system has left, with those that a restore would free before it writes.
    pub(crate) free_bytes: Option<u64>,
}

const NEEDS_FILE: &str = "only a file that is created there could show it";
const NO_FILE: &str = "no file can be created there";
const NO_SPACE: &str = "the file system does not have the space, whatever the quota is";
const UNKNOWN_SIZE: &str = "the size of the restored file is not known";
pub(super) const UNUSABLE_PATH: &str = "the path cannot be used";

/// Makes all checks, in this order.
pub(super) fn check(subject: &Subject<'_>, checks: &mut Checks) -> Prepared {
    for (name, check) in OF_THE_PATH {
        if !checks.add(name, check(subject)) {
            return Prepared::default();
        }
    }
    let beside = match Beside::create(subject) {
        Ok(beside) => beside,
        Err(error) => {
            if checks.add(DIRECTORY, Err(error)) {
                checks.add_not_made(OF_THE_FILE.map(|(name, _)| name), NO_FILE);
            }
            return Prepared::default();
        }
    };
    checks.add(DIRECTORY, Ok(Finding::Passed));
    // Before the check of the quota reserves space in the file.
    let free_bytes = left_bytes(subject, &beside);
    for (name, check) in OF_THE_FILE {
        if !checks.add(name, check(subject, &beside)) {
            return Prepared::default();
        }
    }
    let temporary = match beside {
        Beside::Named(temporary) => Some(temporary),
        Beside::Unnamed(_) | Beside::Nothing(_) => None,
    };
    Prepared { temporary, free_bytes }
}

/// Adds all checks as checks that cannot be made, because the path is none of a file.
pub(super) fn check_nothing(checks: &mut Checks) {
    checks.add_not_made(OF_THE_PATH.map(|(name, _)| name), UNUSABLE_PATH);
    checks.add_not_made([DIRECTORY], UNUSABLE_PATH);
    checks.add_not_made(OF_THE_FILE.map(|(name, _)| name), UNUSABLE_PATH);
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
        _ => Ok(Finding::Passed),
    }
}

/// A file on which another one is mounted keeps its name: the rename fails with EBUSY.
fn nothing_is_mounted(subject: &Subject<'_>) -> Verdict {
    if !subject.replaces || !attributes(subject.path).is_mount_point {
        return Ok(Finding::Passed);
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
        _ => return Ok(Finding::Passed),
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
fn owner_can_be_kept(subject: &Subject<'_>, _: &Beside) -> Verdict {
    if !subject.replaces || !subject.path.exists() {
        return Ok(Finding::Passed);
    }
    // A file of its own: after this, it may not be possible to write to it.
    match Beside::create(subject)?.file() {
        Some(file) => give_owner_and_mode(file, subject.path).map(|()| Finding::Passed),
        None => Ok(Finding::NotMade(NEEDS_FILE)),
    }
}

/// The limit of the process. A file that exceeds it is cut there.
fn size_is_allowed(subject: &Subject<'_>, _: &Beside) -> Verdict {
    let Some(FileSize { least_bytes, likely_bytes }) = subject.size else { return Ok(Finding::NotMade(UNKNOWN_SIZE)) };
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
        Some(max) if max < likely_bytes => Ok(Finding::Doubtful(format!(
            "the restored file may have about {likely_bytes} bytes, and this process may write files of {max} bytes \
             (`ulimit -f`, RLIMIT_FSIZE); if that is too little, the restore will fail"
        ))),
        _ => Ok(Finding::Passed),
    }
}

/// The limit of the file system, for example 4 GiB of FAT.
fn size_is_possible(subject: &Subject<'_>, beside: &Beside) -> Verdict {
    let Some(FileSize { least_bytes, likely_bytes }) = subject.size else { return Ok(Finding::NotMade(UNKNOWN_SIZE)) };
    let Some(file) = beside.file() else { return Ok(Finding::NotMade(NEEDS_FILE)) };
    if !can_hold(file, least_bytes) {
        let message = format!(
            "the restored file will have at least {least_bytes} bytes, and the file system of the destination has no files of \
             this size; nothing was restored. Restore to another file system"
        );
        return Err(refused(ErrorKind::StorageFull, message, subject.path));
    }
    if can_hold(file, likely_bytes) {
        return Ok(Finding::Passed);
    }
    Ok(Finding::Doubtful(format!(
        "the restored file may have about {likely_bytes} bytes, and the file system of the destination has no files of this \
         size; if the file becomes too large, the restore will fail"
    )))
}

/// The space of the replaced file is in use until the end, and does not count.
fn space_is_left(subject: &Subject<'_>, beside: &Beside) -> Verdict {
    let Some(FileSize { least_bytes, likely_bytes }) = subject.size else { return Ok(Finding::NotMade(UNKNOWN_SIZE)) };
    let is_plain = beside.file_system().is_plain;
    match left_bytes(subject, beside) {
        Some(left) if left < least_bytes && is_plain => {
            let message = format!(
                "the restored file needs at least {least_bytes} bytes, and its file system has {left} bytes left; nothing was \
                 restored. Free space, or restore to another file system"
            );
            Err(refused(ErrorKind::StorageFull, message, subject.path))
        }
        Some(left) if left < likely_bytes => Ok(Finding::Doubtful(format!(
            "the restored file may need about {likely_bytes} bytes, and its file system has {left} bytes left; if that is too \
             little, the restore will fail"
        ))),
        _ => Ok(Finding::Passed),
    }
}

/// Returns how many bytes the file system has left, with those that a restore would free before it writes.
fn left_bytes(subject: &Subject<'_>, beside: &Beside) -> Option<u64> {
    beside.file_system().available_bytes.map(|left| left.saturating_add(subject.removable_bytes))
}

/// A quota is known only by trying. The space stays reserved for the restored file.
fn space_can_be_reserved(subject: &Subject<'_>, beside: &Beside) -> Verdict {
    let Some(FileSize { least_bytes, .. }) = subject.size else { return Ok(Finding::NotMade(UNKNOWN_SIZE)) };
    let Some(file) = beside.file() else { return Ok(Finding::NotMade(NEEDS_FILE)) };
    if !beside.file_system().is_plain {
        return Ok(Finding::Passed);
    }
    if left_bytes(subject, beside).is_some_and(|left| left < least_bytes) {
        return Ok(Finding::NotMade(NO_SPACE));
    }
    let Err(error) = reserve(file, least_bytes.saturating_sub(subject.removable_bytes)) else {
        return Ok(Finding::Passed);
    };
    let why = match error.kind() {
        io::ErrorKind::QuotaExceeded => "a quota does not allow that",
        io::ErrorKind::StorageFull => "its file system does not have them",
        // A file system that cannot reserve space.
        _ => return Ok(Finding::Passed),
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
