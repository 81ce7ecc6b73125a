//! The verbs of the façade that create snapshots: create, compact, and what became of an attempt.

use std::path::Path;
use std::sync::Arc;

use ruvector_core::VectorDB;
use ruvector_snapshot_format::metadata::SourceId;

use super::SnapshotManager;
use crate::config::SnapshotConfig;
use crate::error::Result;
use crate::ops::compact::CompactPlan;
use crate::ops::create::{CreateOptions, CreatePlan, EarlierSnapshots, Origin};
use crate::ops::{compact, create};
use crate::progress::Progress;
use crate::repo::attempt::{self, AttemptOutcome};
use crate::repo::found_corrupt::recorded_with;
use crate::repo::location::check_output;
use crate::snapshot::Snapshot;
use crate::source::SnapshotSource;

/// Creating snapshots.
impl SnapshotManager {
    /// Takes a full snapshot of a database, which may be written meanwhile. See
    /// [`create_snapshot_with`](Self::create_snapshot_with).
    ///
    /// # Errors
    ///
    /// The same as [`create_snapshot_with`](Self::create_snapshot_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, db: ruvector_core::VectorDB) -> Result<(), Box<dyn std::error::Error>> {
    /// let snapshot = manager.create_snapshot(&db, "nightly").await?;
    /// println!("{}: {} vectors", snapshot.id, snapshot.vector_count);
    /// # Ok(()) }
    /// ```
    pub async fn create_snapshot(&self, db: &VectorDB, name: &str) -> Result<Snapshot> {
        self.create_snapshot_with(db, name, &CreateOptions::default()).await
    }

    /// Takes an incremental snapshot: only what changed since `base_id` is stored. See [`CreateOptions::base_id`].
    ///
    /// # Errors
    ///
    /// The same as [`create_snapshot_with`](Self::create_snapshot_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, db: ruvector_core::VectorDB) -> Result<(), Box<dyn std::error::Error>> {
    /// let full = manager.create_snapshot(&db, "monday").await?;
    /// let increment = manager.create_incremental_snapshot(&db, "tuesday", &full.id).await?;
    /// assert_eq!(increment.base_id(), Some(full.id.as_str()));
    /// # Ok(()) }
    /// ```
    pub async fn create_incremental_snapshot(&self, db: &VectorDB, name: &str, base_id: &str) -> Result<Snapshot> {
        self.create_snapshot_with(db, name, &CreateOptions::default().base_id(base_id)).await
    }

    /// Takes a snapshot of a database. A database with a file is read as of one commit, without a lock. A database in
    /// memory is read twice.
    ///
    /// A database in memory cannot list its config rows. Those that Ruvector itself writes are captured.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput): the name is not allowed (see
    ///   [`check_name`](crate::check_name)), or the database does not fit the base.
    /// - [`ErrorKind::Busy`](crate::ErrorKind::Busy): the database kept changing.
    /// - [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull): the store or the scratch directory is full.
    /// - [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt): the database or the base is corrupt.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the base does not exist.
    ///
    /// After an error no snapshot exists, unless the message says that it may: if the answer to the commit was lost, or
    /// the check after the commit failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, db: ruvector_core::VectorDB) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::CreateOptions;
    ///
    /// let options = CreateOptions::default().label("host", "db1");
    /// let snapshot = manager.create_snapshot_with(&db, "nightly", &options).await?;
    /// # Ok(()) }
    /// ```
    pub async fn create_snapshot_with(&self, db: &VectorDB, name: &str, options: &CreateOptions) -> Result<Snapshot> {
        let path = db.options().storage_path.as_str();
        let origin = if path.starts_with("memory://") { Origin::Memory(db) } else { Origin::File(Path::new(path)) };
        recorded_with(&self.context, options.progress.as_deref(), create::create(&self.context, origin, name, options))
            .await
    }

    /// Takes a snapshot of a database file that this or another process may have open and may be writing to.
    ///
    /// # Errors
    ///
    /// The same as [`create_snapshot_with`](Self::create_snapshot_with), and
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) or
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the file does not exist or is not a Ruvector
    /// database.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::CreateOptions;
    ///
    /// // Another process may be writing to the file.
    /// let snapshot = manager.create_snapshot_of_file("/srv/vectors.db", "nightly", &CreateOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn create_snapshot_of_file(
        &self,
        path: impl AsRef<Path>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            create::create(&self.context, Origin::File(path.as_ref()), name, options),
        )
        .await
    }

    /// Plans a snapshot of a database file: what it would hold, and how many bytes the store would take at most. Writes
    /// nothing to the store.
    ///
    /// Reads the database as [`create_snapshot_of_file`](Self::create_snapshot_of_file) does, all of it or what has changed
    /// since the base, and makes the same checks. So a private copy of a database that is being written can be made in the
    /// scratch directory, and is removed. What is not tried is the compression, and whether the store can be written to:
    /// [`check_store`](Self::check_store) tries that. Warnings go to [`CreateOptions::progress`].
    ///
    /// # Errors
    ///
    /// Returns the error that the create would return before it writes.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("vectors.db");
    /// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
    /// #     dimensions: 2, storage_path: path.display().to_string(), ..Default::default() })?;
    /// # db.insert(ruvector_core::VectorEntry { id: Some("a".into()), vector: vec![1.0, 2.0], metadata: None })?;
    /// # let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// use ruvector_snapshot::CreateOptions;
    ///
    /// let plan = manager.plan_create_of_file(&path, "nightly", &CreateOptions::default()).await?;
    /// assert_eq!((plan.records, plan.store_is_new), (1, true));
    ///
    /// let snapshot = manager.create_snapshot_of_file(&path, "nightly", &CreateOptions::default()).await?;
    /// assert_eq!(snapshot.checksum, plan.checksum);
    /// assert!(snapshot.size_bytes <= plan.stored_bytes_max);
    /// # Ok(()) }
    /// ```
    pub async fn plan_create_of_file(
        &self,
        path: impl AsRef<Path>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<CreatePlan> {
        create::plan(&self.context, path.as_ref(), name, options).await
    }

    /// Takes a snapshot of a source of the caller's. See [`SnapshotSource`] for an example.
    ///
    /// # Errors
    ///
    /// The same as [`create_snapshot_with`](Self::create_snapshot_with), and every error that the source returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::CreateOptions;
    /// use ruvector_snapshot::source::FileSource;
    ///
    /// let source = FileSource::new("/srv/vectors.db");
    /// let snapshot = manager.create_from(&source, "nightly", &CreateOptions::default()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn create_from(
        &self,
        source: &dyn SnapshotSource,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        recorded_with(
            &self.context,
            options.progress.as_deref(),
            create::create(&self.context, Origin::Custom(source), name, options),
        )
        .await
    }

    /// Checks that snapshots can be taken of a database file. Stores nothing.
    ///
    /// # Errors
    ///
    /// Returns the error that [`create_snapshot_of_file`](Self::create_snapshot_of_file) would return for the file. A
    /// busy database is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotManager};
    ///
    /// let error = SnapshotManager::check_source("missing.db", &SnapshotConfig::default()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # }
    /// ```
    pub async fn check_source(path: impl AsRef<Path>, config: &SnapshotConfig) -> Result<()> {
        create::check_source(path.as_ref(), config, &CreateOptions::default()).await
    }

    /// As [`check_source`](Self::check_source), for a create with these options: it also refuses labels and names that a
    /// create would refuse, and what a [`strict`](CreateOptions::strict) create would refuse before it reads the records.
    ///
    /// # Errors
    ///
    /// The same as [`check_source`](Self::check_source).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(config: ruvector_snapshot::SnapshotConfig) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::{CreateOptions, SnapshotManager};
    ///
    /// let options = CreateOptions::default().strict(true);
    /// SnapshotManager::check_source_with("/srv/vectors.db", &config, &options).await?;
    /// # Ok(()) }
    /// ```
    pub async fn check_source_with(
        path: impl AsRef<Path>,
        config: &SnapshotConfig,
        options: &CreateOptions,
    ) -> Result<()> {
        create::check_source(path.as_ref(), config, options).await
    }

    /// Returns what identifies a database file as the source of snapshots: the name of the source that the options or the
    /// settings give, or else the host and the absolute path.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name is blank, longer than 1,024 bytes
    /// or has control characters, and [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if a directory before a `..`
    /// of the path does not exist.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager};
    ///
    /// # fn main() -> Result<(), ruvector_snapshot::SnapshotError> {
    /// let config = SnapshotConfig { host: Some("db1".to_owned()), ..Default::default() };
    /// let manager = SnapshotManager::open("memory://", config)?;
    /// let source = manager.source_of_file("/srv/vectors.db", &CreateOptions::default())?;
    /// assert_eq!(source.to_string(), "db1:/srv/vectors.db");
    /// let source = manager.source_of_file("/srv/vectors.db", &CreateOptions::default().source_name("articles"))?;
    /// assert_eq!(source.to_string(), "articles");
    /// # Ok(()) }
    /// ```
    pub fn source_of_file(&self, path: impl AsRef<Path>, options: &CreateOptions) -> Result<SourceId> {
        create::source_of_file(&self.context.config, options, path.as_ref())
    }

    /// Refuses a path inside of the directory of the store, or inside a snapshot of another store: in both, only a store writes.
    /// `what` is what the file is, for the error, for example `a log`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// let dir = tempfile::tempdir()?;
    /// let manager = SnapshotManager::open(dir.path().to_str().unwrap_or_default(), SnapshotConfig::default())?;
    /// assert!(manager.check_outside(&dir.path().join("status.prom"), "a file of metrics").is_err());
    /// # Ok(()) }
    /// ```
    pub fn check_outside(&self, path: &Path, what: &str) -> Result<()> {
        check_output(path, what, self.context.directory().as_deref())
    }

    /// Lists the store, and returns what a new full snapshot of this source is compared with: the last one of the source. An
    /// increment is compared with its base. Reads `metadata.json` of the newest snapshots, until one is of the source.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) if the store cannot be listed. A snapshot that cannot be
    /// read is no error, and counted in [`unread`](EarlierSnapshots::unread).
    ///
    /// # Examples
    ///
    /// See [`EarlierSnapshots`].
    pub async fn earlier_of_source(&self, source: &SourceId) -> Result<EarlierSnapshots> {
        create::earlier_of_source(&self.context, source).await
    }

    /// Stores the state of an incremental snapshot as a full snapshot, from its chain alone. The new snapshot has the
    /// time, the name and the content checksum of the incremental one, and an id of its own. The chain is kept; delete
    /// it when it is no longer needed. Repeated, it stores another one: [`Listing::compacted_copy`](crate::Listing::compacted_copy)
    /// returns whether there is one.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the snapshot is full,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it does not exist, and
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) or [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported)
    /// if the chain cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let full = manager.compact_snapshot(id, None).await?;
    /// assert!(full.base_id().is_none());
    /// # Ok(()) }
    /// ```
    pub async fn compact_snapshot(&self, id: &str, progress: Option<Arc<dyn Progress>>) -> Result<Snapshot> {
        let id = id.parse()?;
        let compacted = compact::compact(&self.context, &id, progress.clone());
        recorded_with(&self.context, progress.as_deref(), compacted).await
    }

    /// Plans the compaction of an incremental snapshot: what would be read, and how many bytes the store would take at most.
    /// Writes nothing.
    ///
    /// Makes the checks of [`compact_snapshot`](Self::compact_snapshot) that need no records: the seals of the chain, its block
    /// directories, the sizes of its files, and its irregular rows. The records are not read, so corruption in them is not
    /// found: [`verify_snapshot`](Self::verify_snapshot) finds it.
    ///
    /// # Errors
    ///
    /// The same as [`compact_snapshot`](Self::compact_snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_compact(id).await?;
    /// println!("{} records of {} snapshots, {} bytes at most", plan.records, plan.chain.len(), plan.stored_bytes_max);
    /// # Ok(()) }
    /// ```
    pub async fn plan_compact(&self, id: &str) -> Result<CompactPlan> {
        compact::plan(&self.context, &id.parse()?).await
    }

    /// Returns what is left of an attempt to create a snapshot. The id of an attempt comes from [`Progress::started`].
    /// After a cancellation, call [`wait_for_cleanup`](Self::wait_for_cleanup) first.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid id, and the error of the
    /// store if it cannot be listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::AttemptOutcome;
    ///
    /// manager.wait_for_cleanup().await;
    /// if manager.attempt_outcome(id).await? == AttemptOutcome::Committed {
    ///     println!("the snapshot {id} exists");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn attempt_outcome(&self, id: &str) -> Result<AttemptOutcome> {
        attempt::outcome(&self.context, &id.parse()?).await
    }
}
