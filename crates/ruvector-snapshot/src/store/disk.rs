//! A directory as an `ObjectStore`: `object_store`'s own, and what it leaves open.
//!
//! Reading and writing are `LocalFileSystem`'s. Four things are added, each because a directory of snapshots is not
//! ours alone and outlives this process:
//!
//! - A listing goes on where a name is no key. `LocalFileSystem` ends it at the first name that is not UTF-8 or holds a
//!   control character, and at a `lost+found` it may not read: one foreign file would hide every snapshot.
//! - A delete is durable when it returns: the directory is synced, as it is for writes.
//! - The staged file of an upload goes with the upload, even if the runtime is shutting down.
//! - What the uploads of killed processes have staged can be found and removed.

use std::collections::VecDeque;
use std::fs::{self, File, ReadDir};
use std::io;
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::{IsOurs, ObjectInfo, segment_problem};

/// How many objects a listing holds at once.
const LIST_BATCH_MAX: usize = 1024;

/// The directory in which a file system keeps what its repair found; only root may read it.
const LOST_AND_FOUND: &str = "lost+found";

/// A directory on a local disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    files: LocalFileSystem,
    root: PathBuf,
}

impl Disk {
    /// `root` is the canonical path of an existing directory, in UTF-8.
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        // The automatic clean-up would take directories above the object's own too.
        let files = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true).with_automatic_cleanup(false);
        Ok(Self { files, root })
    }

    /// The staged files of keys that `is_ours` that nobody has written to since `before`, and directories of such keys
    /// that have been empty since then; with `remove` they are removed, and the directories that fall empty, and those
    /// that are gone are told.
    pub(super) async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        let root = self.root.clone();
        unblock(move || {
            let mut swept = staged_before(&root, is_ours, before)?;
            swept.sort_by(|a, b| a.key.cmp(&b.key));
            if !remove {
                return Ok(swept);
            }
            let (mut gone, mut outcome) = (Vec::new(), Ok(()));
            for staged in swept {
                match remove_staged(&root, &root.join(&staged.key)) {
                    Ok(true) => gone.push(staged),
                    Ok(false) => {}
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            outcome.map(|()| gone)
        })
        .await
    }

    /// Every object that `is_ours`, and at times others beside it. No directory of others is looked into.
    pub(super) fn list_ours(&self, is_ours: IsOurs) -> BoxStream<'static, Result<ObjectMeta>> {
        Walk { is_ours, ..Walk::new(&self.root, "") }.objects()
    }
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.root.display().fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let created = (options.mode == PutMode::Create).then(|| payload.clone());
        let answer = self.files.put_opts(path, payload, options).await;
        match (&answer, created) {
            (Ok(_) | Err(object_store::Error::AlreadyExists { .. }), _) | (_, None) => answer,
            // The object may stand there without being durable, and must not pass for one that was created.
            (Err(_), Some(payload)) => {
                let file = self.files.path_to_filesystem(path)?;
                unblock(move || {
                    remove_if_same(&file, &payload);
                    Ok(())
                })
                .await?;
                answer
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let files = self.files.clone();
        let path = path.clone();
        // `LocalFileSystem` makes and syncs directories in here, on the thread it is called on. What it staged is
        // wrapped before it leaves that thread, so that it is removed even where nobody waits for it any more.
        let staged = unblock(move || {
            let staged = futures::executor::block_on(files.put_multipart_opts(&path, options))?;
            Ok(StagedFile(Some(staged)))
        });
        Ok(Box::new(staged.await?))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        // Opening a fifo would wait for somebody to write into it.
        let file = self.files.path_to_filesystem(path)?;
        if unblock(move || Ok(fs::metadata(file).is_ok_and(|found| !found.is_file()))).await? {
            return Err(not_found(path, "what stands there is not a regular file"));
        }
        match self.files.get_opts(path, options).await {
            Err(error) if is_below_a_file(&error) => Err(not_found(path, error)),
            answer => answer,
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let files = self.files.clone();
        paths
            .and_then(move |path| {
                let files = files.clone();
                unblock(move || remove(&files, &path).map(|()| path))
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        Walk::new(&self.root, prefix.map_or("", |prefix| prefix.as_ref())).objects()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// An upload whose staged file is gone when this is: aborted, or dropped. Empty once it has ended.
#[derive(Debug)]
struct StagedFile(Option<Box<dyn MultipartUpload>>);

#[async_trait]
impl MultipartUpload for StagedFile {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        match &mut self.0 {
            Some(staged) => staged.put_part(part),
            None => Box::pin(async { Err(ended()) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match &mut self.0 {
            Some(staged) => staged.complete().await,
            None => Err(ended()),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.discard();
        Ok(())
    }
}

impl StagedFile {
    /// Removes the staged file before it returns.
    ///
    /// Dropped inside a runtime, `LocalFileSystem`'s upload leaves the removal to the blocking pool, and a runtime that
    /// shuts down does not run what waits there. On a thread outside of the runtime it removes the file itself.
    fn discard(&mut self) {
        if let Some(staged) = self.0.take()
            && let Ok(thread) = std::thread::Builder::new().spawn(move || drop(staged))
        {
            let _removed = thread.join();
        }
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        self.discard();
    }
}

/// A walk over the files below a directory, in batches. A key is the path of a file below the root.
struct Walk {
    root: PathBuf,
    /// Directories still to be read, each with the key that it stands for.
    pending: Vec<(PathBuf, String)>,
    reading: Option<(ReadDir, String)>,
    found: VecDeque<ObjectMeta>,
    /// What is looked at.
    is_ours: IsOurs,
}

impl Walk {
    fn new(root: &FsPath, prefix: &str) -> Self {
        let pending = vec![(root.join(prefix), prefix.to_owned())];
        Self { root: root.to_owned(), pending, reading: None, found: VecDeque::new(), is_ours: |_| true }
    }

    fn objects(self) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::try_unfold(self, |mut walk| async move {
            if walk.found.is_empty() {
                walk = unblock(move || walk.fill().map(|()| walk)).await?;
            }
            Ok(walk.found.pop_front().map(|object| (object, walk)))
        })
        .boxed()
    }

    /// Finds more objects; finds none at the end.
    fn fill(&mut self) -> Result<()> {
        while self.found.len() < LIST_BATCH_MAX {
            let Some((directory, key)) = &mut self.reading else {
                match self.pending.pop() {
                    Some((path, key)) => self.reading = self.open(&path)?.map(|directory| (directory, key)),
                    None => break,
                }
                continue;
            };
            match directory.next() {
                Some(Ok(entry)) => {
                    let key = key.clone();
                    self.visit(&entry.path(), key)?;
                }
                Some(Err(error)) => return Err(at(FsPath::new(key), error)),
                None => self.reading = None,
            }
        }
        Ok(())
    }

    fn open(&self, path: &FsPath) -> Result<Option<ReadDir>> {
        let error = match fs::read_dir(path) {
            Ok(directory) => return Ok(Some(directory)),
            Err(error) => error,
        };
        match error.kind() {
            // A disk that is no longer mounted must not look like a store without snapshots.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if self.root.is_dir() => Ok(None),
            io::ErrorKind::PermissionDenied if is_the_systems(path) => Ok(None),
            _ => Err(at(path, error)),
        }
    }

    fn visit(&mut self, path: &FsPath, parent_key: String) -> Result<()> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        if segment_problem(name).is_some() {
            return Ok(());
        }
        let is_top = parent_key.is_empty();
        let key = if is_top { name.to_owned() } else { format!("{parent_key}/{name}") };
        if !(self.is_ours)(&key) && !(self.is_ours)(&format!("{key}/")) {
            return Ok(());
        }
        let own = match fs::symlink_metadata(path) {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(path, error)),
        };
        let metadata = if own.is_symlink() {
            match fs::metadata(path) {
                // Links to directories are followed at the top only: below, they could lead around for ever.
                Ok(target) if !target.is_dir() || (is_top && !leads_back(path, &self.root)) => target,
                // A link to nowhere, or to what is walked anyway.
                _ => return Ok(()),
            }
        } else {
            own
        };
        if metadata.is_dir() {
            self.pending.push((path.to_owned(), key));
        } else if metadata.is_file() {
            let last_modified = metadata.modified().map_err(|error| at(path, error))?.into();
            let location = Path::parse(key)?;
            self.found.push_back(ObjectMeta {
                location,
                last_modified,
                size: metadata.len(),
                e_tag: None,
                version: None,
            });
        }
        Ok(())
    }
}

/// The staged files of keys that `is_ours` and the empty directories of such keys that were last written before a
/// moment. Links are not followed: what lies behind one was staged by somebody else. Nor is any other directory looked
/// into.
fn staged_before(root: &FsPath, is_ours: IsOurs, before: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
    let walk = Walk::new(root, "");
    let mut pending = vec![(root.to_owned(), String::new())];
    let mut staged = Vec::new();
    while let Some((directory, key)) = pending.pop() {
        let Some(mut entries) = walk.open(&directory)?.map(Iterator::peekable) else { continue };
        // An upload that was killed early has made no more than this.
        if entries.peek().is_none() && directory != root {
            let found = fs::symlink_metadata(&directory).map_err(|error| at(&directory, error))?;
            staged.extend(object_before(before, format!("{key}/"), 0, &found));
            continue;
        }
        for entry in entries {
            let entry = entry.map_err(|error| at(&directory, error))?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str() else { continue };
            let key = if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
            let is_staged = staged_for(&key).is_some_and(is_ours);
            let is_branch = segment_problem(name).is_none() && is_ours(&format!("{key}/"));
            if !is_staged && !is_branch {
                continue;
            }
            let own = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                own => own.map_err(|error| at(&path, error))?,
            };
            if own.is_dir() && is_branch {
                pending.push((path, key));
            } else if own.is_file() && is_staged {
                staged.extend(object_before(before, key, own.len(), &own));
            }
        }
    }
    Ok(staged)
}

fn object_before(before: DateTime<Utc>, key: String, size_bytes: u64, found: &fs::Metadata) -> Option<ObjectInfo> {
    // A file system that tells no time of last writing leaves nothing that is known to be old.
    let modified_at: DateTime<Utc> = found.modified().ok()?.into();
    (modified_at < before).then_some(ObjectInfo { key, size_bytes, modified_at })
}

/// The key that a file was on its way to, where `LocalFileSystem` gives such a name to a file that it is writing: that
/// of the object, `#` and a number.
fn staged_for(name: &str) -> Option<&str> {
    let (object, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let is_object = object.rsplit('/').next().is_some_and(|name| segment_problem(name).is_none());
    Some(object).filter(|_| is_number && is_object)
}

/// Removes a staged file, and its directory where that is empty then; or an empty directory. False where it is in use.
fn remove_staged(root: &FsPath, file: &FsPath) -> Result<bool> {
    let removed = if file.is_dir() { fs::remove_dir(file) } else { fs::remove_file(file) };
    match removed {
        // Somebody has begun to write into the directory, or has mounted something there.
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {
            return Ok(false);
        }
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(|error| at(file, error))?,
    }
    let above = file.ancestors().skip(1).take_while(|directory| *directory != root);
    let _others_hold_more = above.map(fs::remove_dir).take_while(io::Result::is_ok).count();
    Ok(true)
}

/// Whether a directory is one that the system keeps for itself, as `lost+found` and `.Trash-1000`.
fn is_the_systems(path: &FsPath) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name == LOST_AND_FOUND || name.starts_with('.'))
}

/// Whether a link leads into the tree that is walked, or above it: its target is walked anyway, or without end.
fn leads_back(link: &FsPath, root: &FsPath) -> bool {
    fs::canonicalize(link).map_or(true, |target| target.starts_with(root) || root.starts_with(target))
}

/// Removes what a create that failed has left, and nothing that somebody else has put there.
fn remove_if_same(file: &FsPath, payload: &PutPayload) {
    if fs::read(file).is_ok_and(|found| found == Bytes::from(payload.clone())) {
        let _gone_or_read_back = fs::remove_file(file);
    }
}

fn remove(files: &LocalFileSystem, path: &Path) -> Result<()> {
    let file = files.path_to_filesystem(path)?;
    match fs::remove_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // An upload that was given up has made its directory, and left it empty.
            if path.as_ref().contains('/') {
                let _stays_where_it_holds_more = file.parent().map(fs::remove_dir);
            }
            return Err(not_found(path, error));
        }
        // There is no file, and so no object, of this name.
        Err(error) if file.is_dir() || error.kind() == io::ErrorKind::NotADirectory => {
            return Err(not_found(path, error));
        }
        Err(error) => return Err(at(&file, error)),
    }
    let Some(directory) = file.parent() else { return Ok(()) };
    // A directory that has fallen empty goes with its last object. The root stays, and so does one that is not empty.
    let fallen_empty = path.as_ref().contains('/') && remove_empty(directory).is_ok();
    let changed = if fallen_empty { directory.parent().unwrap_or(directory) } else { directory };
    match sync_directory(changed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&file, error)),
        _ => Ok(()),
    }
}

/// Removes a directory that is empty. Where somebody has put a link in its place the link goes, and what it leads to
/// stays.
fn remove_empty(directory: &FsPath) -> io::Result<()> {
    if !directory.is_symlink() {
        return fs::remove_dir(directory);
    }
    match fs::read_dir(directory)?.next() {
        None => fs::remove_file(directory),
        Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
}

/// Makes the entries of a directory durable, where the system has a way to do that.
pub(super) fn sync_directory(path: &FsPath) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

async fn unblock<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn is_below_a_file(error: &object_store::Error) -> bool {
    super::object::io_cause(error) == Some(io::ErrorKind::NotADirectory)
}

fn not_found(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::NotFound { path: path.to_string(), source: source.into() }
}

fn at(path: &FsPath, source: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "Disk", source: Box::new(AtPath { path: path.to_owned(), source }) }
}

fn ended() -> object_store::Error {
    object_store::Error::Generic { store: "Disk", source: "the upload has ended".into() }
}

/// An I/O error and where it came up.
#[derive(Debug, thiserror::Error)]
#[error("at {}", path.display())]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}
