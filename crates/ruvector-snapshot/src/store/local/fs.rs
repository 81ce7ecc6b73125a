//! A local directory as an `ObjectStore`.
//!
//! `staged` writes, and `directory` resolves names: a symbolic link below the root is never followed. A link is not
//! listed as an object, and reading, creating or deleting an object through one is an error that names it. Besides:
//!
//! - A listing continues after a name that is not a key, and after a directory that cannot be read, and reports both. One
//!   such file would hide every snapshot. A link in place of a directory of the caller's cannot be read either.
//! - A listing enters only directories that the key filter accepts. Others may be unreadable.
//! - A delete is durable when it returns, if the file system can do that: the directory is synced, as after a write.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rustix::fs::{Dir, FileType, Stat};

use super::directory::{Directory, is_not_there, join, kind_of, modified_at, split_key};
use super::io::{LinkInStore, RootIsGone, at, check_root, generic, not_durable, run_blocking, trace_unsupported};
use super::staged::{Publish, StagedFile, StagedUpload, key_of_staged_file};
use crate::store::{KeyFilter, segment_problem};
use crate::sync::{DirectorySync, sync_opened};

/// How many objects a listing buffers.
const LIST_BATCH_MAX: usize = 1024;

/// The directory for files that the repair of a file system found. Only root can read it.
const LOST_AND_FOUND: &str = "lost+found";

/// A local directory.
#[derive(Debug, Clone)]
pub(in crate::store) struct LocalFs {
    root: PathBuf,
    key_filter: KeyFilter,
}

impl LocalFs {
    /// `root` is the canonical path of an existing directory, in UTF-8.
    pub(in crate::store) fn new(root: PathBuf) -> Self {
        Self { root, key_filter: |_| true }
    }

    /// Limits listings to directories that the filter accepts.
    pub(in crate::store) fn with_key_filter(self, key_filter: KeyFilter) -> Self {
        Self { key_filter, ..self }
    }

    /// Lists what is below a key.
    pub(in crate::store) fn walk(&self, prefix: &str) -> BoxStream<'static, Result<Found>> {
        Walk::new(&self.root, prefix, self.key_filter).entries()
    }

    pub(super) fn root(&self) -> &FsPath {
        &self.root
    }

    fn open(&self, path: &Path, options: &GetOptions) -> Result<GetResult> {
        let (parent, name) = split(path);
        let Some(directory) = Directory::below(&self.root, parent)? else { return Err(not_found(path, MISSING)) };
        let failed = |error| at(&directory.path_of(name), error);
        let Some(file) = directory.open_file(name).map_err(failed)? else { return Err(not_found(path, MISSING)) };
        let found = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
        let meta = object_meta(path.clone(), &found);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(generic)?,
            None => 0..meta.size,
        };
        let payload = GetResultPayload::File(file, directory.path_of(name));
        Ok(GetResult { payload, meta, range, attributes: Default::default(), extensions: Default::default() })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let (parent, name) = split(path);
        let Some(directory) = Directory::below(&self.root, parent)? else { return Err(not_found(path, MISSING)) };
        let file = directory.path_of(name);
        match directory.stat(name).map_err(|error| at(&file, error))? {
            None => {
                // An aborted upload leaves the directory that it created, if it was the first in it.
                let _in_use = self.remove_empty(parent);
                return Err(not_found(path, MISSING));
            }
            Some(found) if kind_of(&found) == FileType::RegularFile => {}
            Some(_) => return Err(not_found(path, "it is not a regular file, and therefore not an object")),
        }
        match directory.remove_file(name) {
            Err(error) if is_not_there(&error) => return Err(not_found(path, error)),
            removed => removed.map_err(|error| at(&file, error))?,
        }
        // The directory is removed with its last object, except for the root.
        let changed = self.remove_empty(parent).unwrap_or(directory);
        match sync_opened(changed.as_file()) {
            Ok(DirectorySync::Durable) => Ok(()),
            Ok(DirectorySync::Unsupported(error)) => {
                trace_unsupported(&file, &error);
                Ok(())
            }
            // The directory was removed meanwhile, with everything in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(not_durable(&file, error)),
        }
    }

    /// Removes the directory of a key, if it is empty and not the root. Returns the directory above it if it was removed.
    fn remove_empty(&self, key: &str) -> Option<Directory> {
        let (parent, name) = split_key(key);
        let above = Directory::below(&self.root, parent).ok().flatten().filter(|_| !name.is_empty())?;
        above.remove_directory(name).ok().map(|()| above)
    }

    fn not_implemented(&self, operation: &str) -> object_store::Error {
        object_store::Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

impl std::fmt::Display for LocalFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.root.display().fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalFs {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let publish = match options.mode {
            PutMode::Overwrite => Publish::Replace,
            PutMode::Create => Publish::Keep,
            PutMode::Update(_) => return Err(self.not_implemented("an update under a condition")),
        };
        let (root, path) = (self.root.clone(), path.clone());
        run_blocking(move || {
            let mut staged = StagedFile::create(&root, path.as_ref())?;
            staged.append(&payload)?;
            staged.publish(publish).map(PutResult::from)
        })
        .await
    }

    async fn put_multipart_opts(&self, path: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (root, path) = (self.root.clone(), path.clone());
        // The upload leaves the blocking thread complete, so that its file is removed even if this future is dropped.
        let staged = run_blocking(move || Ok(StagedUpload(Some(StagedFile::create(&root, path.as_ref())?))));
        Ok(Box::new(staged.await?))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let (directory, path) = (self.clone(), path.clone());
        run_blocking(move || directory.open(&path, &options)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let directory = self.clone();
        paths
            .and_then(move |path| {
                let directory = directory.clone();
                run_blocking(move || directory.remove(&path).map(|()| path))
            })
            .boxed()
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let error = self.not_implemented("a listing of objects alone, instead of `walk`");
        stream::once(async { Err(error) }).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(self.not_implemented("a listing of one level"))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(self.not_implemented("a copy"))
    }
}

/// What a walk finds.
#[derive(Debug)]
pub(in crate::store) enum Found {
    Object(ObjectMeta),
    /// Something that is no object, or that the key filter rejects.
    Foreign,
    /// A directory or a file of which nothing can be read.
    Unreadable {
        key: String,
        error: object_store::Error,
    },
}

/// Walks the files below a directory, in batches. The key of a file is its path below the root.
struct Walk {
    root: PathBuf,
    /// The keys of directories to read.
    pending: Vec<String>,
    reading: Option<Reading>,
    found: VecDeque<Found>,
    key_filter: KeyFilter,
}

/// A directory that is being read.
pub(super) struct Reading {
    pub(super) directory: Directory,
    pub(super) entries: Dir,
    key: String,
}

impl Walk {
    fn new(root: &FsPath, prefix: &str, key_filter: KeyFilter) -> Self {
        let pending = vec![prefix.to_owned()];
        Self { root: root.to_owned(), pending, reading: None, found: VecDeque::new(), key_filter }
    }

    fn entries(self) -> BoxStream<'static, Result<Found>> {
        stream::try_unfold(self, |mut walk| async move {
            if walk.found.is_empty() {
                walk = run_blocking(move || walk.fill().map(|()| walk)).await?;
            }
            Ok(walk.found.pop_front().map(|object| (object, walk)))
        })
        .boxed()
    }

    /// Finds the next entries. Finds none after the last one.
    fn fill(&mut self) -> Result<()> {
        while self.found.len() < LIST_BATCH_MAX {
            let Some(mut reading) = self.reading.take() else {
                match self.pending.pop() {
                    Some(key) => match read_directory(&self.root, &key) {
                        Ok(reading) => self.reading = reading,
                        Err(error) => self.cannot_read(key, error)?,
                    },
                    None => break,
                }
                continue;
            };
            match reading.entries.next() {
                Some(Ok(entry)) => {
                    self.visit(&reading, entry.file_name())?;
                    self.reading = Some(reading);
                }
                Some(Err(error)) => {
                    let error = at(reading.directory.path(), error.into());
                    self.cannot_read(reading.key, error)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Notes a part of the store that cannot be read. Without the root itself nothing is known of the store.
    fn cannot_read(&mut self, key: String, error: object_store::Error) -> Result<()> {
        if key.is_empty() || RootIsGone::is_cause_of(&error) {
            return Err(error);
        }
        self.found.push_back(Found::Unreadable { key, error });
        Ok(())
    }

    fn visit(&mut self, reading: &Reading, name: &CStr) -> Result<()> {
        if matches!(name.to_bytes(), b"." | b"..") {
            return Ok(());
        }
        let Some(name) = name.to_str().ok().filter(|name| segment_problem(name).is_none()) else {
            self.pass_by(reading, &name.to_string_lossy());
            return Ok(());
        };
        let key = join(&reading.key, name);
        if !(self.key_filter)(&key) && !(self.key_filter)(&format!("{key}/")) {
            self.pass_by(reading, name);
            return Ok(());
        }
        match reading.directory.stat_or_link(name) {
            Ok(None) => {}
            // What must be a directory of the caller's is hidden by the link.
            Ok(Some(found)) if kind_of(&found) == FileType::Symlink && !(self.key_filter)(&key) => {
                let link = reading.directory.path_of(name);
                self.cannot_read(key, at(&link, LinkInStore::error(link.clone())))?;
            }
            Ok(Some(found)) => self.add(key, &found)?,
            Err(error) => self.cannot_read(key, at(&reading.directory.path_of(name), error))?,
        }
        Ok(())
    }

    /// Notes what has a key of the caller's.
    fn add(&mut self, key: String, found: &Stat) -> Result<()> {
        match kind_of(found) {
            FileType::Directory => self.pending.push(key),
            FileType::RegularFile => {
                let object = object_meta(Path::parse(key)?, found);
                self.found.push_back(Found::Object(object));
            }
            // A link is not followed: what is behind it belongs to somebody else.
            _ => self.found.push_back(Found::Foreign),
        }
        Ok(())
    }

    /// Notes something whose name is not a key of the caller's, unless an upload has staged it, or the system keeps it in
    /// the root of every file system.
    fn pass_by(&mut self, reading: &Reading, name: &str) {
        let is_staged = key_of_staged_file(&join(&reading.key, name)).is_some_and(self.key_filter);
        if !is_staged && name != LOST_AND_FOUND {
            self.found.push_back(Found::Foreign);
        }
    }
}

/// Opens the directory of a key below `root` for reading. `None` if it does not exist, if it is behind a link, or if it
/// belongs to the system and cannot be read.
pub(super) fn read_directory(root: &FsPath, key: &str) -> Result<Option<Reading>> {
    let directory = match Directory::below(root, key) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(None),
        Err(error) if LinkInStore::within(&error).is_some() => return Ok(None),
        Err(error) => return Err(error),
    };
    match directory.entries() {
        Ok(entries) => Ok(Some(Reading { directory, entries, key: key.to_owned() })),
        // It was removed meanwhile.
        Err(error) if is_not_there(&error) => check_root(root).map(|()| None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_of_system(key) => Ok(None),
        Err(error) => Err(at(directory.path(), error)),
    }
}

/// Returns whether a directory is one that the system keeps for itself, such as `lost+found` or `.Trash-1000`.
fn is_of_system(key: &str) -> bool {
    let (_, name) = split_key(key);
    name == LOST_AND_FOUND || name.starts_with('.')
}

fn object_meta(location: Path, found: &Stat) -> ObjectMeta {
    let (size, last_modified) = (found.st_size.try_into().unwrap_or(0), modified_at(found));
    ObjectMeta { location, last_modified, size, e_tag: None, version: None }
}

/// Splits a path into the key of its directory and the name in it.
fn split(path: &Path) -> (&str, &str) {
    split_key(path.as_ref())
}

const MISSING: &str = "there is no such file";

fn not_found(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::NotFound { path: path.to_string(), source: source.into() }
}
