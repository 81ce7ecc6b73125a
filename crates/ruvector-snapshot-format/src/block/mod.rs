//! A block in memory: consecutive rows, in id order. Here rows are added and read.
//!
//! `pack` turns a block into one piece for each of the three data files, `unpack` does the reverse. Neither knows where
//! a piece is stored.

mod order;
mod pack;
mod unpack;

use std::borrow::Cow;

use crate::checksum::{Digest, digest};
use crate::error::{FormatError, Result};
use crate::index::{FLAG_METADATA, FLAG_REMOVED, FLAG_VECTOR, Ids};
use crate::model::{Change, ChangedRow, Record};
use crate::{large, limits, payloads};

pub use order::BlockOrder;
pub use pack::PackedBlock;
pub use unpack::{IndexedRow, RowKind};

/// Consecutive rows, in id order: records of a full snapshot, or changes of an increment.
///
/// ```
/// use ruvector_snapshot_format::block::Block;
/// use ruvector_snapshot_format::model::Record;
///
/// let vector: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
/// let record = Record { id: "a", vector: &vector, metadata: Some(r#"{"n":1}"#) };
/// let mut block = Block::new(2);
/// block.push(record)?;
///
/// let packed = block.pack(6)?;
/// let pieces = [&packed.vectors[..], &packed.index, &packed.payloads];
/// let (unpacked, checksum) = Block::unpack(&packed.entry, 2, pieces)?;
/// assert_eq!(unpacked.row(0), record);
/// assert_eq!(checksum, packed.sum);
/// # Ok::<(), ruvector_snapshot_format::FormatError>(())
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Block {
    vector_bytes: usize,
    ids: Ids,
    /// The digest of each row, if they were read or given. Otherwise empty: packing computes them.
    digests: Vec<Digest>,
    /// For each row the number of vectors before it in `matrix`. Empty if every row has a vector.
    vectors_before: Vec<u32>,
    /// The vectors of the rows that have one: a matrix of f32, little-endian, of shape `vectors x dimensions`.
    matrix: Vec<u8>,
    metadata: String,
    /// The end of the metadata of each row in `metadata`. Whether a row has metadata is in its flags.
    metadata_ends: Vec<usize>,
}

impl Block {
    /// Creates an empty block for vectors of `dimensions` f32 values.
    pub fn new(dimensions: usize) -> Self {
        Self { vector_bytes: dimensions.saturating_mul(4), ..Self::default() }
    }

    /// Creates an empty block for vectors of the same dimensions.
    pub fn new_like(&self) -> Self {
        Self { vector_bytes: self.vector_bytes, ..Self::default() }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether the block has no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the size of the vectors and the metadata, in bytes.
    pub fn content_bytes(&self) -> usize {
        self.matrix.len() + self.metadata.len()
    }

    /// Returns the id of row `at`, or an empty string if there is no such row.
    pub fn id(&self, at: usize) -> &str {
        self.ids.get(at)
    }

    /// Returns row `at` as a record, or an empty record if there is no such row. The vector is empty if it is not in
    /// this block.
    pub fn row(&self, at: usize) -> Record<'_> {
        let start = at.checked_sub(1).and_then(|before| self.metadata_ends.get(before)).copied().unwrap_or(0);
        let end = self.metadata_ends.get(at).copied().unwrap_or(start);
        Record {
            id: self.ids.get(at),
            vector: self.vector(at).unwrap_or_default(),
            metadata: if self.has_flag(at, FLAG_METADATA) { self.metadata.get(start..end) } else { None },
        }
    }

    /// Returns the rows as records, in order.
    pub fn rows(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|at| self.row(at))
    }

    /// Returns row `at` as a change. The block must have been unpacked, or filled by
    /// [`push_change`](Self::push_change).
    pub fn change(&self, at: usize) -> ChangedRow<'_> {
        let row = self.row(at);
        let change = if self.has_flag(at, FLAG_REMOVED) {
            Change::Removed
        } else {
            Change::Put { vector: self.vector(at), metadata: row.metadata }
        };
        ChangedRow { id: row.id, digest: self.digests.get(at).copied().unwrap_or_default(), change }
    }

    /// Returns what row `at` is, even if its content was not unpacked.
    pub fn kind(&self, at: usize) -> RowKind {
        RowKind::of(self.ids.flags.get(at).copied().unwrap_or_default())
    }

    /// Returns whether a writer closes this block before it adds `row`.
    pub fn is_full_for(&self, row: Record<'_>) -> bool {
        let exceeds = |bytes: usize, more: usize| bytes.saturating_add(more) > limits::BLOCK_TARGET_BYTES;
        // A metadata line repeats the id, each byte of which is escaped in the worst case.
        let lines = self.metadata.len() + self.ids.text.len() * 6;
        !self.is_empty()
            && (self.len() >= limits::BLOCK_ROWS
                || exceeds(self.matrix.len(), self.vector_bytes)
                || exceeds(self.ids.text.len() + self.len() * 5, row.id.len())
                || exceeds(lines, row.metadata.map_or(0, str::len) + row.id.len() * 6))
    }

    /// Returns whether a writer closes this block, whatever row comes next.
    pub fn is_full(&self) -> bool {
        self.is_full_for(Record { id: "", vector: &[], metadata: None })
    }

    /// Returns whether the block has one row, and that is larger than [`large::LARGE_ROW_BYTES`]. Several such blocks
    /// should not be in memory at the same time.
    ///
    /// ```
    /// use ruvector_snapshot_format::block::Block;
    /// use ruvector_snapshot_format::model::Record;
    ///
    /// let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(5 << 20));
    /// let mut block = Block::new(1);
    /// block.push(Record { id: "a", vector: &[0; 4], metadata: Some(&text) })?;
    /// assert!(block.is_large() && block.is_full());
    /// # Ok::<(), ruvector_snapshot_format::FormatError>(())
    /// ```
    pub fn is_large(&self) -> bool {
        self.len() == 1 && self.content_bytes() > large::LARGE_ROW_BYTES
    }

    /// Adds a record. Its id must follow the last one.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the order or the dimensions are wrong, and `InvalidInput` if the record is larger than the
    /// limits of the format.
    pub fn push(&mut self, row: Record<'_>) -> Result<()> {
        if row.vector.len() != self.vector_bytes {
            return Err(FormatError::corrupt(format!(
                "the vector of id {:?} has {} bytes, not {}",
                row.id,
                row.vector.len(),
                self.vector_bytes
            )));
        }
        self.check_next(row)?;
        let metadata_flag = if row.metadata.is_some() { FLAG_METADATA } else { 0 };
        self.append(row, FLAG_VECTOR | metadata_flag);
        Ok(())
    }

    /// Adds the metadata of a record that has the same vector in the base, in order to compare it. The row has no
    /// digest. Its id must follow the last one. Its size is not limited, because it does not have to be stored.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the order is wrong.
    pub fn push_metadata(&mut self, id: &str, metadata: Option<&str>) -> Result<()> {
        self.check_order(id)?;
        let flags = if metadata.is_some() { FLAG_METADATA } else { 0 };
        self.append(Record { id, vector: &[], metadata }, flags);
        Ok(())
    }

    /// Adds a row of an increment. Its id must follow the last one. Do not mix it with [`push`](Self::push) in one
    /// block.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_change(&mut self, row: ChangedRow<'_>) -> Result<()> {
        let (flags, vector, metadata) = match row.change {
            Change::Removed => (FLAG_REMOVED, None, None),
            Change::Put { vector, metadata } => {
                let vector_flag = if vector.is_some() { FLAG_VECTOR } else { 0 };
                let metadata_flag = if metadata.is_some() { FLAG_METADATA } else { 0 };
                (vector_flag | metadata_flag, vector, metadata)
            }
        };
        if vector.is_some_and(|vector| vector.len() != self.vector_bytes) {
            return Err(FormatError::corrupt(format!(
                "the vector of id {:?} does not have the dimensions of the base",
                row.id
            )));
        }
        let record = Record { id: row.id, vector: vector.unwrap_or_default(), metadata };
        self.check_next(record)?;
        self.digests.push(row.digest);
        self.append(record, flags);
        Ok(())
    }

    /// Sets the digest of row `at`, which had none when it was added.
    pub fn set_digest(&mut self, at: usize, digest: Digest) {
        if let Some(known) = self.digests.get_mut(at) {
            *known = digest;
        }
    }

    /// Makes the only row of the block a record of this vector, unless it has one. Returns whether the block has one row,
    /// and the vector its dimensions.
    pub fn complete_row(&mut self, vector: &[u8]) -> bool {
        let ([flags], true) = (self.ids.flags.as_mut_slice(), vector.len() == self.vector_bytes) else { return false };
        if *flags & FLAG_VECTOR == 0 {
            *flags |= FLAG_VECTOR;
            self.matrix = vector.to_vec();
            self.vectors_before.clear();
        }
        true
    }

    /// Frees the metadata of a large row. From then on it is an empty text, which is the metadata of no record.
    pub fn forget_large_metadata(&mut self) {
        if self.is_large() {
            self.metadata = String::new();
            self.metadata_ends.fill(0);
        }
    }

    /// Returns the same rows with canonical metadata and digests. A row without a vector gets no digest, and its
    /// metadata is not changed.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the metadata of a row is not a JSON object.
    pub fn with_digests(mut self) -> Result<Self> {
        if self.is_large() {
            if self.vector(0).is_some() {
                self.make_canonical()?;
            }
            let row = self.row(0);
            self.digests = vec![self.vector(0).map(|_| row.digest()).unwrap_or_default()];
            return Ok(self);
        }
        let mut metadata = String::with_capacity(self.metadata.len());
        let mut metadata_ends = Vec::with_capacity(self.len());
        let mut digests = Vec::with_capacity(self.len());
        for (at, row) in self.rows().enumerate() {
            let start = metadata.len();
            let vector = self.vector(at);
            match row.metadata {
                Some(text) if vector.is_some() => payloads::append_canonical(row.id, text, &mut metadata)?,
                text => metadata.push_str(text.unwrap_or_default()),
            }
            let canonical = row.metadata.map(|_| &metadata[start..]);
            digests.push(vector.map(|vector| digest(row.id, vector, canonical)).unwrap_or_default());
            metadata_ends.push(metadata.len());
        }
        Ok(Self { metadata, metadata_ends, digests, ..self })
    }

    /// Replaces the metadata of the only row with its canonical form, if that is different.
    fn make_canonical(&mut self) -> Result<()> {
        if self.has_flag(0, FLAG_METADATA)
            && let Cow::Owned(canonical) = payloads::canonical_of(self.ids.get(0), &self.metadata)?
        {
            self.metadata_ends = vec![canonical.len()];
            self.metadata = canonical;
        }
        Ok(())
    }

    /// Returns the vector of row `at`, if it is in this block.
    fn vector(&self, at: usize) -> Option<&[u8]> {
        if !self.has_flag(at, FLAG_VECTOR) {
            return None;
        }
        let before = self.vectors_before.get(at).map_or(at, |before| *before as usize);
        let start = before.checked_mul(self.vector_bytes)?;
        self.matrix.get(start..start.checked_add(self.vector_bytes)?)
    }

    fn has_flag(&self, at: usize, flag: u8) -> bool {
        self.ids.flags.get(at).is_some_and(|flags| flags & flag != 0)
    }

    fn append(&mut self, row: Record<'_>, flags: u8) {
        let has_vector = flags & FLAG_VECTOR != 0;
        if !has_vector && self.vectors_before.is_empty() {
            self.vectors_before.extend(0..self.len() as u32);
        }
        if !has_vector || !self.vectors_before.is_empty() {
            let vectors = self.matrix.len().checked_div(self.vector_bytes).unwrap_or_default();
            self.vectors_before.push(vectors as u32);
        }
        self.ids.push(row.id, flags);
        self.matrix.extend_from_slice(row.vector);
        let metadata = row.metadata.unwrap_or_default();
        if metadata.len() > large::LARGE_ROW_BYTES {
            self.metadata.reserve_exact(large::capacity_for(metadata.len()));
        }
        self.metadata.push_str(metadata);
        self.metadata_ends.push(self.metadata.len());
    }

    fn check_next(&self, row: Record<'_>) -> Result<()> {
        self.check_order(row.id)?;
        if row.id.len() <= limits::ID_BYTES
            && row.vector.len() <= limits::VECTOR_BYTES
            && row.metadata.map_or(0, str::len) <= limits::RECORD_METADATA_BYTES
        {
            return Ok(());
        }
        let mut shown: String = row.id.chars().take(64).collect();
        if shown.len() < row.id.len() {
            shown.push('…');
        }
        let limits = "1 MiB for an id, 64 MiB for a vector, 64 MiB for metadata";
        Err(FormatError::invalid_input(format!(
            "cannot store record {shown:?}: it exceeds the limits of the format ({limits})"
        )))
    }

    fn check_order(&self, id: &str) -> Result<()> {
        match self.len().checked_sub(1) {
            Some(last) if self.ids.get(last) >= id => {
                Err(FormatError::corrupt(format!("the id {id:?} is out of order")))
            }
            _ => Ok(()),
        }
    }
}
