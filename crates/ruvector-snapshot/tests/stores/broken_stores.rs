//! Stores that violate one clause of the contract each. The conformance suite must detect every one.

#![expect(clippy::disallowed_methods, reason = "a store records when its objects were modified")]

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::stream::{self, BoxStream, StreamExt};
use ruvector_snapshot::store::testing::conformance;
use ruvector_snapshot::store::{ObjectInfo, SnapshotStore, Upload};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};

use super::custom_store::MapStore;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    CreateOverwrites,
    CreateIsNotAtomic,
    CreateAcceptsAnyKey,
    GetIgnoresLimit,
    GetOfMissingIsUnavailable,
    RangeIsTruncated,
    RangeLosesLastByte,
    HeadIsOneShort,
    ListByPlainPrefix,
    ListStopsAtAThousand,
    ListDecodesNames,
    DeleteOfMissingFails,
    DeleteDoesNothing,
    DeleteRemovesAllBelow,
    UploadIsVisibleEarly,
    UploadLosesEmptyObject,
    UploadSwapsParts,
    UploadFinishesOnAbort,
    UploadFinishesOnDrop,
}

/// Every fault, and the check of the suite that detects it.
const CAUGHT: [(Fault, &str); 19] = [
    (Fault::CreateOverwrites, "create_does_not_replace"),
    (Fault::CreateIsNotAtomic, "concurrent_creates_have_one_winner"),
    (Fault::CreateAcceptsAnyKey, "invalid_keys_are_rejected"),
    (Fault::GetIgnoresLimit, "get_reads_up_to_the_limit"),
    (Fault::GetOfMissingIsUnavailable, "missing_keys_are_not_found"),
    (Fault::RangeIsTruncated, "get_range_reads_exactly"),
    (Fault::RangeLosesLastByte, "get_range_reads_exactly"),
    (Fault::HeadIsOneShort, "create_does_not_replace"),
    (Fault::ListByPlainPrefix, "list_uses_whole_segments"),
    (Fault::ListStopsAtAThousand, "list_is_complete"),
    (Fault::ListDecodesNames, "unusual_names_are_preserved"),
    (Fault::DeleteOfMissingFails, "delete_can_be_repeated"),
    (Fault::DeleteDoesNothing, "unusual_names_are_preserved"),
    (Fault::DeleteRemovesAllBelow, "delete_can_be_repeated"),
    (Fault::UploadIsVisibleEarly, "upload_is_invisible_before_finish"),
    (Fault::UploadLosesEmptyObject, "uploads_of_all_sizes"),
    (Fault::UploadSwapsParts, "uploads_of_all_sizes"),
    (Fault::UploadFinishesOnAbort, "aborted_and_dropped_uploads_leave_nothing"),
    (Fault::UploadFinishesOnDrop, "aborted_and_dropped_uploads_leave_nothing"),
];

#[tokio::test]
async fn the_conformance_suite_detects_every_fault_and_cleans_up() {
    for (fault, clause) in CAUGHT {
        let store = Arc::new(Broken { inner: MapStore::default(), fault });
        let problem = match conformance::run_all(store.clone(), "suite").await {
            Err(problem) => problem,
            Ok(()) => panic!("{fault:?} was not detected"),
        };
        assert!(problem.starts_with(clause), "{fault:?} was reported as: {problem}");
        let cannot_clean_up = [
            Fault::DeleteDoesNothing,
            Fault::ListStopsAtAThousand,
            Fault::ListDecodesNames,
            Fault::CreateAcceptsAnyKey,
        ];
        if !cannot_clean_up.contains(&fault) {
            assert!(store.inner.objects.lock().unwrap().is_empty(), "{fault:?} left objects");
        }
    }
}

/// A store that is correct except for one fault.
#[derive(Debug)]
struct Broken {
    inner: MapStore,
    fault: Fault,
}

impl Broken {
    fn put(&self, key: &str, bytes: Bytes) {
        self.inner.objects.lock().unwrap().insert(key.into(), (bytes, Utc::now()));
    }
}

#[async_trait]
impl SnapshotStore for Broken {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        match self.fault {
            Fault::CreateAcceptsAnyKey => self.put(key, bytes),
            Fault::CreateOverwrites => {
                ruvector_snapshot::store::check_key(key)?;
                self.put(key, bytes);
            }
            Fault::CreateIsNotAtomic => {
                if self.inner.head(key).await.is_ok() {
                    return self.inner.create(key, bytes).await;
                }
                ruvector_snapshot::store::check_key(key)?;
                tokio::task::yield_now().await;
                self.put(key, bytes);
            }
            _ => return self.inner.create(key, bytes).await,
        }
        Ok(())
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let upload = Some(self.inner.upload(key, size_hint_bytes).await?);
        let (inner, fault, key) = (self.inner.clone(), self.fault, key.to_owned());
        Ok(Box::new(BrokenUpload { upload, inner, fault, key, written: Vec::new() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let limit_bytes = if self.fault == Fault::GetIgnoresLimit { u64::MAX } else { limit_bytes };
        let read = self.inner.get(key, limit_bytes).await;
        match read {
            Err(error) if self.fault == Fault::GetOfMissingIsUnavailable && error.kind() == ErrorKind::NotFound => {
                Err(SnapshotError::new(ErrorKind::Unavailable, "unknown"))
            }
            read => read,
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        match self.fault {
            Fault::RangeIsTruncated => {
                let size_bytes = self.inner.head(key).await?.size_bytes;
                let end = if range.start < size_bytes { range.end.min(size_bytes) } else { range.end };
                self.inner.get_range(key, range.start..end).await
            }
            Fault::RangeLosesLastByte => {
                let bytes = self.inner.get_range(key, range).await?;
                Ok(bytes.slice(..bytes.len().saturating_sub(1)))
            }
            _ => self.inner.get_range(key, range).await,
        }
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let mut info = self.inner.head(key).await?;
        if self.fault == Fault::HeadIsOneShort {
            info.size_bytes = info.size_bytes.saturating_sub(1);
        }
        Ok(info)
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        match self.fault {
            Fault::ListByPlainPrefix if ruvector_snapshot::store::check_key(prefix).is_ok() => {
                let prefix = prefix.to_owned();
                let all = self.inner.list("");
                let found = all.filter(move |info| {
                    let matches = info.as_ref().is_ok_and(|info| info.key.starts_with(&prefix) && info.key != prefix);
                    futures::future::ready(matches)
                });
                found.boxed()
            }
            Fault::ListStopsAtAThousand => self.inner.list(prefix).take(1000).boxed(),
            Fault::ListDecodesNames => {
                let decoded = self
                    .inner
                    .list(prefix)
                    .map(|info| info.map(|info| ObjectInfo { key: info.key.replace("%41", "A"), ..info }));
                decoded.boxed()
            }
            _ => stream::empty().chain(self.inner.list(prefix)).boxed(),
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        match self.fault {
            Fault::DeleteOfMissingFails => {
                self.inner.head(key).await?;
            }
            Fault::DeleteDoesNothing => return ruvector_snapshot::store::check_key(key),
            Fault::DeleteRemovesAllBelow => {
                let below = format!("{key}/");
                self.inner.objects.lock().unwrap().retain(|other, _| !other.starts_with(&below));
            }
            _ => {}
        }
        self.inner.delete(key).await
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map with the fault {:?}", self.fault)
    }
}

struct BrokenUpload {
    upload: Option<Box<dyn Upload>>,
    inner: MapStore,
    fault: Fault,
    key: String,
    written: Vec<u8>,
}

impl BrokenUpload {
    fn publish(&self) {
        let bytes = Bytes::copy_from_slice(&self.written);
        self.inner.objects.lock().unwrap().insert(self.key.clone(), (bytes, Utc::now()));
    }
}

#[async_trait]
impl Upload for BrokenUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.written.extend_from_slice(&bytes);
        if self.fault == Fault::UploadIsVisibleEarly {
            self.publish();
        }
        self.upload.as_mut().unwrap().write(bytes).await
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        let size_bytes = self.upload.take().unwrap().finish().await?;
        match self.fault {
            Fault::UploadLosesEmptyObject if size_bytes == 0 => self.inner.delete(&self.key).await?,
            Fault::UploadSwapsParts if self.written.len() > 16 << 20 => {
                let (first, second) = self.written.split_at_mut(8 << 20);
                first.swap_with_slice(&mut second[..8 << 20]);
                self.publish();
            }
            _ => {}
        }
        Ok(size_bytes)
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.upload = None;
        if self.fault == Fault::UploadFinishesOnAbort {
            self.publish();
        }
        Ok(())
    }
}

impl Drop for BrokenUpload {
    fn drop(&mut self) {
        if self.fault == Fault::UploadFinishesOnDrop && self.upload.is_some() {
            self.publish();
        }
    }
}
