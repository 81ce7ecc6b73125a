//! Unpacks a block: pieces to rows. Checks every size, every CRC-32 and every digest.

use std::ops::Range;

use super::Block;
use crate::checksum::{ContentSum, DIGEST_BYTES, Digest, digest};
use crate::codec::piece::{self, MemberSize};
use crate::codec::planes::{self, PLANES};
use crate::error::{FormatError, Result};
use crate::index::{BlockEntry, FLAG_METADATA, FLAG_REMOVED, FLAG_VECTOR, Ids};
use crate::layout::DataFile;
use crate::payloads;

/// What the index of a snapshot says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedRow {
    /// The digest of the record; of a tombstone, that of the removed record.
    pub digest: Digest,
    /// What the row is.
    pub kind: RowKind,
    /// Whether the row is alone in its block because of its metadata. The increments that change such a record have its
    /// vector, whether that has changed or not.
    pub has_large_metadata: bool,
}

/// What a row of a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A record with its vector.
    WithVector,
    /// A record of an increment whose vector is that of the base.
    WithoutVector,
    /// A removed record.
    Tombstone,
}

impl RowKind {
    pub(super) fn of(flags: u8) -> Self {
        match (flags & FLAG_REMOVED != 0, flags & FLAG_VECTOR != 0) {
            (true, _) => Self::Tombstone,
            (false, true) => Self::WithVector,
            (false, false) => Self::WithoutVector,
        }
    }
}

impl Block {
    /// Unpacks a block from its three pieces, and verifies the digest of every row that has its vector in this block.
    ///
    /// Returns the rows and the sum of their digests.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt`, with the name of the file whose piece is not as it was written.
    pub fn unpack(entry: &BlockEntry, dimensions: usize, pieces: [&[u8]; 3]) -> Result<(Self, ContentSum)> {
        let [vectors, index, payloads] = pieces;
        let mut block =
            Self::unpack_rows(entry, dimensions, [index, payloads], |_| true, payloads::canonical_metadata_of)?;
        block.matrix =
            unpack_vectors(entry, dimensions, vectors).map_err(|error| error.with_file(DataFile::Vectors.name()))?;
        let mut sum = ContentSum::default();
        for (at, stored) in block.digests.iter().enumerate() {
            let row = block.row(at);
            // The digest of a row without its vector can only be verified together with the rest of the chain.
            if block.vector(at).is_some() && digest(row.id, row.vector, row.metadata) != *stored {
                return Err(FormatError::corrupt(format!("the digest of id {:?} does not match its contents", row.id)));
            }
            sum.add(stored);
        }
        Ok((block, sum))
    }

    /// Unpacks the ids, digests and metadata of the rows that `is_wanted` accepts, without vectors. `pieces` are those
    /// in index.bin.gz and metadata.bin.gz.
    ///
    /// Only the CRC-32 and the sizes are verified, and the metadata may be no JSON. Use the result only to compare it.
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
        Self::unpack_rows(entry, dimensions, pieces, is_wanted, payloads::metadata_unchecked)
    }

    /// Returns what the index says of the row with this id. `None` if the block has no such row. `piece` is that in
    /// index.bin.gz.
    ///
    /// Only the CRC-32 and the sizes are verified.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the piece is not as it was written.
    pub fn find_in_index(entry: &BlockEntry, piece: &[u8], id: &str) -> Result<Option<IndexedRow>> {
        let (ids, digests) = unpack_index(entry, piece).map_err(|error| error.with_file(DataFile::Index.name()))?;
        let at = (0..ids.len()).find(|at| ids.get(*at) == id);
        Ok(at.and_then(|at| {
            let kind = RowKind::of(*ids.flags.get(at)?);
            Some(IndexedRow { digest: *digests.get(at)?, kind, has_large_metadata: entry.has_large_metadata() })
        }))
    }

    /// Returns whether a block has a row whose id is wanted. The ids come in order. `piece` is that in index.bin.gz.
    ///
    /// Only the CRC-32 and the sizes are verified.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the piece is not as it was written.
    pub fn has_row_in_index(entry: &BlockEntry, piece: &[u8], mut is_wanted: impl FnMut(&str) -> bool) -> Result<bool> {
        let (ids, _) = unpack_index(entry, piece).map_err(|error| error.with_file(DataFile::Index.name()))?;
        Ok((0..ids.len()).any(|at| is_wanted(ids.get(at))))
    }

    /// Unpacks the ids, the digests and the [kinds](Self::kind) of the rows that `is_wanted` accepts. `index` is the piece
    /// in index.bin.gz. If a row has metadata, it is an empty text.
    ///
    /// Only the CRC-32 and the sizes are verified.
    ///
    /// # Errors
    ///
    /// As [`unpack`](Self::unpack).
    pub fn unpack_without_content(
        entry: &BlockEntry,
        dimensions: usize,
        index: &[u8],
        mut is_wanted: impl FnMut(&str) -> bool,
    ) -> Result<Self> {
        let (ids, digests) = unpack_index(entry, index).map_err(|error| error.with_file(DataFile::Index.name()))?;
        let mut block = Self::new(dimensions);
        for (at, digest) in digests.into_iter().enumerate() {
            let (id, flags) = (ids.get(at), ids.flags.get(at).copied().unwrap_or_default());
            if is_wanted(id) {
                block.ids.push(id, flags);
                block.digests.push(digest);
                block.metadata_ends.push(0);
                block.vectors_before.push(0);
            }
        }
        Ok(block)
    }

    fn unpack_rows(
        entry: &BlockEntry,
        dimensions: usize,
        [index, payloads]: [&[u8]; 2],
        mut is_wanted: impl FnMut(&str) -> bool,
        metadata_of: for<'a> fn(&str, Option<&'a str>) -> Result<&'a str>,
    ) -> Result<Self> {
        let (ids, digests) = unpack_index(entry, index).map_err(|error| error.with_file(DataFile::Index.name()))?;
        let payloads_error = |error: FormatError| error.with_file(DataFile::Payloads.name());
        let text = unpack_lines(entry, payloads).map_err(payloads_error)?;
        let mut lines = text.split_inclusive('\n');
        let mut block = Self::new(dimensions);
        let mut vectors = 0;
        // A row of a block of its own can have tens of megabytes of metadata, which is not copied.
        let mut alone = None;
        for (at, digest) in digests.into_iter().enumerate() {
            let (id, flags) = (ids.get(at), ids.flags.get(at).copied().unwrap_or_default());
            let has_metadata = flags & FLAG_METADATA != 0;
            let line = if has_metadata { lines.next() } else { None };
            if is_wanted(id) {
                if has_metadata {
                    let metadata = metadata_of(id, line).map_err(payloads_error)?;
                    alone = line.filter(|_| entry.rows == 1).and_then(|line| range_in(line, metadata));
                    if alone.is_none() {
                        block.metadata.push_str(metadata);
                    }
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
        if lines.next().is_some() {
            let error = FormatError::corrupt("there are more metadata lines than rows with metadata");
            return Err(payloads_error(error));
        }
        if let Some(Range { start, end }) = alone {
            let mut metadata = text;
            metadata.truncate(end);
            metadata.drain(..start);
            block.metadata_ends = vec![metadata.len()];
            block.metadata = metadata;
        }
        Ok(block)
    }
}

/// Returns where the metadata of a line as it is written starts and ends.
fn range_in(line: &str, metadata: &str) -> Option<Range<usize>> {
    let end = line.strip_suffix("}\n")?.len();
    let start = end.checked_sub(metadata.len())?;
    (line.get(start..end)? == metadata).then_some(start..end)
}

fn unpack_index(entry: &BlockEntry, piece: &[u8]) -> Result<(Ids, Vec<Digest>)> {
    let rows = entry.rows as usize;
    let sizes = [
        MemberSize { bytes: entry.ids_bytes, raw_bytes: entry.ids_raw_bytes as usize },
        MemberSize { bytes: entry.digests_bytes, raw_bytes: rows.saturating_mul(DIGEST_BYTES) },
    ];
    let [ids, digests] = piece::expand(piece, entry.index_crc32, sizes)?;
    let ids = Ids::decode(&ids, rows)?;
    if ids.flags.iter().any(|flags| *flags > FLAG_REMOVED) {
        return Err(FormatError::corrupt("a row has flags that neither a record nor a tombstone has"));
    }
    let count = |flag| ids.flags.iter().filter(|flags| **flags & flag != 0).count();
    if count(FLAG_METADATA) != entry.metadata_rows as usize || count(FLAG_VECTOR) != entry.vector_rows as usize {
        return Err(FormatError::corrupt("the numbers of vectors and metadata lines differ from the block directory"));
    }
    if ids.get(0) != entry.first_id {
        return Err(FormatError::corrupt("the first id differs from the block directory"));
    }
    Ok((ids, digests.as_chunks::<DIGEST_BYTES>().0.to_vec()))
}

fn unpack_lines(entry: &BlockEntry, piece: &[u8]) -> Result<String> {
    let raw = if entry.metadata_rows == 0 {
        let [] = piece::expand(piece, entry.payloads_crc32, [])?;
        Vec::new()
    } else {
        let size = MemberSize { bytes: entry.payloads_bytes, raw_bytes: entry.payloads_raw_bytes as usize };
        let [raw] = piece::expand(piece, entry.payloads_crc32, [size])?;
        raw
    };
    String::from_utf8(raw).map_err(|error| FormatError::corrupt("the metadata lines are not UTF-8").with_source(error))
}

fn unpack_vectors(entry: &BlockEntry, dimensions: usize, piece: &[u8]) -> Result<Vec<u8>> {
    if entry.vector_rows == 0 {
        let [] = piece::expand(piece, entry.vectors_crc32, [])?;
        return Ok(Vec::new());
    }
    let raw_bytes = (entry.vector_rows as usize).saturating_mul(dimensions);
    let sizes = entry.plane_bytes.map(|bytes| MemberSize { bytes, raw_bytes });
    let planes: [Vec<u8>; PLANES] = piece::expand(piece, entry.vectors_crc32, sizes)?;
    planes::join(planes.each_ref().map(Vec::as_slice))
}
