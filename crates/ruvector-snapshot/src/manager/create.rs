//! create: a source's records into a new snapshot.
//!
//! The order: data files in parallel -> their sizes checked in the store -> checksum.sha256 -> metadata.json, by a create
//! that fails where the key exists. A crash anywhere before the last step leaves no snapshot, and after it a whole one.
//! What a failed or cancelled attempt stored is removed again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ruvector_core::VectorDB;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::progress::{Meter, Phase, Progress};
use super::{Snapshot, SnapshotManager, unblock};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::{Block, PackedBlock, Row};
use crate::format::id::SnapshotId;
use crate::format::index::DatabaseInfo;
use crate::format::metadata::{self, SourceInfo};
use crate::source::file::{FileOptions, FileSource};
use crate::source::memory::MemorySource;
use crate::source::{Description, SnapshotSource};

mod writer;
use writer::{Identity, SnapshotWriter};

/// Blocks that a reader is ahead of the packing.
const BLOCKS_AHEAD: usize = 2;
/// Of metadata.json's 1 MiB, which is printed with indentation.
const USER_JSON_BYTES_MAX: u64 = 512 << 10;
/// How often a database in memory is collected before its writes are paused or the snapshot is given up.
const MEMORY_ATTEMPTS: usize = 3;

/// What a create may be told. Start from `default()`.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// `key: value` labels, kept with the snapshot.
    pub labels: BTreeMap<String, String>,
    /// Any JSON of the caller's, kept with the snapshot as [`Snapshot::metadata`].
    pub metadata: serde_json::Value,
    /// Hears how far it has come.
    pub progress: Option<Arc<dyn Progress>>,
    /// Pauses the application's writes to a database in memory that never stands still. Not needed for a database file.
    pub pause_writes: Option<Arc<dyn PauseWrites>>,
}

/// Stops and resumes an application's own writes.
///
/// Called only where three tries to read a database in memory were all met by a write. Between the two calls the database
/// is read and packed, which takes as long as the store takes the data.
pub trait PauseWrites: Debug + Send + Sync {
    /// Returns once no write is under way and none will begin. Called on a thread where it may block.
    fn pause(&self);
    /// Lets the writes go on; called on every path, cancelling included.
    fn resume(&self);
}

/// Where the records come from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    File(&'a Path),
    Memory(&'a VectorDB),
}

impl SnapshotManager {
    pub(super) async fn create(&self, origin: Origin<'_>, name: &str, options: &CreateOptions) -> Result<Snapshot> {
        metadata::check_name(name)?;
        check_user_json(options)?;
        match origin {
            Origin::File(path) => self.create_from_file(path, name, options).await,
            Origin::Memory(db) => self.create_from_memory(db, name, options).await,
        }
    }

    /// Reads the file directly first; a writer that gets in the way is met with a mirror.
    async fn create_from_file(&self, path: &Path, name: &str, options: &CreateOptions) -> Result<Snapshot> {
        for mirror in [false, true] {
            let file_options = FileOptions { scratch_dir: self.config.scratch_dir.clone(), mirror };
            let path = path.to_owned();
            let attempt = async {
                let created_at = self.clock.now();
                let source = unblock(move || FileSource::open(&path, &file_options)).await?;
                let (described, blocks) = read_ahead(source);
                self.store_blocks(described, blocks, created_at, name, options).await
            };
            match attempt.await {
                Err(error) if error.kind() == ErrorKind::Busy && !mirror => {
                    tracing::debug!(%error, "reading again through a mirror");
                }
                answer => return answer,
            }
        }
        Err(SnapshotError::new(ErrorKind::Internal, "no attempt to read the database was made"))
    }

    async fn create_from_memory(&self, db: &VectorDB, name: &str, options: &CreateOptions) -> Result<Snapshot> {
        let attempt = async || {
            let created_at = self.clock.now();
            let mut source = MemorySource::open(db)?;
            while source.collect_more()? {
                tokio::task::yield_now().await;
            }
            let described = Described::of(&source, "memory");
            self.store_blocks(described, read_inline(source), created_at, name, options).await
        };
        for number in 1..=MEMORY_ATTEMPTS {
            let last = number == MEMORY_ATTEMPTS && options.pause_writes.is_none();
            match attempt().await {
                Err(error) if error.kind() == ErrorKind::Busy && !last => tracing::debug!(%error, "reading again"),
                answer => return answer,
            }
        }
        let _paused = match options.pause_writes.clone() {
            // On a thread of its own: what it waits for may need this one.
            Some(writes) => Some(unblock(move || Ok(Paused::new(writes))).await?),
            None => None,
        };
        attempt().await
    }

    /// Packs blocks on several threads and stores them in order, under an id that no other attempt has.
    async fn store_blocks(
        &self,
        described: Described,
        blocks: BoxStream<'_, Result<Read>>,
        created_at: DateTime<Utc>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        let id = SnapshotId::new(created_at, self.clock.random()?);
        let span = tracing::info_span!("create", snapshot = %id, name);
        self.store_blocks_as(described, blocks, id, created_at, name, options).instrument(span).await
    }

    async fn store_blocks_as(
        &self,
        described: Described,
        blocks: BoxStream<'_, Result<Read>>,
        id: SnapshotId,
        created_at: DateTime<Utc>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        let level = self.config.level();
        let mut meter = Meter::start(options.progress.as_deref(), Phase::Create, described.records_expected);
        let mut writer = SnapshotWriter::begin(self, &id, described.size_bounds_bytes).await?;
        let mut source = None;
        let packed = blocks.map(|read| async move {
            match read? {
                Read::Block(block) => unblock(move || Ok(Packed::Block(Box::new(block.pack(level)?)))).await,
                Read::End(not_captured) => Ok(Packed::End(not_captured)),
            }
        });
        let mut packed = packed.buffered(self.config.workers + 1);
        let stored: Result<SourceInfo> = async {
            while let Some(part) = packed.try_next().await? {
                match part {
                    Packed::Block(block) => {
                        let [vectors_bytes, _, payloads_bytes] = block.raw_bytes;
                        let rows = u64::from(block.entry.rows);
                        writer.append(*block).await?;
                        meter.add(rows, vectors_bytes + payloads_bytes);
                    }
                    Packed::End(not_captured) => {
                        source = Some(SourceInfo { not_captured, ..described.info.clone() });
                    }
                }
            }
            // A stream that breaks off without its last word must not pass for the end of the database.
            source.ok_or_else(|| SnapshotError::new(ErrorKind::Internal, "the reading of the database broke off"))
        }
        .await;
        drop(packed);
        let source = match stored {
            Ok(source) => source,
            Err(error) => {
                writer.discard().await;
                return Err(error);
            }
        };
        let identity = Identity {
            id,
            name: name.to_owned(),
            created_at,
            labels: options.labels.clone(),
            metadata: options.metadata.clone(),
            source,
            compression_level: level,
        };
        writer.commit(identity, &described.database).await
    }
}

/// What a source says of itself before its records come.
struct Described {
    database: DatabaseInfo,
    info: SourceInfo,
    records_expected: u64,
    size_bounds_bytes: Option<[u64; 3]>,
}

impl Described {
    fn of(source: &impl SnapshotSource, kind: &str) -> Self {
        let info =
            SourceInfo { kind: kind.to_owned(), transaction_id: source.transaction_id(), not_captured: Vec::new() };
        Self {
            database: database_info(source.description()),
            info,
            records_expected: source.records_expected(),
            size_bounds_bytes: source.size_bounds_bytes(),
        }
    }
}

/// What comes out of a source: blocks, then what was not captured.
enum Read {
    Block(Block),
    End(Vec<String>),
}

enum Packed {
    Block(Box<PackedBlock>),
    End(Vec<String>),
}

/// Reads a source on a thread of its own, a few blocks ahead. The thread ends soon after the stream is dropped.
fn read_ahead(source: FileSource) -> (Described, BoxStream<'static, Result<Read>>) {
    let described = Described::of(&source, "file");
    let (sender, mut receiver) = mpsc::channel(BLOCKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut blocks = Blocks::new(source);
        while blocks.next().is_some_and(|read| sender.blocking_send(read).is_ok()) {}
    });
    (described, stream::poll_fn(move |context| receiver.poll_recv(context)).boxed())
}

/// Reads a source that is borrowed, and so cannot go to another thread, block by block between other work.
fn read_inline<'a>(source: MemorySource<'a>) -> BoxStream<'a, Result<Read>> {
    let blocks = Blocks::new(source);
    stream::unfold(blocks, |mut blocks| async {
        tokio::task::yield_now().await;
        blocks.next().map(|read| (read, blocks))
    })
    .boxed()
}

/// Cuts the records of a source into blocks.
struct Blocks<S> {
    source: S,
    block: Block,
    ended: bool,
}

impl<S: SnapshotSource> Blocks<S> {
    fn new(source: S) -> Self {
        let block = Block::new(source.description().dimensions);
        Self { source, block, ended: false }
    }

    fn read(&mut self) -> Result<Read> {
        while let Some(record) = self.source.next_record()? {
            let row = Row { id: record.id, vector: record.vector, metadata: record.metadata };
            if self.block.is_full_for(row) {
                let mut next = self.block.emptied();
                next.push(row)?;
                return Ok(Read::Block(std::mem::replace(&mut self.block, next)));
            }
            self.block.push(row)?;
        }
        if !self.block.is_empty() {
            let next = self.block.emptied();
            return Ok(Read::Block(std::mem::replace(&mut self.block, next)));
        }
        self.ended = true;
        Ok(Read::End(self.source.not_captured()))
    }
}

impl<S: SnapshotSource> Iterator for Blocks<S> {
    type Item = Result<Read>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended |= read.is_err();
        Some(read)
    }
}

/// Writes are paused for as long as this lives.
struct Paused(Arc<dyn PauseWrites>);

impl Paused {
    fn new(writes: Arc<dyn PauseWrites>) -> Self {
        writes.pause();
        Self(writes)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// Refuses what metadata.json cannot hold before anything is stored.
fn check_user_json(options: &CreateOptions) -> Result<()> {
    let invalid = |what: &str| SnapshotError::new(ErrorKind::Invalid, what.to_owned());
    let json = serde_json::to_vec(&(&options.labels, &options.metadata))
        .map_err(|error| invalid("the labels and the metadata of the snapshot are no JSON").because(error))?;
    if json.len() as u64 > USER_JSON_BYTES_MAX {
        return Err(invalid("the labels and the metadata of the snapshot have more than 512 KiB"));
    }
    let nested = serde_json::from_slice::<serde_json::Value>(&json);
    nested.map(drop).map_err(|error| invalid("the metadata of the snapshot nests too deep").because(error))
}

fn database_info(description: &Description) -> DatabaseInfo {
    DatabaseInfo {
        dimensions: description.dimensions as u64,
        distance_metric: description.distance_metric.clone(),
        hnsw_config: description.hnsw_config.clone(),
        quantization: description.quantization.clone(),
        rows: description.rows.clone(),
    }
}
