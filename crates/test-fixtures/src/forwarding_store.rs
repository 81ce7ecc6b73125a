//! A store that forwards every call to another store, and hooks that observe, delay, refuse or change the calls.
//!
//! No other test store forwards calls by hand. A test that needs one writes [`StoreHooks`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::{ListEntry, ObjectInfo, SentCounter, SnapshotStore, Upload};
use ruvector_snapshot::{Result, SnapshotError};

/// A call that hooks see. Starting an upload and writing to it change nothing that others can see, so hooks do not see
/// them either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// [`SnapshotStore::create`].
    Create,
    /// [`Upload::finish`].
    FinishUpload,
    /// [`SnapshotStore::get`].
    Get,
    /// [`SnapshotStore::get_range`].
    GetRange,
    /// [`SnapshotStore::head`].
    Head,
    /// [`SnapshotStore::delete`].
    Delete,
}

impl Method {
    /// Returns the name of the method, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::FinishUpload => "finish",
            Self::Get => "get",
            Self::GetRange => "get_range",
            Self::Head => "head",
            Self::Delete => "delete",
        }
    }
}

/// What a [`ForwardingStore`] does besides forwarding.
#[async_trait]
pub trait StoreHooks: Send + Sync + 'static {
    /// A value that lives until the call has ended or was dropped.
    type Guard: Send + Sync;

    /// Runs before a call. If it fails, the call is not forwarded and returns that error.
    async fn before(&self, method: Method, key: &str) -> Result<Self::Guard>;

    /// Runs after a call that was forwarded. A successful read returns how many bytes it read, every other call zero.
    fn after(&self, method: Method, key: &str, result: Result<usize, &SnapshotError>) {
        let _ = (method, key, result);
    }

    /// Changes what a `head` or a listing reports of an object.
    fn object_info(&self, info: ObjectInfo) -> ObjectInfo {
        info
    }

    /// Lists objects of the inner store. The other hooks do not see a listing.
    fn list<'a>(&'a self, inner: &'a dyn SnapshotStore, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        inner.list(prefix)
    }
}

/// A store that forwards every call; see the module.
pub struct ForwardingStore<H> {
    inner: Arc<dyn SnapshotStore>,
    hooks: Arc<H>,
}

impl<H: StoreHooks> ForwardingStore<H> {
    /// Returns a store that forwards to `inner`.
    pub fn new(inner: Arc<dyn SnapshotStore>, hooks: H) -> Arc<Self> {
        Arc::new(Self { inner, hooks: Arc::new(hooks) })
    }

    /// Returns the hooks.
    pub fn hooks(&self) -> &H {
        &self.hooks
    }

    fn after<T>(&self, method: Method, key: &str, result: &Result<T>, bytes: impl FnOnce(&T) -> usize) {
        self.hooks.after(method, key, result.as_ref().map(bytes));
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method with a default must be forwarded as well")]
#[async_trait]
impl<H: StoreHooks> SnapshotStore for ForwardingStore<H> {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let _guard = self.hooks.before(Method::Create, key).await?;
        let result = self.inner.create(key, bytes).await;
        self.after(Method::Create, key, &result, |()| 0);
        result
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        Ok(Box::new(ForwardingUpload { inner, hooks: self.hooks.clone(), key: key.to_owned() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let _guard = self.hooks.before(Method::Get, key).await?;
        let result = self.inner.get(key, limit_bytes).await;
        self.after(Method::Get, key, &result, Bytes::len);
        result
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let _guard = self.hooks.before(Method::GetRange, key).await?;
        let result = self.inner.get_range(key, range).await;
        self.after(Method::GetRange, key, &result, Bytes::len);
        result
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let _guard = self.hooks.before(Method::Head, key).await?;
        let result = self.inner.head(key).await;
        self.after(Method::Head, key, &result, |_| 0);
        result.map(|info| self.hooks.object_info(info))
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        self.hooks.list(self.inner.as_ref(), prefix).map_ok(|info| self.hooks.object_info(info)).boxed()
    }

    /// Reports objects only, so that the hooks decide about every listing.
    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        self.list(prefix).map_ok(ListEntry::Object).boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let _guard = self.hooks.before(Method::Delete, key).await?;
        let result = self.inner.delete(key).await;
        self.after(Method::Delete, key, &result, |()| 0);
        result
    }
}

impl<H> fmt::Display for ForwardingStore<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl<H> fmt::Debug for ForwardingStore<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardingStore({:?})", self.inner)
    }
}

struct ForwardingUpload<H> {
    inner: Box<dyn Upload>,
    hooks: Arc<H>,
    key: String,
}

#[deny(clippy::missing_trait_methods, reason = "a method with a default must be forwarded as well")]
#[async_trait]
impl<H: StoreHooks> Upload for ForwardingUpload<H> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn send_rest(&mut self) -> Result<()> {
        self.inner.send_rest().await
    }

    fn count_sent(&mut self, count: SentCounter) {
        self.inner.count_sent(count);
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { inner, hooks, key } = *self;
        let _guard = hooks.before(Method::FinishUpload, &key).await?;
        let result = inner.finish().await;
        hooks.after(Method::FinishUpload, &key, result.as_ref().map(|_| 0));
        result
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
