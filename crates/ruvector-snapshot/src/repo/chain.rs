//! A chain: a snapshot and all its ancestors, read as one state. Shared by restore, verify, compact, and the next
//! increment. Writes nothing.

use std::sync::Arc;

use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::{Block, BlockOrder};
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::leaves;
use ruvector_snapshot_format::limits;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::LeafTable;

use super::context::{Context, run_blocking};
use super::merge::{Merge, Step};
use super::presence::judge;
use super::reader::{NextBlock, RUN_BYTES_MAX, ReadAhead, StoredSnapshot};
use crate::config::SnapshotConfig;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::source::key_range::{DiffRange, KeyRange, contains_in_order};

/// More snapshots than any chain has. `max_chain_length` is below it.
pub(crate) const CHAIN_LENGTH_MAX: usize = 1024;

/// The snapshots of a chain, the newest first.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    snapshots: Vec<StoredSnapshot>,
}

impl Chain {
    /// Reads every `metadata.json` of the chain and checks that each snapshot fits its base.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if the snapshot does not exist or is deleted meanwhile, and `Corrupt` if an ancestor is missing
    /// or does not fit.
    pub(crate) async fn open(context: &Context, id: &SnapshotId) -> Result<Self> {
        let mut snapshots = vec![StoredSnapshot::open(context, id).await?];
        while let Some(dependent) = snapshots.last()
            && let Some(base_id) = dependent.metadata.base_id()?
        {
            // Decoding has checked that each base is older than its dependent, so no chain is a cycle.
            if snapshots.len() >= CHAIN_LENGTH_MAX {
                return Err(broken(dependent, &base_id, "and the chain has no end"));
            }
            match open_base(context, dependent, &base_id, id).await {
                Ok(base) => snapshots.push(base),
                Err(error) => return Err(judge(context.store.as_ref(), id, error).await),
            }
        }
        Ok(Self { snapshots })
    }

    /// Returns the snapshot that the chain belongs to.
    pub(crate) fn newest(&self) -> Result<&StoredSnapshot> {
        self.snapshots.first().ok_or_else(|| SnapshotError::new(ErrorKind::Internal, "a chain without snapshots"))
    }

    /// Returns all snapshots, the newest first.
    pub(crate) fn snapshots(&self) -> &[StoredSnapshot] {
        &self.snapshots
    }

    /// Returns the ids of all snapshots, the newest first.
    pub(crate) fn ids(&self) -> Vec<SnapshotId> {
        self.snapshots.iter().map(|snapshot| snapshot.id().clone()).collect()
    }

    /// Checks that every data file of every snapshot exists with the recorded size. Reads none of them.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if one is missing or has another size.
    pub(crate) async fn check_sizes(&self, config: &SnapshotConfig) -> Result<()> {
        let checks = self.snapshots.iter().map(StoredSnapshot::check_sizes).collect::<Vec<_>>();
        stream::iter(checks).buffered(config.max_concurrent_io).try_collect().await
    }

    /// Returns the size of a file of all snapshots together after expansion, in bytes: as much as deflate can make of it, if
    /// `metadata.json` records more.
    pub(crate) fn expanded_bytes(&self, file: DataFile) -> Result<u64> {
        self.snapshots.iter().try_fold(0_u64, |sum, snapshot| {
            let info = snapshot.metadata.file(file)?;
            Ok(sum.saturating_add(info.raw_bytes.min(info.bytes.saturating_mul(limits::EXPANSION))))
        })
    }

    /// Returns the number of records of the state: as many as the files can hold, if `metadata.json` records more.
    pub(crate) fn records(&self) -> Result<u64> {
        let metadata = &self.newest()?.metadata;
        // Every vector of the state is in a file of the chain.
        let records_max = self.expanded_bytes(DataFile::Vectors)? / metadata.dimensions.saturating_mul(4).max(1);
        Ok(metadata.vector_count.min(records_max))
    }

    /// Reads the leaf tables of the newest snapshot. `None` if it has none.
    pub(crate) async fn leaves(&self, config: &SnapshotConfig) -> Result<Option<[LeafTable; 2]>> {
        self.each_leaves(config, |_, _| Ok(())).await
    }

    /// As [`leaves`](Self::leaves), and shows `visit` the tables of each snapshot that has some, the oldest first,
    /// until it returns an error.
    ///
    /// Tables are encoded relative to those of the base. If the base has none, they are complete.
    pub(crate) async fn each_leaves(
        &self,
        config: &SnapshotConfig,
        mut visit: impl FnMut(&StoredSnapshot, &[LeafTable; 2]) -> Result<()>,
    ) -> Result<Option<[LeafTable; 2]>> {
        let sections = self.snapshots.iter().rev().map(StoredSnapshot::leaves_section).collect::<Vec<_>>();
        let sections = stream::iter(sections).buffered(config.max_concurrent_io);
        let mut sections = sections.zip(stream::iter(self.snapshots.iter().rev()));
        let mut tables: Option<[LeafTable; 2]> = None;
        while let Some((section, snapshot)) = sections.next().await {
            let Some(raw) = section? else {
                tables = None;
                continue;
            };
            let decoded = run_blocking(move || Ok(leaves::decode(&raw, tables.as_ref())?)).await;
            let decoded = match decoded {
                Ok(decoded) => decoded,
                Err(error) => {
                    let message = error.message().to_owned();
                    let named = SnapshotError::new(error.kind(), message).with_key(snapshot.key(DataFile::Index));
                    return Err(snapshot.judged(named.with_source(error)).await);
                }
            };
            visit(snapshot, &decoded)?;
            tables = Some(decoded);
        }
        Ok(tables)
    }

    /// Streams the state in blocks sorted by id, with every digest verified, and the sum of each block.
    pub(crate) async fn blocks(
        &self,
        config: &SnapshotConfig,
    ) -> Result<BoxStream<'static, Result<(Block, ContentSum)>>> {
        self.blocks_of(&self.directories(config).await?, config)
    }

    /// As [`blocks`](Self::blocks), with [`directories`](Self::directories) that have been read.
    pub(crate) fn blocks_of(
        &self,
        directories: &[Arc<[BlockEntry]>],
        config: &SnapshotConfig,
    ) -> Result<BoxStream<'static, Result<(Block, ContentSum)>>> {
        if let ([full], [entries]) = (self.snapshots.as_slice(), directories) {
            let blocks = full.blocks(entries, self.read_ahead(0, config)).and_then(read);
            return Ok(judged(full, in_order(blocks, &full.metadata.id)));
        }
        let merge = self.merge_of(directories, config);
        Ok(judged(self.newest()?, merged_blocks(merge, self.dimensions()?, |_| true)))
    }

    /// As [`blocks`](Self::blocks), only of ids in these ranges, which must be sorted and disjoint. Reads only the
    /// blocks that can hold such ids; if each range is one id, only the index of these, and the blocks that hold one.
    pub(crate) async fn blocks_in(
        &self,
        ranges: Vec<KeyRange>,
        config: &SnapshotConfig,
    ) -> Result<BoxStream<'static, Result<(Block, ContentSum)>>> {
        let mut directories = self.directories(config).await?;
        let shared: Arc<[KeyRange]> = ranges.clone().into();
        for (at, (snapshot, entries)) in self.snapshots.iter().zip(&mut directories).enumerate() {
            let mut chosen = overlapping(entries, ranges.iter());
            if ranges.iter().all(KeyRange::is_one_id) {
                let ahead = self.read_ahead(at, config);
                let holding = snapshot.blocks_with_rows_in(chosen, &shared, ahead).await;
                chosen = match holding {
                    Ok(holding) => holding,
                    Err(error) => return Err(snapshot.judged(error).await),
                };
            }
            *entries = chosen.into();
        }
        let merge = self.merge_of(&directories, config);
        Ok(judged(self.newest()?, merged_blocks(merge, self.dimensions()?, contains_in_order(ranges))))
    }

    /// Returns the rows of all snapshots in these ranges, merged by id, without vectors.
    pub(crate) async fn rows_in(&self, ranges: &Arc<[DiffRange]>, config: &SnapshotConfig) -> Result<Merge> {
        let mut members = Vec::new();
        let directories = match ranges.is_empty() {
            true => Vec::new(),
            false => self.directories(config).await?,
        };
        for (at, (snapshot, entries)) in self.snapshots.iter().zip(directories).enumerate() {
            let entries = overlapping(&entries, ranges.iter().map(|range| &range.key_range));
            let rows = snapshot.blocks_without_vectors(entries, ranges.clone(), self.read_ahead(at, config));
            members.push(judged(snapshot, rows));
        }
        Ok(Merge::new(members))
    }

    /// Returns what each snapshot changes in the state of its base, the newest first, with every digest verified, in
    /// one pass.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt`, with a key of the snapshot whose row does not fit its base.
    pub(crate) async fn steps(&self, config: &SnapshotConfig) -> Result<Vec<Step>> {
        let mut merge = self.merge(config).await?;
        let mut steps = vec![Step::default(); self.snapshots.len()];
        while merge.advance().await? {
            merge.read_all().await?;
            merge.add_to(&mut steps).map_err(|error| self.at_snapshot(error))?;
        }
        Ok(steps)
    }

    /// As [`steps`](Self::steps), with the digests as they are stored. Reads only indexes.
    pub(crate) async fn steps_of_indexes(&self, config: &SnapshotConfig) -> Result<Vec<Step>> {
        let mut merge = self.index_rows(config).await?;
        let mut steps = vec![Step::default(); self.snapshots.len()];
        while merge.advance().await? {
            merge.add_digests_to(&mut steps).map_err(|error| self.at_snapshot(error))?;
        }
        Ok(steps)
    }

    fn at_snapshot(&self, (number, error): (usize, SnapshotError)) -> SnapshotError {
        match self.snapshots.get(number) {
            Some(snapshot) => error.with_key(snapshot.key(DataFile::Index)),
            None => error,
        }
    }

    /// Shows `visit` each id with the number of each snapshot, the newest first, whose state has a record of this id, in
    /// order of the ids. Reads only indexes, and verifies no digests.
    pub(crate) async fn each_record(
        &self,
        config: &SnapshotConfig,
        mut visit: impl FnMut(usize, &str) -> Result<()>,
    ) -> Result<()> {
        let mut merge = self.index_rows(config).await?;
        while merge.advance().await? {
            let Some(row) = merge.newest() else { continue };
            merge.members_with_record().try_for_each(|number| visit(number, row.id))?;
        }
        Ok(())
    }

    /// Returns the rows of all snapshots, merged by id, without vectors and metadata.
    async fn index_rows(&self, config: &SnapshotConfig) -> Result<Merge> {
        let directories = self.directories(config).await?;
        let members = self.snapshots.iter().zip(directories).enumerate();
        let members = members.map(|(at, (snapshot, entries))| {
            judged(snapshot, snapshot.blocks_without_content(&entries, self.read_ahead(at, config)))
        });
        Ok(Merge::new(members.collect()))
    }

    /// Merges the rows of all blocks.
    async fn merge(&self, config: &SnapshotConfig) -> Result<Merge> {
        Ok(self.merge_of(&self.directories(config).await?, config))
    }

    /// Merges the rows of these blocks of each snapshot, those of the newest first.
    fn merge_of(&self, directories: &[Arc<[BlockEntry]>], config: &SnapshotConfig) -> Merge {
        let members = self
            .snapshots
            .iter()
            .zip(directories)
            .enumerate()
            .map(|(at, (snapshot, entries))| snapshot.blocks(entries, self.read_ahead(at, config)).boxed());
        Merge::new(members.collect())
    }

    /// Returns how far to read ahead in a snapshot of the chain. The full snapshot has most of the rows. Of each
    /// increment one block is in memory and one is being read, and all increments together read as many bytes at once
    /// as the full snapshot: memory grows with the chain by one block each.
    pub(crate) fn read_ahead(&self, at: usize, config: &SnapshotConfig) -> ReadAhead {
        match at + 1 == self.snapshots.len() {
            true => ReadAhead::full(config),
            false => ReadAhead { runs: 1, blocks: 1, run_bytes_max: RUN_BYTES_MAX / self.snapshots.len() as u64 },
        }
    }

    /// Reads the block directories of all snapshots, the newest first.
    pub(crate) async fn directories(&self, config: &SnapshotConfig) -> Result<Vec<Arc<[BlockEntry]>>> {
        let directories = self.snapshots.iter().map(StoredSnapshot::directory).collect::<Vec<_>>();
        stream::iter(directories).buffered(config.max_concurrent_io).try_collect().await
    }

    fn dimensions(&self) -> Result<usize> {
        Ok(usize::try_from(self.newest()?.metadata.dimensions).unwrap_or(usize::MAX))
    }
}

/// Reads a block whose turn has come, if it is large.
async fn read(next: NextBlock) -> Result<(Block, ContentSum)> {
    match next {
        NextBlock::Read(block, sum) => Ok((block, sum)),
        NextBlock::Large(large) => large.read().await,
    }
}

/// Opens the base of a snapshot of the chain of `read_id`, and checks that the two fit.
async fn open_base(
    context: &Context,
    dependent: &StoredSnapshot,
    base_id: &SnapshotId,
    read_id: &SnapshotId,
) -> Result<StoredSnapshot> {
    let base = match StoredSnapshot::open_for(context, base_id, read_id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let back = bring_back(base_id.as_str(), &context.store.to_string());
            let why = format!("which is not in the store; {back}");
            return Err(broken(dependent, base_id, &why).with_source(error));
        }
        Err(error) => {
            let problem =
                format!("snapshot {} depends on {base_id}, which cannot be read: {}", dependent.id(), error.problem());
            let key = layout::key(base_id, layout::METADATA_JSON);
            return Err(error.about(problem).with_key(key).with_source(error));
        }
        Ok(base) => base,
    };
    let shape = |snapshot: &StoredSnapshot| (snapshot.metadata.dimensions, snapshot.metadata.distance_metric.clone());
    if shape(&base) != shape(dependent) {
        return Err(broken(dependent, base_id, "which has other dimensions or another metric"));
    }
    if dependent.metadata.base_checksum != Some(base.metadata.checksum) {
        return Err(broken(dependent, base_id, "whose contents have changed since"));
    }
    let has_own = dependent.metadata.irregular_sections().next().is_some();
    if !has_own && dependent.metadata.irregular.is_some() && !has_same_irregular(&dependent.metadata, &base.metadata) {
        return Err(broken(dependent, base_id, "which has other irregular rows"));
    }
    Ok(base)
}

fn has_same_irregular(one: &SnapshotMetadata, other: &SnapshotMetadata) -> bool {
    let numbers = |metadata: &SnapshotMetadata| {
        let info = metadata.irregular.as_ref()?;
        Some((info.records, info.config_rows, info.tables, info.table_rows, info.checksum))
    };
    numbers(one) == numbers(other)
}

/// Says how a base that is not in a store can be brought back.
pub(crate) fn bring_back(base_id: &str, store: &str) -> String {
    format!("if another store has it, `copy {base_id} --store OTHER --to {store}` brings it back")
}

fn broken(dependent: &StoredSnapshot, base_id: &SnapshotId, why: &str) -> SnapshotError {
    let message = format!("snapshot {} depends on {base_id}, {why}", dependent.id());
    corrupt(message).with_key(layout::key(base_id, layout::METADATA_JSON))
}

/// Checks the snapshot that is read once more before an error of the stream says that it is corrupt.
pub(super) fn judged<T: Send + 'static>(
    snapshot: &StoredSnapshot,
    items: impl Stream<Item = Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let snapshot = snapshot.clone();
    items
        .or_else(move |error| {
            let snapshot = snapshot.clone();
            async move { Err(snapshot.judged(error).await) }
        })
        .boxed()
}

fn merged_blocks(
    merge: Merge,
    dimensions: usize,
    is_wanted: impl FnMut(&str) -> bool + Send + 'static,
) -> BoxStream<'static, Result<(Block, ContentSum)>> {
    stream::try_unfold((merge, is_wanted), move |(mut merge, mut is_wanted)| async move {
        let next = merge.next_block(dimensions, &mut is_wanted).await?;
        Ok(next.map(|block| (block, (merge, is_wanted))))
    })
    .boxed()
}

/// Returns the blocks that may hold an id of the ranges, which are sorted and disjoint.
fn overlapping<'a>(entries: &[BlockEntry], ranges: impl Iterator<Item = &'a KeyRange>) -> Vec<BlockEntry> {
    let mut left = ranges.peekable();
    let mut overlapping = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        while left.next_if(|range| range.ends_before(&entry.first_id)).is_some() {}
        // A block ends where the next one starts.
        let end = entries.get(at + 1).map(|next| next.first_id.as_str());
        if left.peek().is_some_and(|range| end.is_none_or(|end| range.start.as_str() < end)) {
            overlapping.push(entry.clone());
        }
    }
    overlapping
}

/// Fails at the first block that does not follow the block before it.
fn in_order(
    blocks: impl Stream<Item = Result<(Block, ContentSum)>> + Send + 'static,
    id: &SnapshotId,
) -> BoxStream<'static, Result<(Block, ContentSum)>> {
    let (id, mut order) = (id.clone(), BlockOrder::default());
    blocks
        .map(move |next| {
            let (block, sum) = next?;
            match order.follows(&block) {
                true => Ok((block, sum)),
                false => Err(corrupt(format!("the blocks of snapshot {id} are not sorted by id"))),
            }
        })
        .boxed()
}
