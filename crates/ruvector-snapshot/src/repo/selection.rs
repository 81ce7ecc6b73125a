//! The records of a chain that a filter accepts, as a stream of blocks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::DataFile;

use super::chain::Chain;
use super::context::{Context, run_blocking};
use super::filter::RecordFilter;
use crate::config::SnapshotConfig;
use crate::error::{ErrorKind, Remedy, Result, SnapshotError, corrupt};
use crate::progress::{Phase, Progress, ProgressCounter};

/// Ids that an error names.
const IDS_NAMED: usize = 10;

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

    /// Fails if an id of the filter is in no record of the snapshot. `outcome` is what that means.
    ///
    /// # Errors
    ///
    /// Returns `NotFound`, with the first of the ids.
    pub(crate) fn check_none(&self, id: &SnapshotId, filter: &RecordFilter, outcome: &str) -> Result<()> {
        let missing = self.list();
        if missing.is_empty() {
            return Ok(());
        }
        let asked = filter.ids.as_ref().map_or(0, BTreeSet::len);
        let named: Vec<_> = missing.iter().take(IDS_NAMED).map(|id| format!("{id:?}")).collect();
        let more = match missing.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (number, named) = (missing.len(), named.join(", "));
        let message = match (number, asked) {
            (_, 1) => format!("the id {named} is not in snapshot {id}; {outcome}"),
            (1, _) => format!("1 of {asked} ids that were asked for is not in snapshot {id}: {named}; {outcome}"),
            _ => format!(
                "{number} of {asked} ids that were asked for are not in snapshot {id}: {named}{more}; {outcome}"
            ),
        };
        let advice = "SnapshotManager::find_record shows which snapshots have a record";
        Err(SnapshotError::new(ErrorKind::NotFound, message).with_remedy(Remedy::FindRecord, advice))
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
    let blocks = blocks.inspect_ok(move |(block, _)| missing.remove_found(block));
    if filter.conditions.is_empty() {
        return Ok(blocks.boxed());
    }
    let filter = Arc::new(filter.clone());
    let accepted = blocks.and_then(move |(block, _)| {
        let filter = filter.clone();
        run_blocking(move || accepted(&block, &filter))
    });
    Ok(accepted.try_filter(|(block, _)| future::ready(!block.is_empty())).boxed())
}

/// Which records are put, and what is said of that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put<'a> {
    pub(crate) filter: &'a RecordFilter,
    pub(crate) progress: Option<&'a dyn Progress>,
    pub(crate) phase: Phase,
    /// What a failure means for the destination.
    pub(crate) outcome: &'a str,
}

/// The records that were put.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) records: u64,
    pub(crate) sum: ContentSum,
    pub(crate) missing: MissingIds,
}

/// Passes the records that a filter accepts to `put`, which gets and returns the target, and checks at the end that all of
/// them were there. Returns the target, the number of the records, and their sum.
pub(crate) async fn put_selected<T: Send + 'static>(
    context: &Context,
    chain: &Chain,
    what: Put<'_>,
    target: T,
    put: fn(T, Block) -> Result<T>,
) -> Result<(T, u64, ContentSum)> {
    let (target, selected) = read_selected(context, chain, what, target, put).await?;
    check_selected(chain, what, &selected).await?;
    Ok((target, selected.records, selected.sum))
}

/// As [`put_selected`], without the check at the end.
pub(crate) async fn read_selected<T: Send + 'static>(
    context: &Context,
    chain: &Chain,
    Put { filter, progress, phase, .. }: Put<'_>,
    mut target: T,
    put: fn(T, Block) -> Result<T>,
) -> Result<(T, Selected)> {
    let newest = chain.newest()?;
    let total = filter.records_max(newest.metadata.vector_count);
    let mut progress = ProgressCounter::start(progress, phase, total);
    let (mut selected, mut sum, missing) = (0, ContentSum::default(), MissingIds::default());
    let mut blocks = selected_blocks(chain, &context.config, filter, None, &missing).await?;
    while let Some((block, block_sum)) = blocks.try_next().await? {
        let (records, bytes) = (block.len() as u64, block.content_bytes() as u64);
        target = context.run_blocking(move || put(target, block)).await?;
        sum.merge(&block_sum);
        selected += records;
        progress.add(records, bytes);
    }
    Ok((target, Selected { records: selected, sum, missing }))
}

/// Checks at the end of a selection that it has what it should have: every id of the filter, a record at least, and if the
/// filter accepts everything, the content checksum of the snapshot. `outcome` is what a failure means for the file.
pub(crate) async fn check_selected(
    chain: &Chain,
    Put { filter, outcome, .. }: Put<'_>,
    Selected { records, sum, missing }: &Selected,
) -> Result<()> {
    let newest = chain.newest()?;
    missing.check_none(newest.id(), filter, outcome)?;
    if filter.accepts_everything() {
        let (mut found, expected) = (newest.metadata.irregular_checksum(), newest.metadata.checksum);
        found.merge(sum);
        if found != expected {
            let message = format!("the content checksum of the snapshot is {found} instead of {expected}; {outcome}");
            return Err(newest.judged(corrupt(message).with_key(newest.key(DataFile::Index))).await);
        }
    } else if *records == 0 {
        return Err(SnapshotError::new(ErrorKind::NotFound, filter.accepts_none_of(newest.id(), outcome)));
    }
    Ok(())
}

/// Returns the records of a block for which the conditions of a filter hold, and their sum.
fn accepted(block: &Block, filter: &RecordFilter) -> Result<(Block, ContentSum)> {
    let (mut accepted, mut sum) = (block.new_like(), ContentSum::default());
    for record in block.rows().filter(|record| filter.holds(record.metadata)) {
        accepted.push(record)?;
        sum.add(&record.digest());
    }
    Ok((accepted, sum))
}
