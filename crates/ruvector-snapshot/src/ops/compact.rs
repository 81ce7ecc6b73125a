//! Compact: stores the state of an incremental snapshot as a full snapshot, from the store alone and without the
//! database.
//!
//! The new snapshot has the name, the time and the content checksum of the incremental one, so it takes its place
//! wherever snapshots are ordered by time. The chain is not changed.

use std::sync::Arc;

use ruvector_snapshot_format::id::SnapshotId;

use crate::error::Result;
use crate::progress::{Progress, report_transferred};
use crate::repo::compaction::store_compacted;
use crate::repo::context::Context;
use crate::snapshot::Snapshot;

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
    compacted.map_err(|error| error.while_doing(&format!("compact snapshot {id}"), "nothing was stored"))
}
