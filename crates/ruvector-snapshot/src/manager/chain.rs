//! A chain: a snapshot and what it stands on, down to the full one, and its state as a merge by id (FORMAT.md, section 5).
//! Shared by restore, verify, compact and the next increment. Writes nothing.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::SnapshotManager;
use super::config::SnapshotConfig;
use super::reader::{RUN_BYTES_MAX, SnapshotReader};
use super::unblock;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::{Block, Change, ChangedRow, Row};
use crate::format::checksum::{ContentSum, digest};
use crate::format::damaged;
use crate::format::id::SnapshotId;
use crate::format::index::BlockEntry;
use crate::format::layout::{self, DataFile};
use crate::format::leaves::{self, LeafTable};
use crate::format::metadata::Changes;
use crate::source::interval::Stretch;

/// More links than any chain has: `max_chain_length` is below it.
const LINKS_MAX: usize = 1024;

/// The snapshots of a chain, the newest first.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    readers: Vec<SnapshotReader>,
}

impl Chain {
    /// Reads every metadata.json of the chain, and checks that the links fit each other.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is no such snapshot, `Damaged` where one that it stands on is missing or of another shape.
    pub(super) async fn open(manager: &SnapshotManager, id: &SnapshotId) -> Result<Self> {
        let mut readers = vec![SnapshotReader::open(manager, id).await?];
        while let Some(above) = readers.last()
            && let Some(base_id) = above.metadata.base_id()?
        {
            // Decoding has checked that each base is older, so no chain is a circle.
            let broken = |what: String| {
                let key = layout::key(&base_id, layout::METADATA_JSON);
                damaged(format!("snapshot {} stands on {base_id}, {what}", above.metadata.id)).at(key)
            };
            if readers.len() >= LINKS_MAX {
                return Err(broken("and the chain does not end".to_owned()));
            }
            let base = match SnapshotReader::open(manager, &base_id).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    above.check_exists().await?;
                    return Err(broken("which is not in the store".to_owned()).because(error));
                }
                Err(error) => {
                    let what = format!("snapshot {id} stands on {base_id}, which cannot be read: {}", error.message());
                    let key = layout::key(&base_id, layout::METADATA_JSON);
                    return Err(SnapshotError::new(error.kind(), what).at(key).because(error));
                }
                Ok(base) => base,
            };
            let shape = |reader: &SnapshotReader| (reader.metadata.dimensions, reader.metadata.distance_metric.clone());
            if shape(&base) != shape(above) {
                return Err(broken("which has other dimensions or another metric".to_owned()));
            }
            if above.metadata.base_checksum != Some(base.metadata.checksum) {
                return Err(broken("which has other contents than when it was made".to_owned()));
            }
            readers.push(base);
        }
        Ok(Self { readers })
    }

    /// The snapshot that the chain is of.
    pub(super) fn newest(&self) -> Result<&SnapshotReader> {
        self.readers.first().ok_or_else(|| SnapshotError::new(ErrorKind::Internal, "a chain without snapshots"))
    }

    /// All snapshots, the newest first.
    pub(super) fn readers(&self) -> &[SnapshotReader] {
        &self.readers
    }

    /// The ids of all snapshots, the newest first.
    pub(super) fn ids(&self) -> Vec<SnapshotId> {
        self.readers.iter().map(|reader| reader.metadata.id.clone()).collect()
    }

    /// The leaf tables of the newest snapshot; `None` where it has none.
    pub(super) async fn leaves(&self, config: &SnapshotConfig) -> Result<Option<[LeafTable; 2]>> {
        self.each_leaves(config, |_, _| Ok(())).await
    }

    /// As [`leaves`](Self::leaves), and shows those of each snapshot that has some on the way, the oldest first, until one is
    /// refused. They are told against those of the one below it; where that has none, they stand alone.
    pub(super) async fn each_leaves(
        &self,
        config: &SnapshotConfig,
        mut visit: impl FnMut(&SnapshotReader, &[LeafTable; 2]) -> Result<()>,
    ) -> Result<Option<[LeafTable; 2]>> {
        let sections = self.readers.iter().rev().map(SnapshotReader::leaves_section).collect::<Vec<_>>();
        let mut sections =
            stream::iter(sections).buffered(config.max_concurrent_io).zip(stream::iter(self.readers.iter().rev()));
        let mut tables: Option<[LeafTable; 2]> = None;
        while let Some((section, reader)) = sections.next().await {
            let Some(raw) = section? else {
                tables = None;
                continue;
            };
            let decoded = unblock(move || leaves::decode(&raw, tables.as_ref())).await;
            let decoded = decoded.map_err(|error| error.at(reader.key(DataFile::Index)))?;
            visit(reader, &decoded)?;
            tables = Some(decoded);
        }
        Ok(tables)
    }

    /// All increments together read as much at once as the full snapshot, so that memory does not grow with the chain by more
    /// than a block for each.
    fn run_bytes_max(&self, is_full: bool) -> u64 {
        if is_full { RUN_BYTES_MAX } else { RUN_BYTES_MAX / self.readers.len() as u64 }
    }

    /// The block directories of all snapshots, the newest first.
    async fn directories(&self, config: &SnapshotConfig) -> Result<Vec<Arc<[BlockEntry]>>> {
        let directories = self.readers.iter().map(SnapshotReader::directory).collect::<Vec<_>>();
        stream::iter(directories).buffered(config.max_concurrent_io).try_collect().await
    }

    /// The rows of all snapshots in these stretches, merged by id, without vectors.
    pub(super) async fn rows_in(&self, stretches: &Arc<[Stretch]>, config: &SnapshotConfig) -> Result<Merge> {
        let mut members = Vec::new();
        let directories = match stretches.is_empty() {
            true => Vec::new(),
            false => self.directories(config).await?,
        };
        for (at, (reader, entries)) in self.readers.iter().zip(directories).enumerate() {
            let entries = near(&entries, stretches);
            let is_full = at + 1 == self.readers.len();
            let ahead = if is_full { [config.max_concurrent_io, config.workers] } else { [1, 1] };
            let run_bytes_max = self.run_bytes_max(is_full);
            members.push(reader.blocks_without_vectors(entries, stretches.clone(), run_bytes_max, ahead).boxed());
        }
        Ok(Merge::new(members))
    }

    /// The state in blocks in id order, every digest proved, and what each block sums to.
    pub(super) async fn blocks(
        &self,
        config: &SnapshotConfig,
    ) -> Result<BoxStream<'static, Result<(Block, ContentSum)>>> {
        if let [full] = self.readers.as_slice() {
            let entries = full.directory().await?;
            return Ok(full.blocks(&entries, RUN_BYTES_MAX, config).boxed());
        }
        let dimensions = usize::try_from(self.newest()?.metadata.dimensions).unwrap_or(usize::MAX);
        let merge = self.merge(config).await?;
        Ok(stream::try_unfold(merge, move |mut merge| async move {
            Ok(merge.next_block(dimensions).await?.map(|block| (block, merge)))
        })
        .boxed())
    }

    /// What each snapshot makes of the state below it, the newest first, every digest proved; all in one pass.
    ///
    /// # Errors
    ///
    /// `Damaged`, at a file of the snapshot whose row does not fit what stands below it.
    pub(super) async fn steps(&self, config: &SnapshotConfig) -> Result<Vec<Step>> {
        let mut merge = self.merge(config).await?;
        let mut steps = vec![Step::default(); self.readers.len()];
        while merge.advance().await? {
            merge.add_to(&mut steps).map_err(|(number, error)| match self.readers.get(number) {
                Some(reader) => error.at(reader.key(DataFile::Index)),
                None => error,
            })?;
        }
        Ok(steps)
    }

    /// The rows of all snapshots, merged by id.
    async fn merge(&self, config: &SnapshotConfig) -> Result<Merge> {
        let mut members = Vec::new();
        let directories = self.directories(config).await?;
        for (at, (reader, entries)) in self.readers.iter().zip(directories).enumerate() {
            // The full snapshot at the end has most of the rows; of each other one a block is alive, and one is on its way.
            let is_full = at + 1 == self.readers.len();
            let config = match is_full {
                true => config.clone(),
                false => SnapshotConfig { max_concurrent_io: 1, workers: 1, ..config.clone() },
            };
            let blocks = reader.blocks(&entries, self.run_bytes_max(is_full), &config);
            members.push(blocks.map_ok(|(block, _)| block).boxed());
        }
        Ok(Merge::new(members))
    }
}

/// What a snapshot makes of the state below it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    /// What it adds to the content checksum.
    pub(super) sum: ContentSum,
    pub(super) changes: Changes,
}

impl Step {
    /// Takes up a row over the record below it, both as their vectors and what they sum to, and gives the record that it leaves.
    fn take<'a>(
        &mut self,
        row: ChangedRow<'a>,
        below: Option<(&'a [u8], ContentSum)>,
    ) -> Result<Option<(&'a [u8], ContentSum)>> {
        let mut stored = ContentSum::default();
        stored.add(&row.digest);
        let record = record_of(row, below.map(|(vector, _)| vector))?;
        match (below, record) {
            (None, Some(_)) => self.changes.added += 1,
            (Some(_), Some(_)) => self.changes.changed += 1,
            (Some((_, below)), None) if below == stored => self.changes.removed += 1,
            (_, None) => {
                return Err(damaged(format!("a record {:?} is removed that the snapshots below do not have", row.id)));
            }
        }
        below.iter().for_each(|(_, below)| self.sum.unmerge(below));
        record.iter().for_each(|_| self.sum.merge(&stored));
        Ok(record.map(|record| (record.vector, stored)))
    }
}

/// The record that a row leaves, with its own vector, which was proved with its block, or the one below, which its digest
/// proves; `None` where it is gone.
fn record_of<'a>(row: ChangedRow<'a>, below: Option<&'a [u8]>) -> Result<Option<Row<'a>>> {
    let ChangedRow { id, digest: stored, change } = row;
    let (own, metadata) = match change {
        Change::Removed => return Ok(None),
        Change::Put { vector, metadata } => (vector, metadata),
    };
    if let Some(vector) = own {
        return Ok(Some(Row { id, vector, metadata }));
    }
    let vector = below.ok_or_else(|| damaged(format!("the vector of id {id:?} is in no snapshot of the chain")))?;
    if digest(id, vector, metadata) != stored {
        return Err(damaged(format!("the digest of id {id:?} does not match its vector in the snapshots below")));
    }
    Ok(Some(Row { id, vector, metadata }))
}

/// The blocks that may hold an id of the stretches, which are in order and apart.
fn near(entries: &[BlockEntry], stretches: &[Stretch]) -> Vec<BlockEntry> {
    let mut left = stretches.iter().map(|stretch| &stretch.interval).peekable();
    let mut near = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        while left.next_if(|interval| interval.is_before(&entry.first_id)).is_some() {}
        // A block ends where the next one begins.
        let end = entries.get(at + 1).map(|next| next.first_id.as_str());
        if left.peek().is_some_and(|interval| end.is_none_or(|end| interval.start.as_str() < end)) {
            near.push(entry.clone());
        }
    }
    near
}

/// Rows of several snapshots of a chain, merged by id.
pub(super) struct Merge {
    members: Vec<Member>,
    /// The members that stand on the current id, the newest first. At first all of them, on none.
    current: Vec<usize>,
    /// The other members that have rows left, by their ids, the least last; of an equal id the newest last.
    waiting: Vec<usize>,
}

/// One snapshot's rows, in order.
struct Member {
    blocks: BoxStream<'static, Result<Block>>,
    block: Option<Block>,
    at: usize,
    last_id: Option<String>,
}

impl Merge {
    /// Of streams of blocks, those of the newest snapshot first.
    pub(super) fn new(blocks: Vec<BoxStream<'static, Result<Block>>>) -> Self {
        let member = |blocks| Member { blocks, block: None, at: 0, last_id: None };
        let members: Vec<_> = blocks.into_iter().map(member).collect();
        Self { current: (0..members.len()).collect(), waiting: Vec::new(), members }
    }

    /// Goes to the next id; false at the end.
    pub(super) async fn advance(&mut self) -> Result<bool> {
        for number in std::mem::take(&mut self.current) {
            let Some(member) = self.members.get_mut(number) else { continue };
            member.at += 1;
            member.fill().await?;
            if member.id().is_some() {
                self.waiting.insert(self.place_of(number), number);
            }
        }
        while let Some(last) = self.waiting.last()
            && self.current.first().is_none_or(|first| self.id_of(*first) == self.id_of(*last))
        {
            self.current.extend(self.waiting.pop());
        }
        Ok(!self.current.is_empty())
    }

    /// Where a member has its place among those that wait.
    fn place_of(&self, number: usize) -> usize {
        let id = self.id_of(number);
        let place = self.waiting.partition_point(|other| self.id_of(*other) > id);
        let is_older = |other: &&usize| self.id_of(**other) == id && **other > number;
        place + self.waiting.iter().skip(place).take_while(is_older).count()
    }

    fn id_of(&self, number: usize) -> Option<&str> {
        self.members.get(number)?.id()
    }

    /// What the newest snapshot that has the current id says of it.
    pub(super) fn newest(&self) -> Option<ChangedRow<'_>> {
        self.rows().next()
    }

    /// The current id's rows, the newest first.
    pub(super) fn rows(&self) -> impl Iterator<Item = ChangedRow<'_>> {
        self.current.iter().filter_map(|at| self.members.get(*at)?.row())
    }

    /// The record of the current id, and what it sums to; `None` where it is gone.
    ///
    /// # Errors
    ///
    /// `Damaged` where a row without its vector finds none below it, or is not what its digest says.
    fn record(&self) -> Result<Option<(Row<'_>, ContentSum)>> {
        let Some(row) = self.newest() else { return Ok(None) };
        let below = self.rows().skip(1).map_while(|row| match row.change {
            Change::Removed => None,
            Change::Put { vector, .. } => Some(vector),
        });
        let record = record_of(row, below.flatten().next())?;
        let mut sum = ContentSum::default();
        sum.add(&row.digest);
        Ok(record.map(|record| (record, sum)))
    }

    /// Adds what each snapshot that has the current id makes of it; an error goes with the number of the one it is in.
    fn add_to(&self, steps: &mut [Step]) -> std::result::Result<(), (usize, SnapshotError)> {
        let mut below = None;
        for number in self.current.iter().rev() {
            let row = self.members.get(*number).and_then(Member::row);
            let (Some(row), Some(step)) = (row, steps.get_mut(*number)) else { continue };
            below = step.take(row, below).map_err(|error| (*number, error))?;
        }
        Ok(())
    }

    /// The next records of the state, as many as fit into a block.
    async fn next_block(&mut self, dimensions: usize) -> Result<Option<(Block, ContentSum)>> {
        let (mut block, mut sum) = (Block::new(dimensions), ContentSum::default());
        loop {
            // A record that did not fit is still the current one.
            if let Some((row, row_sum)) = self.record()? {
                if block.is_full_for(row) {
                    return Ok(Some((block, sum)));
                }
                block.push(row)?;
                sum.merge(&row_sum);
            }
            if !self.advance().await? {
                return Ok((!block.is_empty()).then_some((block, sum)));
            }
        }
    }
}

impl Member {
    fn row(&self) -> Option<ChangedRow<'_>> {
        let block = self.block.as_ref()?;
        (self.at < block.len()).then(|| block.change(self.at))
    }

    fn id(&self) -> Option<&str> {
        let block = self.block.as_ref()?;
        (self.at < block.len()).then(|| block.id(self.at))
    }

    /// Sees to it that the member stands on a row, if it has one left.
    async fn fill(&mut self) -> Result<()> {
        while self.id().is_none() {
            self.block = None;
            let Some(block) = self.blocks.try_next().await? else { return Ok(()) };
            let Some(last) = block.len().checked_sub(1) else { continue };
            if self.last_id.as_deref().is_some_and(|last_id| last_id >= block.id(0)) {
                return Err(damaged("the blocks of a snapshot are not in the order of their ids"));
            }
            self.last_id = Some(block.id(last).to_owned());
            self.block = Some(block);
            self.at = 0;
        }
        Ok(())
    }
}
