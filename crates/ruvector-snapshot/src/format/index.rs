//! index.bin.gz: ids and digests of the rows, the block directory, and what a database is made from (FORMAT.md,
//! section 4).

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::checksum::DIGEST_BYTES;
use super::layout::DataFile;
use super::metadata::SnapshotMetadata;
use super::vectors::PLANES;
use super::{damaged, limits};
use crate::error::Result;

/// Name of the section that holds the block directory.
pub const DIRECTORY: &str = "directory";
/// Name of the section that holds [`DatabaseInfo`].
pub const DATABASE: &str = "database";

/// The row has a vector in its block.
pub const FLAG_VECTOR: u8 = 1;
/// The row has a line in metadata.bin.gz.
pub const FLAG_METADATA: u8 = 2;

/// The record is gone; of an increment alone.
pub const FLAG_REMOVED: u8 = 4;
/// Name of the section that holds the leaf table (`leaves.rs`).
pub const LEAVES: &str = "leaves";

/// More than any gzip member that expands to nothing.
const EMPTY_MEMBER_BYTES_MAX: u64 = 64;
/// Bytes of one entry of the directory.
const ENTRY_BYTES: usize = 88;
/// Words of four bytes in an entry.
const ENTRY_WORDS: usize = ENTRY_BYTES / 4;

/// What a database is made from: its options and every row of its `config` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseInfo {
    /// f32 values a vector.
    pub dimensions: u64,
    /// The metric, in the database's own notation.
    pub distance_metric: Option<String>,
    /// The parameters of the HNSW index, in the database's own notation; null for a flat index.
    pub hnsw_config: serde_json::Value,
    /// The quantization, in the database's own notation.
    pub quantization: serde_json::Value,
    /// Every row of the `config` table, word for word.
    pub rows: BTreeMap<String, String>,
}

/// Ids and flags of a block's rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ids {
    /// One byte a row: [`FLAG_VECTOR`], [`FLAG_METADATA`], [`FLAG_REMOVED`].
    pub flags: Vec<u8>,
    /// The ids, one after the other.
    pub text: String,
    /// Where each id ends in `text`.
    pub ends: Vec<usize>,
}

impl Ids {
    /// Rows of the block.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the block has no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, id: &str, flags: u8) {
        self.flags.push(flags);
        self.text.push_str(id);
        self.ends.push(self.text.len());
    }

    /// The id of row `at`; empty past the end.
    pub fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    /// The bytes of the flags-and-ids member, expanded.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(self.len() * 5 + self.text.len());
        raw.extend_from_slice(&self.flags);
        let mut start = 0;
        for end in &self.ends {
            raw.extend_from_slice(&((end - start) as u32).to_le_bytes());
            start = *end;
        }
        raw.extend_from_slice(self.text.as_bytes());
        raw
    }

    /// The inverse of [`Ids::encode`] for a block of `rows`; ids must ascend.
    pub fn decode(raw: &[u8], rows: usize) -> Result<Self> {
        let cut = || damaged("the ids of the block are not as written");
        let (flags, rest) = raw.split_at_checked(rows).ok_or_else(cut)?;
        let (lengths, text) = rest.split_at_checked(rows * 4).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|error| cut().because(error))?;
        let mut ids = Self { flags: flags.to_vec(), text: text.to_owned(), ends: Vec::with_capacity(rows) };
        let mut end = 0usize;
        let mut last: Option<&str> = None;
        for length in lengths.as_chunks::<4>().0 {
            let start = end;
            end = start.saturating_add(u32::from_le_bytes(*length) as usize);
            let id = text.get(start..end).filter(|id| id.len() <= limits::ID_BYTES).ok_or_else(cut)?;
            if last.is_some_and(|last| last >= id) {
                return Err(damaged("the ids of the block are not in order"));
            }
            last = Some(id);
            ids.ends.push(end);
        }
        if end != text.len() {
            return Err(cut());
        }
        Ok(ids)
    }
}

/// Where one block lies and what its pieces must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockEntry {
    /// Rows of the block.
    pub rows: u32,
    /// Rows that have a vector in it.
    pub vector_rows: u32,
    /// Rows that have a metadata line.
    pub metadata_rows: u32,
    /// Size of the flags-and-ids member, expanded.
    pub ids_raw_bytes: u32,
    /// Where the piece in vectors.bin.gz begins.
    pub vectors_offset: u64,
    /// Sizes of the members of the four planes.
    pub plane_bytes: [u32; PLANES],
    /// CRC-32 of the piece in vectors.bin.gz, as stored.
    pub vectors_crc32: u32,
    /// Size of the flags-and-ids member.
    pub ids_bytes: u32,
    /// Where the piece in index.bin.gz begins.
    pub index_offset: u64,
    /// Size of the digests member.
    pub digests_bytes: u32,
    /// CRC-32 of the piece in index.bin.gz, as stored.
    pub index_crc32: u32,
    /// Where the piece in metadata.bin.gz begins.
    pub payloads_offset: u64,
    /// Size of the piece in metadata.bin.gz; 0 where no row has metadata.
    pub payloads_bytes: u32,
    /// Its size expanded.
    pub payloads_raw_bytes: u32,
    /// CRC-32 of it, as stored.
    pub payloads_crc32: u32,
    /// The id of the first row.
    pub first_id: String,
}

impl BlockEntry {
    /// The bytes of the block's piece in a data file.
    pub fn range(&self, file: DataFile) -> Range<u64> {
        let (start, bytes) = match file {
            DataFile::Vectors => (self.vectors_offset, self.plane_bytes.iter().map(|bytes| u64::from(*bytes)).sum()),
            DataFile::Index => (self.index_offset, u64::from(self.ids_bytes) + u64::from(self.digests_bytes)),
            DataFile::Payloads => (self.payloads_offset, u64::from(self.payloads_bytes)),
        };
        start..start.saturating_add(bytes)
    }

    /// The CRC-32 of the block's piece in a data file, as stored.
    pub fn crc32(&self, file: DataFile) -> u32 {
        match file {
            DataFile::Vectors => self.vectors_crc32,
            DataFile::Index => self.index_crc32,
            DataFile::Payloads => self.payloads_crc32,
        }
    }

    /// Size of the block's piece in a data file, expanded.
    pub fn raw_bytes(&self, file: DataFile, dimensions: u64) -> u64 {
        match file {
            DataFile::Vectors => u64::from(self.vector_rows).saturating_mul(dimensions).saturating_mul(4),
            DataFile::Index => u64::from(self.ids_raw_bytes) + u64::from(self.rows) * DIGEST_BYTES as u64,
            DataFile::Payloads => u64::from(self.payloads_raw_bytes),
        }
    }

    fn words(&self) -> [u32; ENTRY_WORDS] {
        let [vectors_low, vectors_high] = halves(self.vectors_offset);
        let [index_low, index_high] = halves(self.index_offset);
        let [payloads_low, payloads_high] = halves(self.payloads_offset);
        let [plane0, plane1, plane2, plane3] = self.plane_bytes;
        [
            self.rows,
            self.vector_rows,
            self.metadata_rows,
            self.ids_raw_bytes,
            vectors_low,
            vectors_high,
            plane0,
            plane1,
            plane2,
            plane3,
            self.vectors_crc32,
            self.ids_bytes,
            index_low,
            index_high,
            self.digests_bytes,
            self.index_crc32,
            payloads_low,
            payloads_high,
            self.payloads_bytes,
            self.payloads_raw_bytes,
            self.payloads_crc32,
            0,
        ]
    }

    fn from_words(words: [u32; ENTRY_WORDS], first_id: String) -> Self {
        let [rows, vector_rows, metadata_rows, ids_raw_bytes, vectors_low, vectors_high, rest @ ..] = words;
        let [plane0, plane1, plane2, plane3, vectors_crc32, ids_bytes, index_low, index_high, rest @ ..] = rest;
        let [digests_bytes, index_crc32, payloads_low, payloads_high, rest @ ..] = rest;
        let [payloads_bytes, payloads_raw_bytes, payloads_crc32, _] = rest;
        Self {
            rows,
            vector_rows,
            metadata_rows,
            ids_raw_bytes,
            vectors_offset: whole(vectors_low, vectors_high),
            plane_bytes: [plane0, plane1, plane2, plane3],
            vectors_crc32,
            ids_bytes,
            index_offset: whole(index_low, index_high),
            digests_bytes,
            index_crc32,
            payloads_offset: whole(payloads_low, payloads_high),
            payloads_bytes,
            payloads_raw_bytes,
            payloads_crc32,
            first_id,
        }
    }
}

/// The bytes of the section [`DIRECTORY`], expanded.
pub fn encode_directory(entries: &[BlockEntry]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(entries.len() * (ENTRY_BYTES + 32));
    raw.extend(entries.iter().flat_map(|entry| entry.words()).flat_map(u32::to_le_bytes));
    raw.extend(entries.iter().flat_map(|entry| (entry.first_id.len() as u32).to_le_bytes()));
    for entry in entries {
        raw.extend_from_slice(entry.first_id.as_bytes());
    }
    raw
}

/// Reads the directory of a snapshot and checks every number in it against metadata.json and the limits of the format.
pub fn decode_directory(raw: &[u8], metadata: &SnapshotMetadata) -> Result<Vec<BlockEntry>> {
    let cut = || damaged("the block directory is not as written");
    let blocks = usize::try_from(metadata.blocks).map_err(|_| cut())?;
    let (entries_raw, rest) =
        blocks.checked_mul(ENTRY_BYTES).and_then(|at| raw.split_at_checked(at)).ok_or_else(cut)?;
    let (lengths, ids) = rest.split_at_checked(blocks * 4).ok_or_else(cut)?;
    let ids = std::str::from_utf8(ids).map_err(|error| cut().because(error))?;
    let mut entries = Vec::with_capacity(blocks);
    let mut id_end = 0usize;
    let words = entries_raw.as_chunks::<ENTRY_BYTES>().0.iter();
    for (entry, length) in words.zip(lengths.as_chunks::<4>().0) {
        let mut words = [0u32; ENTRY_WORDS];
        for (word, bytes) in words.iter_mut().zip(entry.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // The last word is reserved.
        if words.last() != Some(&0) {
            return Err(cut());
        }
        let start = id_end;
        id_end = start.saturating_add(u32::from_le_bytes(*length) as usize);
        let first_id = ids.get(start..id_end).ok_or_else(cut)?;
        entries.push(BlockEntry::from_words(words, first_id.to_owned()));
    }
    if id_end != ids.len() {
        return Err(cut());
    }
    validate_directory(&entries, metadata)?;
    Ok(entries)
}

fn validate_directory(entries: &[BlockEntry], metadata: &SnapshotMetadata) -> Result<()> {
    let mut rows = 0u64;
    for (at, entry) in entries.iter().enumerate() {
        validate_entry(entry, metadata)
            .map_err(|error| damaged(format!("entry {at} of the block directory is not as written: {error}")))?;
        rows += u64::from(entry.rows);
    }
    if !entries.is_sorted_by(|one, next| one.first_id < next.first_id) {
        return Err(damaged("the block directory is not in the order of the ids"));
    }
    if rows != metadata.rows() {
        return Err(damaged(format!("the blocks hold {rows} rows, the snapshot {}", metadata.rows())));
    }
    for file in DataFile::ALL {
        validate_extent(entries, metadata, file)?;
    }
    Ok(())
}

/// Every byte of a data file belongs to exactly one piece or section.
fn validate_extent(entries: &[BlockEntry], metadata: &SnapshotMetadata, file: DataFile) -> Result<()> {
    let info = metadata.file(file)?;
    let mut end = 0u64;
    let mut raw_bytes = 0u64;
    for (at, entry) in entries.iter().enumerate() {
        let range = entry.range(file);
        if range.start != end {
            return Err(damaged(format!("block {at} of {} is out of place", file.name())));
        }
        end = range.end;
        raw_bytes = raw_bytes.saturating_add(entry.raw_bytes(file, metadata.dimensions));
    }
    if file == DataFile::Index {
        for section in &metadata.sections {
            if section.offset != end {
                return Err(damaged(format!("the section {:?} of index.bin.gz is out of place", section.name)));
            }
            end = end.saturating_add(section.bytes);
            raw_bytes = raw_bytes.saturating_add(section.raw_bytes);
        }
    }
    // A file without any member consists of one that expands to nothing.
    let fits = if end == 0 { info.bytes <= EMPTY_MEMBER_BYTES_MAX } else { info.bytes == end };
    if !fits || raw_bytes != info.raw_bytes {
        return Err(damaged(format!("the blocks do not add up to the size of {}", file.name())));
    }
    Ok(())
}

fn validate_entry(entry: &BlockEntry, metadata: &SnapshotMetadata) -> Result<()> {
    let rows = entry.rows as usize;
    if rows == 0 || rows > limits::BLOCK_ROWS {
        return Err(damaged(format!("it has {rows} rows")));
    }
    let is_full = metadata.changes.is_none();
    if entry.vector_rows > entry.rows || entry.metadata_rows > entry.rows || is_full && entry.vector_rows != entry.rows
    {
        return Err(damaged("it has more vectors or metadata than rows, or rows without a vector"));
    }
    if (entry.plane_bytes == [0; PLANES]) != (entry.vector_rows == 0) {
        return Err(damaged("its vectors piece does not fit its rows"));
    }
    if (entry.payloads_bytes == 0) != (entry.metadata_rows == 0) {
        return Err(damaged("its metadata piece does not fit its rows"));
    }
    let id_limit = if rows == 1 { limits::ID_BYTES + 5 } else { limits::BLOCK_BYTES };
    let vectors_limit = if rows == 1 { limits::VECTOR_BYTES } else { limits::BLOCK_BYTES };
    // A line holds the id with every byte escaped at the worst, and the punctuation around it.
    let payloads_limit =
        if rows == 1 { limits::RECORD_METADATA_BYTES + 6 * limits::ID_BYTES + 64 } else { limits::BLOCK_BYTES };
    let raw = |file| entry.raw_bytes(file, metadata.dimensions);
    if entry.ids_raw_bytes as usize > id_limit
        || raw(DataFile::Vectors) > vectors_limit as u64
        || raw(DataFile::Payloads) > payloads_limit as u64
    {
        return Err(damaged("it is larger than a block can be"));
    }
    for file in DataFile::ALL {
        let range = entry.range(file);
        super::member::check_expansion(range.end - range.start, raw(file))?;
        super::member::check_overhead(range.end - range.start, raw(file))?;
    }
    Ok(())
}

fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn whole(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
