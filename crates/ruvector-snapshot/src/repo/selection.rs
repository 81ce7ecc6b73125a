//! The records of a chain that a filter accepts, as a stream of blocks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;

use super::chain::Chain;
use super::filter::RecordFilter;
use crate::config::SnapshotConfig;
use crate::error::Result;

/// The ids that were asked for and not found so far. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct MissingIds(Arc<Mutex<BTreeSet<String>>>);

impl MissingIds {
    /// Asks for the ids of a filter that are after `after`.
    fn expect(&self, filter: &RecordFilter, after: Option<&str>) {
        let ids = filter.ids.iter().flatten().filter(|id| after.is_none_or(|after| id.as_str() > after));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids.cloned());
    }

    fn remove_found(&self, block: &Block) {
        let mut missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !missing.is_empty() {
            for at in 0..block.len() {
                missing.remove(block.id(at));
            }
        }
    }

    /// Returns the ids, sorted.
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Streams the records of the state that a filter accepts and whose ids are after `after`, with every digest verified,
/// and the sum of each block. Only blocks that can hold such ids are fetched.
///
/// When the stream has ended, `missing` has the ids of the filter that are in no record.
pub(crate) async fn selected_blocks(
    chain: &Chain,
    config: &SnapshotConfig,
    filter: &RecordFilter,
    after: Option<&str>,
    missing: &MissingIds,
) -> Result<BoxStream<'static, Result<(Block, ContentSum)>>> {
    missing.expect(filter, after);
    let blocks = match filter.ranges(after) {
        None => chain.blocks(config).await?,
        Some(ranges) if ranges.is_empty() => return Ok(stream::empty().boxed()),
        Some(ranges) => chain.blocks_in(ranges, config).await?,
    };
    let missing = missing.clone();
    Ok(blocks.inspect_ok(move |(block, _)| missing.remove_found(block)).boxed())
}
