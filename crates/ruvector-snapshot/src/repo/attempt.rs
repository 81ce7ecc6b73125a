//! What is left of an attempt to create a snapshot, for example after an interrupt.

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use super::context::Context;
use super::keys::is_repository_key;
use super::presence::{exists, objects_of};
use crate::error::Result;

/// The outcome of an attempt to create a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The snapshot was committed and exists.
    Committed,
    /// There is no snapshot, and no object is left. Parts of a multipart upload that could not be aborted are in no
    /// listing.
    RolledBack,
    /// There is no snapshot, but objects are left under its prefix. Garbage collection removes them after the grace
    /// period.
    ObjectsLeft,
}

pub(crate) async fn outcome(context: &Context, id: &SnapshotId) -> Result<AttemptOutcome> {
    let store = context.store.as_ref();
    if exists(store, id).await? {
        return Ok(AttemptOutcome::Committed);
    }
    let objects = objects_of(store, id).await?;
    // It may have been committed since.
    if objects.contains_key(layout::METADATA_JSON) {
        return Ok(AttemptOutcome::Committed);
    }
    // A local store may have temporary files that no listing shows, and an empty directory.
    let has_files = match &context.maintenance {
        Some(maintenance) => {
            let all = maintenance.orphans(is_repository_key, DateTime::<Utc>::MAX_UTC).await?;
            all.iter().any(|file| layout::parse_key(&file.key).is_some_and(|(owner, _)| owner == *id))
        }
        None => false,
    };
    Ok(if !objects.is_empty() || has_files { AttemptOutcome::ObjectsLeft } else { AttemptOutcome::RolledBack })
}
