//! A store that counts the bytes which one piece of work reads from it and writes to it.
//!
//! A request that was repeated counts once: these are the bytes of the objects, not those of the network.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::{ListEntry, ObjectInfo, SentCounter, SnapshotStore, Upload};
use crate::error::Result;

/// The bytes so far. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<[AtomicU64; 2]>);

impl Meter {
    /// Returns the bytes of objects that were read.
    pub(crate) fn read_bytes(&self) -> u64 {
        let [read, _] = &*self.0;
        read.load(Ordering::Relaxed)
    }

    /// Returns the bytes of objects that were written.
    pub(crate) fn written_bytes(&self) -> u64 {
        let [_, written] = &*self.0;
        written.load(Ordering::Relaxed)
    }

    fn read(&self, bytes: Bytes) -> Bytes {
        let [read, _] = &*self.0;
        read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }

    fn wrote(&self, bytes: u64) {
        let [_, written] = &*self.0;
        written.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Passes every call to `inner`, and counts its bytes if it succeeds.
#[derive(Debug)]
pub(crate) struct MeteredStore {
    pub(crate) inner: Arc<dyn SnapshotStore>,
    pub(crate) meter: Meter,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SnapshotStore for MeteredStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        self.inner.create(key, bytes).await?;
        self.meter.wrote(length);
        Ok(())
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        Ok(Box::new(MeteredUpload { inner, meter: self.meter.clone() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        Ok(self.meter.read(self.inner.get(key, limit_bytes).await?))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        Ok(self.meter.read(self.inner.get_range(key, range).await?))
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        self.inner.list(prefix)
    }

    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        self.inner.list_entries(prefix)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }
}

impl fmt::Display for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

struct MeteredUpload {
    inner: Box<dyn Upload>,
    meter: Meter,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Upload for MeteredUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn send_rest(&mut self) -> Result<()> {
        self.inner.send_rest().await
    }

    fn count_sent(&mut self, count: SentCounter) {
        self.inner.count_sent(count);
    }

    /// Counts the whole object: what was aborted is not in the store.
    async fn finish(self: Box<Self>) -> Result<u64> {
        let written = self.inner.finish().await?;
        self.meter.wrote(written);
        Ok(written)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
