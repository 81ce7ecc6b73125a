//! compact: a chain into one full snapshot, in the store and without the database.
//!
//! The new snapshot holds the state of the one it is made from, and bears its moment and its name, so that it takes its
//! place among the others wherever they are ordered by time. The chain stays as it is.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::chain::Chain;
use super::create::{CreateOptions, Described, Ended, Read, Wanted};
use super::progress::Progress;
use super::{Snapshot, SnapshotManager};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::source::interval::Stretch;

pub(super) async fn compact(
    manager: &SnapshotManager,
    id: &SnapshotId,
    progress: Option<Arc<dyn Progress>>,
) -> Result<Snapshot> {
    let chain = Chain::open(manager, id).await?;
    let newest = chain.newest()?;
    let metadata = newest.metadata.clone();
    if metadata.changes.is_none() {
        let message = format!("snapshot {id} is a full one already; there is nothing to compact");
        return Err(SnapshotError::new(ErrorKind::Invalid, message));
    }
    let described = Described {
        database: super::create::database_info(&newest.database().await?),
        info: metadata.source.clone(),
        records_expected: metadata.vector_count,
        size_bounds_bytes: size_bounds_bytes(&chain),
    };
    let blocks = chain.blocks(&manager.config).await?.map_ok(|(block, _)| Read::Block(block));
    let end = Ended { not_captured: metadata.source.not_captured.clone(), ..Ended::default() };
    let blocks = blocks.chain(stream::once(async { Ok(Read::End(end)) })).boxed();
    // Who compacts a chain may want to save it: without the leaves the next increment is slower, and as exact.
    let leaves = match chain.leaves(&manager.config).await {
        Err(error) if error.kind() == ErrorKind::Damaged => None,
        leaves => leaves?,
    };
    let what = Wanted {
        base: None,
        stretches: [Stretch::all()].into(),
        vectors: None,
        leaves,
        created_at: metadata.created_at,
        checksum: Some(metadata.checksum),
    };
    let options = CreateOptions {
        labels: metadata.labels.clone(),
        metadata: metadata.metadata.clone(),
        progress,
        ..CreateOptions::default()
    };
    manager.store_blocks(described, blocks, what, &metadata.name, &options).await
}

/// No file of the new snapshot is larger than those of the chain together, and what their members take again when they are
/// cut otherwise.
fn size_bounds_bytes(chain: &Chain) -> Option<[u64; 3]> {
    let mut bounds = [1u64 << 20; 3];
    for reader in chain.readers() {
        for (file, bound) in crate::format::layout::DataFile::ALL.into_iter().zip(&mut bounds) {
            let raw_bytes = reader.metadata.file(file).ok()?.raw_bytes;
            *bound = bound.saturating_add(raw_bytes).saturating_add(raw_bytes / 32);
        }
    }
    Some(bounds)
}
