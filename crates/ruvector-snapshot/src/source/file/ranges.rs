//! Restricts a reader of a database file to key ranges, so that what lies between them is not read. Decides no range.

use std::collections::VecDeque;

use super::{FileReader, RowLookup, VectorLookup};
use crate::source::key_range::DiffRange;

/// The ranges that are left, the current one first.
#[derive(Debug)]
pub(super) struct RangeCursor {
    left: VecDeque<DiffRange>,
    /// Whether the cursors are in the current range, on the last record.
    is_placed: bool,
}

impl FileReader {
    /// Restricts the reader to these ranges, which must be sorted and disjoint. In a metadata-only range each metadata
    /// row is returned as [`SourceRow::MetadataOnly`](super::SourceRow::MetadataOnly), and no vector is read.
    pub(crate) fn restrict_to(&mut self, ranges: Vec<DiffRange>) {
        self.ranges = Some(RangeCursor { left: ranges.into(), is_placed: false });
        self.vectors.restart();
        let _incomplete = (self.vectors.take_leaves(), self.metadata.take_leaves());
    }

    /// Returns a lookup for the vectors of single records of the same commit.
    pub(crate) fn vector_lookup(&self) -> VectorLookup {
        VectorLookup::new(self.database.dimensions, &self.vectors)
    }

    /// Returns a lookup for the rows of single ids of the same commit.
    pub(crate) fn row_lookup(&self) -> RowLookup {
        RowLookup::new(&self.vectors, &self.metadata)
    }

    /// Moves the cursors to the next row that was asked for.
    pub(super) fn advance(&mut self) -> Result<(), redb_live::Error> {
        let Some(mut ranges) = self.ranges.take() else { return self.step() };
        let advanced = self.advance_in(&mut ranges);
        self.ranges = Some(ranges);
        advanced
    }

    /// Returns whether the current row is metadata-only; `None` after the last row.
    pub(super) fn is_metadata_only(&self) -> Option<bool> {
        match &self.ranges {
            None => Some(false),
            Some(ranges) => ranges.left.front().map(|range| range.is_metadata_only),
        }
    }

    fn advance_in(&mut self, ranges: &mut RangeCursor) -> Result<(), redb_live::Error> {
        while let Some(range) = ranges.left.front() {
            // Nothing is read behind the last id of a range.
            if !ranges.is_placed || !self.row_in(range).is_some_and(|(id, _)| range.key_range.is_last(id)) {
                match (std::mem::replace(&mut ranges.is_placed, true), range.is_metadata_only) {
                    (false, true) => self.metadata.seek(&range.key_range.start)?,
                    (false, false) => self.seek(&range.key_range.start)?,
                    (true, true) => self.metadata.step()?,
                    (true, false) => self.step()?,
                }
                // An id that is not UTF-8 is returned wherever it lies, so that the caller sees it.
                let is_inside = |id| std::str::from_utf8(id).map_or(true, |id| range.key_range.contains(id));
                if self.row_in(range).is_some_and(|(id, _)| is_inside(id)) {
                    break;
                }
            }
            ranges.is_placed = false;
            self.is_metadata_paired = false;
            ranges.left.pop_front();
        }
        Ok(())
    }

    /// Returns the row under the cursor that walks this kind of range.
    fn row_in(&self, range: &DiffRange) -> Option<(&[u8], &[u8])> {
        if range.is_metadata_only { self.metadata.row() } else { self.vectors.row() }
    }

    /// Moves both cursors to their first row at or after `id`.
    fn seek(&mut self, id: &str) -> Result<(), redb_live::Error> {
        self.vectors.seek(id)?;
        self.metadata.seek(id)?;
        self.is_metadata_paired = false;
        self.pair()
    }
}
