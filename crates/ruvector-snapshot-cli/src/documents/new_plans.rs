//! The documents of `create --dry-run`, `import --dry-run` and `compact --dry-run`: what would be stored.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use ruvector_snapshot::store::StoreAccess;
use ruvector_snapshot::{CompactPlan, CreatePlan, ImportPlan, Labels};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::lossy;
use super::snapshot::{ChangesDocument, EmbeddingDocument, IrregularDocument, SourceDocument};

/// What `create` would store. The database was read as `create` reads it, and nothing was written to the store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CreatePlan")]
pub(crate) struct CreatePlanDocument<'a> {
    /// True: nothing was done.
    dry_run: bool,
    /// The name that the snapshot would have.
    name: &'a str,
    /// When the database was read.
    created_at: DateTime<Utc>,
    /// Where the records come from, the commit that was read, and what the snapshot would not hold.
    source: SourceDocument<'a>,
    /// Size of the database file, in bytes.
    file_bytes: u64,
    /// Number of records of the state, those of the chain included.
    records: u64,
    /// Number of values in each vector.
    dimensions: u64,
    /// The distance metric, as Ruvector writes it. Null if the database did not record it.
    distance_metric: Option<&'a str>,
    /// The content checksum that the snapshot would have.
    checksum: &'a str,
    /// What is known of the embedding model of the vectors. Null if nothing is.
    embedding: Option<EmbeddingDocument<'a>>,
    /// The labels that the snapshot would have.
    #[schemars(with = "BTreeMap<String, String>")]
    labels: &'a Labels,
    /// The note that the snapshot would have. Null if there is none.
    note: Option<&'a str>,
    /// What the snapshot would hold apart from records. Null if that is nothing.
    irregular: Option<IrregularDocument<'a>>,
    /// Number of records that an incremental snapshot would add, change and remove. Null for a full one.
    changes: Option<ChangesDocument>,
    /// The id of the base of an incremental snapshot. Null for a full one.
    base_id: Option<&'a str>,
    /// The ids of the snapshots that it would depend on: from the full snapshot on, the base last. Empty for a full one.
    base_chain: Vec<&'a str>,
    /// Size of the data files when expanded, in bytes. Without the chain.
    logical_bytes: u64,
    /// Size of the files in the store, in bytes, at most: how well they can be compressed is not tried. Without the chain.
    stored_bytes_max: u64,
    /// Size of a private copy of the database in the scratch directory, in bytes, at most. It is needed only if the database is written at the same time, or has tables that cannot be read in place.
    scratch_bytes_max: u64,
    /// Bytes that the file system of the store has left. Null for a bucket, or if the file system does not say it.
    store_free_bytes: Option<u64>,
    /// Bytes that the file system of the scratch directory has left. Null if it does not say it.
    scratch_free_bytes: Option<u64>,
    /// Whether the store has no snapshots yet. A surprise may mean a disk that is not mounted.
    store_is_new: bool,
    /// Whether it is known that the store can be written to. False for a bucket: it says so only when it is written to.
    write_checked: bool,
}

impl<'a> CreatePlanDocument<'a> {
    /// `free` has the bytes that are left for the store and in the scratch directory.
    pub(crate) fn new(plan: &'a CreatePlan, access: StoreAccess, free: (Option<u64>, Option<u64>)) -> Self {
        Self {
            dry_run: true,
            name: &plan.name,
            created_at: plan.created_at,
            source: (&plan.source).into(),
            file_bytes: plan.file_bytes,
            records: plan.records,
            dimensions: plan.dimensions,
            distance_metric: plan.distance_metric.as_deref(),
            checksum: &plan.checksum,
            embedding: plan.embedding.as_ref().map(Into::into),
            labels: &plan.labels,
            note: plan.note.as_deref(),
            irregular: plan.irregular.as_ref().map(Into::into),
            changes: plan.changes.as_ref().map(Into::into),
            base_id: plan.chain.last().map(String::as_str),
            base_chain: plan.chain.iter().map(String::as_str).collect(),
            logical_bytes: plan.raw_bytes,
            stored_bytes_max: plan.stored_bytes_max,
            scratch_bytes_max: plan.scratch_bytes_max,
            store_free_bytes: free.0,
            scratch_free_bytes: free.1,
            store_is_new: plan.store_is_new,
            write_checked: access.is_known(),
        }
    }
}

/// What `import` would store. The file was read and checked as a whole, and nothing was written to the store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ImportPlan")]
pub(crate) struct ImportPlanDocument<'a> {
    /// True: nothing was done.
    dry_run: bool,
    /// The file, as it was given. What is not UTF-8 in it is replaced.
    file: String,
    /// Size of the file, in bytes.
    file_bytes: u64,
    /// Whether the contents were compared with the SHA-256 in the sidecar.
    verified: bool,
    /// The name that the snapshot would have.
    name: &'a str,
    /// When the snapshot would be dated: as the file is.
    created_at: DateTime<Utc>,
    /// Where the records come from, and what the snapshot would not hold.
    source: SourceDocument<'a>,
    /// The labels that would be stored.
    #[schemars(with = "BTreeMap<String, String>")]
    labels: &'a Labels,
    /// Number of records.
    records: u64,
    /// Number of values in each vector.
    dimensions: u64,
    /// The distance metric, as Ruvector writes it. Null if it is not known.
    distance_metric: Option<&'a str>,
    /// The content checksum that the snapshot would have.
    checksum: &'a str,
    /// Size of the data files when expanded, in bytes.
    logical_bytes: u64,
    /// Size of the files in the store, in bytes, at most: how well they can be compressed is not tried.
    stored_bytes_max: u64,
    /// Bytes that the file system of the store has left. Null for a bucket, or if the file system does not say it.
    store_free_bytes: Option<u64>,
    /// Whether the store has no snapshots yet. A surprise may mean a disk that is not mounted.
    store_is_new: bool,
    /// Whether it is known that the store can be written to. False for a bucket: it says so only when it is written to.
    write_checked: bool,
}

impl<'a> ImportPlanDocument<'a> {
    pub(crate) fn new(plan: &'a ImportPlan, file: &Path, access: StoreAccess, store_free_bytes: Option<u64>) -> Self {
        Self {
            dry_run: true,
            file: lossy(file),
            file_bytes: plan.file_bytes,
            verified: plan.is_verified,
            name: &plan.name,
            created_at: plan.created_at,
            source: (&plan.source).into(),
            labels: &plan.labels,
            records: plan.records,
            dimensions: plan.dimensions,
            distance_metric: plan.distance_metric.as_deref(),
            checksum: &plan.checksum,
            logical_bytes: plan.raw_bytes,
            stored_bytes_max: plan.stored_bytes_max,
            store_free_bytes,
            store_is_new: plan.store_is_new,
            write_checked: access.is_known(),
        }
    }
}

/// What `compact` would store. The records were not read, and nothing was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CompactPlan")]
pub(crate) struct CompactPlanDocument<T> {
    /// True: nothing was done.
    dry_run: bool,
    /// The full snapshots that would be stored, in the order in which their sources were given.
    snapshots: T,
    /// Bytes that the file system of the store has left. Null for a bucket, or if the file system does not say it.
    store_free_bytes: Option<u64>,
    /// Whether it is known that the store can be written to. False for a bucket: it says so only when it is written to.
    write_checked: bool,
}

impl<T> CompactPlanDocument<T> {
    pub(crate) fn new(access: StoreAccess, store_free_bytes: Option<u64>, snapshots: T) -> Self {
        Self { dry_run: true, snapshots, store_free_bytes, write_checked: access.is_known() }
    }
}

/// A full snapshot that would be made from a chain.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedCompaction")]
pub(crate) struct PlannedCompactionDocument<'a> {
    /// The id of the incremental snapshot that it would be made from.
    from_id: &'a str,
    /// The ids of the chain that would be read: from the full snapshot on.
    from_chain: Vec<&'a str>,
    /// Size of all snapshots of that chain in the store, in bytes.
    from_chain_stored_bytes: u64,
    /// The name of both snapshots.
    name: &'a str,
    /// When the incremental snapshot was taken. The new one would have the same time.
    created_at: DateTime<Utc>,
    /// Number of records.
    records: u64,
    /// Number of values in each vector.
    dimensions: u64,
    /// The distance metric, as Ruvector writes it. Null if the database did not record it.
    distance_metric: Option<&'a str>,
    /// The content checksum of both snapshots.
    checksum: &'a str,
    /// What neither snapshot holds, one sentence each.
    not_captured: &'a [String],
    /// Size of the files of the new snapshot in the store, in bytes, at most: as if no record of the chain had been replaced, and without compression.
    stored_bytes_max: u64,
    /// The id of the full snapshot that an earlier compact has stored, and that was not found corrupt. Then nothing would be stored. Null if there is none.
    existing_id: Option<&'a str>,
}

impl<'a> From<&'a CompactPlan> for PlannedCompactionDocument<'a> {
    fn from(plan: &'a CompactPlan) -> Self {
        Self {
            from_id: &plan.id,
            from_chain: plan.chain.iter().map(String::as_str).collect(),
            from_chain_stored_bytes: plan.chain_bytes,
            name: &plan.name,
            created_at: plan.created_at,
            records: plan.records,
            dimensions: plan.dimensions,
            distance_metric: plan.distance_metric.as_deref(),
            checksum: &plan.checksum,
            not_captured: &plan.not_captured,
            stored_bytes_max: plan.stored_bytes_max,
            existing_id: plan.existing.as_deref(),
        }
    }
}
