//! The records of a chain that are nearest to vectors: one pass over all records, in bounded memory. Writes nothing.
//!
//! `distance` has the distances of Ruvector, `best` what is kept of each block. Both are pure.

mod best;
mod distance;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::TryStreamExt as _;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::model::Record;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::chain::Chain;
use super::context::failed_task;
use crate::config::SnapshotConfig;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::progress::{Phase, Progress, ProgressCounter};
use crate::source::SourceReader;
use best::Best;

pub(crate) use best::{Candidate, Scan, Target};
pub(crate) use distance::Distance;

/// Size of the ids of all results, in bytes. Ids can have a megabyte each.
const IDS_BYTES_MAX: usize = 256 << 20;

/// Returns the nearest records of the state for each target, the nearest first.
///
/// The digest of every record is verified, and at the end their content checksum: there is no result of corrupt data.
///
/// # Errors
///
/// Returns `Corrupt` if something is corrupt, and `InvalidInput` if the results take too much memory.
pub(crate) async fn nearest(
    chain: &Chain,
    config: &SnapshotConfig,
    scan: Scan,
    progress: Option<&dyn Progress>,
) -> Result<Vec<Vec<Candidate>>> {
    let newest = chain.newest()?;
    let metadata = &newest.metadata;
    let mut progress = ProgressCounter::start(progress, Phase::Search, metadata.vector_count);
    let mut sum = metadata.irregular_checksum();
    let mut work = Work::new(scan);
    let mut blocks = chain.blocks(config).await?;
    while let Some((block, block_sum)) = blocks.try_next().await? {
        sum.merge(&block_sum);
        progress.add(block.len() as u64, block.content_bytes() as u64);
        // A large block is in memory alone.
        let blocks_max = if block.is_large() { 1 } else { config.workers };
        work.start(block);
        work.wait_for_less_than(blocks_max).await?;
    }
    work.wait_for_less_than(1).await?;
    if sum != metadata.checksum {
        let message = format!(
            "the content checksum of the records is {sum} instead of {}: records are missing, or do not belong to the \
             snapshot; there is no result",
            metadata.checksum
        );
        return Err(newest.judged(corrupt(message).with_key(newest.key(DataFile::Index))).await);
    }
    Ok(std::mem::take(&mut work.nearest).into_iter().map(Best::into_sorted).collect())
}

/// Returns the nearest records of a source for each target, the nearest first. Blocks the thread. What is returned when it
/// is cancelled is not complete.
///
/// # Errors
///
/// Returns the error of the source.
pub(crate) fn nearest_of(
    source: &mut dyn SourceReader,
    scan: &Scan,
    mut progress: ProgressCounter<'_>,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Vec<Candidate>>> {
    let mut nearest = vec![Best::new(scan.k); scan.targets.len()];
    let mut block = Block::new(usize::try_from(source.database().dimensions).unwrap_or(usize::MAX));
    let mut compare = |block: &Block| {
        let limits: Vec<_> = nearest.iter().map(Best::limit).collect();
        let found = scan.nearest_in(block, &limits, is_cancelled);
        nearest.iter_mut().zip(found).for_each(|(nearest, found)| nearest.merge(found));
        progress.add(block.len() as u64, block.content_bytes() as u64);
    };
    while let Some(record) = source.next_record()? {
        // The metadata is not compared.
        let record = Record { metadata: None, ..record };
        if block.is_full_for(record) {
            compare(&block);
            if is_cancelled() {
                break;
            }
            block = block.new_like();
        }
        block.push(record)?;
    }
    compare(&block);
    Ok(nearest.into_iter().map(Best::into_sorted).collect())
}

/// Blocks that are compared on several threads. Their results are added in the order of the blocks.
struct Work {
    scan: Arc<Scan>,
    /// The nearest so far, of each target.
    nearest: Vec<Best>,
    running: VecDeque<JoinHandle<Vec<Best>>>,
    /// A search that fails or is dropped does not leave its threads at work: a program that ends waits for them.
    cancellation: CancellationToken,
    _cancels: DropGuard,
}

impl Work {
    fn new(scan: Scan) -> Self {
        let nearest = vec![Best::new(scan.k); scan.targets.len()];
        let cancellation = CancellationToken::new();
        let cancels = cancellation.clone().drop_guard();
        Self { scan: Arc::new(scan), nearest, running: VecDeque::new(), cancellation, _cancels: cancels }
    }

    fn start(&mut self, block: Block) {
        let (scan, limits) = (self.scan.clone(), self.nearest.iter().map(Best::limit).collect::<Vec<_>>());
        let cancellation = self.cancellation.clone();
        let compare = move || scan.nearest_in(&block, &limits, || cancellation.is_cancelled());
        self.running.push_back(spawn_blocking(compare));
    }

    /// Waits until fewer than so many blocks are being compared.
    async fn wait_for_less_than(&mut self, blocks_max: usize) -> Result<()> {
        while self.running.len() >= blocks_max
            && let Some(first) = self.running.pop_front()
        {
            let found = first.await.map_err(failed_task)?;
            self.nearest.iter_mut().zip(found).for_each(|(nearest, found)| nearest.merge(found));
            if self.nearest.iter().map(Best::id_bytes).sum::<usize>() > IDS_BYTES_MAX {
                let message =
                    "the ids of the results take more than 256 MiB; ask for fewer neighbors, or divide the queries";
                return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
            }
        }
        Ok(())
    }
}
