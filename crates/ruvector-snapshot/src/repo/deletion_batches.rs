//! Deletes any number of snapshots in batches, and reports what was deleted. Shared by delete and prune.

use std::collections::BTreeSet;

use ruvector_snapshot_format::FormatError;
use ruvector_snapshot_format::id::SnapshotId;
use serde::Serialize;

use super::context::Context;
use super::markers::collection::{OrphanCause, collect};
use super::markers::deletion::{delete, delete_exclusively};
use super::presence::{is_lost, objects_of};
use crate::error::Result;

/// Snapshots that are marked together. At a second for each, all are deleted long before their markers are too old.
const BATCH_SNAPSHOTS: usize = 256;

/// Options of a deletion and of a collection of orphans. Start from `default()`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Whether the caller vouches that nothing else is at work at the store: no other process or thread that creates,
    /// deletes, prunes, pins or reads. Then no markers are written, so that a deletion is possible where nothing can be
    /// written, for example because a quota is used up. The default is `false`.
    ///
    /// If something else is at work all the same, a new snapshot can lose its base.
    pub exclusive: bool,
}

impl DeleteOptions {
    /// Sets whether the caller vouches that nothing else is at work at the store.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::DeleteOptions::default().exclusive(true);
    /// assert!(options.exclusive);
    /// ```
    #[must_use]
    pub fn exclusive(self, exclusive: bool) -> Self {
        Self { exclusive, ..self }
    }
}

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeleteReport {
    /// The ids of the snapshots that were deleted, newest first. Those that did not exist any more are not listed.
    pub deleted: Vec<String>,
    /// The ids of the snapshots that were kept because they were pinned or have a new dependent, newest first.
    pub kept: Vec<String>,
}

/// Deletes these snapshots. Runs to completion even if the caller is cancelled.
pub(crate) async fn delete_in_batches(
    context: &Context,
    ids: impl Iterator<Item = &str>,
    options: DeleteOptions,
) -> Result<DeleteReport> {
    let mut ids: Vec<SnapshotId> = ids.map(str::parse).collect::<Result<_, FormatError>>()?;
    if ids.is_empty() {
        return Ok(DeleteReport::default());
    }
    // Ids sort by time, and a dependent is newer than its base.
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let work = {
        let context = context.clone();
        async move { delete_each(&context, &ids, options.exclusive).await }
    };
    context.run_to_completion(work).await
}

async fn delete_each(context: &Context, ids: &[SnapshotId], is_exclusive: bool) -> Result<DeleteReport> {
    let (mut deleted, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for batch in ids.chunks(BATCH_SNAPSHOTS) {
        let outcome = match is_exclusive {
            true => delete_exclusively(context, batch).await?,
            false => delete(context, batch).await?,
        };
        deleted.extend(outcome.deleted);
        kept.extend(outcome.kept);
    }
    // What has lost its metadata.json is not a snapshot any more. Its objects are collected, whatever their age.
    for id in ids.iter().filter(|id| !deleted.contains(*id) && !kept.contains(*id)).cloned().collect::<Vec<_>>() {
        if !is_lost(&objects_of(context.store.as_ref(), &id).await?) {
            continue;
        }
        // A kept snapshot may depend on it.
        let is_collected = kept.is_empty() && collect(context, &id, OrphanCause::LostMetadata, is_exclusive).await?;
        if is_collected {
            deleted.insert(id);
        } else {
            kept.insert(id);
        }
    }
    let texts = |ids: BTreeSet<SnapshotId>| ids.iter().rev().map(ToString::to_string).collect();
    Ok(DeleteReport { deleted: texts(deleted), kept: texts(kept) })
}
