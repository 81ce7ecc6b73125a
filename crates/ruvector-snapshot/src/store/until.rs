//! A store for work that can be called off: what has begun is carried through, and nothing more is begun.
//!
//! A request whose future is dropped may still arrive, and so an object may come to be after everything was cleared up.
//! Here the work goes on to its next request and fails there, with everything that it had begun ended.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{IsOurs, ObjectInfo, SnapshotStore, Upload};
use crate::error::{ErrorKind, Result, SnapshotError};

/// The store `inner` until `cancelled`; every call after that is an error.
#[derive(Debug)]
pub(crate) struct Until {
    pub(crate) inner: Arc<dyn SnapshotStore>,
    pub(crate) cancelled: CancellationToken,
}

#[async_trait]
impl SnapshotStore for Until {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        check(&self.cancelled)?;
        self.inner.create(key, bytes).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        check(&self.cancelled)?;
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        Ok(Box::new(UploadUntil { inner: Some(inner), cancelled: self.cancelled.clone() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        check(&self.cancelled)?;
        self.inner.get(key, limit_bytes).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        check(&self.cancelled)?;
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        check(&self.cancelled)?;
        self.inner.head(key).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        match check(&self.cancelled) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_ours<'a>(&'a self, is_ours: IsOurs) -> BoxStream<'a, Result<ObjectInfo>> {
        match check(&self.cancelled) {
            Ok(()) => self.inner.list_ours(is_ours),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check(&self.cancelled)?;
        self.inner.delete(key).await
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

struct UploadUntil {
    /// `None` once it was aborted.
    inner: Option<Box<dyn Upload>>,
    cancelled: CancellationToken,
}

impl UploadUntil {
    /// The upload, which is aborted first where it was called off.
    async fn checked(&mut self) -> Result<&mut Option<Box<dyn Upload>>> {
        if let Err(error) = check(&self.cancelled) {
            if let Some(upload) = self.inner.take() {
                upload.abort().await?;
            }
            return Err(error);
        }
        Ok(&mut self.inner)
    }
}

#[async_trait]
impl Upload for UploadUntil {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self.checked().await? {
            Some(upload) => upload.write(bytes).await,
            None => Err(called_off()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        match self.checked().await?.take() {
            Some(upload) => upload.finish().await,
            None => Err(called_off()),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.inner.take() {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

fn check(cancelled: &CancellationToken) -> Result<()> {
    if cancelled.is_cancelled() { Err(called_off()) } else { Ok(()) }
}

fn called_off() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "this was called off, and nobody waits for it any more")
}
