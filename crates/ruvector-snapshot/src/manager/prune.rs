//! delete and clean-up: carries plans out and decides nothing.
//!
//! A snapshot loses its metadata.json first and is none from then on; its data follows. A crash in between leaves data
//! without a metadata.json, which is no snapshot.

use super::no_snapshot;
use super::retention::PrunePlan;
use crate::error::{ErrorKind, Result};
use crate::format::id::SnapshotId;
use crate::format::layout;
use crate::store::SnapshotStore;

/// Deletes a snapshot: its five files, and nothing else that may lie under its prefix.
pub(super) async fn delete(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<()> {
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_snapshot(id).because(error)),
        answer => answer?,
    };
    for file in layout::FILES {
        store.delete(&layout::key(id, file)).await?;
    }
    Ok(())
}

/// Deletes what the plan drops, oldest first.
pub(super) async fn carry_out(store: &dyn SnapshotStore, plan: &PrunePlan) -> Result<usize> {
    let mut deleted = 0;
    for snapshot in plan.drop.iter().rev() {
        match delete(store, &snapshot.id.parse()?).await {
            Ok(()) => deleted += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}
