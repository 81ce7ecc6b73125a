//! Point-in-time snapshots of a [Ruvector](ruvector_core) vector database, in a documented layout that anyone can read.
//!
//! A [`SnapshotManager`] takes snapshots of a [`VectorDB`](ruvector_core::VectorDB) or of a database file that another
//! process has open and writes to, keeps them in a store, proves them, and gets them back:
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
//! An increment holds what changed since its base, which is a full snapshot or an increment itself. It is a snapshot like any other,
//! of the whole state, and keeps its base from being deleted:
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
//! Where to look: [`SnapshotManager`] has the verbs, [`SnapshotConfig`] the settings, [`store`] the places snapshots are
//! kept in, [`source`] the databases, [`format`](mod@format) every stored byte. `docs/FORMAT.md` describes the layout for readers
//! that are not this program.

#[cfg(not(unix))]
compile_error!(
    "ruvector-snapshot needs a Unix system: it reads databases and renames files in ways that others do not have"
);

pub mod error;

pub mod clock;

pub mod format;
pub mod source;
pub mod store;

pub mod manager;

pub use error::{ErrorKind, Result, SnapshotError};
pub use format::metadata::{Changes, SnapshotType};
pub use manager::config::SnapshotConfig;
pub use manager::create::{CreateOptions, PauseWrites};
pub use manager::progress::{Phase, Progress, ProgressUpdate};
pub use manager::prune::{DeletePlan, DeleteReport, Leftover, LeftoverKind};
pub use manager::restore::RestoreOptions;
pub use manager::retention::{
    DropReason, Dropped, KeepReason, Kept, LabelPattern, Others, Period, PrunePlan, PrunePolicy, Span, StandsOn,
};
pub use manager::verify::{Damage, VerifyOptions, VerifyReport};
pub use manager::{DamagedSnapshot, Listing, Snapshot, SnapshotManager};

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
