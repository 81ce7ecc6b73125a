//! What becomes of the blocks of a new snapshot: they are stored, or a draft is made of them, which says what would be stored.

use std::path::PathBuf;

use ruvector_snapshot_format::id::SnapshotId;

use super::context::{Context, run_blocking};
use super::pipeline::{BlockStream, draft_blocks, store_blocks};
use super::spec::{Completion, SnapshotSpec};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::snapshot::Snapshot;

/// By how many bytes `metadata.json` grows at most because its time is another one than that of the draft: zeros at the end of a
/// fraction of a second are not written.
const TIME_EXPANSION_MAX: u64 = ".123456789".len() as u64;

/// Why a new snapshot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be stored.
    Store,
    /// To know what it would be.
    Draft,
}

/// What was made.
pub(crate) enum Made {
    Stored(Box<Snapshot>),
    Drafted(Box<Draft>),
}

/// A snapshot that was not stored.
pub(crate) struct Draft {
    /// The snapshot as it would be, but without compression. Its id means nothing.
    pub(crate) snapshot: Snapshot,
    /// All ancestors, the full snapshot first.
    pub(crate) base_ids: Vec<SnapshotId>,
    /// Size of the five files in the store, in bytes, at most.
    pub(crate) stored_bytes_max: u64,
}

/// Makes a new snapshot of a stream of blocks.
pub(crate) async fn make<'a, T: Send>(
    context: &Context,
    purpose: Purpose,
    spec: SnapshotSpec<'_>,
    blocks: BlockStream<'_, T>,
    complete: impl FnOnce(T) -> Completion<'a>,
) -> Result<Made> {
    if purpose == Purpose::Store {
        let stored = store_blocks(context, spec, blocks, complete).await?;
        return Ok(Made::Stored(Box::new(stored)));
    }
    let base_ids = spec.base_ids.iter().rev().cloned().collect();
    let snapshot = draft_blocks(context, spec, blocks, complete).await?;
    let expansion_max = expansion_max(snapshot.raw_bytes, context.config.level());
    let stored_bytes_max = snapshot.size_bytes.saturating_add(expansion_max).saturating_add(TIME_EXPANSION_MAX);
    Ok(Made::Drafted(Box::new(Draft { snapshot, base_ids, stored_bytes_max })))
}

/// Returns the size of a file, in bytes.
pub(crate) async fn file_bytes(path: PathBuf) -> Result<u64> {
    run_blocking(move || {
        let found = path.metadata().map_err(|error| SnapshotError::io(&path, "read the size of the file", error))?;
        Ok(found.len())
    })
    .await
}

/// Returns by how much compression can make these bytes larger, compared with storing them as they are.
pub(crate) fn expansion_max(raw_bytes: u64, level: u32) -> u64 {
    const SLACK_BYTES: u64 = 1 << 10;
    match level {
        0 => 0,
        // The fastest level has fixed codes of up to nine bits for each byte.
        1 => (raw_bytes / 8).saturating_add(SLACK_BYTES),
        _ => (raw_bytes / 64).saturating_add(SLACK_BYTES),
    }
}

impl Made {
    /// Returns the snapshot that was stored.
    pub(crate) fn stored(self) -> Result<Snapshot> {
        match self {
            Self::Stored(snapshot) => Ok(*snapshot),
            Self::Drafted(_) => Err(SnapshotError::new(ErrorKind::Internal, "a draft was made instead of a snapshot")),
        }
    }

    /// Returns the draft.
    pub(crate) fn drafted(self) -> Result<Draft> {
        match self {
            Self::Drafted(draft) => Ok(*draft),
            Self::Stored(_) => Err(SnapshotError::new(ErrorKind::Internal, "a snapshot was stored instead of a draft")),
        }
    }
}
