//! index.bin.gz: ids and digests of the rows, the block directory, and the description of the database (FORMAT.md,
//! section 4).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::checksum::DIGEST_BYTES;
use crate::codec::member::{check_expansion, check_overhead};
use crate::codec::planes::PLANES;
use crate::error::{FormatError, Result};
use crate::layout::DataFile;
use crate::metadata::SnapshotMetadata;
use crate::model::DatabaseInfo;
use crate::{large, limits};

pub use crate::section::{DATABASE, DIRECTORY, LEAVES};

/// The row has a vector in its block.
pub(crate) const FLAG_VECTOR: u8 = 1;
/// The row has a line in metadata.bin.gz.
pub(crate) const FLAG_METADATA: u8 = 2;
/// The row is a tombstone. Occurs only in increments.
pub(crate) const FLAG_REMOVED: u8 = 4;

/// More than the size of any gzip member that expands to nothing.
const EMPTY_MEMBER_BYTES_MAX: u64 = 64;
/// Bytes of one entry of the directory.
const ENTRY_BYTES: usize = 88;
/// Words of four bytes in an entry.
const ENTRY_WORDS: usize = ENTRY_BYTES / 4;

/// The ids and flags of the rows of a block: the content of its flags-and-ids member.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ids {
    /// One byte per row. Bit 0: the row has a vector; bit 1: it has metadata; bit 2: it is a tombstone.
    pub flags: Vec<u8>,
    /// The ids, one after the other.
    pub text: String,
    /// The end of each id in `text`.
    pub ends: Vec<usize>,
}

impl Ids {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, id: &str, flags: u8) {
        self.flags.push(flags);
        self.text.push_str(id);
        self.ends.push(self.text.len());
    }

    /// Returns the id of row `at`, or an empty string if there is no such row.
    pub fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(at).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    /// Returns the content of the flags-and-ids member, before compression.
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

    /// Decodes the content of the flags-and-ids member of a block of `rows`. The inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the content is malformed, or if the ids do not ascend.
    pub fn decode(raw: &[u8], rows: usize) -> Result<Self> {
        let malformed = || FormatError::corrupt("the ids of the block are malformed");
        let (flags, rest) = raw.split_at_checked(rows).ok_or_else(malformed)?;
        let (lengths, text) = rest.split_at_checked(rows.saturating_mul(4)).ok_or_else(malformed)?;
        let text = std::str::from_utf8(text).map_err(|error| malformed().with_source(error))?;
        let mut ids = Self { flags: flags.to_vec(), text: text.to_owned(), ends: Vec::with_capacity(rows) };
        let mut end = 0usize;
        let mut last: Option<&str> = None;
        for length in lengths.as_chunks::<4>().0 {
            let start = end;
            end = start.saturating_add(u32::from_le_bytes(*length) as usize);
            let id = text.get(start..end).filter(|id| id.len() <= limits::ID_BYTES).ok_or_else(malformed)?;
            if last.is_some_and(|last| last >= id) {
                return Err(FormatError::corrupt("the ids of the block are not in order"));
            }
            last = Some(id);
            ids.ends.push(end);
        }
        if end != text.len() {
            return Err(malformed());
        }
        Ok(ids)
    }
}

/// One entry of the block directory: where the pieces of a block are, and their sizes and checksums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockEntry {
    /// The number of the block in its snapshot, from 0. It is not stored: it is the place of the entry.
    pub number: usize,
    /// Rows of the block.
    pub rows: u32,
    /// Rows that have a vector in this block.
    pub vector_rows: u32,
    /// Rows that have a metadata line.
    pub metadata_rows: u32,
    /// Size of the flags-and-ids member, after expansion.
    pub ids_raw_bytes: u32,
    /// Offset of the piece in vectors.bin.gz.
    pub vectors_offset: u64,
    /// Sizes of the members of the four planes.
    pub plane_bytes: [u32; PLANES],
    /// CRC-32 of the piece in vectors.bin.gz, as stored.
    pub vectors_crc32: u32,
    /// Size of the flags-and-ids member.
    pub ids_bytes: u32,
    /// Offset of the piece in index.bin.gz.
    pub index_offset: u64,
    /// Size of the digests member.
    pub digests_bytes: u32,
    /// CRC-32 of the piece in index.bin.gz, as stored.
    pub index_crc32: u32,
    /// Offset of the piece in metadata.bin.gz.
    pub payloads_offset: u64,
    /// Size of the piece in metadata.bin.gz; 0 if no row has metadata.
    pub payloads_bytes: u32,
    /// Size of this piece, after expansion.
    pub payloads_raw_bytes: u32,
    /// CRC-32 of this piece, as stored.
    pub payloads_crc32: u32,
    /// The id of the first row.
    pub first_id: String,
}

impl BlockEntry {
    /// Returns where the piece of the block is in a data file.
    pub fn range(&self, file: DataFile) -> Range<u64> {
        let (start, bytes) = match file {
            DataFile::Vectors => (self.vectors_offset, self.plane_bytes.iter().map(|bytes| u64::from(*bytes)).sum()),
            DataFile::Index => (self.index_offset, u64::from(self.ids_bytes) + u64::from(self.digests_bytes)),
            DataFile::Payloads => (self.payloads_offset, u64::from(self.payloads_bytes)),
        };
        start..start.saturating_add(bytes)
    }

    /// Returns the CRC-32 of the piece of the block in a data file, as stored.
    pub fn crc32(&self, file: DataFile) -> u32 {
        match file {
            DataFile::Vectors => self.vectors_crc32,
            DataFile::Index => self.index_crc32,
            DataFile::Payloads => self.payloads_crc32,
        }
    }

    /// Returns the size of the piece of the block in a data file, after expansion.
    pub fn raw_bytes(&self, file: DataFile, dimensions: u64) -> u64 {
        match file {
            DataFile::Vectors => u64::from(self.vector_rows).saturating_mul(dimensions).saturating_mul(4),
            DataFile::Index => u64::from(self.ids_raw_bytes) + u64::from(self.rows) * DIGEST_BYTES as u64,
            DataFile::Payloads => u64::from(self.payloads_raw_bytes),
        }
    }

    /// Returns whether the block has one row, which is large, see [`large::LARGE_ROW_BYTES`].
    pub fn is_large(&self, dimensions: u64) -> bool {
        let content_bytes =
            self.raw_bytes(DataFile::Vectors, dimensions).saturating_add(self.payloads_raw_bytes.into());
        self.rows == 1 && content_bytes > large::LARGE_ROW_BYTES as u64
    }

    /// Returns whether the block has one row, and the metadata of that row alone makes it large.
    pub fn has_large_metadata(&self) -> bool {
        // A line holds the id, each byte of which is escaped in the worst case, and the punctuation around it.
        let rest_bytes = 6 * self.first_id.len() + 64;
        self.rows == 1 && self.payloads_raw_bytes as usize > large::LARGE_ROW_BYTES + rest_bytes
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
            number: 0,
            rows,
            vector_rows,
            metadata_rows,
            ids_raw_bytes,
            vectors_offset: joined(vectors_low, vectors_high),
            plane_bytes: [plane0, plane1, plane2, plane3],
            vectors_crc32,
            ids_bytes,
            index_offset: joined(index_low, index_high),
            digests_bytes,
            index_crc32,
            payloads_offset: joined(payloads_low, payloads_high),
            payloads_bytes,
            payloads_raw_bytes,
            payloads_crc32,
            first_id,
        }
    }
}

/// Returns the content of the section [`DIRECTORY`], before compression.
pub fn encode_directory(entries: &[BlockEntry]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(entries.len() * (ENTRY_BYTES + 32));
    raw.extend(entries.iter().flat_map(|entry| entry.words()).flat_map(u32::to_le_bytes));
    raw.extend(entries.iter().flat_map(|entry| (entry.first_id.len() as u32).to_le_bytes()));
    for entry in entries {
        raw.extend_from_slice(entry.first_id.as_bytes());
    }
    raw
}

/// Decodes the content of the section [`DIRECTORY`], after expansion. Checks every number in it against metadata.json
/// and the limits of the format.
///
/// # Errors
///
/// Returns `Corrupt` if anything does not fit.
pub fn decode_directory(raw: &[u8], metadata: &SnapshotMetadata) -> Result<Vec<BlockEntry>> {
    let malformed = || FormatError::corrupt("the block directory is malformed");
    let blocks = usize::try_from(metadata.blocks).map_err(|_| malformed())?;
    let (entries_raw, rest) =
        blocks.checked_mul(ENTRY_BYTES).and_then(|at| raw.split_at_checked(at)).ok_or_else(malformed)?;
    let (lengths, ids) = rest.split_at_checked(blocks * 4).ok_or_else(malformed)?;
    let ids = std::str::from_utf8(ids).map_err(|error| malformed().with_source(error))?;
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
            return Err(malformed());
        }
        let start = id_end;
        id_end = start.saturating_add(u32::from_le_bytes(*length) as usize);
        let first_id = ids.get(start..id_end).ok_or_else(malformed)?;
        let entry = BlockEntry::from_words(words, first_id.to_owned());
        entries.push(BlockEntry { number: entries.len(), ..entry });
    }
    if id_end != ids.len() {
        return Err(malformed());
    }
    validate_directory(&entries, metadata)?;
    Ok(entries)
}

/// Returns the content of the section [`DATABASE`], before compression.
///
/// # Errors
///
/// Returns `InvalidInput` if the description is larger than the limits of the format, or if the JSON is nested so deeply
/// that it could not be read back, and `Internal` if `database` cannot be written as JSON.
pub fn encode_database(database: &DatabaseInfo) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(database).map_err(|error| {
        FormatError::internal("the description of the database cannot be written as JSON").with_source(error)
    })?;
    let refused =
        |why: String| FormatError::invalid_input(format!("the description of the database cannot be stored: {why}"));
    let remedy = "remove those that are not needed from its table \"config\"";
    let (rows, bytes) = (database.rows.len(), json.len() as u64);
    if rows > limits::CONFIG_ROWS {
        return Err(refused(format!(
            "it has {rows} settings, more than the {} allowed; {remedy}",
            limits::CONFIG_ROWS
        )));
    }
    if bytes > limits::DATABASE_SECTION_BYTES {
        let limit_bytes = limits::DATABASE_SECTION_BYTES;
        return Err(refused(format!("its settings have {bytes} bytes, more than the {limit_bytes} allowed; {remedy}")));
    }
    // A commit is final, so never write what cannot be read: JSON can be nested too deeply.
    parse_database(&json).map_err(|error| refused(error.message().to_owned()).with_source(error))?;
    Ok(json)
}

/// Decodes the content of the section [`DATABASE`], after expansion, and compares it with metadata.json.
///
/// # Errors
///
/// Returns `Corrupt` if the content is malformed, or if it contradicts metadata.json.
pub fn decode_database(raw: &[u8], metadata: &SnapshotMetadata) -> Result<DatabaseInfo> {
    let database =
        parse_database(raw).map_err(|error| error.with_context(format!("section {DATABASE:?} is malformed")))?;
    if database.dimensions != metadata.dimensions || database.distance_metric != metadata.distance_metric {
        return Err(FormatError::corrupt(format!("section {DATABASE:?} does not agree with metadata.json")));
    }
    Ok(database)
}

/// Parses the content of the section [`DATABASE`]. JSON of any shape is parsed only if it is small: parsed values can take
/// a hundred times as much memory as the text.
fn parse_database(raw: &[u8]) -> Result<DatabaseInfo> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        dimensions: u64,
        #[serde(borrow)]
        distance_metric: Option<Cow<'a, str>>,
        #[serde(borrow)]
        hnsw_config: &'a RawValue,
        #[serde(borrow)]
        quantization: &'a RawValue,
        rows: ConfigRows,
    }
    let not_json =
        |error: serde_json::Error| FormatError::corrupt(format!("it cannot be read: {error}")).with_source(error);
    let stored: Stored<'_> = serde_json::from_slice(raw).map_err(not_json)?;
    let option = |name: &str, json: &RawValue| {
        if json.get().len() > limits::OPTION_JSON_BYTES {
            let bytes = json.get().len();
            return Err(FormatError::corrupt(format!("the option {name} has {bytes} bytes, more than an option has")));
        }
        serde_json::from_str(json.get()).map_err(not_json)
    };
    Ok(DatabaseInfo {
        dimensions: stored.dimensions,
        distance_metric: stored.distance_metric.map(Cow::into_owned),
        hnsw_config: option("hnsw_config", stored.hnsw_config)?,
        quantization: option("quantization", stored.quantization)?,
        rows: stored.rows.0.ok_or_else(|| {
            FormatError::corrupt(format!(
                "the table \"config\" has too many settings, more than the {} that a snapshot can have",
                limits::CONFIG_ROWS
            ))
        })?,
    })
}

/// The rows of the table `config`. `None` if they are too many.
struct ConfigRows(Option<BTreeMap<String, String>>);

impl<'de> Deserialize<'de> for ConfigRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = ConfigRows;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the rows of the table \"config\"")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut rows = BTreeMap::new();
                while let Some((name, text)) = map.next_entry()? {
                    rows.insert(name, text);
                    if rows.len() > limits::CONFIG_ROWS {
                        drop(rows);
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(ConfigRows(None));
                    }
                }
                Ok(ConfigRows(Some(rows)))
            }
        }
        deserializer.deserialize_map(Rows)
    }
}

fn validate_directory(entries: &[BlockEntry], metadata: &SnapshotMetadata) -> Result<()> {
    let mut rows = 0u64;
    for (at, entry) in entries.iter().enumerate() {
        validate_entry(entry, metadata)
            .map_err(|error| error.with_context(format!("the block directory is corrupt at block {at}")))?;
        rows += u64::from(entry.rows);
    }
    if !entries.is_sorted_by(|one, next| one.first_id < next.first_id) {
        return Err(FormatError::corrupt("the blocks of the directory are not in the order of their ids"));
    }
    if rows != metadata.rows() {
        return Err(FormatError::corrupt(format!(
            "the blocks have {rows} rows, but metadata.json records {}",
            metadata.rows()
        )));
    }
    for file in DataFile::ALL {
        validate_extent(entries, metadata, file)?;
    }
    Ok(())
}

/// Checks that every byte of a data file belongs to exactly one piece or section.
fn validate_extent(entries: &[BlockEntry], metadata: &SnapshotMetadata, file: DataFile) -> Result<()> {
    let info = metadata.file(file)?;
    let mut end = 0u64;
    let mut raw_bytes = 0u64;
    for (at, entry) in entries.iter().enumerate() {
        let range = entry.range(file);
        if range.start != end {
            return Err(FormatError::corrupt(format!("block {at} is not at its place in {}", file.name())));
        }
        end = range.end;
        raw_bytes = raw_bytes.saturating_add(entry.raw_bytes(file, metadata.dimensions));
    }
    if file == DataFile::Index {
        for section in &metadata.sections {
            if section.offset != end {
                return Err(FormatError::corrupt(format!(
                    "section {:?} is not at its place in index.bin.gz",
                    section.name
                )));
            }
            end = end.saturating_add(section.bytes);
            raw_bytes = raw_bytes.saturating_add(section.raw_bytes);
        }
    }
    // A file without members consists of one member that expands to nothing.
    let fits = if end == 0 { info.bytes <= EMPTY_MEMBER_BYTES_MAX } else { info.bytes == end };
    if !fits || raw_bytes != info.raw_bytes {
        return Err(FormatError::corrupt(format!(
            "the sizes of the blocks do not add up to the size of {}",
            file.name()
        )));
    }
    Ok(())
}

fn validate_entry(entry: &BlockEntry, metadata: &SnapshotMetadata) -> Result<()> {
    let rows = entry.rows as usize;
    if rows == 0 || rows > limits::BLOCK_ROWS {
        return Err(FormatError::corrupt(format!("it has {rows} rows, but a block has 1 to {}", limits::BLOCK_ROWS)));
    }
    let is_full = metadata.changes.is_none();
    if entry.vector_rows > entry.rows || entry.metadata_rows > entry.rows || is_full && entry.vector_rows != entry.rows
    {
        return Err(FormatError::corrupt("its numbers of vectors and metadata lines do not fit its rows"));
    }
    if (entry.plane_bytes == [0; PLANES]) != (entry.vector_rows == 0) {
        return Err(FormatError::corrupt("the size of its piece in vectors.bin.gz does not fit its rows"));
    }
    if (entry.payloads_bytes == 0) != (entry.metadata_rows == 0) {
        return Err(FormatError::corrupt("the size of its piece in metadata.bin.gz does not fit its rows"));
    }
    let id_limit = if rows == 1 { limits::ID_BYTES + 5 } else { limits::BLOCK_BYTES };
    let vectors_limit = if rows == 1 { limits::VECTOR_BYTES } else { limits::BLOCK_BYTES };
    // A line holds the id, each byte of which is escaped in the worst case, and the punctuation around it.
    let payloads_limit =
        if rows == 1 { limits::RECORD_METADATA_BYTES + 6 * limits::ID_BYTES + 64 } else { limits::BLOCK_BYTES };
    let raw = |file| entry.raw_bytes(file, metadata.dimensions);
    if entry.ids_raw_bytes as usize > id_limit
        || raw(DataFile::Vectors) > vectors_limit as u64
        || raw(DataFile::Payloads) > payloads_limit as u64
    {
        return Err(FormatError::corrupt("it is larger than the limits of the format allow"));
    }
    for file in DataFile::ALL {
        let range = entry.range(file);
        check_expansion(range.end - range.start, raw(file))?;
        check_overhead(range.end - range.start, raw(file))?;
    }
    Ok(())
}

fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
