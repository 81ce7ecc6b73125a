//! Pin and unpin: protect a snapshot from deletion, and allow it again. The protocol is in `repo::markers`.

use ruvector_snapshot_format::id::SnapshotId;

use crate::error::Result;
use crate::repo::context::Context;
use crate::repo::markers;

pub(crate) async fn pin(context: &Context, id: &SnapshotId) -> Result<()> {
    markers::pin(context, id).await
}

pub(crate) async fn unpin(context: &Context, id: &SnapshotId) -> Result<()> {
    markers::unpin(context, id).await
}
