//! A store that counts the bytes and the concurrent ranges that are read from it. It can also refuse to read one
//! object.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};

use super::forwarding_store::{ForwardingStore, Method, StoreHooks};

/// How often a read of a range yields, so that other tasks can start theirs.
const YIELDS: usize = 20;

/// A store that counts reads; see the module.
pub type CountingStore = ForwardingStore<ReadCounter>;

/// The hooks of a [`CountingStore`].
#[derive(Debug, Default)]
pub struct ReadCounter {
    unreachable_key: Option<String>,
    bytes_by_key: Mutex<BTreeMap<String, u64>>,
    range_reads: Arc<RangeReads>,
}

#[derive(Debug, Default)]
struct RangeReads {
    current: AtomicUsize,
    most: AtomicUsize,
}

impl CountingStore {
    /// Returns a store that counts the reads from `inner`.
    pub fn over(inner: Arc<dyn SnapshotStore>) -> Arc<Self> {
        Self::new(inner, ReadCounter::default())
    }

    /// Returns a store that counts reads and reports the object of this key as unavailable.
    pub fn with_unreachable_key(inner: Arc<dyn SnapshotStore>, key: String) -> Arc<Self> {
        Self::new(inner, ReadCounter { unreachable_key: Some(key), ..ReadCounter::default() })
    }

    /// Returns the bytes that were read of each object since the last call.
    pub fn take_bytes_read(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.hooks().bytes_by_key.lock().unwrap())
    }

    /// Returns how many ranges were read at the same time, at most, since the last call.
    pub fn take_most_concurrent_ranges(&self) -> usize {
        self.hooks().range_reads.most.swap(0, Ordering::SeqCst)
    }
}

/// A range that is being read.
#[derive(Debug)]
pub struct RangeRead(Arc<RangeReads>);

impl Drop for RangeRead {
    fn drop(&mut self) {
        self.0.current.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl StoreHooks for ReadCounter {
    type Guard = Option<RangeRead>;

    async fn before(&self, method: Method, key: &str) -> Result<Self::Guard> {
        let is_read = matches!(method, Method::Get | Method::GetRange | Method::Head);
        if is_read && self.unreachable_key.as_deref() == Some(key) {
            return Err(SnapshotError::new(ErrorKind::Unavailable, "out of reach").with_key(key));
        }
        if method != Method::GetRange {
            return Ok(None);
        }
        let current = self.range_reads.current.fetch_add(1, Ordering::SeqCst) + 1;
        let guard = RangeRead(self.range_reads.clone());
        self.range_reads.most.fetch_max(current, Ordering::SeqCst);
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        Ok(Some(guard))
    }

    fn after(&self, method: Method, key: &str, result: Result<usize, &SnapshotError>) {
        if matches!(method, Method::Get | Method::GetRange) {
            let bytes = result.unwrap_or(0) as u64;
            *self.bytes_by_key.lock().unwrap().entry(key.to_owned()).or_default() += bytes;
        }
    }
}
