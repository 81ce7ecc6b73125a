//! Restores a part of a snapshot: the records that a filter accepts, to a new database file.

use std::path::Path;
use std::sync::Arc;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::id::SnapshotId;
use tracing::Instrument as _;

use super::planning::Planner;
use super::proof::verify_file;
use super::{RestoreOptions, nothing_to_do, publish};
use crate::error::{Remedy, Result, SnapshotError};
use crate::progress::{Phase, ProgressCounter, warn};
use crate::repo::chain::Chain;
use crate::repo::context::Context;
use crate::repo::filter::RecordFilter;
use crate::repo::selection::{Put, put_selected};
use crate::snapshot::Snapshot;
use crate::source::RestoreTarget as _;
use crate::source::destination_checks::{FileSize, Purpose};
use crate::source::target::FileTarget;

/// The size of the smallest database: how many records a filter accepts is not known before they are read.
const PART_SIZE: FileSize = FileSize { least_bytes: 4096, likely_bytes: 4096 };

/// What a restore of a part of a snapshot has written.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PartReport {
    /// The snapshot. It has [`vector_count`](Snapshot::vector_count) records.
    pub snapshot: Snapshot,
    /// The number of records that were restored.
    pub records: u64,
    /// The content checksum of these records. It is not that of the snapshot, unless it has no others.
    pub checksum: String,
}

/// Restores the records that a filter accepts into a database file.
pub(crate) async fn part_to_file(
    context: &Context,
    id: &SnapshotId,
    destination: &Path,
    filter: &RecordFilter,
    options: &RestoreOptions,
) -> Result<PartReport> {
    let span = tracing::info_span!("restore_part", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        let mut planner = Planner::new(context, id, options, Purpose::Restore);
        let destination = planner.check_destination(destination).await.map_err(or_merge)?.ok_or_else(nothing_to_do)?;
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let database = Arc::new(newest.restorable_database().await?);
        planner.check_embedding(&destination, &database).await?;
        let (destination, temporary) = planner.prepare(destination, Some(PART_SIZE)).await.map_err(or_merge)?;
        let temporary = temporary.ok_or_else(nothing_to_do)?;
        let target = context.run_blocking(move || FileTarget::create(destination, temporary)).await?;
        if let Some(irregular) = &newest.metadata.irregular {
            let warning = format!("irregular rows of the snapshot are not restored with a part of it: {irregular}");
            warn(options.progress.as_deref(), &warning);
        }
        let progress = options.progress.as_deref();
        let what = Put { filter, progress, phase: Phase::Restore, outcome: "nothing was changed" };
        let (target, records, sum) = put_selected(context, &chain, what, target, put).await?;
        let (verify, listener) = (context.config.verify_checksum, options.progress.clone());
        let finished = context
            .run_blocking(move || {
                let finished = target.finish(&database)?;
                if verify {
                    let mut counter = ProgressCounter::start(listener.as_deref(), Phase::VerifyRestored, records);
                    verify_file(&finished, &database, sum, &mut counter)?;
                }
                Ok(finished)
            })
            .await?;
        publish(context, finished, options, meter).await.map_err(or_merge)?;
        Ok(PartReport { snapshot, records, checksum: sum.to_string() })
    }
    .instrument(span)
    .await
}

/// Replaces the advice to overwrite an existing file, which would leave only the selected records of a whole database.
fn or_merge(error: SnapshotError) -> SnapshotError {
    if error.remedy() != Some(Remedy::Overwrite) {
        return error;
    }
    let part = SnapshotError::new(error.kind(), error.problem());
    let keyed = match error.key() {
        Some(key) => part.with_key(key),
        None => part,
    };
    let advice =
        "merge the records into it, or choose another path; overwriting it would leave only the selected records";
    keyed.with_remedy(Remedy::MergePart, advice).with_source(error)
}

fn put(mut target: FileTarget, block: Block) -> Result<FileTarget> {
    target.put(&mut block.rows())?;
    drop(block);
    target.settle()?;
    Ok(target)
}
