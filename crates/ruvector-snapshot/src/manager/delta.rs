//! What changed: the records of a source against the state of a chain, in id order and constant memory.
//!
//! In two steps, each exact. By leaf: a B-tree leaf whose checksum the base knows holds the rows it held then, and is not
//! read; what is left are intervals of ids. By row: within those, the source's records and the chain's rows are merged by id
//! and told apart by their digests. Knows no store and writes nothing.

use futures::stream::{self, BoxStream, StreamExt};

use super::chain::Merge;
use super::create::Read;
use crate::error::Result;
use crate::format::block::{Block, Change, ChangedRow, Row};
use crate::format::checksum::{ContentSum, digest};
use crate::format::leaves::LeafTable;
use crate::format::metadata::Changes;
use crate::source::file::{FileSource, LeafSeen};
use crate::source::interval::{Interval, united};

/// Where a source may differ from the base, and its own leaves.
pub(super) struct Differences {
    pub(super) intervals: Vec<Interval>,
    pub(super) leaves: [LeafTable; 2],
}

/// Walks the leaves of a database file against those of the base. Blocking.
pub(super) fn differences(source: &FileSource, base: &[LeafTable; 2]) -> Result<Differences> {
    let places = base.each_ref().map(LeafTable::places);
    let mut found = base.each_ref().map(|table| vec![false; table.len()]);
    let mut leaves: [LeafTable; 2] = Default::default();
    let mut intervals = Vec::new();
    let place_of = |table: usize, checksum: u128| places.get(table)?.get(&checksum).copied();
    let rows_of_known = |table: usize, checksum| {
        let place = place_of(table, checksum)?;
        base.get(table)?.rows.get(place).map(|rows| u64::from(*rows))
    };
    source.walk_leaves(rows_of_known, |table, leaf| match leaf {
        LeafSeen::Known { checksum } => {
            let place = place_of(table, checksum).unwrap_or(usize::MAX);
            if let (Some(found), Some(leaves), Some(base)) =
                (found.get_mut(table), leaves.get_mut(table), base.get(table))
            {
                leaves.push_from(base, place);
                found.get_mut(place).into_iter().for_each(|found| *found = true);
            }
        }
        LeafSeen::New { checksum, rows, first_key, last_key } => {
            intervals.push(Interval::through(first_key, last_key));
            leaves.get_mut(table).into_iter().for_each(|leaves| leaves.push(checksum, rows, first_key));
        }
    })?;
    // A leaf that is gone held all ids from its first to that of the next.
    for (table, found) in base.iter().zip(&found) {
        for (at, _) in found.iter().enumerate().filter(|(_, found)| !**found) {
            intervals.push(Interval::before(table.first_key(at).unwrap_or_default(), table.first_key(at + 1)));
        }
    }
    Ok(Differences { intervals: united(intervals), leaves })
}

/// What an increment comes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) changes: Changes,
    /// The content checksum of the state.
    pub(super) checksum: ContentSum,
}

/// Blocks of changes, from blocks of records whose digests are known and from the rows of the base; both of the same
/// intervals, in order. The end tells the totals.
pub(super) fn changes<'a>(
    records: BoxStream<'a, Result<Read>>,
    base: Merge,
    intervals: Vec<Interval>,
    base_checksum: ContentSum,
    dimensions: usize,
) -> BoxStream<'a, Result<Read>> {
    let delta = Delta {
        records,
        block: None,
        at: 0,
        end: None,
        base,
        base_is_placed: false,
        base_is_done: false,
        intervals: intervals.into_iter().peekable(),
        out: Block::new(dimensions),
        totals: Totals { changes: Changes::default(), checksum: base_checksum },
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
    base: Merge,
    base_is_placed: bool,
    base_is_done: bool,
    intervals: std::iter::Peekable<std::vec::IntoIter<Interval>>,
    out: Block,
    totals: Totals,
    is_done: bool,
}

/// Which side has the next id.
enum Side {
    Base,
    Both,
    Records,
}

impl Delta<'_> {
    async fn next(&mut self) -> Result<Option<Read>> {
        if self.is_done {
            return Ok(None);
        }
        loop {
            self.fill().await?;
            self.place_base().await?;
            let record = self.block.as_ref().map(|block| block.change(self.at));
            let base = if self.base_is_done { None } else { self.base.newest() };
            let side = match (&record, &base) {
                (None, None) => {
                    if !self.out.is_empty() {
                        let next = self.out.emptied();
                        return Ok(Some(Read::Block(std::mem::replace(&mut self.out, next))));
                    }
                    self.is_done = true;
                    return Ok(self.end.take().map(|end| end.with_totals(self.totals)));
                }
                (Some(_), None) => Side::Records,
                (None, Some(_)) => Side::Base,
                (Some(record), Some(base)) => match record.id.cmp(base.id) {
                    std::cmp::Ordering::Less => Side::Records,
                    std::cmp::Ordering::Equal => Side::Both,
                    std::cmp::Ordering::Greater => Side::Base,
                },
            };
            let changed = match side {
                Side::Records => record,
                Side::Base => base.map(|base| ChangedRow { change: Change::Removed, ..base }),
                Side::Both => record.zip(base).and_then(|(record, base)| changed(record, base)),
            };
            if let Some(row) = changed {
                let metadata = match row.change {
                    Change::Put { metadata, .. } => metadata,
                    Change::Removed => None,
                };
                if self.out.is_full_for(Row { id: row.id, vector: &[], metadata }) {
                    let next = self.out.emptied();
                    return Ok(Some(Read::Block(std::mem::replace(&mut self.out, next))));
                }
                self.out.push_change(row)?;
                let (changes, checksum) = (&mut self.totals.changes, &mut self.totals.checksum);
                match side {
                    Side::Records => changes.added += 1,
                    Side::Both => changes.changed += 1,
                    Side::Base => changes.removed += 1,
                }
                if let (Side::Base | Side::Both, Some(base)) = (&side, base) {
                    checksum.subtract(&base.digest);
                }
                if let (Side::Records | Side::Both, Some(record)) = (&side, record) {
                    checksum.add(&record.digest);
                }
            }
            if matches!(side, Side::Base | Side::Both) {
                self.base_is_placed = false;
            }
            if matches!(side, Side::Records | Side::Both) {
                self.at += 1;
            }
        }
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

    /// Places the base on its next record within the intervals.
    async fn place_base(&mut self) -> Result<()> {
        while !self.base_is_placed && !self.base_is_done {
            self.base_is_done = !self.base.advance().await?;
            let Some(row) = self.base.newest() else { continue };
            while self.intervals.next_if(|interval| interval.is_before(row.id)).is_some() {}
            let is_wanted = self.intervals.peek().is_some_and(|interval| interval.contains(row.id));
            self.base_is_placed = is_wanted && row.change != Change::Removed;
        }
        Ok(())
    }
}

/// What became of a record that both sides have; nothing where it is the same.
fn changed<'a>(record: ChangedRow<'a>, base: ChangedRow<'_>) -> Option<ChangedRow<'a>> {
    if record.digest == base.digest {
        return None;
    }
    let (Change::Put { vector, metadata }, Change::Put { metadata: old_metadata, .. }) = (record.change, base.change)
    else {
        return Some(record);
    };
    // The vector that the base had is not read: with the old metadata the new one gives the old digest, or is another.
    let is_kept = vector.is_some_and(|vector| digest(record.id, vector, old_metadata) == base.digest);
    let vector = if is_kept { None } else { vector };
    Some(ChangedRow { change: Change::Put { vector, metadata }, ..record })
}
