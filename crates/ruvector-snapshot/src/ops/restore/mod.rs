//! Restore: writes the records of a snapshot to a database and verifies the content checksum.
//!
//! A database file is written beside its destination, committed and synced, read back and verified, and only then
//! renamed to its destination, in one step.

mod options;
mod proof;

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use ruvector_core::VectorDB;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use tracing::Instrument as _;

use crate::error::Result;
use crate::progress::{Phase, Progress, ProgressCounter};
use crate::repo::chain::Chain;
use crate::repo::context::Context;
use crate::snapshot::Snapshot;
use crate::source::RestoreTarget;
use crate::source::destination::Destination;
use crate::source::target::{FileTarget, MemoryTarget};
use proof::{check_sum, verify_file};

pub use options::RestoreOptions;

/// Restores into a new database in memory.
pub(crate) async fn to_memory(context: &Context, id: &SnapshotId, options: &RestoreOptions) -> Result<VectorDB> {
    let span = tracing::info_span!("restore", snapshot = %id);
    async {
        let chain = Chain::open(context, id).await?;
        let database = chain.newest()?.restorable_database().await?;
        let target = context.run_blocking(move || MemoryTarget::create(&database)).await?;
        let target = restore_records(context, &chain, OwnedTarget(target), options).await?;
        Ok(target.0.finish())
    }
    .instrument(span)
    .await
}

/// Restores into a database file.
pub(crate) async fn to_file(
    context: &Context,
    id: &SnapshotId,
    destination: &Path,
    options: &RestoreOptions,
) -> Result<Snapshot> {
    let span = tracing::info_span!("restore", snapshot = %id);
    async {
        let (path, overwrite) = (destination.to_owned(), options.overwriting());
        let destination = context.run_blocking(move || Destination::check(&path, overwrite)).await?;
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json.len() as u64)?;
        let database = Arc::new(newest.restorable_database().await?);
        let target = context.run_blocking(move || FileTarget::create(destination)).await?;
        let OwnedTarget(target) = restore_records(context, &chain, OwnedTarget(target), options).await?;
        let finished = {
            let database = database.clone();
            context.run_blocking(move || target.finish(&database)).await?
        };
        let (verify, progress) = (context.config.verify_checksum, options.progress.clone());
        let metadata = newest.metadata.clone();
        let verified = context
            .run_blocking(move || {
                if verify {
                    let phase = Phase::VerifyRestored;
                    let mut counter = ProgressCounter::start(progress.as_deref(), phase, metadata.vector_count);
                    verify_file(&finished, &database, metadata.checksum, &mut counter)?;
                }
                Ok(finished)
            })
            .await?;
        // A step of its own: a caller who has cancelled meanwhile gets no file.
        if let Some(warning) = context.run_blocking(move || verified.publish()).await? {
            warn(options.progress.as_deref(), &warning);
        }
        Ok(snapshot)
    }
    .instrument(span)
    .await
}

/// Restores into a target of the caller's.
pub(crate) async fn into_target(
    context: &Context,
    id: &SnapshotId,
    target: &mut dyn RestoreTarget,
    options: &RestoreOptions,
) -> Result<Snapshot> {
    let span = tracing::info_span!("restore", snapshot = %id);
    async {
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json.len() as u64)?;
        target.begin(&newest.database().await?)?;
        let BorrowedTarget(target) = restore_records(context, &chain, BorrowedTarget(target), options).await?;
        target.finish()?;
        Ok(snapshot)
    }
    .instrument(span)
    .await
}

/// Reports a warning to the listener, and traces it for those without one.
fn warn(listener: Option<&dyn Progress>, warning: &str) {
    tracing::warn!("{warning}");
    if let Some(listener) = listener {
        listener.warning(warning);
    }
}

/// A target that takes blocks: on a thread of its own if it can move there.
trait BlockTarget: Sized {
    async fn put(self, context: &Context, block: Block) -> Result<Self>;
}

struct OwnedTarget<T>(T);

impl<T: RestoreTarget + 'static> BlockTarget for OwnedTarget<T> {
    async fn put(self, context: &Context, block: Block) -> Result<Self> {
        let Self(mut target) = self;
        context
            .run_blocking(move || {
                target.put(&mut block.rows())?;
                Ok(Self(target))
            })
            .await
    }
}

struct BorrowedTarget<'a>(&'a mut dyn RestoreTarget);

impl BlockTarget for BorrowedTarget<'_> {
    async fn put(self, _context: &Context, block: Block) -> Result<Self> {
        self.0.put(&mut block.rows())?;
        tokio::task::yield_now().await;
        Ok(self)
    }
}

/// Puts every record into the target, and verifies the content checksum of what was put.
async fn restore_records<T: BlockTarget>(
    context: &Context,
    chain: &Chain,
    mut target: T,
    options: &RestoreOptions,
) -> Result<T> {
    let newest = chain.newest()?;
    let metadata = &newest.metadata;
    let mut progress = ProgressCounter::start(options.progress.as_deref(), Phase::Restore, metadata.vector_count);
    let mut sum = ContentSum::default();
    let mut blocks = chain.blocks(&context.config).await?;
    while let Some((block, block_sum)) = blocks.try_next().await? {
        sum.merge(&block_sum);
        let (records, bytes) = (block.len() as u64, block.content_bytes() as u64);
        target = target.put(context, block).await?;
        progress.add(records, bytes);
    }
    match check_sum(sum, metadata.checksum, "the records of the snapshot") {
        Ok(()) => Ok(target),
        Err(error) => Err(newest.judged(error).await),
    }
}
