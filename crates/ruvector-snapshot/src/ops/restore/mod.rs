//! Restore: writes the records of a snapshot to a database and verifies the content checksum.
//!
//! A database file is written beside its destination, committed and synced, read back and verified, and only then
//! renamed to its destination, in one step.

mod options;
mod part;
mod proof;
mod size;

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use ruvector_core::VectorDB;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::model::DatabaseInfo;
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, ProgressCounter, report_transferred, warn};
use crate::repo::chain::Chain;
use crate::repo::context::{Context, run_blocking};
use crate::repo::irregular::{IrregularSection, check_block};
use crate::snapshot::Snapshot;
use crate::source::RestoreTarget;
use crate::source::destination::Destination;
use crate::source::irregular_rows::IrregularIds;
use crate::source::target::{FileTarget, MemoryTarget};
use proof::{check_sum, verify_file};

pub use options::RestoreOptions;
pub use part::PartReport;
pub(crate) use part::part_to_file;

/// Restores into a new database in memory.
pub(crate) async fn to_memory(context: &Context, id: &SnapshotId, options: &RestoreOptions) -> Result<VectorDB> {
    let span = tracing::info_span!("restore", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        let chain = Chain::open(context, id).await?;
        let database = Arc::new(chain.newest()?.restorable_database().await?);
        let target = {
            let database = database.clone();
            context.run_blocking(move || MemoryTarget::create(&database)).await?
        };
        let target = restore_records(context, &chain, &database, OwnedTarget(target), options).await?;
        report_transferred(options.progress.as_deref(), meter, 0);
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
        let (context, meter) = &context.metered();
        let (path, overwrite) = (destination.to_owned(), options.overwriting());
        let destination = context.run_blocking(move || Destination::check(&path, overwrite)).await?;
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let size = size::of_restored_file(&chain)?;
        let listener = options.progress.clone();
        let (destination, temporary) = context
            .run_blocking(move || {
                let temporary = destination.prepare(size, &|warning| warn(listener.as_deref(), warning))?;
                Ok((destination, temporary))
            })
            .await?;
        let database = Arc::new(newest.restorable_database().await?);
        let target = context.run_blocking(move || FileTarget::create(destination, temporary)).await?;
        let OwnedTarget(target) = restore_records(context, &chain, &database, OwnedTarget(target), options).await?;
        let finished = {
            let database = database.clone();
            context.run_blocking(move || target.finish(&database)).await?
        };
        let (verify, progress) = (context.config.verify_checksum, options.progress.clone());
        let (metadata, skips_irregular) = (newest.metadata.clone(), options.skip_irregular);
        let verified = context
            .run_blocking(move || {
                if verify {
                    let phase = Phase::VerifyRestored;
                    let mut counter = ProgressCounter::start(progress.as_deref(), phase, metadata.vector_count);
                    let mut expected = metadata.checksum;
                    if skips_irregular {
                        expected.unmerge(&metadata.irregular_checksum());
                    }
                    verify_file(&finished, &database, expected, &mut counter)?;
                }
                Ok(finished)
            })
            .await?;
        // A step of its own: a caller who has cancelled meanwhile gets no file.
        let (listener, written_bytes) = (options.progress.clone(), verified.written_bytes());
        let on_rename = move |path: &Path| {
            if let Some(listener) = listener {
                listener.restored(path);
            }
        };
        if let Some(warning) = context.run_blocking(move || verified.publish(on_rename)).await? {
            warn(options.progress.as_deref(), &warning);
        }
        report_transferred(options.progress.as_deref(), meter, written_bytes);
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
        let (context, meter) = &context.metered();
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let database = newest.database().await?;
        target.begin(&database)?;
        let target = BorrowedTarget(target);
        let BorrowedTarget(target) = restore_records(context, &chain, &database, target, options).await?;
        target.finish()?;
        report_transferred(options.progress.as_deref(), meter, 0);
        Ok(snapshot)
    }
    .instrument(span)
    .await
}

/// A target that takes blocks: on a thread of its own if it can move there.
trait BlockTarget: Sized {
    async fn put_irregular(self, context: &Context, section: IrregularSection) -> Result<(Self, IrregularSection)>;
    async fn put(self, context: &Context, block: Block) -> Result<Self>;
}

struct OwnedTarget<T>(T);

impl<T: RestoreTarget + 'static> BlockTarget for OwnedTarget<T> {
    async fn put_irregular(self, context: &Context, section: IrregularSection) -> Result<(Self, IrregularSection)> {
        let (Self(mut target), mut section) = (self, section);
        context
            .run_blocking(move || {
                section.each(&mut |item| target.put_irregular(item))?;
                Ok((Self(target), section))
            })
            .await
    }

    async fn put(self, context: &Context, block: Block) -> Result<Self> {
        let Self(mut target) = self;
        context
            .run_blocking(move || {
                target.put(&mut block.rows())?;
                drop(block);
                target.settle()?;
                Ok(Self(target))
            })
            .await
    }
}

struct BorrowedTarget<'a>(&'a mut dyn RestoreTarget);

impl BlockTarget for BorrowedTarget<'_> {
    async fn put_irregular(self, _context: &Context, section: IrregularSection) -> Result<(Self, IrregularSection)> {
        let mut section = section;
        section.each(&mut |item| self.0.put_irregular(item))?;
        tokio::task::yield_now().await;
        Ok((self, section))
    }

    async fn put(self, _context: &Context, block: Block) -> Result<Self> {
        self.0.put(&mut block.rows())?;
        drop(block);
        self.0.settle()?;
        tokio::task::yield_now().await;
        Ok(self)
    }
}

/// Puts every record into the target, and verifies the content checksum of what was put.
async fn restore_records<T: BlockTarget>(
    context: &Context,
    chain: &Chain,
    database: &DatabaseInfo,
    target: T,
    options: &RestoreOptions,
) -> Result<T> {
    let newest = chain.newest()?;
    let metadata = &newest.metadata;
    let mut progress = ProgressCounter::start(options.progress.as_deref(), Phase::Restore, metadata.vector_count);
    let (mut target, mut sum, irregular) = put_irregular(context, chain, database, target, options).await?;
    let mut state = Arc::new(irregular).state();
    let mut blocks = chain.blocks(&context.config).await?;
    while let Some((block, block_sum)) = blocks.try_next().await? {
        let (block, checked) =
            check_block(block, state).await.map_err(|error| error.with_key(newest.key(DataFile::Index)))?;
        state = checked;
        sum.merge(&block_sum);
        let (records, bytes) = (block.len() as u64, block.content_bytes() as u64);
        target = target.put(context, block).await?;
        progress.add(records, bytes);
    }
    let fits = check_sum(sum, metadata.checksum, "the contents of the snapshot").and_then(|()| state.finish());
    match fits {
        Ok(()) => Ok(target),
        Err(error) => Err(newest.judged(error).await),
    }
}

/// Puts the irregular rows into the target, and returns their part of the content checksum, and what the records must be
/// compared with. They come first, so that a target that cannot store them refuses the snapshot at once.
async fn put_irregular<T: BlockTarget>(
    context: &Context,
    chain: &Chain,
    database: &DatabaseInfo,
    mut target: T,
    options: &RestoreOptions,
) -> Result<(T, ContentSum, IrregularIds)> {
    let Some(mut sections) = chain.restorable_irregular(database)? else {
        return Ok((target, ContentSum::default(), IrregularIds::default()));
    };
    let metadata = &chain.newest()?.metadata;
    let what = metadata.irregular.as_ref().map(ToString::to_string).unwrap_or_default();
    if options.skip_irregular {
        let warning = format!("{what} of the snapshot are not restored: they are not records of the target");
        warn(options.progress.as_deref(), &warning);
        return Ok((target, metadata.irregular_checksum(), IrregularIds::default()));
    }
    while let Some(section) = sections.next().await? {
        let (returned, section) = target.put_irregular(context, section).await.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => {
                let message = format!(
                    "the snapshot holds {what} that this target cannot store ({}); restore to a file with the newest \
                     version of this program, or skip them (RestoreOptions::skip_irregular)",
                    error.message()
                );
                SnapshotError::new(ErrorKind::Unsupported, message).with_source(error)
            }
            _ => error,
        })?;
        target = returned;
        sections.decoded(section);
    }
    let (sum, irregular) = run_blocking(move || sections.finish()).await?;
    Ok((target, sum, irregular))
}
