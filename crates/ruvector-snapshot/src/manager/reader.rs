//! A snapshot in the store, opened for reading: its directory, and its blocks by range. Shared by restore and verify.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::config::SnapshotConfig;
use super::{SnapshotManager, catalog, failed_task, no_snapshot, unblock};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::Block;
use crate::format::checksum::ContentSum;
use crate::format::damaged;
use crate::format::id::SnapshotId;
use crate::format::index::{self, BlockEntry, DatabaseInfo};
use crate::format::layout::{self, DataFile};
use crate::format::member;
use crate::format::metadata::SnapshotMetadata;
use crate::source::Description;
use crate::source::interval::Stretch;
use crate::store::SnapshotStore;

/// A snapshot whose metadata.json has been read and checked.
#[derive(Debug, Clone)]
pub(super) struct SnapshotReader {
    store: Arc<dyn SnapshotStore>,
    /// How many ranges are read at once.
    permits: Arc<Semaphore>,
    pub(super) metadata: Arc<SnapshotMetadata>,
    pub(super) metadata_json: Bytes,
}

/// The pieces of a block, as stored, in the order of [`DataFile::ALL`].
pub(super) type Pieces = [Bytes; 3];

/// What is read with one request a file, in bytes of all three: as much as fits a permit of the store's budget.
pub(super) const RUN_BYTES_MAX: u64 = 8 << 20;

/// Consecutive blocks that are read together, up to so many bytes. They lie side by side in each of the files.
pub(super) fn runs(entries: &[BlockEntry], files: &[DataFile], bytes_max: u64) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut run_bytes = 0;
    for (at, entry) in entries.iter().enumerate() {
        let entry_bytes: u64 = files.iter().map(|file| stored_bytes(entry, *file)).sum();
        let follows = |last: &BlockEntry| files.iter().all(|f| last.range(*f).end == entry.range(*f).start);
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

fn stored_bytes(entry: &BlockEntry, file: DataFile) -> u64 {
    let range = entry.range(file);
    range.end.saturating_sub(range.start)
}

impl SnapshotReader {
    pub(super) async fn open(manager: &SnapshotManager, id: &SnapshotId) -> Result<Self> {
        let (metadata, metadata_json) = catalog::read(manager.store.as_ref(), id).await?;
        let permits = Arc::new(Semaphore::new(manager.config.max_concurrent_io));
        Ok(Self { store: manager.store.clone(), permits, metadata: Arc::new(metadata), metadata_json })
    }

    /// The key of one of the snapshot's files.
    pub(super) fn key(&self, file: DataFile) -> String {
        layout::key(&self.metadata.id, file.name())
    }

    /// Every data file is there and has its size: the damage that shows without reading them.
    pub(super) async fn check_sizes(&self) -> Result<()> {
        for file in DataFile::ALL {
            let (key, expected) = (self.key(file), self.metadata.file(file)?.bytes);
            let problem = match self.store.head(&key).await {
                Ok(object) if object.size_bytes == expected => continue,
                Ok(object) => damaged(format!("the file has {} bytes, not {expected}", object.size_bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => damaged("the file is missing").because(error),
                Err(error) => return Err(error),
            };
            self.check_exists().await?;
            return Err(problem.at(key));
        }
        Ok(())
    }

    /// The block directory.
    pub(super) async fn directory(&self) -> Result<Arc<[BlockEntry]>> {
        let raw = self.section(index::DIRECTORY).await?;
        let entries =
            index::decode_directory(&raw, &self.metadata).map_err(|error| error.at(self.key(DataFile::Index)))?;
        Ok(entries.into())
    }

    /// What the database is made from.
    pub(super) async fn database(&self) -> Result<Description> {
        let raw = self.section(index::DATABASE).await?;
        let damaged = |what: &str| crate::format::damaged(what).at(self.key(DataFile::Index));
        let info: DatabaseInfo = serde_json::from_slice(&raw)
            .map_err(|error| damaged("the section \"database\" is not as written").because(error))?;
        if info.dimensions != self.metadata.dimensions || info.distance_metric != self.metadata.distance_metric {
            return Err(damaged("the section \"database\" does not agree with metadata.json"));
        }
        Ok(Description {
            dimensions: usize::try_from(info.dimensions).map_err(|_| damaged("the dimensions are too large"))?,
            distance_metric: info.distance_metric,
            hnsw_config: info.hnsw_config,
            quantization: info.quantization,
            rows: info.rows,
        })
    }

    /// The pieces of consecutive blocks, of one of [`runs`], with one request for each file.
    pub(super) async fn pieces(&self, run: &[BlockEntry]) -> Result<Vec<Pieces>> {
        let [vectors, index, payloads] = DataFile::ALL.map(|file| self.stretch(file, run));
        let (vectors, index, payloads) = futures::try_join!(vectors, index, payloads)?;
        let pieces = vectors.into_iter().zip(index).zip(payloads);
        Ok(pieces.map(|((vectors, index), payloads)| [vectors, index, payloads]).collect())
    }

    /// The pieces that consecutive blocks have in one file.
    async fn stretch(&self, file: DataFile, run: &[BlockEntry]) -> Result<Vec<Bytes>> {
        let ranges = || run.iter().map(|entry| entry.range(file));
        let start = ranges().map(|range| range.start).min().unwrap_or_default();
        let end = ranges().map(|range| range.end).max().unwrap_or_default();
        let bytes = self.range(file, start..end).await?;
        if bytes.len() as u64 != end - start {
            let what = format!("the store gave {} bytes of {}", bytes.len(), end - start);
            return Err(SnapshotError::new(ErrorKind::Unavailable, what).at(self.key(file)));
        }
        let within = |at: u64| (at - start) as usize;
        Ok(ranges().map(|range| bytes.slice(within(range.start)..within(range.end))).collect())
    }

    /// Bytes of a data file. A file that is missing is damage, unless the whole snapshot was deleted in the meantime.
    pub(super) async fn range(&self, file: DataFile, range: Range<u64>) -> Result<Bytes> {
        let key = self.key(file);
        let (store, permits, its_key) = (self.store.clone(), self.permits.clone(), key.clone());
        // On a task of its own, which gets on while nobody looks: a read that has its permits and is left alone, because
        // whoever wanted it waits for room to write, would keep that room for good. Dropping the set ends the task.
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            // Never closed. A store of somebody else's may have no budget of its own.
            let _permit = permits.acquire().await.ok();
            store.get_range(&its_key, range).await
        });
        let answer = match reading.join_next().await {
            Some(read) => read.unwrap_or_else(|error| Err(failed_task(error))),
            None => Err(SnapshotError::new(ErrorKind::Internal, "a read was not begun")),
        };
        match answer {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.check_exists().await?;
                Err(crate::format::damaged("the file is missing").at(key).because(error))
            }
            answer => answer,
        }
    }

    /// `NotFound` where the snapshot has been deleted since it was opened.
    pub(super) async fn check_exists(&self) -> Result<()> {
        match self.store.head(&layout::key(&self.metadata.id, layout::METADATA_JSON)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(no_snapshot(&self.metadata.id).because(error)),
            answer => answer.map(drop),
        }
    }

    /// All blocks in order, fetched in runs of so many bytes and unpacked ahead within the limits of `config`, every digest
    /// proved, and what each sums to.
    pub(super) fn blocks(
        &self,
        entries: &Arc<[BlockEntry]>,
        run_bytes_max: u64,
        config: &SnapshotConfig,
    ) -> impl Stream<Item = Result<(Block, ContentSum)>> + use<> {
        let (fetcher, unpacker, entries) = (self.clone(), self.clone(), entries.clone());
        stream::iter(runs(&entries, &DataFile::ALL, run_bytes_max))
            .map(move |run| {
                let (reader, entries) = (fetcher.clone(), entries.clone());
                async move {
                    let run_entries = entries.get(run.clone()).unwrap_or_default();
                    let pieces = reader.pieces(run_entries).await?;
                    let blocks = run.zip(run_entries.to_vec()).zip(pieces);
                    Ok(blocks.map(|((at, entry), pieces)| Ok((at, entry, pieces))).collect::<Vec<_>>())
                }
            })
            .buffered(config.max_concurrent_io)
            .flat_map(|fetched| stream::iter(fetched.unwrap_or_else(|error: SnapshotError| vec![Err(error)])))
            .map(move |fetched: Result<_>| {
                let reader = unpacker.clone();
                async move {
                    let (at, entry, pieces) = fetched?;
                    reader.unpack(at, entry, pieces).await
                }
            })
            .buffered(config.workers)
    }

    /// The rows of the given blocks that lie in these stretches, in order, without their vectors; fetched and unpacked a little
    /// ahead.
    pub(super) fn blocks_without_vectors(
        &self,
        entries: Vec<BlockEntry>,
        stretches: Arc<[Stretch]>,
        run_bytes_max: u64,
        [fetched, unpacked]: [usize; 2],
    ) -> impl Stream<Item = Result<Block>> + use<> {
        let (fetcher, unpacker) = (self.clone(), self.clone());
        stream::iter(runs(&entries, &[DataFile::Index, DataFile::Payloads], run_bytes_max))
            .map(move |run| {
                let (reader, run) = (fetcher.clone(), entries.get(run).unwrap_or_default().to_vec());
                async move {
                    let index = reader.stretch(DataFile::Index, &run);
                    let (index, payloads) = futures::try_join!(index, reader.stretch(DataFile::Payloads, &run))?;
                    Ok(stream::iter(run.into_iter().zip(index.into_iter().zip(payloads)).map(Ok)))
                }
            })
            .buffered(fetched)
            .try_flatten()
            .map(move |fetched: Result<_>| {
                let (reader, stretches) = (unpacker.clone(), stretches.clone());
                async move {
                    let (entry, (index, payloads)) = fetched?;
                    reader.unpack_rows(entry, [index, payloads], stretches).await
                }
            })
            .buffered(unpacked)
    }

    async fn unpack_rows(&self, entry: BlockEntry, pieces: [Bytes; 2], stretches: Arc<[Stretch]>) -> Result<Block> {
        let (id, dimensions) = (self.metadata.id.clone(), self.metadata.dimensions as usize);
        unblock(move || {
            let first = stretches.partition_point(|stretch| stretch.interval.is_before(&entry.first_id));
            let mut ahead = stretches.iter().skip(first).map(|stretch| &stretch.interval).peekable();
            let is_wanted = |id: &str| {
                while ahead.next_if(|interval| interval.is_before(id)).is_some() {}
                ahead.peek().is_some_and(|interval| interval.start.as_str() <= id)
            };
            let pieces = pieces.each_ref().map(|piece| piece.as_ref());
            let unpacked = Block::unpack_without_vectors(&entry, dimensions, pieces, is_wanted);
            unpacked.map_err(|error| error_in(&id, error.message().to_owned(), error))
        })
        .await
    }

    /// The section with the leaf tables, expanded; `None` where the snapshot has none.
    pub(super) async fn leaves_section(&self) -> Result<Option<Vec<u8>>> {
        if !self.metadata.sections.iter().any(|section| section.name == index::LEAVES) {
            return Ok(None);
        }
        self.section(index::LEAVES).await.map(Some)
    }

    /// Unpacks one block; an error names the file and the block.
    pub(super) async fn unpack(&self, at: usize, entry: BlockEntry, pieces: Pieces) -> Result<(Block, ContentSum)> {
        let (id, dimensions) = (self.metadata.id.clone(), self.metadata.dimensions as usize);
        unblock(move || {
            let unpacked = Block::unpack(&entry, dimensions, pieces.each_ref().map(|piece| piece.as_ref()));
            unpacked.map_err(|error| error_in(&id, format!("block {at}: {}", error.message()), error))
        })
        .await
    }

    async fn section(&self, name: &str) -> Result<Vec<u8>> {
        let key = self.key(DataFile::Index);
        let info = self.metadata.section(name)?.clone();
        let bytes = self.range(DataFile::Index, info.offset..info.offset.saturating_add(info.bytes)).await?;
        let raw = unblock(move || member::unpack(&bytes, info.raw_bytes as usize)).await;
        raw.map_err(|error| {
            SnapshotError::new(error.kind(), format!("the section {name:?}: {}", error.message()))
                .at(key)
                .because(error)
        })
    }
}

/// An error of the format, which names a file, as one of the snapshot's.
fn error_in(id: &SnapshotId, what: String, error: SnapshotError) -> SnapshotError {
    let key = layout::key(id, error.key().unwrap_or(DataFile::Index.name()));
    SnapshotError::new(error.kind(), what).at(key).because(error)
}
