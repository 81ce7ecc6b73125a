//! Files of a local directory while they are being written: under a staged name, until they are complete and synced.
//!
//! The mode of the store's directory decides for what is created in it: a file can be read and written by those who can
//! read and write the directory. So a new store, which is created with the mode 0700, is private, and an existing
//! directory that a group shares stays shared. Until it gets its name, a file is for its owner only.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::directory::{Directory, split_key};
use super::io::{at, check_root, run_blocking, trace_unsupported};
use crate::store::error::io_kind;
use crate::store::segment_problem;
use crate::sync::{DirectorySync, sync_opened};

/// How often a directory is created again that deletions remove meanwhile.
const ATTEMPTS_MAX: usize = 1000;

/// What becomes of an object that exists under the name of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    Replace,
    /// Fails with `AlreadyExists`.
    Keep,
}

/// What was found out about the file system when a file got its name. Snapshots are safe on any of them.
#[derive(Debug)]
pub(crate) struct Published {
    /// Whether the file system has made sure that the name was free.
    pub(crate) is_exclusive: bool,
    /// Why the directory could not be synced; `None` if it was.
    pub(crate) unsynced: Option<io::Error>,
}

impl From<Published> for PutResult {
    fn from(_: Published) -> Self {
        Self { e_tag: None, version: None, extensions: Default::default() }
    }
}

/// A file with a staged name. The name is removed when this is dropped, and the file with it unless it was published.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: Arc<File>,
    directory: Arc<Directory>,
    staged: String,
    /// False when the file has its name: the staged name may then be that of another upload.
    has_staged_name: bool,
    name: String,
    modes: Modes,
    /// Where the next part begins.
    end: u64,
}

impl StagedFile {
    /// Creates an empty file that is to be published under a key, and the missing directories below `root`.
    pub(super) fn create(root: &FsPath, key: &str) -> Result<Self> {
        let (parent, name) = split_key(key);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let top = Directory::root(root)?;
            let modes = Modes::of(&top).map_err(|error| at(root, error))?;
            let created = open_or_create(top, parent, &modes).and_then(|directory| {
                let failed = |error| at(&directory.path_of(name), error);
                directory.stat(name).map_err(failed)?;
                let (staged, file) = create_staged(&directory, name).map_err(failed)?;
                Ok((Arc::new(directory), staged, Arc::new(file)))
            });
            match created {
                Ok((directory, staged, file)) => {
                    let name = name.to_owned();
                    return Ok(Self { file, directory, staged, has_staged_name: true, name, modes, end: 0 });
                }
                // A deletion has removed the directory, which was empty, or the disk of the store is no longer mounted.
                Err(error) if io_kind(&error) == Some(io::ErrorKind::NotFound) && attempts < ATTEMPTS_MAX => {
                    check_root(root)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends bytes to the file.
    pub(super) fn append(&mut self, payload: &PutPayload) -> Result<()> {
        let start = self.end;
        self.end += payload.content_length() as u64;
        write_at(&self.file, payload, start).map_err(|error| at(&self.staged_path(), error))
    }

    fn staged_path(&self) -> PathBuf {
        self.directory.path_of(&self.staged)
    }

    /// Gives the file its name, in one step, after its contents are on the disk, and makes the name durable.
    ///
    /// If the name cannot be made durable, it is removed again: an object that may vanish must not count as created. A
    /// file system that does not sync directories is accepted as it is.
    pub(super) fn publish(mut self, publish: Publish) -> Result<Published> {
        let path = self.directory.path_of(&self.name);
        widen(&self.file, self.modes.file);
        self.file.sync_all().map_err(|error| at(&self.staged_path(), error))?;
        let is_exclusive = self.give_name(publish).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                object_store::Error::AlreadyExists { path: path.display().to_string(), source: error.into() }
            }
            _ => at(&path, error),
        })?;
        self.has_staged_name = false;
        match sync_opened(self.directory.as_file()) {
            Ok(DirectorySync::Durable) => Ok(Published { is_exclusive, unsynced: None }),
            Ok(DirectorySync::Unsupported(error)) => {
                trace_unsupported(&path, &error);
                Ok(Published { is_exclusive, unsynced: Some(error) })
            }
            Err(error) => {
                if publish == Publish::Keep {
                    let _ = self.directory.remove_file(&self.name);
                }
                Err(at(&path, error))
            }
        }
    }

    /// Returns whether the file system has made sure that the name was free.
    fn give_name(&self, publish: Publish) -> io::Result<bool> {
        match publish {
            Publish::Keep => self.directory.rename_to_free(&self.staged, &self.name),
            Publish::Replace => {
                // A rename would replace a link.
                self.directory.stat(&self.name)?;
                self.directory.rename(&self.staged, &self.name).map(|()| false)
            }
        }
    }
}

impl Drop for StagedFile {
    /// Removes the staged name at once: a runtime that shuts down would not run a task for it.
    fn drop(&mut self) {
        if self.has_staged_name {
            let _ = self.directory.remove_file(&self.staged);
        }
    }
}

/// Returns the key that a staged file was written for; `None` if the name is not that of a staged file. It is called
/// like the object, with `#` and a number.
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
        let (file, path, start) = (staged.file.clone(), staged.staged_path(), staged.end);
        staged.end += part.content_length() as u64;
        Box::pin(run_blocking(move || write_at(&file, &part, start).map_err(|error| at(&path, error))))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.0.take() {
            Some(staged) => run_blocking(move || staged.publish(Publish::Replace).map(PutResult::from)).await,
            None => Err(ended()),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.0 = None;
        Ok(())
    }
}

/// The modes of what is created in a store.
#[derive(Debug, Clone, Copy)]
struct Modes {
    file: u32,
    directory: u32,
}

impl Modes {
    /// Derives the modes from that of the store's directory. The owner can always read and write. Everybody else, who is
    /// neither the owner nor of the group, can never write: in a directory such as /tmp, anyone could change a snapshot.
    fn of(root: &Directory) -> io::Result<Self> {
        let root = root.own_stat()?.st_mode;
        Ok(Self { file: 0o600 | root & 0o064, directory: 0o700 | root & 0o075 })
    }
}

/// Gives a file or directory, which only its owner could read until now, the bits of a mode. A file system without
/// modes is accepted.
fn widen(file: &File, mode: u32) {
    let Ok(found) = file.metadata() else { return };
    // A directory may have inherited the bit that passes its group on, which stays.
    let bits = found.permissions().mode() & 0o7777;
    if bits | mode != bits {
        let _ = file.set_permissions(Permissions::from_mode(bits | mode));
    }
}

/// Creates an empty file with the first staged name of an object that is free.
fn create_staged(directory: &Directory, name: &str) -> io::Result<(String, File)> {
    let mut number = 1;
    loop {
        let staged = format!("{name}#{number}");
        match directory.create_file(&staged) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            created => return created.map(|file| (staged, file)),
        }
    }
}

/// Opens the directory of a key, and creates durably what is missing of it.
fn open_or_create(top: Directory, key: &str, modes: &Modes) -> Result<Directory> {
    let mut directory = top;
    for name in key.split('/').filter(|name| !name.is_empty()) {
        let opened = match directory.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_directory(&directory, name, modes),
            opened => opened,
        };
        directory = opened.map_err(|error| at(&directory.path_of(name), error))?;
    }
    Ok(directory)
}

fn create_directory(parent: &Directory, name: &str, modes: &Modes) -> io::Result<Directory> {
    match parent.create_directory(name) {
        // Another upload was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return parent.open(name),
        created => created?,
    }
    let created = parent.open(name)?;
    if let Ok(file) = created.as_file() {
        widen(&file, modes.directory);
    }
    if let DirectorySync::Unsupported(error) = sync_opened(parent.as_file())? {
        trace_unsupported(created.path(), &error);
    }
    Ok(created)
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
