//! Compares the records of a source with the rows of the base, in id order and in constant memory.
//!
//! Both sides cover the same key ranges (see `leaf_diff`) and are merged by id. In a range where vectors may differ,
//! records are compared by their digests. In a metadata-only range they are compared by their metadata, and only the
//! vectors of changed records are read.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::{ContentSum, Digest, digest};
use ruvector_snapshot_format::large::LARGE_ROW_BYTES;
use ruvector_snapshot_format::model::{Change, ChangedRow, Changes, Record};
use ruvector_snapshot_format::payloads;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::context::run_blocking;
use crate::repo::merge::Merge;
use crate::repo::pipeline::{BlockEvent, BlockStream, Hold, SourceTrailer, truncated_source};
use crate::source::file::{VectorLookup, irregular_row_met};
use crate::source::key_range::DiffRange;

/// What an increment changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) changes: Changes,
    /// The checksum of the records of the new state.
    pub(super) checksum: ContentSum,
    /// Changed rows whose record had no metadata in the base and now has, and the other way round.
    metadata_added: u64,
    metadata_removed: u64,
}

/// Computes the digests of the records, some blocks at a time.
pub(super) fn with_digests(blocks: BlockStream<'_, SourceTrailer>, workers: usize) -> BlockStream<'_, SourceTrailer> {
    let digested = blocks.map(|event| async move {
        match event? {
            BlockEvent::Block(block, hold) => {
                run_blocking(move || Ok(BlockEvent::Block(block.with_digests()?, hold))).await
            }
            end => Ok(end),
        }
    });
    digested.buffered(workers).boxed()
}

/// Returns a stream of blocks of changes. `records` must have digests, and must cover the same ranges as `base`, in
/// order.
pub(super) fn changes<'a>(
    records: BlockStream<'a, SourceTrailer>,
    base: BaseRows,
    lookup: Option<VectorLookup>,
    dimensions: usize,
) -> BlockStream<'a, (SourceTrailer, Totals)> {
    let delta = Delta {
        records,
        block: None,
        hold: Hold::default(),
        at: 0,
        irregular: None,
        trailer: None,
        totals: Totals::new(base.checksum),
        base,
        out: Block::new(dimensions),
        out_hold: Hold::default(),
        undigested: Vec::new(),
        lookup,
        has_ended: false,
    };
    stream::try_unfold(delta, |mut delta| async move { Ok(delta.next().await?.map(|event| (event, delta))) }).boxed()
}

impl Totals {
    fn new(checksum: ContentSum) -> Self {
        Self { changes: Changes::default(), checksum, metadata_added: 0, metadata_removed: 0 }
    }

    /// Checks that the database has no more rows than the records of the new state. It does if rows became irregular
    /// where they were not read. `base` are the numbers of rows of the base.
    fn check_rows(&self, base: [u64; 2], trailer: &SourceTrailer) -> Result<()> {
        let [vectors, metadata] = base;
        let vectors = vectors.saturating_add(self.changes.added).checked_sub(self.changes.removed);
        let metadata = metadata.saturating_add(self.metadata_added).checked_sub(self.metadata_removed);
        let expected = vectors.zip(metadata).map(|(vectors, metadata)| [vectors, metadata]);
        if trailer.row_counts.is_none() || trailer.row_counts == expected { Ok(()) } else { Err(irregular_row_met()) }
    }
}

struct Delta<'a> {
    records: BlockStream<'a, SourceTrailer>,
    block: Option<Block>,
    hold: Hold,
    at: usize,
    /// A section of irregular rows, which come after all records.
    irregular: Option<Vec<u8>>,
    trailer: Option<SourceTrailer>,
    base: BaseRows,
    out: Block,
    out_hold: Hold,
    /// Rows of `out` whose digests are missing until their vectors are read.
    undigested: Vec<usize>,
    lookup: Option<VectorLookup>,
    totals: Totals,
    has_ended: bool,
}

/// Which side has the smallest id.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Base,
    Both,
    Records,
}

/// What has become of a record.
enum Outcome<'a> {
    Same,
    Changed(ChangedRow<'a>),
    /// The record has the vector of the base, which is not read yet, and this canonical metadata.
    MetadataOnly(&'a str, Option<String>),
}

impl Delta<'_> {
    async fn next(&mut self) -> Result<Option<BlockEvent<(SourceTrailer, Totals)>>> {
        if self.has_ended {
            return Ok(None);
        }
        loop {
            self.fill().await?;
            self.base.fill().await?;
            let Some(side) = self.side() else {
                if !self.out.is_empty() {
                    return Ok(Some(self.take_block().await?));
                }
                if let Some(raw) = self.irregular.take() {
                    return Ok(Some(BlockEvent::Irregular(raw)));
                }
                self.has_ended = true;
                let Some(trailer) = self.trailer.take() else { return Ok(None) };
                if let Some(counts) = self.base.row_counts {
                    self.totals.check_rows(counts, &trailer)?;
                }
                return Ok(Some(BlockEvent::End((trailer, self.totals))));
            };
            self.complete_large(side).await?;
            if !self.add_outcome(side)? {
                return Ok(Some(self.take_block().await?));
            }
            self.base.is_placed &= side == Side::Records;
            self.at += usize::from(side != Side::Base);
            if self.out.is_full() {
                return Ok(Some(self.take_block().await?));
            }
        }
    }

    fn side(&self) -> Option<Side> {
        let record = self.block.as_ref().map(|block| block.id(self.at));
        match (record, self.base.row()) {
            (None, None) => None,
            (Some(_), None) => Some(Side::Records),
            (None, Some(_)) => Some(Side::Base),
            (Some(record), Some(base)) => Some(match record.cmp(base.id) {
                Ordering::Less => Side::Records,
                Ordering::Equal => Side::Both,
                Ordering::Greater => Side::Base,
            }),
        }
    }

    /// Adds the vector and the digest to a large record of a metadata-only range: its metadata cannot be compared with that
    /// of the base, which is not read, and it is not compared with other large metadata.
    async fn complete_large(&mut self, side: Side) -> Result<()> {
        let is_large = self.block.as_ref().is_some_and(Block::is_large);
        if side != Side::Both || !self.base.is_metadata_only() || !is_large {
            return Ok(());
        }
        let (Some(mut block), Some(mut lookup)) = (self.block.take(), self.lookup.take()) else {
            return Err(no_lookup());
        };
        let complete = move || {
            let id = block.id(0).to_owned();
            if !block.complete_row(lookup.get(&id)?) {
                return Err(irregular_row_met());
            }
            Ok((block.with_digests()?, lookup))
        };
        let (block, lookup) = run_blocking(complete).await?;
        (self.block, self.lookup) = (Some(block), Some(lookup));
        Ok(())
    }

    /// Adds what has become of the current id to the block. Returns `false` if the block is full.
    fn add_outcome(&mut self, side: Side) -> Result<bool> {
        let record = self.block.as_ref().filter(|_| side != Side::Base).map(|block| block.change(self.at));
        let base = self.base.row().filter(|_| side != Side::Records);
        let has_vector = matches!(record, Some(ChangedRow { change: Change::Put { vector: Some(_), .. }, .. }));
        let outcome = match (record, base) {
            (record, Some(base)) if self.base.is_metadata_only() && !has_vector => metadata_change(record, base)?,
            (Some(record), Some(base)) => record_change(record, base),
            (None, Some(base)) => Outcome::Changed(ChangedRow { change: Change::Removed, ..base }),
            // Metadata of an id without a vector: an irregular row, which shows in the number of rows at the end.
            (Some(ChangedRow { change: Change::Put { vector: None, .. }, .. }), None) => Outcome::Same,
            (Some(record), None) => Outcome::Changed(record),
            (None, None) => Outcome::Same,
        };
        let row = match &outcome {
            Outcome::Same => return Ok(true),
            Outcome::Changed(row) => *row,
            Outcome::MetadataOnly(id, metadata) => {
                let change = Change::Put { vector: None, metadata: metadata.as_deref() };
                ChangedRow { id, digest: Digest::default(), change }
            }
        };
        if self.out.is_full_for(Record { id: row.id, vector: &[], metadata: metadata_of(&row) }) {
            return Ok(false);
        }
        let Totals { changes, checksum, metadata_added, metadata_removed } = &mut self.totals;
        match (base.as_ref().and_then(metadata_of), metadata_of(&row)) {
            (None, Some(_)) => *metadata_added += 1,
            (Some(_), None) => *metadata_removed += 1,
            _ => {}
        }
        base.iter().for_each(|base| checksum.subtract(&base.digest));
        match (row.change, base) {
            (Change::Removed, _) => changes.removed += 1,
            (Change::Put { .. }, Some(_)) => changes.changed += 1,
            (Change::Put { .. }, None) => changes.added += 1,
        }
        match &outcome {
            Outcome::MetadataOnly(..) => self.undigested.push(self.out.len()),
            _ if row.change != Change::Removed => checksum.add(&row.digest),
            _ => {}
        }
        let is_large = side != Side::Base && self.block.as_ref().is_some_and(Block::is_large);
        if !is_large || !matches!(row.change, Change::Put { vector: Some(_), .. }) {
            self.out.push_change(row)?;
        } else if let Some(large) = self.block.take() {
            // No other row fits in its block, so there is none in `out`.
            (self.out, self.out_hold) = (large, std::mem::take(&mut self.hold));
        }
        Ok(true)
    }

    /// Takes the block, after adding the digests that it lacks.
    async fn take_block(&mut self) -> Result<BlockEvent<(SourceTrailer, Totals)>> {
        let next = self.out.new_like();
        let (mut block, hold) = (std::mem::replace(&mut self.out, next), std::mem::take(&mut self.out_hold));
        if self.undigested.is_empty() {
            return Ok(BlockEvent::Block(block, hold));
        }
        let undigested = std::mem::take(&mut self.undigested);
        let mut lookup = self.lookup.take().ok_or_else(no_lookup)?;
        let mut sum = self.totals.checksum;
        let add_digests = move || {
            for at in undigested {
                let row = block.row(at);
                let digest = digest(row.id, lookup.get(row.id)?, row.metadata);
                sum.add(&digest);
                block.set_digest(at, digest);
            }
            Ok((block, lookup, sum))
        };
        let (block, lookup, sum) = run_blocking(add_digests).await?;
        self.lookup = Some(lookup);
        self.totals.checksum = sum;
        Ok(BlockEvent::Block(block, hold))
    }

    /// Reads blocks until there is a current record, or the source has ended.
    async fn fill(&mut self) -> Result<()> {
        let is_after_records = self.irregular.is_some() || self.trailer.is_some();
        if is_after_records {
            return Ok(());
        }
        while self.block.as_ref().is_none_or(|block| self.at >= block.len()) {
            (self.block, self.hold, self.at) = (None, Hold::default(), 0);
            match self.records.next().await.transpose()? {
                Some(BlockEvent::Block(block, hold)) => (self.block, self.hold) = (Some(block), hold),
                Some(BlockEvent::Irregular(raw)) => {
                    self.irregular = Some(raw);
                    break;
                }
                Some(BlockEvent::End(trailer)) => {
                    self.trailer = Some(trailer);
                    break;
                }
                // A truncated stream must not pass for a complete database.
                None => return Err(truncated_source()),
            }
        }
        Ok(())
    }
}

fn no_lookup() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "this source cannot look up single vectors")
}

/// The rows of the base in the ranges where the source may differ from it.
pub(super) struct BaseRows {
    rows: Merge,
    ranges: Arc<[DiffRange]>,
    /// The checksum of the records of the whole base.
    checksum: ContentSum,
    /// The number of records of the base, and of those with metadata, if only parts of the source are read.
    row_counts: Option<[u64; 2]>,
    /// The index of the range of the current row.
    range: usize,
    is_placed: bool,
    has_ended: bool,
}

impl BaseRows {
    pub(super) fn new(
        rows: Merge,
        ranges: Arc<[DiffRange]>,
        checksum: ContentSum,
        row_counts: Option<[u64; 2]>,
    ) -> Self {
        Self { rows, ranges, checksum, row_counts, range: 0, is_placed: false, has_ended: false }
    }

    fn row(&self) -> Option<ChangedRow<'_>> {
        if self.has_ended { None } else { self.rows.newest() }
    }

    fn is_metadata_only(&self) -> bool {
        self.ranges.get(self.range).is_some_and(|range| range.is_metadata_only)
    }

    /// Advances until there is a current record, or the base has ended.
    async fn fill(&mut self) -> Result<()> {
        while !self.is_placed && !self.has_ended {
            self.has_ended = !self.rows.advance().await?;
            let Some(row) = self.rows.newest() else { continue };
            let has_passed = |range: &&DiffRange| range.key_range.ends_before(row.id);
            self.range += self.ranges.iter().skip(self.range).take_while(has_passed).count();
            self.is_placed = row.change != Change::Removed;
        }
        Ok(())
    }
}

fn metadata_of<'a>(row: &ChangedRow<'a>) -> Option<&'a str> {
    match row.change {
        Change::Put { metadata, .. } => metadata,
        Change::Removed => None,
    }
}

/// Compares a record with the base where the vector may have changed.
fn record_change<'a>(record: ChangedRow<'a>, base: ChangedRow<'_>) -> Outcome<'a> {
    if record.digest == base.digest {
        return Outcome::Same;
    }
    let (Change::Put { vector, metadata }, Change::Put { metadata: base_metadata, .. }) = (record.change, base.change)
    else {
        return Outcome::Changed(record);
    };
    // The vector of the base is not read. If the new vector with the old metadata has the old digest, it is the same
    // vector. A large row keeps its vector, so that it can be verified without its base.
    let is_large = metadata.is_some_and(|metadata| metadata.len() > LARGE_ROW_BYTES);
    let is_same_vector =
        !is_large && vector.is_some_and(|vector| digest(record.id, vector, base_metadata) == base.digest);
    let vector = if is_same_vector { None } else { vector };
    Outcome::Changed(ChangedRow { change: Change::Put { vector, metadata }, ..record })
}

/// Compares a record with the base where the vector is known to be the same. Without a row in the source, the record
/// has no metadata.
fn metadata_change<'a>(record: Option<ChangedRow<'a>>, base: ChangedRow<'a>) -> Result<Outcome<'a>> {
    let old = metadata_of(&base);
    let new = match (record.as_ref().and_then(metadata_of), old) {
        (None, None) => return Ok(Outcome::Same),
        (Some(new), Some(old)) if payloads::same_members(new, old) => return Ok(Outcome::Same),
        (new, _) => new.map(|new| payloads::canonical_of(base.id, new)).transpose()?,
    };
    Ok(if new.as_deref() == old { Outcome::Same } else { Outcome::MetadataOnly(base.id, new.map(Cow::into_owned)) })
}
