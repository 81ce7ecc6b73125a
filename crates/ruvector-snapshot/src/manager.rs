//! The façade: [`SnapshotManager`]. Every method parses its arguments and calls the verb of its name.

mod annotating;
mod copying;
mod creating;
mod deleting;
mod exchanging;
mod listing;
mod restoring;
mod searching;

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::SnapshotConfig;
use crate::error::Result;
use crate::ops::check_store;
use crate::repo::context::Context;
use crate::repo::location::check_location;
use crate::store::{
    self, LocalMaintenance, Location, SnapshotStore, StoreCheckPlan, StoreConfig, StoreOptions, StoreReport,
};

/// Takes snapshots, stores them, verifies them and restores them.
///
/// Cheap to clone. All methods can be called from several tasks, processes and machines at once.
///
/// # Cancellation
///
/// Dropping the future of a method cancels it: uploads are aborted, stored objects are removed, and neither a snapshot
/// nor a restored file appears. A snapshot whose commit has started is completed, and so is the rename of a restored
/// and verified file. A deletion and the collection of orphans are always completed once they have begun.
/// [`wait_for_cleanup`](Self::wait_for_cleanup) waits until that is done.
#[derive(Debug, Clone)]
pub struct SnapshotManager {
    context: Context,
}

/// Opening a repository.
impl SnapshotManager {
    /// Returns where the store is.
    pub(crate) fn location(&self) -> String {
        self.context.store.to_string()
    }

    /// Opens the repository in the local directory `config.snapshot_dir`. The directory is created if it does not
    /// exist, unless [`SnapshotConfig::require_store`] is set. The directory above it must exist.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a setting is out of range, the path is
    /// not a directory, or it is inside a snapshot of another store;
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the directory above it does not exist; and
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) if it cannot be created.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    ///
    /// let config = SnapshotConfig { snapshot_dir: dir.path().join("snapshots"), ..Default::default() };
    /// let manager = SnapshotManager::new(config)?;
    /// # let _ = manager;
    /// # Ok(()) }
    /// ```
    pub fn new(config: SnapshotConfig) -> Result<Self> {
        let location = Location::Local(config.snapshot_dir.clone());
        Self::open_location(&location, StoreOptions::default(), config)
    }

    /// Opens the repository at a location: a path, `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`,
    /// `az://container/prefix` or `memory://`. A missing directory is created as in [`new`](Self::new), a missing bucket
    /// is not.
    ///
    /// Credentials, region and endpoint come from the environment variables of each provider's own tools
    /// (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY`, …).
    /// [`SnapshotConfig::store_options`] overrides them. No request is sent yet.
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new) and [`store::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), ruvector_snapshot::SnapshotError> {
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    ///
    /// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// # let _ = manager;
    /// # Ok(()) }
    /// ```
    pub fn open(location: &str, config: SnapshotConfig) -> Result<Self> {
        let location: Location = location.parse()?;
        let environment = StoreOptions::from_env(&location);
        Self::open_location(&location, environment, config)
    }

    fn open_location(location: &Location, environment: StoreOptions, config: SnapshotConfig) -> Result<Self> {
        check_location(location)?;
        let options = config.store_options.over(&environment);
        let store_config =
            StoreConfig::default().create(!config.require_store).options(options).transfers(config.transfers());
        Self::with_store(config, store::open(location, &store_config)?)
    }

    /// Opens the repository in a store of the caller's.
    ///
    /// A store of this crate keeps the limits that it was opened with. Every other store gets those of `config`:
    /// `max_concurrent_io`, `max_upload_bytes_per_second` and `max_download_bytes_per_second`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a setting is out of range, or if the store
    /// calls itself by a path inside a snapshot of another store (see [`check_location`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), ruvector_snapshot::SnapshotError> {
    /// use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    ///
    /// let store = open(&Location::Memory, &StoreConfig::default())?;
    /// let manager = SnapshotManager::with_store(SnapshotConfig::default(), store)?;
    /// # let _ = manager;
    /// # Ok(()) }
    /// ```
    pub fn with_store(config: SnapshotConfig, store: Arc<dyn SnapshotStore>) -> Result<Self> {
        Ok(Self { context: Context::new(config, store)? })
    }

    /// Uses this maintenance of a local directory to find and remove abandoned files. Needed only for a store of the
    /// caller's that wraps a local directory; see [`store::maintenance_of`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{Location, StoreConfig, maintenance_of, open};
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # fn wrap(store: std::sync::Arc<dyn ruvector_snapshot::store::SnapshotStore>) -> std::sync::Arc<dyn ruvector_snapshot::store::SnapshotStore> { store }
    /// # fn main() -> Result<(), ruvector_snapshot::SnapshotError> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let directory = dir.path().to_path_buf();
    ///
    /// let local = open(&Location::Local(directory), &StoreConfig::default())?;
    /// let maintenance = maintenance_of(local.as_ref());
    /// // `wrap` returns a store of your own that forwards to this one.
    /// let mut manager = SnapshotManager::with_store(SnapshotConfig::default(), wrap(local))?;
    /// if let Some(maintenance) = maintenance {
    ///     manager = manager.with_maintenance(maintenance);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_maintenance(mut self, maintenance: LocalMaintenance) -> Self {
        self.context.maintenance = Some(maintenance);
        self
    }

    /// Uses this clock, and its randomness, from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::clock::Clock;
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    ///
    /// # fn example(simulated: Arc<dyn Clock>) -> ruvector_snapshot::Result<()> {
    /// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?.with_clock(simulated);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.context.clock = clock;
        self
    }

    /// Returns the settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    ///
    /// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// assert!(manager.config().compression);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn config(&self) -> &SnapshotConfig {
        &self.context.config
    }

    /// Waits until everything that cancelled calls have left to be cleaned up is cleaned up.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, db: ruvector_core::VectorDB) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// // A timeout drops the future, which cancels the create.
    /// let created = tokio::time::timeout(Duration::from_secs(60), manager.create_snapshot(&db, "nightly")).await;
    /// if created.is_err() {
    ///     manager.wait_for_cleanup().await;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn wait_for_cleanup(&self) {
        self.context.wait_for_cleanup().await;
    }
}

/// Warnings of work that takes no [`Progress`](crate::Progress).
impl SnapshotManager {
    /// Returns what the user should know of the work so far, and forgets it. A create or a compaction with a
    /// [`Progress`](crate::Progress) has passed its warnings to it already. Call it after any other method, and after
    /// [`wait_for_cleanup`](Self::wait_for_cleanup). Every warning is also traced.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> ruvector_snapshot::Result<()> {
    /// manager.delete_snapshot(id).await?;
    /// for warning in manager.take_warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn take_warnings(&self) -> Vec<String> {
        self.context.notices.take()
    }
}

/// Checking a store.
impl SnapshotManager {
    /// Tests what snapshots need of the store, and measures it, with objects under a prefix of their own that are
    /// removed again. Sends and reads about 100 MiB each.
    ///
    /// # Errors
    ///
    /// Returns the error of the store if the first object cannot be written. What fails after that is part of the
    /// report.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let report = manager.check_store().await?;
    /// for finding in &report.findings {
    ///     println!("{}: {:?}", finding.name, finding.status);
    /// }
    /// assert!(report.is_safe());
    /// # Ok(()) }
    /// ```
    pub async fn check_store(&self) -> Result<StoreReport> {
        check_store::check_store(&self.context).await
    }

    /// Plans what [`check_store`](Self::check_store) would write and read. Writes nothing: it lists the store, to see that it
    /// can be reached. Whether it can be written to shows only when it is.
    ///
    /// # Errors
    ///
    /// Returns the error of the store if it cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_check_store().await?;
    /// println!("{} bytes at most under {}...", plan.written_bytes, plan.key_prefix);
    /// # Ok(()) }
    /// ```
    pub async fn plan_check_store(&self) -> Result<StoreCheckPlan> {
        check_store::plan(&self.context).await
    }
}
