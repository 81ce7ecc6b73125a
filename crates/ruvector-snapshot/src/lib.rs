//! Point-in-time snapshots of a [Ruvector](ruvector_core) vector database, in a documented format that anyone can read.
//!
//! A [`SnapshotManager`] takes snapshots of a [`VectorDB`](ruvector_core::VectorDB), or of a database file that another
//! process has open and writes to. It stores them in a directory or a bucket, verifies them, and restores them:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # std::env::set_current_dir(scratch.path())?;
//! # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
//! #     dimensions: 4, storage_path: "vectors.db".into(), ..Default::default() })?;
//! # db.insert(ruvector_core::VectorEntry { id: Some("a".into()), vector: vec![1.0, 2.0, 3.0, 4.0], metadata: None })?;
//! use ruvector_snapshot::{SnapshotManager, SnapshotConfig};
//! let config = SnapshotConfig { snapshot_dir: "./snapshots".into(), compression: true, verify_checksum: true,
//!                               ..Default::default() };
//! let manager = SnapshotManager::new(config)?;
//! let snapshot = manager.create_snapshot(&db, "backup-2024-01").await?;
//! println!("Created snapshot: {} ({} bytes)", snapshot.id, snapshot.size_bytes);
//! let snapshots = manager.list_snapshots().await?;
//! for s in &snapshots { println!("{}: {} ({})", s.id, s.created_at, s.size_bytes); }
//! let restored_db = manager.restore_snapshot(&snapshots[0].id).await?;
//! println!("Restored {} vectors", restored_db.len()?);
//! # assert_eq!(restored_db.len()?, 1);
//! # Ok(()) }
//! ```
//!
//! An incremental snapshot stores what changed since its base, which is a full or an incremental snapshot itself. It
//! represents the whole state, and protects its base from deletion:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
//! # let scratch = tempfile::tempdir()?;
//! # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
//! #     dimensions: 4, storage_path: scratch.path().join("vectors.db").display().to_string(), ..Default::default() })?;
//! # let entry = |id: &str| ruvector_core::VectorEntry {
//! #     id: Some(id.into()), vector: vec![1.0, 2.0, 3.0, 4.0], metadata: None };
//! # let config = SnapshotConfig { snapshot_dir: scratch.path().join("snapshots"), ..Default::default() };
//! # let manager = SnapshotManager::new(config)?;
//! # db.insert(entry("a"))?;
//! let base = manager.create_snapshot(&db, "base").await?;
//! # db.insert(entry("b"))?;
//! let incremental = manager.create_incremental_snapshot(&db, "incremental-1", &base.id).await?;
//! # assert_eq!(incremental.vector_count, 2);
//! # assert_eq!(incremental.changes.ok_or("no increment")?.rows(), 1);
//! # assert!(manager.delete_snapshot(&base.id).await.is_err());
//! # assert_eq!(manager.chain(&incremental.id).await?.len(), 2);
//! # Ok(()) }
//! ```
//!
//! # Where to start
//!
//! - [`SnapshotManager`] has all verbs: create, list, verify, restore, delete, prune, and more.
//! - [`SnapshotConfig`] has the settings.
//! - [`store`] has the places where snapshots are kept, and the trait for your own.
//! - [`source`] has the traits for your own sources and restore targets.
//! - [`SnapshotManager::restore_stream`] and [`SnapshotReader`] read records without restoring a database, and
//!   [`SnapshotManager::search_snapshot`] searches them.
//! - The crate `ruvector-snapshot-format`, exported as `format`, reads and writes the stored bytes, without I/O.
//!   `docs/FORMAT.md` specifies them.
//!
//! # Errors
//!
//! Every error is a [`SnapshotError`] with an [`ErrorKind`], a message, the key or path concerned, and the cause.
//!
//! | kind | means | what to do |
//! |---|---|---|
//! | [`NotFound`](ErrorKind::NotFound) | the snapshot, object or file does not exist | check the id or path; list the snapshots |
//! | [`AlreadyExists`](ErrorKind::AlreadyExists) | a file is at the destination | choose another path, or allow overwriting |
//! | [`InvalidInput`](ErrorKind::InvalidInput) | a name, id, option or file is wrong | change the request |
//! | [`Ambiguous`](ErrorKind::Ambiguous) | a name or the start of an id can mean several snapshots | give the whole id |
//! | [`Pinned`](ErrorKind::Pinned), [`HasDependents`](ErrorKind::HasDependents) | the snapshot is protected, or others depend on it | unpin it, or delete the others first |
//! | [`InUse`](ErrorKind::InUse) | an upload depends on the snapshot | try again when it has ended |
//! | [`Corrupt`](ErrorKind::Corrupt) | stored bytes, or the database, are not what was written | verify, and use another snapshot |
//! | [`Unsupported`](ErrorKind::Unsupported) | a newer version wrote the data | use a newer version of this crate |
//! | [`PermissionDenied`](ErrorKind::PermissionDenied) | credentials or permissions are not sufficient | fix them |
//! | [`StorageFull`](ErrorKind::StorageFull) | a disk or quota is full, or a file is too large for the process or the file system | free space, or raise the limit, and repeat |
//! | [`Busy`](ErrorKind::Busy) | the database changes too quickly, or a program has the destination of a restore open | repeat, or pause the writes; stop the program |
//! | [`Unavailable`](ErrorKind::Unavailable) | the store did not answer as expected | repeat |
//! | [`Internal`](ErrorKind::Internal) | a bug | report it |
//!
//! [`SnapshotError::is_retryable`] is true for `Busy`, `InUse` and `Unavailable`.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws` | yes | stores at `s3://`: Amazon S3, MinIO and other servers that speak S3 |
//! | `gcp` | yes | stores at `gs://`: Google Cloud Storage |
//! | `azure` | no | stores at `az://`: Azure Blob Storage |
//! | `parquet` | no | exports in the format parquet |
//! | `testing` | no | `store::testing`: the conformance suite for your own store, and a store that injects faults |

#[cfg(not(unix))]
compile_error!(
    "ruvector-snapshot needs a Unix system: it reads databases and renames files in ways that other systems do not have"
);

mod error;
mod snapshot;
mod sync;
mod text;

pub mod clock;

mod config;
mod progress;

pub mod source;
pub mod store;

mod ops;
mod policy;
mod repo;

mod manager;

pub mod scheduler;

pub use config::SnapshotConfig;
pub use error::{ErrorKind, Remedy, Result, SnapshotError};
pub use manager::SnapshotManager;
pub use ops::annotate::{AnnotateOptions, AnnotatePlan};
pub use ops::compact::CompactPlan;
pub use ops::copy::{
    BlockedCopy, CopiedSnapshot, CopyOptions, CopyOutcome, CopyPlan, CopyReport, CopySelection, PlannedCopy,
};
pub use ops::create::{CreateOptions, CreatePlan, EarlierSnapshots, PauseWrites};
pub use ops::delete::DeletePlan;
pub use ops::diff::{DiffEntry, DiffOptions, DiffSummary, DiffedSnapshot, SnapshotDiff};
pub use ops::drill::{DrillOptions, DrillReport};
pub use ops::export::{ExportFormat, ExportOptions, ExportPlan, ExportReport, ExportedFile, PlannedExportFile};
pub use ops::find::{FindReport, FoundRecord, RecordState};
pub use ops::import::{IMPORTED_ID_LABEL, ImportOptions, ImportPlan};
pub use ops::pin::{PinPlan, PlannedPin};
pub use ops::read::{IndexRow, IrregularRow, RecordBatch, RecordStream, SnapshotReader, StreamOptions, StreamProof};
pub use ops::restore::{
    MergeOptions, MergeReport, PartReport, PlannedFetch, PlannedFile, PlannedObject, PlannedSelection, PlannedSnapshot,
    PlannedState, RestoreDestination, RestoreOptions, RestorePlan,
};
pub use ops::search::{Neighbor, Query, SearchOptions, SearchReport, SearchResult};
pub use ops::verify::{PlannedVerification, Verification, VerifyOptions, VerifyPlan, VerifyStep};
pub use policy::freshness::{DatabaseFreshness, Freshness, FreshnessLimits, NewestSnapshot, StaleReason};
pub use policy::list_filter::{ListFilter, ListOrder, Since};
pub use policy::retention;
pub use policy::retention::{
    DisplacedDatabase, DropReason, DroppedSnapshot, GroupBy, KeepReason, KeptSnapshot, LabelPattern, PlannedGroup,
    PrunePlan, PrunePolicy, ShrunkenDatabase, SnapshotGroup, Span, TimeZone,
};
pub use policy::schedule;
pub use policy::stats::{DayStats, SourceStats, StatsTotals, StoreStats};
pub use progress::{Phase, Progress, ProgressUpdate, Transferred};
pub use repo::attempt::AttemptOutcome;
pub use repo::comparison::RecordChange;
pub use repo::deletion_batches::{DeleteOptions, DeleteReport};
pub use repo::filter::{Condition, RecordFilter};
pub use repo::findings::{Blocker, CheckOutcome, DestinationCheck};
pub use repo::ledger::{Ledger, ListedVerification};
pub use repo::location::check_location;
pub use repo::names::{check_embedding, check_label, check_name, check_note, check_source_name, default_name};
pub use repo::resolve::{NamedSnapshot, ResolvedId};
pub use repo::verify::{Corruption, VerifyReport};
pub use ruvector_snapshot_format::embedding::EmbeddingInfo;
pub use ruvector_snapshot_format::id::SnapshotId;
pub use ruvector_snapshot_format::irregular::{ColumnType, IrregularInfo, IrregularItem, IrregularTable, TypeOrigin};
pub use ruvector_snapshot_format::ledger::{Finding, LedgerEntry, VerifyDepth, VerifyResult};
pub use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};
pub use ruvector_snapshot_format::model::{Changes, DatabaseInfo, Record, SnapshotType};
pub use ruvector_snapshot_format::{Labels, RawJson};
pub use snapshot::ancestry::{Ancestries, Ancestry, ChainEnd};
pub use snapshot::checks::Checks;
pub use snapshot::problems::SnapshotProblem;
pub use snapshot::short_ids::ShortIds;
pub use snapshot::{CLOCK_TOLERANCE, Listing, Orphan, OrphanKind, Snapshot, UnusableSnapshot};
pub use source::file_system::{FreeSpace, free_space};
pub use source::key_range::{KeyRange, KeyRangeEnd};
pub use source::merge_target::{MergeCounts, OnConflict};
pub use text::closest;

// The crates whose types are in the signatures of this one.
pub use {bytes, chrono, object_store, ruvector_core, ruvector_snapshot_format as format, serde_json};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
