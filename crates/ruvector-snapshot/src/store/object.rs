//! The one implementation of [`SnapshotStore`]: any `object_store::ObjectStore`, below a prefix.
//!
//! This is the only place that turns an `object_store::Error` into an error of this crate. It knows no backend by name:
//! what is special about one belongs into the `ObjectStore` that is handed in here.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::upload::ObjectUpload;
use super::{ObjectInfo, SnapshotStore, Upload, check_key, check_prefix};
use crate::error::{ErrorKind, Result, SnapshotError};

/// A [`SnapshotStore`] over any `object_store::ObjectStore`.
#[derive(Clone)]
pub struct ObjectSnapshotStore {
    pub(super) objects: Arc<dyn ObjectStore>,
    prefix: Path,
    location: String,
}

impl ObjectSnapshotStore {
    /// Keeps objects in `objects`, below `prefix` (empty for all of it).
    ///
    /// `location` is what errors, `Display` and `Debug` call the place; it must hold no secret.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str, location: impl Into<String>) -> Result<Self> {
        check_prefix(prefix)?;
        Ok(Self { objects, prefix: to_path(prefix)?, location: location.into() })
    }

    pub(super) fn path_of(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        to_path(&self.text_of(key))
    }

    /// The error for what `objects` said while `doing` something with a key.
    pub(super) fn error(&self, doing: &str, key: &str, cause: object_store::Error) -> SnapshotError {
        let kind = kind_of(&cause);
        let why = match kind {
            ErrorKind::NotFound => "nothing is there",
            ErrorKind::AlreadyExists => "an object stands there already, and was left as it is",
            ErrorKind::Invalid => "the store cannot hold an object under this key",
            ErrorKind::Denied => "no permission, or a read-only disk; look at the access rights",
            ErrorKind::NoSpace => "the disk or the quota is full; make room and try again",
            ErrorKind::Internal => "a task of this program failed",
            _ => "the store did not answer as it should; trying again may help",
        };
        let error = SnapshotError::new(kind, format!("cannot {doing} in {}: {why}", self.location)).because(cause);
        if key.is_empty() { error } else { error.at(key) }
    }

    /// Why a range could not be read in full: the object is too short, or what the store said.
    async fn range_error(&self, key: &str, range: &Range<u64>, cause: object_store::Error) -> SnapshotError {
        let error = self.error("read", key, cause);
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Invalid) {
            return error;
        }
        // Stores have no common error for a range behind the end, so the size tells.
        match self.head(key).await {
            Ok(info) if info.size_bytes < range.end => self.too_short(key, range, info.size_bytes).because(error),
            _ => error,
        }
    }

    fn too_short(&self, key: &str, range: &Range<u64>, size_bytes: u64) -> SnapshotError {
        let message = format!(
            "cannot read bytes {} to {} in {}: the object has only {size_bytes}",
            range.start, range.end, self.location
        );
        SnapshotError::new(ErrorKind::Damaged, message).at(key)
    }

    fn text_of(&self, key: &str) -> String {
        match (self.prefix.as_ref(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    /// What a listed object is to a caller; nothing where its name is no key.
    fn info_of(&self, meta: ObjectMeta) -> Option<ObjectInfo> {
        let text = meta.location.as_ref();
        let key = match self.prefix.as_ref() {
            "" => text,
            prefix => text.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        check_key(key).ok()?;
        Some(ObjectInfo { key: key.to_owned(), size_bytes: meta.size, modified_at: meta.last_modified })
    }
}

#[async_trait]
impl SnapshotStore for ObjectSnapshotStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.path_of(key)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&path, bytes.into(), options).await {
            Ok(_) => Ok(()),
            // A disk and the memory try once, so this is somebody else's object. A client that repeats a request whose
            // answer was lost can meet its own: with the first such backend, the comparison of the bytes goes here.
            Err(cause) => Err(self.error("create the object", key, cause)),
        }
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let path = self.path_of(key)?;
        Ok(Box::new(ObjectUpload::new(self.clone(), key, path, size_hint_bytes)?))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let path = self.path_of(key)?;
        let answer = self.objects.get(&path).await.map_err(|cause| self.error("read", key, cause))?;
        let size_bytes = answer.meta.size;
        if size_bytes > limit_bytes {
            let message = format!("the object has {size_bytes} bytes, where at most {limit_bytes} can be right");
            return Err(SnapshotError::new(ErrorKind::Damaged, message).at(key));
        }
        let bytes = answer.bytes().await.map_err(|cause| self.error("read", key, cause))?;
        self.check_length(key, &bytes, size_bytes)?;
        Ok(bytes)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path_of(key)?;
        if range.start > range.end {
            let message = format!("cannot read from byte {} back to {}", range.start, range.end);
            return Err(SnapshotError::new(ErrorKind::Invalid, message).at(key));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        // Not `get_ranges`: on a disk it takes memory for the range before it looks at the file.
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let answer = match self.objects.get_opts(&path, options).await {
            Ok(answer) => answer,
            Err(cause) => return Err(self.range_error(key, &range, cause).await),
        };
        if answer.range != range {
            return Err(self.too_short(key, &range, answer.meta.size));
        }
        let bytes = answer.bytes().await.map_err(|cause| self.error("read", key, cause))?;
        self.check_length(key, &bytes, range.end - range.start)?;
        Ok(bytes)
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let path = self.path_of(key)?;
        let meta = self.objects.head(&path).await.map_err(|cause| self.error("look at the object", key, cause))?;
        Ok(ObjectInfo { key: key.to_owned(), size_bytes: meta.size, modified_at: meta.last_modified })
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let path = match check_prefix(prefix).and_then(|()| to_path(&self.text_of(prefix))) {
            Ok(path) => path,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let prefix = prefix.to_owned();
        self.objects
            .list(Some(&path))
            .map_err(move |cause| self.error("list", &prefix, cause))
            .try_filter_map(|meta| async { Ok(self.info_of(meta)) })
            .boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path_of(key)?;
        match self.objects.delete(&path).await {
            Ok(()) => Ok(()),
            Err(cause) if kind_of(&cause) == ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(self.error("delete", key, cause)),
        }
    }
}

impl ObjectSnapshotStore {
    fn check_length(&self, key: &str, bytes: &Bytes, wanted_bytes: u64) -> Result<()> {
        if bytes.len() as u64 == wanted_bytes {
            return Ok(());
        }
        let message = format!("{} gave {} bytes of {wanted_bytes}; try again", self.location, bytes.len());
        Err(SnapshotError::new(ErrorKind::Unavailable, message).at(key))
    }
}

impl fmt::Display for ObjectSnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

impl fmt::Debug for ObjectSnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client is left out: what it prints of its credentials is not in our hands.
        f.debug_struct("ObjectSnapshotStore")
            .field("location", &self.location)
            .field("prefix", &self.prefix.as_ref())
            .finish_non_exhaustive()
    }
}

fn to_path(text: &str) -> Result<Path> {
    // `Path::parse` takes the text as it is; `Path::from` would percent-encode it into another key.
    Path::parse(text).map_err(|cause| SnapshotError::new(ErrorKind::Invalid, "not a key of a store").because(cause))
}

fn kind_of(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Cause;
    match error {
        Cause::NotFound { .. } => ErrorKind::NotFound,
        Cause::AlreadyExists { .. } | Cause::Precondition { .. } => ErrorKind::AlreadyExists,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => ErrorKind::Denied,
        Cause::InvalidPath { .. } | Cause::NotSupported { .. } | Cause::NotImplemented { .. } => ErrorKind::Invalid,
        Cause::JoinError { source } if source.is_panic() => ErrorKind::Internal,
        other => io_cause(other).map_or(ErrorKind::Unavailable, ErrorKind::from),
    }
}

/// The kind of the I/O error at the bottom of an error, if there is one.
pub(super) fn io_cause(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = current.source();
    }
    None
}
