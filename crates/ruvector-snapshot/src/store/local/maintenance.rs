//! Maintenance of a local directory: finds and removes what killed processes left, which is not visible under any key.
//! Other stores need none: an abandoned multipart upload in a bucket is removed by a lifecycle rule.
//!
//! Knows what a staged file is called. Does not know what a snapshot is; the caller passes a filter.

use std::io;
use std::path::Path as FsPath;

use chrono::{DateTime, Utc};
use object_store::Result as ObjectResult;
use rustix::fs::{FileType, Stat};

use super::directory::{Directory, join, kind_of, modified_at, split_key};
use super::fs::{LocalFs, Reading, read_directory};
use super::io::{RootIsGone, at, run_blocking};
use super::staged::{Publish, Published, StagedFile, key_of_staged_file};
use crate::error::Result;
use crate::store::error::operation_failed;
use crate::store::{KeyFilter, ObjectInfo, segment_problem};

/// Finds and removes what killed uploads left in a local directory: staged files (`name#1`) and empty directories.
///
/// Returned by [`maintenance_of`](crate::store::maintenance_of).
///
/// Only staged files of keys that the caller's filter accepts are considered, and directories that the filter accepts
/// with a trailing slash. Everything else belongs to others. An object is never removed. An upload in progress is not
/// removed either, unless it has written nothing since `before`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::{Location, StoreConfig, maintenance_of, open};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # std::fs::create_dir(directory.path().join("backups"))?;
/// # std::fs::write(directory.path().join("backups/data#1"), "half")?;
/// let store = open(&Location::Local(directory.path().into()), &StoreConfig::default())?;
/// let maintenance = maintenance_of(store.as_ref()).ok_or("not a local directory")?;
/// let is_own = |key: &str| key.starts_with("backups/");
/// let before = chrono::Utc::now() + chrono::TimeDelta::hours(1);
/// let removed = maintenance.collect_garbage(is_own, before).await?;
/// assert_eq!(removed[0].key, "backups/data#1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LocalMaintenance {
    directory: LocalFs,
    location: String,
}

impl LocalMaintenance {
    pub(in crate::store) fn new(directory: LocalFs, location: &str) -> Self {
        Self { directory, location: location.to_owned() }
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &FsPath {
        self.directory.root()
    }

    /// Returns whether both are of one directory, whatever path or link leads there.
    pub(crate) fn is_same_directory(&self, other: &Self) -> bool {
        let identity = |maintenance: &Self| rustix::fs::stat(maintenance.directory.root()).ok();
        let (one, other) = (identity(self), identity(other));
        one.zip(other).is_some_and(|(one, other)| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
    }

    /// Returns whether this directory is below the other, whatever paths or links lead there.
    pub(crate) fn is_inside(&self, other: &Self) -> bool {
        let real = |maintenance: &Self| std::fs::canonicalize(maintenance.directory.root()).ok();
        let (inner, outer) = (real(self), real(other));
        inner.zip(outer).is_some_and(|(inner, outer)| inner != outer && inner.starts_with(outer))
    }

    /// Returns staged files and empty directories that were last modified before `before`, sorted by key.
    ///
    /// The key of a directory ends with a slash.
    ///
    /// # Errors
    ///
    /// Returns an error if a directory cannot be read.
    pub async fn orphans(&self, key_filter: KeyFilter, before: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
        let root = self.directory.root().to_owned();
        let found = run_blocking(move || find_orphans(&root, key_filter, before)).await;
        found.map_err(|cause| operation_failed("find abandoned files", &self.location, "", cause))
    }

    /// Removes what [`orphans`](Self::orphans) finds, and directories that become empty. Returns what was removed.
    ///
    /// # Errors
    ///
    /// Returns the first error, after everything else has been removed.
    pub async fn collect_garbage(&self, key_filter: KeyFilter, before: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
        let root = self.directory.root().to_owned();
        let removed = run_blocking(move || {
            let (mut removed, mut outcome) = (Vec::new(), Ok(()));
            for orphan in find_orphans(&root, key_filter, before)? {
                match remove_orphan(&root, &orphan.key) {
                    Ok(true) => removed.push(orphan),
                    Ok(false) => {}
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            outcome.map(|()| removed)
        });
        removed.await.map_err(|cause| operation_failed("remove abandoned files", &self.location, "", cause))
    }
}

impl LocalMaintenance {
    /// Finds out what the file system can do, by creating an object under a key that is free.
    pub(crate) async fn probe_file_system(&self, key: &str) -> Result<Published> {
        let (root, staged_key) = (self.directory.root().to_owned(), key.to_owned());
        let published = run_blocking(move || StagedFile::create(&root, &staged_key)?.publish(Publish::Keep)).await;
        published.map_err(|cause| operation_failed("create the object", &self.location, key, cause))
    }
}

/// Returns staged files and empty directories last modified before a moment. Links are not followed: what is behind one
/// belongs to somebody else. Directories that the filter rejects are not entered.
fn find_orphans(root: &FsPath, key_filter: KeyFilter, before: DateTime<Utc>) -> ObjectResult<Vec<ObjectInfo>> {
    let (mut pending, mut orphans) = (vec![String::new()], Vec::new());
    while let Some(parent_key) = pending.pop() {
        let reading = match read_directory(root, &parent_key) {
            // What is in it belongs to a snapshot that cannot be read, and a listing reports that.
            Err(error) if !parent_key.is_empty() && !RootIsGone::is_cause_of(&error) => continue,
            reading => reading?,
        };
        let Some(Reading { directory, entries, .. }) = reading else { continue };
        let mut is_empty = true;
        for entry in entries {
            let entry = entry.map_err(|error| at(directory.path(), error.into()))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            is_empty = false;
            let Ok(name) = name.to_str() else { continue };
            let key = join(&parent_key, name);
            let is_staged = key_of_staged_file(&key).is_some_and(key_filter);
            let is_own_directory = segment_problem(name).is_none() && key_filter(&format!("{key}/"));
            if !is_staged && !is_own_directory {
                continue;
            }
            // Without an answer nothing is known of it.
            let found = directory.stat_or_link(name).ok().flatten();
            match found.as_ref().map(kind_of) {
                Some(FileType::Directory) if is_own_directory => pending.push(key),
                Some(FileType::RegularFile) if is_staged => orphans.extend(found.map(|found| info(key, &found))),
                _ => {}
            }
        }
        // An upload that was killed early has created only its directory.
        if is_empty && !parent_key.is_empty() {
            let found = directory.own_stat().map_err(|error| at(directory.path(), error))?;
            orphans.push(ObjectInfo { size_bytes: 0, ..info(format!("{parent_key}/"), &found) });
        }
    }
    orphans.retain(|orphan| orphan.modified_at < before);
    orphans.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(orphans)
}

fn info(key: String, found: &Stat) -> ObjectInfo {
    ObjectInfo { key, size_bytes: found.st_size.try_into().unwrap_or(0), modified_at: modified_at(found) }
}

/// Removes a staged file or an empty directory, and directories above that become empty. Returns false if it is in use.
fn remove_orphan(root: &FsPath, key: &str) -> ObjectResult<bool> {
    let (is_directory, key) = match key.strip_suffix('/') {
        Some(key) => (true, key),
        None => (false, key),
    };
    let (mut parent, name) = split_key(key);
    if let Some(directory) = Directory::below(root, parent)? {
        let removed = if is_directory { directory.remove_directory(name) } else { directory.remove_file(name) };
        match removed {
            // Another process has begun to write into the directory, or something is mounted there.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {
                return Ok(false);
            }
            // Another process removed it first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|error| at(&directory.path_of(name), error))?,
        }
    }
    while !parent.is_empty() {
        let (above, name) = split_key(parent);
        match Directory::below(root, above)? {
            Some(directory) if directory.remove_directory(name).is_ok() => parent = above,
            _ => break,
        }
    }
    Ok(true)
}
