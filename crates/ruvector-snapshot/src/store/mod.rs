//! Bytes by key: the one trait a place for snapshots has to implement, and its contract.
//!
//! Nothing here knows what a snapshot is, or builds a key out of one: keys come in as text and go out as text. The
//! contract stands at each method and is executable: `conformance` (feature `testing`) runs it against any store, so
//! that yours can be proved to keep it.
//!
//! Two ways lead to a store: [`open`] takes a [`Location`] that a user wrote, and [`ObjectSnapshotStore`] takes any
//! `object_store::ObjectStore` that an application has already set up.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};

use crate::error::{ErrorKind, Result, SnapshotError};

mod answer;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "http")]
mod bucket;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod disk;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
#[cfg(feature = "gcp")]
mod gcs;
mod local;
mod location;
mod object;
mod options;
pub(crate) mod probe;
#[cfg(feature = "aws")]
mod profile;
#[cfg(feature = "aws")]
mod s3;
mod transfer;
pub(crate) mod until;
mod upload;
#[cfg(feature = "http")]
mod wire;

pub use location::{Location, Provider, StoreConfig, open};
pub use object::ObjectSnapshotStore;
pub use options::{StoreOptions, known_options};
pub use probe::{Finding, Speed, StoreReport, Verdict};
pub use transfer::TransferConfig;

/// The longest key, in bytes. With a prefix of the same length it still fits in the 1,024 bytes that S3 and GCS allow.
pub const KEY_BYTES_MAX: usize = 512;

/// The longest segment of a key, in bytes. A file system allows 255, and a file being written has a longer name.
pub const SEGMENT_BYTES_MAX: usize = 200;

/// Says of a key, and of what keys begin with up to and with a slash, whether the caller makes such keys. The rest of a
/// store belongs to somebody else.
pub type IsOurs = fn(&str) -> bool;

/// A place that keeps bytes by key.
///
/// # Keys
///
/// A key is relative to the store, one or more segments joined by `/`. [`check_key`] says which keys there are; every
/// method refuses another one with [`ErrorKind::Invalid`] before it does anything. Keys are compared byte by byte. No
/// caller makes a key that is the directory of another (`a` beside `a/b`): a disk cannot hold both.
///
/// # Errors
///
/// The kind of an error means the same in every store; see [`ErrorKind`]. A store returns errors, with the key, and
/// never puts a secret into one. Its `Display` and `Debug` show where it is, without a secret.
///
/// # Cancelling
///
/// Every future and stream may be dropped at any moment. What a dropped call was doing is then either done or not done,
/// never half done.
#[async_trait]
pub trait SnapshotStore: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Stores a whole object under a key that is free. This is the commit: all or nothing, and durable when it returns.
    ///
    /// Where the key exists the error is [`ErrorKind::AlreadyExists`], and what stands there stays as it is. Of many
    /// that create one key at the same time, one wins. After any other error the object may be there or not: the call
    /// may have worked and its answer been lost.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Starts an object that comes in pieces. Nothing can be read under the key before [`Upload::finish`].
    ///
    /// `size_hint_bytes` is an upper bound on the size, and chooses the size of the parts. Without one an upload is
    /// limited to 10,000 parts of 8 MiB, 78 GiB. An upload does not promise to look whether the key is free, and may
    /// replace what stands there: only [`create`](Self::create) checks.
    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>>;

    /// Reads a whole object of at most `limit_bytes`.
    ///
    /// A larger one is [`ErrorKind::Damaged`], before any of it is read into memory; a missing one is
    /// [`ErrorKind::NotFound`].
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes>;

    /// Reads exactly the bytes of `range`.
    ///
    /// An object that ends before the range does is [`ErrorKind::Damaged`], a missing one [`ErrorKind::NotFound`], a
    /// range that ends before it starts [`ErrorKind::Invalid`]. An empty range gives no bytes, and may do so without
    /// looking whether the object is there. Memory is taken for what the object holds, not for what the range says.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// Size and time of an object; [`ErrorKind::NotFound`] where there is none.
    async fn head(&self, key: &str) -> Result<ObjectInfo>;

    /// Every object below a prefix, in no particular order; the empty prefix means the whole store.
    ///
    /// A prefix is made of whole segments: `a` stands for `a/b` and `a/b/c`, not for `ab/c`, and not for an object `a`.
    /// A prefix without objects gives an empty stream. What is created or deleted while a listing runs may or
    /// may not be seen by it. Objects whose names are no keys (see [`check_key`]) belong to somebody else and are left
    /// out.
    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>>;

    /// Every object of the whole store that `is_ours`, in no particular order. A store that can leave out what belongs
    /// to somebody else without looking into it does so: it may not be able to.
    fn list_ours<'a>(&'a self, is_ours: IsOurs) -> BoxStream<'a, Result<ObjectInfo>> {
        self.list("").try_filter(move |object| std::future::ready(is_ours(&object.key))).boxed()
    }

    /// Removes an object, durably when it returns. A key without an object is Ok, so that a delete can be repeated.
    async fn delete(&self, key: &str) -> Result<()>;

    /// What uploads of processes that were killed have left in the store itself, where that is not visible under a key
    /// and nobody has written to it since `before`; with `remove` it is removed. The keys are what the store calls it;
    /// that of an empty directory ends with a slash.
    ///
    /// Only what was on its way to a key that `is_ours` is looked at, and a directory whose name with the slash is:
    /// what lies beside belongs to somebody else, whatever it looks like. An object is never touched, and an upload
    /// that is under way is not either, unless it has stood still since `before`. What cannot be removed is an error
    /// once all the rest is. A store where nothing is left, or that clears up by itself, needs no method of its own.
    async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        let _nothing_is_left = (is_ours, before, remove);
        Ok(Vec::new())
    }
}

/// An object on its way into a store, made by [`SnapshotStore::upload`].
///
/// End it with [`finish`](Self::finish) or [`abort`](Self::abort). Dropping it is an abort that cannot report: nothing
/// can be read under the key, and what was staged is removed, on a disk at once (a call that was cut off lets go of it
/// first), elsewhere as soon as the network allows. After an error nothing more is sent, what was sent is given
/// up, and every further call fails.
#[async_trait]
pub trait Upload: Send {
    /// Adds bytes at the end. Returns when they are taken over, and waits while too much is on its way.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object visible, whole and durable, and returns its size. After an error, see
    /// [`SnapshotStore::create`]: it may be there or not.
    async fn finish(self: Box<Self>) -> Result<u64>;

    /// Gives the object up and removes what was staged. What stood under the key before stays.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// What a store says about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key, relative to the store.
    pub key: String,
    /// The size, in bytes.
    pub size_bytes: u64,
    /// When the object was written, by the clock of the store.
    pub modified_at: DateTime<Utc>,
}

/// Refuses a text that is not a key, with [`ErrorKind::Invalid`].
///
/// A key has at most [`KEY_BYTES_MAX`] bytes, in segments of 1 to [`SEGMENT_BYTES_MAX`] bytes joined by `/`. No segment
/// is `.` or `..`, and none holds a control character, a `\` (a separator on Windows) or a `#` (a file being written on
/// a local disk is called `name#1`).
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

/// Refuses a text that is neither empty nor a key.
fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

/// What keeps a text from being a segment of a key.
fn segment_problem(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        Some("a segment of it is empty")
    } else if segment == "." || segment == ".." {
        Some("a segment of it is . or ..")
    } else if segment.len() > SEGMENT_BYTES_MAX {
        Some("a segment of it is longer than 200 bytes")
    } else if segment.chars().any(char::is_control) {
        Some("it holds a control character")
    } else if segment.contains(['\\', '#']) {
        Some("it holds a \\ or a #")
    } else {
        None
    }
}

fn invalid_key(key: &str, problem: &str) -> SnapshotError {
    let shown: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    SnapshotError::new(ErrorKind::Invalid, format!("not a key of a store: {problem}")).at(format!("\"{shown}\""))
}
