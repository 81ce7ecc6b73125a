//! From the files of a snapshot to its records, in memory and without async code: for other programs, WebAssembly and
//! fuzzers.
//!
//! [`Reader`] reads one snapshot through [`ReadAt`], which returns ranges of its data files. [`MemoryFiles`] holds them
//! in memory. A reader checks everything that it reads: sizes, CRC-32s, the digest of every record, and the content
//! checksum. It does not merge the snapshots of a chain.

use std::borrow::Cow;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::block::{Block, BlockOrder};
use crate::checksum::{ContentSum, hex};
use crate::codec::piece;
use crate::error::{FormatError, Result};
use crate::id::SnapshotId;
use crate::index::{self, BlockEntry};
use crate::irregular::{Decoder, OwnedIrregularItem};
use crate::layout::{self, DataFile};
use crate::leaves;
use crate::limits;
use crate::metadata::{SectionInfo, SnapshotMetadata};
use crate::model::{Change, DatabaseInfo, LeafTable, OwnedChangedRow, OwnedRecord};
use crate::writer::Pieces;

/// Reads ranges of the data files of one snapshot.
///
/// This implementation reads a local directory:
///
/// ```
/// use std::borrow::Cow;
/// use std::fs::File;
/// use std::io::{Read, Seek, SeekFrom};
/// use std::ops::Range;
/// use std::path::PathBuf;
///
/// use ruvector_snapshot_format::Result;
/// use ruvector_snapshot_format::layout::DataFile;
/// use ruvector_snapshot_format::reader::ReadAt;
///
/// struct Directory(PathBuf);
///
/// impl ReadAt for Directory {
///     fn read_at(&self, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
///         let mut file = File::open(self.0.join(file.name()))?;
///         file.seek(SeekFrom::Start(range.start))?;
///         let mut bytes = Vec::new();
///         file.take(range.end - range.start).read_to_end(&mut bytes)?;
///         Ok(bytes.into())
///     }
/// }
/// ```
pub trait ReadAt {
    /// Returns the bytes of a range of a data file. If the file ends before the range, returns fewer bytes, or an
    /// error.
    ///
    /// # Errors
    ///
    /// Returns [`Io`](crate::FormatErrorKind::Io) if the file cannot be read. `?` converts an [`std::io::Error`].
    fn read_at(&self, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>>;
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        (**self).read_at(file, range)
    }
}

/// The three data files of a snapshot, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryFiles {
    /// The content of vectors.bin.gz.
    pub vectors: Vec<u8>,
    /// The content of index.bin.gz.
    pub index: Vec<u8>,
    /// The content of metadata.bin.gz.
    pub payloads: Vec<u8>,
}

impl MemoryFiles {
    /// Appends what a [`Writer`](crate::writer::Writer) returned.
    pub fn append(&mut self, pieces: Pieces) {
        let [vectors, index, payloads] = pieces;
        self.vectors.extend(vectors);
        self.index.extend(index);
        self.payloads.extend(payloads);
    }

    /// Returns the content of a file.
    pub fn file(&self, file: DataFile) -> &[u8] {
        match file {
            DataFile::Vectors => &self.vectors,
            DataFile::Index => &self.index,
            DataFile::Payloads => &self.payloads,
        }
    }
}

impl ReadAt for MemoryFiles {
    fn read_at(&self, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        let content = self.file(file);
        let [start, end] =
            [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX).min(content.len()));
        Ok(content.get(start..end).unwrap_or_default().into())
    }
}

/// Reads one snapshot, full or incremental.
///
/// ```
/// # use ruvector_snapshot_format::{SnapshotId, block::Block, chrono, metadata::SnapshotMetadata};
/// # use ruvector_snapshot_format::{model::{DatabaseInfo, Record}, reader::MemoryFiles, writer::Writer};
/// # let database = DatabaseInfo { dimensions: 2, ..DatabaseInfo::default() };
/// # let mut block = Block::new(2);
/// # let vector: Vec<u8> = [0.5f32, -1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
/// # block.push(Record { id: "a", vector: &vector, metadata: Some("{}") })?;
/// # let (mut files, mut writer) = (MemoryFiles::default(), Writer::new());
/// # files.append(writer.append(block.pack(6)?));
/// # let (pieces, data) = writer.finish(&database, None, 6)?;
/// # files.append(pieces);
/// # let created_at: chrono::DateTime<chrono::Utc> = "2026-01-31T08:00:00Z".parse()?;
/// # let id = SnapshotId::new(created_at, 1)?;
/// # let metadata_json = SnapshotMetadata::new(id.clone(), "example", created_at, &database, data).encode()?;
/// use ruvector_snapshot_format::reader::Reader;
///
/// // `metadata_json` and `files` are the stored files of snapshot `id`.
/// let reader = Reader::open(&metadata_json, &id, files)?;
/// assert_eq!(reader.database()?.dimensions, 2);
/// for record in reader.records()? {
///     let record = record?;
///     assert_eq!(record.id, "a");
///     assert_eq!(record.values().collect::<Vec<_>>(), [0.5, -1.0]);
///     assert_eq!(record.metadata.as_deref(), Some("{}"));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader<S> {
    source: S,
    metadata: SnapshotMetadata,
    dimensions: usize,
    directory: Vec<BlockEntry>,
}

impl<S: ReadAt> Reader<S> {
    /// Opens snapshot `id`: decodes the bytes of its metadata.json, and reads its block directory.
    ///
    /// # Errors
    ///
    /// Returns `Unsupported` for a newer version of the format, and `Corrupt` if metadata.json or the directory is
    /// corrupt.
    pub fn open(metadata_json: &[u8], id: &SnapshotId, source: S) -> Result<Self> {
        let in_metadata_json = |error: FormatError| error.with_file(layout::METADATA_JSON);
        let metadata = SnapshotMetadata::decode(metadata_json, id).map_err(in_metadata_json)?;
        let section = metadata.section(index::DIRECTORY).map_err(in_metadata_json)?;
        let raw = read_section(&source, section)?;
        let directory = index::decode_directory(&raw, &metadata).map_err(in_index)?;
        // Within the limits, since decoding has checked them.
        let dimensions = usize::try_from(metadata.dimensions).unwrap_or(usize::MAX);
        Ok(Self { source, metadata, dimensions, directory })
    }

    /// Returns the content of metadata.json.
    pub fn metadata(&self) -> &SnapshotMetadata {
        &self.metadata
    }

    /// Returns the block directory: one entry per block, in id order.
    pub fn directory(&self) -> &[BlockEntry] {
        &self.directory
    }

    /// Reads the description of the database.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if it is corrupt or contradicts metadata.json.
    pub fn database(&self) -> Result<DatabaseInfo> {
        let section = self.metadata.section(index::DATABASE).map_err(|error| error.with_file(layout::METADATA_JSON))?;
        let raw = read_section(&self.source, section)?;
        index::decode_database(&raw, &self.metadata).map_err(in_index)
    }

    /// Reads the leaf tables `vectors` and `metadata`. `base` are those of the base of an increment. Returns `None` if
    /// the snapshot has none.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if they are corrupt or do not fit those of the base.
    pub fn leaves(&self, base: Option<&[LeafTable; 2]>) -> Result<Option<[LeafTable; 2]>> {
        let Some(section) = self.metadata.find_section(index::LEAVES) else { return Ok(None) };
        let raw = read_section(&self.source, section)?;
        leaves::decode(&raw, base).map(Some).map_err(in_index)
    }

    /// Reads block `at`, and verifies the digest of every row that has its vector in it.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if there is no such block, and `Corrupt` if it is corrupt.
    pub fn block(&self, at: usize) -> Result<Block> {
        self.unpack(at).map(|(block, _)| block)
    }

    /// Returns the blocks in order. Verifies them as [`records`](Self::records) and [`changes`](Self::changes) do.
    pub fn blocks(&self) -> Blocks<'_, S> {
        Blocks {
            reader: self,
            next: 0,
            checksum: ContentSum::default(),
            removed: 0,
            order: BlockOrder::default(),
            is_done: false,
        }
    }

    /// Returns the records of a full snapshot, in id order.
    ///
    /// The digest of every record is verified before it is returned. The content checksum is verified at the end: if it
    /// does not match, the last item is an error.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the snapshot is an increment.
    pub fn records(&self) -> Result<Records<'_, S>> {
        if self.metadata.changes.is_some() {
            let what = "an increment has no records of its own; read its changes, or restore the chain";
            return Err(FormatError::invalid_input(what));
        }
        Ok(Records { blocks: self.blocks(), block: Block::default(), at: 0 })
    }

    /// Returns the rows of an increment, in id order.
    ///
    /// The digest of every row with a vector is verified before it is returned. The number of tombstones is verified at
    /// the end. The content checksum can only be verified together with the base.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the snapshot is full.
    pub fn changes(&self) -> Result<ChangedRows<'_, S>> {
        if self.metadata.changes.is_none() {
            return Err(FormatError::invalid_input("a full snapshot has no changes; read its records"));
        }
        Ok(ChangedRows { blocks: self.blocks(), block: Block::default(), at: 0 })
    }

    /// Returns the irregular rows of the state, in order.
    ///
    /// Empty if the snapshot has none. Also empty if it is an increment that leaves them to its base: then
    /// `metadata().irregular` is set, but `metadata().irregular_sections()` is empty.
    ///
    /// Each table comes before its rows. If they do not match metadata.json, the last item is an error.
    pub fn irregular(&self) -> IrregularItems<'_, S> {
        let sections = self.metadata.irregular_sections().collect::<Vec<_>>().into_iter();
        let decoder = if sections.as_slice().is_empty() { None } else { Some(self.metadata.irregular_decoder()) };
        IrregularItems { reader: self, sections, decoder }
    }

    /// Reads the three data files completely, and compares their SHA-256 with metadata.json.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt`, with the name of the file, if one of them differs.
    pub fn check_files(&self) -> Result<()> {
        for file in DataFile::ALL {
            let info = self.metadata.file(file)?;
            let mut hash = Sha256::new();
            for start in (0..info.bytes).step_by(limits::BLOCK_BYTES) {
                let end = info.bytes.min(start + limits::BLOCK_BYTES as u64);
                hash.update(read_exact(&self.source, file, start..end)?);
            }
            if hex(&hash.finalize()) != info.sha256 {
                let what = "the file does not match its SHA-256 in metadata.json";
                return Err(FormatError::corrupt(what).with_file(file.name()));
            }
        }
        Ok(())
    }

    fn unpack(&self, at: usize) -> Result<(Block, ContentSum)> {
        let entry = self.directory.get(at).ok_or_else(|| {
            FormatError::invalid_input(format!(
                "there is no block {at}; the snapshot has {} blocks",
                self.directory.len()
            ))
        })?;
        let [vectors, index, payloads] = DataFile::ALL.map(|file| read_exact(&self.source, file, entry.range(file)));
        let pieces = [vectors?, index?, payloads?];
        Block::unpack(entry, self.dimensions, pieces.each_ref().map(|piece| piece.as_ref()))
            .map_err(|error| error.with_context(format!("block {at}")).with_file(DataFile::Index.name()))
    }
}

/// The blocks of a snapshot, in order. See [`Reader::blocks`].
#[derive(Debug, Clone)]
pub struct Blocks<'a, S> {
    reader: &'a Reader<S>,
    next: usize,
    checksum: ContentSum,
    removed: u64,
    order: BlockOrder,
    is_done: bool,
}

impl<S: ReadAt> Iterator for Blocks<'_, S> {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let item = if self.next < self.reader.directory.len() {
            Some(self.next_block())
        } else {
            self.check_totals().err().map(Err)
        };
        self.is_done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<S: ReadAt> Blocks<'_, S> {
    fn next_block(&mut self) -> Result<Block> {
        let at = self.next;
        let (block, sum) = self.reader.unpack(at)?;
        // The directory has shown that the first ids ascend, not that a block ends before the next one.
        if !self.order.follows(&block) {
            let what = format!("block {at}: its ids are not in order with those of the block before");
            return Err(in_index(FormatError::corrupt(what)));
        }
        self.next += 1;
        self.checksum.merge(&sum);
        self.removed += (0..block.len()).filter(|row| block.change(*row).change == Change::Removed).count() as u64;
        Ok(block)
    }

    fn check_totals(&self) -> Result<()> {
        let metadata = &self.reader.metadata;
        let (what, is_intact) = match metadata.changes {
            None => {
                let mut checksum = self.checksum;
                checksum.merge(&metadata.irregular_checksum());
                ("the records do not match the content checksum", checksum == metadata.checksum)
            }
            Some(changes) => ("the tombstones are not as many as recorded", self.removed == changes.removed),
        };
        if is_intact { Ok(()) } else { Err(FormatError::corrupt(what).with_file(layout::METADATA_JSON)) }
    }
}

/// The records of a full snapshot, in id order. See [`Reader::records`].
#[derive(Debug, Clone)]
pub struct Records<'a, S> {
    blocks: Blocks<'a, S>,
    block: Block,
    at: usize,
}

impl<S: ReadAt> Iterator for Records<'_, S> {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        match next_row(&mut self.blocks, &mut self.block, &mut self.at)? {
            Ok(at) => Some(Ok(self.block.row(at).into())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The irregular rows of a state. See [`Reader::irregular`].
#[derive(Debug)]
pub struct IrregularItems<'a, S> {
    reader: &'a Reader<S>,
    sections: std::vec::IntoIter<&'a SectionInfo>,
    /// `None` after the end, and after an error.
    decoder: Option<Decoder>,
}

impl<S: ReadAt> IrregularItems<'_, S> {
    fn read(&mut self) -> Result<Option<OwnedIrregularItem>> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        loop {
            if let Some(item) = decoder.next_item().map_err(in_index)? {
                return Ok(Some(item.into()));
            }
            let Some(section) = self.sections.next() else { break };
            decoder.feed(&read_section(&self.reader.source, section)?);
        }
        let counts = self.decoder.take().unwrap_or_default().finish().map_err(in_index)?;
        if self.reader.metadata.irregular.as_ref().is_some_and(|info| info.fits(&counts)) {
            return Ok(None);
        }
        let what = "the irregular rows do not match their counts and their checksum";
        Err(FormatError::corrupt(what).with_file(layout::METADATA_JSON))
    }
}

impl<S: ReadAt> Iterator for IrregularItems<'_, S> {
    type Item = Result<OwnedIrregularItem>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read();
        if item.is_err() {
            self.decoder = None;
        }
        item.transpose()
    }
}

/// The rows of an increment, in id order. See [`Reader::changes`].
#[derive(Debug, Clone)]
pub struct ChangedRows<'a, S> {
    blocks: Blocks<'a, S>,
    block: Block,
    at: usize,
}

impl<S: ReadAt> Iterator for ChangedRows<'_, S> {
    type Item = Result<OwnedChangedRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match next_row(&mut self.blocks, &mut self.block, &mut self.at)? {
            Ok(at) => Some(Ok(self.block.change(at).into())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Returns the position of the next row in `block`. Reads the next block if all rows of `block` have been returned.
fn next_row<S: ReadAt>(blocks: &mut Blocks<'_, S>, block: &mut Block, at: &mut usize) -> Option<Result<usize>> {
    while *at >= block.len() {
        *at = 0;
        *block = Block::default();
        match blocks.next()? {
            Ok(next) => *block = next,
            Err(error) => return Some(Err(error)),
        }
    }
    let row = *at;
    *at += 1;
    Some(Ok(row))
}

fn read_section<S: ReadAt>(source: &S, section: &SectionInfo) -> Result<Vec<u8>> {
    let stored = read_exact(source, DataFile::Index, section.range())?;
    piece::expand_section(&stored, section).map_err(in_index)
}

/// Reads a range, and checks that all of it was returned.
fn read_exact<S: ReadAt>(source: &S, file: DataFile, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
    if range.is_empty() {
        return Ok(Cow::Borrowed(&[]));
    }
    let bytes = source.read_at(file, range.clone()).map_err(|error| error.with_file(file.name()))?;
    if bytes.len() as u64 != range.end - range.start {
        let what = format!("the file ends before byte {}", range.end);
        return Err(FormatError::corrupt(what).with_file(file.name()));
    }
    Ok(bytes)
}

fn in_index(error: FormatError) -> FormatError {
    error.with_file(DataFile::Index.name())
}
