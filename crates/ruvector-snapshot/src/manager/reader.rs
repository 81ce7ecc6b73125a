//! A snapshot in the store, opened for reading: its directory, and its blocks by range. Shared by restore and verify.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};

use super::config::SnapshotConfig;
use super::{catalog, no_snapshot, unblock};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::Block;
use crate::format::checksum::ContentSum;
use crate::format::id::SnapshotId;
use crate::format::index::{self, BlockEntry, DatabaseInfo};
use crate::format::layout::{self, DataFile};
use crate::format::member;
use crate::format::metadata::SnapshotMetadata;
use crate::source::Description;
use crate::store::SnapshotStore;

/// A snapshot whose metadata.json has been read and checked.
#[derive(Debug, Clone)]
pub(super) struct SnapshotReader {
    store: Arc<dyn SnapshotStore>,
    pub(super) metadata: Arc<SnapshotMetadata>,
    pub(super) metadata_json: Bytes,
}

/// The pieces of a block, as stored, in the order of [`DataFile::ALL`].
pub(super) type Pieces = [Bytes; 3];

impl SnapshotReader {
    pub(super) async fn open(store: Arc<dyn SnapshotStore>, id: &SnapshotId) -> Result<Self> {
        let (metadata, metadata_json) = catalog::read(store.as_ref(), id).await?;
        Ok(Self { store, metadata: Arc::new(metadata), metadata_json })
    }

    /// The key of one of the snapshot's files.
    pub(super) fn key(&self, file: DataFile) -> String {
        layout::key(&self.metadata.id, file.name())
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

    /// The pieces of one block.
    pub(super) async fn pieces(&self, entry: &BlockEntry) -> Result<Pieces> {
        let mut pieces = Pieces::default();
        for (file, piece) in DataFile::ALL.into_iter().zip(&mut pieces) {
            *piece = self.range(file, entry.range(file)).await?;
        }
        Ok(pieces)
    }

    /// Bytes of a data file. A file that is missing is damage, unless the whole snapshot was deleted in the meantime.
    pub(super) async fn range(&self, file: DataFile, range: std::ops::Range<u64>) -> Result<Bytes> {
        let key = self.key(file);
        match self.store.get_range(&key, range).await {
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

    /// All blocks in order, fetched and unpacked ahead within the limits of `config`, every digest proved, and what each sums
    /// to.
    pub(super) fn blocks(
        &self,
        entries: &Arc<[BlockEntry]>,
        config: &SnapshotConfig,
    ) -> impl Stream<Item = Result<(Block, ContentSum)>> + use<> {
        let (fetcher, unpacker, entries) = (self.clone(), self.clone(), entries.clone());
        stream::iter(0..entries.len())
            .map(move |at| {
                let (reader, entries) = (fetcher.clone(), entries.clone());
                async move {
                    let entry = entries.get(at).cloned().unwrap_or_default();
                    let pieces = reader.pieces(&entry).await?;
                    Ok((at, entry, pieces))
                }
            })
            .buffered(config.max_concurrent_io)
            .map(move |fetched: Result<_>| {
                let reader = unpacker.clone();
                async move {
                    let (at, entry, pieces) = fetched?;
                    reader.unpack(at, entry, pieces).await
                }
            })
            .buffered(config.workers)
    }

    /// Unpacks one block; an error names the file and the block.
    pub(super) async fn unpack(&self, at: usize, entry: BlockEntry, pieces: Pieces) -> Result<(Block, ContentSum)> {
        let (id, dimensions) = (self.metadata.id.clone(), self.metadata.dimensions as usize);
        unblock(move || {
            Block::unpack(&entry, dimensions, pieces.each_ref().map(|piece| piece.as_ref())).map_err(|error| {
                let file = error.key().unwrap_or(DataFile::Index.name());
                SnapshotError::new(error.kind(), format!("block {at}: {}", error.message()))
                    .at(layout::key(&id, file))
                    .because(error)
            })
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
