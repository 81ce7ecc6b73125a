//! Restore: writes the records of a snapshot to a database and verifies the content checksum.
//!
//! Every restore is planned first (`planning`), and then does what its plan says: nothing is decided here. A database file
//! is written beside its destination, committed and synced, read back and verified, and only then
//! renamed to its destination, in one step.

mod memory;
mod merge;
mod options;
mod ownership;
mod part;
mod plan;
mod planning;
mod proof;
mod size;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use ruvector_core::VectorDB;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::DataFile;
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, ProgressCounter, report_transferred, warn};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::{Context, run_blocking};
use crate::repo::irregular::{IrregularSection, check_block};
use crate::snapshot::Snapshot;
use crate::source::RestoreTarget;
use crate::source::destination_checks::Purpose;
use crate::source::irregular_rows::IrregularIds;
use crate::source::target::{FileTarget, FinishedFile};
use crate::store::metered::Meter;
use planning::{Contents, cannot_store};
use proof::{check_sum, verify_file};

pub use merge::{MergeOptions, MergeReport};
pub(crate) use merge::{merge, plan_merge};
pub use options::RestoreOptions;
pub use part::PartReport;
pub(crate) use part::{part_to_file, plan_part};
pub use plan::{
    PlannedFetch, PlannedFile, PlannedObject, PlannedSelection, PlannedSnapshot, PlannedState, RestoreDestination,
    RestorePlan,
};

/// Plans a restore. Writes nothing.
pub(crate) async fn plan(
    context: &Context,
    id: &SnapshotId,
    destination: &RestoreDestination,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let span = tracing::info_span!("plan_restore", snapshot = %id);
    async {
        match destination {
            RestoreDestination::File(path) => {
                planning::to_file(context, id, path, options, Purpose::Plan).await.map(|(plan, _)| plan)
            }
            RestoreDestination::Memory => {
                planning::to_memory(context, id, options, Purpose::Plan).await.map(|(plan, _)| plan)
            }
        }
    }
    .instrument(span)
    .await
}

/// Plans a restore to a file that Ruvector opens afterwards: its memory includes that of the opened database. Writes nothing.
pub(crate) async fn plan_opened(
    context: &Context,
    id: &SnapshotId,
    path: PathBuf,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let in_memory = plan(context, id, &RestoreDestination::Memory, options).await?;
    let in_file = plan(context, id, &RestoreDestination::File(path), options).await?;
    Ok(RestorePlan { memory_bytes: in_file.memory_bytes.max(in_memory.memory_bytes), ..in_file })
}

/// Restores into a new database in memory.
pub(crate) async fn to_memory(context: &Context, id: &SnapshotId, options: &RestoreOptions) -> Result<VectorDB> {
    let span = tracing::info_span!("restore", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        let (_, work) = planning::to_memory(context, id, options, Purpose::Apply).await?;
        let (contents, target) = work.ok_or_else(nothing_to_do)?;
        let OwnedTarget(target) = restore_records(context, &contents, OwnedTarget(target), options).await?;
        report_transferred(options.progress.as_deref(), meter, 0);
        Ok(target.finish())
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
        let (_, work) = planning::to_file(context, id, destination, options, Purpose::Apply).await?;
        let (contents, destination, temporary) = work.ok_or_else(nothing_to_do)?;
        let newest = contents.chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let target = context.run_blocking(move || FileTarget::create(destination, temporary)).await?;
        let OwnedTarget(target) = restore_records(context, &contents, OwnedTarget(target), options).await?;
        let finished = {
            let database = contents.database.clone();
            context.run_blocking(move || target.finish(&database)).await?
        };
        let verified = verify(context, &contents, finished, options).await?;
        publish(context, verified, options, meter).await?;
        Ok(snapshot)
    }
    .instrument(span)
    .await
}

/// Reads the finished file back, if the settings say so.
async fn verify(
    context: &Context,
    contents: &Contents,
    finished: FinishedFile,
    options: &RestoreOptions,
) -> Result<FinishedFile> {
    if !context.config.verify_checksum {
        return Ok(finished);
    }
    let (metadata, database) = (contents.chain.newest()?.metadata.clone(), contents.database.clone());
    let (progress, skips_irregular) = (options.progress.clone(), options.skip_irregular);
    context
        .run_blocking(move || {
            let phase = Phase::VerifyRestored;
            let mut counter = ProgressCounter::start(progress.as_deref(), phase, metadata.vector_count);
            let mut expected = metadata.checksum;
            if skips_irregular {
                expected.unmerge(&metadata.irregular_checksum());
            }
            verify_file(&finished, &database, expected, &mut counter)?;
            Ok(finished)
        })
        .await
}

/// Gives the file its name. A step of its own: a caller who has cancelled meanwhile gets no file.
async fn publish(context: &Context, verified: FinishedFile, options: &RestoreOptions, meter: &Meter) -> Result<()> {
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
    Ok(())
}

/// Returns the error for a plan that has neither a blocker nor what is needed for the restore.
fn nothing_to_do() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "the plan of a restore has neither a blocker nor its contents")
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
        if let Some(warning) = corruption_warning(context, &chain, Then::ReadsAgain).await {
            warn(options.progress.as_deref(), &warning);
        }
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let database = Arc::new(newest.database().await?);
        target.begin(&database)?;
        let directories = chain.directories(&context.config).await?;
        let contents = Contents { chain, database, directories };
        let BorrowedTarget(target) = restore_records(context, &contents, BorrowedTarget(target), options).await?;
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
    contents: &Contents,
    target: T,
    options: &RestoreOptions,
) -> Result<T> {
    let chain = &contents.chain;
    let newest = chain.newest()?;
    let metadata = &newest.metadata;
    let mut progress = ProgressCounter::start(options.progress.as_deref(), Phase::Restore, metadata.vector_count);
    let (mut target, mut sum, irregular) = put_irregular(context, contents, target, options).await?;
    let mut state = Arc::new(irregular).state();
    let mut blocks = chain.blocks_of(&contents.directories, &context.config)?;
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
    Contents { chain, database, .. }: &Contents,
    mut target: T,
    options: &RestoreOptions,
) -> Result<(T, ContentSum, IrregularIds)> {
    let Some(mut sections) = chain.restorable_irregular(database)? else {
        return Ok((target, ContentSum::default(), IrregularIds::default()));
    };
    let metadata = &chain.newest()?.metadata;
    let what = metadata.irregular.as_ref().map(ToString::to_string).unwrap_or_default();
    if options.skip_irregular {
        return Ok((target, metadata.irregular_checksum(), IrregularIds::default()));
    }
    while let Some(section) = sections.next().await? {
        let (returned, section) = target.put_irregular(context, section).await.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => cannot_store(&what, error),
            _ => error,
        })?;
        target = returned;
        sections.decoded(section);
    }
    let (sum, irregular) = run_blocking(move || sections.finish()).await?;
    Ok((target, sum, irregular))
}
