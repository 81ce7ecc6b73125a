//! The time that all actors and the store share, and a store that dates its objects by it. Days pass at a word.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::Result;
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::store::{IsOurs, ObjectInfo, SnapshotStore, Upload};

/// How many days pass at once: more than the time of grace.
const DAYS: i64 = 2;

/// A clock that goes on by a millisecond whenever it is asked, and by days when it is told.
#[derive(Debug)]
pub(crate) struct Time {
    start: DateTime<Utc>,
    ticks: AtomicU64,
    days_of_clocks: AtomicI64,
    days_of_stores: AtomicI64,
}

impl Time {
    pub(crate) fn at(start: DateTime<Utc>) -> Arc<Self> {
        let (ticks, days_of_clocks, days_of_stores) = Default::default();
        Arc::new(Self { start, ticks, days_of_clocks, days_of_stores })
    }

    /// Days pass for everybody.
    pub(crate) fn pass(&self) {
        self.pass_for_clocks();
        self.pass_for_stores();
    }

    /// What asks for the time finds that days have passed; what is stored from now on was sent before.
    pub(crate) fn pass_for_clocks(&self) {
        self.days_of_clocks.fetch_add(DAYS, Ordering::SeqCst);
    }

    /// The store follows.
    pub(crate) fn pass_for_stores(&self) {
        self.days_of_stores.store(self.days_of_clocks.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn after(&self, days: &AtomicI64) -> DateTime<Utc> {
        let ticks = self.ticks.fetch_add(1, Ordering::SeqCst);
        self.start + TimeDelta::days(days.load(Ordering::SeqCst)) + TimeDelta::milliseconds(ticks as i64)
    }
}

impl Clock for Time {
    fn now(&self) -> DateTime<Utc> {
        self.after(&self.days_of_clocks)
    }

    fn random(&self) -> Result<u64> {
        // Other numbers than those that were made at another time: what is compacted keeps its moment and gets a new number.
        let apart = u64::try_from(self.start.timestamp_millis()).unwrap_or_default() << 20;
        Ok(apart + self.ticks.fetch_add(1, Ordering::SeqCst))
    }
}

/// A store whose objects are as old as the time says. What it has not stored itself was there before the time began.
pub(crate) struct Dated {
    inner: Arc<dyn SnapshotStore>,
    time: Arc<Time>,
    dates: Arc<Mutex<BTreeMap<String, DateTime<Utc>>>>,
}

impl Dated {
    pub(crate) fn over(inner: Arc<dyn SnapshotStore>, time: Arc<Time>) -> Arc<dyn SnapshotStore> {
        Arc::new(Self { inner, time, dates: Arc::default() })
    }

    fn date(&self, key: &str) {
        let now = self.time.after(&self.time.days_of_stores);
        self.dates.lock().unwrap().insert(key.to_owned(), now);
    }

    fn dated(&self, object: ObjectInfo) -> ObjectInfo {
        let date = self.dates.lock().unwrap().get(&object.key).copied();
        ObjectInfo { modified_at: date.unwrap_or(self.time.start - TimeDelta::days(DAYS)), ..object }
    }
}

#[async_trait]
impl SnapshotStore for Dated {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.create(key, bytes).await?;
        self.date(key);
        Ok(())
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        let store = Self { inner: self.inner.clone(), time: self.time.clone(), dates: self.dates.clone() };
        Ok(Box::new(DatedUpload { inner, store, key: key.to_owned() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        self.inner.get(key, limit_bytes).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.inner.head(key).await.map(|object| self.dated(object))
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        self.inner.list(prefix).map_ok(|object| self.dated(object)).boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        self.inner.sweep(is_ours, before, remove).await
    }
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl fmt::Debug for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dated({:?})", self.inner)
    }
}

struct DatedUpload {
    inner: Box<dyn Upload>,
    store: Dated,
    key: String,
}

#[async_trait]
impl Upload for DatedUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { inner, store, key } = *self;
        let bytes = inner.finish().await?;
        store.date(&key);
        Ok(bytes)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
