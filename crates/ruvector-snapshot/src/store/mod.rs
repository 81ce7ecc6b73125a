//! Stores: a store keeps objects, which are byte strings, under keys.
//!
//! [`SnapshotStore`] is the one trait that a place for snapshots implements. Two implementations of it are public:
//! [`open()`] returns a store for a [`Location`] that a user wrote, and [`ObjectSnapshotStore`] wraps any
//! `object_store::ObjectStore` that an application has set up itself. For a store of your own, implement the trait and
//! run the conformance suite against it (`testing::conformance`, Cargo feature `testing`).
//!
//! Nothing here knows what a snapshot is. Keys are text that the caller builds and parses.
//!
//! # Retries
//!
//! Each failure is retried by exactly one layer:
//!
//! | layer | retries | gives up |
//! |---|---|---|
//! | `http::connector` | a request whose credentials were refused, once they are renewed, with a new signature; nothing else. It ends a request that makes no progress for `stall_timeout`, waits as long as `Retry-After` asks (at most 30 s), and reports a conflict between two creates as 503 | |
//! | client of `object_store` | a request: status 5xx, 408 or 429, and a connection that cannot be made; also a connection that breaks, if the request is idempotent. A broken response to a read is resumed at the byte where it broke, if the ETag is unchanged | `retry_timeout` after the request began |
//! | [`ObjectSnapshotStore`] | what the client does not repeat: a create whose response was lost (first it checks whether the object exists) or whose precondition the server refused (without it, after a check that the key is free), a delete, the start of a multipart upload, a page of a listing that broke off | after `retry_timeout` without progress |
//! | part of a multipart upload | a part that the client gave up, signed anew, if other transfers of the same store succeed | after `retry_timeout` in which no transfer succeeded |
//! | list of multipart uploads | nothing. It is only for reports | |
//! | callers of the store | nothing | |
//!
//! An error that no retry can fix, such as a missing bucket or wrong credentials, is returned at once. A local disk and
//! a store in memory are not retried.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};

use crate::error::{ErrorKind, Result, SnapshotError};

mod access;
mod bucket_place;
mod budget;
pub(crate) mod cancellable;
mod create;
mod error;
mod http;
mod known_options;
mod local;
mod location;
pub(crate) mod metered;
pub(crate) mod notices;
mod object;
mod open;
mod options;
pub(crate) mod probe;
#[cfg(feature = "http")]
mod providers;
mod rate_limit;
mod sign_in;
mod storage_class;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod upload;
mod value;

pub use access::{StoreAccess, check_access};
pub(crate) use bucket_place::BucketPlace;
pub use budget::TransferConfig;
pub(crate) use create::CreateMode;
pub use known_options::{KnownOption, known_options};
pub use local::maintenance::LocalMaintenance;
pub use location::{Location, Provider};
pub use object::ObjectSnapshotStore;
pub use open::{StoreConfig, maintenance_of, open};
pub(crate) use open::{
    adopt, bucket_place_of, create_mode_of, multipart_uploads_of, notices_of, with_storage_class_for,
};
pub use options::{EffectiveOption, StoreOptions};
pub use probe::{CheckStatus, Finding, Speed, StoreCheckPlan, StoreReport};

/// Length limit of a key, in bytes. A key and a prefix of this length fit in the 1,024 bytes that S3 and GCS allow.
pub const KEY_BYTES_MAX: usize = 512;

/// Length limit of one segment of a key, in bytes. File systems allow 255, and a staged file has a longer name.
pub const SEGMENT_BYTES_MAX: usize = 200;

/// Decides which keys belong to the caller: returns true for a key of the caller's, and for the path of a directory
/// with a trailing slash that may contain such keys.
pub type KeyFilter = fn(&str) -> bool;

/// Keeps objects under keys.
///
/// # Keys
///
/// A key is relative to the store and consists of segments joined by `/`; see [`check_key`]. Every method returns
/// [`ErrorKind::InvalidInput`] for an invalid key, before it does anything. Keys are compared byte by byte. Callers
/// never use a key that is a directory of another key (`a` and `a/b`), because a file system cannot hold both.
///
/// # Errors
///
/// An [`ErrorKind`] has the same meaning in every store. An error names the key it is about. Neither errors nor
/// `Display` nor `Debug` reveal a secret; `Display` shows where the store is.
///
/// # Cancellation
///
/// Every future and every stream can be dropped at any time. The operation has then either happened completely or not
/// at all.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::{Location, StoreConfig, open};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ruvector_snapshot::Result<()> {
/// let store = open(&Location::Memory, &StoreConfig::default())?;
/// store.create("greetings/english", "hello".into()).await?;
/// assert_eq!(store.get("greetings/english", 100).await?, "hello");
/// store.delete("greetings/english").await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait SnapshotStore: Any + fmt::Debug + fmt::Display + Send + Sync {
    /// Creates an object under a key that is free.
    ///
    /// The object appears whole and is durable when this returns. If several callers create the same key at the same
    /// time, one of them succeeds; in stores that cannot make sure of that, the last one may replace the others.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::AlreadyExists`] if the key is taken; the existing object is unchanged. After any other
    /// error the object may exist: the request may have succeeded and its response been lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// use ruvector_snapshot::ErrorKind;
    ///
    /// store.create("key", "first".into()).await?;
    /// let error = store.create("key", "second".into()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    /// # Ok(())
    /// # }
    /// ```
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Starts an upload, which receives an object in pieces. The object cannot be read before [`Upload::finish`].
    ///
    /// `size_hint_bytes` is an upper bound of the size and determines the part size. Without a hint, an upload is
    /// limited to 10,000 parts of 8 MiB (78 GiB). Unlike [`create`](Self::create), an upload may replace an existing
    /// object. In a bucket that was opened with the option `storage_class`, the object has that class; objects that are
    /// created never have it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// let mut upload = store.upload("key", None).await?;
    /// upload.write("first, ".into()).await?;
    /// upload.write("second".into()).await?;
    /// assert_eq!(upload.finish().await?, 13);
    /// # Ok(())
    /// # }
    /// ```
    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>>;

    /// Reads a whole object of at most `limit_bytes`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is no object, and [`ErrorKind::Corrupt`] if it is larger than the
    /// limit. A larger object is not read into memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// store.create("key", "0123456789".into()).await?;
    /// assert_eq!(store.get("key", 10).await?, "0123456789");
    /// assert!(store.get("key", 9).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes>;

    /// Reads exactly the bytes in `range`.
    ///
    /// Memory is allocated for bytes that exist, not for the length of the range. An empty range returns no bytes and
    /// may do so without checking whether the object exists.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is no object, [`ErrorKind::Corrupt`] if it ends before the range does,
    /// and [`ErrorKind::InvalidInput`] if the range ends before it starts.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// store.create("key", "0123456789".into()).await?;
    /// assert_eq!(store.get_range("key", 3..6).await?, "345");
    /// assert!(store.get_range("key", 3..11).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// Returns the size and the modification time of an object.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is no object.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// store.create("key", "0123456789".into()).await?;
    /// assert_eq!(store.head("key").await?.size_bytes, 10);
    /// # Ok(())
    /// # }
    /// ```
    async fn head(&self, key: &str) -> Result<ObjectInfo>;

    /// Lists the objects below a prefix, in no particular order. The empty prefix lists the whole store.
    ///
    /// A prefix consists of whole segments: `a` includes `a/b` and `a/b/c`, but neither `ab/c` nor the object `a`. A
    /// prefix without objects gives an empty stream. A listing is not atomic: an object that is created or deleted
    /// during a listing may or may not be in it. Objects whose names are not keys (see [`check_key`]) are left out.
    ///
    /// A store may hold objects of others. A store that was opened with a [`StoreConfig::key_filter`] leaves out keys
    /// that the filter rejects. In a local directory it also does not enter directories that the filter rejects, since
    /// it may not be allowed to read them; without a filter, an unreadable directory is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// use futures::TryStreamExt as _;
    ///
    /// store.create("a/b", "x".into()).await?;
    /// store.create("ab/c", "x".into()).await?;
    /// let objects: Vec<_> = store.list("a").try_collect().await?;
    /// assert_eq!(objects[0].key, "a/b");
    /// assert_eq!(objects.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>>;

    /// Lists as [`list`](Self::list) does, and also reports what it leaves out: what does not belong to the caller, and
    /// what cannot be read. An error ends the listing; an unreadable part of the store does not.
    ///
    /// The default reports objects only.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// use futures::TryStreamExt as _;
    /// use ruvector_snapshot::store::ListEntry;
    ///
    /// let config = StoreConfig::default().key_filter(|key| key.starts_with("own"));
    /// let store = open(&Location::Memory, &config)?;
    /// store.create("own", "x".into()).await?;
    /// store.create("other", "x".into()).await?;
    /// let entries: Vec<_> = store.list_entries("").try_collect().await?;
    /// assert!(entries.iter().any(|entry| matches!(entry, ListEntry::Foreign)));
    /// # Ok(())
    /// # }
    /// ```
    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        self.list(prefix).map_ok(ListEntry::Object).boxed()
    }

    /// Deletes an object, durably when this returns. Succeeds if there is no object, so that a delete can be repeated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// # let store = open(&Location::Memory, &StoreConfig::default())?;
    /// store.create("key", "x".into()).await?;
    /// store.delete("key").await?;
    /// store.delete("key").await?;
    /// # Ok(())
    /// # }
    /// ```
    async fn delete(&self, key: &str) -> Result<()>;
}

/// What became of bytes of an upload. See [`Upload::count_sent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// The upload limit has allowed so many bytes more. The store has not received them.
    Allowed(u64),
    /// So many bytes that the limit had allowed are not sent, because the upload failed or was aborted.
    Withdrawn(u64),
    /// The store has received so many bytes. If the limit had allowed them before, they no longer count as allowed. A request
    /// that was repeated counts once.
    Received(u64),
}

/// Receives what became of bytes of an upload. See [`Upload::count_sent`].
pub type SentCounter = Arc<dyn Fn(Sent) + Send + Sync>;

/// An upload in progress, returned by [`SnapshotStore::upload`].
///
/// End it with [`finish`](Self::finish) or [`abort`](Self::abort). Dropping it aborts it without reporting errors.
/// Staged data is then removed: on a local disk at once, or when a call that was cut off returns; in a bucket as soon
/// as the network allows.
///
/// After an error the upload is aborted, and every further call returns an error.
#[async_trait]
#[must_use = "an upload that is dropped is aborted"]
pub trait Upload: Send {
    /// Appends bytes. Returns when they have been accepted, and waits while too many bytes are in flight.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Sends what was written, as far as the object can stay unpublished, and waits for the rate limit. Call it after the
    /// last write: [`finish`](Self::finish) then needs only one request, and does not wait for the rate limit.
    ///
    /// A finish must run to its end, because one that was dropped may still publish the object. Dropping this future is
    /// safe: the upload can then only be aborted. The default does nothing.
    async fn send_rest(&mut self) -> Result<()> {
        Ok(())
    }

    /// Calls `count` with the number of bytes of each part that the store has received, from now on, and before that with what
    /// an upload limit has allowed of it. It is for progress only. The default ignores it: what a store of a user accepts
    /// counts as received.
    fn count_sent(&mut self, count: SentCounter) {
        drop(count);
    }

    /// Publishes the object, which is then complete and durable, and returns its size.
    ///
    /// # Errors
    ///
    /// After an error the object may exist, as for [`SnapshotStore::create`].
    async fn finish(self: Box<Self>) -> Result<u64>;

    /// Aborts the upload and removes staged data. An object that existed under the key is unchanged.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// Describes an object in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key, relative to the store.
    pub key: String,
    /// Size, in bytes.
    pub size_bytes: u64,
    /// Time of the last modification, by the clock of the store.
    pub modified_at: DateTime<Utc>,
}

/// What a listing finds. See [`SnapshotStore::list_entries`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ListEntry {
    /// An object of the caller.
    Object(ObjectInfo),
    /// An object, a file or a directory that does not belong to the caller: the name is not a key, or the key filter
    /// rejects it. What is in such a directory is not reported.
    Foreign,
    /// A directory that cannot be read, or a link in its place, or a file of which nothing is known.
    Unreadable {
        /// The key of the directory, without a slash at the end, or of the file.
        key: String,
        /// Why it cannot be read.
        error: SnapshotError,
    },
}

/// Checks that a text is a key.
///
/// A key has 1 to [`KEY_BYTES_MAX`] bytes, in segments of 1 to [`SEGMENT_BYTES_MAX`] bytes joined by `/`. A segment is
/// neither `.` nor `..`, and contains no control character, no `\` (a separator on Windows) and no `#` (a staged file
/// on a local disk is called `name#1`).
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`] if the text is not a key.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::check_key;
///
/// assert!(check_key("backups/2026/data.bin").is_ok());
/// assert!(check_key("backups//data.bin").is_err());
/// ```
pub fn check_key(key: &str) -> Result<()> {
    let problem = if key.is_empty() {
        Some("it is empty")
    } else if key.len() > KEY_BYTES_MAX {
        Some("it is longer than 512 bytes")
    } else {
        key.split('/').find_map(segment_problem)
    };
    match problem {
        None => Ok(()),
        Some(problem) => Err(invalid_key(key, problem)),
    }
}

/// Checks that a text is empty or a key.
fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

/// Returns why a text is not a segment of a key.
fn segment_problem(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        Some("a segment is empty")
    } else if segment == "." || segment == ".." {
        Some("a segment is . or ..")
    } else if segment.len() > SEGMENT_BYTES_MAX {
        Some("a segment is longer than 200 bytes")
    } else if segment.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if segment.contains(['\\', '#']) {
        Some("it contains \\ or #")
    } else {
        None
    }
}

fn invalid_key(key: &str, problem: &str) -> SnapshotError {
    let shown: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    SnapshotError::new(ErrorKind::InvalidInput, format!("invalid key: {problem}")).with_key(format!("\"{shown}\""))
}
