//! Compact: stores the state of an incremental snapshot as a full snapshot, from the store alone and without the
//! database.
//!
//! The new snapshot has the name, the time and the content checksum of the incremental one, so it takes its place
//! wherever snapshots are ordered by time. The chain is not changed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use serde::Serialize;

use crate::error::Result;
use crate::progress::{Progress, report_transferred};
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::compaction::{Compactable, store_compacted};
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::snapshot::Snapshot;

const NOTHING_STORED: &str = "nothing was stored";

/// What a compaction would store.
///
/// [`SnapshotManager::plan_compact`](crate::SnapshotManager::plan_compact) makes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan compacts nothing"]
pub struct CompactPlan {
    /// The id of the incremental snapshot.
    pub id: String,
    /// The name of both snapshots.
    pub name: String,
    /// When the incremental snapshot was taken. The new one has the same time.
    pub created_at: DateTime<Utc>,
    /// The ids of the chain that would be read, the full snapshot first.
    pub chain: Vec<String>,
    /// Number of records.
    pub records: u64,
    /// Number of values in each vector.
    pub dimensions: u64,
    /// The distance metric, as Ruvector writes it. `None` if the database did not record it.
    pub distance_metric: Option<String>,
    /// The content checksum of both snapshots.
    pub checksum: String,
    /// What neither snapshot holds, as sentences.
    pub not_captured: Vec<String>,
    /// Size of the files of the chain in the store, in bytes: what would be read at most.
    pub chain_bytes: u64,
    /// Size of the files of the new snapshot at most, in bytes: as if nothing in the chain had been replaced, without
    /// compression.
    pub stored_bytes_max: u64,
    /// The id of the full snapshot that a compaction has stored before, if it is intact as far as that is known. Then there is
    /// nothing to store.
    pub existing: Option<String>,
    /// That a snapshot of the chain was found corrupt, and not intact since, as a sentence.
    pub warnings: Vec<String>,
}

/// Makes the checks that come before the records are read. The records are not read.
pub(crate) async fn plan(context: &Context, id: &SnapshotId) -> Result<CompactPlan> {
    plan_checked(context, id).await.map_err(|error| error.while_doing(&doing(id), NOTHING_STORED))
}

async fn plan_checked(context: &Context, id: &SnapshotId) -> Result<CompactPlan> {
    let compactable = Compactable::open(context, id).await?;
    let stored_bytes_max = compactable.stored_bytes_max(context).await?;
    let chain = compactable.chain;
    let warnings = corruption_warning(context, &chain, Then::ReadsAgain).await;
    let mut chain_bytes = 0_u64;
    for member in chain.snapshots() {
        let size_bytes = Snapshot::new(&member.metadata, member.metadata_json_bytes)?.size_bytes;
        chain_bytes = chain_bytes.saturating_add(size_bytes);
    }
    let listing = Inventory::read(context).await?.listing;
    let existing = listing.compacted_copy(id.as_str()).map(|copy| copy.id.clone());
    let metadata = &chain.newest()?.metadata;
    Ok(CompactPlan {
        existing,
        id: id.to_string(),
        name: metadata.name.clone(),
        created_at: metadata.created_at,
        chain: chain.ids().iter().rev().map(ToString::to_string).collect(),
        records: metadata.vector_count,
        dimensions: metadata.dimensions,
        distance_metric: metadata.distance_metric.clone(),
        checksum: metadata.checksum.to_string(),
        not_captured: metadata.source.not_captured.clone(),
        chain_bytes,
        stored_bytes_max,
        warnings: warnings.into_iter().collect(),
    })
}

/// Says what failed.
fn doing(id: &SnapshotId) -> String {
    format!("compact snapshot {id}")
}

pub(crate) async fn compact(
    context: &Context,
    id: &SnapshotId,
    progress: Option<Arc<dyn Progress>>,
) -> Result<Snapshot> {
    let (context, meter) = &context.metered();
    let compacted = store_compacted(context, context, id, progress.clone()).await;
    context.report_notices(progress.as_deref());
    if compacted.is_ok() {
        report_transferred(progress.as_deref(), meter, 0);
    }
    compacted.map_err(|error| error.while_doing(&doing(id), NOTHING_STORED))
}
