//! One block: consecutive rows, packed into a piece for each of the three data files, and unpacked again with every
//! digest proved.

use super::checksum::{ContentSum, DIGEST_BYTES, Digest, digest};
use super::index::{BlockEntry, FLAG_METADATA, FLAG_REMOVED, FLAG_VECTOR, Ids};
use super::layout::DataFile;
use super::member::{self, Coding};
use super::{damaged, limits, payloads, vectors};
use crate::error::{ErrorKind, Result, SnapshotError};

/// One record of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The id.
    pub id: &'a str,
    /// `dimensions` f32 values, little-endian.
    pub vector: &'a [u8],
    /// The metadata as JSON text.
    pub metadata: Option<&'a str>,
}

/// One row of an increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedRow<'a> {
    /// The id.
    pub id: &'a str,
    /// The digest of the whole record; of a tombstone that of the record that was removed.
    pub digest: Digest,
    /// What became of it.
    pub change: Change<'a>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// It is gone.
    Removed,
    /// It is new, or another.
    Put {
        /// `dimensions` f32 values, little-endian; `None` where the vector is the one of the base.
        vector: Option<&'a [u8]>,
        /// The metadata as canonical JSON.
        metadata: Option<&'a str>,
    },
}

/// Consecutive rows, in id order: all records of a full snapshot, or changes of an increment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Block {
    vector_bytes: usize,
    ids: Ids,
    /// As stored, where they were read or given; else they are computed when the block is packed.
    digests: Vec<Digest>,
    /// Of each row the vectors before it in `matrix`; empty where every row has one.
    vectors_before: Vec<u32>,
    matrix: Vec<u8>,
    metadata: String,
    /// Where each row's metadata ends in `metadata`; a row without any, by its flag, ends where the last one did.
    metadata_ends: Vec<usize>,
}

/// A block as it is stored: one piece a file, and its entry of the directory with all offsets 0.
#[derive(Debug)]
pub struct PackedBlock {
    /// The piece in vectors.bin.gz.
    pub vectors: Vec<u8>,
    /// The piece in index.bin.gz.
    pub index: Vec<u8>,
    /// The piece in metadata.bin.gz.
    pub payloads: Vec<u8>,
    /// The entry of the directory; offsets are the writer's to set.
    pub entry: BlockEntry,
    /// The sum of the rows.
    pub sum: ContentSum,
    /// What each piece expands to, in bytes, in the order of the files above.
    pub raw_bytes: [u64; 3],
}

impl Block {
    /// An empty block of vectors of `dimensions` f32 values.
    pub fn new(dimensions: usize) -> Self {
        Self { vector_bytes: dimensions.saturating_mul(4), ..Self::default() }
    }

    /// An empty block for vectors of the same dimensions.
    pub fn emptied(&self) -> Self {
        Self { vector_bytes: self.vector_bytes, ..Self::default() }
    }

    /// Rows of the block.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the block has no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of row `at`; empty past the end.
    pub fn id(&self, at: usize) -> &str {
        self.ids.get(at)
    }

    /// Row `at`.
    pub fn row(&self, at: usize) -> Row<'_> {
        let start = at.checked_sub(1).and_then(|before| self.metadata_ends.get(before)).copied().unwrap_or(0);
        let end = self.metadata_ends.get(at).copied().unwrap_or(start);
        let has_metadata = self.ids.flags.get(at).is_some_and(|flags| flags & FLAG_METADATA != 0);
        Row {
            id: self.ids.get(at),
            vector: self.vector(at).unwrap_or_default(),
            metadata: if has_metadata { self.metadata.get(start..end) } else { None },
        }
    }

    /// The vector of row `at`, where it is in this block.
    fn vector(&self, at: usize) -> Option<&[u8]> {
        self.ids.flags.get(at).filter(|flags| *flags & FLAG_VECTOR != 0)?;
        let before = self.vectors_before.get(at).map_or(at, |before| *before as usize);
        let start = before.checked_mul(self.vector_bytes)?;
        self.matrix.get(start..start.checked_add(self.vector_bytes)?)
    }

    /// Row `at` as a change, of a block that was unpacked or made by [`push_change`](Self::push_change).
    pub fn change(&self, at: usize) -> ChangedRow<'_> {
        let row = self.row(at);
        let is_removed = self.ids.flags.get(at).is_some_and(|flags| flags & FLAG_REMOVED != 0);
        let change = match is_removed {
            true => Change::Removed,
            false => Change::Put { vector: self.vector(at), metadata: row.metadata },
        };
        ChangedRow { id: row.id, digest: self.digests.get(at).copied().unwrap_or_default(), change }
    }

    /// Bytes of the vectors and the metadata.
    pub fn content_bytes(&self) -> usize {
        self.matrix.len() + self.metadata.len()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|at| self.row(at))
    }

    /// Whether a writer closes this block before it takes a row of this size.
    pub fn is_full_for(&self, row: Row<'_>) -> bool {
        let grown = |bytes: usize, more: usize| bytes.saturating_add(more) > limits::BLOCK_TARGET_BYTES;
        !self.is_empty()
            && (self.len() >= limits::BLOCK_ROWS
                || grown(self.matrix.len(), self.vector_bytes)
                || grown(self.ids.text.len() + self.len() * 5, row.id.len())
                // A line repeats the id, escaped.
                || grown(self.metadata.len() + self.ids.text.len() * 6, row.metadata.map_or(0, str::len) + row.id.len() * 6))
    }

    /// Adds a row, whose id must follow the last one's.
    ///
    /// # Errors
    ///
    /// `Damaged` where the order or the dimensions do not hold, `Invalid` where the row is larger than the format takes.
    pub fn push(&mut self, row: Row<'_>) -> Result<()> {
        if row.vector.len() != self.vector_bytes {
            return Err(damaged(format!(
                "the vector of id {:?} has {} bytes where {} are due",
                row.id,
                row.vector.len(),
                self.vector_bytes
            )));
        }
        self.check_next(row)?;
        let metadata_flag = if row.metadata.is_some() { FLAG_METADATA } else { 0 };
        self.take(row, FLAG_VECTOR | metadata_flag);
        Ok(())
    }

    /// Adds the metadata of a record that is in the base with the same vector, to be compared with it; the row has no digest
    /// and its id must follow the last one's. It may be larger than the format takes: what is compared need not be stored.
    ///
    /// # Errors
    ///
    /// `Damaged` where the order does not hold.
    pub fn push_metadata(&mut self, id: &str, metadata: Option<&str>) -> Result<()> {
        let row = Row { id, vector: &[], metadata };
        self.check_order(id)?;
        self.take(row, if metadata.is_some() { FLAG_METADATA } else { 0 });
        Ok(())
    }

    /// Adds a row of an increment, whose id must follow the last one's. A block holds rows of one kind of snapshot.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_change(&mut self, row: ChangedRow<'_>) -> Result<()> {
        let (flags, vector, metadata) = match row.change {
            Change::Removed => (FLAG_REMOVED, None, None),
            Change::Put { vector, metadata } => {
                let vector_flag = if vector.is_some() { FLAG_VECTOR } else { 0 };
                (vector_flag | if metadata.is_some() { FLAG_METADATA } else { 0 }, vector, metadata)
            }
        };
        let taken = Row { id: row.id, vector: vector.unwrap_or_default(), metadata };
        if vector.is_some_and(|vector| vector.len() != self.vector_bytes) {
            return Err(damaged(format!("the vector of id {:?} is not of the dimensions of the base", row.id)));
        }
        self.check_next(taken)?;
        self.digests.push(row.digest);
        self.take(taken, flags);
        Ok(())
    }

    /// Sets the digest of row `at`, which had none when it was added.
    pub fn set_digest(&mut self, at: usize, digest: Digest) {
        self.digests.get_mut(at).into_iter().for_each(|known| *known = digest);
    }

    fn take(&mut self, row: Row<'_>, flags: u8) {
        if flags & FLAG_VECTOR == 0 && self.vectors_before.is_empty() {
            self.vectors_before.extend(0..self.len() as u32);
        }
        if flags & FLAG_VECTOR == 0 || !self.vectors_before.is_empty() {
            let vectors = self.matrix.len().checked_div(self.vector_bytes).unwrap_or_default();
            self.vectors_before.push(vectors as u32);
        }
        self.ids.push(row.id, flags);
        self.matrix.extend_from_slice(row.vector);
        self.metadata.push_str(row.metadata.unwrap_or_default());
        self.metadata_ends.push(self.metadata.len());
    }

    fn check_order(&self, id: &str) -> Result<()> {
        match self.len().checked_sub(1) {
            Some(last) if self.ids.get(last) >= id => Err(damaged(format!("the id {id:?} is out of order"))),
            _ => Ok(()),
        }
    }

    fn check_next(&self, row: Row<'_>) -> Result<()> {
        self.check_order(row.id)?;
        let metadata_bytes = row.metadata.map_or(0, str::len);
        if row.id.len() > limits::ID_BYTES
            || row.vector.len() > limits::VECTOR_BYTES
            || metadata_bytes > limits::RECORD_METADATA_BYTES
        {
            let mut shown: String = row.id.chars().take(64).collect();
            if shown.len() < row.id.len() {
                shown.push('…');
            }
            return Err(SnapshotError::new(
                ErrorKind::Invalid,
                format!(
                    "the record {shown:?} is larger than a snapshot takes: an id has at most 1 MiB, a vector and metadata at \
                     most 64 MiB"
                ),
            ));
        }
        Ok(())
    }

    /// The same records with canonical metadata and their digests. A row without a vector has no digest yet, and its metadata
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// `Invalid` where the metadata of a row is no JSON object.
    pub fn digested(self) -> Result<Self> {
        let (mut metadata, mut metadata_ends) =
            (String::with_capacity(self.metadata.len()), Vec::with_capacity(self.len()));
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

    /// Packs the rows at a compression level of 0 to 9.
    ///
    /// # Errors
    ///
    /// `Invalid` where the metadata of a row is no JSON object.
    pub fn pack(&self, level: u32) -> Result<PackedBlock> {
        let mut digests = Vec::with_capacity(self.len() * DIGEST_BYTES);
        let mut lines = String::with_capacity(self.metadata.len() + self.ids.text.len() + self.len() * 24);
        let mut sum = ContentSum::default();
        let mut metadata_rows = 0;
        let mut canonical = String::new();
        for (at, row) in self.rows().enumerate() {
            canonical.clear();
            if let Some(text) = row.metadata {
                payloads::append_canonical(row.id, text, &mut canonical)?;
                payloads::append_line(row.id, &canonical, &mut lines)?;
                metadata_rows += 1;
            }
            let given = self.digests.get(at).copied();
            let digest = given.unwrap_or_else(|| digest(row.id, row.vector, row.metadata.map(|_| canonical.as_str())));
            sum.add(&digest);
            digests.extend_from_slice(&digest);
        }
        let mut entry = BlockEntry {
            rows: self.len() as u32,
            vector_rows: self.count(FLAG_VECTOR),
            metadata_rows,
            first_id: self.ids.get(0).to_owned(),
            ..BlockEntry::default()
        };
        let vectors = self.pack_vectors(level, &mut entry)?;
        let index = self.pack_index(&digests, level, &mut entry)?;
        let payloads = pack_payloads(&lines, level, &mut entry)?;
        let raw_bytes = DataFile::ALL.map(|file| entry.raw_bytes(file, (self.vector_bytes / 4) as u64));
        Ok(PackedBlock { vectors, index, payloads, entry, sum, raw_bytes })
    }

    fn count(&self, flag: u8) -> u32 {
        self.ids.flags.iter().filter(|flags| **flags & flag != 0).count() as u32
    }

    fn pack_vectors(&self, level: u32, entry: &mut BlockEntry) -> Result<Vec<u8>> {
        if entry.vector_rows == 0 {
            entry.vectors_crc32 = crc32(&[]);
            return Ok(Vec::new());
        }
        let planes = vectors::split(&self.matrix);
        let plane_bytes = planes.len() / vectors::PLANES;
        let mut out = Vec::with_capacity(self.matrix.len());
        for (at, size) in entry.plane_bytes.iter_mut().enumerate() {
            let plane = &planes[at * plane_bytes..(at + 1) * plane_bytes];
            *size = member::pack(plane, Coding::choose(plane, level), &mut out)? as u32;
        }
        entry.vectors_crc32 = crc32(&out);
        Ok(out)
    }

    fn pack_index(&self, digests: &[u8], level: u32, entry: &mut BlockEntry) -> Result<Vec<u8>> {
        let ids = self.ids.encode();
        let mut out = Vec::with_capacity(digests.len() + ids.len());
        entry.ids_raw_bytes = ids.len() as u32;
        entry.ids_bytes = member::pack(&ids, Coding::at_level(level), &mut out)? as u32;
        entry.digests_bytes = member::pack(digests, Coding::Stored, &mut out)? as u32;
        entry.index_crc32 = crc32(&out);
        Ok(out)
    }

    /// Expands a block from its pieces and proves the digest of every row.
    ///
    /// # Errors
    ///
    /// `Damaged`, at the name of the file whose piece is not as written.
    pub fn unpack(entry: &BlockEntry, dimensions: usize, pieces: [&[u8]; 3]) -> Result<(Self, ContentSum)> {
        let [vectors, index, payloads] = pieces;
        let mut block = Self::unpack_some(entry, dimensions, [index, payloads], |_| true, payloads::metadata_of)?;
        let values = entry.vector_rows as usize * dimensions;
        block.matrix = unpack_vectors(entry, values, vectors).map_err(|error| error.at("vectors.bin.gz"))?;
        let mut sum = ContentSum::default();
        for (at, stored) in block.digests.iter().enumerate() {
            let row = block.row(at);
            // A row without its vector is proved where the vector is: in the chain.
            if block.vector(at).is_some() && digest(row.id, row.vector, row.metadata) != *stored {
                return Err(damaged(format!("the digest of id {:?} does not match its contents", row.id)));
            }
            sum.add(stored);
        }
        Ok((block, sum))
    }

    /// Expands ids, digests and metadata of the rows that are wanted by their ids, and leaves the vectors out. Nothing but the
    /// CRC-32 and the lengths proves them, and the metadata need not be JSON: they are good for nothing but to be compared.
    ///
    /// # Errors
    ///
    /// As [`unpack`](Self::unpack).
    pub fn unpack_without_vectors(
        entry: &BlockEntry,
        dimensions: usize,
        pieces: [&[u8]; 2],
        is_wanted: impl FnMut(&str) -> bool,
    ) -> Result<Self> {
        Self::unpack_some(entry, dimensions, pieces, is_wanted, payloads::metadata_unchecked)
    }

    fn unpack_some(
        entry: &BlockEntry,
        dimensions: usize,
        [index, payloads]: [&[u8]; 2],
        mut is_wanted: impl FnMut(&str) -> bool,
        metadata_of: for<'a> fn(&str, Option<&'a str>) -> Result<&'a str>,
    ) -> Result<Self> {
        let (ids, digests) = unpack_index(entry, index).map_err(|error| error.at("index.bin.gz"))?;
        let payloads_error = |error: SnapshotError| error.at("metadata.bin.gz");
        let text = unpack_payloads(entry, payloads).map_err(payloads_error)?;
        let mut lines = text.split_inclusive('\n');
        let mut block = Self::new(dimensions);
        let mut vectors = 0;
        for (at, digest) in digests.into_iter().enumerate() {
            let (id, flags) = (ids.get(at), ids.flags.get(at).copied().unwrap_or_default());
            let has_metadata = flags & FLAG_METADATA != 0;
            let line = if has_metadata { lines.next() } else { None };
            if is_wanted(id) {
                if has_metadata {
                    let metadata = metadata_of(id, line).map_err(payloads_error)?;
                    block.metadata.push_str(metadata);
                }
                block.ids.push(id, flags);
                block.digests.push(digest);
                block.metadata_ends.push(block.metadata.len());
                if entry.vector_rows != entry.rows {
                    block.vectors_before.push(vectors);
                }
            }
            vectors += u32::from(flags & FLAG_VECTOR);
        }
        match lines.next() {
            None => Ok(block),
            Some(_) => Err(payloads_error(damaged("there are more metadata lines than rows with metadata"))),
        }
    }
}

fn pack_payloads(lines: &str, level: u32, entry: &mut BlockEntry) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if entry.metadata_rows > 0 {
        entry.payloads_bytes = member::pack(lines.as_bytes(), Coding::at_level(level), &mut out)? as u32;
        entry.payloads_raw_bytes = lines.len() as u32;
    }
    entry.payloads_crc32 = crc32(&out);
    Ok(out)
}

fn unpack_payloads(entry: &BlockEntry, piece: &[u8]) -> Result<String> {
    check_crc32(piece, entry.payloads_crc32)?;
    let raw = match piece {
        [] => Vec::new(),
        piece => member::unpack(piece, entry.payloads_raw_bytes as usize)?,
    };
    String::from_utf8(raw).map_err(|error| damaged("the metadata lines are not UTF-8").because(error))
}

fn unpack_index(entry: &BlockEntry, piece: &[u8]) -> Result<(Ids, Vec<Digest>)> {
    check_crc32(piece, entry.index_crc32)?;
    let rows = entry.rows as usize;
    let (ids, digests) =
        piece.split_at_checked(entry.ids_bytes as usize).ok_or_else(|| damaged("the piece is cut short"))?;
    let ids = Ids::decode(&member::unpack(ids, entry.ids_raw_bytes as usize)?, rows)?;
    if ids.flags.iter().any(|flags| *flags > FLAG_REMOVED) {
        return Err(damaged("the flags of a row are not those of a record or a tombstone"));
    }
    let count = |flag| ids.flags.iter().filter(|flags| **flags & flag != 0).count();
    if count(FLAG_METADATA) != entry.metadata_rows as usize || count(FLAG_VECTOR) != entry.vector_rows as usize {
        return Err(damaged("the rows with vectors or metadata are not as many as the block directory says"));
    }
    if ids.get(0) != entry.first_id {
        return Err(damaged("the first id is not the one the block directory names"));
    }
    let digests = member::unpack(digests, rows * DIGEST_BYTES)?;
    Ok((ids, digests.as_chunks::<DIGEST_BYTES>().0.to_vec()))
}

fn unpack_vectors(entry: &BlockEntry, values: usize, piece: &[u8]) -> Result<Vec<u8>> {
    check_crc32(piece, entry.vectors_crc32)?;
    if piece.is_empty() && values == 0 {
        return Ok(Vec::new());
    }
    let mut rest = piece;
    let mut planes: [Vec<u8>; vectors::PLANES] = Default::default();
    for (plane, bytes) in planes.iter_mut().zip(entry.plane_bytes) {
        let (member, after) = rest.split_at_checked(bytes as usize).ok_or_else(|| damaged("the piece is cut short"))?;
        *plane = member::unpack(member, values)?;
        rest = after;
    }
    let [plane0, plane1, plane2, plane3] = &planes;
    vectors::join([plane0, plane1, plane2, plane3])
}

fn check_crc32(piece: &[u8], expected: u32) -> Result<()> {
    match crc32(piece) {
        found if found == expected => Ok(()),
        _ => Err(damaged("the stored bytes do not match their CRC-32")),
    }
}

/// The CRC-32 of RFC 1952.
pub fn crc32(bytes: &[u8]) -> u32 {
    zlib_rs::crc32::crc32(0, bytes)
}
