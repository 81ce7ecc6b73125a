//! What one snapshot stores of one record, read from its index alone.

use ruvector_snapshot_format::block::{Block, IndexedRow};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::DataFile;

use super::context::{Context, run_blocking};
use super::reader::StoredSnapshot;
use crate::error::{Result, SnapshotError};

/// Returns the row of a record that a snapshot itself stores, not that of its base. `None` if it stores none.
///
/// Reads the block directory, and the piece of at most one block in the index. Only its CRC-32 is verified.
pub(crate) async fn row_of(context: &Context, id: &SnapshotId, record_id: &str) -> Result<Option<IndexedRow>> {
    let snapshot = StoredSnapshot::open(context, id).await?;
    let directory = snapshot.directory().await?;
    let after = directory.partition_point(|entry| entry.first_id.as_str() <= record_id);
    let Some(entry) = after.checked_sub(1).and_then(|at| directory.get(at)).cloned() else { return Ok(None) };
    let piece = snapshot.range(DataFile::Index, entry.range(DataFile::Index)).await?;
    let record_id = record_id.to_owned();
    let found = run_blocking(move || Ok(Block::find_in_index(&entry, &piece, &record_id)?)).await;
    match found {
        Ok(row) => Ok(row),
        Err(error) => {
            let named = SnapshotError::new(error.kind(), error.message().to_owned());
            Err(snapshot.judged(named.with_key(snapshot.key(DataFile::Index)).with_source(error)).await)
        }
    }
}
