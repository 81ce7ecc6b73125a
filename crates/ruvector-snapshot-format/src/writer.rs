//! From packed blocks to the files of a snapshot: offsets, checksums and sections. Does no I/O.
//!
//! The caller appends the bytes that each step returns to the three data files, in any store, and writes
//! `checksum.sha256` and `metadata.json` last.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::block::PackedBlock;
use crate::checksum::{ContentSum, hex};
use crate::codec::piece;
use crate::error::Result;
use crate::id::SnapshotId;
use crate::index::{self, BlockEntry};
use crate::irregular;
use crate::labels::Labels;
use crate::layout::DataFile;
use crate::limits;
use crate::metadata::{FORMAT, FORMAT_VERSION_WITHOUT_IRREGULAR, FileInfo, SectionInfo, SnapshotMetadata, SourceInfo};
use crate::model::{DatabaseInfo, SnapshotType};
use crate::raw_json::RawJson;

/// Bytes to append to each of the data files, in the order of [`DataFile::ALL`].
pub type Pieces = [Vec<u8>; 3];

/// Assembles the data files of one snapshot from blocks in id order.
///
/// ```
/// use ruvector_snapshot_format::block::Block;
/// use ruvector_snapshot_format::metadata::SnapshotMetadata;
/// use ruvector_snapshot_format::model::{DatabaseInfo, Record};
/// use ruvector_snapshot_format::reader::{MemoryFiles, Reader};
/// use ruvector_snapshot_format::writer::Writer;
/// use ruvector_snapshot_format::{SnapshotId, chrono};
///
/// let database = DatabaseInfo { dimensions: 2, distance_metric: Some("Cosine".into()), ..DatabaseInfo::default() };
/// let mut block = Block::new(2);
/// block.push(Record { id: "a", vector: &[0; 8], metadata: None })?;
/// block.push(Record { id: "b", vector: &[1; 8], metadata: Some(r#"{"n":1}"#) })?;
///
/// let mut files = MemoryFiles::default();
/// let mut writer = Writer::new();
/// files.append(writer.append(block.pack(6)?));
/// let (pieces, data) = writer.finish(&database, None, 6)?;
/// files.append(pieces);
///
/// let created_at: chrono::DateTime<chrono::Utc> = "2026-01-31T08:00:00Z".parse()?;
/// let id = SnapshotId::new(created_at, 1)?;
/// let metadata = SnapshotMetadata::new(id.clone(), "example", created_at, &database, data);
/// let metadata_json = metadata.encode()?;
///
/// assert_eq!(Reader::open(&metadata_json, &id, files)?.records()?.count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Writer {
    /// In the order of [`DataFile::ALL`].
    files: [FileState; 3],
    entries: Vec<BlockEntry>,
    sections: Vec<SectionInfo>,
    checksum: ContentSum,
    rows: u64,
}

/// What was written to the data files of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSummary {
    /// The three data files, by name.
    pub files: BTreeMap<String, FileInfo>,
    /// The number of blocks.
    pub blocks: u64,
    /// The sections of index.bin.gz, in order.
    pub sections: Vec<SectionInfo>,
    /// The number of rows in all blocks.
    pub rows: u64,
    /// The sum of the digests of all rows. For a full snapshot without irregular rows, this is the content checksum.
    pub checksum: ContentSum,
}

/// What has been written to one data file.
#[derive(Debug, Default)]
struct FileState {
    hash: Sha256,
    bytes: u64,
    raw_bytes: u64,
}

impl FileState {
    fn append(&mut self, piece: &[u8], raw_bytes: u64) {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        self.raw_bytes += raw_bytes;
    }

    fn finish(self) -> FileInfo {
        FileInfo { bytes: self.bytes, sha256: hex(&self.hash.finalize()), raw_bytes: self.raw_bytes }
    }
}

impl Writer {
    /// Creates a writer of a snapshot without blocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a block, and returns its pieces. The ids of the block must follow those of the blocks before.
    pub fn append(&mut self, block: PackedBlock) -> Pieces {
        let PackedBlock { vectors, index, payloads, mut entry, sum, raw_bytes } = block;
        let [vectors_offset, index_offset, payloads_offset] = self.files.each_ref().map(|file| file.bytes);
        entry.number = self.entries.len();
        entry.vectors_offset = vectors_offset;
        entry.index_offset = index_offset;
        entry.payloads_offset = payloads_offset;
        self.rows += u64::from(entry.rows);
        self.checksum.merge(&sum);
        self.entries.push(entry);
        let pieces = [vectors, index, payloads];
        for ((file, piece), raw_bytes) in self.files.iter_mut().zip(&pieces).zip(raw_bytes) {
            file.append(piece, raw_bytes);
        }
        pieces
    }

    /// Returns the number of rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the sum of the digests of the rows so far. For a full snapshot, this is the content checksum.
    pub fn checksum(&self) -> ContentSum {
        self.checksum
    }

    /// Adds the next section of irregular rows, see [`Encoder`](irregular::Encoder), and returns its bytes. No block
    /// can be added after it. `level` is the compression level, 0 to 9.
    ///
    /// The caller must describe the irregular rows in the metadata, see
    /// [`SnapshotMetadata::set_irregular`].
    ///
    /// # Errors
    ///
    /// Returns an error if the section cannot be compressed.
    pub fn append_irregular(&mut self, raw: &[u8], level: u32) -> Result<Pieces> {
        let name = irregular::section_name(self.sections.len());
        let stored = piece::pack_irregular_section(raw, level)?;
        self.append_section(name, &stored, raw.len());
        Ok([Vec::new(), stored, Vec::new()])
    }

    fn append_section(&mut self, name: String, stored: &[u8], raw_bytes: usize) {
        let [_, file, _] = &mut self.files;
        let (offset, bytes, raw_bytes) = (file.bytes, stored.len() as u64, raw_bytes as u64);
        self.sections.push(SectionInfo { name, offset, bytes, raw_bytes });
        file.append(stored, raw_bytes);
    }

    /// Returns the sections, and a summary of all that was written. `leaves` is the content of the section
    /// [`LEAVES`](index::LEAVES), and `level` the compression level of the sections, 0 to 9.
    ///
    /// `leaves` are left out if they are larger than the limit of a section. The next increment is then slower.
    ///
    /// # Errors
    ///
    /// Returns `Internal` if a section cannot be encoded.
    pub fn finish(
        mut self,
        database: &DatabaseInfo,
        leaves: Option<Vec<u8>>,
        level: u32,
    ) -> Result<(Pieces, DataSummary)> {
        let directory = (index::DIRECTORY, index::encode_directory(&self.entries));
        let database = (index::DATABASE, index::encode_database(database)?);
        let leaves = leaves.filter(|raw| raw.len() as u64 <= limits::SECTION_BYTES).map(|raw| (index::LEAVES, raw));
        let mut pieces = Pieces::default();
        for (name, raw) in [directory, database].into_iter().chain(leaves) {
            let stored = piece::pack_section(name, &raw, level)?;
            self.append_section(name.to_owned(), &stored, raw.len());
            let [_, index, _] = &mut pieces;
            index.extend_from_slice(&stored);
        }
        for (file, piece) in self.files.iter_mut().zip(&mut pieces).filter(|(file, _)| file.bytes == 0) {
            *piece = piece::pack_empty_file()?;
            file.append(piece, 0);
        }
        let names = DataFile::ALL.map(|file| file.name().to_owned());
        let summary = DataSummary {
            files: names.into_iter().zip(self.files.map(FileState::finish)).collect(),
            blocks: self.entries.len() as u64,
            sections: self.sections,
            rows: self.rows,
            checksum: self.checksum,
        };
        Ok((pieces, summary))
    }
}

impl SnapshotMetadata {
    /// Creates the metadata of a full snapshot with this content, without labels and without the user's JSON.
    ///
    /// All fields are public. Set `labels`, `metadata`, `source`, `compression_level` and `writer` as required. For an
    /// increment, also set `snapshot_type`, `changes` and `base_checksum`, and set `vector_count` and `checksum` to
    /// those of the state.
    pub fn new(
        id: SnapshotId,
        name: impl Into<String>,
        created_at: DateTime<Utc>,
        database: &DatabaseInfo,
        data: DataSummary,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION_WITHOUT_IRREGULAR,
            id,
            name: name.into(),
            created_at,
            snapshot_type: SnapshotType::Full,
            vector_count: data.rows,
            changes: None,
            base_checksum: None,
            dimensions: database.dimensions,
            distance_metric: database.distance_metric.clone(),
            checksum: data.checksum,
            irregular: None,
            note: None,
            labels: Labels::default(),
            metadata: RawJson::default(),
            source: SourceInfo::new("memory", None),
            embedding: None,
            compression_level: 6,
            files: data.files,
            blocks: data.blocks,
            sections: data.sections,
            writer: concat!("ruvector-snapshot-format ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
