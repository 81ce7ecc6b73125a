//! The blocks of a snapshot as verify reads them: each is proved by itself, and damage in one is an answer and no error.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::{Damage, is_damage};
use crate::error::Result;
use crate::format::block::{Change, crc32};
use crate::format::checksum::ContentSum;
use crate::format::index::BlockEntry;
use crate::format::layout::DataFile;
use crate::manager::reader::{Pieces, SnapshotReader};
use crate::manager::unblock;

/// A file's SHA-256 so far.
pub(super) struct FileHash {
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

/// A block that was read, and what came of it.
pub(super) struct Checked {
    pub(super) at: usize,
    pub(super) entry: BlockEntry,
    pub(super) pieces: Pieces,
    pub(super) damage: Vec<Damage>,
    pub(super) proved: Option<Proved>,
}

pub(super) struct Proved {
    pub(super) sum: ContentSum,
    pub(super) rows: u64,
    /// Rows with their vectors; of the others the digest is proved where the vector is.
    pub(super) records: u64,
    pub(super) removed: u64,
    pub(super) bytes: u64,
    pub(super) first_id: String,
    pub(super) last_id: String,
}

/// Reads the pieces of consecutive blocks together; where that shows damage, block by block, to see in which it is.
pub(super) async fn fetch_run(
    reader: &SnapshotReader,
    first: usize,
    run: &[BlockEntry],
    sizes: [Option<u64>; 3],
) -> Result<Vec<Checked>> {
    let is_there = |entry: &BlockEntry| {
        DataFile::ALL.into_iter().zip(sizes).all(|(file, size)| is_within(&entry.range(file), size))
    };
    if run.iter().all(is_there) {
        match reader.pieces(run).await {
            Ok(pieces) => {
                let blocks = run.iter().cloned().zip(pieces).enumerate();
                let fetched = |(number, (entry, pieces))| Checked {
                    at: first + number,
                    entry,
                    pieces,
                    damage: Vec::new(),
                    proved: None,
                };
                return Ok(blocks.map(fetched).collect());
            }
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut fetched = Vec::with_capacity(run.len());
    for (number, entry) in run.iter().enumerate() {
        fetched.push(fetch_block(reader, first + number, entry.clone(), sizes).await?);
    }
    Ok(fetched)
}

/// Reads the pieces of one block; damage is an answer and no error.
async fn fetch_block(
    reader: &SnapshotReader,
    at: usize,
    entry: BlockEntry,
    sizes: [Option<u64>; 3],
) -> Result<Checked> {
    let mut checked = Checked { at, entry, pieces: Default::default(), damage: Vec::new(), proved: None };
    for ((file, size), piece) in DataFile::ALL.into_iter().zip(sizes).zip(&mut checked.pieces) {
        let range = checked.entry.range(file);
        if !is_within(&range, size) {
            // That a whole file is missing has been noted once for all of it.
            if size.is_some() {
                checked.damage.push(block_damage(reader, at, file.name(), "the file ends before or within it"));
            }
            continue;
        }
        match reader.range(file, range).await {
            Ok(bytes) => *piece = bytes,
            Err(error) if is_damage(&error) => {
                checked.damage.push(block_damage(reader, at, file.name(), error.message()))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(checked)
}

/// Proves a block that was read.
pub(super) async fn prove_block(reader: &SnapshotReader, mut checked: Checked) -> Result<Checked> {
    let (at, entry) = (checked.at, checked.entry.clone());
    let pieces = checked.pieces.clone();
    let found = unblock(move || Ok(pieces.map(|piece| (piece.len() as u64, crc32(&piece))))).await?;
    let mut is_read = true;
    for (file, (bytes, crc32)) in DataFile::ALL.into_iter().zip(found) {
        let range = entry.range(file);
        if bytes != range.end - range.start {
            is_read = false;
        } else if entry.crc32(file) != crc32 {
            checked.damage.push(block_damage(reader, at, file.name(), "the stored bytes do not match their CRC-32"));
        }
    }
    if !is_read || !checked.damage.is_empty() {
        return Ok(checked);
    }
    match reader.unpack(at, entry, checked.pieces.clone()).await {
        Ok((block, sum)) => {
            checked.proved = Some(Proved {
                sum,
                rows: block.len() as u64,
                records: u64::from(checked.entry.vector_rows),
                removed: (0..block.len()).filter(|at| block.change(*at).change == Change::Removed).count() as u64,
                bytes: block.content_bytes() as u64,
                first_id: block.row(0).id.to_owned(),
                last_id: block.row(block.len().saturating_sub(1)).id.to_owned(),
            });
        }
        Err(error) if is_damage(&error) => {
            let file = error.key().and_then(|key| key.rsplit('/').next()).unwrap_or(DataFile::Index.name()).to_owned();
            checked.damage.push(block_damage(reader, at, &file, error.message()));
        }
        Err(error) => return Err(error),
    }
    Ok(checked)
}

fn block_damage(reader: &SnapshotReader, at: usize, file: &str, what: &str) -> Damage {
    let snapshot = reader.metadata.id.to_string();
    Damage { snapshot, file: file.to_owned(), block: Some(at), what: what.to_owned() }
}

pub(super) async fn hash_pieces([vectors, index, payloads]: [FileHash; 3], pieces: Pieces) -> Result<[FileHash; 3]> {
    let [vectors_piece, index_piece, payloads_piece] = pieces;
    unblock(move || {
        Ok([vectors.updated(&vectors_piece), index.updated(&index_piece), payloads.updated(&payloads_piece)])
    })
    .await
}

fn is_within(range: &Range<u64>, size: Option<u64>) -> bool {
    size.is_some_and(|size| range.end <= size)
}
