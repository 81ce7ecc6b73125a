//! Pin and unpin: protect a snapshot from deletion, and allow it again. The protocol is in `repo::markers`.

use ruvector_snapshot_format::id::SnapshotId;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::repo::context::Context;
use crate::repo::markers;

/// What pinning or unpinning snapshots would change.
///
/// [`SnapshotManager::plan_pin`](crate::SnapshotManager::plan_pin) and
/// [`plan_unpin`](crate::SnapshotManager::plan_unpin) make it, and write nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "a plan pins nothing"]
pub struct PinPlan {
    /// Whether the snapshots would be protected from deletion: true for a pin, false for an unpin.
    pub pinned: bool,
    /// The snapshots, in the order in which they were given.
    pub snapshots: Vec<PlannedPin>,
}

/// A snapshot that would be pinned or unpinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedPin {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// Whether that changes anything. False if it is so already.
    pub changes: bool,
}

/// Plans to pin snapshots, or to unpin them. Writes nothing.
pub(crate) async fn plan(context: &Context, ids: &[SnapshotId], pinned: bool) -> Result<PinPlan> {
    let mut snapshots = Vec::new();
    for id in ids {
        let (name, is_pinned) = markers::pin_state(context, id, pinned).await?;
        snapshots.push(PlannedPin { id: id.to_string(), name, changes: is_pinned != pinned });
    }
    Ok(PinPlan { pinned, snapshots })
}

pub(crate) async fn pin(context: &Context, id: &SnapshotId) -> Result<()> {
    markers::pin(context, id).await
}

pub(crate) async fn unpin(context: &Context, id: &SnapshotId) -> Result<()> {
    markers::unpin(context, id).await
}
