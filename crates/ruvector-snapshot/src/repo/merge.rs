//! Merges the rows of the snapshots of a chain by id (FORMAT.md, section 5). Pure, apart from the streams that it
//! reads.

use futures::stream::{BoxStream, TryStreamExt};
use ruvector_snapshot_format::block::{Block, BlockOrder, RowKind};
use ruvector_snapshot_format::checksum::{ContentSum, Digest, digest};
use ruvector_snapshot_format::model::{Change, ChangedRow, Changes, Record};

use super::reader::NextBlock;
use crate::error::{Result, SnapshotError, corrupt};

/// What a snapshot changes in the state of its base.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Step {
    /// What it adds to the content checksum.
    pub(crate) sum: ContentSum,
    pub(crate) changes: Changes,
}

impl Step {
    /// Applies a row to the record of the base, both given as a vector and a sum, and returns the resulting record.
    fn apply<'a>(
        &mut self,
        row: ChangedRow<'a>,
        base: Option<(&'a [u8], ContentSum)>,
    ) -> Result<Option<(&'a [u8], ContentSum)>> {
        let record = resolve_record(row, base.map(|(vector, _)| vector))?;
        let sum = self.apply_digest(row, base.map(|(_, sum)| sum))?;
        Ok(record.zip(sum).map(|(record, sum)| (record.vector, sum)))
    }

    /// Applies a row to the sum of the record of the base, and returns that of the resulting record. The digest is taken
    /// as it is stored.
    fn apply_digest(&mut self, row: ChangedRow<'_>, base: Option<ContentSum>) -> Result<Option<ContentSum>> {
        let mut stored = ContentSum::default();
        stored.add(&row.digest);
        let record = (row.change != Change::Removed).then_some(stored);
        match (base, record) {
            (None, Some(_)) => self.changes.added += 1,
            (Some(_), Some(_)) => self.changes.changed += 1,
            (Some(base), None) if base == stored => self.changes.removed += 1,
            (_, None) => {
                return Err(corrupt(format!("a tombstone removes record {:?}, which the base does not have", row.id)));
            }
        }
        base.iter().for_each(|base| self.sum.unmerge(base));
        record.iter().for_each(|record| self.sum.merge(record));
        Ok(record)
    }
}

/// Returns the record that a row results in: with its own vector, which was verified with its block, or with that of
/// the base, which its digest verifies. `None` for a tombstone.
fn resolve_record<'a>(row: ChangedRow<'a>, base: Option<&'a [u8]>) -> Result<Option<Record<'a>>> {
    let ChangedRow { id, digest: stored, change } = row;
    let (own, metadata) = match change {
        Change::Removed => return Ok(None),
        Change::Put { vector, metadata } => (vector, metadata),
    };
    if let Some(vector) = own {
        return Ok(Some(Record { id, vector, metadata }));
    }
    let vector = base.ok_or_else(|| corrupt(format!("the vector of id {id:?} is in no snapshot of the chain")))?;
    if digest(id, vector, metadata) != stored {
        return Err(corrupt(format!("the digest of id {id:?} does not match the vector in its base")));
    }
    Ok(Some(Record { id, vector, metadata }))
}

/// The rows of several snapshots of a chain, merged by id.
pub(crate) struct Merge {
    members: Vec<Member>,
    /// Members with a row of the current id, the newest first. Before the first id: all of them.
    current: Vec<usize>,
    /// The other members that have rows left, sorted by their ids, the smallest last. Of equal ids the newest comes
    /// last.
    waiting: Vec<usize>,
}

/// Where a row of the current id is, and what its index says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowPlace {
    /// The number of the member.
    pub(crate) member: usize,
    /// The number of the block in the stream of the member.
    pub(crate) block: usize,
    pub(crate) kind: RowKind,
    pub(crate) digest: Digest,
}

/// The rows of one snapshot, in order.
struct Member {
    blocks: BoxStream<'static, Result<NextBlock>>,
    block: Option<NextBlock>,
    /// Blocks that were fetched, with `block`.
    fetched: usize,
    at: usize,
    order: BlockOrder,
}

impl Merge {
    /// Merges streams of blocks, that of the newest snapshot first.
    pub(crate) fn new(blocks: Vec<BoxStream<'static, Result<NextBlock>>>) -> Self {
        let member = |blocks| Member { blocks, block: None, fetched: 0, at: 0, order: BlockOrder::default() };
        let members: Vec<_> = blocks.into_iter().map(member).collect();
        Self { current: (0..members.len()).collect(), waiting: Vec::new(), members }
    }

    /// Moves to the next id. Returns `false` at the end.
    pub(crate) async fn advance(&mut self) -> Result<bool> {
        for number in std::mem::take(&mut self.current) {
            let Some(member) = self.members.get_mut(number) else { continue };
            member.at += 1;
            member.fill().await?;
            if member.id().is_some() {
                self.waiting.insert(self.index_of(number), number);
            }
        }
        while let Some(last) = self.waiting.last()
            && self.current.first().is_none_or(|first| self.id_of(*first) == self.id_of(*last))
        {
            self.current.extend(self.waiting.pop());
        }
        Ok(!self.current.is_empty())
    }

    /// Returns the index at which a member is inserted into `waiting`.
    fn index_of(&self, number: usize) -> usize {
        let id = self.id_of(number);
        let first = self.waiting.partition_point(|other| self.id_of(*other) > id);
        let is_older = |other: &&usize| self.id_of(**other) == id && **other > number;
        first + self.waiting.iter().skip(first).take_while(is_older).count()
    }

    /// Returns whether a row of the current id is large.
    fn is_large(&self) -> bool {
        self.current.iter().any(|number| self.members.get(*number).is_some_and(Member::is_large))
    }

    fn id_of(&self, number: usize) -> Option<&str> {
        self.members.get(number)?.id()
    }

    /// Reads the large rows of the current id, one after the other, and verifies them. Keeps their vectors, but not their
    /// metadata: afterwards [`add_to`](Self::add_to) can compare all rows.
    pub(crate) async fn read_all(&mut self) -> Result<()> {
        let mut base: Option<Vec<u8>> = None;
        let has_large = self.current.iter().any(|at| self.members.get(*at).is_some_and(Member::is_unread));
        for number in self.current.iter().rev().filter(|_| has_large) {
            let Some(member) = self.members.get_mut(*number) else { continue };
            member.read().await?;
            let Some(row) = member.row() else { continue };
            // `add_to` fails at the same row, and knows whose it is.
            let Ok(record) = resolve_record(row, base.as_deref()) else { break };
            base = record.map(|record| record.vector.to_vec());
            member.forget_large(base.as_deref());
        }
        Ok(())
    }

    /// Reads the row of the newest snapshot that has the current id, if it is large. If it has no vector, reads older ones
    /// up to that with its vector.
    async fn read_newest(&mut self) -> Result<()> {
        for (at, number) in self.current.iter().enumerate() {
            let Some(member) = self.members.get_mut(*number) else { continue };
            member.read().await?;
            if at > 0
                && let Some(NextBlock::Read(block, _)) = &mut member.block
            {
                block.forget_large_metadata();
            }
            if !matches!(member.row().map(|row| row.change), Some(Change::Put { vector: None, .. })) {
                break;
            }
        }
        Ok(())
    }

    /// Takes the row of the newest snapshot as a block of its own, if it is large, without a copy.
    fn take_large(&mut self) -> Result<Option<(Block, ContentSum)>> {
        let newest = self.current.first().copied();
        let is_large = newest.and_then(|number| self.members.get(number)).is_some_and(Member::is_large);
        let Some((record, sum)) = self.record()?.filter(|_| is_large) else { return Ok(None) };
        let (id, vector) = (record.id.to_owned(), record.vector.to_vec());
        let member = newest.and_then(|number| self.members.get_mut(number));
        let Some(NextBlock::Read(mut block, _)) = member.and_then(|member| member.block.take()) else {
            return Ok(None);
        };
        match block.complete_row(&vector) {
            true => Ok(Some((block, sum))),
            false => Err(corrupt(format!("the vector of id {id:?} does not have the dimensions of the chain"))),
        }
    }

    /// Returns the row of the newest snapshot that has the current id.
    pub(crate) fn newest(&self) -> Option<ChangedRow<'_>> {
        self.rows().next()
    }

    /// Returns the rows of the current id, the newest first.
    fn rows(&self) -> impl Iterator<Item = ChangedRow<'_>> {
        self.current.iter().filter_map(|at| self.members.get(*at)?.row())
    }

    /// Returns the places of the rows of the current id, in the order of the members. Leaves out large rows that were not
    /// read.
    pub(crate) fn places(&self) -> impl Iterator<Item = RowPlace> {
        self.current.iter().filter_map(|number| {
            let member = self.members.get(*number)?;
            let Some(NextBlock::Read(block, _)) = &member.block else { return None };
            let (kind, digest) = (block.kind(member.at), block.change(member.at).digest);
            Some(RowPlace { member: *number, block: member.fetched.saturating_sub(1), kind, digest })
        })
    }

    /// Returns the numbers of the members whose state has a record of the current id, the oldest first.
    pub(crate) fn members_with_record(&self) -> impl Iterator<Item = usize> {
        let mut has_record = false;
        (0..self.members.len()).rev().filter(move |number| {
            let row = self.current.contains(number).then(|| self.members.get(*number)?.row()).flatten();
            if let Some(row) = row {
                has_record = row.change != Change::Removed;
            }
            has_record
        })
    }

    /// Returns the record of the current id and its sum, or `None` if the record was removed.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if a row without a vector finds none in its base, or does not match its digest.
    pub(crate) fn record(&self) -> Result<Option<(Record<'_>, ContentSum)>> {
        let Some(row) = self.newest() else { return Ok(None) };
        let older = self.rows().skip(1).map_while(|row| match row.change {
            Change::Removed => None,
            Change::Put { vector, .. } => Some(vector),
        });
        let record = resolve_record(row, older.flatten().next())?;
        let mut sum = ContentSum::default();
        sum.add(&row.digest);
        Ok(record.map(|record| (record, sum)))
    }

    /// Adds to each step what its snapshot changes at the current id. An error comes with the number of the snapshot.
    pub(crate) fn add_to(&self, steps: &mut [Step]) -> Result<(), (usize, SnapshotError)> {
        let mut base = None;
        for number in self.current.iter().rev() {
            let row = self.members.get(*number).and_then(Member::row);
            let (Some(row), Some(step)) = (row, steps.get_mut(*number)) else { continue };
            base = step.apply(row, base).map_err(|error| (*number, error))?;
        }
        Ok(())
    }

    /// As [`add_to`](Self::add_to), with the digests as they are stored. Needs no vectors and no metadata.
    pub(crate) fn add_digests_to(&self, steps: &mut [Step]) -> Result<(), (usize, SnapshotError)> {
        let mut base = None;
        for number in self.current.iter().rev() {
            let row = self.members.get(*number).and_then(Member::row);
            let (Some(row), Some(step)) = (row, steps.get_mut(*number)) else { continue };
            base = step.apply_digest(row, base).map_err(|error| (*number, error))?;
        }
        Ok(())
    }

    /// Returns the next records whose ids are wanted, as many as fit in a block, and their sum.
    ///
    /// Rows of other ids are skipped unread: their base may not have been fetched.
    pub(crate) async fn next_block(
        &mut self,
        dimensions: usize,
        mut is_wanted: impl FnMut(&str) -> bool,
    ) -> Result<Option<(Block, ContentSum)>> {
        let (mut block, mut sum) = (Block::new(dimensions), ContentSum::default());
        loop {
            // A record that did not fit in the last block is still the current one. One that was taken has no id.
            let id = self.current.first().and_then(|first| self.id_of(*first));
            if id.is_some_and(&mut is_wanted) {
                if self.is_large() {
                    if !block.is_empty() {
                        return Ok(Some((block, sum)));
                    }
                    self.read_newest().await?;
                    if let Some(large) = self.take_large()? {
                        return Ok(Some(large));
                    }
                }
                if let Some((record, record_sum)) = self.record()? {
                    if block.is_full_for(record) {
                        return Ok(Some((block, sum)));
                    }
                    block.push(record)?;
                    sum.merge(&record_sum);
                }
            }
            if !self.advance().await? {
                return Ok((!block.is_empty()).then_some((block, sum)));
            }
        }
    }
}

impl Member {
    /// Returns the current row. `None` if it is large and not read.
    fn row(&self) -> Option<ChangedRow<'_>> {
        let Some(NextBlock::Read(block, _)) = &self.block else { return None };
        (self.at < block.len()).then(|| block.change(self.at))
    }

    fn id(&self) -> Option<&str> {
        match self.block.as_ref()? {
            NextBlock::Read(block, _) => (self.at < block.len()).then(|| block.id(self.at)),
            NextBlock::Large(large) => (self.at == 0).then(|| large.id()),
        }
    }

    fn is_unread(&self) -> bool {
        matches!(self.block, Some(NextBlock::Large(_)))
    }

    fn is_large(&self) -> bool {
        match &self.block {
            Some(NextBlock::Read(block, _)) => block.is_large(),
            Some(NextBlock::Large(_)) => true,
            None => false,
        }
    }

    /// Reads the current row, if it was not read because it is large.
    async fn read(&mut self) -> Result<()> {
        if let Some(NextBlock::Large(large)) = &self.block {
            let (block, sum) = large.read().await?;
            self.block = Some(NextBlock::Read(block, sum));
        }
        Ok(())
    }

    /// Frees the metadata of the current row if it is large, after giving it its vector.
    fn forget_large(&mut self, vector: Option<&[u8]>) {
        let Some(NextBlock::Read(block, _)) = &mut self.block else { return };
        if block.is_large() && vector.is_some_and(|vector| block.complete_row(vector)) {
            block.forget_large_metadata();
        }
    }

    /// Fetches blocks until the member is on a row, if it has one left.
    async fn fill(&mut self) -> Result<()> {
        while self.id().is_none() {
            self.block = None;
            let Some(next) = self.blocks.try_next().await? else { return Ok(()) };
            let follows = match &next {
                NextBlock::Read(block, _) => self.order.follows(block),
                NextBlock::Large(large) => self.order.follows_ids(large.id(), large.id()),
            };
            if !follows {
                return Err(corrupt("the blocks of a snapshot are not sorted by id"));
            }
            self.block = Some(next);
            self.fetched += 1;
            self.at = 0;
        }
        Ok(())
    }
}
