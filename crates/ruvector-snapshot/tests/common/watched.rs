//! A store over another one that counts what is read from it and the ranges that are read at the same time, and to
//! which one object can be out of reach.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use ruvector_snapshot::store::{IsOurs, ObjectInfo, SnapshotStore, Upload};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};

/// The store; see the file.
pub struct Watched {
    inner: Arc<dyn SnapshotStore>,
    out_of_reach: Option<String>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    read: Mutex<BTreeMap<String, u64>>,
}

impl Watched {
    pub fn over(inner: Arc<dyn SnapshotStore>) -> Arc<Self> {
        Self::new(inner, None)
    }

    /// The object under this key gives no answer.
    pub fn without(inner: Arc<dyn SnapshotStore>, key: String) -> Arc<Self> {
        Self::new(inner, Some(key))
    }

    fn new(inner: Arc<dyn SnapshotStore>, out_of_reach: Option<String>) -> Arc<Self> {
        let (under_way, most, read) = Default::default();
        Arc::new(Self { inner, out_of_reach, under_way, most, read })
    }

    /// The bytes that were read of each object, since the last time this was asked.
    pub fn bytes_read(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.read.lock().unwrap())
    }

    fn count(&self, key: &str, answer: &Result<Bytes>) {
        let bytes = answer.as_ref().map_or(0, Bytes::len) as u64;
        *self.read.lock().unwrap().entry(key.to_owned()).or_default() += bytes;
    }

    /// How many ranges were read at the same time at most, since the last time this was asked.
    pub fn most_at_once(&self) -> usize {
        self.most.swap(0, Ordering::SeqCst)
    }

    fn reach(&self, key: &str) -> Result<()> {
        match &self.out_of_reach {
            Some(away) if away == key => Err(SnapshotError::new(ErrorKind::Unavailable, "out of reach").at(key)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SnapshotStore for Watched {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.create(key, bytes).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        self.inner.upload(key, size_hint_bytes).await
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        self.reach(key)?;
        let answer = self.inner.get(key, limit_bytes).await;
        self.count(key, &answer);
        answer
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.reach(key)?;
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        // Whoever may read meanwhile gets time to begin.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let answer = self.inner.get_range(key, range).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.count(key, &answer);
        answer
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.reach(key)?;
        self.inner.head(key).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        self.inner.sweep(is_ours, before, remove).await
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({:?})", self.inner)
    }
}
