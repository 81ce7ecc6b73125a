//! Opens stores: from a [`Location`] and its settings to a [`SnapshotStore`]. No operations.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::bucket_place::BucketPlace;
use super::budget::{Budget, BudgetedStore, RETRY_TIMEOUT, TransferConfig};
use super::create::CreateMode;
use super::location::{Location, Provider, check_bucket};
use super::notices::Notices;
use super::object::{BucketClient, MultipartReport, ObjectSnapshotStore};
use super::options::{Settings, StoreOptions};
use super::{KeyFilter, LocalMaintenance, SnapshotStore, local, storage_class};
use crate::clock::check_dates_requests;
use crate::error::{ErrorKind, Result, SnapshotError};

/// Settings for opening a store. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::{StoreConfig, TransferConfig};
///
/// let config = StoreConfig::default().create(true).transfers(TransferConfig::default().max_concurrent_io(8));
/// assert!(config.options.is_empty());
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Whether to create a local directory that does not exist, for its owner only. The directory above it must exist.
    /// Without it, a missing directory is [`ErrorKind::NotFound`]. Buckets are never created.
    pub create: bool,
    /// Options of the bucket. The environment is not read; see [`StoreOptions::from_env`].
    pub options: StoreOptions,
    /// Limits of transfers.
    pub transfers: TransferConfig,
    /// Which keys belong to the caller. Listings leave out all others, and listings of a local directory do not enter
    /// other directories. The default is all keys.
    pub key_filter: Option<KeyFilter>,
}

impl StoreConfig {
    /// Sets whether to create a missing local directory.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = ruvector_snapshot::store::StoreConfig::default().create(true);
    /// ```
    #[must_use]
    pub fn create(self, create: bool) -> Self {
        Self { create, ..self }
    }

    /// Sets the options of the bucket.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{StoreConfig, StoreOptions};
    ///
    /// let options: StoreOptions = [("region", "eu-central-1")].into_iter().collect();
    /// let config = StoreConfig::default().options(options);
    /// ```
    #[must_use]
    pub fn options(self, options: StoreOptions) -> Self {
        Self { options, ..self }
    }

    /// Sets the limits of transfers.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{StoreConfig, TransferConfig};
    ///
    /// let config = StoreConfig::default().transfers(TransferConfig::default().max_concurrent_io(8));
    /// ```
    #[must_use]
    pub fn transfers(self, transfers: TransferConfig) -> Self {
        Self { transfers, ..self }
    }

    /// Sets which keys listings include.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = ruvector_snapshot::store::StoreConfig::default().key_filter(|key| key.starts_with("backup-"));
    /// ```
    #[must_use]
    pub fn key_filter(self, key_filter: KeyFilter) -> Self {
        Self { key_filter: Some(key_filter), ..self }
    }
}

/// Opens the store at a location.
///
/// No request is sent. Whether a bucket exists and the credentials are valid shows at the first operation.
///
/// # Errors
///
/// Returns [`ErrorKind::NotFound`] for a missing directory, and with [`StoreConfig::create`] for one that is missing above it, [`ErrorKind::InvalidInput`] for options that are unknown,
/// invalid or missing and for a provider that is not built in, and [`ErrorKind::PermissionDenied`] for a directory or a
/// credentials file that cannot be read.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::{Location, StoreConfig, open};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scratch = tempfile::tempdir()?;
/// # let directory = scratch.path().join("snapshots");
/// let store = open(&Location::Local(directory), &StoreConfig::default().create(true))?;
/// let store = open(&"s3://bucket/prefix".parse()?, &StoreConfig::default());
/// # Ok(())
/// # }
/// ```
pub fn open(location: &Location, config: &StoreConfig) -> Result<Arc<dyn SnapshotStore>> {
    let budget = |retry_timeout| Budget::new(&config.transfers, retry_timeout);
    if !matches!(location, Location::Local(_)) {
        check_dates_requests(&location.to_string())?;
    }
    let store = match location {
        Location::Bucket { provider, bucket, prefix } => {
            check_bucket(*provider, bucket)?;
            let settings = config.options.read(*provider)?;
            let budget = budget(settings.duration("retry_timeout")?.unwrap_or(RETRY_TIMEOUT))?;
            let is_conditional = settings.flag_or("conditional_create", true)?;
            let storage_class = storage_class::read(&settings, *provider)?;
            let text = location.to_string();
            let client = open_bucket(*provider, bucket, &text, settings)?;
            let store = ObjectSnapshotStore::over_bucket(client, bucket, prefix, text)?.with_budget(budget);
            let store = store.with_storage_class(storage_class);
            if is_conditional { store } else { store.without_preconditions() }
        }
        _ if !config.options.is_empty() => {
            return Err(invalid(format!("{location} takes no options; options are for buckets, such as s3://bucket")));
        }
        Location::Local(path) => {
            let (directory, root) = local::open(path, config.create)?;
            let store = ObjectSnapshotStore::over_directory(directory, root.display().to_string())?;
            store.with_budget(budget(RETRY_TIMEOUT)?)
        }
        Location::Memory => {
            let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", location.to_string())?;
            store.with_budget(budget(RETRY_TIMEOUT)?)
        }
    };
    let store = match config.key_filter {
        Some(key_filter) => store.with_key_filter(key_filter),
        None => store,
    };
    tracing::info!(store = %store, "opened a store");
    Ok(Arc::new(store))
}

/// Returns the maintenance of a store that [`open`] returned for a local directory; `None` for every other store.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::{Location, StoreConfig, maintenance_of, open};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let local = open(&Location::Local(directory.path().into()), &StoreConfig::default())?;
/// assert!(maintenance_of(local.as_ref()).is_some());
/// let memory = open(&Location::Memory, &StoreConfig::default())?;
/// assert!(maintenance_of(memory.as_ref()).is_none());
/// # Ok(())
/// # }
/// ```
pub fn maintenance_of(store: &dyn SnapshotStore) -> Option<LocalMaintenance> {
    let (directory, location) = ObjectSnapshotStore::downcast(store)?.local()?;
    Some(LocalMaintenance::new(directory.clone(), location))
}

/// Returns where the keys of a bucket are that [`open`] returned; `None` for every other store.
pub(crate) fn bucket_place_of(store: &dyn SnapshotStore) -> Option<Arc<BucketPlace>> {
    ObjectSnapshotStore::downcast(store)?.place().cloned()
}

/// Returns the notices of a store of this crate; an empty list of its own for every other store.
pub(crate) fn notices_of(store: &dyn SnapshotStore) -> Notices {
    ObjectSnapshotStore::downcast(store).map_or_else(Notices::default, |store| store.notices().clone())
}

/// Returns how a store of this crate creates objects; `Conditional` for every other store.
pub(crate) fn create_mode_of(store: &dyn SnapshotStore) -> CreateMode {
    ObjectSnapshotStore::downcast(store).map_or(CreateMode::Conditional, ObjectSnapshotStore::create_mode)
}

/// Returns the multipart uploads that have not ended in a bucket that [`open`] returned. Those of other stores are not
/// known.
pub(crate) async fn multipart_uploads_of(store: &dyn SnapshotStore) -> MultipartReport {
    match ObjectSnapshotStore::downcast(store) {
        Some(own) => own.multipart_uploads().await,
        None => MultipartReport::default(),
    }
}

/// Prepares a store for this library: gives it a budget, unless it has one of its own, and a key filter, if it supports
/// one and has none.
pub(crate) fn adopt(
    store: Arc<dyn SnapshotStore>,
    transfers: &TransferConfig,
    key_filter: KeyFilter,
) -> Result<Arc<dyn SnapshotStore>> {
    match ObjectSnapshotStore::downcast(store.as_ref()) {
        Some(own) => Ok(Arc::new(own.clone().with_key_filter(key_filter))),
        None => Ok(Arc::new(BudgetedStore::new(store, Budget::new(transfers, RETRY_TIMEOUT)?))),
    }
}

/// Limits the storage class of a store of this crate to these keys. All other uploads get the class of the bucket.
pub(crate) fn with_storage_class_for(store: Arc<dyn SnapshotStore>, keys: KeyFilter) -> Arc<dyn SnapshotStore> {
    match ObjectSnapshotStore::downcast(store.as_ref()) {
        Some(own) => Arc::new(own.clone().with_storage_class_for(keys)),
        None => store,
    }
}

#[allow(unused_variables, reason = "a build without providers reads none of them")]
fn open_bucket(provider: Provider, bucket: &str, location: &str, settings: Settings) -> Result<BucketClient> {
    #[cfg(feature = "http")]
    let bucket = super::providers::Bucket { name: bucket, location };
    match provider {
        #[cfg(feature = "aws")]
        Provider::S3 => super::providers::s3::open(&bucket, settings),
        #[cfg(feature = "gcp")]
        Provider::Gcs => super::providers::gcs::open(&bucket, settings),
        #[cfg(feature = "azure")]
        Provider::Azure => super::providers::azure::open(&bucket, settings),
        #[allow(unreachable_patterns, reason = "unreachable if every provider is built in")]
        other => Err(not_built_in(other)),
    }
}

#[allow(dead_code, reason = "unused if every provider is built in")]
fn not_built_in(provider: Provider) -> SnapshotError {
    let feature = match provider {
        Provider::S3 => "aws",
        Provider::Gcs => "gcp",
        Provider::Azure => "azure",
    };
    let scheme = provider.scheme();
    invalid(format!("{scheme}:// is not built into this program; build it with the Cargo feature {feature:?}"))
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{StreamExt as _, TryStreamExt as _};
    use tempfile::TempDir;

    use super::*;
    use crate::store::cancellable::CancellableStore;
    use crate::store::testing::conformance;
    use crate::store::testing::fault::{Action, Call, Fault, FaultStore, Moment, Steps};

    fn is_own(key: &str) -> bool {
        key.starts_with("own")
    }

    fn memory() -> Arc<dyn SnapshotStore> {
        open(&Location::Memory, &StoreConfig::default()).unwrap()
    }

    /// A store that this crate does not know.
    fn foreign() -> Arc<dyn SnapshotStore> {
        Arc::new(CancellableStore { inner: memory(), cancelled: Default::default() })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_adopted_foreign_store_keeps_the_contract_with_the_smallest_budget() {
        let transfers = TransferConfig::default().max_concurrent_io(1);
        let store = adopt(foreign(), &transfers, |_| true).unwrap();
        conformance::run_all(store, "suite").await.unwrap();
    }

    /// The largest number of calls in progress at the same time, of all but listings.
    fn most_in_progress(steps: &Steps) -> usize {
        let steps = steps.log().into_iter().filter(|step| step.call != Call::List);
        let counts = steps.scan(0, |in_progress, step| {
            *in_progress = if step.moment == Moment::Before { *in_progress + 1 } else { *in_progress - 1 };
            Some(*in_progress)
        });
        counts.max().unwrap_or_default()
    }

    #[tokio::test]
    async fn an_adopted_foreign_store_gets_no_more_calls_at_once_than_the_budget_allows() {
        for max_concurrent_io in [1, 2, 5] {
            let pause = || Fault::Do(Action::new(|| async { tokio::task::yield_now().await }));
            let (store, steps) = FaultStore::over(memory(), (0..1000).map(|step| (step, pause())));
            let transfers = TransferConfig::default().max_concurrent_io(max_concurrent_io);
            let store = adopt(store, &transfers, |_| true).unwrap();
            store.create("key", vec![7; 1000].into()).await.unwrap();
            let calls = (0..10).map(|number| {
                let store = store.clone();
                async move {
                    let mut upload = store.upload(&format!("upload-{number}"), None).await?;
                    upload.write("x".into()).await?;
                    store.get("key", 1000).await?;
                    store.get_range("key", 0..10).await?;
                    store.head("key").await?;
                    store.create(&format!("create-{number}"), "x".into()).await?;
                    upload.finish().await?;
                    store.delete("other").await
                }
            });
            futures::future::try_join_all(calls).await.unwrap();
            assert_eq!(most_in_progress(&steps), max_concurrent_io);
        }
    }

    /// A stream of reads is not polled while its consumer writes.
    #[expect(clippy::disallowed_methods, reason = "the time is simulated")]
    #[tokio::test(start_paused = true)]
    async fn reads_that_are_not_polled_and_an_upload_do_not_wait_for_each_other() {
        let pause = || Fault::Do(Action::new(|| tokio::time::sleep(Duration::from_millis(1))));
        let (store, _) = FaultStore::over(memory(), (0..1000).map(|step| (step, pause())));
        let store = adopt(store, &TransferConfig::default().max_concurrent_io(1), |_| true).unwrap();
        store.create("key", vec![7; 1000].into()).await.unwrap();
        let reads = (0..10).map(|start| {
            let store = store.clone();
            async move {
                let info = store.head("key").await?;
                let bytes = store.get("key", info.size_bytes).await?;
                let range = store.get_range("key", start * 100..start * 100 + 100).await?;
                Ok::<_, SnapshotError>(bytes.slice(..range.len()))
            }
        });
        let mut reads = futures::stream::iter(reads).buffered(4);
        let mut upload = store.upload("copy", None).await.unwrap();
        let copy = async {
            while let Some(bytes) = reads.try_next().await.unwrap() {
                upload.write(bytes).await.unwrap();
            }
            upload.finish().await.unwrap()
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), copy).await.expect("deadlock"), 1000);
    }

    #[tokio::test]
    async fn a_store_with_a_budget_does_not_get_a_second_one() {
        let transfers = TransferConfig::default();
        let own = adopt(memory(), &transfers, is_own).unwrap();
        assert!(ObjectSnapshotStore::downcast(own.as_ref()).is_some());
        let other = adopt(foreign(), &transfers, is_own).unwrap();
        assert!(ObjectSnapshotStore::downcast(other.as_ref()).is_none());
    }

    #[tokio::test]
    async fn an_adopted_store_lists_the_keys_of_its_filter() {
        let directory = TempDir::new().unwrap();
        let config = StoreConfig::default().key_filter(|key| key.starts_with("other"));
        for location in [Location::Memory, Location::Local(directory.path().to_owned())] {
            for (config, expected) in [(StoreConfig::default(), "own/a"), (config.clone(), "other/a")] {
                let store = adopt(open(&location, &config).unwrap(), &TransferConfig::default(), is_own).unwrap();
                for key in ["own/a", "other/a"] {
                    store.delete(key).await.unwrap();
                    store.create(key, "x".into()).await.unwrap();
                }
                let listed: Vec<_> = store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
                assert_eq!(listed, [expected], "{location}");
            }
        }
    }
}
