//! The state of a chain as a full snapshot, in the same store or in another one. The new snapshot has the name, the
//! time and the content checksum of the newest of the chain.

use std::sync::Arc;

use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::leaves;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::DatabaseInfo;

use super::annotations;
use super::chain::Chain;
use super::chain_checks::{Then, corruption_warning};
use super::context::Context;
use super::draft::expansion_max;
use super::irregular::{IrregularSections, check_block};
use super::pipeline::{BlockEvent, Waiting, store_blocks};
use super::spec::{Completion, Content, SnapshotSpec, SourceSummary};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Progress, warn};
use crate::snapshot::Snapshot;
use crate::source::irregular_rows::{IrregularIds, StateCheck};
use crate::text::composed;

/// Room in the bounds of a file. A store may choose how it uploads by them.
const SLACK_BYTES: u64 = 1 << 20;
/// As [`SLACK_BYTES`], where the bound is shown to a person.
const SLACK_SHOWN_BYTES: u64 = 16 << 10;

/// A chain whose state can be stored as a full snapshot, as far as that is known before its records are read.
pub(crate) struct Compactable {
    pub(crate) chain: Chain,
    database: DatabaseInfo,
    irregular: IrregularIds,
}

impl Compactable {
    /// Opens the chain of an incremental snapshot, and checks what can be checked before its records are read.
    pub(crate) async fn open(from: &Context, id: &SnapshotId) -> Result<Self> {
        let chain = Chain::open(from, id).await?;
        let newest = chain.newest()?;
        if newest.metadata.changes.is_none() {
            let message = format!("cannot compact snapshot {id}: it is already a full snapshot");
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
        }
        let database = newest.restorable_database().await?;
        let irregular = match chain.restorable_irregular(&database)? {
            Some(sections) => sections.check().await?,
            None => IrregularIds::default(),
        };
        Ok(Self { chain, database, irregular })
    }

    /// Returns the size of the files of the full snapshot at most, in bytes. Makes the checks that a compaction makes while it
    /// reads and that need no records.
    pub(crate) async fn stored_bytes_max(&self, from: &Context) -> Result<u64> {
        let chain = &self.chain;
        chain.directories(&from.config).await?;
        chain.check_sizes(&from.config).await?;
        let mut metadata = SnapshotMetadata::clone(&chain.newest()?.metadata);
        (metadata.labels, metadata.note) = annotations::current(from.store.as_ref(), &metadata).await?;
        let bounds = size_bounds_bytes(chain, SLACK_SHOWN_BYTES)
            .ok_or_else(|| SnapshotError::new(ErrorKind::Internal, "a snapshot of the chain lacks a data file"))?;
        let raw_bytes = DataFile::ALL.into_iter().map(|file| chain.expanded_bytes(file)).sum::<Result<u64>>()?;
        let others = chain.snapshots().iter().map(|member| member.metadata_json_bytes);
        let parts = others.chain(bounds).chain([metadata.encode()?.len() as u64]);
        let expansion_max = expansion_max(raw_bytes, from.config.level());
        Ok(parts.fold(expansion_max, u64::saturating_add))
    }
}

/// Stores the state of the incremental snapshot `id` of the store `from` as a full snapshot in the store `to`, which may
/// be the same one.
pub(crate) async fn store_compacted(
    from: &Context,
    to: &Context,
    id: &SnapshotId,
    progress: Option<Arc<dyn Progress>>,
) -> Result<Snapshot> {
    let Compactable { chain, database, irregular } = Compactable::open(from, id).await?;
    if let Some(warning) = corruption_warning(from, &chain, Then::ReadsAgain).await {
        warn(progress.as_deref(), &warning);
    }
    let metadata = chain.newest()?.metadata.clone();
    let source = SourceSummary {
        database,
        info: metadata.source.clone(),
        records_expected: metadata.vector_count,
        size_bounds_bytes: size_bounds_bytes(&chain, SLACK_BYTES),
        not_captured: metadata.source.not_captured.clone(),
    };
    // A user may compact a chain to rescue it. Without the leaf tables the next increment is slower, and just as exact.
    let tables = match chain.leaves(&from.config).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => None,
        tables => tables?,
    };
    let blocks = checked_blocks(chain.blocks(&from.config).await?, Arc::new(irregular).state());
    let irregular = irregular_events(chain.irregular()?);
    let blocks = blocks.chain(irregular).chain(stream::once(async { Ok(BlockEvent::End(())) })).boxed();
    let name = composed(&metadata.name);
    let (labels, note) = annotations::current(from.store.as_ref(), &metadata).await?;
    let spec = SnapshotSpec {
        name: &name,
        created_at: metadata.created_at,
        labels,
        note,
        metadata: metadata.metadata.clone(),
        source,
        embedding: metadata.embedding.clone().unwrap_or_default(),
        base_ids: Vec::new(),
        progress: progress.as_ref(),
    };
    let complete = |()| Completion {
        not_captured: metadata.source.not_captured.clone(),
        irregular: metadata.irregular.clone(),
        leaves: tables.map(|tables| leaves::encode(&tables, None)),
        content: Content::Compacted(metadata.checksum),
    };
    store_blocks(to, spec, blocks, complete).await
}

/// Returns the blocks, and an error in the place of the first that does not fit the irregular rows.
fn checked_blocks(
    blocks: BoxStream<'static, Result<(Block, ContentSum)>>,
    state: StateCheck,
) -> impl Stream<Item = Result<BlockEvent<()>>> + Send {
    stream::try_unfold((blocks, state, Waiting::default()), |(mut blocks, state, mut waiting)| async move {
        waiting.until_free().await;
        let Some((block, _)) = blocks.try_next().await? else {
            state.finish()?;
            return Ok(None);
        };
        let (block, state) = check_block(block, state).await?;
        let hold = waiting.hold(&block);
        Ok(Some((BlockEvent::Block(block, hold), (blocks, state, waiting))))
    })
}

/// Returns the sections of irregular rows as they are. They are checked before the last one is returned.
fn irregular_events(sections: Option<IrregularSections>) -> impl Stream<Item = Result<BlockEvent<()>>> + Send {
    stream::try_unfold(sections, |sections| async {
        let Some(mut sections) = sections else { return Ok(None) };
        let Some(section) = sections.next().await? else {
            sections.finish()?;
            return Ok(None);
        };
        let mut section = sections.checked(section).await?;
        let raw = std::mem::take(&mut section.raw);
        sections.decoded(section);
        Ok(Some((BlockEvent::Irregular(raw), Some(sections))))
    })
}

/// Returns bounds on the files of the new snapshot: those of the chain together, and room for members that are cut
/// differently.
fn size_bounds_bytes(chain: &Chain, slack_bytes: u64) -> Option<[u64; 3]> {
    let mut bounds = [slack_bytes; 3];
    for snapshot in chain.snapshots() {
        for (file, bound) in DataFile::ALL.into_iter().zip(&mut bounds) {
            let raw_bytes = snapshot.metadata.file(file).ok()?.raw_bytes;
            *bound = bound.saturating_add(raw_bytes).saturating_add(raw_bytes / 32);
        }
    }
    Some(bounds)
}
