//! The plan of a create: what it would store. It is made by a create that stores nothing.

use std::path::Path;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::Labels;
use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::metadata::SourceInfo;
use ruvector_snapshot_format::model::Changes;
use serde::Serialize;

use super::{CreateOptions, Origin, create_or_draft};
use crate::error::Result;
use crate::repo::commit_guard::{self, check_bases};
use crate::repo::context::Context;
use crate::repo::draft::{Draft, Purpose, file_bytes};
use crate::repo::location;

/// What a create of a database file would store, as of the time of the plan.
///
/// [`SnapshotManager::plan_create_of_file`](crate::SnapshotManager::plan_create_of_file) makes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan creates nothing"]
pub struct CreatePlan {
    /// The name that the snapshot would have.
    pub name: String,
    /// When the database was read.
    pub created_at: DateTime<Utc>,
    /// Where the records come from: host, path and name, the commit that was read, and what the snapshot would not hold.
    pub source: SourceInfo,
    /// Size of the database file, in bytes.
    pub file_bytes: u64,
    /// Number of records of the state.
    pub records: u64,
    /// Number of values in each vector.
    pub dimensions: u64,
    /// The distance metric, as Ruvector writes it. `None` if the database did not record it.
    pub distance_metric: Option<String>,
    /// The content checksum of the state.
    pub checksum: String,
    /// What is known of the embedding model of the vectors.
    pub embedding: Option<EmbeddingInfo>,
    /// The labels that the snapshot would have.
    pub labels: Labels,
    /// The note that the snapshot would have.
    pub note: Option<String>,
    /// What the snapshot would hold apart from records.
    pub irregular: Option<IrregularInfo>,
    /// Number of records that an incremental snapshot would add, change and remove. `None` for a full one.
    pub changes: Option<Changes>,
    /// The ids of the snapshots that it would depend on, the full one first. The base is the last. Empty for a full snapshot.
    pub chain: Vec<String>,
    /// Size of the data files when expanded, in bytes.
    pub raw_bytes: u64,
    /// Size of the files in the store at most, in bytes: how well they can be compressed is not tried.
    pub stored_bytes_max: u64,
    /// Size of the private copy of the database in the scratch directory at most, in bytes. It is made only if the database
    /// is written at the same time, or has tables that cannot be read in place.
    pub scratch_bytes_max: u64,
    /// Whether the store has no snapshots yet.
    pub store_is_new: bool,
}

/// Reads a database file as a create does, and says what it would store. Stores nothing.
pub(crate) async fn plan(context: &Context, path: &Path, name: &str, options: &CreateOptions) -> Result<CreatePlan> {
    let made = create_or_draft(context, Purpose::Draft, Origin::File(path), name, options).await?;
    let Draft { snapshot, base_ids, stored_bytes_max } = made.drafted()?;
    check_bases(context, &base_ids, commit_guard::Origin::Created).await?;
    let store_is_new = !location::has_snapshots(context.store.as_ref()).await?;
    let file_bytes = file_bytes(path.to_owned()).await?;
    Ok(CreatePlan {
        name: snapshot.name,
        created_at: snapshot.created_at,
        source: snapshot.source,
        file_bytes,
        records: snapshot.vector_count as u64,
        dimensions: snapshot.dimensions as u64,
        distance_metric: snapshot.distance_metric,
        checksum: snapshot.checksum,
        labels: snapshot.labels,
        note: snapshot.note,
        embedding: snapshot.embedding,
        irregular: snapshot.irregular,
        changes: snapshot.changes,
        chain: base_ids.iter().map(ToString::to_string).collect(),
        raw_bytes: snapshot.raw_bytes,
        stored_bytes_max,
        scratch_bytes_max: file_bytes,
        store_is_new,
    })
}
