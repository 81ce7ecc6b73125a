//! A store as a user of the crate would write it: the trait over a map.

#![expect(clippy::disallowed_methods, reason = "a store records when its objects were modified")]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use ruvector_snapshot::store::{ObjectInfo, SnapshotStore, Upload, check_key};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};

pub(crate) type Objects = Arc<Mutex<BTreeMap<String, (Bytes, DateTime<Utc>)>>>;

#[derive(Debug, Default, Clone)]
pub(crate) struct MapStore {
    pub(crate) objects: Objects,
}

impl MapStore {
    fn find(&self, key: &str) -> Result<(Bytes, DateTime<Utc>)> {
        check_key(key)?;
        let objects = self.objects.lock().unwrap();
        objects.get(key).cloned().ok_or_else(|| SnapshotError::new(ErrorKind::NotFound, "no such object").with_key(key))
    }
}

#[async_trait]
impl SnapshotStore for MapStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        check_key(key)?;
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(key) {
            return Err(SnapshotError::new(ErrorKind::AlreadyExists, "exists").with_key(key));
        }
        objects.insert(key.into(), (bytes, Utc::now()));
        Ok(())
    }

    async fn upload(&self, key: &str, _size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        check_key(key)?;
        Ok(Box::new(MapUpload { objects: self.objects.clone(), key: key.into(), bytes: Vec::new() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let (bytes, _) = self.find(key)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(SnapshotError::new(ErrorKind::Corrupt, "larger than it can be").with_key(key));
        }
        Ok(bytes)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let (bytes, _) = self.find(key)?;
        if range.start > range.end {
            return Err(SnapshotError::new(ErrorKind::InvalidInput, "not a range").with_key(key));
        }
        if range.end > bytes.len() as u64 {
            return Err(SnapshotError::new(ErrorKind::Corrupt, "ends before the range").with_key(key));
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let (bytes, modified_at) = self.find(key)?;
        Ok(ObjectInfo { key: key.into(), size_bytes: bytes.len() as u64, modified_at })
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        if !prefix.is_empty()
            && let Err(error) = check_key(prefix)
        {
            return stream::iter([Err(error)]).boxed();
        }
        let objects = self.objects.lock().unwrap().clone().into_iter();
        let infos = objects
            .filter(move |(key, _)| key.starts_with(&below))
            .map(|(key, (bytes, modified_at))| Ok(ObjectInfo { key, size_bytes: bytes.len() as u64, modified_at }));
        stream::iter(infos).boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key(key)?;
        self.objects.lock().unwrap().remove(key);
        Ok(())
    }
}

impl fmt::Display for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }
}

struct MapUpload {
    objects: Objects,
    key: String,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for MapUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let size_bytes = self.bytes.len() as u64;
        self.objects.lock().unwrap().insert(self.key, (self.bytes.into(), Utc::now()));
        Ok(size_bytes)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
