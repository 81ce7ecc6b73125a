//! A store over another one that counts the ranges that are read at the same time, and to which one object can be out of
//! reach.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
}

impl Watched {
    pub fn over(inner: Arc<dyn SnapshotStore>) -> Arc<Self> {
        Arc::new(Self { inner, out_of_reach: None, under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) })
    }

    /// The object under this key gives no answer.
    pub fn without(inner: Arc<dyn SnapshotStore>, key: String) -> Arc<Self> {
        let (under_way, most) = Default::default();
        Arc::new(Self { inner, out_of_reach: Some(key), under_way, most })
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
        self.inner.get(key, limit_bytes).await
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
