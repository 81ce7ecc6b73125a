//! What changed: the records of a source against the state of a chain, in id order and constant memory.
//!
//! In two steps, each exact. By leaf: a B-tree leaf whose checksum the base knows holds the rows it held then, and is not
//! read; what is left are stretches of ids. By row: within those, the source's records and the chain's rows are merged by id.
//! Where leaves of vectors differ they are told apart by their digests, and where only leaves of metadata do, by their
//! metadata: there no vector is read but those of the records that changed. Knows no store and writes nothing.

use std::cmp::Ordering;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::chain::Merge;
use super::create::Read;
use super::unblock;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::{Block, Change, ChangedRow, Row};
use crate::format::checksum::{ContentSum, Digest, digest};
use crate::format::leaves::{LeafFinder, LeafTable};
use crate::format::metadata::Changes;
use crate::format::payloads;
use crate::source::file::{DatabaseTable, FileSource, LeafSeen, Vectors};
use crate::source::interval::{Interval, Stretch, stretches, united};

/// Where a source may differ from the base, and its own leaves.
pub(super) struct Differences {
    pub(super) stretches: Arc<[Stretch]>,
    pub(super) leaves: [LeafTable; 2],
}

/// Walks the leaves of a database file against those of the base, both tables at the same time, and restricts the source to
/// where they differ. Blocking.
pub(super) fn differences(source: &mut FileSource, base: &[LeafTable; 2]) -> Result<Differences> {
    let [vectors, metadata] = base;
    let walked: &FileSource = source;
    let (vectors, metadata) = std::thread::scope(|scope| {
        let metadata = scope.spawn(|| walk(walked, DatabaseTable::Metadata, metadata));
        let vectors = walk(walked, DatabaseTable::Vectors, vectors);
        (vectors, metadata.join())
    });
    let panicked = |_| SnapshotError::new(ErrorKind::Internal, "the walk over the leaves of a table failed");
    let (vectors, metadata) = (vectors?, metadata.map_err(panicked)??);
    let all_vectors = [vectors.new.clone(), vectors.gone].concat();
    let all = stretches(all_vectors.clone(), [metadata.new.clone(), metadata.gone].concat());
    // What the source has there lies in its new leaves: the rows of its others are rows of leaves that the base has too, and so
    // of none that is gone.
    let mut own = stretches(all_vectors, metadata.new);
    own.retain(|stretch| stretch.is_metadata_only);
    own.extend(united(vectors.new).into_iter().map(|interval| Stretch { interval, is_metadata_only: false }));
    own.sort_by(|a, b| a.interval.start.cmp(&b.interval.start));
    source.restrict_to(own);
    Ok(Differences { stretches: all.into(), leaves: [vectors.leaves, metadata.leaves] })
}

/// One table of a source against the base's.
struct Walked {
    /// Leaves that the base does not have.
    new: Vec<Interval>,
    /// Leaves of the base that are no more.
    gone: Vec<Interval>,
    /// All of the source.
    leaves: LeafTable,
}

fn walk(source: &FileSource, table: DatabaseTable, base: &LeafTable) -> Result<Walked> {
    let finder = LeafFinder::new(base);
    let mut is_found = vec![false; base.len()];
    let mut leaves = LeafTable::default();
    let mut new = Vec::new();
    let rows_of_known = |checksum| base.rows.get(finder.find(checksum)?).map(|rows| u64::from(*rows));
    source.walk_leaves(table, rows_of_known, |leaf| match leaf {
        LeafSeen::Known { checksum } => {
            if let Some(place) = finder.find(checksum) {
                leaves.push_from(base, place);
                is_found.get_mut(place).into_iter().for_each(|is_found| *is_found = true);
            }
        }
        LeafSeen::New { checksum, rows, first_key, last_key } => {
            new.push(Interval::through(first_key, last_key));
            leaves.push(checksum, rows, first_key);
        }
    })?;
    // A leaf that is gone held all ids from its first to that of the next.
    let interval = |at| Interval::before(base.first_key(at).unwrap_or_default(), base.first_key(at + 1));
    let gone = is_found.iter().enumerate().filter(|(_, is_found)| !**is_found).map(|(at, _)| interval(at)).collect();
    Ok(Walked { new, gone, leaves })
}

/// What an increment comes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) changes: Changes,
    /// The content checksum of the state.
    pub(super) checksum: ContentSum,
}

/// The state that is stood on, where the source may differ from it.
pub(super) struct BaseRows {
    pub(super) rows: Merge,
    pub(super) stretches: Arc<[Stretch]>,
    /// Of the whole state.
    pub(super) checksum: ContentSum,
}

/// Blocks of changes, from blocks of records whose digests are known and from the rows of the base; both of the same
/// stretches, in order. The end tells the totals.
pub(super) fn changes<'a>(
    records: BoxStream<'a, Result<Read>>,
    base: BaseRows,
    vectors: Option<Vectors>,
    dimensions: usize,
) -> BoxStream<'a, Result<Read>> {
    let delta = Delta {
        records,
        block: None,
        at: 0,
        end: None,
        totals: Totals { changes: Changes::default(), checksum: base.checksum },
        base: Base { rows: base.rows, stretches: base.stretches, stretch: 0, is_placed: false, is_done: false },
        out: Block::new(dimensions),
        undigested: Vec::new(),
        vectors,
        is_done: false,
    };
    stream::try_unfold(delta, |mut delta| async move { Ok(delta.next().await?.map(|read| (read, delta))) }).boxed()
}

struct Delta<'a> {
    records: BoxStream<'a, Result<Read>>,
    block: Option<Block>,
    at: usize,
    /// The last word of the records.
    end: Option<Read>,
    base: Base,
    out: Block,
    /// The rows of `out` whose digests wait for their vectors.
    undigested: Vec<usize>,
    vectors: Option<Vectors>,
    totals: Totals,
    is_done: bool,
}

/// Which side has the next id.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Base,
    Both,
    Records,
}

/// What an id comes to.
enum Outcome<'a> {
    Same,
    Changed(ChangedRow<'a>),
    /// The record has the vector of the base, which has yet to be read, and this metadata, which is canonical.
    Described(&'a str, Option<String>),
}

impl Delta<'_> {
    async fn next(&mut self) -> Result<Option<Read>> {
        if self.is_done {
            return Ok(None);
        }
        loop {
            self.fill().await?;
            self.base.place().await?;
            let Some(side) = self.side() else {
                if !self.out.is_empty() {
                    return Ok(Some(Read::Block(self.emptied().await?)));
                }
                self.is_done = true;
                return Ok(self.end.take().map(|end| end.with_totals(self.totals)));
            };
            if !self.take(side)? {
                return Ok(Some(Read::Block(self.emptied().await?)));
            }
            self.base.is_placed &= side == Side::Records;
            self.at += usize::from(side != Side::Base);
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

    /// Takes up what became of the current id; false where the block has no room for it.
    fn take(&mut self, side: Side) -> Result<bool> {
        let record = self.block.as_ref().filter(|_| side != Side::Base).map(|block| block.change(self.at));
        let base = self.base.row().filter(|_| side != Side::Records);
        let outcome = match (record, base) {
            (record, Some(base)) if self.base.is_metadata_only() => described(record, base)?,
            (Some(record), Some(base)) => changed(record, base),
            (None, Some(base)) => Outcome::Changed(ChangedRow { change: Change::Removed, ..base }),
            // Metadata of an id that has no vector is no record.
            (Some(ChangedRow { change: Change::Put { vector: None, .. }, .. }), None) => Outcome::Same,
            (Some(record), None) => Outcome::Changed(record),
            (None, None) => Outcome::Same,
        };
        let row = match &outcome {
            Outcome::Same => return Ok(true),
            Outcome::Changed(row) => *row,
            Outcome::Described(id, metadata) => {
                let change = Change::Put { vector: None, metadata: metadata.as_deref() };
                ChangedRow { id, digest: Digest::default(), change }
            }
        };
        let metadata = match row.change {
            Change::Put { metadata, .. } => metadata,
            Change::Removed => None,
        };
        if self.out.is_full_for(Row { id: row.id, vector: &[], metadata }) {
            return Ok(false);
        }
        let Totals { changes, checksum } = &mut self.totals;
        base.iter().for_each(|base| checksum.subtract(&base.digest));
        match (row.change, base) {
            (Change::Removed, _) => changes.removed += 1,
            (Change::Put { .. }, Some(_)) => changes.changed += 1,
            (Change::Put { .. }, None) => changes.added += 1,
        }
        match &outcome {
            Outcome::Described(..) => self.undigested.push(self.out.len()),
            _ if row.change != Change::Removed => checksum.add(&row.digest),
            _ => {}
        }
        self.out.push_change(row)?;
        Ok(true)
    }

    /// Takes the block out, with the digests that it lacks.
    async fn emptied(&mut self) -> Result<Block> {
        let next = self.out.emptied();
        let mut block = std::mem::replace(&mut self.out, next);
        if self.undigested.is_empty() {
            return Ok(block);
        }
        let undigested = std::mem::take(&mut self.undigested);
        let no_vectors = || SnapshotError::new(ErrorKind::Internal, "nothing finds the vectors of a source");
        let mut vectors = self.vectors.take().ok_or_else(no_vectors)?;
        let mut sum = self.totals.checksum;
        let digested = move || {
            for at in undigested {
                let row = block.row(at);
                let digest = digest(row.id, vectors.get(row.id)?, row.metadata);
                sum.add(&digest);
                block.set_digest(at, digest);
            }
            Ok((block, vectors, sum))
        };
        let (block, vectors, sum) = unblock(digested).await?;
        self.vectors = Some(vectors);
        self.totals.checksum = sum;
        Ok(block)
    }

    /// Sees to it that a record is there, if one is left.
    async fn fill(&mut self) -> Result<()> {
        while self.end.is_none() && self.block.as_ref().is_none_or(|block| self.at >= block.len()) {
            self.block = None;
            self.at = 0;
            match self.records.next().await.transpose()? {
                Some(Read::Block(block)) => self.block = Some(block),
                Some(end) => self.end = Some(end),
                // A stream that breaks off without its last word must not pass for the end of the database.
                None => return Err(super::create::broke_off()),
            }
        }
        Ok(())
    }
}

/// What is left of the base.
struct Base {
    rows: Merge,
    stretches: Arc<[Stretch]>,
    /// Which stretch the current row lies in.
    stretch: usize,
    is_placed: bool,
    is_done: bool,
}

impl Base {
    fn row(&self) -> Option<ChangedRow<'_>> {
        if self.is_done { None } else { self.rows.newest() }
    }

    fn is_metadata_only(&self) -> bool {
        self.stretches.get(self.stretch).is_some_and(|stretch| stretch.is_metadata_only)
    }

    /// Sees to it that the base stands on a record, if it has one left.
    async fn place(&mut self) -> Result<()> {
        while !self.is_placed && !self.is_done {
            self.is_done = !self.rows.advance().await?;
            let Some(row) = self.rows.newest() else { continue };
            let passed = |stretch: &&Stretch| stretch.interval.is_before(row.id);
            self.stretch += self.stretches.iter().skip(self.stretch).take_while(passed).count();
            self.is_placed = row.change != Change::Removed;
        }
        Ok(())
    }
}

/// What became of a record whose vector may be another.
fn changed<'a>(record: ChangedRow<'a>, base: ChangedRow<'_>) -> Outcome<'a> {
    if record.digest == base.digest {
        return Outcome::Same;
    }
    let (Change::Put { vector, metadata }, Change::Put { metadata: old_metadata, .. }) = (record.change, base.change)
    else {
        return Outcome::Changed(record);
    };
    // The vector that the base had is not read: with the old metadata the new one gives the old digest, or is another.
    let is_kept = vector.is_some_and(|vector| digest(record.id, vector, old_metadata) == base.digest);
    let vector = if is_kept { None } else { vector };
    Outcome::Changed(ChangedRow { change: Change::Put { vector, metadata }, ..record })
}

/// What became of a record whose vector is the one of the base. Without a row in the source it has no metadata.
fn described<'a>(record: Option<ChangedRow<'a>>, base: ChangedRow<'a>) -> Result<Outcome<'a>> {
    let metadata = |row: ChangedRow<'a>| match row.change {
        Change::Put { metadata, .. } => metadata,
        Change::Removed => None,
    };
    let new = match (record.and_then(metadata), metadata(base)) {
        (None, None) => return Ok(Outcome::Same),
        (Some(new), Some(old)) if payloads::is_permuted(new, old) => return Ok(Outcome::Same),
        (new, _) => new.map(|new| payloads::canonical_of(base.id, new)).transpose()?,
    };
    Ok(if new.as_deref() == metadata(base) { Outcome::Same } else { Outcome::Described(base.id, new) })
}
