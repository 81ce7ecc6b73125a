//! A store that can be cancelled: calls that have begun are completed, and later calls fail.
//!
//! Dropping the future of a request does not cancel it: the request may still arrive, and create an object after
//! everything else was cleaned up. With this store, work ends at its next request instead, after the requests that it
//! has begun. What publishes nothing is not completed: reads, and uploads before their finish.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{ListEntry, ObjectInfo, SentCounter, SnapshotStore, Upload};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Passes calls to `inner` until `cancelled`. Every later call returns an error.
#[derive(Debug)]
pub(crate) struct CancellableStore {
    pub(crate) inner: Arc<dyn SnapshotStore>,
    pub(crate) cancelled: CancellationToken,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SnapshotStore for CancellableStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        check(&self.cancelled)?;
        self.inner.create(key, bytes).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        check(&self.cancelled)?;
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        Ok(Box::new(CancellableUpload { inner: Some(inner), cancelled: self.cancelled.clone() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        until(&self.cancelled, self.inner.get(key, limit_bytes)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        until(&self.cancelled, self.inner.get_range(key, range)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        until(&self.cancelled, self.inner.head(key)).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        match check(&self.cancelled) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        match check(&self.cancelled) {
            Ok(()) => self.inner.list_entries(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check(&self.cancelled)?;
        self.inner.delete(key).await
    }
}

impl fmt::Display for CancellableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

struct CancellableUpload {
    /// `None` after it was aborted.
    inner: Option<Box<dyn Upload>>,
    cancelled: CancellationToken,
}

impl CancellableUpload {
    /// Returns the outcome of a call. If the store was cancelled, aborts the upload and returns an error.
    async fn ended(&mut self, outcome: Result<()>) -> Result<()> {
        if let Err(error) = check(&self.cancelled) {
            if let Some(upload) = self.inner.take() {
                upload.abort().await?;
            }
            return Err(error);
        }
        outcome
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Upload for CancellableUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let written = match &mut self.inner {
            Some(upload) => until(&self.cancelled, upload.write(bytes)).await,
            None => Err(cancelled()),
        };
        self.ended(written).await
    }

    async fn send_rest(&mut self) -> Result<()> {
        let sent = match &mut self.inner {
            Some(upload) => until(&self.cancelled, upload.send_rest()).await,
            None => Err(cancelled()),
        };
        self.ended(sent).await
    }

    fn count_sent(&mut self, count: SentCounter) {
        if let Some(upload) = &mut self.inner {
            upload.count_sent(count);
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.send_rest().await?;
        match self.inner.take() {
            Some(upload) => upload.finish().await,
            None => Err(cancelled()),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.inner.take() {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

/// Runs a call that publishes nothing, and drops it when it is cancelled.
async fn until<T>(token: &CancellationToken, call: impl Future<Output = Result<T>>) -> Result<T> {
    token.run_until_cancelled(call).await.unwrap_or_else(|| Err(cancelled()))
}

fn check(token: &CancellationToken) -> Result<()> {
    if token.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

fn cancelled() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "this operation was cancelled")
}
