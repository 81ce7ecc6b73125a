//! A local directory as an `ObjectStore`.
//!
//! `LocalFileSystem` of `object_store` reads, and `staged` writes. This adds what a directory needs that others use too
//! and that outlives the process:
//!
//! - A listing continues after a name that is not a key, and after a directory that cannot be read, and reports both.
//!   `LocalFileSystem` fails at the first of them. One such file would hide every snapshot.
//! - A listing enters only directories that the key filter accepts. Others may be unreadable.
//! - A delete is durable when it returns, if the file system can do that: the directory is synced, as after a write.

use std::collections::VecDeque;
use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::io::{RootIsGone, at, check_root, not_durable, run_blocking, trace_unsupported};
use super::staged::{Publish, StagedFile, StagedUpload, key_of_staged_file};
use crate::clock::{is_representable, moment};
use crate::store::error::io_kind;
use crate::store::{KeyFilter, segment_problem};
use crate::sync::{DirectorySync, sync_directory};

/// How many objects a listing buffers.
const LIST_BATCH_MAX: usize = 1024;

/// The directory for files that the repair of a file system found. Only root can read it.
const LOST_AND_FOUND: &str = "lost+found";

/// A local directory.
#[derive(Debug, Clone)]
pub(in crate::store) struct LocalFs {
    files: LocalFileSystem,
    root: PathBuf,
    key_filter: KeyFilter,
}

impl LocalFs {
    /// `root` is the canonical path of an existing directory, in UTF-8.
    pub(in crate::store) fn new(root: PathBuf) -> Result<Self> {
        // Automatic cleanup would also remove directories above that of the object.
        let files = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true).with_automatic_cleanup(false);
        Ok(Self { files, root, key_filter: |_| true })
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

    fn remove(&self, path: &Path) -> Result<()> {
        let file = self.files.path_to_filesystem(path)?;
        match fs::remove_file(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_root(&self.root)?;
                // An aborted upload leaves the directory that it created, if it was the first in it.
                if path.as_ref().contains('/') {
                    let _ = file.parent().map(fs::remove_dir);
                }
                return Err(not_found(path, error));
            }
            // The path is not a file, and therefore not an object.
            Err(error) if file.is_dir() || error.kind() == io::ErrorKind::NotADirectory => {
                return Err(not_found(path, error));
            }
            Err(error) => return Err(at(&file, error)),
        }
        let Some(directory) = file.parent() else { return Ok(()) };
        // The directory is removed with its last object, except for the root.
        let is_removed = path.as_ref().contains('/') && remove_empty(directory).is_ok();
        let changed = if is_removed { directory.parent().unwrap_or(directory) } else { directory };
        match sync_directory(changed) {
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
            PutMode::Update(_) => {
                let operation = "an update under a condition".to_owned();
                return Err(object_store::Error::NotImplemented { operation, implementer: self.to_string() });
            }
        };
        let (root, file) = (self.root.clone(), self.files.path_to_filesystem(path)?);
        run_blocking(move || {
            let mut staged = StagedFile::create(&root, file)?;
            staged.append(&payload)?;
            staged.publish(publish)
        })
        .await
    }

    async fn put_multipart_opts(&self, path: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (root, file) = (self.root.clone(), self.files.path_to_filesystem(path)?);
        // The upload leaves the blocking thread complete, so that its file is removed even if this future is dropped.
        let staged = run_blocking(move || Ok(StagedUpload(Some(StagedFile::create(&root, file)?))));
        Ok(Box::new(staged.await?))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        // Opening a fifo would block until another process writes to it.
        let file = self.files.path_to_filesystem(path)?;
        match run_blocking(move || Ok(fs::metadata(file))).await? {
            Ok(found) if !found.is_file() => return Err(not_found(path, "it is not a regular file")),
            // `LocalFileSystem` panics at a time that chrono cannot represent.
            Ok(found) if found.modified().is_ok_and(|time| !is_representable(time)) => return Err(no_moment(path)),
            _ => {}
        }
        let error = match self.files.get_opts(path, options).await {
            Err(error @ object_store::Error::NotFound { .. }) => error,
            Err(error) if is_below_a_file(&error) => not_found(path, error),
            answer => return answer,
        };
        let root = self.root.clone();
        run_blocking(move || check_root(&root)).await?;
        Err(error)
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

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let found = self.walk(prefix.map_or("", |prefix| prefix.as_ref()));
        let objects = found.try_filter_map(|found| async {
            match found {
                Found::Object(object) => Ok(Some(object)),
                Found::Foreign => Ok(None),
                Found::Unreadable { error, .. } => Err(error),
            }
        });
        objects.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
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
    /// Directories to read, each with its key.
    pending: Vec<(PathBuf, String)>,
    reading: Option<(ReadDir, String)>,
    found: VecDeque<Found>,
    key_filter: KeyFilter,
}

impl Walk {
    fn new(root: &FsPath, prefix: &str, key_filter: KeyFilter) -> Self {
        let pending = vec![(root.join(prefix), prefix.to_owned())];
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
            let Some((directory, key)) = &mut self.reading else {
                match self.pending.pop() {
                    Some((path, key)) => match read_directory(&self.root, &path) {
                        Ok(directory) => self.reading = directory.map(|directory| (directory, key)),
                        Err(error) => self.cannot_read(key, error)?,
                    },
                    None => break,
                }
                continue;
            };
            match directory.next() {
                Some(Ok(entry)) => {
                    let key = key.clone();
                    self.visit(&entry.path(), key)?;
                }
                Some(Err(error)) => {
                    let (error, key) = (at(FsPath::new(key), error), std::mem::take(key));
                    self.reading = None;
                    self.cannot_read(key, error)?;
                }
                None => self.reading = None,
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

    fn visit(&mut self, path: &FsPath, parent_key: String) -> Result<()> {
        let is_top = parent_key.is_empty();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| segment_problem(name).is_none()) else {
            self.pass_by(path, &parent_key);
            return Ok(());
        };
        let key = if is_top { name.to_owned() } else { format!("{parent_key}/{name}") };
        if !(self.key_filter)(&key) && !(self.key_filter)(&format!("{key}/")) {
            self.pass_by(path, &parent_key);
            return Ok(());
        }
        let own = match fs::symlink_metadata(path) {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.cannot_read(key, at(path, error)),
        };
        let metadata = if own.is_symlink() {
            match fs::metadata(path) {
                // Links to directories are followed only at the top. Below, they could form cycles.
                Ok(target) if !target.is_dir() || (is_top && !leads_back(path, &self.root)) => target,
                // A dangling link, or a link to a directory that is walked anyway.
                _ => {
                    self.found.push_back(Found::Foreign);
                    return Ok(());
                }
            }
        } else {
            own
        };
        if metadata.is_dir() {
            self.pending.push((path.to_owned(), key));
        } else if metadata.is_file() {
            let last_modified = moment(metadata.modified().map_err(|error| at(path, error))?);
            let location = Path::parse(key)?;
            let size = metadata.len();
            self.found.push_back(Found::Object(ObjectMeta {
                location,
                last_modified,
                size,
                e_tag: None,
                version: None,
            }));
        } else {
            self.found.push_back(Found::Foreign);
        }
        Ok(())
    }

    /// Notes something whose name is not a key of the caller's, unless an upload has staged it, or the system keeps it in
    /// the root of every file system.
    fn pass_by(&mut self, path: &FsPath, parent_key: &str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let key = if parent_key.is_empty() { name.to_string() } else { format!("{parent_key}/{name}") };
        let is_staged = key_of_staged_file(&key).is_some_and(self.key_filter);
        if !is_staged && name != LOST_AND_FOUND {
            self.found.push_back(Found::Foreign);
        }
    }
}

/// Opens a directory below `root`; `None` if it does not exist, or if it belongs to the system and cannot be read.
pub(super) fn read_directory(root: &FsPath, path: &FsPath) -> Result<Option<ReadDir>> {
    let error = match fs::read_dir(path) {
        Ok(directory) => return Ok(Some(directory)),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => check_root(root).map(|()| None),
        io::ErrorKind::PermissionDenied if is_system_directory(path) => Ok(None),
        _ => Err(at(path, error)),
    }
}

/// Returns whether a directory is one that the system keeps for itself, such as `lost+found` or `.Trash-1000`.
fn is_system_directory(path: &FsPath) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name == LOST_AND_FOUND || name.starts_with('.'))
}

/// Returns whether a link leads into the tree that is walked, or above it. Following it would repeat objects.
fn leads_back(link: &FsPath, root: &FsPath) -> bool {
    fs::canonicalize(link).map_or(true, |target| target.starts_with(root) || root.starts_with(target))
}

/// Removes an empty directory. If it is a link to an empty directory, the link is removed and the directory stays.
fn remove_empty(directory: &FsPath) -> io::Result<()> {
    if !directory.is_symlink() {
        return fs::remove_dir(directory);
    }
    match fs::read_dir(directory)?.next() {
        None => fs::remove_file(directory),
        Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
}

fn is_below_a_file(error: &object_store::Error) -> bool {
    io_kind(error) == Some(io::ErrorKind::NotADirectory)
}

fn no_moment(path: &Path) -> object_store::Error {
    let source = format!("the time of modification of {path} is in no calendar; set it with `touch`").into();
    object_store::Error::Generic { store: "LocalFileSystem", source }
}

fn not_found(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::NotFound { path: path.to_string(), source: source.into() }
}
