//! create: a source's records into a new snapshot.
//!
//! The order: of an increment `upload.json`, which names the chain, and a look at the chain -> data files in parallel -> their
//! sizes checked in the store -> checksum.sha256 -> a look for marks of deletions -> metadata.json, by a create that fails where
//! the key exists -> a last look at the marks and the chain. A crash anywhere before metadata.json leaves no snapshot, and after it
//! a whole one. What a failed or cancelled attempt stored is removed again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ruvector_core::VectorDB;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::chain::Chain;
use super::delta::{self, Totals};
use super::progress::{Meter, Phase, Progress};
use super::{Snapshot, SnapshotManager, unblock};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::{Block, PackedBlock, Row};
use crate::format::checksum::ContentSum;
use crate::format::id::SnapshotId;
use crate::format::index::DatabaseInfo;
use crate::format::leaves::{self, LeafTable};
use crate::format::metadata::{self, SourceInfo};
use crate::source::file::{FileOptions, FileSource, Mirror, Vectors};
use crate::source::interval::Stretch;
use crate::source::memory::MemorySource;
use crate::source::{Description, Record, SnapshotSource, SourceLeaves};

mod writer;
use writer::{Contents, Identity, Increment, SnapshotWriter};

/// Blocks that a reader is ahead of the packing.
const BLOCKS_AHEAD: usize = 2;
/// Of metadata.json's 1 MiB, which is printed with indentation.
const USER_JSON_BYTES_MAX: u64 = 512 << 10;
/// How often what changed is read directly from a file that is being written before the file is mirrored.
const DIRECT_ATTEMPTS: usize = 5;
/// How often a database in memory is collected before its writes are paused or the snapshot is given up.
const MEMORY_ATTEMPTS: usize = 3;

/// What a create may be told. Start from `default()`.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// `key: value` labels, kept with the snapshot.
    pub labels: BTreeMap<String, String>,
    /// Any JSON of the caller's, kept with the snapshot as [`Snapshot::metadata`].
    pub metadata: serde_json::Value,
    /// The id of the snapshot to stand on, full or an increment: only what changed since is stored. A full snapshot where it is
    /// `None`.
    pub base_id: Option<String>,
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
        let base = match &options.base_id {
            Some(base_id) => Some(Base::open(self, &base_id.parse()?).await?),
            None => None,
        };
        match origin {
            Origin::File(path) => self.create_from_file(path, base.as_ref(), name, options).await,
            Origin::Memory(db) => self.create_from_memory(db, base.as_ref(), name, options).await,
        }
    }

    /// Reads the file directly first; a writer that gets in the way is met with a mirror in the end.
    async fn create_from_file(
        &self,
        path: &Path,
        base: Option<&Base>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        // An increment reads little: rather than to copy the whole of a database that is being written it reads again.
        let is_short = base.is_some_and(|base| base.leaves.is_some());
        let directly: &[Mirror] = if is_short { &[Mirror::Never; DIRECT_ATTEMPTS] } else { &[Mirror::WhenWritten] };
        for mirror in directly.iter().copied().chain([Mirror::AtOnce]) {
            let file_options = FileOptions { scratch_dir: self.config.scratch_dir.clone(), mirror };
            let path = path.to_owned();
            let attempt = async {
                let created_at = self.clock.now();
                let known = base.and_then(|base| base.leaves.clone());
                let (source, differences) = unblock(move || {
                    let mut source = FileSource::open(&path, &file_options)?;
                    let differences = known.map(|known| delta::differences(&mut source, &known)).transpose()?;
                    Ok((source, differences))
                })
                .await?;
                let vectors = Some(source.vectors());
                let (described, blocks) = read_ahead(source);
                let (stretches, leaves) = match differences {
                    Some(delta::Differences { stretches, leaves }) => (stretches, Some(leaves)),
                    None => ([Stretch::all()].into(), None),
                };
                let what = Wanted { base, stretches, vectors, leaves, created_at, checksum: None };
                self.store_blocks(described, blocks, what, name, options).await
            };
            match attempt.await {
                Err(error) if error.kind() == ErrorKind::Busy && mirror != Mirror::AtOnce => {
                    tracing::debug!(%error, "reading again");
                }
                answer => return answer,
            }
        }
        Err(SnapshotError::new(ErrorKind::Internal, "no attempt to read the database was made"))
    }

    async fn create_from_memory(
        &self,
        db: &VectorDB,
        base: Option<&Base>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        let attempt = async || {
            let created_at = self.clock.now();
            let mut source = MemorySource::open(db)?;
            while source.collect_more()? {
                tokio::task::yield_now().await;
            }
            let described = Described::of(&source, "memory");
            let stretches = [Stretch::all()].into();
            let what = Wanted { base, stretches, vectors: None, leaves: None, created_at, checksum: None };
            self.store_blocks(described, read_inline(source), what, name, options).await
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
    pub(super) async fn store_blocks(
        &self,
        described: Described,
        blocks: BoxStream<'_, Result<Read>>,
        mut what: Wanted<'_>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        let id = SnapshotId::new(what.created_at, self.clock.random()?);
        let span = tracing::info_span!("create", snapshot = %id, name);
        async {
            let blocks = match what.base {
                Some(base) => {
                    base.check_shape(&described)?;
                    base.check_older(&id)?;
                    self.changes(blocks, base, &what.stretches, what.vectors.take()).await?
                }
                None => blocks,
            };
            self.store_blocks_as(described, blocks, id, what, name, options).await
        }
        .instrument(span)
        .await
    }

    /// Of blocks of records those that changed since the base.
    async fn changes<'a>(
        &self,
        blocks: BoxStream<'a, Result<Read>>,
        base: &Base,
        stretches: &Arc<[Stretch]>,
        vectors: Option<Vectors>,
    ) -> Result<BoxStream<'a, Result<Read>>> {
        let metadata = &base.chain.newest()?.metadata;
        let rows = base.chain.rows_in(stretches, &self.config).await?;
        let digested = blocks.map(|read| async move {
            match read? {
                Read::Block(block) => unblock(move || Ok(Read::Block(block.digested()?))).await,
                end => Ok(end),
            }
        });
        let digested = digested.buffered(self.config.workers).boxed();
        let dimensions = usize::try_from(metadata.dimensions).unwrap_or(usize::MAX);
        let base = delta::BaseRows { rows, stretches: stretches.clone(), checksum: metadata.checksum };
        Ok(delta::changes(digested, base, vectors, dimensions))
    }

    async fn store_blocks_as(
        &self,
        described: Described,
        blocks: BoxStream<'_, Result<Read>>,
        id: SnapshotId,
        what: Wanted<'_>,
        name: &str,
        options: &CreateOptions,
    ) -> Result<Snapshot> {
        let level = self.config.level();
        let mut meter = Meter::start(options.progress.as_deref(), Phase::Create, described.records_expected);
        let base_ids = what.base.map(|base| base.chain.ids()).unwrap_or_default();
        let mut writer = SnapshotWriter::begin(self, &id, described.size_bounds_bytes, base_ids).await?;
        let mut ended = None;
        let packed = blocks.map(|read| async move {
            match read? {
                Read::Block(block) => unblock(move || Ok(Packed::Block(Box::new(block.pack(level)?)))).await,
                Read::End(end) => Ok(Packed::End(Box::new(end))),
            }
        });
        let mut packed = packed.buffered(self.config.workers + 1);
        let stored: Result<Ended> = async {
            while let Some(part) = packed.try_next().await? {
                match part {
                    Packed::Block(block) => {
                        let [vectors_bytes, _, payloads_bytes] = block.raw_bytes;
                        let rows = u64::from(block.entry.rows);
                        writer.append(*block).await?;
                        meter.add(rows, vectors_bytes + payloads_bytes);
                    }
                    Packed::End(end) => ended = Some(*end),
                }
            }
            // A stream that breaks off without its last word must not pass for the end of the database.
            ended.ok_or_else(broke_off)
        }
        .await;
        drop(packed);
        let ended = match stored {
            Ok(ended) => ended,
            Err(error) => {
                writer.discard().await;
                return Err(error);
            }
        };
        let identity = Identity {
            id,
            name: name.to_owned(),
            created_at: what.created_at,
            labels: options.labels.clone(),
            metadata: options.metadata.clone(),
            source: SourceInfo { not_captured: ended.not_captured, ..described.info },
            compression_level: level,
        };
        let increment = match (what.base, ended.totals) {
            (Some(base), Some(totals)) => Some(Increment { chain: &base.chain, totals }),
            (None, _) => None,
            (Some(_), None) => {
                writer.discard().await;
                return Err(SnapshotError::new(ErrorKind::Internal, "an increment without its totals"));
            }
        };
        let leaves = what
            .leaves
            .or(ended.leaves)
            .map(|leaves| leaves::encode(&leaves, what.base.and_then(|base| base.leaves.as_deref())));
        let contents = Contents { database: &described.database, leaves, increment, checksum: what.checksum };
        writer.commit(identity, contents).await
    }
}

/// What a source says of itself before its records come.
pub(super) struct Described {
    pub(super) database: DatabaseInfo,
    pub(super) info: SourceInfo,
    pub(super) records_expected: u64,
    pub(super) size_bounds_bytes: Option<[u64; 3]>,
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

/// What comes out of a source: blocks, then the last word.
pub(super) enum Read {
    Block(Block),
    End(Ended),
}

/// What is known once the last record has come.
#[derive(Default)]
pub(super) struct Ended {
    /// What was not captured, in words.
    pub(super) not_captured: Vec<String>,
    /// The leaves of the source, where all of it was read.
    pub(super) leaves: Option<[LeafTable; 2]>,
    /// Of an increment, what it comes to.
    pub(super) totals: Option<Totals>,
}

impl Read {
    /// The last word of what changed.
    pub(super) fn with_totals(self, totals: Totals) -> Self {
        match self {
            Self::End(end) => Self::End(Ended { totals: Some(totals), ..end }),
            block => block,
        }
    }
}

pub(super) fn broke_off() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "the reading of the database broke off")
}

enum Packed {
    Block(Box<PackedBlock>),
    End(Box<Ended>),
}

/// What a create is to store.
pub(super) struct Wanted<'a> {
    pub(super) base: Option<&'a Base>,
    /// Where the source may differ from the base.
    pub(super) stretches: Arc<[Stretch]>,
    /// Finds the vectors that the source leaves out of its records.
    pub(super) vectors: Option<Vectors>,
    /// The leaves of the source, where they are known before its records.
    pub(super) leaves: Option<[LeafTable; 2]>,
    pub(super) created_at: DateTime<Utc>,
    /// What the records must sum to, where that is known.
    pub(super) checksum: Option<ContentSum>,
}

/// What an increment stands on.
pub(super) struct Base {
    chain: Chain,
    leaves: Option<Arc<[LeafTable; 2]>>,
}

impl Base {
    async fn open(manager: &SnapshotManager, id: &SnapshotId) -> Result<Self> {
        Self::checked(manager, id).await.map_err(|error| {
            if error.kind() != ErrorKind::Damaged {
                return error;
            }
            let what = format!(
                "nothing can stand on snapshot {id}: {}; take a full snapshot, and see what verify says of this one",
                error.message()
            );
            let key = error.key().map(str::to_owned);
            let refused = SnapshotError::new(ErrorKind::Damaged, what);
            key.into_iter().fold(refused, SnapshotError::at).because(error)
        })
    }

    async fn checked(manager: &SnapshotManager, id: &SnapshotId) -> Result<Self> {
        let chain = Chain::open(manager, id).await?;
        let (length, length_max) = (chain.readers().len() + 1, manager.config.max_chain_length);
        if length > length_max {
            let message = format!(
                "the chain would have {length} snapshots, more than the {length_max} of max_chain_length; take a full snapshot, or \
                 compact {id} and stand on that"
            );
            return Err(SnapshotError::new(ErrorKind::Invalid, message));
        }
        // What is lost in the base is lost in all that stands on it, and would show when it is needed.
        let looks = chain.readers().iter().map(|reader| reader.check_sizes());
        let looks = stream::iter(looks.collect::<Vec<_>>()).buffered(manager.config.max_concurrent_io);
        looks.try_collect::<()>().await?;
        let leaves = chain.leaves(&manager.config).await?.map(Arc::new);
        Ok(Self { chain, leaves })
    }

    fn check_shape(&self, described: &Described) -> Result<()> {
        let (base, database) = (&self.chain.newest()?.metadata, &described.database);
        let shape = |dimensions: u64, metric: &Option<String>| {
            format!("{dimensions} dimensions and the metric {}", metric.as_deref().unwrap_or("that is not recorded"))
        };
        if (base.dimensions, &base.distance_metric) == (database.dimensions, &database.distance_metric) {
            return Ok(());
        }
        let message = format!(
            "the database has {}, and snapshot {} has {}: it cannot stand on that, take a full snapshot",
            shape(database.dimensions, &database.distance_metric),
            base.id,
            shape(base.dimensions, &base.distance_metric),
        );
        Err(SnapshotError::new(ErrorKind::Invalid, message))
    }

    /// Ids sort by time, and what stands on another is younger.
    fn check_older(&self, id: &SnapshotId) -> Result<()> {
        let base_id = &self.chain.newest()?.metadata.id;
        if base_id < id {
            return Ok(());
        }
        let message =
            format!("snapshot {base_id} is dated in the future, and nothing can stand on it before; check the clocks");
        Err(SnapshotError::new(ErrorKind::Invalid, message))
    }
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
                push(&mut next, record)?;
                return Ok(Read::Block(std::mem::replace(&mut self.block, next)));
            }
            push(&mut self.block, record)?;
        }
        if !self.block.is_empty() {
            let next = self.block.emptied();
            return Ok(Read::Block(std::mem::replace(&mut self.block, next)));
        }
        self.ended = true;
        let leaves = self.source.take_leaves().map(|tables| {
            tables.map(|SourceLeaves { checksums, rows, keys, key_ends }| LeafTable { checksums, rows, keys, key_ends })
        });
        Ok(Read::End(Ended { not_captured: self.source.not_captured(), leaves, totals: None }))
    }
}

fn push(block: &mut Block, Record { id, vector, metadata, is_metadata_only }: Record<'_>) -> Result<()> {
    if is_metadata_only { block.push_metadata(id, metadata) } else { block.push(Row { id, vector, metadata }) }
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

pub(super) fn database_info(description: &Description) -> DatabaseInfo {
    DatabaseInfo {
        dimensions: description.dimensions as u64,
        distance_metric: description.distance_metric.clone(),
        hnsw_config: description.hnsw_config.clone(),
        quantization: description.quantization.clone(),
        rows: description.rows.clone(),
    }
}
