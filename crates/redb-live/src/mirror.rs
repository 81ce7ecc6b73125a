//! The mirror: a private copy of the database file in the scratch directory. Follows no tree and checks no page.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::{
    error::Error,
    file::{self, DatabaseFile},
    header::Geometry,
    page::{Node, PageNumber},
};

/// The mode of a mirror: it has all that the database has.
const PRIVATE_MODE: u32 = 0o600;
const CHUNK_LEN: usize = 1024 * 1024;
/// The unit in which zeros are left out of the copy, to keep sparse regions sparse.
const ZERO_BLOCK_LEN: usize = 64 * 1024;
static ZERO_BLOCK: [u8; ZERO_BLOCK_LEN] = [0; ZERO_BLOCK_LEN];

/// A copy of a database file that has no name. The kernel frees it when the last handle is closed.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub file: File,
    dir: PathBuf,
    /// The length of the database file when the copy began, in bytes.
    pub database_len: u64,
}

impl Mirror {
    /// Copies the file.
    ///
    /// If the filesystem supports reflinks, the copy is atomic and needs no space. If it does not, the file is copied
    /// in chunks, and concurrent writes can tear the copy.
    pub fn copy_of(live: &DatabaseFile, dir: &Path) -> Result<Self, Error> {
        let database_len = live.len_bytes()?;
        let file = scratch_file(dir).map_err(|source| Error::Scratch { dir: dir.to_owned(), source })?;
        let mirror = Self { file, dir: dir.to_owned(), database_len };
        if reflink(&live.file, &mirror.file).is_err() {
            check_space(dir, database_len)?;
            mirror.copy_chunks(live)?;
        }
        Ok(mirror)
    }

    /// Writes a page that was read from the live file and checked. Only the bytes that its checksum covers are written.
    pub fn store(&self, geometry: &Geometry, number: PageNumber, node: &Node) -> Result<(), Error> {
        let Some(range) = geometry.range(number) else { return Ok(()) };
        self.write(node.bytes(), range.start)
    }

    pub fn scratch_error(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::StorageFull {
                dir: self.dir.clone(),
                needed_bytes: self.database_len,
                available_bytes: available_bytes(&self.dir).unwrap_or(0),
            },
            _ => Error::Scratch { dir: self.dir.clone(), source },
        }
    }

    /// Copies the file up to its length at the start. Pages that are appended later are fetched one by one.
    fn copy_chunks(&self, live: &DatabaseFile) -> Result<(), Error> {
        self.file.set_len(self.database_len).map_err(|source| self.scratch_error(source))?;
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        let mut at = 0;
        while at < self.database_len {
            chunk.clear();
            file::read_up_to(&live.file, &mut chunk, at, CHUNK_LEN).map_err(|source| live.io_error(source))?;
            if chunk.is_empty() {
                break;
            }
            for block in chunk.chunks(ZERO_BLOCK_LEN) {
                if ZERO_BLOCK.get(..block.len()) != Some(block) {
                    self.write(block, at)?;
                }
                at += block.len() as u64;
            }
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, at).map_err(|source| self.scratch_error(source))
    }
}

/// Makes `to` share the blocks of `from`, if the filesystem supports it.
#[cfg(target_os = "linux")]
fn reflink(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

#[cfg(not(target_os = "linux"))]
fn reflink(_from: &File, _to: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Creates a file without a name that only its owner can read, from the moment of its creation.
fn scratch_file(dir: &Path) -> io::Result<File> {
    match unnamed_file(dir) {
        // The file system has no files without names, or there is no directory. The latter fails again.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT)) => {}
        created => return created,
    }
    let named = tempfile::Builder::new().permissions(Permissions::from_mode(PRIVATE_MODE)).tempfile_in(dir)?;
    // Removes the name.
    Ok(named.into_file())
}

#[cfg(target_os = "linux")]
fn unnamed_file(dir: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::from_raw_mode(PRIVATE_MODE))?.into())
}

#[cfg(not(target_os = "linux"))]
fn unnamed_file(_dir: &Path) -> io::Result<File> {
    Err(Errno::OPNOTSUPP.into())
}

fn check_space(dir: &Path, needed_bytes: u64) -> Result<(), Error> {
    let available_bytes = available_bytes(dir).map_err(|source| Error::Scratch { dir: dir.to_owned(), source })?;
    if available_bytes < needed_bytes {
        return Err(Error::StorageFull { dir: dir.to_owned(), needed_bytes, available_bytes });
    }
    Ok(())
}

fn available_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_an_unnamed_copy_that_only_its_owner_can_read() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let bytes: Vec<u8> =
            (0..3 * ZERO_BLOCK_LEN).map(|i| if i / ZERO_BLOCK_LEN == 1 { 0 } else { i as u8 }).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mirror = Mirror::copy_of(&DatabaseFile::open(&path).unwrap(), dir.path()).unwrap();
        let mut copied = Vec::new();
        file::read_up_to(&mirror.file, &mut copied, 0, bytes.len() + 1).unwrap();
        assert!(copied == bytes);
        let metadata = mirror.file.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 0));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_space_is_reported_before_copying() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_space(dir.path(), 0).is_ok());
        match check_space(dir.path(), u64::MAX) {
            Err(Error::StorageFull { needed_bytes: u64::MAX, available_bytes, .. }) => {
                assert!(available_bytes < u64::MAX)
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(check_space(&dir.path().join("nowhere"), 0), Err(Error::Scratch { .. })));
    }
}
