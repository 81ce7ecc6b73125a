//! Walks one table of a database file: row by row, leaf by leaf, or to single rows. Knows no record.

use redb_live::{Leaf, Leaves, NextLeaf, Table};
use ruvector_snapshot_format::limits;
use ruvector_snapshot_format::model::LeafTable;

use super::FileReader;
use super::rows::{checked_vector, irregular_row_met, live_error};
use crate::error::Result;

/// A cursor over the rows of a table. Before the first `step` it is on no row.
#[derive(Debug)]
pub(super) struct TableCursor {
    table: Table,
    leaves: Leaves,
    leaf: Option<Leaf>,
    at: usize,
    /// The key of the current row, if its leaf was freed.
    released_key: Option<Vec<u8>>,
    /// The leaves so far. `None` if the cursor has skipped some.
    seen: Option<LeafTable>,
}

impl TableCursor {
    pub(super) fn new(table: &Table) -> Self {
        Self {
            table: table.clone(),
            leaves: table.leaves(),
            leaf: None,
            at: 0,
            released_key: None,
            seen: Some(LeafTable::default()),
        }
    }

    /// Creates a cursor that does not record the leaves that it passes.
    pub(super) fn unrecorded(table: &Table) -> Self {
        Self { seen: None, ..Self::new(table) }
    }

    /// Returns another cursor over the same table, before its first row.
    pub(super) fn another(&self) -> Self {
        Self::unrecorded(&self.table)
    }

    /// Returns the number of rows of the table.
    pub(super) fn rows(&self) -> u64 {
        self.table.info().rows
    }

    /// Moves to the first row whose key is not below `id`. Ids must ascend from call to call.
    pub(super) fn seek(&mut self, id: &str) -> Result<(), redb_live::Error> {
        let id = id.as_bytes();
        let is_in_leaf = |leaf: &Leaf| leaf.len().checked_sub(1).is_some_and(|last| leaf.key(last) >= id);
        if !self.leaf.as_ref().is_some_and(is_in_leaf) {
            self.leaf = None;
            self.leaves.seek(id)?;
            self.step()?;
        }
        while self.row().is_some_and(|(key, _)| key < id) {
            self.step()?;
        }
        Ok(())
    }

    /// Moves to the next row.
    pub(super) fn step(&mut self) -> Result<(), redb_live::Error> {
        self.at += 1;
        self.released_key = None;
        while self.leaf.as_ref().is_none_or(|leaf| self.at >= leaf.len()) {
            self.at = 0;
            // Before the next one is read: each can have tens of megabytes.
            self.leaf = None;
            self.leaf = self.leaves.next_leaf()?;
            let Some(leaf) = &self.leaf else { break };
            let Some(seen) = &mut self.seen else { continue };
            seen.push(leaf.checksum(), leaf.len() as u32, &String::from_utf8_lossy(leaf.key(0)));
        }
        Ok(())
    }

    /// Returns the key and the value of the current row.
    pub(super) fn row(&self) -> Option<(&[u8], &[u8])> {
        match &self.leaf {
            Some(leaf) => Some((leaf.key(self.at), leaf.value(self.at))),
            None => self.released_key.as_deref().map(|key| (key, [].as_slice())),
        }
    }

    /// Moves to a row and returns its value. `None` if there is no such row. Ids must ascend from call to call.
    fn value_of(&mut self, id: &str) -> Result<Option<&[u8]>> {
        self.seek(id).map_err(live_error)?;
        Ok(self.row().filter(|(key, _)| *key == id.as_bytes()).map(|(_, value)| value))
    }

    /// Frees the leaf of the current row, if the row is large and the last one in it. From then on its value is empty.
    pub(super) fn release(&mut self) {
        let is_done = |leaf: &Leaf| leaf.len() <= self.at + 1 && leaf.value(self.at).len() > limits::BLOCK_TARGET_BYTES;
        if let Some(leaf) = self.leaf.take_if(|leaf| is_done(leaf)) {
            self.released_key = Some(leaf.key(self.at).to_vec());
        }
    }

    /// Forgets the current leaf, so that the next `seek` reads anew.
    pub(super) fn restart(&mut self) {
        self.leaf = None;
        self.released_key = None;
    }

    /// Takes the table of the leaves passed so far. From now on leaves are not recorded.
    pub(super) fn take_leaves(&mut self) -> Option<LeafTable> {
        self.seen.take()
    }
}

/// A table with one row for each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseTable {
    /// `vectors`.
    Vectors,
    /// `metadata`: only of records that have metadata.
    Metadata,
}

/// A leaf that [`FileReader::walk_leaves`] visits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeafVisit<'a> {
    /// A leaf that the base has too. It was not read.
    Known { checksum: u128 },
    /// A leaf that the base does not have.
    New { checksum: u128, rows: u32, first_key: &'a str, last_key: &'a str },
}

impl FileReader {
    /// Visits all leaves of a table in key order. Leaves whose checksum `rows_of_known` knows are not read.
    ///
    /// # Errors
    ///
    /// The same as [`next_record`](crate::source::SourceReader::next_record), and that of
    /// [`irregular_row_met`] at an id that is not UTF-8.
    pub(crate) fn walk_leaves(
        &self,
        table: DatabaseTable,
        rows_of_known: impl Fn(u128) -> Option<u64>,
        mut visit: impl FnMut(LeafVisit<'_>),
    ) -> Result<()> {
        let cursor = match table {
            DatabaseTable::Vectors => &self.vectors,
            DatabaseTable::Metadata => &self.metadata,
        };
        let mut leaves = cursor.table.leaves();
        while let Some(next) = leaves.next_skipping(&rows_of_known).map_err(live_error)? {
            let leaf = match next {
                NextLeaf::Skipped(checksum) => {
                    visit(LeafVisit::Known { checksum });
                    continue;
                }
                NextLeaf::Read(leaf) => leaf,
            };
            let key = |row| std::str::from_utf8(leaf.key(row)).map_err(|_| irregular_row_met());
            let (first_key, last_key) = (key(0)?, key(leaf.len().saturating_sub(1))?);
            visit(LeafVisit::New { checksum: leaf.checksum(), rows: leaf.len() as u32, first_key, last_key });
        }
        Ok(())
    }
}

/// Looks up vectors by ascending ids.
#[derive(Debug)]
pub(crate) struct VectorLookup {
    dimensions: u64,
    rows: TableCursor,
}

impl VectorLookup {
    pub(super) fn new(dimensions: u64, vectors: &TableCursor) -> Self {
        Self { dimensions, rows: vectors.another() }
    }

    /// Returns the vector of a record, f32 little-endian. Ids must ascend from call to call.
    ///
    /// # Errors
    ///
    /// The same as [`next_record`](crate::source::SourceReader::next_record), and that of
    /// [`irregular_row_met`] if there is no such vector.
    pub(crate) fn get(&mut self, id: &str) -> Result<&[u8]> {
        let value = self.rows.value_of(id)?.ok_or_else(irregular_row_met)?;
        checked_vector(value, self.dimensions).map_err(|_| irregular_row_met())
    }
}

/// Looks up the rows of single ids, which must ascend from call to call.
#[derive(Debug)]
pub(crate) struct RowLookup([TableCursor; 2]);

impl RowLookup {
    pub(super) fn new(vectors: &TableCursor, metadata: &TableCursor) -> Self {
        Self([vectors.another(), metadata.another()])
    }

    /// Returns the rows of an id in `vectors` and in `metadata`, as they are.
    ///
    /// # Errors
    ///
    /// The same as [`next_record`](crate::source::SourceReader::next_record).
    pub(crate) fn get(&mut self, id: &str) -> Result<[Option<&[u8]>; 2]> {
        let Self([vectors, metadata]) = self;
        Ok([vectors.value_of(id)?, metadata.value_of(id)?])
    }
}
