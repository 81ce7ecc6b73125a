//! Decides whether the vector of a record has changed, its metadata, or both. Reads as little as that takes:
//!
//! 1. Nothing, if both states take the vector from the same row: then the metadata has changed.
//! 2. The metadata of both. If it is the same, the vector has changed, because the digests differ.
//! 3. The vector of one state. Together with the metadata of the other it has the digest of the other if, and only if, the
//!    vector is the same.

use std::collections::VecDeque;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::{Digest, digest, sha256_hex};
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::model::Change;

use super::members::Members;
use super::{Difference, RecordChange, Side, StoredRecord};
use crate::error::{Result, SnapshotError, corrupt};
use crate::repo::context::run_blocking;
use crate::repo::merge::Merge;
use crate::source::key_range::{KeyRange, contains_in_order};

/// Metadata that is kept until the vectors of its records are read.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// The differences that are decided together.
pub(super) struct Contents<'a> {
    members: &'a Members,
    batch: &'a [Difference],
    changes: Vec<Option<RecordChange>>,
}

/// A record that both states have, with the digests and the places of both.
#[derive(Clone, Copy)]
struct Pair<'a> {
    /// Its index in the batch.
    at: usize,
    id: &'a str,
    records: [StoredRecord; 2],
}

/// A record whose metadata has changed, and whose vector is read from one state.
struct Kept<'a> {
    pair: Pair<'a>,
    /// The metadata of the other state.
    other_metadata: Option<String>,
}

impl<'a> Contents<'a> {
    pub(super) fn new(members: &'a Members, batch: &'a [Difference]) -> Self {
        Self { members, batch, changes: vec![None; batch.len()] }
    }

    /// Returns what has changed of each record of the batch.
    pub(super) async fn changes(mut self) -> Result<Vec<RecordChange>> {
        let (mut pairs, mut large) = (Vec::new(), Vec::new());
        for (at, difference) in self.batch.iter().enumerate() {
            let records = match difference.records {
                [None, _] => {
                    self.decide(at, RecordChange::Added);
                    continue;
                }
                [_, None] => {
                    self.decide(at, RecordChange::Removed);
                    continue;
                }
                [Some(first), Some(second)] => [first, second],
            };
            let [first, second] = records.map(|record| record.with_vector);
            let pair = Pair { at, id: &difference.id, records };
            if first.is_some() && first == second {
                self.decide(at, RecordChange::Metadata);
            } else if self.has_large_metadata(&pair) {
                large.push(pair);
            } else {
                pairs.push(pair);
            }
        }
        self.compare_metadata(&pairs).await?;
        for pair in large {
            let change = self.compare_large(&pair).await?;
            self.decide(pair.at, change);
        }
        let decided = self.changes.into_iter().zip(self.batch);
        decided.map(|(change, difference)| change.ok_or_else(|| not_in_block(&difference.id))).collect()
    }

    /// Names the snapshot of a state in an error that names no object.
    fn named(&self, side: Side, error: SnapshotError) -> SnapshotError {
        match self.members.newest(side) {
            Ok(newest) => error.with_key(newest.key(DataFile::Index)),
            Err(other) => other,
        }
    }

    fn decide(&mut self, at: usize, change: RecordChange) {
        if let Some(undecided) = self.changes.get_mut(at) {
            *undecided = Some(change);
        }
    }

    /// Returns whether the metadata is too large to be kept in memory with that of other records.
    fn has_large_metadata(&self, pair: &Pair<'_>) -> bool {
        let entries = pair.records.iter().filter_map(|record| self.members.entry(record.newest));
        entries.into_iter().any(|entry| entry.has_large_metadata())
    }

    async fn compare_metadata(&mut self, pairs: &[Pair<'a>]) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let rows = |side| {
            let blocks = pairs.iter().map(move |pair| record_of(pair, side).newest);
            self.members.rows_with_metadata(blocks, pairs.iter().map(|pair| pair.id))
        };
        let (mut first, mut second) = (rows(Side::First), rows(Side::Second));
        let [dimensions, other_dimensions] = self.dimensions()?;
        let (mut kept, mut kept_bytes) = ([Vec::new(), Vec::new()], 0);
        for pair in pairs {
            futures::try_join!(first.advance(), second.advance())?;
            let metadata = [
                metadata_in(&first, pair.id).map_err(|error| self.named(Side::First, error))?,
                metadata_in(&second, pair.id).map_err(|error| self.named(Side::Second, error))?,
            ];
            if metadata[0] == metadata[1] {
                self.decide(pair.at, RecordChange::Vector);
                continue;
            }
            if dimensions != other_dimensions {
                self.decide(pair.at, RecordChange::VectorAndMetadata);
                continue;
            }
            let side = self.side_to_read(pair);
            let [first_kept, second_kept] = &mut kept;
            let (kept_of_side, other) = match side {
                Side::First => (first_kept, metadata[1]),
                Side::Second => (second_kept, metadata[0]),
            };
            kept_bytes += other.map_or(0, str::len);
            kept_of_side.push(Kept { pair: *pair, other_metadata: other.map(str::to_owned) });
            if kept_bytes > KEPT_BYTES_MAX {
                self.compare_vectors(std::mem::take(&mut kept)).await?;
                kept_bytes = 0;
            }
        }
        self.compare_vectors(kept).await
    }

    fn dimensions(&self) -> Result<[u64; 2]> {
        let of = |side| Ok::<_, SnapshotError>(self.members.newest(side)?.metadata.dimensions);
        Ok([of(Side::First)?, of(Side::Second)?])
    }

    /// Returns the state whose vector is read: a block of an increment is usually smaller than one of a full snapshot.
    fn side_to_read(&self, pair: &Pair<'_>) -> Side {
        let is_full = |side| {
            let place = record_of(pair, side).with_vector;
            place.is_none_or(|(member, _)| self.members.is_full(member))
        };
        if is_full(Side::Second) && !is_full(Side::First) { Side::First } else { Side::Second }
    }

    async fn compare_vectors(&mut self, kept: [Vec<Kept<'a>>; 2]) -> Result<()> {
        for (side, kept) in Side::BOTH.into_iter().zip(kept) {
            if kept.is_empty() {
                continue;
            }
            let mut rows = self.members.whole_rows(kept.iter().flat_map(|kept| blocks_of(&kept.pair, side)));
            let dimensions = self.members.newest(side)?.metadata.dimensions as usize;
            let ranges: Vec<_> = kept.iter().map(|kept| KeyRange::inclusive(kept.pair.id, kept.pair.id)).collect();
            let mut is_wanted = contains_in_order(ranges);
            let mut kept = VecDeque::from(kept);
            while let Some((block, _)) = rows.next_block(dimensions, &mut is_wanted).await? {
                let of_block = kept.drain(..block.len().min(kept.len())).collect::<Vec<_>>();
                let expected = of_block.iter().map(|kept| record_of(&kept.pair, other(side)).digest);
                let expected = expected.zip(of_block.iter().map(|kept| kept.other_metadata.clone())).collect();
                let changes = run_blocking(move || Ok(changes_of(&block, expected))).await?;
                for (kept, (id, change)) in of_block.iter().zip(changes) {
                    if id != kept.pair.id {
                        return Err(self.named(side, not_in_block(kept.pair.id)));
                    }
                    self.decide(kept.pair.at, change);
                }
            }
        }
        Ok(())
    }

    /// Compares one record of which only one state fits in memory.
    async fn compare_large(&self, pair: &Pair<'_>) -> Result<RecordChange> {
        let [first, second] = [self.hashes(pair, Side::First).await?, self.hashes(pair, Side::Second).await?];
        Ok(match (first.0 == second.0, first.1 == second.1) {
            (true, _) => RecordChange::Metadata,
            (false, true) => RecordChange::Vector,
            (false, false) => RecordChange::VectorAndMetadata,
        })
    }

    /// Returns the SHA-256 of the vector of a record, and of its metadata.
    async fn hashes(&self, pair: &Pair<'_>, side: Side) -> Result<(String, Option<String>)> {
        let mut rows = self.members.whole_rows(blocks_of(pair, side));
        let dimensions = self.members.newest(side)?.metadata.dimensions as usize;
        let block = rows.next_block(dimensions, |id| id == pair.id).await?;
        let (block, _) = block.ok_or_else(|| self.named(side, not_in_block(pair.id)))?;
        run_blocking(move || {
            let record = block.row(0);
            Ok((sha256_hex(record.vector), record.metadata.map(|metadata| sha256_hex(metadata.as_bytes()))))
        })
        .await
    }
}

fn record_of(pair: &Pair<'_>, side: Side) -> StoredRecord {
    let [first, second] = pair.records;
    if side == Side::First { first } else { second }
}

fn other(side: Side) -> Side {
    if side == Side::First { Side::Second } else { Side::First }
}

/// Returns the blocks that make up a record of one state: that of its newest row, and that of its vector.
fn blocks_of(pair: &Pair<'_>, side: Side) -> impl Iterator<Item = (usize, usize)> + use<> {
    let record = record_of(pair, side);
    std::iter::once(record.newest).chain(record.with_vector)
}

/// Returns what has changed of the records of a block, whose metadata is not that of the other state. `others` are the
/// digests and the metadata of the other state.
fn changes_of(block: &Block, others: Vec<(Digest, Option<String>)>) -> Vec<(String, RecordChange)> {
    let changes = block.rows().zip(others).map(|(record, (expected, metadata))| {
        let is_same_vector = digest(record.id, record.vector, metadata.as_deref()) == expected;
        let change = if is_same_vector { RecordChange::Metadata } else { RecordChange::VectorAndMetadata };
        (record.id.to_owned(), change)
    });
    changes.collect()
}

/// Returns the metadata of the current row, which must be that of this id.
fn metadata_in<'m>(rows: &'m Merge, id: &str) -> Result<Option<&'m str>> {
    match rows.newest() {
        Some(row) if row.id == id => match row.change {
            Change::Put { metadata, .. } => Ok(metadata),
            Change::Removed => Err(not_in_block(id)),
        },
        _ => Err(not_in_block(id)),
    }
}

fn not_in_block(id: &str) -> SnapshotError {
    corrupt(format!("the record {id:?} is not where the index says"))
}
