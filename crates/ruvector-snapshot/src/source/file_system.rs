//! What the system says about a file system, a file or this process before anything is written: space, limits and
//! attributes. Changes nothing that stays, and decides nothing. What is not known is `None`.

use std::fs::File;
use std::path::Path;

/// What is known of the file system of an open file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileSystem {
    /// Bytes that this process can still write. `None` if the file system does not report them.
    pub(crate) available_bytes: Option<u64>,
    /// Whether a file takes as much space as it has bytes: the file system does not compress, and the space that it
    /// reports is its own.
    pub(crate) is_plain: bool,
    /// Whether the lock of a file excludes every process that can open it. Locks of a network file system can be those
    /// of one machine.
    pub(crate) has_reliable_locks: bool,
}

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreeSpace {
    /// Bytes that this process can still write.
    pub bytes: u64,
    /// Whether a file takes as much of them as it has bytes: the file system does not compress.
    pub is_plain: bool,
}

/// Returns what the file system of a directory has left. If the directory does not exist, that of the nearest directory above
/// it. `None` if the file system does not say it.
///
/// # Examples
///
/// ```
/// let directory = std::env::temp_dir();
/// let left = ruvector_snapshot::free_space(&directory);
/// assert!(left.is_none_or(|left| left.bytes > 0));
/// ```
pub fn free_space(directory: &Path) -> Option<FreeSpace> {
    let absolute = std::path::absolute(directory).ok()?;
    let existing = absolute.ancestors().find(|directory| directory.exists())?;
    let FileSystem { available_bytes, is_plain, .. } = FileSystem::of_directory(existing);
    available_bytes.map(|bytes| FreeSpace { bytes, is_plain })
}

/// What prevents that a file is replaced, or that the entries of a directory are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes {
    pub(crate) is_immutable: bool,
    pub(crate) is_append_only: bool,
    pub(crate) is_mount_point: bool,
}

impl FileSystem {
    /// Returns what is known of the file system of a file or a directory.
    pub(crate) fn of(file: &File) -> Self {
        let Ok(space) = rustix::fs::fstatvfs(file) else { return Self::default() };
        // Root can use the blocks that are reserved for it.
        let blocks = if rustix::process::geteuid().is_root() { space.f_bfree } else { space.f_bavail };
        // Some file systems of users report no blocks at all.
        let available_bytes = (space.f_blocks > 0).then(|| blocks.saturating_mul(space.f_frsize));
        let (is_plain, has_reliable_locks) = kind(file);
        Self { available_bytes, is_plain, has_reliable_locks }
    }

    /// As [`of`](Self::of), of a directory at a path.
    pub(crate) fn of_directory(directory: &Path) -> Self {
        File::open(directory).map_or_else(|_| Self::default(), |opened| Self::of(&opened))
    }
}

/// Returns the length of the longest name of a directory.
pub(crate) fn name_bytes_max(directory: &Path) -> Option<u64> {
    rustix::fs::statvfs(directory).ok().map(|found| found.f_namemax).filter(|max| *max > 0)
}

/// Returns whether a file system stores bytes as they are, and whether its locks are known to all who use it.
#[cfg(target_os = "linux")]
#[allow(clippy::useless_conversion, reason = "the number has fewer bits on other processors")]
fn kind(file: &File) -> (bool, bool) {
    // linux/magic.h
    const EXT: i64 = 0xEF53;
    const XFS: i64 = 0x5846_5342;
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    const OVERLAY: i64 = 0x794c_7630;
    const FAT: i64 = 0x4d44;
    const EXFAT: i64 = 0x2011_BAB0;
    const BTRFS: i64 = 0x9123_683E;
    const ZFS: i64 = 0x2fc1_2fc1;
    const F2FS: i64 = 0xF2F5_2010;
    const BCACHEFS: i64 = 0xca45_1a4e;
    let Ok(found) = rustix::fs::fstatfs(file) else { return (false, false) };
    match i64::try_from(found.f_type) {
        Ok(EXT | XFS | TMPFS | RAMFS | OVERLAY | FAT | EXFAT) => (true, true),
        Ok(BTRFS | ZFS | F2FS | BCACHEFS) => (false, true),
        _ => (false, false),
    }
}

#[cfg(not(target_os = "linux"))]
fn kind(_file: &File) -> (bool, bool) {
    (false, false)
}

/// Returns the attributes of what a path names. A symbolic link is not followed.
#[cfg(target_os = "linux")]
pub(crate) fn attributes(path: &Path) -> Attributes {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let Ok(found) = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) else { return Attributes::default() };
    let has = |attribute| (found.stx_attributes & found.stx_attributes_mask).contains(attribute);
    Attributes {
        is_immutable: has(StatxAttributes::IMMUTABLE),
        is_append_only: has(StatxAttributes::APPEND),
        is_mount_point: has(StatxAttributes::MOUNT_ROOT),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn attributes(_path: &Path) -> Attributes {
    Attributes::default()
}

/// Returns the size that a file may have that this process writes (`ulimit -f`).
pub(crate) fn file_bytes_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file size"))?;
    // The soft limit comes first. It can be the word unlimited.
    line.split_whitespace().next()?.parse().ok()
}

/// Creates a file without a name in a directory, which no other process can open and which is gone when it is closed. `None` if the
/// file system has no such files, although this user may create others there.
///
/// # Errors
///
/// Returns the error with which a file with a name could not be created either.
pub(crate) fn unnamed_file(directory: &Path) -> std::io::Result<Option<File>> {
    match open_unnamed(directory)? {
        Some(file) => Ok(Some(file)),
        None => {
            // The dot makes a file in the place of the directory an error.
            rustix::fs::access(directory.join("."), rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
            Ok(None)
        }
    }
}

#[cfg(target_os = "linux")]
fn open_unnamed(directory: &Path) -> std::io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_unnamed(_directory: &Path) -> std::io::Result<Option<File>> {
    Ok(None)
}

/// Reserves space for the first bytes of a file, whose size stays. Other files cannot use it until the file is removed.
///
/// # Errors
///
/// Also fails if the file system cannot reserve space.
#[cfg(target_os = "linux")]
pub(crate) fn reserve(file: &File, bytes: u64) -> std::io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes)?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reserve(_file: &File, _bytes: u64) -> std::io::Result<()> {
    Ok(())
}

/// Returns whether a file of this file system can be so large.
///
/// A seek beyond the largest size fails, and writes nothing.
pub(crate) fn can_hold(mut file: &File, bytes: u64) -> bool {
    use std::io::{ErrorKind, Seek as _, SeekFrom};
    let is_possible =
        !matches!(file.seek(SeekFrom::Start(bytes)), Err(error) if error.kind() == ErrorKind::InvalidInput);
    let _at_the_start = file.rewind();
    is_possible
}
