//! Verifies the blocks of a snapshot. Each is verified by itself, and a corrupt block is a result, not an error.

use std::ops::Range;

use bytes::Bytes;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::codec::crc32;
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::model::Change;
use sha2::{Digest as _, Sha256};

use super::report::{Corruption, is_corruption};
use crate::error::Result;
use crate::repo::context::run_blocking;
use crate::repo::reader::{Pieces, StoredSnapshot};

/// The SHA-256 of a file so far.
pub(super) struct FileHash {
    /// Bytes that can be read. `None` if the file is missing.
    pub(super) readable: Option<u64>,
    pub(super) read: u64,
    pub(super) hash: Sha256,
}

impl FileHash {
    pub(super) fn new(readable: Option<u64>) -> Self {
        Self { readable, read: 0, hash: Sha256::new() }
    }

    pub(super) fn updated(mut self, piece: &[u8]) -> Self {
        self.hash.update(piece);
        self.read += piece.len() as u64;
        self
    }
}

/// A block that was read, and what was found.
pub(super) struct BlockCheck {
    pub(super) at: usize,
    entry: BlockEntry,
    pub(super) pieces: Pieces,
    pub(super) corruption: Vec<Corruption>,
    /// `None` if the block is corrupt.
    pub(super) verified: Option<VerifiedBlock>,
    /// Whether the block is large and was not read yet.
    is_unread: bool,
    /// Whether only the index of the block is read.
    is_index_only: bool,
}

pub(super) struct VerifiedBlock {
    pub(super) sum: ContentSum,
    pub(super) rows: u64,
    /// Rows with vectors. The digests of other rows are verified with the vectors of the base.
    pub(super) records: u64,
    pub(super) removed: u64,
    pub(super) bytes: u64,
    pub(super) first_id: String,
    pub(super) last_id: String,
}

impl BlockCheck {
    fn new(at: usize, entry: BlockEntry, pieces: Pieces) -> Self {
        Self { at, entry, pieces, corruption: Vec::new(), verified: None, is_unread: false, is_index_only: false }
    }
}

/// Reads the pieces of consecutive blocks together. If that shows corruption, reads them block by block, to find out
/// which one is corrupt. A large block is left for [`check_if_large`].
pub(super) async fn fetch_run(
    snapshot: &StoredSnapshot,
    first: usize,
    run: &[BlockEntry],
    sizes: [Option<u64>; 3],
    is_chosen: bool,
) -> Result<Vec<BlockCheck>> {
    match run {
        run if !is_chosen => read_index(snapshot, first, run, sizes).await,
        [large] if snapshot.is_large(large) => {
            let unread = BlockCheck { is_unread: true, ..BlockCheck::new(first, large.clone(), Pieces::default()) };
            Ok(vec![unread])
        }
        run => read_run(snapshot, first, run, sizes).await,
    }
}

/// Reads and verifies a large block, when those before it are in memory no more. Returns any other as it is.
pub(super) async fn check_if_large(
    snapshot: &StoredSnapshot,
    check: BlockCheck,
    sizes: [Option<u64>; 3],
) -> Result<BlockCheck> {
    if !check.is_unread {
        return Ok(check);
    }
    match read_run(snapshot, check.at, std::slice::from_ref(&check.entry), sizes).await?.pop() {
        Some(read) => verify_block(snapshot, read).await,
        None => Ok(check),
    }
}

async fn read_run(
    snapshot: &StoredSnapshot,
    first: usize,
    run: &[BlockEntry],
    sizes: [Option<u64>; 3],
) -> Result<Vec<BlockCheck>> {
    let is_present = |entry: &BlockEntry| {
        DataFile::ALL.into_iter().zip(sizes).all(|(file, size)| is_within(&entry.range(file), size))
    };
    if run.iter().all(is_present) {
        match snapshot.pieces(run).await {
            Ok(pieces) => {
                let blocks = run.iter().cloned().zip(pieces).enumerate();
                let fetched = blocks.map(|(number, (entry, pieces))| BlockCheck::new(first + number, entry, pieces));
                return Ok(fetched.collect());
            }
            Err(error) if is_corruption(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut fetched = Vec::with_capacity(run.len());
    for (number, entry) in run.iter().enumerate() {
        fetched.push(fetch_block(snapshot, first + number, entry.clone(), sizes).await?);
    }
    Ok(fetched)
}

/// Reads the pieces of consecutive blocks in the index. If that shows corruption, reads them one by one.
async fn read_index(
    snapshot: &StoredSnapshot,
    first: usize,
    run: &[BlockEntry],
    [_, size, _]: [Option<u64>; 3],
) -> Result<Vec<BlockCheck>> {
    let pieces = match run.iter().all(|entry| is_within(&entry.range(DataFile::Index), size)) {
        true => snapshot.pieces_of(DataFile::Index, run).await.map(Some),
        false => Ok(None),
    };
    let pieces = match pieces {
        Err(error) if !is_corruption(&error) => return Err(error),
        pieces => pieces.ok().flatten(),
    };
    let mut fetched = Vec::with_capacity(run.len());
    for (number, entry) in run.iter().enumerate() {
        let mut check = BlockCheck::new(first + number, entry.clone(), Pieces::default());
        check.is_index_only = true;
        match pieces.as_ref().and_then(|pieces| pieces.get(number)) {
            Some(piece) => check.pieces = [Bytes::new(), piece.clone(), Bytes::new()],
            None => fetch_piece(snapshot, &mut check, DataFile::Index, size).await?,
        }
        fetched.push(check);
    }
    Ok(fetched)
}

/// Reads the pieces of one block.
async fn fetch_block(
    snapshot: &StoredSnapshot,
    at: usize,
    entry: BlockEntry,
    sizes: [Option<u64>; 3],
) -> Result<BlockCheck> {
    let mut check = BlockCheck::new(at, entry, Pieces::default());
    for (file, size) in DataFile::ALL.into_iter().zip(sizes) {
        fetch_piece(snapshot, &mut check, file, size).await?;
    }
    Ok(check)
}

/// Reads the piece of a block in one file.
async fn fetch_piece(
    snapshot: &StoredSnapshot,
    check: &mut BlockCheck,
    file: DataFile,
    size: Option<u64>,
) -> Result<()> {
    let (at, range) = (check.at, check.entry.range(file));
    if !is_within(&range, size) {
        // A missing file has been reported once for all blocks.
        if size.is_some() {
            check.corruption.push(corruption(snapshot, at, file.name(), "the file ends before or within it"));
        }
        return Ok(());
    }
    match snapshot.range(file, range).await {
        Ok(bytes) => {
            let pieces = DataFile::ALL.into_iter().zip(&mut check.pieces);
            pieces.filter(|(other, _)| *other == file).for_each(|(_, piece)| *piece = bytes.clone());
        }
        Err(error) if is_corruption(&error) => {
            check.corruption.push(corruption(snapshot, at, file.name(), error.message()));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Verifies a block that was read.
pub(super) async fn verify_block(snapshot: &StoredSnapshot, mut check: BlockCheck) -> Result<BlockCheck> {
    if check.is_unread {
        return Ok(check);
    }
    let (at, entry) = (check.at, check.entry.clone());
    let pieces = check.pieces.clone();
    let found = run_blocking(move || Ok(pieces.map(|piece| (piece.len() as u64, crc32(&piece))))).await?;
    let mut is_complete = true;
    let is_read = |file: &DataFile| !check.is_index_only || *file == DataFile::Index;
    for (file, (bytes, crc32)) in DataFile::ALL.into_iter().zip(found).filter(|(file, _)| is_read(file)) {
        let range = entry.range(file);
        if bytes != range.end - range.start {
            is_complete = false;
        } else if entry.crc32(file) != crc32 {
            check.corruption.push(corruption(snapshot, at, file.name(), "the stored bytes do not match their CRC-32"));
        }
    }
    if !is_complete || !check.corruption.is_empty() {
        return Ok(check);
    }
    let unpacked = match check.is_index_only {
        true => {
            let [_, piece, _] = check.pieces.clone();
            snapshot.unpack_index(entry, piece).await.map(|block| {
                let sum = sum_of(&block);
                (block, sum)
            })
        }
        false => snapshot.unpack(entry, check.pieces.clone()).await,
    };
    match unpacked {
        Ok((block, sum)) => {
            check.verified = Some(VerifiedBlock {
                sum,
                rows: block.len() as u64,
                records: if check.is_index_only { 0 } else { u64::from(check.entry.vector_rows) },
                removed: (0..block.len()).filter(|at| block.change(*at).change == Change::Removed).count() as u64,
                bytes: block.content_bytes() as u64,
                first_id: block.id(0).to_owned(),
                last_id: block.id(block.len().saturating_sub(1)).to_owned(),
            });
        }
        Err(error) if is_corruption(&error) => {
            let file =
                error.key().and_then(layout::parse_key).map_or(DataFile::Index.name(), |(_, file)| file).to_owned();
            let number = format!("block {at}: ");
            let detail = error.message().strip_prefix(&number).unwrap_or(error.message());
            check.corruption.push(corruption(snapshot, at, &file, detail));
        }
        Err(error) => return Err(error),
    }
    Ok(check)
}

pub(super) async fn hash_pieces([vectors, index, payloads]: [FileHash; 3], pieces: Pieces) -> Result<[FileHash; 3]> {
    let [vectors_piece, index_piece, payloads_piece] = pieces;
    run_blocking(move || {
        Ok([vectors.updated(&vectors_piece), index.updated(&index_piece), payloads.updated(&payloads_piece)])
    })
    .await
}

fn corruption(snapshot: &StoredSnapshot, at: usize, file: &str, detail: &str) -> Corruption {
    let snapshot = snapshot.id().to_string();
    Corruption { snapshot, file: file.to_owned(), block: Some(at), detail: detail.to_owned() }
}

/// Returns the sum of the digests of a block, as they are stored.
fn sum_of(block: &Block) -> ContentSum {
    let mut sum = ContentSum::default();
    (0..block.len()).for_each(|at| sum.add(&block.change(at).digest));
    sum
}

fn is_within(range: &Range<u64>, size: Option<u64>) -> bool {
    size.is_some_and(|size| range.end <= size)
}
