//! The implementation of [`SnapshotStore`] over any `object_store::ObjectStore`, below a prefix.
//!
//! It knows no provider by name. What is special about a provider belongs to the `ObjectStore` that is passed in.

use std::any::Any;
use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::bucket_place::BucketPlace;
use super::budget::{Budget, PERMIT_BYTES, RETRY_TIMEOUT, RetryDeadline, TransferConfig, run_detached};
use super::create::{CreateMode, Creates, create};
use super::error::{is_transient, kind_of, operation_failed};
use super::local::fs::{Found, LocalFs};
use super::local::io::{RETURNED_BYTES, read_large};
use super::notices::Notices;
use super::upload::{Destination, ObjectUpload};
use super::{KeyFilter, ListEntry, ObjectInfo, SnapshotStore, Upload, check_key, check_prefix};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::http::rejection::ProviderRejection;

/// Keeps objects in an `object_store::ObjectStore`.
///
/// Needs a Tokio runtime.
#[derive(Clone)]
pub struct ObjectSnapshotStore {
    objects: Arc<dyn ObjectStore>,
    budget: Arc<Budget>,
    prefix: Path,
    location: Arc<str>,
    key_filter: Option<KeyFilter>,
    creates: Arc<Creates>,
    notices: Notices,
    /// The storage class of uploads; `None` for that of the bucket.
    storage_class: Option<&'static str>,
    /// Which keys get it; `None` for all.
    storage_class_keys: Option<KeyFilter>,
    /// Set if `objects` is a local directory.
    local: Option<LocalFs>,
    /// Set if `objects` is a bucket.
    uploads: Option<Arc<dyn ListUploads>>,
    /// Where the bucket is, if `objects` is one.
    place: Option<Arc<BucketPlace>>,
}

/// A bucket, as its provider opens it.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "a build without providers opens no bucket"))]
pub(super) struct BucketClient {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The server, as the options name it. One server can have several names.
    pub(super) server: String,
    /// `None` if the provider cannot list them.
    pub(super) uploads: Arc<dyn ListUploads>,
}

/// Lists the multipart uploads of a bucket that have not ended. Their parts take space, and no listing shows them.
#[async_trait]
pub(super) trait ListUploads: Send + Sync {
    /// Adds to `found` the uploads of keys that begin with `prefix` and that `is_own` accepts: the key, the size of the
    /// parts that are stored, and when the upload was started. Each request has a permit of the budget. After an error,
    /// which is only traced, and if it is dropped, there may be more than those that were added.
    async fn list(
        &self,
        prefix: &str,
        is_own: &(dyn for<'k> Fn(&'k str) -> bool + Send + Sync),
        budget: &Budget,
        found: &mut Vec<ObjectInfo>,
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// The multipart uploads that have not ended.
#[derive(Debug, Default)]
pub(crate) struct MultipartReport {
    pub(crate) uploads: Vec<ObjectInfo>,
    /// Whether there are no others.
    pub(crate) is_complete: bool,
}

/// For a provider or settings with which they cannot be listed.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "a build without providers opens no bucket"))]
pub(super) struct UnlistedUploads;

#[async_trait]
impl ListUploads for UnlistedUploads {
    async fn list(
        &self,
        _prefix: &str,
        _is_own: &(dyn for<'k> Fn(&'k str) -> bool + Send + Sync),
        _budget: &Budget,
        _found: &mut Vec<ObjectInfo>,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        Err("this provider cannot list them".into())
    }
}

impl ObjectSnapshotStore {
    /// Returns a store that keeps objects in `objects`, below `prefix`. The empty prefix uses all of it.
    ///
    /// `location` names the store in errors, `Display` and `Debug`. It must not contain a secret.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`] if the prefix is neither empty nor a key.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use object_store::memory::InMemory;
    /// use ruvector_snapshot::store::{ObjectSnapshotStore, SnapshotStore as _};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "backups", "memory")?;
    /// store.create("key", "value".into()).await?;
    /// assert_eq!(store.to_string(), "memory");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str, location: impl Into<String>) -> Result<Self> {
        check_prefix(prefix)?;
        let budget = Budget::new(&TransferConfig::default(), RETRY_TIMEOUT)?;
        Ok(Self {
            objects,
            budget,
            prefix: to_path(prefix)?,
            location: Arc::from(location.into()),
            key_filter: None,
            creates: Arc::new(Creates::new(CreateMode::Conditional)),
            notices: Notices::default(),
            storage_class: None,
            storage_class_keys: None,
            local: None,
            uploads: None,
            place: None,
        })
    }

    /// Sets the limits of transfers. All clones of the returned store share one budget.
    ///
    /// # Errors
    ///
    /// As [`TransferConfig::validate`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use object_store::memory::InMemory;
    /// use ruvector_snapshot::store::{ObjectSnapshotStore, TransferConfig};
    ///
    /// let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", "memory")?;
    /// let store = store.with_transfers(&TransferConfig::default().max_concurrent_io(16))?;
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn with_transfers(self, config: &TransferConfig) -> Result<Self> {
        Ok(self.with_budget(Budget::new(config, RETRY_TIMEOUT)?))
    }

    pub(super) fn with_budget(self, budget: Arc<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// Creates objects without a precondition.
    pub(super) fn without_preconditions(self) -> Self {
        Self { creates: Arc::new(Creates::new(CreateMode::Unconditional)), ..self }
    }

    /// Sets the storage class of uploads. Objects that are created are small and read by every listing, so they keep
    /// the class of the bucket.
    pub(super) fn with_storage_class(self, storage_class: Option<&'static str>) -> Self {
        Self { storage_class, ..self }
    }

    /// Sets which uploads get the storage class.
    pub(super) fn with_storage_class_for(self, keys: KeyFilter) -> Self {
        Self { storage_class_keys: Some(keys), ..self }
    }

    pub(super) fn create_mode(&self) -> CreateMode {
        self.creates.mode()
    }

    pub(super) fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Returns a store over a bucket.
    pub(super) fn over_bucket(client: BucketClient, bucket: &str, prefix: &str, location: String) -> Result<Self> {
        // The location has the provider.
        let scheme = location.split(':').next().unwrap_or_default();
        let place = BucketPlace { bucket: format!("{scheme}://{}/{bucket}", client.server), prefix: prefix.to_owned() };
        let store = Self::new(client.objects, prefix, location)?;
        Ok(Self { uploads: Some(client.uploads), place: Some(Arc::new(place)), ..store })
    }

    /// Returns where the bucket is, if this is one.
    pub(super) fn place(&self) -> Option<&Arc<BucketPlace>> {
        self.place.as_ref()
    }

    /// Returns the multipart uploads of the caller's keys that have not ended. The report may be incomplete: the
    /// permission to list them is one of its own, not every server can do it, and a slow one is not waited for.
    pub(super) async fn multipart_uploads(&self) -> MultipartReport {
        let Some(uploads) = &self.uploads else { return MultipartReport { uploads: Vec::new(), is_complete: true } };
        let prefix = if self.prefix.as_ref().is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let own_key = |key: &str| {
            let key = key.strip_prefix(&prefix)?;
            let is_own = check_key(key).is_ok() && self.key_filter.is_none_or(|is_own| is_own(key));
            is_own.then(|| key.to_owned())
        };
        let is_own = |key: &str| own_key(key).is_some();
        let mut found = Vec::new();
        let listing = uploads.list(&prefix, &is_own, &self.budget, &mut found);
        let is_complete = match self.budget.report(listing).await.map_err(Into::into).flatten() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "multipart uploads cannot be listed");
                false
            }
        };
        let own = found.into_iter().filter_map(|one| Some(ObjectInfo { key: own_key(&one.key)?, ..one }));
        MultipartReport { uploads: own.collect(), is_complete }
    }

    /// Returns a store over a local directory.
    pub(super) fn over_directory(directory: LocalFs, location: String) -> Result<Self> {
        Ok(Self { local: Some(directory.clone()), ..Self::new(Arc::new(directory), "", location)? })
    }

    /// Leaves keys that the filter rejects out of listings, unless the store has a filter.
    pub(super) fn with_key_filter(self, key_filter: KeyFilter) -> Self {
        if self.key_filter.is_some() {
            return self;
        }
        match self.local {
            None => Self { key_filter: Some(key_filter), ..self },
            Some(directory) => {
                let directory = directory.with_key_filter(key_filter);
                let objects = Arc::new(directory.clone());
                Self { key_filter: Some(key_filter), objects, local: Some(directory), ..self }
            }
        }
    }

    /// Returns a store as this type, if it is one.
    pub(super) fn downcast(store: &dyn SnapshotStore) -> Option<&Self> {
        let store: &dyn Any = store;
        store.downcast_ref()
    }

    /// The local directory that holds the objects, and how errors call it.
    pub(super) fn local(&self) -> Option<(&LocalFs, &str)> {
        self.local.as_ref().map(|directory| (directory, self.location.as_ref()))
    }

    fn destination(&self, key: &str) -> Result<Destination> {
        Ok(Destination {
            objects: self.objects.clone(),
            budget: self.budget.clone(),
            location: self.location.clone(),
            key: key.to_owned(),
            path: self.path_of(key)?,
            notices: self.notices.clone(),
            part_remover: match self.local {
                Some(_) => "prune removes them after the grace period",
                None => "a lifecycle rule of the bucket removes them",
            },
        })
    }

    fn path_of(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        to_path(&self.full_key(key))
    }

    fn full_key(&self, key: &str) -> String {
        match (self.prefix.as_ref(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    fn failed(&self, action: &str, key: &str, cause: object_store::Error) -> SnapshotError {
        operation_failed(action, &self.location, key, cause)
    }

    /// Returns what a listing reports for what it has found.
    fn entry_of(&self, found: Found) -> ListEntry {
        match found {
            Found::Object(meta) => self.listed_info(meta).map_or(ListEntry::Foreign, ListEntry::Object),
            Found::Foreign => ListEntry::Foreign,
            Found::Unreadable { key, error } => {
                let error = self.failed("list the objects", &key, error);
                ListEntry::Unreadable { key, error }
            }
        }
    }

    /// Returns the object that a listing has found; `None` if its name is not a key or the filter rejects it.
    fn listed_info(&self, meta: ObjectMeta) -> Option<ObjectInfo> {
        let text = meta.location.as_ref();
        let key = match self.prefix.as_ref() {
            "" => text,
            prefix => text.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        check_key(key).ok()?;
        if self.key_filter.is_some_and(|is_own| !is_own(key)) {
            return None;
        }
        Some(ObjectInfo { key: key.to_owned(), size_bytes: meta.size, modified_at: meta.last_modified })
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SnapshotStore for ObjectSnapshotStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        tracing::debug!(key, bytes = bytes.len(), "create");
        create(&self.destination(key)?, &self.creates, &bytes).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        tracing::debug!(key, "upload");
        let storage_class =
            self.storage_class.filter(|_| self.storage_class_keys.is_none_or(|has_class| has_class(key)));
        Ok(Box::new(ObjectUpload::new(self.destination(key)?, size_hint_bytes, storage_class)?))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        tracing::debug!(key, "get");
        let path = self.path_of(key)?;
        let (store, key) = (self.clone(), key.to_owned());
        run_detached(async move { store.read_object(&key, &path, limit_bytes).await }).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path_of(key)?;
        if range.start > range.end {
            let message = format!("invalid range: it starts at byte {} and ends at byte {}", range.start, range.end);
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(key));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        tracing::debug!(key, start = range.start, bytes = range.end - range.start, "get range");
        let (store, key) = (self.clone(), key.to_owned());
        run_detached(async move { store.read_range(&key, &path, range).await }).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        tracing::debug!(key, "head");
        let path = self.path_of(key)?;
        let (store, key) = (self.clone(), key.to_owned());
        run_detached(async move { store.read_info(key, &path).await }).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let objects = self.list_entries(prefix).try_filter_map(|entry| async {
            match entry {
                ListEntry::Object(info) => Ok(Some(info)),
                ListEntry::Foreign => Ok(None),
                ListEntry::Unreadable { error, .. } => Err(error),
            }
        });
        objects.boxed()
    }

    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        tracing::debug!(prefix, "list");
        let path = match check_prefix(prefix).and_then(|()| to_path(&self.full_key(prefix))) {
            Ok(path) => path,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let found = match &self.local {
            Some(directory) => directory.walk(path.as_ref()),
            None => self.list_objects(path).map_ok(Found::Object).boxed(),
        };
        let prefix = prefix.to_owned();
        found.map_err(move |cause| self.list_error(&prefix, cause)).map_ok(|found| self.entry_of(found)).boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        tracing::debug!(key, "delete");
        let path = self.path_of(key)?;
        let _permit = self.budget.permit(0).await;
        let mut deadline = self.budget.deadline();
        loop {
            let cause = match self.objects.delete(&path).await {
                Ok(()) => return Ok(()),
                Err(cause) => cause,
            };
            let is_transient = is_transient(&cause);
            let error = self.failed("delete", key, cause);
            if error.kind() == ErrorKind::NotFound {
                return Ok(());
            }
            if !is_transient || !deadline.wait().await {
                return Err(error);
            }
        }
    }
}

impl ObjectSnapshotStore {
    async fn read_object(&self, key: &str, path: &Path, limit_bytes: u64) -> Result<Bytes> {
        let _permit = self.budget.permit(0).await;
        let response = self.objects.get(path).await.map_err(|cause| self.failed("read", key, cause))?;
        let size_bytes = response.meta.size;
        if size_bytes > limit_bytes {
            let message = format!("the object has {size_bytes} bytes, but at most {limit_bytes} are valid");
            return Err(SnapshotError::new(ErrorKind::Corrupt, message).with_key(key));
        }
        self.budget.before_receiving(size_bytes).await;
        self.receive(key, response, size_bytes).await
    }

    async fn read_info(&self, key: String, path: &Path) -> Result<ObjectInfo> {
        let _permit = self.budget.permit(0).await;
        match self.objects.head(path).await {
            Ok(meta) => Ok(ObjectInfo { key, size_bytes: meta.size, modified_at: meta.last_modified }),
            Err(cause) => Err(self.head_error(&key, path, cause).await),
        }
    }

    async fn read_range(&self, key: &str, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let permit = self.budget.permit(range.end - range.start).await;
        self.budget.before_receiving(range.end - range.start).await;
        // Not `get_ranges`: on a local disk it allocates memory for the range before it opens the file.
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let response = match self.objects.get_opts(path, options).await {
            Ok(response) => response,
            Err(cause) => {
                // The next request takes a permit of its own.
                drop(permit);
                return Err(self.range_error(key, &range, cause).await);
            }
        };
        if response.range != range {
            return Err(self.too_short(key, &range, response.meta.size));
        }
        self.receive(key, response, range.end - range.start).await
    }

    /// Returns the body of a response, which must have `expected_bytes`. A body that breaks off has been resumed by the
    /// client, as long as that was possible.
    async fn receive(&self, key: &str, response: GetResult, expected_bytes: u64) -> Result<Bytes> {
        let received = match response.payload {
            // A file is read at once, without a stream.
            GetResultPayload::File(file, path) if expected_bytes > RETURNED_BYTES / 4 => {
                read_large(file, path, response.range).await
            }
            GetResultPayload::File(..) => response.bytes().await,
            GetResultPayload::Stream(_) => collect(response.into_stream(), expected_bytes).await,
        };
        let bytes = received.map_err(|cause| self.failed("read", key, cause))?;
        if bytes.len() as u64 != expected_bytes {
            let message = format!("{} returned {} bytes of {expected_bytes}; try again", self.location, bytes.len());
            return Err(SnapshotError::new(ErrorKind::Unavailable, message).with_key(key));
        }
        self.budget.succeeded();
        Ok(bytes)
    }

    /// Lists all objects below a path. If the connection breaks it lists again and skips what it has returned. Not
    /// every store lists in a fixed order, so the paths are remembered.
    fn list_objects(&self, path: Path) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let start = ListingInProgress {
            objects: self.objects.list(Some(&path)),
            returned: HashSet::new(),
            deadline: self.budget.deadline(),
        };
        let (store, path) = (self.objects.clone(), Arc::new(path));
        let next = move |mut listing: ListingInProgress| {
            let (store, path) = (store.clone(), path.clone());
            async move {
                loop {
                    match listing.objects.try_next().await {
                        Ok(None) => return Ok(None),
                        Ok(Some(meta)) if listing.returned.contains(&meta.location) => {}
                        Ok(Some(meta)) => {
                            listing.returned.insert(meta.location.clone());
                            listing.deadline.restart();
                            return Ok(Some((meta, listing)));
                        }
                        Err(cause) if !is_transient(&cause) || !listing.deadline.wait().await => return Err(cause),
                        Err(_transient) => listing.objects = store.list(Some(&path)),
                    }
                }
            }
        };
        stream::try_unfold(start, next).boxed()
    }

    /// Returns the error for a range that could not be read: the object is too short, or what the store reported.
    async fn range_error(&self, key: &str, range: &Range<u64>, cause: object_store::Error) -> SnapshotError {
        let error = self.failed("read", key, cause);
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::InvalidInput) {
            return error;
        }
        // Stores report a range behind the end in different ways, so the size decides.
        match self.head(key).await {
            Ok(info) if info.size_bytes < range.end => self.too_short(key, range, info.size_bytes),
            _ => error,
        }
    }

    fn too_short(&self, key: &str, range: &Range<u64>, size_bytes: u64) -> SnapshotError {
        let message = format!(
            "cannot read bytes {} to {} in {}: the object has only {size_bytes} bytes",
            range.start, range.end, self.location
        );
        SnapshotError::new(ErrorKind::Corrupt, message).with_key(key)
    }

    /// Returns the error for a HEAD request. Its response has no body and therefore no error code. A listing of the
    /// same key has one, if it is rejected as well.
    async fn head_error(&self, key: &str, path: &Path, cause: object_store::Error) -> SnapshotError {
        let has_no_code = kind_of(&cause) != ErrorKind::NotFound && ProviderRejection::within(&cause).is_none();
        if has_no_code
            && let Some(Err(with_code)) = self.objects.list(Some(path)).next().await
            && ProviderRejection::within(&with_code).is_some()
        {
            return self.failed("read the size of the object", key, with_code);
        }
        self.failed("read the size of the object", key, cause)
    }

    fn list_error(&self, prefix: &str, cause: object_store::Error) -> SnapshotError {
        if !matches!(cause, object_store::Error::InvalidPath { .. }) {
            return self.failed("list the objects", prefix, cause);
        }
        let message = format!(
            "cannot list the objects in {}: an object has an unreadable name; use a prefix that contains only snapshots",
            self.location
        );
        SnapshotError::new(ErrorKind::InvalidInput, message).with_source(cause)
    }
}

impl fmt::Display for ObjectSnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

impl fmt::Debug for ObjectSnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client, which may print credentials.
        f.debug_struct("ObjectSnapshotStore")
            .field("location", &self.location)
            .field("prefix", &self.prefix.as_ref())
            .finish_non_exhaustive()
    }
}

struct ListingInProgress {
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    returned: HashSet<Path>,
    deadline: RetryDeadline,
}

/// Collects a stream. Stops after the chunk that exceeds `expected_bytes`.
async fn collect(
    mut chunks: BoxStream<'static, object_store::Result<Bytes>>,
    expected_bytes: u64,
) -> object_store::Result<Bytes> {
    // A server that promises too much does not determine how much memory is allocated.
    let capacity = if expected_bytes > RETURNED_BYTES / 4 { RETURNED_BYTES } else { expected_bytes.min(PERMIT_BYTES) };
    let mut received = BytesMut::with_capacity(capacity as usize);
    while received.len() as u64 <= expected_bytes {
        match chunks.try_next().await {
            Ok(Some(chunk)) => received.extend_from_slice(&chunk),
            Ok(None) => break,
            // The connection broke after the last byte.
            Err(_) if received.len() as u64 == expected_bytes => break,
            Err(cause) => return Err(cause),
        }
    }
    Ok(received.freeze())
}

fn to_path(text: &str) -> Result<Path> {
    // `Path::parse` keeps the text. `Path::from` would percent-encode it into a different key.
    Path::parse(text).map_err(|cause| SnapshotError::new(ErrorKind::InvalidInput, "invalid key").with_source(cause))
}
