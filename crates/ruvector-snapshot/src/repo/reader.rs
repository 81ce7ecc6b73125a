//! One snapshot in the store, opened for reading: its directory, its sections, and its blocks by range.
//!
//! An increment holds only what changed since its base. [`chain`](super::chain) joins the snapshots of a chain to a
//! state.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::RawJson;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::codec::piece;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::DatabaseInfo;

use super::context::{Context, run_blocking};
use super::inventory::{self, check_size};
use super::presence::{absent, exists, gone, judge, no_snapshot};
use crate::config::SnapshotConfig;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::snapshot::{Snapshot, for_listing, is_large};
use crate::source::description::check_restorable;
use crate::source::key_range::{DiffRange, KeyRange, contains_in_order};
use crate::store::SnapshotStore;

/// Bytes of all three files that are read with one request each: as many as a permit of the store's budget covers.
pub(crate) const RUN_BYTES_MAX: u64 = 8 << 20;

/// A snapshot whose `metadata.json` has been read and checked.
#[derive(Debug, Clone)]
pub(crate) struct StoredSnapshot {
    store: Arc<dyn SnapshotStore>,
    /// The snapshot that is read: this one, or a dependent whose state needs this one.
    read_id: SnapshotId,
    /// Of an ancestor without what is large in memory: the user's JSON, and long lists of what was not captured.
    pub(crate) metadata: Arc<SnapshotMetadata>,
    has_user_json: bool,
    pub(crate) metadata_json_bytes: u64,
    /// What `checksum.sha256` must contain.
    pub(crate) checksum_sha256: String,
}

/// The stored pieces of a block, in the order of [`DataFile::ALL`].
pub(crate) type Pieces = [Bytes; 3];

/// A block that a stream of blocks returns.
pub(crate) enum NextBlock {
    /// A block with every digest verified, and its sum.
    Read(Block, ContentSum),
    /// A large block, which is read when its row is needed.
    Large(LargeBlock),
}

/// A block with one row of up to 128 MiB. Nothing of it was read.
pub(crate) struct LargeBlock {
    snapshot: StoredSnapshot,
    entry: BlockEntry,
}

impl LargeBlock {
    /// Returns the id of the row.
    pub(crate) fn id(&self) -> &str {
        &self.entry.first_id
    }

    /// Reads the block, verifies its digest, and returns its sum too.
    pub(crate) async fn read(&self) -> Result<(Block, ContentSum)> {
        let pieces = self.snapshot.pieces(std::slice::from_ref(&self.entry)).await?.pop().unwrap_or_default();
        self.snapshot.unpack(self.entry.clone(), pieces).await
    }
}

/// How far a stream of blocks reads ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAhead {
    /// Runs of blocks that are fetched at the same time.
    pub(crate) runs: usize,
    /// Blocks that are expanded at the same time.
    pub(crate) blocks: usize,
    /// Size of a run, in bytes.
    pub(crate) run_bytes_max: u64,
}

impl ReadAhead {
    /// Reads ahead as far as the settings allow.
    pub(crate) fn full(config: &SnapshotConfig) -> Self {
        Self { runs: config.max_concurrent_io, blocks: config.workers, run_bytes_max: RUN_BYTES_MAX }
    }
}

/// Groups consecutive blocks that lie side by side in each of the files, up to `bytes_max`, so that they are read with
/// one request a file. A large block is a run of its own.
pub(crate) fn runs(
    entries: &[BlockEntry],
    files: &[DataFile],
    bytes_max: u64,
    is_large: impl Fn(&BlockEntry) -> bool,
) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut run_bytes = 0;
    for (at, entry) in entries.iter().enumerate() {
        let entry_bytes: u64 = files.iter().map(|file| stored_bytes(entry, *file)).sum();
        let follows = |last: &BlockEntry| {
            !is_large(last) && !is_large(entry) && files.iter().all(|f| last.range(*f).end == entry.range(*f).start)
        };
        let joins = at.checked_sub(1).and_then(|last| entries.get(last)).is_some_and(follows);
        match runs.last_mut() {
            Some(run) if joins && run_bytes + entry_bytes <= bytes_max => {
                run.end = at + 1;
                run_bytes += entry_bytes;
            }
            _ => {
                runs.push(at..at + 1);
                run_bytes = entry_bytes;
            }
        }
    }
    runs
}

/// Returns the range of a file in which the pieces of the blocks of a run are. It is read with one request, or with none
/// if it is empty.
pub(crate) fn range_of(run: &[BlockEntry], file: DataFile) -> Range<u64> {
    let ranges = || run.iter().map(|entry| entry.range(file));
    let start = ranges().map(|range| range.start).min().unwrap_or_default();
    start..ranges().map(|range| range.end).max().unwrap_or_default()
}

fn stored_bytes(entry: &BlockEntry, file: DataFile) -> u64 {
    let range = entry.range(file);
    range.end.saturating_sub(range.start)
}

impl StoredSnapshot {
    /// Reads and checks `metadata.json`.
    pub(crate) async fn open(context: &Context, id: &SnapshotId) -> Result<Self> {
        Self::open_for(context, id, id).await
    }

    /// As [`open`](Self::open), as an ancestor of the snapshot `read_id`.
    pub(crate) async fn open_for(context: &Context, id: &SnapshotId, read_id: &SnapshotId) -> Result<Self> {
        let (mut metadata, json) = match inventory::read_metadata(context.store.as_ref(), id).await {
            Err(error) if error.kind() == ErrorKind::NotFound && id == read_id => {
                return Err(absent(context.store.as_ref(), id).await);
            }
            read => read?,
        };
        let (store, read_id) = (context.store.clone(), read_id.clone());
        let (metadata_json_bytes, checksum_sha256) = (json.len() as u64, metadata.checksum_sha256(&json)?);
        let has_user_json = *id == read_id || !is_large(&metadata.metadata);
        if !has_user_json {
            metadata.metadata = RawJson::default();
        }
        if *id != read_id {
            metadata.source = for_listing(metadata.source);
            metadata.embedding = metadata.embedding.filter(|embedding| !embedding.is_large());
        }
        let metadata = Arc::new(metadata);
        Ok(Self { store, read_id, metadata, has_user_json, metadata_json_bytes, checksum_sha256 })
    }

    pub(crate) fn id(&self) -> &SnapshotId {
        &self.metadata.id
    }

    /// Reads whether the snapshot is pinned, and returns everything that is known of it.
    pub(crate) async fn describe(&self) -> Result<Snapshot> {
        let snapshot = inventory::describe(self.store.as_ref(), &self.metadata, self.metadata_json_bytes).await?;
        let metadata = snapshot.metadata.filter(|_| self.has_user_json);
        Ok(Snapshot { metadata, ..snapshot })
    }

    /// Returns the key of one of the files.
    pub(crate) fn key(&self, file: DataFile) -> String {
        layout::key(self.id(), file.name())
    }

    /// Checks that every data file exists with the recorded size. Finds the damage that shows without reading data.
    pub(crate) async fn check_sizes(&self) -> Result<()> {
        for file in DataFile::ALL {
            if let Some((problem, _)) = self.wrong_size(file).await? {
                return Err(problem);
            }
        }
        Ok(())
    }

    /// Returns what is wrong with the size of a data file, if anything, and how many bytes the file has.
    pub(crate) async fn wrong_size(&self, file: DataFile) -> Result<Option<(SnapshotError, u64)>> {
        let key = self.key(file);
        let checked = check_size(self.store.as_ref(), &key, self.metadata.file(file)?.bytes).await?;
        let Some((problem, bytes)) = checked else { return Ok(None) };
        match self.judged(problem.with_key(key)).await {
            problem if problem.kind() == ErrorKind::Corrupt => Ok(Some((problem, bytes))),
            // The snapshot was deleted meanwhile.
            deleted => Err(deleted),
        }
    }

    /// Returns the error to report for one that was found in this snapshot: `NotFound` if the snapshot that is read was
    /// deleted meanwhile. Corruption without a key is in its rows, and so in its index.
    pub(crate) async fn judged(&self, found: SnapshotError) -> SnapshotError {
        match judge(self.store.as_ref(), &self.read_id, found).await {
            corrupt if corrupt.kind() == ErrorKind::Corrupt => corrupt.with_key(self.key(DataFile::Index)),
            other => other,
        }
    }

    /// Fails with `NotFound` if the snapshot that is read was deleted meanwhile, or if this one, its ancestor, is lost.
    pub(crate) async fn check_exists(&self) -> Result<()> {
        if !exists(self.store.as_ref(), &self.read_id).await? {
            return Err(gone(self.store.as_ref(), &self.read_id).await);
        }
        match self.read_id == *self.id() || exists(self.store.as_ref(), self.id()).await? {
            true => Ok(()),
            false => Err(no_snapshot(self.id())),
        }
    }

    /// Reads the block directory.
    pub(crate) async fn directory(&self) -> Result<Arc<[BlockEntry]>> {
        let raw = self.section(index::DIRECTORY).await?;
        match index::decode_directory(&raw, &self.metadata) {
            Ok(entries) => Ok(entries.into()),
            Err(error) => Err(self.judged(self.index_error(error)).await),
        }
    }

    /// Reads the description of the database.
    pub(crate) async fn database(&self) -> Result<DatabaseInfo> {
        let raw = self.section(index::DATABASE).await?;
        match index::decode_database(&raw, &self.metadata) {
            Ok(database) => Ok(database),
            Err(error) => Err(self.judged(self.index_error(error)).await),
        }
    }

    /// Reads the description of the database, and checks that such a database can be restored.
    ///
    /// # Errors
    ///
    /// As [`check_restorable`].
    pub(crate) async fn restorable_database(&self) -> Result<DatabaseInfo> {
        let database = self.database().await?;
        check_restorable(&database).map_err(|error| error.with_key(self.key(DataFile::Index)))?;
        Ok(database)
    }

    /// Reads the section with the leaf tables. `None` if the snapshot has none.
    pub(crate) async fn leaves_section(&self) -> Result<Option<Vec<u8>>> {
        match self.metadata.find_section(index::LEAVES) {
            None => Ok(None),
            Some(_) => self.section(index::LEAVES).await.map(Some),
        }
    }

    /// Reads and expands a section of index.bin.gz.
    pub(crate) async fn section(&self, name: &str) -> Result<Vec<u8>> {
        let info = self.metadata.section(name)?.clone();
        let bytes = self.range(DataFile::Index, info.range()).await?;
        match run_blocking(move || Ok(piece::expand_section(&bytes, &info)?)).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let message = error.message().to_owned();
                Err(self.judged(corrupt(message).with_key(self.key(DataFile::Index)).with_source(error)).await)
            }
            expanded => expanded,
        }
    }

    fn index_error(&self, error: ruvector_snapshot_format::FormatError) -> SnapshotError {
        // The message names no file, or index.bin.gz.
        let error = SnapshotError::from(error);
        SnapshotError::new(error.kind(), error.message().to_owned())
            .with_key(self.key(DataFile::Index))
            .with_source(error)
    }

    /// Reads the pieces of consecutive blocks of one of [`runs`], with one request for each file.
    pub(crate) async fn pieces(&self, run: &[BlockEntry]) -> Result<Vec<Pieces>> {
        let [vectors, index, payloads] = DataFile::ALL.map(|file| self.pieces_of(file, run));
        let (vectors, index, payloads) = futures::try_join!(vectors, index, payloads)?;
        let pieces = vectors.into_iter().zip(index).zip(payloads);
        Ok(pieces.map(|((vectors, index), payloads)| [vectors, index, payloads]).collect())
    }

    /// Reads the pieces that consecutive blocks have in one file.
    pub(crate) async fn pieces_of(&self, file: DataFile, run: &[BlockEntry]) -> Result<Vec<Bytes>> {
        let Range { start, end } = range_of(run, file);
        // Blocks without metadata have no pieces there, and need no request.
        let bytes = if start == end { Bytes::new() } else { self.range(file, start..end).await? };
        if bytes.len() as u64 != end - start {
            let message = format!("the store returned {} of {} bytes", bytes.len(), end - start);
            return Err(SnapshotError::new(ErrorKind::Unavailable, message).with_key(self.key(file)));
        }
        let within = |at: u64| (at - start) as usize;
        let ranges = run.iter().map(|entry| entry.range(file));
        Ok(ranges.map(|range| bytes.slice(within(range.start)..within(range.end))).collect())
    }

    /// Reads bytes of a data file. A missing file means that the snapshot is corrupt, unless it was deleted meanwhile.
    ///
    /// A deletion deletes the data after the `metadata.json` (invariant I2).
    pub(crate) async fn range(&self, file: DataFile, range: Range<u64>) -> Result<Bytes> {
        let key = self.key(file);
        let answer = self.store.get_range(&key, range).await;
        match answer {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(self.judged(corrupt("the file is missing").with_key(key).with_source(error)).await)
            }
            answer => answer,
        }
    }

    /// Returns whether a block is large, see [`LargeBlock`].
    pub(crate) fn is_large(&self, entry: &BlockEntry) -> bool {
        entry.is_large(self.metadata.dimensions)
    }

    /// Streams the given blocks in order. Large blocks are left for the caller to read.
    pub(crate) fn blocks(
        &self,
        entries: &Arc<[BlockEntry]>,
        ahead: ReadAhead,
    ) -> impl Stream<Item = Result<NextBlock>> + use<> {
        enum Fetched {
            Pieces(BlockEntry, Pieces),
            Large(LargeBlock),
        }
        let (fetcher, expander, entries) = (self.clone(), self.clone(), entries.clone());
        stream::iter(runs(&entries, &DataFile::ALL, ahead.run_bytes_max, |entry| self.is_large(entry)))
            .map(move |run| {
                let (snapshot, entries) = (fetcher.clone(), entries.clone());
                async move {
                    let run_entries = entries.get(run.clone()).unwrap_or_default();
                    if let [entry] = run_entries
                        && snapshot.is_large(entry)
                    {
                        let large = LargeBlock { entry: entry.clone(), snapshot };
                        return Ok(vec![Ok(Fetched::Large(large))]);
                    }
                    let pieces = snapshot.pieces(run_entries).await?;
                    let blocks = run_entries.iter().cloned().zip(pieces);
                    Ok(blocks.map(|(entry, pieces)| Ok(Fetched::Pieces(entry, pieces))).collect::<Vec<_>>())
                }
            })
            .buffered(ahead.runs)
            .flat_map(|fetched| stream::iter(fetched.unwrap_or_else(|error: SnapshotError| vec![Err(error)])))
            .map(move |fetched: Result<_>| {
                let snapshot = expander.clone();
                async move {
                    let (entry, pieces) = match fetched? {
                        Fetched::Pieces(entry, pieces) => (entry, pieces),
                        Fetched::Large(large) => return Ok(NextBlock::Large(large)),
                    };
                    let (block, sum) = snapshot.unpack(entry, pieces).await?;
                    Ok(NextBlock::Read(block, sum))
                }
            })
            .buffered(ahead.blocks)
    }

    /// Streams the rows of the given blocks that are in these ranges, in order and without their vectors. Digests are
    /// not verified. The metadata of a large row is an empty text.
    pub(crate) fn blocks_without_vectors(
        &self,
        entries: Vec<BlockEntry>,
        ranges: Arc<[DiffRange]>,
        ahead: ReadAhead,
    ) -> impl Stream<Item = Result<NextBlock>> + use<> {
        let (fetcher, expander) = (self.clone(), self.clone());
        let files = [DataFile::Index, DataFile::Payloads];
        stream::iter(runs(&entries, &files, ahead.run_bytes_max, BlockEntry::has_large_metadata))
            .map(move |run| {
                let (snapshot, run) = (fetcher.clone(), entries.get(run).unwrap_or_default().to_vec());
                async move {
                    let index = snapshot.pieces_of(DataFile::Index, &run);
                    let payloads = async {
                        match run.first().is_some_and(BlockEntry::has_large_metadata) {
                            true => Ok(vec![Bytes::new()]),
                            false => snapshot.pieces_of(DataFile::Payloads, &run).await,
                        }
                    };
                    let (index, payloads) = futures::try_join!(index, payloads)?;
                    Ok::<_, SnapshotError>(stream::iter(run.into_iter().zip(index.into_iter().zip(payloads)).map(Ok)))
                }
            })
            .buffered(ahead.runs)
            .try_flatten()
            .map(move |fetched: Result<_>| {
                let (snapshot, ranges) = (expander.clone(), ranges.clone());
                async move {
                    let (entry, (index, payloads)) = fetched?;
                    let block = snapshot.unpack_in_ranges(entry, [index, payloads], ranges).await?;
                    // The sum is only known of all rows.
                    Ok(NextBlock::Read(block, ContentSum::default()))
                }
            })
            .buffered(ahead.blocks)
    }

    /// Streams the rows of the given blocks in order, with their digests and kinds, and without vectors and metadata. Reads
    /// only the index. Digests are not verified.
    pub(crate) fn blocks_without_content(
        &self,
        entries: &Arc<[BlockEntry]>,
        ahead: ReadAhead,
    ) -> impl Stream<Item = Result<NextBlock>> + use<> {
        let (fetcher, expander, entries) = (self.clone(), self.clone(), entries.clone());
        stream::iter(runs(&entries, &[DataFile::Index], ahead.run_bytes_max, |_| false))
            .map(move |run| {
                let (snapshot, run) = (fetcher.clone(), entries.get(run).unwrap_or_default().to_vec());
                async move {
                    let pieces = snapshot.pieces_of(DataFile::Index, &run).await?;
                    Ok::<_, SnapshotError>(stream::iter(run.into_iter().zip(pieces).map(Ok)))
                }
            })
            .buffered(ahead.runs)
            .try_flatten()
            .map(move |fetched: Result<_>| {
                let snapshot = expander.clone();
                async move {
                    let (entry, piece) = fetched?;
                    Ok(NextBlock::Read(snapshot.unpack_index(entry, piece).await?, ContentSum::default()))
                }
            })
            .buffered(ahead.blocks)
    }

    /// Expands the ids and the digests of a block, without vectors and metadata.
    pub(crate) async fn unpack_index(&self, entry: BlockEntry, piece: Bytes) -> Result<Block> {
        let (id, dimensions) = (self.id().clone(), self.metadata.dimensions as usize);
        run_blocking(move || {
            Block::unpack_without_content(&entry, dimensions, &piece, |_| true)
                .map_err(|error| error_of(&id, in_block(&entry, error.message()), error.into()))
        })
        .await
    }

    /// Returns those of the given blocks that have a row whose id is in these ranges, which are sorted and disjoint. Reads
    /// only the index.
    pub(crate) async fn blocks_with_rows_in(
        &self,
        entries: Vec<BlockEntry>,
        ranges: &Arc<[KeyRange]>,
        ahead: ReadAhead,
    ) -> Result<Vec<BlockEntry>> {
        let runs = runs(&entries, &[DataFile::Index], ahead.run_bytes_max, |_| false).into_iter();
        let fetched = runs.map(|run| {
            let run = entries.get(run).unwrap_or_default().to_vec();
            async move {
                let pieces = self.pieces_of(DataFile::Index, &run).await?;
                let (id, ranges) = (self.id().clone(), ranges.clone());
                run_blocking(move || {
                    let has_row = |(entry, piece): &(BlockEntry, Bytes)| has_row_in(entry, piece, &ranges, &id);
                    run.into_iter()
                        .zip(pieces)
                        .filter_map(|block| match has_row(&block) {
                            Ok(true) => Some(Ok(block.0)),
                            Ok(false) => None,
                            Err(error) => Some(Err(error)),
                        })
                        .collect::<Result<Vec<_>>>()
                })
                .await
            }
        });
        let fetched: Vec<Vec<_>> = stream::iter(fetched.collect::<Vec<_>>()).buffered(ahead.runs).try_collect().await?;
        Ok(fetched.into_iter().flatten().collect())
    }

    async fn unpack_in_ranges(&self, entry: BlockEntry, pieces: [Bytes; 2], ranges: Arc<[DiffRange]>) -> Result<Block> {
        let (id, dimensions) = (self.id().clone(), self.metadata.dimensions as usize);
        run_blocking(move || {
            let first = ranges.partition_point(|range| range.key_range.ends_before(&entry.first_id));
            let is_wanted = contains_in_order(ranges.iter().skip(first).map(|range| &range.key_range));
            let [index, payloads] = pieces.each_ref().map(|piece| piece.as_ref());
            let unpacked = match entry.has_large_metadata() {
                true => Block::unpack_without_content(&entry, dimensions, index, is_wanted),
                false => Block::unpack_without_vectors(&entry, dimensions, [index, payloads], is_wanted),
            };
            unpacked.map_err(|error| error_of(&id, in_block(&entry, error.message()), error.into()))
        })
        .await
    }

    /// Expands and verifies one block. An error names the file and the block.
    pub(crate) async fn unpack(&self, entry: BlockEntry, pieces: Pieces) -> Result<(Block, ContentSum)> {
        let (id, dimensions) = (self.id().clone(), self.metadata.dimensions as usize);
        run_blocking(move || {
            let unpacked = Block::unpack(&entry, dimensions, pieces.each_ref().map(|piece| piece.as_ref()));
            unpacked.map_err(|error| error_of(&id, in_block(&entry, error.message()), error.into()))
        })
        .await
    }
}

fn has_row_in(entry: &BlockEntry, piece: &[u8], ranges: &[KeyRange], id: &SnapshotId) -> Result<bool> {
    Block::has_row_in_index(entry, piece, contains_in_order(ranges))
        .map_err(|error| error_of(id, in_block(entry, error.message()), error.into()))
}

fn in_block(entry: &BlockEntry, problem: &str) -> String {
    format!("block {}: {problem}", entry.number)
}

/// Turns an error of the format, which names a file, into an error of a snapshot, which names a key.
fn error_of(id: &SnapshotId, message: String, error: SnapshotError) -> SnapshotError {
    let key = layout::key(id, error.key().unwrap_or(DataFile::Index.name()));
    SnapshotError::new(error.kind(), message).with_key(key).with_source(error)
}
