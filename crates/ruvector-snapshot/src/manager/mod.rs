//! Floor 2: the verbs. The only floor that sees format, store and source together.
//!
//! [`SnapshotManager`] is thin: each verb lives in the file of its name.
//!
//! The order that every verb keeps: data first, the commit (`metadata.json`) last; what is deleted loses its commit first.
//! Nothing is ever rewritten and nothing takes a lock.

mod catalog;
mod chain;
mod check;
mod compact;
pub mod config;
pub mod create;
mod delete;
mod delta;
mod dependants;
pub mod progress;
pub mod prune;
mod reader;
pub mod restore;
pub mod retention;
pub mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use ruvector_core::VectorDB;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout::{self, DataFile};
use crate::format::metadata::{Changes, SnapshotMetadata, SnapshotType, SourceInfo};
use crate::store::{self, Location, SnapshotStore, StoreConfig, StoreOptions, StoreReport};
use chain::Chain;
use config::SnapshotConfig;
use create::{CreateOptions, Origin};
use progress::Progress;
use prune::{DeletePlan, DeleteReport, Leftover};
use restore::RestoreOptions;
use retention::{PrunePlan, PrunePolicy};
use verify::{VerifyOptions, VerifyReport};

/// Takes snapshots, keeps them in a store, proves them and gets them back.
///
/// Cheap to clone. Every method may be called from several tasks, processes and machines at once.
///
/// Dropping a future of a verb cancels it: uploads are aborted, what was stored for it is removed, and no snapshot and no
/// restored file comes to be. A snapshot whose commit has begun is completed, and so is the move of a restored and proved
/// file to its place. [`settle`](Self::settle) waits for that.
#[derive(Debug, Clone)]
pub struct SnapshotManager {
    config: SnapshotConfig,
    store: Arc<dyn SnapshotStore>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
}

/// A snapshot, as its metadata.json tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The id: 36 characters, never used twice, sorts by time.
    pub id: String,
    /// The user's label; may repeat.
    pub name: String,
    /// The moment of creation.
    pub created_at: DateTime<Utc>,
    /// The five files as stored, in bytes.
    pub size_bytes: u64,
    /// The content checksum: 64 hexadecimal digits that are equal for equal contents, whatever the compression.
    pub checksum: String,
    /// Full, or an increment and on what.
    pub snapshot_type: SnapshotType,
    /// Records in the state.
    pub vector_count: usize,
    /// f32 values a vector.
    pub dimensions: usize,
    /// The metric in Ruvector's notation; `None` where the database did not say.
    pub distance_metric: Option<String>,
    /// The user's `key: value` labels.
    pub labels: BTreeMap<String, String>,
    /// The user's own JSON, from [`CreateOptions::metadata`].
    pub metadata: serde_json::Value,
    /// Where the records came from.
    pub source: SourceInfo,
    /// The data files expanded, in bytes.
    pub raw_bytes: u64,
    /// Each of the five files and its size as stored, in bytes.
    pub files: BTreeMap<String, u64>,
    /// Of an increment, how many records it adds, changes and removes.
    pub changes: Option<Changes>,
    /// Whether it is kept from being deleted.
    pub pinned: bool,
    /// The program that wrote it.
    pub writer: String,
}

/// What a store holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The snapshots, newest first.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots that cannot be used, newest first: they show damage without their data being read, or a newer version wrote
    /// them, or their metadata.json cannot be read or was lost.
    pub damaged: Vec<DamagedSnapshot>,
    /// Ids of uploads that are under way or were given up, newest first. They are not snapshots.
    pub unfinished: Vec<String>,
    /// Ids of what a deletion that is under way, or was cut off, has left, newest first. They are no snapshots any more.
    pub deleting: Vec<String>,
    /// Ids of those of `snapshots` that a deletion has marked which is under way or was cut off, newest first. They are
    /// whole still; nothing new can stand on them.
    pub marked: Vec<String>,
}

/// A snapshot whose metadata.json cannot be used, or of which a file is missing or has another size.
#[derive(Debug)]
#[non_exhaustive]
pub struct DamagedSnapshot {
    /// The id.
    pub id: String,
    /// The name, where metadata.json can be read.
    pub name: Option<String>,
    /// What is wrong with it.
    pub error: SnapshotError,
}

impl SnapshotManager {
    /// A manager of the snapshots in the local directory `config.snapshot_dir`, which is made if it is missing.
    pub fn new(config: SnapshotConfig) -> Result<Self> {
        let location = Location::Local(config.snapshot_dir.clone());
        let store =
            store::open(&location, &StoreConfig { create: true, transfers: config.transfers(), ..Default::default() })?;
        Self::with_store(config, store)
    }

    /// A manager of the snapshots at a location: a path, `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`,
    /// `az://container/prefix` or `memory://`. A missing directory is made, a missing bucket is not.
    ///
    /// Keys, region and address come from the environment, in the names of each provider's own tools (`AWS_ACCESS_KEY_ID`,
    /// `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY`, ...), and [`SnapshotConfig::store_options`] goes before
    /// it. No request is sent yet.
    ///
    /// # Errors
    ///
    /// As [`store::open`].
    pub fn open(location: &str, config: SnapshotConfig) -> Result<Self> {
        let location: Location = location.parse()?;
        let options = config.store_options.over(&StoreOptions::from_env(&location));
        let store = store::open(&location, &StoreConfig { create: true, options, transfers: config.transfers() })?;
        Self::with_store(config, store)
    }

    /// A manager of the snapshots in a store of the caller's. What it carries at once is the store's affair; see
    /// [`ObjectSnapshotStore::with_transfers`](store::ObjectSnapshotStore::with_transfers).
    pub fn with_store(config: SnapshotConfig, store: Arc<dyn SnapshotStore>) -> Result<Self> {
        config.validate()?;
        let tasks = TaskTracker::new();
        // A tracker that is closed still takes tasks, and only one that is closed can be waited for.
        tasks.close();
        Ok(Self { config, store, clock: Arc::new(SystemClock), tasks })
    }

    /// Uses this clock, and its randomness, from now on.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The settings.
    pub fn config(&self) -> &SnapshotConfig {
        &self.config
    }

    /// Takes a full snapshot of a database, which may be written meanwhile: see
    /// [`create_snapshot_with`](Self::create_snapshot_with).
    pub async fn create_snapshot(&self, db: &VectorDB, name: &str) -> Result<Snapshot> {
        self.create_snapshot_with(db, name, &CreateOptions::default()).await
    }

    /// Takes a snapshot of what changed since another one: see [`CreateOptions::base_id`].
    pub async fn create_incremental_snapshot(&self, db: &VectorDB, name: &str, base_id: &str) -> Result<Snapshot> {
        let options = CreateOptions { base_id: Some(base_id.to_owned()), ..CreateOptions::default() };
        self.create_snapshot_with(db, name, &options).await
    }

    /// Takes a full snapshot of a database: of its file where it has one, which is read as of one commit without a lock, else
    /// of its memory.
    ///
    /// Of a database in memory the `config` rows that Ruvector itself writes are captured; it has no way to list others.
    ///
    /// # Errors
    ///
    /// `Busy` where a database in memory never stood still; `NoSpace` where the store or the scratch directory is full;
    /// `Damaged` where the database is; `Invalid` for a name that is blank, longer than 1,024 bytes, holds control characters,
    /// or is `latest` or of the form of an id. No snapshot exists after an error, unless it says so: where the answer to the commit is
    /// lost, or the look that follows it fails, the error says that there is a snapshot, or may be one.
    pub async fn create_snapshot_with(&self, db: &VectorDB, name: &str, options: &CreateOptions) -> Result<Snapshot> {
        let path = db.options().storage_path.as_str();
        let origin = if path.starts_with("memory://") { Origin::Memory(db) } else { Origin::File(Path::new(path)) };
        self.create(origin, name, options).await
    }

    /// Takes a full snapshot of a database file that this or another process may have open and may be writing to.
    ///
    /// # Errors
    ///
    /// As [`create_snapshot_with`](Self::create_snapshot_with), and `NotFound` or `Invalid` where there is no such file or
    /// it is no Ruvector database.
    pub async fn create_snapshot_of_file(
        &self,
        path: impl AsRef<Path>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        self.create(Origin::File(path.as_ref()), name, options).await
    }

    /// Makes a full snapshot of the state of an increment, from its chain alone. It bears the moment, the name and the content
    /// checksum of the increment, and an id of its own. The chain stays: delete it when it is not needed.
    ///
    /// # Errors
    ///
    /// `Invalid` for a snapshot that is full already; `NotFound`, `Damaged`, `Unsupported`.
    pub async fn compact_snapshot(&self, id: &str, progress: Option<Arc<dyn Progress>>) -> Result<Snapshot> {
        compact::compact(self, &id.parse()?, progress).await
    }

    /// The snapshots in the store, newest first.
    ///
    /// # Errors
    ///
    /// That of the first snapshot that cannot be used, as `Damaged` where it shows damage and `Unsupported` where a newer
    /// version wrote it; [`list`](Self::list) tells such ones apart and gives the others.
    pub async fn list_snapshots(&self) -> Result<Vec<Snapshot>> {
        let listing = self.list().await?;
        match listing.damaged.into_iter().next() {
            None => Ok(listing.snapshots),
            Some(damaged) => Err(damaged.error),
        }
    }

    /// What the store holds: snapshots, damaged ones, and uploads that are not finished. Reads every metadata.json and no
    /// data.
    pub async fn list(&self) -> Result<Listing> {
        catalog::list(self).await
    }

    /// A snapshot by its id; `None` where there is none.
    ///
    /// # Errors
    ///
    /// `Invalid` for text that is no id, `Damaged` or `Unsupported` where its metadata.json cannot be used.
    pub async fn get_snapshot(&self, id: &str) -> Result<Option<Snapshot>> {
        let id: SnapshotId = id.parse()?;
        match catalog::read(self.store.as_ref(), &id).await {
            Ok((metadata, bytes)) => Ok(Some(self.described(&metadata, &bytes).await?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A snapshot and what it stands on, the newest first; of a full one itself alone. Reads no data.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Damaged` or `Unsupported` where one that it stands on is missing or its metadata.json cannot be used.
    pub async fn chain(&self, id: &str) -> Result<Vec<Snapshot>> {
        let chain = Chain::open(self, &id.parse()?).await?;
        let members = chain.readers().iter().map(|reader| self.described(&reader.metadata, &reader.metadata_json));
        futures::stream::iter(members.collect::<Vec<_>>()).buffered(self.config.max_concurrent_io).try_collect().await
    }

    /// The id that a user means: an id, a prefix that only one id has, a name (the newest snapshot of it), or `latest`.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Invalid` where several ids begin so.
    pub async fn resolve(&self, text: &str) -> Result<String> {
        // A whole id needs no listing, and so no other snapshot that can be read.
        if let Ok(id) = text.parse::<SnapshotId>()
            && self.store.head(&layout::key(&id, layout::METADATA_JSON)).await.is_ok()
        {
            return Ok(id.to_string());
        }
        catalog::resolve(&self.list().await?, text)
    }

    /// Restores a snapshot into a database in memory, and builds its search index, which takes longer than all else.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Damaged`, `Unsupported`.
    pub async fn restore_snapshot(&self, id: &str) -> Result<VectorDB> {
        self.restore_to_memory(&id.parse()?, &RestoreOptions::default()).await
    }

    /// [`restore_snapshot`](Self::restore_snapshot) with options.
    pub async fn restore_snapshot_with(&self, id: &str, options: &RestoreOptions) -> Result<VectorDB> {
        self.restore_to_memory(&id.parse()?, options).await
    }

    /// Restores a snapshot to a database file, which appears under its name whole and proved, or not at all.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where something stands at `path` and [`RestoreOptions::overwrite`] is not set; `NotFound`,
    /// `Damaged`, `Unsupported`, `NoSpace`.
    pub async fn restore_snapshot_to(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        options: &RestoreOptions,
    ) -> Result<Snapshot> {
        self.restore_to_file(&id.parse()?, path.as_ref(), options).await
    }

    /// Whether a snapshot is whole: every byte, every digest and the content checksum. `Ok(false)` means damage;
    /// [`verify_snapshot_with`](Self::verify_snapshot_with) says where.
    pub async fn verify_snapshot(&self, id: &str) -> Result<bool> {
        Ok(self.verify_snapshot_with(id, &VerifyOptions::default()).await?.is_whole())
    }

    /// Reads the whole snapshot and reports all damage, by file and block.
    ///
    /// # Errors
    ///
    /// `NotFound`, or what kept it from being read; damage is no error here.
    pub async fn verify_snapshot_with(&self, id: &str, options: &VerifyOptions) -> Result<VerifyReport> {
        verify::verify(self, &id.parse()?, options).await
    }

    /// Deletes a snapshot; its metadata.json goes first, so that it is never half a snapshot.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no snapshot of this id; `Invalid` where others stand on it, or it is pinned; `Unsupported` and others
    /// where a snapshot in the store cannot be read, as one that a newer version wrote: it may stand on this one.
    pub async fn delete_snapshot(&self, id: &str) -> Result<()> {
        let plan = self.plan_delete(&[id], false).await?;
        self.carry_out_delete(&plan).await.map(drop)
    }

    /// What a deletion of these snapshots comes to; with `cascade` everything that stands on them goes too.
    ///
    /// # Errors
    ///
    /// As [`delete_snapshot`](Self::delete_snapshot).
    pub async fn plan_delete(&self, ids: &[&str], cascade: bool) -> Result<DeletePlan> {
        let ids: Vec<SnapshotId> = ids.iter().map(|id| id.parse()).collect::<Result<_>>()?;
        prune::plan_delete(self, &ids, cascade).await
    }

    /// Deletes what the plan says, each snapshot before what it stands on, and returns how many are gone. One that is gone already
    /// does not count; one that something has come to stand on in the meantime stays, which is an error.
    pub async fn carry_out_delete(&self, plan: &DeletePlan) -> Result<usize> {
        prune::delete(self, plan).await
    }

    /// Keeps a snapshot from being deleted, by any rule or by hand, until it is unpinned.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such snapshot, or it has been deleted meanwhile; `Unavailable` where it is being deleted and
    /// that takes longer than a few seconds.
    pub async fn pin_snapshot(&self, id: &str) -> Result<()> {
        let id: SnapshotId = id.parse()?;
        catalog::read(self.store.as_ref(), &id).await?;
        let pinned = serde_json::json!({ "pinned_at": self.clock.now() }).to_string();
        let key = layout::key(&id, layout::PINNED_JSON);
        match self.store.create(&key, pinned.into()).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            answer => answer?,
        }
        // A deletion marks first and looks for pins then, so one of the two sees the other.
        let found = delete::settled(self.store.as_ref(), &id).await?;
        if !found.contains_key(layout::METADATA_JSON) {
            // Nothing is pinned by it any more, and nothing will be.
            self.store.delete(&key).await?;
            let what = format!("snapshot {id} was deleted while it was being pinned");
            return Err(SnapshotError::new(ErrorKind::NotFound, what));
        }
        if catalog::is_being_deleted(&found) {
            // The pin stays: somebody else may have been told that it holds.
            let what = format!(
                "snapshot {id} is being deleted, or a deletion of it was cut off: the pin is there, and holds if the snapshot \
                 is there later; pin it again then to be sure"
            );
            return Err(SnapshotError::new(ErrorKind::Unavailable, what));
        }
        Ok(())
    }

    /// Lets a snapshot be deleted again.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such snapshot.
    pub async fn unpin_snapshot(&self, id: &str) -> Result<()> {
        let id: SnapshotId = id.parse()?;
        catalog::read(self.store.as_ref(), &id).await?;
        self.store.delete(&layout::key(&id, layout::PINNED_JSON)).await
    }

    /// What killed processes have left that is older than [`SnapshotConfig::grace`].
    pub async fn leftovers(&self) -> Result<Vec<Leftover>> {
        prune::leftovers(self, &catalog::survey(self).await?).await
    }

    /// Removes leftovers, and returns those that are gone. What is in use after all stays.
    ///
    /// # Errors
    ///
    /// One that names all that could not be removed, once everything else is.
    pub async fn sweep(&self, leftovers: &[Leftover]) -> Result<Vec<Leftover>> {
        prune::sweep(self, leftovers).await
    }

    /// Decides by a policy which snapshots stay and which go, and deletes nothing; [`carry_out`](Self::carry_out) does.
    /// Damaged ones neither count nor go. The plan also says what killed processes have left, to be [swept](Self::sweep).
    ///
    /// # Errors
    ///
    /// `Invalid` for a policy without a rule and for one that would drop every snapshot that can be restored;
    /// `Unsupported` and others where a snapshot in the store cannot be read, as one that a newer version wrote: it may
    /// stand on others.
    pub async fn plan_prune(&self, policy: &PrunePolicy) -> Result<PrunePlan> {
        prune::plan_prune(self, policy, true).await
    }

    /// What [`cleanup_old_snapshots`](Self::cleanup_old_snapshots) would keep and drop: the [plan](Self::plan_prune)
    /// whose one rule is [`PrunePolicy::keep_last`].
    pub async fn plan_cleanup(&self, keep: usize) -> Result<PrunePlan> {
        let policy = PrunePolicy { keep_last: keep, ..PrunePolicy::default() };
        prune::plan_prune(self, &policy, false).await
    }

    /// Deletes all but the newest `keep` snapshots and what those stand on, and returns how many.
    ///
    /// # Errors
    ///
    /// As [`plan_prune`](Self::plan_prune): `Invalid` for a `keep` of 0, which would delete everything.
    pub async fn cleanup_old_snapshots(&self, keep: usize) -> Result<usize> {
        let plan = self.plan_cleanup(keep).await?;
        Ok(self.carry_out(&plan).await?.gone.len())
    }

    /// Deletes what the plan drops, in its order, and returns what is gone and what stays since it has come to be
    /// needed. What the plan sweeps is left to [`sweep`](Self::sweep), which comes first: what an upload that was
    /// killed would have stood on stays until it is swept. The plan is taken as it is: [`plan_prune`](Self::plan_prune)
    /// has looked whether anything may stand on what it drops.
    pub async fn carry_out(&self, plan: &PrunePlan) -> Result<DeleteReport> {
        prune::carry_out(self, plan.drop.iter().map(|dropped| dropped.snapshot.id.as_str())).await
    }

    /// Tries out what snapshots need of the store, and how fast it is, on objects under a prefix of their own that are removed again;
    /// about 200 MiB are sent and read.
    ///
    /// # Errors
    ///
    /// Where the first object cannot be written. What goes wrong after that is a finding of the report.
    pub async fn check_store(&self) -> Result<StoreReport> {
        check::check_store(self).await
    }

    /// Waits until everything that a dropped future left to be cleaned up has been.
    pub async fn settle(&self) {
        self.tasks.wait().await;
    }
}

impl SnapshotManager {
    /// What metadata.json tells, and whether the snapshot is pinned.
    async fn described(&self, metadata: &SnapshotMetadata, metadata_json: &[u8]) -> Result<Snapshot> {
        let pinned = match self.store.head(&layout::key(&metadata.id, layout::PINNED_JSON)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            answer => answer.map(|_| true)?,
        };
        Ok(Snapshot { pinned, ..Snapshot::new(metadata, metadata_json.len() as u64)? })
    }

    /// What was touched before this moment and is of no use is left over, and not under way, where it is `now`.
    fn grace_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_sub_signed(self.config.grace).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// As [`unblock`], for work that leaves something behind: where nobody waits for its answer any more, that is dropped
    /// before [`settle`](Self::settle) returns.
    async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let working = self.tasks.spawn_blocking(move || drop(sender.send(work())));
        match answer.await {
            Ok(answer) => answer,
            Err(closed) => Err(working.await.err().map_or_else(
                || SnapshotError::new(ErrorKind::Internal, "a task of this program gave no answer").because(closed),
                failed_task,
            )),
        }
    }
}

impl Snapshot {
    fn new(metadata: &SnapshotMetadata, metadata_json_bytes: u64) -> Result<Self> {
        let mut files = BTreeMap::from([(layout::METADATA_JSON.to_owned(), metadata_json_bytes)]);
        let mut raw_bytes = 0u64;
        for file in DataFile::ALL {
            let info = metadata.file(file)?;
            files.insert(file.name().to_owned(), info.bytes);
            raw_bytes = raw_bytes.saturating_add(info.raw_bytes);
        }
        files.insert(layout::CHECKSUM_SHA256.to_owned(), catalog::checksum_sha256(b"", metadata)?.len() as u64);
        Ok(Self {
            id: metadata.id.to_string(),
            name: metadata.name.clone(),
            created_at: metadata.created_at,
            size_bytes: files.values().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
            checksum: metadata.checksum.to_string(),
            snapshot_type: metadata.snapshot_type.clone(),
            vector_count: usize::try_from(metadata.vector_count).unwrap_or(usize::MAX),
            dimensions: usize::try_from(metadata.dimensions).unwrap_or(usize::MAX),
            distance_metric: metadata.distance_metric.clone(),
            labels: metadata.labels.clone(),
            metadata: metadata.metadata.clone(),
            source: metadata.source.clone(),
            raw_bytes,
            files,
            changes: metadata.changes,
            pinned: false,
            writer: metadata.writer.clone(),
        })
    }
}

fn no_snapshot(id: &SnapshotId) -> SnapshotError {
    SnapshotError::new(ErrorKind::NotFound, format!("there is no snapshot {id}; list shows which there are"))
}

/// Runs work that computes or blocks on a thread of its own.
async fn unblock<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(failed_task(error)))
}

fn failed_task(error: tokio::task::JoinError) -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, format!("a task of this program failed: {error}")).because(error)
}
