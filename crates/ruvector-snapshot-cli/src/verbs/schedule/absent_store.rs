//! What stands for a store that could not be opened, so that its jobs fail and the others run. It is never written to and never read.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use ruvector_snapshot::store::{ObjectInfo, SnapshotStore, Upload};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};

/// A store of which every use fails with the reason why it could not be opened.
#[derive(Debug)]
pub(super) struct AbsentStore {
    /// What the configuration file calls it.
    name: String,
    reason: String,
}

impl AbsentStore {
    pub(super) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into() }
    }

    fn error(&self) -> SnapshotError {
        SnapshotError::new(ErrorKind::Unavailable, format!("the store {} cannot be opened: {}", self.name, self.reason))
    }
}

impl fmt::Display for AbsentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl SnapshotStore for AbsentStore {
    async fn create(&self, _key: &str, _bytes: Bytes) -> Result<()> {
        Err(self.error())
    }

    async fn upload(&self, _key: &str, _size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        Err(self.error())
    }

    async fn get(&self, _key: &str, _limit_bytes: u64) -> Result<Bytes> {
        Err(self.error())
    }

    async fn get_range(&self, _key: &str, _range: Range<u64>) -> Result<Bytes> {
        Err(self.error())
    }

    async fn head(&self, _key: &str) -> Result<ObjectInfo> {
        Err(self.error())
    }

    fn list<'a>(&'a self, _prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        Box::pin(stream::iter([Err(self.error())]))
    }

    async fn delete(&self, _key: &str) -> Result<()> {
        Err(self.error())
    }
}
