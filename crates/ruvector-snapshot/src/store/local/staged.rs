//! Files of a local directory while they are being written: under a staged name, until they are complete and synced.
//!
//! `LocalFileSystem` could do this, with two differences: it fails, after the file got its name, on file systems that do
//! not sync directories, and it gives every file the mode that the umask leaves.
//!
//! The mode of the store's directory decides for what is created in it: a file can be read and written by those who can
//! read and write the directory. So a new store, which is created with the mode 0700, is private, and an existing
//! directory that a group shares stays shared.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::io::{at, check_root, run_blocking, trace_unsupported};
use crate::store::segment_problem;
use crate::sync::{DirectorySync, sync_directory};

/// The mode of the directory of a new store.
pub(super) const NEW_STORE_MODE: u32 = 0o700;

/// What becomes of an object that exists under the name of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    Replace,
    /// Fails with `AlreadyExists`.
    Keep,
}

/// A file with a staged name. The name is removed when this is dropped, and the file with it unless it was published.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: Arc<File>,
    staged: PathBuf,
    /// False after a rename: the staged name may then be that of another upload.
    has_staged_name: bool,
    path: PathBuf,
    /// Where the next part begins.
    end: u64,
}

impl StagedFile {
    /// Creates an empty file that is to be published at `path`, and the missing directories below `root`.
    pub(super) fn create(root: &FsPath, path: PathBuf) -> Result<Self> {
        let modes = Modes::below(root).map_err(|error| check_root(root).err().unwrap_or_else(|| at(root, error)))?;
        let mut number = 1;
        loop {
            let mut staged = path.as_os_str().to_owned();
            staged.push(format!("#{number}"));
            let staged = PathBuf::from(staged);
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(modes.file).open(&staged) {
                Ok(file) => {
                    widen(&staged, modes.file);
                    return Ok(Self { file: Arc::new(file), staged, has_staged_name: true, path, end: 0 });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
                    Some(parent) if parent != root => create_directories(root, parent, &modes)?,
                    // The disk of the store is no longer mounted.
                    _ => return Err(at(root, error)),
                },
                Err(error) => return Err(at(&staged, error)),
            }
        }
    }

    /// Appends bytes to the file.
    pub(super) fn append(&mut self, payload: &PutPayload) -> Result<()> {
        let start = self.end;
        self.end += payload.content_length() as u64;
        write_at(&self.file, payload, start).map_err(|error| at(&self.staged, error))
    }

    /// Gives the file its name, in one step, after its contents are on the disk, and makes the name durable.
    ///
    /// If the name cannot be made durable, it is removed again: an object that may vanish must not count as created. A
    /// file system that does not sync directories is accepted as it is.
    pub(super) fn publish(mut self, publish: Publish) -> Result<PutResult> {
        self.file.sync_all().map_err(|error| at(&self.staged, error))?;
        let named = match publish {
            Publish::Replace => fs::rename(&self.staged, &self.path),
            Publish::Keep => fs::hard_link(&self.staged, &self.path),
        };
        named.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                object_store::Error::AlreadyExists { path: self.path.display().to_string(), source: error.into() }
            }
            _ => at(&self.path, error),
        })?;
        self.has_staged_name = publish == Publish::Keep;
        match sync_directory(self.path.parent().unwrap_or(&self.path)) {
            Ok(DirectorySync::Durable) => {}
            Ok(DirectorySync::Unsupported(error)) => trace_unsupported(&self.path, &error),
            Err(error) => {
                if publish == Publish::Keep {
                    let _ = fs::remove_file(&self.path);
                }
                return Err(at(&self.path, error));
            }
        }
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }
}

impl Drop for StagedFile {
    /// Removes the staged name at once: a runtime that shuts down would not run a task for it.
    fn drop(&mut self) {
        if self.has_staged_name {
            let _ = fs::remove_file(&self.staged);
        }
    }
}

/// Returns the key that a staged file was written for; `None` if the name is not that of a staged file.
/// `LocalFileSystem` calls it like the object, with `#` and a number.
pub(super) fn key_of_staged_file(name: &str) -> Option<&str> {
    let (key, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let is_key = key.rsplit('/').next().is_some_and(|name| segment_problem(name).is_none());
    Some(key).filter(|_| is_number && is_key)
}

/// An upload in parts into a staged file, which is removed when this is aborted or dropped. Empty after it has ended.
#[derive(Debug)]
pub(super) struct StagedUpload(pub(super) Option<StagedFile>);

#[async_trait]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let Some(staged) = &mut self.0 else { return Box::pin(async { Err(ended()) }) };
        let (file, name, start) = (staged.file.clone(), staged.staged.clone(), staged.end);
        staged.end += part.content_length() as u64;
        Box::pin(run_blocking(move || write_at(&file, &part, start).map_err(|error| at(&name, error))))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.0.take() {
            Some(staged) => run_blocking(move || staged.publish(Publish::Replace)).await,
            None => Err(ended()),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.0 = None;
        Ok(())
    }
}

/// The modes of what is created in a store.
struct Modes {
    file: u32,
    directory: u32,
}

impl Modes {
    /// Derives the modes from that of the store's directory. The owner can always read and write. Everybody else, who is
    /// neither the owner nor of the group, can never write: in a directory such as /tmp, anyone could change a snapshot.
    fn below(root: &FsPath) -> io::Result<Self> {
        let root = fs::metadata(root)?.permissions().mode();
        Ok(Self { file: 0o600 | root & 0o064, directory: 0o700 | root & 0o075 })
    }
}

/// Gives a new file or directory the bits that the umask has removed. A file system without modes is accepted.
fn widen(path: &FsPath, mode: u32) {
    let Ok(found) = fs::metadata(path) else { return };
    // A directory may have inherited the bit that passes its group on, which stays.
    let bits = found.permissions().mode() & 0o7777;
    if bits | mode != bits {
        let _ = fs::set_permissions(path, Permissions::from_mode(bits | mode));
    }
}

/// Creates a directory and the missing ones above it, up to the root, durably.
fn create_directories(root: &FsPath, directory: &FsPath, modes: &Modes) -> Result<()> {
    let created = match DirBuilder::new().mode(modes.directory).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match directory.parent() {
            Some(parent) if parent != root && directory != root => {
                create_directories(root, parent, modes)?;
                DirBuilder::new().mode(modes.directory).create(directory)
            }
            _ => Err(error),
        },
        created => created,
    };
    match created {
        // Another upload was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => return Ok(()),
        created => created.map_err(|error| at(directory, error))?,
    }
    widen(directory, modes.directory);
    match sync_directory(directory.parent().unwrap_or(directory)) {
        Ok(DirectorySync::Durable) => Ok(()),
        Ok(DirectorySync::Unsupported(error)) => {
            trace_unsupported(directory, &error);
            Ok(())
        }
        Err(error) => Err(at(directory, error)),
    }
}

fn write_at(file: &File, payload: &PutPayload, mut start: u64) -> io::Result<()> {
    for bytes in payload {
        file.write_all_at(bytes, start)?;
        start += bytes.len() as u64;
    }
    Ok(())
}

fn ended() -> object_store::Error {
    object_store::Error::Generic { store: "LocalFs", source: "the upload has ended".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_is_named_like_its_key_with_a_number() {
        assert_eq!(key_of_staged_file("snapshot/data#12"), Some("snapshot/data"));
        for other in ["data", "data#", "data#1x", "#1", "a#b#1", "a/#1"] {
            assert_eq!(key_of_staged_file(other), None, "{other}");
        }
    }
}
